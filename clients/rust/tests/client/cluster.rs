//! Against real nodes.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tallykeep_client::{Client, ErrorKind, Filter, Format, Limit, NewEntry, Order, Query, Result};

use crate::fake::{Asked, FakeNode, Reply};
use crate::nodes::Cluster;
use crate::wait::wait_for;

const FIVE: Limit = Limit { requests: 5, window_ms: 3_600_000 };
const MANY: Limit = Limit { requests: 1_000_000, window_ms: 3_600_000 };

fn of_type(type_: &str) -> Filter {
    Filter { type_: Some(type_.to_owned()), ..Filter::default() }
}

async fn whole(client: &Client, format: Format, filter: &Filter) -> String {
    let mut export = client.export(format, filter).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = export.next().await.unwrap() {
        bytes.extend_from_slice(&part);
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_real_cluster_takes_every_call() {
    let cluster = Cluster::start(3).await;
    let client = Client::new(cluster.endpoints()).unwrap();
    limits(&cluster, &client).await;
    entries(&client).await;
    pages(&client).await;
    exports(&client).await;
    refusals(&client).await;
}

async fn limits(cluster: &Cluster, client: &Client) {
    let mut decisions = Vec::new();
    for _ in 0..7 {
        decisions.push(client.check("i", "wix", FIVE).await.unwrap());
    }
    let remaining: Vec<_> = decisions.iter().map(|one| one.remaining).collect();
    assert_eq!(remaining, [4, 3, 2, 1, 0, 0, 0]);
    for (index, one) in decisions.iter().enumerate() {
        assert_eq!(one.allowed, index < 5);
        assert_eq!(one.retry_after_s.is_some(), index >= 5);
        assert_eq!(one.reset_time_ms, decisions[0].reset_time_ms);
    }
    assert!((3_500..=3_600).contains(&decisions[6].retry_after_s.unwrap()));
    assert_eq!(client.check("i", None, FIVE).await.unwrap().remaining, 4);
    client.reset("i", "wix").await.unwrap();
    assert_eq!(client.check("i", "wix", FIVE).await.unwrap().remaining, 4);

    // Without a limit it goes by the policy of its type.
    let error = client.check("i", "policy", None).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Request, Some("no_policy")));
    cluster.put_policy("policy", 1, 3_600_000).await;
    assert!(client.check("i", "policy", None).await.unwrap().allowed);
    assert!(!client.check("i", "policy", None).await.unwrap().allowed);

    let one = Limit { requests: 1, ..FIVE };
    for identifier in ["", &"x".repeat(600), "a\nb", "\u{85}"] {
        assert!(client.check(identifier, "odd", one).await.unwrap().allowed);
        assert!(!client.check(identifier, "odd", one).await.unwrap().allowed);
        client.reset(identifier, "odd").await.unwrap();
        assert!(client.check(identifier, "odd", one).await.unwrap().allowed);
    }
}

