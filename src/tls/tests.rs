//! Who is taken for a peer, over a pipe in memory.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::watch::Watched;
use super::*;

/// What a node at 127.0.0.1 shows clients, and whom those have to trust.
pub(crate) fn localhost() -> (Arc<Clients>, Trust) {
    let (dir, ca) = (tempfile::tempdir().unwrap(), ca("one"));
    let files = write(dir.path(), params(&["127.0.0.1"]), &ca, &[&ca]);
    let trust = Trust::file(&dir.path().join("ca.crt")).unwrap();
    (Arc::new(Clients::load(Files { ca: None, ..files }).unwrap().0), trust)
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `names`, for both sides of a connection.
fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// Writes a certificate signed by `ca`, its key, and the CAs to trust.
fn write(dir: &Path, params: CertificateParams, ca: &Issuer, trusted: &[&Issuer]) -> Files {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let files = Files {
        ca: Some(dir.join("ca.crt")),
        certificate: dir.join("node.crt"),
        key: dir.join("node.key"),
    };
    let bundle: String = trusted.iter().map(|ca| ca.pem()).collect();
    fs::write(dir.join("ca.crt"), bundle).unwrap();
    fs::write(&files.certificate, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

/// Node `id` of cluster `test`, with a certificate of `ca`, which it trusts.
fn node(id: u64, ca: &Issuer) -> Peers {
    let dir = tempfile::tempdir().unwrap();
    let files = write(dir.path(), params(&[&node_name("test", id)]), ca, &[ca]);
    Peers::load(files, "test", id).unwrap().0
}

/// What `called` makes of `caller`, which means to reach node 2, and what the caller hears.
async fn meet(caller: &Peers, called: &Peers) -> (io::Result<Certified>, io::Result<()>) {
    let (there, here) = duplex(64 * 1024);
    let accept = async {
        let (mut stream, certified) = called.accept(here).await?;
        stream.write_all(b"welcome").await?;
        stream.shutdown().await?;
        Ok(certified)
    };
    let connect = async {
        let mut stream = caller.connect(2, there).await?;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await?;
        assert_eq!(heard, b"welcome");
        Ok(())
    };
    tokio::join!(accept, connect)
}

#[tokio::test]
async fn nodes_of_one_ca_know_each_other_by_name() {
    let ca = ca("one");
    let (certified, heard) = meet(&node(1, &ca), &node(2, &ca)).await;
    heard.unwrap();
    let certified = certified.unwrap();
    certified.is_node(1).unwrap();
    let why = certified.is_node(3).unwrap_err();
    assert!(why.contains("node-3.test.tallykeep.internal"), "{why}");
}

#[tokio::test]
async fn whoever_answers_in_the_place_of_a_node_is_refused() {
    let ca = ca("one");
    let (_, heard) = meet(&node(1, &ca), &node(3, &ca)).await;
    let why = heard.unwrap_err();
    assert!(why.to_string().contains("node-2.test.tallykeep.internal"), "{why}");
    assert_eq!(why.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_on_both_sides() {
    let (one, other) = (ca("one"), ca("other"));
    let (certified, heard) = meet(&node(1, &one), &node(2, &other)).await;
    assert!(certified.is_err());
    assert!(heard.unwrap_err().to_string().contains("UnknownIssuer"));

    // The caller trusts both, so it is the called one that has to refuse.
    let dir = tempfile::tempdir().unwrap();
    let files = write(dir.path(), params(&[&node_name("test", 1)]), &other, &[&one, &other]);
    let (caller, _) = Peers::load(files, "test", 1).unwrap();
    let (certified, heard) = meet(&caller, &node(2, &one)).await;
    assert!(certified.err().unwrap().to_string().contains("UnknownIssuer"));
    assert!(heard.is_err());
}

/// Why node 1 of cluster `test` would not start with this certificate.
fn refusal(params: CertificateParams, ca: &Issuer, trusted: &[&Issuer]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let files = write(dir.path(), params, ca, trusted);
    Peers::load(files, "test", 1).err().expect("it is refused").to_string()
}

#[test]
fn a_certificate_that_peers_would_refuse_is_not_used() {
    let (one, other) = (ca("one"), ca("other"));
    let own = node_name("test", 1);
    let why = refusal(params(&[&node_name("test", 2)]), &one, &[&one]);
    assert!(why.contains(&own) && why.contains("node.crt"), "{why}");
    assert!(refusal(params(&[&node_name("prod", 1)]), &one, &[&one]).contains(&own));
    assert!(refusal(params(&[&own]), &other, &[&one]).contains("UnknownIssuer"));

    let mut expired = params(&[&own]);
    expired.not_after = date_time_ymd(2020, 1, 1);
    assert!(refusal(expired, &one, &[&one]).contains("expired"));
    for usage in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let mut one_sided = params(&[&own]);
        one_sided.extended_key_usages = vec![usage];
        let why = refusal(one_sided, &one, &[&one]);
        assert!(why.contains("peers would refuse this node"), "{why}");
    }
}

#[test]
fn files_that_are_none_are_named() {
    let one = ca("one");
    for (name, text, said) in [
        ("node.crt", "", "node.crt: holds no certificate"),
        ("node.key", "", "node.key: holds no private key"),
        ("ca.crt", "", "ca.crt: holds no certificate"),
        ("node.key", "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n", "Base64"),
        ("node.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n", "without an end"),
        ("node.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "node.crt"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), params(&[&node_name("test", 1)]), &one, &[&one]);
        fs::write(dir.path().join(name), text).unwrap();
        let why = Peers::load(files, "test", 1).err().expect("it is refused").to_string();
        assert!(why.contains(said), "{name}: {why}");
    }
    let dir = tempfile::tempdir().unwrap();
    let files = write(dir.path(), params(&[&node_name("test", 1)]), &one, &[&one]);
    // Another's key.
    fs::write(&files.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(Peers::load(files.clone(), "test", 1).is_err());
    assert!(Clients::load(Files { ca: None, ..files.clone() }).is_err());
    fs::remove_file(&files.key).unwrap();
    assert!(Peers::load(files, "test", 1).err().unwrap().to_string().contains("node.key"));
}

#[tokio::test]
async fn a_ca_is_exchanged_for_another_without_a_moment_of_strangers() {
    let (old, new) = (ca("one"), ca("one"));
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let put = |id: u64, ca: &Issuer, trusted: &[&Issuer]| {
        let dir = dirs[usize::try_from(id - 1).unwrap()].path();
        write(dir, params(&[&node_name("test", id)]), ca, trusted)
    };
    let nodes = [1, 2].map(|id| Peers::load(put(id, &old, &[&old]), "test", id).unwrap().0);
    let reload = |id: u64, ca: &Issuer, trusted: &[&Issuer]| {
        let files = put(id, ca, trusted);
        nodes[usize::try_from(id - 1).unwrap()].take(&files.read().unwrap())
    };
    let both = [&old, &new];
    // In the order of docs/operating.md, a node at a time.
    for (ca, trusted) in [(&old, &both[..]), (&new, &both[..]), (&new, &[&new][..])] {
        for id in [1, 2] {
            reload(id, ca, trusted).unwrap();
            let (certified, heard) = meet(&nodes[0], &nodes[1]).await;
            certified.unwrap().is_node(1).unwrap();
            heard.unwrap();
        }
    }
    // A step left out is refused, and what was there is kept.
    assert!(reload(1, &old, &[&new]).is_err());
    let (certified, _) = meet(&nodes[0], &nodes[1]).await;
    certified.unwrap().is_node(1).unwrap();
}

#[tokio::test]
async fn clients_know_a_node_by_its_host_and_trust_it_by_its_ca() {
    let one = ca("one");
    let dir = tempfile::tempdir().unwrap();
    let files = write(dir.path(), params(&["127.0.0.1", "one.example"]), &one, &[&one]);
    let clients = Arc::new(Clients::load(Files { ca: None, ..files.clone() }).unwrap().0);
    let trust = Trust::file(files.ca.as_deref().unwrap()).unwrap();
    let greet = |trust: Trust, host: &'static str| {
        let clients = clients.clone();
        async move {
            let (there, here) = duplex(64 * 1024);
            let accept = async {
                let mut stream = clients.accept(here).await?;
                stream.write_all(b"hello").await?;
                stream.shutdown().await
            };
            let connect = async {
                let mut heard = String::new();
                trust.connect(host, there).await?.read_to_string(&mut heard).await?;
                io::Result::Ok(heard)
            };
            tokio::join!(accept, connect).1
        }
    };
    for host in ["127.0.0.1", "one.example"] {
        assert_eq!(greet(trust.clone(), host).await.unwrap(), "hello");
    }
    assert!(greet(trust, "two.example").await.is_err());
    assert!(greet(Trust::nobody(), "127.0.0.1").await.is_err());
}
