//! API tokens: who gets in, who is kept out, and what is recorded of both.

mod cluster;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use tallykeep::limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use cluster::{
    Answer, Api, CLUSTER, Ports, Setup, TestCluster, check_body, make_certificates, run,
    run_to_end, run_with, wait_until,
};

const PATH: &str = "/admin/tokens";
const RECORD: &str = "/do/AUDIT_LOGGER/name/tallykeep.system";

fn with_tokens() -> Setup {
    Setup { tokens: true, ..Setup::default() }
}

async fn send(api: &Api, method: Method, id: u64, path: &str, body: &Value) -> Answer {
    Answer::of(api.request(method, id, path).body(body.to_string())).await.expect("an answer")
}

/// Makes a token at a node; gives its id and its secret.
async fn create(api: &Api, id: u64, body: Value) -> (String, String) {
    let answer = send(api, Method::POST, id, PATH, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let made = answer.json();
    let text = |member: &str| made[member].as_str().expect("a text").to_owned();
    (text("id"), text("token"))
}

/// What an answer says, but for its request's id.
fn told(answer: &Answer) -> Value {
    let mut told: Value = serde_json::from_str(&answer.text()).expect("JSON");
    told.as_object_mut().expect("a problem").remove("requestId").expect("an id");
    told
}

/// Waits until a node answers a request with this status.
async fn until(api: &Api, id: u64, path: &str, status: u16) {
    wait_until(&format!("node {id} answers {path} with {status}"), async || {
        let answer = api.try_get(id, path).await.map_err(|error| error.to_string())?;
        if answer.status == status { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

/// The entries of the record, newest first, that a query finds.
async fn recorded(api: &Api, id: u64, query: Value) -> Vec<Value> {
    let found = api.query_at(id, &format!("{RECORD}/query"), &query).await;
    found["entries"].as_array().expect("entries").clone()
}

/// All files of a folder, and of those in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let each = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    each.collect()
}

/// Which of a cluster's files hold a text: data, logs and configurations.
fn files_with(cluster: &TestCluster, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        // A file of a running database may be gone by now.
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files(cluster.dir()).into_iter().filter(holds).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_for_what_it_was_made_for_on_every_node() {
    let cluster = TestCluster::start_as(with_tokens()).await;
    let operator = cluster.api();
    let nobody = operator.with_token(None);
    let body = check_body("u", 5, 600_000);

    // Probes need none, everything else does, routes that there are not too.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(nobody.get(1, path).await.status, 200);
    }
    let missing = nobody.get(1, "/metrics").await;
    missing.problem(401, "unauthenticated");
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    for (method, path) in [
        (Method::POST, "/check"),
        (Method::GET, "/export"),
        (Method::GET, "/openapi.json"),
        (Method::GET, "/nothing"),
        (Method::PATCH, "/check"),
        (Method::GET, "/admin/backup"),
    ] {
        let answer = send(&nobody, method, 2, path, &json!({})).await;
        assert_eq!((answer.status, told(&answer)), (401, told(&missing)), "{path}");
    }

    let (_, check) = create(operator, 1, json!({"name": "check", "scopes": ["check"]})).await;
    let (_, log) = create(operator, 2, json!({"name": "log", "scopes": ["log"]})).await;
    let (_, read) = create(operator, 3, json!({"name": "read", "scopes": ["read"]})).await;
    let (_, admin) = create(operator, 1, json!({"name": "admin", "scopes": ["admin"]})).await;
    let named = json!({"name": "wix", "scopes": ["check", "log"], "bindings": ["RATE_LIMITER"],
        "namePrefixes": ["wix:"]});
    let (named_id, named) = create(operator, 2, named).await;
    let [check, log, read, admin, named] =
        [check, log, read, admin, named].map(|token| operator.with_token(Some(&token)));
    for id in operator.ids() {
        for api in [&check, &log, &read, &admin, &named] {
            until(api, id, "/openapi.json", 200).await;
        }
        let sent = async |api: &Api, method: Method, path: &str, body: &str| {
            let request = api.request(method, id, path).body(body.to_owned());
            Answer::of(request).await.expect("an answer")
        };
        let post =
            async |api: &Api, path: &str, body: &str| sent(api, Method::POST, path, body).await;
        let entry = r#"{"type":"t","action":"a"}"#;
        let good = [
            post(&check, "/check", &body).await,
            post(&check, "/reset", r#"{"identifier":"v"}"#).await,
            post(&check, "/do/RATE_LIMITER/name/any/check", &body).await,
            post(&log, "/log", entry).await,
            post(&log, "/do/AUDIT_LOGGER/name/any/log", entry).await,
            post(&read, "/query", "{}").await,
            sent(&read, Method::GET, "/export", "").await,
            sent(&read, Method::GET, "/metrics", "").await,
            sent(&read, Method::GET, "/admin/cluster", "").await,
            sent(&admin, Method::GET, "/admin/cluster", "").await,
            sent(&admin, Method::GET, PATH, "").await,
            post(&named, "/do/RATE_LIMITER/name/wix%3A1/check", &body).await,
        ];
        for answer in good {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let policy = r#"{"requests":1,"windowMs":1000}"#;
        for (answer, code) in [
            (post(&check, "/log", entry).await, "scope_missing"),
            (post(&check, "/query", "{}").await, "scope_missing"),
            (sent(&check, Method::GET, "/admin/cluster", "").await, "scope_missing"),
            (post(&log, "/check", &body).await, "scope_missing"),
            (post(&read, "/log", entry).await, "scope_missing"),
            (post(&read, "/do/RATE_LIMITER/name/a/reset", "{}").await, "scope_missing"),
            (sent(&read, Method::PUT, "/admin/policies/wix", policy).await, "scope_missing"),
            (sent(&read, Method::GET, "/admin/backup", "").await, "scope_missing"),
            (sent(&read, Method::GET, PATH, "").await, "scope_missing"),
            (post(&admin, "/check", &body).await, "scope_missing"),
            (post(&named, "/log", entry).await, "binding_not_allowed"),
            (post(&named, "/check", &body).await, "name_not_allowed"),
            (
                post(&named, "/do/RATE_LIMITER/name/gamma%3A1/check", &body).await,
                "name_not_allowed",
            ),
        ] {
            answer.problem(403, code);
        }
        // A good token learns of routes what others do.
        check.get(id, "/chek").await.problem(404, "not_found");
        check.get(id, "/check").await.problem(405, "method_not_allowed");
    }
    // What was refused has changed nothing.
    let policies = operator.get(1, "/admin/policies").await.json();
    assert_eq!(policies, json!({"policies": []}));

    let list = operator.get(2, PATH).await;
    let shown = list.json();
    let shown = shown["tokens"].as_array().expect("tokens");
    assert_eq!(shown.len(), 5);
    let one = shown.iter().find(|token| token["id"] == named_id.as_str()).expect("the token");
    assert_eq!(one["namePrefixes"], json!(["wix:"]));
    assert!(one["expiresTime"].is_null() && !list.text().contains("tk_"), "{}", list.text());
    cluster.equal_state().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_token_is_told() {
    let cluster = TestCluster::start_as(Setup { nodes: 1, ..with_tokens() }).await;
    let api = cluster.api();
    let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
    for (body, code) in [
        (json!([]), "invalid_token"),
        (json!({"name": "a"}), "invalid_token"),
        (json!({"name": "a", "scopes": []}), "invalid_token"),
        (json!({"name": "a", "scopes": ["all"]}), "invalid_token"),
        (json!({"name": "", "scopes": ["check"]}), "invalid_field"),
        (json!({"name": long, "scopes": ["check"]}), "invalid_field"),
        (json!({"name": "a\n", "scopes": ["check"]}), "invalid_field"),
        (json!({"name": "a", "scopes": ["check"], "scope": 1}), "invalid_token"),
        (json!({"name": "a", "scopes": ["check"], "bindings": ["NONE"]}), "invalid_token"),
        (json!({"name": "a", "scopes": ["check"], "namePrefixes": [""]}), "invalid_token"),
        (json!({"name": "a", "scopes": ["check"], "ttlMs": 0}), "invalid_token"),
        (json!({"name": "a", "scopes": ["check"], "ttlMs": -1}), "invalid_token"),
        (json!({"name": "a", "scopes": ["check"], "ttlMs": u64::MAX}), "invalid_token"),
    ] {
        send(api, Method::POST, 1, PATH, &body).await.problem(400, code);
    }
    for id in ["operator", "00", "00112233445566778"] {
        let path = format!("{PATH}/{id}");
        send(api, Method::DELETE, 1, &path, &json!({})).await.problem(400, "invalid_token");
    }
    let answer =
        send(api, Method::DELETE, 1, &format!("{PATH}/0011223344556677"), &json!({})).await;
    assert_eq!(answer.text(), r#"{"success":true,"existed":false}"#);
    create(api, 1, json!({"name": "a", "scopes": ["check"]})).await;
    let again = json!({"name": "a", "scopes": ["log"]});
    send(api, Method::POST, 1, PATH, &again).await.problem(409, "token_exists");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_and_expired_tokens_are_refused_everywhere_and_tokens_outlive_nodes() {
    let mut cluster = TestCluster::start_as(with_tokens()).await;
    let operator = cluster.api().clone();
    let unknown = operator.with_token(Some("tk_0011223344556677_00")).get(1, "/openapi.json").await;
    unknown.problem(401, "unauthenticated");

    let (id, gone) = create(&operator, 1, json!({"name": "gone", "scopes": ["check"]})).await;
    let (_, kept) = create(&operator, 2, json!({"name": "kept", "scopes": ["check"]})).await;
    let short = json!({"name": "short", "scopes": ["check"], "ttlMs": 1});
    let (_, short) = create(&operator, 3, short).await;
    let [gone, kept, short] =
        [&gone, &kept, &short].map(|token| operator.with_token(Some(token.as_str())));
    for node in operator.ids() {
        until(&gone, node, "/openapi.json", 200).await;
        until(&kept, node, "/openapi.json", 200).await;
        until(&short, node, "/openapi.json", 401).await;
    }
    let answer = send(&operator, Method::DELETE, 2, &format!("{PATH}/{id}"), &json!({})).await;
    assert_eq!(answer.text(), r#"{"success":true,"existed":true}"#);
    // At once where it was revoked.
    assert_eq!(gone.get(2, "/openapi.json").await.status, 401);
    for node in operator.ids() {
        until(&gone, node, "/openapi.json", 401).await;
        for api in [&gone, &short] {
            let refused = api.get(node, "/openapi.json").await;
            assert_eq!(told(&refused), told(&unknown), "nothing is learnt of tokens");
        }
    }

    let leader = cluster.leader().await;
    cluster.kill(leader);
    cluster.leader().await;
    for node in cluster.active() {
        kept.check(node, "u", 9, 600_000).await;
        assert_eq!(kept.get(node, "/openapi.json").await.status, 200);
    }
    let left = cluster.active();
    // Expired ones give their names up.
    let (_, later) =
        create(&operator, left[0], json!({"name": "short", "scopes": ["check"]})).await;
    let later = operator.with_token(Some(&later));
    cluster.restart(leader);
    cluster.wait_ready().await;
    until(&later, leader, "/openapi.json", 200).await;
    until(&gone, leader, "/openapi.json", 401).await;

    for node in cluster.ids() {
        cluster.kill(node);
    }
    for node in cluster.ids() {
        cluster.restart(node);
    }
    cluster.wait_ready().await;
    for node in cluster.ids() {
        until(&kept, node, "/openapi.json", 200).await;
        until(&gone, node, "/openapi.json", 401).await;
    }
    cluster.equal_state().await;
}

/// A node that is left alone knows what it knew, and one that is started alone knows the operator.
/// How many of a token's requests were taken, and how many refused, as fast as they can be sent to a node.
async fn asked(api: &Api, id: u64, count: usize) -> (usize, usize) {
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..count {
        let answer = api.get(id, "/openapi.json").await;
        match answer.status {
            200 => taken += 1,
            _ => {
                let detail = answer.problem(429, "token_rate_limited");
                assert_eq!(answer.header("retry-after"), "1");
                assert!(detail.contains("\"few\"") && detail.contains("2 times"), "{detail}");
                refused += 1;
            }
        }
    }
    (taken, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_asks_too_often_is_told_so_and_keeps_its_rate() {
    let mut cluster = TestCluster::start_as(with_tokens()).await;
    let operator = cluster.api().clone();
    for rate in [json!(0), json!(-1), json!(1.5), json!("5"), json!(1_000_001)] {
        let body = json!({"name": "n", "scopes": ["check"], "requestsPerSecond": rate});
        send(&operator, Method::POST, 1, PATH, &body).await.problem(400, "invalid_token");
    }
    let body = json!({"name": "few", "scopes": ["check"], "requestsPerSecond": 2});
    let (id, few) = create(&operator, 1, body).await;
    let few = operator.with_token(Some(&few));
    let listed = operator.get(2, PATH).await.json();
    assert_eq!(
        (&listed["tokens"][0]["id"], &listed["tokens"][0]["requestsPerSecond"]),
        (&json!(id), &json!(2))
    );
    for restarted in [false, true] {
        if restarted {
            for id in cluster.ids() {
                cluster.terminate(id).await;
            }
            for id in cluster.ids() {
                cluster.restart(id);
            }
            cluster.wait_ready().await;
        }
        for node in operator.ids() {
            until(&few, node, "/openapi.json", 200).await;
            let began = Instant::now();
            let (taken, refused) = asked(&few, node, 50).await;
            // A second's worth at once, and the rate besides.
            let most = 2.0 + 2.0 * began.elapsed().as_secs_f64();
            assert!(taken as f64 <= most.ceil() && refused > 0, "{taken} {refused} {most}");
            // A request that its scope does not allow is one too; others are not concerned.
            let other = few.get(node, "/metrics").await.status;
            assert!(matches!(other, 403 | 429), "{other}");
            assert_eq!(operator.get(node, "/openapi.json").await.status, 200);
            // Who waits as he is told gets through.
            until(&few, node, "/openapi.json", 200).await;
            let metrics = operator.get(node, "/metrics").await.text();
            let counted = metrics
                .lines()
                .find_map(|line| line.strip_prefix("tallykeep_http_token_limited_total "))
                .expect("it is counted");
            assert!(counted.parse::<usize>().expect("a number") >= refused, "{counted}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_known_tokens_are_known_and_nothing_is_done() {
    let mut cluster = TestCluster::start_as(with_tokens()).await;
    let operator = cluster.api().clone();
    let scopes = json!(["check", "read"]);
    let (_, token) = create(&operator, 1, json!({"name": "known", "scopes": scopes})).await;
    let known = operator.with_token(Some(&token));
    until(&known, 1, "/admin/cluster", 200).await;
    cluster.kill(2);
    cluster.kill(3);
    wait_until("node 1 knows that it is alone", async || {
        let answer = operator.get(1, "/readyz").await;
        if answer.status == 503 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    assert_eq!(known.get(1, "/admin/cluster").await.status, 200);
    known.check(1, "u", 9, 600_000).await.problem(503, "no_leader");
    let body = json!({"name": "more", "scopes": ["check"]});
    send(&operator, Method::POST, 1, PATH, &body).await.problem(503, "no_leader");

    cluster.kill(1);
    cluster.restart(1);
    until(&operator, 1, "/admin/cluster", 200).await;
    // It may have been revoked while this node was down.
    known.get(1, "/admin/cluster").await.problem(503, "no_leader");
    operator.with_token(None).get(1, "/admin/cluster").await.problem(401, "unauthenticated");
    cluster.restart(2);
    cluster.restart(3);
    cluster.wait_ready().await;
    for node in cluster.ids() {
        until(&known, node, "/admin/cluster", 200).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_and_who_is_refused_is_recorded_and_no_secret_is() {
    let mut cluster = TestCluster::start_as(with_tokens()).await;
    let operator = cluster.api().clone();
    let new = json!({"name": "recorded-name", "scopes": ["admin"]});
    let (id, secret) = create(&operator, 1, new).await;
    let admin = operator.with_token(Some(&secret));
    let policy = json!({"requests": 7, "windowMs": 1000});
    let put = send(&admin, Method::PUT, 1, "/admin/policies/wix", &policy).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let taken = json!({"add": {"id": 2, "http": "127.0.0.1:1", "peer": "127.0.0.1:2"}});
    send(&admin, Method::POST, 1, "/admin/members", &taken).await.problem(409, "already_member");

    // The begun one is there before the action is done, the ended one soon after.
    let entries = async |action: &str, count: usize| {
        wait_until(&format!("{count} entries of {action}"), async || {
            let found = recorded(&operator, 3, json!({"type": "admin", "action": action})).await;
            if found.len() == count { Ok(found) } else { Err(format!("{found:?}")) }
        })
        .await
    };
    let found = entries("tokens.post", 2).await;
    let (ended, begun) = (&found[0], &found[1]);
    for (entry, phase) in [(begun, "begun"), (ended, "ended")] {
        assert_eq!(entry["userId"], "operator", "{entry}");
        assert_eq!(entry["ip"], "127.0.0.1", "{entry}");
        assert_eq!(entry["details"]["phase"], phase, "{entry}");
        assert_eq!(entry["details"]["target"], PATH, "{entry}");
        assert_eq!(entry["details"]["operation"], begun["details"]["operation"], "{entry}");
        assert_eq!(entry["details"]["request"], begun["details"]["request"], "{entry}");
    }
    assert_eq!(ended["details"]["status"], 200, "{ended}");
    assert_eq!(ended["details"]["what"]["id"], id.as_str(), "{ended}");
    let found = entries("policies.put", 2).await;
    assert_eq!(found[0]["userId"], id.as_str(), "{found:?}");
    assert_eq!(found[0]["details"]["tokenName"], "recorded-name", "{found:?}");
    assert_eq!(found[0]["details"]["what"], policy, "{found:?}");
    let found = entries("members.post", 2).await;
    assert_eq!(found[0]["details"]["status"], 409, "{found:?}");
    assert_eq!(found[0]["details"]["what"], taken, "{found:?}");
    assert_eq!(recorded(&operator, 1, json!({"action": "policies.get"})).await.len(), 0);

    // A flood at one node comes to one entry at once, and to one more a minute.
    let stranger = operator.with_token(Some("tk_0011223344556677_00"));
    for _ in 0..200 {
        assert_eq!(stranger.get(1, "/check").await.status, 401);
    }
    let found = wait_until("refused logins are recorded", async || {
        let found = recorded(&operator, 2, json!({"type": "login", "action": "refused"})).await;
        if found.is_empty() { Err("none".to_owned()) } else { Ok(found) }
    })
    .await;
    let entry = &found[found.len() - 1];
    assert_eq!(entry["ip"], "127.0.0.1", "{entry}");
    assert!(entry["details"]["invalid"].as_u64() > Some(0), "{entry}");
    let found = recorded(&operator, 2, json!({"type": "login"})).await;
    assert_eq!(found.len(), 1, "200 refusals at one node, in far less than a minute: {found:?}");

    // Nobody writes to it, whatever the way.
    let forged = json!({"type": "admin", "action": "tokens.post"});
    for path in [format!("{RECORD}/log"), format!("{RECORD}/log/batch")] {
        send(&operator, Method::POST, 1, &path, &forged).await.problem(403, "reserved_object");
    }
    let namespace = tallykeep::machine::Namespace::new(&format!("{CLUSTER}-AuditLogger"));
    let hex = namespace.hex(namespace.object("tallykeep.system").id);
    let path = format!("/do/AUDIT_LOGGER/id/{hex}/log");
    send(&operator, Method::POST, 1, &path, &forged).await.problem(403, "reserved_object");

    cluster.equal_state().await;
    for node in cluster.ids() {
        let (status, _) = cluster.terminate(node).await;
        assert!(status.success());
    }
    // What is looked for can be found.
    assert!(files_with(&cluster, "recorded-name").len() >= 3);
    for secret in [secret.as_str(), cluster.operator()] {
        let digits = secret.rsplit_once('_').expect("a secret").1;
        assert_eq!(files_with(&cluster, digits), Vec::<PathBuf>::new(), "a secret is kept");
    }
}

/// A request without a token is refused before its body has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_token_sends_no_body() {
    let cluster = TestCluster::start_as(Setup { nodes: 1, ..with_tokens() }).await;
    let address = cluster.api().url(1).strip_prefix("http://").expect("a URL").to_owned();
    let mut client = TcpStream::connect(&address).await.expect("a connection");
    let head = b"POST /admin/import HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{";
    client.write_all(head).await.expect("it is sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("a clean end");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_keep_tokens_by_the_command() {
    let secured = Setup { tls: true, ..with_tokens() };
    let cluster = TestCluster::start_as(secured).await;
    let ca = cluster.dir().join("certs/ca.crt");
    let urls: Vec<&str> = cluster.ids().iter().map(|id| cluster.api().url(*id)).collect();
    let urls = urls.join(",");
    let run_as = async |token: &str, arguments: &[&str]| {
        let environment = [
            ("TALLYKEEP_ENDPOINT", OsStr::new(&urls)),
            ("TALLYKEEP_CA", ca.as_os_str()),
            ("TALLYKEEP_TOKEN", OsStr::new(token)),
        ];
        run_with(arguments, &environment).output().await
    };
    let operator = cluster.operator();
    let file = cluster.dir().join("app.token");
    let file = file.to_str().expect("UTF-8");
    let create = ["tokens", "create", "app", "--scope", "check", "--scope", "log", "--to", file];
    let (code, stdout, stderr) = run_as(operator, &create).await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    let token = fs::read_to_string(file).expect("the token's file");
    let token = token.trim_end();
    assert!(stderr.contains("app") && !stderr.contains(token), "{stderr}");
    let (code, _, stderr) = run_as(operator, &create).await;
    assert_eq!(code, Some(1), "the file is there: {stderr}");
    let taken = ["tokens", "create", "app", "--scope", "check"];
    let (code, _, stderr) = run_as(operator, &taken).await;
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("token_exists"), "{stderr}");

    let check = ["check", "user", "--requests", "3", "--window", "1h"];
    let app = cluster.api().with_token(Some(token));
    for id in cluster.ids() {
        until(&app, id, "/openapi.json", 200).await;
    }
    let (code, _, stderr) = run_as(token, &check).await;
    assert_eq!(code, Some(0), "{stderr}");
    let bench = ["bench", "--duration", "200ms", "--warm-up", "0s", "--json", "--token-file", file];
    let (code, stdout, stderr) = run_as("", &bench).await;
    assert_eq!(code, Some(0), "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).expect("a summary");
    assert!(summary["requests"].as_u64() > Some(0), "{summary}");
    let (code, _, stderr) = run_as(token, &["query"]).await;
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("scope_missing"), "{stderr}");
    let (code, _, stderr) = run_as("tk_0011223344556677_00", &["status"]).await;
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("unauthenticated"), "{stderr}");

    let few = ["tokens", "create", "few", "--scope", "read", "--requests-per-second", "77"];
    let (code, _, stderr) = run_as(operator, &few).await;
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stdout, stderr) = run_as(operator, &["tokens", "list"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("app") && stdout.contains("check,log"), "{stdout}");
    assert!(stdout.lines().any(|line| line.contains("few") && line.ends_with("  77")), "{stdout}");
    let (code, stdout, _) = run_as(operator, &["tokens", "revoke", "app"]).await;
    assert_eq!(code, Some(0), "{stdout}");
    let (code, _, stderr) = run_as(operator, &["tokens", "revoke", "app"]).await;
    assert_eq!(code, Some(4), "{stderr}");
    for id in cluster.ids() {
        until(&app, id, "/openapi.json", 401).await;
    }
    let (code, _, stderr) = run_as(token, &check).await;
    assert_eq!(code, Some(4), "{stderr}");

    // What else one needs: who belongs to the cluster, a backup, and its record.
    let backup = cluster.dir().join("backup.tar");
    let (code, _, stderr) = run_as(operator, &["backup", backup.to_str().expect("UTF-8")]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let query = [
        "query",
        "--binding",
        "AUDIT_LOGGER",
        "--object",
        "tallykeep.system",
        "--action",
        "backup.get",
    ];
    let (code, stdout, stderr) = run_as(operator, &query).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("operator"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_tls_alone_is_not_open_to_other_machines() {
    let ports = Ports::reserve(2);
    let [http, peer] = ports.numbers() else { panic!("two ports") };
    let dir = tempfile::tempdir().expect("a temporary folder");
    make_certificates(&dir.path().join("certs"), 1);
    let token = dir.path().join("operator.token");
    let told = run_to_end(&["tokens", "operator", token.to_str().expect("UTF-8")]);
    let auth: String = told
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let file = dir.path().join("node.toml");
    let config = |end: &str| {
        let text = format!(
            "cluster = \"{CLUSTER}\"\nid = 1\ndata = \"data\"\nhttp = \"0.0.0.0:{http}\"\n\
             [[nodes]]\nid = 1\nhttp = \"127.0.0.1:{http}\"\npeer = \"127.0.0.1:{peer}\"\n\
             [tls.clients]\ncertificate = \"certs/node1.crt\"\nkey = \"certs/node1.key\"\n{end}"
        );
        fs::write(&file, text).expect("a file in a temporary folder");
    };
    let path = file.to_str().expect("UTF-8");
    config("");
    let (code, _, stderr) = run(&["serve", "--config", path]).output().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("without tokens") && stderr.contains("[auth]"), "{stderr}");
    config(&auth);
    let node = run(&["serve", "--config", path]);
    let trust = tallykeep::tls::Trust::file(&dir.path().join("certs/ca.crt")).expect("a CA");
    let secret = fs::read_to_string(&token).expect("a token");
    let api = Api::trusting(&trust, vec![format!("https://127.0.0.1:{http}")]);
    let operator = api.with_token(Some(secret.trim_end()));
    wait_until("the node serves its operator", async || {
        match operator.try_get(1, "/readyz").await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?} {}", node.stderr())),
        }
    })
    .await;
    assert_eq!(operator.get(1, "/admin/cluster").await.status, 200);
    api.get(1, "/admin/cluster").await.problem(401, "unauthenticated");
}