async fn entries(client: &Client) {
    let details: Value =
        serde_json::from_str(r#"{"s":"a,\"b","n":[null,0.5],"ключ":{"a":{}}}"#).unwrap();
    let entry = NewEntry::new("entries", "a")
        .user_id("u")
        .ip("1.2.3.4")
        .details(&details)
        .and_then(|entry| entry.member("timestamp", &7))
        .and_then(|entry| entry.member("id", &"mine"))
        .and_then(|entry| entry.member("requestId", &"r-1"))
        .unwrap();
    let id = client.log(&entry).await.unwrap();
    let query = Query { filter: of_type("entries"), ..Query::default() };
    let page = client.query(&query).await.unwrap();
    let [entry] = page.entries.as_slice() else { panic!("{page:?}") };
    assert_eq!((&entry.id, entry.action.as_str()), (&id, "a"));
    assert_eq!((entry.user_id.as_deref(), entry.ip.as_deref()), (Some("u"), Some("1.2.3.4")));
    assert_eq!(entry.details::<Value>().unwrap(), details);
    assert_eq!(entry.client_time.as_ref().unwrap().get(), "7");
    assert_eq!(entry.client_id.as_ref().unwrap().get(), r#""mine""#);
    assert_eq!(entry.members[0].0, "requestId");

    // As it was written: neither a float nor another spelling of it.
    let raw: Box<serde_json::value::RawValue> =
        serde_json::from_str(r#"{"big":123456789012345678901234567890,"half":1.50}"#).unwrap();
    client.log(&NewEntry::new("raw", "a").details(&raw).unwrap()).await.unwrap();
    let query = Query { filter: of_type("raw"), ..Query::default() };
    let page = client.query(&query).await.unwrap();
    assert_eq!(page.entries[0].details.get(), raw.get());
}

async fn pages(client: &Client) {
    let mut ids = Vec::new();
    for index in 0..7 {
        let entry = NewEntry::new("pages", format!("a{}", index % 2)).user_id(format!("u{index}"));
        ids.push(client.log(&entry).await.unwrap());
    }
    for order in [Order::Asc, Order::Desc] {
        let filter = Filter { order, ..of_type("pages") };
        let mut query = Query { filter, limit: Some(3), cursor: None };
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let page = client.query(&query).await.unwrap();
            found.extend(page.entries.into_iter().map(|entry| entry.id));
            pages += 1;
            query.cursor = page.cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        let mut expected = ids.clone();
        if order == Order::Desc {
            expected.reverse();
        }
        assert_eq!((found, pages), (expected, 3));
    }
    let count = async |filter: Filter| {
        client.query(&Query { filter, ..Query::default() }).await.unwrap().entries.len()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(count(Filter { action: text("a0"), ..of_type("pages") }).await, 4);
    assert_eq!(count(Filter { user_id: text("u3"), ..of_type("pages") }).await, 1);
    assert_eq!(count(Filter { ip: text("none"), ..of_type("pages") }).await, 0);
    assert_eq!(count(Filter { end_time_ms: Some(1), ..of_type("pages") }).await, 0);
    assert_eq!(count(Filter { start_time_ms: Some(1), ..of_type("pages") }).await, 7);
}

async fn exports(client: &Client) {
    let mut ids = Vec::new();
    for index in 0..5 {
        let entry = NewEntry::new("a b&c=é", "=a").details(&json!({"n": index})).unwrap();
        ids.push(client.log(&entry).await.unwrap());
    }
    let filter = of_type("a b&c=é");
    let json: Value = serde_json::from_str(&whole(client, Format::Json, &filter).await).unwrap();
    assert_eq!(json["count"], 5);
    assert_eq!(json["entries"][0]["id"], ids[4].as_str());
    let oldest_first = Filter { order: Order::Asc, ..filter };
    let lines = whole(client, Format::Ndjson, &oldest_first).await;
    let found: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<tallykeep_client::Entry>(line).unwrap().id)
        .collect();
    assert_eq!(found, ids);
    let escaped = whole(client, Format::Csv { escape: true }, &oldest_first).await;
    assert!(
        escaped.starts_with(&format!("id,timestamp,type,action,userId,ip,details\r\n{}", ids[0]))
    );
    assert!(escaped.contains(",'=a,"));
    assert!(whole(client, Format::Csv { escape: false }, &oldest_first).await.contains(",=a,"));
}

async fn refusals(client: &Client) {
    let refused = |error: tallykeep_client::Error| {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Request, false));
        (error.status().unwrap(), error.code().unwrap().to_owned())
    };
    let error = client.log(&NewEntry::new("", "a")).await.unwrap_err();
    assert_eq!(refused(error), (400, "invalid_field".to_owned()));
    let large = json!({"x": "x".repeat(300_000)});
    let error = client.log(&NewEntry::new("t", "a").details(&large).unwrap()).await.unwrap_err();
    assert_eq!(refused(error), (413, "details_too_large".to_owned()));
    let query = Query { limit: Some(10_001), ..Query::default() };
    let error = client.query(&query).await.unwrap_err();
    assert_eq!(refused(error), (400, "invalid_field".to_owned()));
    let backwards = Filter { start_time_ms: Some(2), end_time_ms: Some(1), ..Filter::default() };
    let error = client.export(Format::Json, &backwards).await.unwrap_err();
    assert_eq!(refused(error).0, 400);
}

/// Whether a node carries a request out once for its `Idempotency-Key`. Those from before there were
/// keys do not, and the README says so.
async fn takes_keys(client: &Client) -> bool {
    let keyed = client.with_idempotency_key("probe").unwrap();
    let first = keyed.check("probe", None, FIVE).await.unwrap();
    keyed.check("probe", None, FIVE).await.unwrap() == first
}

/// Whether a test that needs keys is to be left. Then it says so, in a line that
/// `scripts/test-clients.sh` counts: the test runner knows no tests that skip themselves.
async fn skips(client: &Client, test: &str) -> bool {
    let skips = !takes_keys(client).await;
    if skips {
        // Not `eprintln!`, which the runner shows of tests that fail alone.
        let line = format!("\nskipped: {test}: this tallykeep takes no Idempotency-Key\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    skips
}

#[tokio::test]
async fn a_callers_key_holds_across_calls() {
    let cluster = Cluster::start(1).await;
    let client = Client::new(cluster.endpoints()).unwrap();
    if skips(&client, "a_callers_key_holds_across_calls").await {
        return;
    }
    let keyed = client.with_idempotency_key("order-17").unwrap();
    let first = keyed.check("key", None, FIVE).await.unwrap();
    assert_eq!(first.remaining, 4);
    assert_eq!(keyed.check("key", None, FIVE).await.unwrap(), first);
    assert_eq!(client.check("key", None, FIVE).await.unwrap().remaining, 3);
    let error = keyed.check("other", None, FIVE).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Request, Some(422)));
}

#[tokio::test]
async fn an_answer_that_is_lost_on_its_way_is_asked_for_again_and_counted_once() {
    let cluster = Cluster::start(1).await;
    let node = cluster.endpoints().remove(0);
    if skips(&Client::new([&node]).unwrap(), "an_answer_that_is_lost_on_its_way").await {
        return;
    }
    let lossy = FakeNode::start({
        let node = node.clone();
        move |_, asked| lose(format!("{node}{}", asked.path), asked.clone())
    })
    .await;
    let client = Client::builder([&lossy.endpoint, &node]).first_turn(0).build().unwrap();
    assert_eq!(client.check("lost", None, FIVE).await.unwrap().remaining, 4);
    assert_eq!(lossy.requests().len(), 1);
    assert_eq!(client.check("lost", None, FIVE).await.unwrap().remaining, 3);
}

/// In front of a node: has the request carried out, and breaks off instead of answering.
fn lose(url: String, asked: Asked) -> Reply {
    let carry_out = async move {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let key = asked.key().unwrap();
        let request = http.post(url).header("Idempotency-Key", key).body(asked.body.clone());
        request.send().await.unwrap().status()
    };
    // A thread of its own, for how a fake node answers is not async.
    let carried_out = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(carry_out)
    });
    assert_eq!(carried_out.join().unwrap(), 200);
    Reply::Drop
}

