//! `/metrics`: what was done is counted, on the node where it was done, and nothing of a client's is told.

mod cluster;

use std::collections::BTreeMap;

use cluster::{Api, TestCluster, wait_until};

/// The samples of a node, by name and labels as they are written.
async fn samples(api: &Api, id: u64) -> BTreeMap<String, f64> {
    let answer = api.get(id, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse::<f64>().expect("a number"))
    });
    samples.collect()
}

/// The sum of the samples whose name begins so and that have all these labels.
fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let of = |sample: &str| {
        let rest =
            sample.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('{'));
        rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(label)))
    };
    samples.iter().filter(|(sample, _)| of(sample)).map(|(_, value)| value).sum()
}

#[tokio::test]
async fn what_is_done_is_counted_where_it_is_done() {
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader().await;
    let api = cluster.api();
    let node = cluster.a_follower().await;
    let before = samples(api, node).await;
    let identifier = "somebody-secret";
    api.check(node, identifier, 2, 600_000).await.admitted(2, 1);
    api.check(node, identifier, 2, 600_000).await.admitted(2, 0);
    for _ in 0..3 {
        api.check(node, identifier, 2, 600_000).await.refused(2);
    }
    let object = format!("/do/AUDIT_LOGGER/name/{identifier}/log");
    api.log_at(node, &object, r#"{"type":"secret","action":"a"}"#).await;
    assert_eq!(api.get(node, "/secret").await.status, 404);
    assert_eq!(api.post(node, "/check", "{").await.status, 400);

    let after = samples(api, node).await;
    let grown =
        |name: &str, labels: &[&str]| sum(&after, name, labels) - sum(&before, name, labels);
    let requests = "tallykeep_http_requests_total";
    let check = [r#"binding="RATE_LIMITER""#, r#"class="RateLimiter""#, r#"endpoint="/check""#];
    let answered = |status| grown(requests, &[&check[..], &[status]].concat());
    assert_eq!(answered(r#"status="200""#), 2.0);
    assert_eq!(answered(r#"status="429""#), 3.0);
    assert_eq!(answered(r#"status="400""#), 1.0);
    assert_eq!(grown("tallykeep_http_request_seconds_count", &check), 6.0);
    assert_eq!(grown(requests, &[r#"binding="AUDIT_LOGGER""#, r#"endpoint="/log""#]), 1.0);
    assert_eq!(grown(requests, &[r#"endpoint="other""#, r#"status="404""#]), 1.0);
    assert_eq!(grown("tallykeep_checks_total", &[r#"outcome="admitted""#]), 2.0);
    assert_eq!(grown("tallykeep_checks_total", &[]), 5.0);
    assert!(grown("tallykeep_checks_total", &[r#"outcome="refused_by_read""#]) >= 1.0);
    // Two checks and an entry went through the log, from here.
    assert!(grown("tallykeep_proposal_queue_seconds_count", &[]) >= 3.0);
    assert!(grown("tallykeep_apply_seconds_count", &[]) >= 3.0);
    assert!(grown("tallykeep_log_sync_seconds_count", &[]) >= 1.0);
    assert!(sum(&after, "tallykeep_http_connections", &[]) >= 1.0);
    for name in after.keys() {
        assert!(!name.contains("secret"), "{name}");
    }

    let led = samples(api, leader).await;
    assert!(sum(&led, "tallykeep_batch_seconds_count", &[]) >= 3.0);
    assert_eq!(sum(&led, "tallykeep_raft_role", &[r#"role="leader""#]), 1.0);
    assert_eq!(sum(&after, "tallykeep_raft_role", &[r#"role="follower""#]), 1.0);
    for node in cluster.ids().into_iter().filter(|node| *node != leader) {
        let label = format!("node=\"{node}\"");
        assert!(led.contains_key(&format!("tallykeep_raft_lag_entries{{{label}}}")));
        assert_eq!(sum(&led, "tallykeep_peer_reachable", &[&label]), 1.0);
    }
    assert!(!after.keys().any(|name| name.starts_with("tallykeep_raft_lag_entries")));
    for samples in [&led, &after] {
        assert_eq!(sum(samples, "tallykeep_ready", &[]), 1.0);
        assert_eq!(sum(samples, "tallykeep_clock_trusted", &[]), 1.0);
        assert_eq!(sum(samples, "tallykeep_build_info", &[]), 1.0);
        assert_eq!(sum(samples, "tallykeep_raft_leader_id", &[]), leader as f64);
        assert!(sum(samples, "tallykeep_disk_free_bytes", &[]) > 0.0);
        assert!(samples.contains_key(r#"tallykeep_rocksdb_memtable_bytes{db="log"}"#));
        assert!(samples.contains_key(r#"tallykeep_state_rows{table="cell"}"#));
        assert!(sum(samples, "process_resident_memory_bytes", &[]) > 1e6);
    }

    // A node that is gone is seen by the others.
    let gone = format!("node=\"{leader}\"");
    cluster.kill(leader);
    let api = cluster.api();
    wait_until("the others miss it", async || {
        let seen = samples(api, node).await;
        let reachable = sum(&seen, "tallykeep_peer_reachable", &[&gone]);
        let led_by = sum(&seen, "tallykeep_raft_leader_id", &[]);
        let is_seen = reachable == 0.0 && led_by != leader as f64;
        is_seen.then_some(()).ok_or_else(|| format!("reachable {reachable}, led by {led_by}"))
    })
    .await;
}
