//! `/do/{binding}/name|id/…`: the same objects by every way to them.

use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cluster::{Api, CLUSTER, Setup, TestCluster, iso, now_ms};

const MINUTE_MS: u64 = 60_000;

/// A namespace, with the ids that workerd would compute (SPEC section 3).
struct Namespace([u8; 32]);

impl Namespace {
    fn new(unique_key: &str) -> Self {
        Self(Sha256::digest(unique_key.as_bytes()).into())
    }

    fn mac(&self, text: &[u8]) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(text);
        *mac.finalize().into_bytes().first_chunk().expect("32 bytes")
    }

    fn id_of(&self, first: [u8; 16]) -> String {
        hex::encode([first, self.mac(&first)].concat())
    }

    /// `idFromName(name)`.
    fn id_from_name(&self, name: &str) -> String {
        self.id_of(self.mac(name.as_bytes()))
    }

    /// `newUniqueId()`.
    fn new_unique_id(&self) -> String {
        self.id_of(rand::rng().random())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limiter_is_the_same_by_root_name_and_id() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    let limiters = Namespace::new(&format!("{CLUSTER}-RateLimiter"));
    let shards = Namespace::new(&format!("{CLUSTER}-AuditLogger"));
    all_ways_lead_to_one_limiter(api, &limiters).await;
    names_are_percent_encoded(api, &limiters).await;
    ids_without_a_name_work(api, &limiters).await;
    what_names_no_object_is_refused(api, &limiters, &shards).await;
    cluster.equal_state().await;
}