/// What was answered to a load.
#[derive(Default)]
struct Load {
    remaining: Mutex<Vec<u64>>,
    ids: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Load {
    fn counts(&self) -> (usize, usize) {
        (self.remaining.lock().unwrap().len(), self.ids.lock().unwrap().len())
    }

    async fn check(&self, client: &Client) -> Result<()> {
        while !self.is_over.load(Ordering::Relaxed) {
            let decision = client.check("load", "wix", MANY).await?;
            self.remaining.lock().unwrap().push(decision.remaining);
        }
        Ok(())
    }

    async fn log(&self, client: &Client) -> Result<()> {
        while !self.is_over.load(Ordering::Relaxed) {
            let id = client.log(&NewEntry::new("load", "a")).await?;
            self.ids.lock().unwrap().push(id);
        }
        Ok(())
    }
}

/// Six tasks of checks and two of entries, while `fault` befalls the cluster.
async fn load_while(fault: impl AsyncFnOnce(&mut Cluster)) {
    let mut cluster = Cluster::start(3).await;
    let client = Client::builder(cluster.endpoints())
        .timeout(Duration::from_secs(30))
        .attempt_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let is_exact = takes_keys(&client).await;
    let load = Arc::new(Load::default());
    let tasks: Vec<_> = (0..8)
        .map(|index| {
            let (load, client) = (Arc::clone(&load), client.clone());
            tokio::spawn(async move {
                if index < 6 { load.check(&client).await } else { load.log(&client).await }
            })
        })
        .collect();
    let reaches = async |checks: usize, entries: usize| {
        wait_for("the load goes on", async || {
            let (all_checks, all_entries) = load.counts();
            assert!(tasks.iter().all(|task| !task.is_finished()), "a call failed");
            all_checks >= checks && all_entries >= entries
        })
        .await;
    };
    reaches(200, 20).await;
    fault(&mut cluster).await;
    let (checks, entries) = load.counts();
    reaches(checks + 500, entries + 50).await;
    load.is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    // Every answer is a grant of its own, and every entry is an entry of its own.
    let remaining = load.remaining.lock().unwrap();
    let grants: BTreeSet<_> = remaining.iter().collect();
    assert_eq!(grants.len(), remaining.len());
    let ids = load.ids.lock().unwrap();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    // And nothing was counted that has no answer, however often it was sent.
    if is_exact {
        assert_eq!(remaining.iter().min(), Some(&(MANY.requests - remaining.len() as u64)));
    }
}

#[tokio::test]
async fn no_call_fails_while_the_leader_is_killed() {
    load_while(async |cluster| {
        let leader = cluster.leader().await;
        cluster.signal(leader, "KILL").await;
    })
    .await;
}

#[tokio::test]
async fn no_call_fails_while_a_follower_is_killed() {
    load_while(async |cluster| {
        let leader = cluster.leader().await;
        cluster.signal(leader % 3 + 1, "KILL").await;
    })
    .await;
}

#[tokio::test]
async fn no_call_fails_while_the_leader_is_stopped_gracefully() {
    load_while(async |cluster| {
        let leader = cluster.leader().await;
        cluster.signal(leader, "TERM").await;
    })
    .await;
}

#[tokio::test]
async fn no_call_fails_while_the_leader_freezes() {
    load_while(async |cluster| {
        let leader = cluster.leader().await;
        cluster.signal(leader, "STOP").await;
    })
    .await;
}

#[tokio::test]
async fn with_no_majority_calls_fail_and_with_one_again_they_work() {
    let mut cluster = Cluster::start(3).await;
    let client =
        Client::builder(cluster.endpoints()).timeout(Duration::from_millis(1_500)).build().unwrap();
    assert_eq!(client.check("a", None, FIVE).await.unwrap().remaining, 4);
    cluster.signal(1, "KILL").await;
    cluster.signal(2, "KILL").await;
    let error = client.check("a", None, FIVE).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(matches!(error.kind(), ErrorKind::NoAnswer | ErrorKind::Server));
    cluster.start_node(1);
    cluster.wait_ready(1).await;
    wait_for("checks are decided again", async || client.check("b", None, FIVE).await.is_ok())
        .await;
}
