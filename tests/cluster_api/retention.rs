//! Alarms: what is past its retention, or its window, goes by itself.

use serde_json::json;

use crate::cluster::{Setup, TestCluster, wait_until};

/// A retention of two seconds: entries are there, and then they are not, on every node and by
/// every way to them; a later entry of the same shard outlives the earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_and_windows_go_when_their_time_has_come() {
    let mut cluster = TestCluster::start_as(Setup::with("retention = \"2s\"")).await;
    let api = cluster.api().clone();
    let shard = "/do/AUDIT_LOGGER/name/2024-01-15";
    // Whether it is still there depends on the machine's speed; that it was logged does not.
    let first = api.log(1, r#"{"type":"t","action":"a"}"#).await;
    api.log_at(2, &format!("{shard}/log"), r#"{"type":"t","action":"a"}"#).await;
    api.check(3, "window", 1, 1000).await.admitted(1, 0);

    // Entries keep coming, so that the shard is trimmed and not dropped whole.
    let oldest = wait_until("the first entry is gone and a later one is there", async || {
        let last = api.log(2, r#"{"type":"t","action":"later"}"#).await;
        let log = api.query(3, &json!({"order": "asc", "limit": 10_000})).await;
        let entries = log["entries"].as_array().expect("entries");
        let has = |id: &str| entries.iter().any(|entry| entry["id"] == id);
        match (has(&first), has(&last)) {
            (false, true) => Ok(entries[0]["timestamp"].as_u64().expect("a timestamp")),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    assert!(api.check(1, "window", 1, 1000).await.admitted(1, 0) > oldest);

    for id in cluster.ids() {
        for path in ["/export", &format!("{shard}/export")] {
            wait_until(&format!("{path} of node {id} is empty"), async || {
                let text = api.get(id, path).await.text();
                if text == r#"{"entries":[],"count":0}"# { Ok(()) } else { Err(text) }
            })
            .await;
        }
    }
    cluster.equal_state().await;

    // A shard that has gone begins anew, and the cluster restarts from what is left.
    api.log_at(1, &format!("{shard}/log"), r#"{"type":"t","action":"anew"}"#).await;
    let id = cluster.a_follower().await;
    cluster.kill(id);
    cluster.restart(id);
    cluster.wait_ready().await;
    wait_until("the shard that was opened anew is empty again", async || {
        let log = api.query_at(id, &format!("{shard}/query"), &json!({})).await;
        if log["count"] == 0 { Ok(()) } else { Err(log.to_string()) }
    })
    .await;
    cluster.equal_state().await;
}
