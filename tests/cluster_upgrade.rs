//! Builds that know different commands in one cluster: `version_max` makes a node take part in what
//! an earlier build knew, and refuse the rest as that would.

mod cluster;

use reqwest::Method;
use serde_json::{Value, json};

use cluster::{Answer, Load, Setup, TestCluster, check_body, run, wait_until};

/// Workers of a load.
const WORKERS: usize = 8;
/// What has to be acknowledged between two events.
const SOME: u64 = 500;
/// What makes a node an old one.
const OLD: &str = "version_max = 2";
const NEW: &str = "version_max = 3";

/// Waits until every active node says that the log may hold commands up to `version`.
async fn all_are_at(cluster: &TestCluster, version: u64) {
    for id in cluster.active() {
        wait_until(&format!("node {id} is at version {version}"), async || {
            let report = cluster.report(id).await?;
            if report["version"] == version { Ok(()) } else { Err(report.to_string()) }
        })
        .await;
    }
}

async fn restart_as(cluster: &mut TestCluster, id: u64, from: &str, to: &str) {
    cluster.terminate(id).await;
    cluster.reconfigure(id, from, to);
    cluster.restart(id);
    cluster.wait_ready_one(id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_commands_are_used_once_every_node_knows_them_and_no_sooner() {
    let mut cluster = TestCluster::start_as(Setup::with(OLD)).await;
    let load = Load::start(cluster.api(), &cluster.ids(), WORKERS);
    load.progress(SOME).await;
    // Two of three, one of them back, and the two again: all the time the third could not go on.
    for (id, from, to) in [(1, OLD, NEW), (2, OLD, NEW), (1, NEW, OLD), (1, OLD, NEW)] {
        restart_as(&mut cluster, id, from, to).await;
        load.progress(SOME).await;
        all_are_at(&cluster, 2).await;
    }
    // A new node that leads does not forget the old one that is away.
    cluster.kill(3);
    load.progress(SOME).await;
    all_are_at(&cluster, 2).await;
    cluster.reconfigure(3, OLD, NEW);
    cluster.restart(3);
    cluster.wait_ready_one(3).await;
    all_are_at(&cluster, 3).await;
    load.progress(SOME).await;
    let record = load.stop().await;
    cluster.equal_state().await;
    record.verify(cluster.api(), 1, false).await;
    let report = cluster.report(2).await.expect("a report");
    let nodes = report["nodes"].as_array().expect("nodes");
    assert!(nodes.iter().all(|node| node["versionMax"] == 3), "{report}");
}

/// What an earlier build does not know is refused, and nothing is changed, until none is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_batches_are_refused_until_every_node_knows_them() {
    const NEWEST: &str = "version_max = 4";
    let mut cluster = TestCluster::start_as(Setup::with(NEW)).await;
    for id in [1, 2] {
        restart_as(&mut cluster, id, NEW, NEWEST).await;
    }
    all_are_at(&cluster, 3).await;
    let api = cluster.api().clone();
    let entry = r#"{"type":"t","action":"keyed"}"#;
    let keyed = async |id, path: &str, body: &str| {
        let request = api.request(Method::POST, id, path).header("Idempotency-Key", "k");
        Answer::of(request.body(body.to_owned())).await.expect("an answer")
    };
    let check = check_body("keyed", 1, 600_000);
    let checks = format!(r#"{{"checks":[{check}]}}"#);
    for id in cluster.ids() {
        for (path, body) in [("/log", entry), ("/check", &check), ("/check/batch", &checks)] {
            keyed(id, path, body).await.problem(503, "not_yet_supported");
        }
        api.post(id, "/check/batch", checks.clone()).await.problem(503, "not_yet_supported");
    }
    assert_eq!(api.query(1, &json!({"action": "keyed"})).await["count"], 0);
    restart_as(&mut cluster, 3, NEW, NEWEST).await;
    all_are_at(&cluster, 4).await;
    for id in cluster.ids() {
        assert_eq!(keyed(id, "/log", entry).await.status, 200);
        keyed(id, "/check", &check).await.admitted(1, 0);
    }
    assert_eq!(api.query(1, &json!({"action": "keyed"})).await["count"], 1);
    cluster.equal_state().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_know_the_commands_in_use_says_so() {
    let mut cluster = TestCluster::start_as(Setup { spares: 1, ..Setup::with(NEW) }).await;
    all_are_at(&cluster, 3).await;

    // One with data does not start.
    cluster.terminate(3).await;
    cluster.reconfigure(3, NEW, OLD);
    let config = cluster.config(3).to_string_lossy().into_owned();
    let (code, _, complaint) = run(&["serve", "--config", &config]).output().await;
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("of version 3") && complaint.contains("up to 2"), "{complaint}");

    // One without is not let in, and the others go on.
    cluster.wipe(3);
    cluster.restart(3);
    wait_until("a leader refuses the old node", async || {
        let told = cluster.log(1) + &cluster.log(2);
        let words = "a node does not know all commands in use node=3";
        if told.contains(words) { Ok(()) } else { Err(told) }
    })
    .await;
    let api = cluster.api().clone();
    api.check(1, "u", 5, 600_000).await.admitted(5, 4);
    let report: Value = cluster.report(1).await.expect("a report");
    assert_eq!(report["nodes"][2]["role"], "joining", "{report}");
    cluster.kill(3);

    // Nor can it be added.
    cluster.reconfigure(4, NEW, OLD);
    cluster.restart(4);
    let new = cluster.new_node(4);
    let mut arguments = vec!["members", "add", "--endpoint", api.url(1)];
    arguments.extend(new.iter().map(String::as_str));
    let (code, _, complaint) = run(&arguments).output().await;
    assert_eq!(code, Some(4), "{complaint}");
    assert!(complaint.contains("node_too_old"), "{complaint}");
}
