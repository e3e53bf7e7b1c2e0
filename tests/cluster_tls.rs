//! A cluster whose nodes and clients speak TLS: that it works as any other, and whom it keeps out.

mod cluster;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{CLUSTER, Load, Ports, Setup, TestCluster, make_certificates, run, run_to_end};
use futures_util::future::BoxFuture;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::json;
use tallykeep::peer::{Connection, Dial, Hello, Kind, Link, Tcp};
use tallykeep::tls::{Certificate, node_name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use cluster::wait_until;

const SECURE: Setup =
    Setup { nodes: 3, spares: 0, settings: String::new(), tls: true, tokens: false };

fn secure_with(settings: &str) -> Setup {
    Setup { settings: settings.to_owned(), ..SECURE }
}

/// `GET /admin/cluster` at a node: the serial numbers of the certificates that it uses.
async fn serials(cluster: &TestCluster, id: u64) -> Result<Vec<String>, String> {
    let report = cluster.report(id).await?;
    let certificates = report["certificates"].as_array().ok_or("no certificates")?;
    let serial = |one: &serde_json::Value| one["serial"].as_str().expect("a serial").to_owned();
    Ok(certificates.iter().map(serial).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secured_cluster_works_as_any_other() {
    let mut cluster = TestCluster::start_as(SECURE).await;
    let follower = cluster.a_follower().await;
    // Forwarded to the leader, and read there by index.
    cluster.api().check(follower, "u", 3, 600_000).await.admitted(3, 2);
    cluster.api().log(follower, r#"{"type":"t","action":"a"}"#).await;
    let found = cluster.api().query(follower, &json!({"type": "t"})).await;
    assert_eq!(found["entries"].as_array().map(Vec::len), Some(1), "{found}");
    let report = cluster.report(follower).await.expect("a report");
    for (position, whom) in [(0, "peers"), (1, "clients")] {
        let certificate = &report["certificates"][position];
        assert_eq!(certificate["for"], whom, "{report}");
        assert!(certificate["notAfter"].as_u64() > Some(cluster::now_ms()), "{report}");
    }

    let leader = cluster.leader().await;
    cluster.kill(leader);
    cluster.leader().await;
    cluster.api().check(follower, "u", 3, 600_000).await.admitted(3, 1);
    cluster.restart(leader);
    cluster.wait_ready().await;
    cluster.api().check(leader, "u", 3, 600_000).await.admitted(3, 0);

    // The commands, as one gives them.
    let ca = cluster.dir().join("certs/ca.crt");
    let mut arguments = vec!["--ca".to_owned(), ca.to_str().expect("UTF-8").to_owned()];
    for id in cluster.ids() {
        arguments.extend(["--endpoint".to_owned(), cluster.api().url(id).to_owned()]);
    }
    let with = |command: &[&str]| {
        let mut all: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        all.extend(arguments.iter().cloned());
        run_to_end(&all)
    };
    assert_eq!(with(&["status", "--wait-ready", "60"]).matches(" yes\n").count(), 3);
    assert_eq!(with(&["members", "list"]).matches(" yes ").count(), 3);
    let backup = cluster.dir().join("backup.tar");
    with(&["backup", backup.to_str().expect("UTF-8")]);
    let bench = with(&["bench", "--duration", "200ms", "--warm-up", "0s", "--json"]);
    let bench: serde_json::Value = serde_json::from_str(&bench).expect("a summary");
    assert!(bench["requests"].as_u64() > Some(0), "{bench}");
    // Without the CA nobody here is known.
    let (code, stdout, _) = run(&["status", "--endpoint", cluster.api().url(1)]).output().await;
    assert_eq!(code, Some(3), "{stdout}");
    cluster.equal_state().await;
}

/// A node that lost its disk and has another cluster's certificates gets nothing; with its own, which
/// it takes as soon as it is told that they are there, it gets a snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_gets_a_snapshot_once_it_has_its_certificate() {
    let mut cluster = TestCluster::start_as(secure_with("snapshot_log_bytes = 65536")).await;
    let wiped = cluster.a_follower().await;
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != wiped).collect();
    let load = Load::start(cluster.api(), &others, 4);
    for id in &others {
        cluster.wait_log_cut(*id).await;
    }
    cluster.kill(wiped);
    cluster.wipe(wiped);
    let strangers = cluster.dir().join("strangers");
    make_certificates(&strangers, 3);
    let certs = cluster.dir().join("certs");
    // Its own folder of certificates, so that the others' stay as they are.
    let own = cluster.dir().join("own");
    fs::create_dir(&own).expect("a folder");
    let put = |from: &Path| {
        for name in ["ca.crt".to_owned(), format!("node{wiped}.crt"), format!("node{wiped}.key")] {
            fs::copy(from.join(&name), own.join(&name)).expect("a copy");
        }
    };
    put(&strangers);
    // It is its peers that are to refuse it, and its clients are to reach it.
    let bundle = ["certs", "strangers"]
        .map(|folder| fs::read_to_string(cluster.dir().join(folder).join("ca.crt")).expect("a CA"));
    fs::write(own.join("ca.crt"), bundle.concat()).expect("a bundle");
    cluster.reconfigure(wiped, "ca = \"certs/ca.crt\"", "ca = \"own/ca.crt\"");
    let pair = |folder: &str| {
        format!("{folder}/node{wiped}.crt\"\nkey = \"{folder}/node{wiped}.key\"\n[tls.clients]")
    };
    cluster.reconfigure(wiped, &pair("certs"), &pair("own"));
    cluster.restart(wiped);

    wait_until("the others have refused the node", async || {
        let is_told = others.iter().any(|id| {
            let log = cluster.log(*id);
            log.lines()
                .any(|line| line.contains("refused a peer") && line.contains("UnknownIssuer"))
        });
        let knows = cluster.log(wiped).contains("a peer that is none");
        if is_told && knows { Ok(()) } else { Err(format!("told {is_told}, known {knows}")) }
    })
    .await;
    let report = cluster.report(wiped).await.expect("a report");
    let state = report["nodes"].as_array().expect("nodes").iter().find(|one| one["id"] == wiped);
    let state = state.expect("the node itself");
    assert_eq!(state["role"], "joining", "{report}");
    assert!(state["lastLog"].is_null() && state["applied"].is_null(), "{report}");

    put(&certs);
    cluster.hang_up(wiped);
    cluster.wait_ready_one(wiped).await;
    assert!(cluster.log(wiped).contains("installed a snapshot"));
    let record = load.stop().await;
    cluster.equal_state().await;
    record.verify(cluster.api(), wiped, false).await;
    assert!(record.failures.is_empty(), "the others' clients: {:?}", record.failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_under_load_without_a_failed_request() {
    let mut cluster = TestCluster::start_as(SECURE).await;
    let ids = cluster.ids();
    let load = Load::start(cluster.api(), &ids, 6);
    load.progress(100).await;
    let mut before = Vec::new();
    for id in &ids {
        before.push(serials(&cluster, *id).await.expect("serials"));
    }
    let certs = cluster.dir().join("certs");
    run_to_end(&["certs", "renew", certs.to_str().expect("UTF-8")]);
    // Nobody tells the nodes: they look.
    for (id, before) in ids.iter().zip(&before) {
        wait_until(&format!("node {id} uses its new certificates"), async || {
            let now = serials(&cluster, *id).await?;
            let all_new = now.iter().zip(before).all(|(now, before)| now != before);
            if all_new { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
    }
    load.progress(100).await;
    let record = load.stop().await;
    assert!(record.failures.is_empty(), "{:?}", record.failures);
    // Connections between nodes that are made anew are made with them.
    for id in &ids {
        cluster.kill(*id);
        cluster.restart(*id);
        cluster.wait_ready().await;
    }
    record.verify(cluster.api(), 1, false).await;
    cluster.equal_state().await;
}

/// Connects to peers with a certificate or with none, and takes anybody for a node.
struct Stranger {
    config: Arc<ClientConfig>,
}

impl Stranger {
    fn with(identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>) -> Arc<dyn Dial> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous));
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate], key).expect("a certificate")
            }
        };
        Arc::new(Self { config: Arc::new(config) })
    }
}