async fn check(api: &Api, node: u64, path: &str, identifier: &str) -> u64 {
    let config = json!({"requests": 100, "windowMs": 10 * MINUTE_MS});
    let body = json!({"identifier": identifier, "config": config, "type": "ignored below /do"});
    let body = if path == "/check" {
        let (kind, identifier) = identifier.split_once(':').expect("type:identifier");
        json!({"identifier": identifier, "config": config, "type": kind})
    } else {
        body
    };
    let answer = api.post(node, path, body.to_string()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let remaining = answer.json()["remaining"].as_u64().expect("a remaining");
    answer.admitted(100, remaining);
    100 - remaining
}

async fn all_ways_lead_to_one_limiter(api: &Api, limiters: &Namespace) {
    let id = limiters.id_from_name("wix:10.0.0.1");
    let by_name = "/do/RATE_LIMITER/name/wix%3A10.0.0.1";
    let by_id = format!("/do/RATE_LIMITER/id/{id}");
    assert_eq!(check(api, 1, "/check", "wix:10.0.0.1").await, 1);
    assert_eq!(check(api, 2, &format!("{by_name}/check"), "10.0.0.1").await, 2);
    assert_eq!(check(api, 3, &format!("{by_id}/check"), "10.0.0.1").await, 3);
    let upper = format!("/do/RATE_LIMITER/id/{}/check", id.to_uppercase());
    assert_eq!(check(api, 1, &upper, "10.0.0.1").await, 4);
    // Not every client encodes a colon.
    assert_eq!(check(api, 2, "/do/RATE_LIMITER/name/wix:10.0.0.1/check", "10.0.0.1").await, 5);
    // Another identifier in the same object counts by itself: the guide's key is
    // `ratelimit:{identifier}`.
    assert_eq!(check(api, 1, &format!("{by_id}/check"), "10.0.0.2").await, 1);
    assert_eq!(check(api, 2, &format!("{by_name}/check"), "10.0.0.2").await, 2);
    assert_eq!(check(api, 3, "/check", "wix:10.0.0.2").await, 1, "another object");

    for (node, path) in [(3, format!("{by_name}/reset")), (1, format!("{by_id}/reset"))] {
        let answer = api.post(node, &path, r#"{"identifier":"10.0.0.1"}"#).await;
        assert_eq!(answer.text(), r#"{"success":true}"#);
        assert_eq!(check(api, node, "/check", "wix:10.0.0.1").await, 1);
    }
    assert_eq!(check(api, 2, &format!("{by_id}/check"), "10.0.0.2").await, 3, "not reset");
}

async fn names_are_percent_encoded(api: &Api, limiters: &Namespace) {
    let long = "n".repeat(1025);
    for (name, encoded) in [
        ("a/b é", "a%2Fb%20%C3%A9"),
        ("a/b é", "%61%2fb%20%c3%A9"),
        ("100%", "100%25"),
        ("a+b", "a+b"),
        ("?#", "%3F%23"),
        ("log:ü", "log%3A%C3%BC"),
        (&long, &long),
    ] {
        let by_name = format!("/do/RATE_LIMITER/name/{encoded}/check");
        let by_id = format!("/do/RATE_LIMITER/id/{}/check", limiters.id_from_name(name));
        let first = check(api, 1, &by_name, "u").await;
        assert_eq!(check(api, 2, &by_id, "u").await, first + 1, "{name}");
    }
}

async fn ids_without_a_name_work(api: &Api, limiters: &Namespace) {
    let id = limiters.new_unique_id();
    let path = format!("/do/RATE_LIMITER/id/{id}/check");
    for (node, count) in api.ids().zip(1..) {
        assert_eq!(check(api, node, &path, "u").await, count);
    }
    let other = format!("/do/RATE_LIMITER/id/{}/check", limiters.new_unique_id());
    assert_eq!(check(api, 1, &other, "u").await, 1);
}

async fn what_names_no_object_is_refused(api: &Api, limiters: &Namespace, shards: &Namespace) {
    let of_shards = shards.id_from_name("a");
    let of_strangers = Namespace::new("other-RateLimiter").id_from_name("a");
    let own = limiters.id_from_name("a");
    let long = "n".repeat(1026);
    let body = r#"{"identifier":"u","config":{"requests":1,"windowMs":1000}}"#;
    for node in api.ids() {
        for (which, code) in [
            (format!("id/{of_shards}"), "foreign_id"),
            (format!("id/{of_strangers}"), "foreign_id"),
            (format!("id/{}", "0".repeat(64)), "foreign_id"),
            (format!("id/{}", &own[..63]), "invalid_id"),
            (format!("id/{own}0"), "invalid_id"),
            (format!("id/{}g", &own[..63]), "invalid_id"),
            ("id/a".to_owned(), "invalid_id"),
            (format!("name/{long}"), "name_too_long"),
            ("name/%".to_owned(), "invalid_encoding"),
            ("name/%zz".to_owned(), "invalid_encoding"),
            ("name/%ff".to_owned(), "invalid_encoding"),
        ] {
            let path = format!("/do/RATE_LIMITER/{which}/check");
            api.post(node, &path, body).await.problem(400, code);
        }
        for path in [
            "/do/NOTHING/name/a/check".to_owned(),
            "/do/rate_limiter/name/a/check".to_owned(),
            "/do/NOTHING/name/a/export".to_owned(),
            format!("/do/NOTHING/id/{own}/check"),
            // Of the other class.
            "/do/AUDIT_LOGGER/name/a/check".to_owned(),
            "/do/AUDIT_LOGGER/name/a/reset".to_owned(),
            "/do/RATE_LIMITER/name/a/log".to_owned(),
            "/do/RATE_LIMITER/name/a/query".to_owned(),
            "/do/RATE_LIMITER/name/a/export".to_owned(),
            // Without a name, with two, or with neither name nor id.
            "/do/RATE_LIMITER/name//check".to_owned(),
            "/do/RATE_LIMITER/name/a/b/check".to_owned(),
            "/do/RATE_LIMITER/names/a/check".to_owned(),
        ] {
            let answer = if path.ends_with("export") {
                api.get(node, &path).await
            } else {
                api.post(node, &path, body).await
            };
            answer.problem(404, "not_found");
        }
    }
}

/// SPEC section 3: bindings as they stand in a `wrangler.toml`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_binding_is_a_further_namespace() {
    let wrangler = tempfile::NamedTempFile::new().expect("a temporary file");
    let bindings = r#"
        name = "worker"
        main = "src/index.ts"

        [[durable_objects.bindings]]
        name = "RATE_LIMITER"
        class_name = "RateLimiter"
        script_name = "wix-gamma-integration"
        [[durable_objects.bindings]]
        name = "RATE_LIMITER_PROD"
        class_name = "RateLimiter"
        script_name = "wix-gamma-integration-prod"
        [[durable_objects.bindings]]
        name = "AUDIT_LOGGER"
        class_name = "AuditLogger"

        [[migrations]]
        tag = "v1"
        new_classes = ["RateLimiter", "AuditLogger"]
    "#;
    std::fs::write(wrangler.path(), bindings).expect("a temporary file");
    let settings = format!("wrangler = {:?}", wrangler.path());
    let setup = Setup { nodes: 1, settings, ..Setup::default() };
    let cluster = TestCluster::start_as(setup).await;
    let api = cluster.api();
    let dev = Namespace::new("wix-gamma-integration-RateLimiter").id_from_name("wix:u");
    let prod = Namespace::new("wix-gamma-integration-prod-RateLimiter").id_from_name("wix:u");
    let by_id = |binding: &str, id: &str| format!("/do/{binding}/id/{id}/check");

    assert_eq!(check(api, 1, "/check", "wix:u").await, 1);
    assert_eq!(check(api, 1, &by_id("RATE_LIMITER", &dev), "u").await, 2);
    assert_eq!(check(api, 1, "/do/RATE_LIMITER_PROD/name/wix:u/check", "u").await, 1);
    assert_eq!(check(api, 1, &by_id("RATE_LIMITER_PROD", &prod), "u").await, 2);
    assert_eq!(check(api, 1, "/check", "wix:u").await, 3);
    let body = r#"{"identifier":"u","config":{"requests":1,"windowMs":1000}}"#;
    let foreign = api.post(1, &by_id("RATE_LIMITER_PROD", &dev), body).await;
    foreign.problem(400, "foreign_id");
    let shard = Namespace::new("worker-AuditLogger").id_from_name("2024-01-15");
    let path = format!("/do/AUDIT_LOGGER/id/{shard}/log");
    api.log_at(1, &path, r#"{"type":"t","action":"a"}"#).await;
}

/// The guide's client never uses the root: it logs to `idFromName(today)`. What it logged has to be
/// found from the root all the same, and stay found when others log there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_days_shard_is_the_same_by_root_name_and_id() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    let shards = Namespace::new(&format!("{CLUSTER}-AuditLogger"));
    let entry = r#"{"type":"t","action":"a"}"#;

    // Another day's shard, and one without a date: each keeps its entries to itself.
    for (name, node) in [("2024-01-15", 1), ("not a date", 2)] {
        let encoded = name.replace(' ', "%20");
        let by_name = format!("/do/AUDIT_LOGGER/name/{encoded}");
        let by_id = format!("/do/AUDIT_LOGGER/id/{}", shards.id_from_name(name));
        let first = api.log_at(node, &format!("{by_name}/log"), entry).await;
        let second = api.log_at(node + 1, &format!("{by_id}/log"), entry).await;
        for path in [&by_name, &by_id] {
            let log = api.query_at(node, &format!("{path}/query"), &json!({})).await;
            assert_eq!(ids(&log), [&second[..], &first], "{path}");
            let export = api.get(node + 1, &format!("{path}/export?order=asc")).await.json();
            assert_eq!(ids(&export), [&first[..], &second], "{path}");
            assert_eq!(export["count"], 2);
        }
    }
    let nothing = api.query_at(3, "/do/AUDIT_LOGGER/name/2024-01-16/query", &json!({})).await;
    assert_eq!(nothing, json!({"entries": [], "count": 0}));

    // Today's. Around midnight the first entry may be of the day before: then once more.
    loop {
        let today = iso(now_ms())[..10].to_owned();
        let by_id = format!("/do/AUDIT_LOGGER/id/{}", shards.id_from_name(&today));
        let by_name = format!("/do/AUDIT_LOGGER/name/{today}");
        let before = api.query(1, &json!({})).await["count"].as_u64().expect("a count");
        let first = api.log_at(1, &format!("{by_id}/log"), entry).await;
        let second = api.log_at(2, "/log", entry).await;
        let third = api.log_at(3, &format!("{by_name}/log"), entry).await;
        let expected = [&third[..], &second, &first];
        let shard = api.query_at(2, &format!("{by_name}/query"), &json!({"limit": 3})).await;
        let at_ms = shard["entries"][0]["timestamp"].as_u64().expect("a timestamp");
        if !iso(at_ms).starts_with(&today) || ids(&shard) != expected {
            assert_ne!(
                today,
                iso(now_ms())[..10],
                "three ways to today's shard lead apart: {shard}"
            );
            continue;
        }
        for node in api.ids() {
            let root = api.query(node, &json!({"limit": 3})).await;
            assert_eq!(ids(&root), expected, "the root's query: {root}");
            let all = api.query(node, &json!({})).await["count"].as_u64();
            assert_eq!(all, Some(before + 3));
            let root = api.get(node, "/export").await.json();
            assert_eq!(ids(&root)[..3], expected, "the root's export");
        }
        break;
    }
    cluster.equal_state().await;
}

fn ids(log: &serde_json::Value) -> Vec<&str> {
    let entries = log["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry["id"].as_str().expect("an id")).collect()
}
