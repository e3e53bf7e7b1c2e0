//! `/healthz`, `/readyz` and `/admin`.

use serde_json::{Value, json};

use crate::cluster::TestCluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_says_how_it_and_the_cluster_are() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let leader = cluster.leader().await;
    api.log(1, r#"{"type":"t","action":"a"}"#).await;
    api.check(2, "u", 5, 600_000).await.admitted(5, 4);
    cluster.equal_state().await;

    let mut hashes = Vec::new();
    for node in api.ids() {
        for path in ["/healthz", "/readyz", "/admin/cluster", "/admin/hash"] {
            let answer = api.get(node, path).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("content-type"), "application/json", "{path}");
            assert!(answer.json().is_object(), "{path}");
        }
        let text = api.get(node, "/admin/cluster").await.text();
        let report: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&report["id"], &report["leader"]), (&json!(node), &json!(leader)), "{text}");
        assert!(report["term"].as_u64() >= Some(1), "{text}");
        in_order(&text, &["id", "leader", "term", "nodes", "stateHash"]);
        let nodes = report["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 3);
        for (id, one) in (1..).zip(nodes) {
            assert_eq!(one["id"], id);
            assert_eq!(one["http"], api.url(id).trim_start_matches("http://"));
            assert!(one["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")));
            assert_eq!(one["role"], if id == leader { "leader" } else { "follower" });
            assert!(one["lastLog"].as_u64() >= one["applied"].as_u64(), "{text}");
            assert!(one["applied"].as_u64() >= Some(1), "{text}");
            assert_eq!(one["ready"], true);
        }
        in_order(&text, &["id\":1", "http", "peer", "role", "lastLog", "applied", "ready"]);
        assert!(report["stateHash"]["applied"].is_u64() && report["stateHash"]["hash"].is_string());
        hashes.push(report["stateHash"].clone());
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    // What changes the state changes both hashes.
    let content = api.get(1, "/admin/hash").await.json();
    api.check(3, "u", 5, 600_000).await.admitted(5, 3);
    cluster.equal_state().await;
    let changed = cluster.report(1).await.expect("a report")["stateHash"].clone();
    assert_ne!(changed["hash"], hashes[0]["hash"]);
    assert_ne!(api.get(2, "/admin/hash").await.json()["hash"], content["hash"]);
    assert!(changed["applied"].as_u64() > hashes[0]["applied"].as_u64());

    a_node_that_is_gone_is_seen_to_be(&mut cluster).await;
}

async fn a_node_that_is_gone_is_seen_to_be(cluster: &mut TestCluster) {
    let gone = cluster.a_follower().await;
    cluster.kill(gone);
    for id in cluster.active() {
        crate::cluster::wait_until(&format!("node {id} sees that {gone} is gone"), async || {
            let report = cluster.report(id).await?;
            let one = &report["nodes"][gone as usize - 1];
            let is_gone = one["role"] == "unreachable"
                && one["ready"] == false
                && one["lastLog"].is_null()
                && one["applied"].is_null();
            if is_gone { Ok(()) } else { Err(one.to_string()) }
        })
        .await;
    }
    cluster.restart(gone);
    cluster.wait_ready().await;
    cluster.equal_state().await;
}

/// Asserts that members come in the order that is documented.
fn in_order(text: &str, names: &[&str]) {
    let positions = names.iter().map(|name| text.find(&format!("\"{name}")));
    let positions: Option<Vec<_>> = positions.collect();
    assert!(positions.is_some_and(|positions| positions.is_sorted()), "{names:?} in {text}");
}