impl Dial for Stranger {
    fn dial(&self, _: u64, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let (connector, address) = (TlsConnector::from(self.config.clone()), address.to_owned());
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("anybody").expect("a name");
            Ok(Box::new(connector.connect(name, stream).await?) as Box<dyn Connection>)
        })
    }
}

#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate by the CA in `folder`, for both sides of a connection.
fn issue(
    folder: &Path,
    names: &[String],
    change: impl FnOnce(&mut CertificateParams),
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = fs::read_to_string(folder.join("ca.key")).expect("the CA's key");
    let ca = KeyPair::from_pem(&key).expect("a key");
    // By the CA's name and key: what is in its certificate beside them is not in what it signs.
    let mut authority = CertificateParams::default();
    authority.distinguished_name = DistinguishedName::new();
    authority.distinguished_name.push(DnType::OrganizationName, CLUSTER);
    let own = Certificate::load(&folder.join("ca.crt")).expect("a CA").remove(0);
    let name = own.common_name.expect("a name");
    authority.distinguished_name.push(DnType::CommonName, name);
    let issuer = Issuer::new(authority, ca);
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
    (certificate.der().clone(), key)
}

/// Asks node 2, as node 1, what peers ask: none of it may be answered.
async fn ask_all(dial: Arc<dyn Dial>, address: &str) -> Vec<io::Result<Bytes>> {
    let mut answers = Vec::new();
    for kind in [Kind::Status, Kind::Vote, Kind::Append, Kind::ReadIndex, Kind::SnapshotBegin] {
        let hello = Hello::new(CLUSTER, 1, 2);
        let link = Link::new(dial.clone(), address.to_owned(), hello, Duration::from_secs(2));
        answers.push(link.call(kind, Vec::new()).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_a_node_is_taken_for_a_peer() {
    let cluster = TestCluster::start_as(SECURE).await;
    cluster.api().check(1, "u", 3, 600_000).await.admitted(3, 2);
    let address = cluster.peer_address(2).to_owned();
    let (certs, strangers) = (cluster.dir().join("certs"), cluster.dir().join("strangers"));
    make_certificates(&strangers, 3);
    let own = [node_name(CLUSTER, 1)];
    let as_it_is = |_: &mut CertificateParams| {};

    // That the question is well put: a node would be answered.
    let good = issue(&certs, &own, as_it_is);
    let answers = ask_all(Stranger::with(Some(good)), &address).await;
    assert!(answers[0].is_ok(), "{answers:?}");

    let before = cluster.report(2).await.expect("a report");
    let expired = issue(&certs, &own, |params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = issue(&certs, &own, |params| params.not_before = date_time_ymd(2100, 1, 1));
    let servers_only = issue(&certs, &own, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let client_only = issue(&certs, &["app.example".to_owned()], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    for (whom, dial) in [
        ("who speaks no TLS", Arc::new(Tcp) as Arc<dyn Dial>),
        ("who shows no certificate", Stranger::with(None)),
        ("a node of another CA", Stranger::with(Some(issue(&strangers, &own, as_it_is)))),
        ("a client of this CA", Stranger::with(Some(client_only))),
        ("another node", Stranger::with(Some(issue(&certs, &[node_name(CLUSTER, 3)], as_it_is)))),
        (
            "a node of another cluster of this CA",
            Stranger::with(Some(issue(&certs, &[node_name("other", 1)], as_it_is))),
        ),
        ("an expired node", Stranger::with(Some(expired))),
        ("a node that is not valid yet", Stranger::with(Some(early))),
        ("a certificate for servers alone", Stranger::with(Some(servers_only))),
    ] {
        for answer in ask_all(dial, &address).await {
            let error = answer.expect_err(whom);
            // So it is known that nothing was taken.
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{whom}: {error}");
        }
    }
    assert!(cluster.log(2).contains("refused a peer"));
    let after = cluster.report(2).await.expect("a report");
    for unchanged in ["/term", "/leader", "/stateHash/hash"] {
        assert_eq!(before.pointer(unchanged), after.pointer(unchanged), "{unchanged}: {after}");
    }
    cluster.api().check(2, "u", 3, 600_000).await.admitted(3, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_no_tls_to_the_clients_port_is_told_so() {
    let cluster = TestCluster::start_as(Setup { nodes: 1, ..SECURE }).await;
    let address = cluster.api().url(1).strip_prefix("https://").expect("a URL").to_owned();
    let mut client = TcpStream::connect(&address).await.expect("a connection");
    client.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it is sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("a clean end");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("https://"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_ends_soon_is_warned_of() {
    let mut cluster = TestCluster::prepare(Setup { nodes: 1, ..SECURE });
    let certs = cluster.dir().join("certs");
    let certs = certs.to_str().expect("UTF-8");
    run_to_end(&["certs", "renew", certs, "--days", "20"]);
    let shown = run_to_end(&["certs", "show", certs]);
    assert!(shown.contains("node1.crt\n") && shown.contains("19 days left"), "{shown}");
    cluster.restart(1);
    cluster.wait_ready_one(1).await;
    let warnings = |log: String| {
        log.lines().filter(|line| line.contains("the certificate expires in 19 days")).count()
    };
    wait_until("both listeners' certificates are warned of", async || {
        let log = cluster.log(1);
        if warnings(log.clone()) == 2 { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_not_open_to_other_machines_unless_it_is_told_to() {
    let ports = Ports::reserve(2);
    let [http, peer] = ports.numbers() else { panic!("two ports") };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("node.toml");
    let config = |top: &str, end: &str| {
        let text = format!(
            "cluster = \"{CLUSTER}\"\nid = 1\ndata = \"data\"\n{top}\n[[nodes]]\nid = 1\n\
             http = \"127.0.0.1:{http}\"\npeer = \"127.0.0.1:{peer}\"\n{end}"
        );
        fs::write(&file, text).expect("a file in a temporary folder");
    };
    let path = file.to_str().expect("UTF-8");
    for (top, whom) in [
        (format!("http = \"0.0.0.0:{http}\""), "clients"),
        (format!("peer = \"0.0.0.0:{peer}\""), "peers"),
    ] {
        config(&top, "");
        let (code, _, stderr) = run(&["serve", "--config", path]).output().await;
        assert_eq!(code, Some(1), "{stderr}");
        let told = format!("would listen for {whom} at 0.0.0.0:");
        assert!(stderr.contains(&told) && stderr.contains("--insecure"), "{stderr}");
        assert!(!dir.path().join("data").exists(), "nothing was opened");
    }
    let open = format!("http = \"0.0.0.0:{http}\"");
    for (top, arguments) in [
        (open.clone(), &["serve", "--insecure", "--config", path][..]),
        (format!("{open}\ninsecure = true"), &["serve", "--config", path][..]),
    ] {
        config(&top, "");
        let node = run(arguments);
        wait_until("the node serves, and warns", async || {
            let log = node.stderr();
            let serves = log.contains("serving") && log.contains("WARN");
            if serves && log.contains("insecure: clients") { Ok(()) } else { Err(log) }
        })
        .await;
    }

    // Certificates that are no good end the start, with the file's name.
    let peers = "[tls.peers]\nca = \"ca.crt\"\ncertificate = \"a.crt\"\nkey = \"a.key\"\n";
    config("", peers);
    let (code, _, stderr) = run(&["serve", "--config", path]).output().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("ca.crt: No such file"), "{stderr}");
    // Those of another node too.
    let certs = dir.path().join("certs");
    make_certificates(&certs, 2);
    let folder = "certs/";
    config(
        "",
        &format!(
            "[tls.peers]\nca = \"{folder}ca.crt\"\ncertificate = \"{folder}node2.crt\"\n\
             key = \"{folder}node2.key\"\n"
        ),
    );
    let (code, _, stderr) = run(&["serve", "--config", path]).output().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&node_name(CLUSTER, 1)), "{stderr}");
}
