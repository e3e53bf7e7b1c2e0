//! `POST /check` and `POST /reset`.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::cluster::{Answer, Api, TestCluster, check_body, wait_until};

const MINUTE_MS: u64 = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_kept_and_answered_as_documented() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    a_window_is_counted_down_on_all_nodes(&api).await;
    the_requests_own_config_applies(&api).await;
    a_limit_of_nothing_and_the_largest(&api).await;
    a_window_ends(&api).await;
    a_reset_forgets(&api).await;
    any_content_type_is_taken(&api).await;
    exactly_the_limit_is_admitted_at_once(&api).await;
    cluster.equal_state().await;
    // What was counted is still counted when every node has been started anew.
    for id in cluster.ids() {
        cluster.kill(id);
    }
    for id in cluster.ids() {
        cluster.restart(id);
    }
    cluster.wait_ready().await;
    api.check(2, "at-once", 50, MINUTE_MS * 60).await.refused(50);
}

async fn a_window_is_counted_down_on_all_nodes(api: &Api) {
    let first = api.check(1, "user-123", 4, MINUTE_MS).await.admitted(4, 3);
    for (node, remaining) in [(2, 2), (3, 1), (1, 0)] {
        let reset_ms = api.check(node, "user-123", 4, MINUTE_MS).await.admitted(4, remaining);
        assert_eq!(reset_ms, first, "the window does not move");
    }
    for node in api.ids() {
        let (reset_ms, seconds) = api.check(node, "user-123", 4, MINUTE_MS).await.refused(4);
        assert_eq!(reset_ms, first, "a refused request does not move the window");
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    // A longer window of the same limiter, after refusals: they were not counted.
    api.check(2, "user-123", 5, MINUTE_MS).await.admitted(5, 0);
}

async fn the_requests_own_config_applies(api: &Api) {
    let first = api.check(1, "changing", 10, MINUTE_MS).await.admitted(10, 9);
    let longer = api.check(2, "changing", 100, 2 * MINUTE_MS).await.admitted(100, 98);
    assert_eq!(longer, first + MINUTE_MS, "the start of the window is kept");
    let (reset_ms, _) = api.check(3, "changing", 2, MINUTE_MS).await.refused(2);
    assert_eq!(reset_ms, first);
    api.check(1, "changing", 3, MINUTE_MS).await.admitted(3, 0);
    // Of another type, or of none, it is another limiter.
    let of = |kind: &str| json!({"type": kind, "identifier": "changing", "config": {"requests": 2, "windowMs": 1000}});
    api.post(1, "/check", of("wix").to_string()).await.admitted(2, 1);
    api.post(2, "/check", of("gamma").to_string()).await.admitted(2, 1);
    api.check(3, "wix:changing", 5, MINUTE_MS).await.admitted(5, 4);
}

async fn a_limit_of_nothing_and_the_largest(api: &Api) {
    for node in api.ids() {
        let (_, seconds) = api.check(node, "nothing", 0, MINUTE_MS).await.refused(0);
        assert_eq!(seconds, 60, "a window that nobody has begun is whole");
    }
    const MOST: u64 = 9_007_199_254_740_991;
    const LONGEST_MS: u64 = 34_560_000_000;
    api.check(1, "largest", MOST, LONGEST_MS).await.admitted(MOST, MOST - 1);
    api.check(2, "largest", MOST, LONGEST_MS).await.admitted(MOST, MOST - 2);
    // The shortest window is long over when the next request comes over the network, or it is not:
    // either way it admits.
    for node in api.ids() {
        let answer = api.check(node, "shortest", 1000, 1).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let (_, seconds) = api.check(1, "nothing", 0, 1).await.refused(0);
    assert_eq!(seconds, 1, "at least one second");
    let (_, seconds) = api.check(1, "nothing", 0, 44_001).await.refused(0);
    assert_eq!(seconds, 45, "rounded up");
}

async fn a_window_ends(api: &Api) {
    const WINDOW_MS: u64 = 1500;
    let first = api.check(1, "ending", 1, WINDOW_MS).await.admitted(1, 0);
    let next = wait_until("the next window begins", async || {
        let answer = api.check(2, "ending", 1, WINDOW_MS).await;
        if answer.status == 200 {
            return Ok(answer.admitted(1, 0));
        }
        let (reset_ms, seconds) = answer.refused(1);
        assert_eq!(reset_ms, first);
        assert!((1..=2).contains(&seconds));
        Err(answer.text())
    })
    .await;
    assert!(next >= first + WINDOW_MS, "{next} is too early: the last window ended at {first}");
}

async fn a_reset_forgets(api: &Api) {
    let reset = |node, body: &str| {
        let body = body.to_owned();
        async move {
            let answer = api.post(node, "/reset", body).await;
            assert_eq!(answer.text(), r#"{"success":true}"#);
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), "application/json");
        }
    };
    api.check(1, "resetting", 1, MINUTE_MS).await.admitted(1, 0);
    api.check(1, "resetting", 1, MINUTE_MS).await.refused(1);
    reset(2, r#"{"identifier":"resetting","type":"wix"}"#).await;
    api.check(3, "resetting", 1, MINUTE_MS).await.refused(1);
    reset(2, r#"{"identifier":"resetting"}"#).await;
    api.check(3, "resetting", 1, MINUTE_MS).await.admitted(1, 0);
    // Also when there is nothing to reset.
    for node in api.ids() {
        reset(node, r#"{"identifier":"never seen","config":{},"more":[1]}"#).await;
    }
}

async fn any_content_type_is_taken(api: &Api) {
    let body = r#" {"more":[{"identifier":1}],"config":{"x":null,"windowMs":60000,"requests":9},
        "identifier":"content"} "#;
    let types = ["application/json", "text/plain;charset=UTF-8", "application/xml", "", "nonsense"];
    for (kind, remaining) in types.into_iter().zip((4..9).rev()) {
        let request = api.request(Method::POST, 2, "/check").header("content-type", kind);
        Answer::of(request.body(body)).await.expect("an answer").admitted(9, remaining);
    }
    // With none at all.
    api.post(2, "/check", body).await.admitted(9, 3);
}

async fn exactly_the_limit_is_admitted_at_once(api: &Api) {
    let mut checks = JoinSet::new();
    for number in 0..200u64 {
        let api = api.clone();
        let body = check_body("at-once", 50, 60 * MINUTE_MS);
        checks.spawn(async move { api.post(number % 3 + 1, "/check", body).await });
    }
    let mut remaining = BTreeSet::new();
    let mut refused = 0;
    for answer in checks.join_all().await {
        if answer.status == 429 {
            answer.refused(50);
            refused += 1;
            continue;
        }
        let left = answer.json()["remaining"].as_u64().expect("a remaining");
        answer.admitted(50, left);
        assert!(remaining.insert(left), "two checks were told {left}");
    }
    assert_eq!(remaining, (0..50).collect());
    assert_eq!(refused, 150);
}

/// A refusal is answered without the log, on every node, and yet it is never out of date: what was
/// acknowledged on one node is seen by the next check on any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_writes_nothing_and_is_never_stale() {
    let cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let reset = json!({"identifier": "full"}).to_string();
    api.check(1, "full", 1, 60 * MINUTE_MS).await.admitted(1, 0);
    for node in api.ids() {
        api.check(node, "full", 1, 60 * MINUTE_MS).await.refused(1);
    }
    cluster.equal_state().await;
    let applied = async |node| {
        let report = cluster.report(node).await.expect("a report");
        report["stateHash"]["applied"].as_u64().expect("an index")
    };
    let before = applied(1).await;
    for round in 0..100 {
        api.check(1 + round % 3, "full", 1, 60 * MINUTE_MS).await.refused(1);
    }
    assert_eq!(applied(1).await, before, "a refusal made a log entry");
    for (resets, checks) in (0..60).map(|round| (1 + round % 3, 1 + (round / 3) % 3)) {
        assert_eq!(api.post(resets, "/reset", reset.clone()).await.status, 200);
        api.check(checks, "full", 1, 60 * MINUTE_MS).await.admitted(1, 0);
        // One more request is within a higher limit, whoever was refused under the lower.
        let other = 1 + resets % 3;
        api.check(other, "full", 1, 60 * MINUTE_MS).await.refused(1);
        api.check(resets, "full", 2, 60 * MINUTE_MS).await.admitted(2, 0);
        api.check(other, "full", 2, 60 * MINUTE_MS).await.refused(2);
    }
}
