//! `Idempotency-Key`, `/check/batch` and `/log/batch` on real processes.

mod cluster;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use cluster::{Answer, Api, Load, Setup, TestCluster, check_body, wait_until};

const HOUR_MS: u64 = 3_600_000;

/// `POST` with a key.
async fn send(api: &Api, node: u64, path: &str, key: &str, body: impl Into<Body>) -> Answer {
    try_send(api, node, path, key, body).await.expect("an answer")
}

async fn try_send(
    api: &Api,
    node: u64,
    path: &str,
    key: &str,
    body: impl Into<Body>,
) -> reqwest::Result<Answer> {
    let request = api.request(Method::POST, node, path).header("Idempotency-Key", key);
    Answer::of(request.body(body)).await
}

/// Asserts that `again` is `first` once more, and says so.
fn assert_replayed(first: &Answer, again: &Answer) {
    assert_eq!((again.status, again.text()), (first.status, first.text()));
    for name in ["content-type", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
    {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(again.header("idempotency-replayed"), "true", "{}", again.text());
}

fn entry(action: &str) -> String {
    json!({"type": "keyed", "action": action}).to_string()
}

/// How many entries there are of an action.
async fn entries(api: &Api, node: u64, action: &str) -> u64 {
    let found = api.query(node, &json!({"type": "keyed", "action": action, "limit": 1000})).await;
    found["count"].as_u64().expect("a count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_key_is_carried_out_once() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    an_answer_is_given_again_on_every_node(api).await;
    a_key_is_kept_for_as_long_as_its_client_says(api).await;
    a_grant_is_given_again_though_the_limiter_is_full(api).await;
    a_refusal_is_decided_afresh(api).await;
    another_request_under_a_key_is_refused(api).await;
    a_key_belongs_to_where_it_was_sent(api).await;
    a_bad_key_is_refused(api).await;
    many_at_once_count_once(api).await;
    cluster.equal_state().await;
}

async fn an_answer_is_given_again_on_every_node(api: &Api) {
    let check = check_body("again", 9, HOUR_MS);
    let name = "/do/AUDIT_LOGGER/name/2024-01-15/log";
    for (path, body) in [
        ("/check", check.clone()),
        ("/do/RATE_LIMITER/name/again/check", check),
        ("/log", entry("again")),
        (name, entry("again")),
    ] {
        let first = send(api, 1, path, "\"again\"", body.clone()).await;
        assert_eq!(first.status, 200, "{path}: {}", first.text());
        for node in api.ids() {
            // In quotes or without them.
            let again = send(api, node, path, "again", body.clone()).await;
            assert_replayed(&first, &again);
        }
    }
    api.check(2, "again", 9, HOUR_MS).await.admitted(9, 6);
    // One was sent to that shard, which a query at the root covers too, and one to the root.
    assert_eq!(entries(api, 3, "again").await, 2);

    let reset = r#"{"identifier":"again"}"#;
    let first = send(api, 2, "/reset", "again", reset).await;
    assert_eq!(first.text(), r#"{"success":true}"#);
    api.check(3, "again", 9, HOUR_MS).await.admitted(9, 8);
    assert_replayed(&first, &send(api, 1, "/reset", "again", reset).await);
    api.check(3, "again", 9, HOUR_MS).await.admitted(9, 7);
}

async fn a_key_is_kept_for_as_long_as_its_client_says(api: &Api) {
    let body = check_body("brief", 1_000_000, HOUR_MS);
    let first = send(api, 1, "/check", "\"brief\";ttl=1", body.clone()).await;
    first.admitted(1_000_000, 999_999);
    let anew = wait_until("the key is forgotten", async || {
        let now = send(api, 2, "/check", "brief", body.clone()).await;
        if now.header("idempotency-replayed") == "true" {
            assert_eq!(now.text(), first.text());
            return Err(now.text());
        }
        Ok(now)
    })
    .await;
    anew.admitted(1_000_000, 999_998);
    // From then on for as long as the setting says: this one was sent without a ttl.
    let again = send(api, 3, "/check", "\"brief\";ttl=1", body.clone()).await;
    assert_replayed(&anew, &again);
}

async fn a_grant_is_given_again_though_the_limiter_is_full(api: &Api) {
    let body = check_body("full", 1, HOUR_MS);
    let first = send(api, 1, "/check", "the-grant", body.clone()).await;
    first.admitted(1, 0);
    for node in api.ids() {
        // The second is answered without the log, and so is the key of nobody.
        api.check(node, "full", 1, HOUR_MS).await.refused(1);
        api.check(node, "full", 1, HOUR_MS).await.refused(1);
        send(api, node, "/check", "other", body.clone()).await.refused(1);
        assert_replayed(&first, &send(api, node, "/check", "the-grant", body.clone()).await);
    }
}

async fn a_refusal_is_decided_afresh(api: &Api) {
    let body = check_body("afresh", 1, HOUR_MS);
    api.check(1, "afresh", 1, HOUR_MS).await.admitted(1, 0);
    for node in api.ids() {
        for _ in 0..2 {
            let refused = send(api, node, "/check", "afresh", body.clone()).await;
            refused.refused(1);
            assert_eq!(refused.header("idempotency-replayed"), "");
        }
    }
    assert_eq!(api.post(2, "/reset", r#"{"identifier":"afresh"}"#).await.status, 200);
    let granted = send(api, 3, "/check", "afresh", body.clone()).await;
    granted.admitted(1, 0);
    assert_replayed(&granted, &send(api, 1, "/check", "afresh", body).await);
    // An error is not kept either.
    send(api, 1, "/log", "mistaken", r#"{"type":7}"#).await.problem(400, "invalid_field");
    assert_eq!(send(api, 2, "/log", "mistaken", entry("mistaken")).await.status, 200);
}

async fn another_request_under_a_key_is_refused(api: &Api) {
    let body = check_body("reused", 5, HOUR_MS);
    send(api, 1, "/check", "reused", body.clone()).await.admitted(5, 4);
    for node in api.ids() {
        let spaced = send(api, node, "/check", "reused", format!("{body} ")).await;
        spaced.problem(422, "idempotency_key_reused");
        let queried = send(api, node, "/check?x", "reused", body.clone()).await;
        queried.problem(422, "idempotency_key_reused");
    }
    let object = "/do/RATE_LIMITER/name/reused";
    send(api, 2, &format!("{object}/check"), "reused", body.clone()).await.admitted(5, 3);
    let reset = send(api, 3, &format!("{object}/reset"), "reused", body).await;
    reset.problem(422, "idempotency_key_reused");
    api.check(1, "reused", 5, HOUR_MS).await.admitted(5, 2);
}

async fn a_key_belongs_to_where_it_was_sent(api: &Api) {
    let log = entry("scope");
    let mut ids = Vec::new();
    for path in
        ["/log", "/do/AUDIT_LOGGER/name/2024-01-16/log", "/do/AUDIT_LOGGER/name/2024-01-17/log"]
    {
        let answer = send(api, 1, path, "scope", log.clone()).await;
        assert_eq!(answer.header("idempotency-replayed"), "", "{path}");
        ids.push(answer.json()["id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let body = check_body("scope", 5, HOUR_MS);
    send(api, 2, "/check", "scope", body.clone()).await.admitted(5, 4);
    let reset = send(api, 2, "/reset", "scope", body).await;
    assert_eq!((reset.status, reset.header("idempotency-replayed")), (200, ""));
}

async fn a_bad_key_is_refused(api: &Api) {
    let long = "k".repeat(256);
    let check = check_body("bad", 5, HOUR_MS);
    for path in [
        "/check",
        "/reset",
        "/log",
        "/check/batch",
        "/log/batch",
        "/do/RATE_LIMITER/name/bad/check",
        "/do/RATE_LIMITER/name/bad/reset",
        "/do/AUDIT_LOGGER/name/bad/log",
        "/do/AUDIT_LOGGER/name/bad/log/batch",
    ] {
        for key in ["", "\"", "a b", "a,b", "\"a\";p", "é", &long] {
            let answer = send(api, 1, path, key, check.clone()).await;
            let detail = answer.problem(400, "invalid_idempotency_key");
            assert!(detail.contains("255"), "{path} {key}: {detail}");
        }
        let request = api.request(Method::POST, 2, path).body(check.clone());
        let twice = request.header("Idempotency-Key", "a").header("Idempotency-Key", "a");
        let answer = Answer::of(twice).await.expect("an answer");
        answer.problem(400, "invalid_idempotency_key");
    }
    let longest = "k".repeat(255);
    send(api, 3, "/check", &longest, check).await.admitted(5, 4);
}

async fn many_at_once_count_once(api: &Api) {
    let mut sent = JoinSet::new();
    for number in 0..60u64 {
        let api = api.clone();
        sent.spawn(async move {
            let body = check_body("at-once", 100, HOUR_MS);
            send(&api, number % 3 + 1, "/check", "at-once", body).await
        });
    }
    let answers = sent.join_all().await;
    let firsts = answers.iter().filter(|one| one.header("idempotency-replayed").is_empty());
    assert_eq!(firsts.count(), 1);
    for answer in &answers {
        answer.admitted(100, 99);
    }
    api.check(1, "at-once", 100, HOUR_MS).await.admitted(100, 98);
}

fn checks(items: &[(&str, u64)]) -> String {
    let item = |(identifier, requests): &(&str, u64)| json!({"identifier": identifier, "config": {"requests": requests, "windowMs": HOUR_MS}});
    json!({"checks": items.iter().map(item).collect::<Vec<_>>()}).to_string()
}

fn results(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["results"].as_array().expect("results").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_carried_out_in_order_and_each_item_once_for_a_key() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    checks_of_a_batch_are_decided_in_order(api).await;
    an_item_that_is_wrong_is_answered_in_its_place(api).await;
    entries_of_a_batch_are_logged_in_order(api).await;
    a_bad_envelope_changes_nothing(api).await;
    the_retry_of_a_batch_completes_it(api).await;
    cluster.equal_state().await;
}

async fn checks_of_a_batch_are_decided_in_order(api: &Api) {
    let items: Vec<(&str, u64)> = (0..300).map(|_| ("ordered", 200)).collect();
    let answer = api.post(2, "/check/batch", checks(&items)).await;
    assert_eq!(answer.header("content-type"), "application/json");
    for (place, result) in (0..).zip(results(&answer)) {
        let reset_ms = result["resetTime"].as_u64().expect("a resetTime");
        let expected = if place < 200 {
            json!({"status": 200, "allowed": true, "remaining": 199 - place,
                "resetTime": reset_ms})
        } else {
            json!({"status": 429, "allowed": false, "remaining": 0, "resetTime": reset_ms,
                "retryAfter": result["retryAfter"]})
        };
        assert_eq!(result, expected, "{place}");
    }
    // It is the limiter of single checks, of a type or none.
    api.check(3, "ordered", 201, HOUR_MS).await.admitted(201, 0);
    let typed = json!({"checks": [{"identifier": "i", "type": "wix",
        "config": {"requests": 2, "windowMs": HOUR_MS}}]});
    assert_eq!(results(&api.post(1, "/check/batch", typed.to_string()).await)[0]["status"], 200);
    let path = "/do/RATE_LIMITER/name/wix%3Ai/check";
    api.post(2, path, check_body("i", 2, HOUR_MS)).await.admitted(2, 0);
}

async fn an_item_that_is_wrong_is_answered_in_its_place(api: &Api) {
    let good = check_body("mixed", 5, HOUR_MS);
    let body =
        format!(r#"{{"checks":[{good},{{"identifier":""}},7,{{"identifier":"x"}},{good}]}}"#);
    let results = results(&api.post(1, "/check/batch", body).await);
    let told: Vec<_> = results.iter().map(|result| (&result["status"], &result["code"])).collect();
    let null = Value::Null;
    assert_eq!(told[0], (&json!(200), &null));
    assert_eq!(told[1], (&json!(400), &json!("invalid_field")));
    assert_eq!(told[2], (&json!(400), &json!("malformed_json")));
    assert_eq!(told[3], (&json!(400), &json!("config_required")));
    assert_eq!(told[4], (&json!(200), &null));
    assert_eq!(results[1]["error"], results[1]["title"], "a problem as a single check gets it");
    assert_eq!(results[4]["remaining"], 3);
}

async fn entries_of_a_batch_are_logged_in_order(api: &Api) {
    let shard = "/do/AUDIT_LOGGER/name/2024-02-29";
    for (path, action) in [("/log/batch", "root"), (&format!("{shard}/log/batch"), "object")] {
        let items: Vec<_> =
            (0..100).map(|n| json!({"type": "keyed", "action": action, "n": n})).collect();
        let answer = api.post(3, path, json!({ "entries": items }).to_string()).await;
        let results = results(&answer);
        let query = json!({"type": "keyed", "action": action, "order": "asc"});
        let found = api.query(1, &query).await;
        for (n, (result, logged)) in
            results.iter().zip(found["entries"].as_array().unwrap()).enumerate()
        {
            assert_eq!(*result, json!({"status": 200, "success": true, "id": logged["id"]}));
            assert_eq!(logged["n"], n);
        }
        assert_eq!((results.len(), found["count"].as_u64()), (100, Some(100)));
    }
    let found = api.query_at(2, &format!("{shard}/query"), &json!({"action": "object"})).await;
    assert_eq!(found["count"], 100);
}

async fn a_bad_envelope_changes_nothing(api: &Api) {
    let good = check_body("envelope", 5, HOUR_MS);
    let many = vec![good.as_str(); 1001].join(",");
    for (body, code) in [
        (format!("[{good}]"), "malformed_json"),
        (format!(r#"{{"checks":[{good}"#), "malformed_json"),
        (r#"{"checks":[]}"#.to_owned(), "invalid_field"),
        (format!(r#"{{"checks":[{many}]}}"#), "invalid_field"),
        (format!(r#"{{"checks":{good}}}"#), "invalid_field"),
        (format!(r#"{{"entries":[{good}]}}"#), "unknown_member"),
        (format!(r#"{{"checks":[{good}],"checks":[{good}]}}"#), "duplicate_key"),
    ] {
        api.post(2, "/check/batch", body).await.problem(400, code);
    }
    let most = vec![good.as_str(); 1000].join(",");
    let all = results(&api.post(1, "/check/batch", format!(r#"{{"checks":[{most}]}}"#)).await);
    assert_eq!(all.len(), 1000);
    assert_eq!((&all[0]["remaining"], &all[999]["status"]), (&json!(4), &json!(429)));
}

async fn the_retry_of_a_batch_completes_it(api: &Api) {
    let body = checks(&[("partly-a", 1), ("partly-a", 1), ("partly-b", 5)]);
    let statuses = |results: &[Value]| -> Vec<(u64, bool)> {
        let of = |result: &Value| (result["status"].as_u64().unwrap(), result["replayed"] == true);
        results.iter().map(of).collect()
    };
    let first = results(&send(api, 1, "/check/batch", "partly", body.clone()).await);
    assert_eq!(statuses(&first), [(200, false), (429, false), (200, false)]);
    let second = results(&send(api, 2, "/check/batch", "partly", body.clone()).await);
    assert_eq!(statuses(&second), [(200, true), (429, false), (200, true)]);
    assert_eq!(second[2]["remaining"], first[2]["remaining"]);
    assert_eq!(api.post(3, "/reset", r#"{"identifier":"partly-a"}"#).await.status, 200);
    let third = results(&send(api, 3, "/check/batch", "partly", body.clone()).await);
    assert_eq!(statuses(&third), [(200, true), (200, false), (200, true)]);
    let fourth = results(&send(api, 1, "/check/batch", "partly", body.clone()).await);
    assert_eq!(statuses(&fourth), [(200, true), (200, true), (200, true)]);
    api.check(2, "partly-b", 5, HOUR_MS).await.admitted(5, 3);
    let other = checks(&[("partly-b", 5), ("partly-c", 5)]);
    let refused = send(api, 2, "/check/batch", "partly", other).await;
    refused.problem(422, "idempotency_key_reused");
    api.check(2, "partly-c", 5, HOUR_MS).await.admitted(5, 4);

    let body = json!({"entries": [
        {"type": "keyed", "action": "batch"}, {"type": 7}, {"type": "keyed", "action": "batch"},
    ]});
    let first = results(&send(api, 1, "/log/batch", "batch", body.to_string()).await);
    assert_eq!(statuses(&first), [(200, false), (400, false), (200, false)]);
    let again = results(&send(api, 2, "/log/batch", "batch", body.to_string()).await);
    assert_eq!(statuses(&again), [(200, true), (400, false), (200, true)]);
    assert_eq!((&again[0]["id"], &again[2]["id"]), (&first[0]["id"], &first[2]["id"]));
    assert_eq!(entries(api, 3, "batch").await, 2);
}

/// For two seconds, by the cluster's clock, a key is kept; then it is another request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_kept_for_its_time_and_refused_where_there_is_no_room() {
    let setup = Setup::with("idempotency = { retention = \"2s\", answers_max = 3 }");
    let cluster = TestCluster::start_as(setup).await;
    let api = cluster.api();
    let body = check_body("kept", 1_000_000, HOUR_MS);
    let first = send(api, 1, "/check", "kept", body.clone()).await;
    let began = first.json()["resetTime"].as_u64().expect("a resetTime") - HOUR_MS;
    // It is there for as long as the clock that other answers tell says.
    let anew = wait_until("the key is forgotten", async || {
        let now = send(api, 2, "/check", "kept", body.clone()).await;
        if now.header("idempotency-replayed") == "true" {
            assert_eq!(now.text(), first.text());
            return Err(now.text());
        }
        Ok(now)
    })
    .await;
    anew.admitted(1_000_000, 999_998);
    // A window of one millisecond that begins now tells what time it is.
    let now_ms = api.check(3, "clock", 1, 1).await.json()["resetTime"].as_u64().unwrap() - 1;
    assert!(now_ms >= began + 2_000, "forgotten at {now_ms}, kept at {began}");

    // Three answers are kept at most. That there is no room is told, and nothing is changed.
    let two = json!({"entries": [{"type": "keyed", "action": "room"},
        {"type": "keyed", "action": "room"}]})
    .to_string();
    let refused = wait_until("there is no room", async || {
        let answer = send(api, 1, "/log/batch", "one", two.clone()).await;
        assert!([200, 507].contains(&answer.status), "{}", answer.text());
        let more = send(api, 2, "/log/batch", "two", two.clone()).await;
        if more.status == 507 { Ok(more) } else { Err(more.text()) }
    })
    .await;
    let detail = refused.problem(507, "idempotency_keys_full");
    assert!(detail.contains("answers_max"), "{detail}");
    // Without a key there is always room.
    assert_eq!(api.post(3, "/log", entry("without")).await.status, 200);
    // And in time there is again.
    wait_until("there is room", async || {
        let answer = send(api, 3, "/log/batch", "three", two.clone()).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    cluster.equal_state().await;
}

/// A leader dies with requests under way, whose clients do not know what became of them and send them
/// again, to other nodes, until they do: each counts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_after_the_leader_died_counts_once() {
    const CLIENTS: u64 = 40;
    const EACH: u64 = 5;
    const LIMIT: u64 = 1_000_000;
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader().await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (api, acknowledged) = (cluster.api().clone(), acknowledged.clone());
        clients.spawn(async move {
            for number in 0..EACH {
                let key = format!("{client}-{number}");
                let check = check_body("died", LIMIT, HOUR_MS);
                for (path, body) in [("/check", check), ("/log", entry("died"))] {
                    let first = insist(&api, leader, path, &key, &body).await;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                    let again = insist(&api, leader % 3 + 1, path, &key, &body).await;
                    assert_eq!(again.text(), first.text());
                    assert_eq!(again.header("idempotency-replayed"), "true");
                }
            }
        });
    }
    wait_until("some requests are acknowledged", async || {
        match acknowledged.load(Ordering::Relaxed) {
            few if few < CLIENTS => Err(format!("{few} are")),
            _ => Ok(()),
        }
    })
    .await;
    cluster.kill(leader);
    while let Some(client) = clients.join_next().await {
        client.expect("a client that got its answers");
    }
    cluster.restart(leader);
    cluster.wait_ready().await;
    cluster.equal_state().await;
    let api = cluster.api();
    for node in api.ids() {
        assert_eq!(entries(api, node, "died").await, CLIENTS * EACH);
    }
    let left = LIMIT - CLIENTS * EACH - 1;
    api.check(leader, "died", LIMIT, HOUR_MS).await.admitted(LIMIT, left);
}

/// Sends a request to one node after the other, from `node` on, until one answers it.
async fn insist(api: &Api, node: u64, path: &str, key: &str, body: &str) -> Answer {
    for turn in node - 1.. {
        match try_send(api, turn % 3 + 1, path, key, body.to_owned()).await {
            Ok(answer) if answer.status == 200 => return answer,
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
            Err(error) => assert!(!error.is_timeout(), "{error}"),
        }
        // Another node is asked, but not all the time: while there is no leader none can answer.
        sleep(Duration::from_millis(20)).await;
    }
    unreachable!("numbers do not end")
}

/// Keys are in the state, and so in a snapshot: a node that has nothing else of them gives the same
/// answers, and as the leader's equal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_knows_keys_from_a_snapshot() {
    let mut cluster = TestCluster::start_as(Setup::with("snapshot_log_bytes = 65536")).await;
    let api = cluster.api().clone();
    let wiped = cluster.a_follower().await;
    let check = check_body("snapshot", 1, HOUR_MS);
    let first = send(&api, wiped, "/check", "before", check.clone()).await;
    let logged = send(&api, wiped, "/log", "before", entry("snapshot")).await;

    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != wiped).collect();
    let load = Load::start(&api, &others, 4);
    for id in &others {
        cluster.wait_log_cut(*id).await;
    }
    cluster.kill(wiped);
    cluster.wipe(wiped);
    cluster.restart(wiped);
    cluster.wait_ready_one(wiped).await;
    assert!(cluster.log(wiped).contains("installed a snapshot"));
    let record = load.stop().await;

    assert_replayed(&first, &send(&api, wiped, "/check", "before", check.clone()).await);
    assert_replayed(&logged, &send(&api, wiped, "/log", "before", entry("snapshot")).await);
    let changed = send(&api, wiped, "/check", "before", format!("{check} ")).await;
    changed.problem(422, "idempotency_key_reused");
    assert_eq!(entries(&api, wiped, "snapshot").await, 1);
    cluster.equal_state().await;
    record.verify(&api, wiped, false).await;
    cluster.equal_state().await;
}
