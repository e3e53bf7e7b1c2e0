//! Nodes that come and go while clients go on, and what is refused because it would stop them.

mod cluster;

use serde_json::{Value, json};

use cluster::{Load, Setup, TestCluster, run, wait_until};

/// Workers of a load.
const WORKERS: usize = 8;
/// What has to be acknowledged between two events.
const SOME: u64 = 1000;
/// The smallest there is: a new node gets a snapshot first, and then entries.
const SNAPSHOTS_OFTEN: &str = "snapshot_log_bytes = 65536";

fn with_spares(spares: u64) -> Setup {
    Setup { spares, ..Setup::with(SNAPSHOTS_OFTEN) }
}

/// Runs `tallykeep members`, asking these nodes; gives the exit code, what it told and what it
/// complained of.
async fn members(
    cluster: &TestCluster,
    nodes: &[u64],
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let mut all = vec!["members"];
    all.extend(arguments);
    for node in nodes {
        all.extend(["--endpoint", cluster.api().url(*node)]);
    }
    run(&all).output().await
}

/// As [`members`], for what must succeed; gives the lines of the table by node.
async fn change(cluster: &TestCluster, nodes: &[u64], arguments: &[&str]) -> Vec<String> {
    let (code, told, complaint) = members(cluster, nodes, arguments).await;
    assert_eq!(code, Some(0), "{arguments:?}: {told}{complaint}");
    told.lines().skip(1).map(str::to_owned).collect()
}

/// As [`members`], for what must be refused with this code.
async fn refused(cluster: &TestCluster, nodes: &[u64], arguments: &[&str], why: &str) {
    let (code, told, complaint) = members(cluster, nodes, arguments).await;
    assert_eq!((code, told.as_str()), (Some(4), ""), "{arguments:?}: {complaint}");
    assert!(complaint.contains(why), "{arguments:?}: {complaint}");
}

/// The ids in a table, and whether each votes.
fn votes(table: &[String]) -> Vec<(u64, bool)> {
    let row = |line: &String| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        (cells[0].parse().expect("an id"), cells[1] == "yes")
    };
    table.iter().map(row).collect()
}

/// Starts a node that was not there before and adds it.
async fn add(cluster: &mut TestCluster, asked: &[u64], id: u64) -> Vec<String> {
    cluster.restart(id);
    let new = cluster.new_node(id);
    let mut arguments = vec!["add"];
    arguments.extend(new.iter().map(String::as_str));
    let table = change(cluster, asked, &arguments).await;
    cluster.wait_ready_one(id).await;
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_to_five_nodes_and_shrinks_to_three_under_load() {
    let mut cluster = TestCluster::start_as(with_spares(2)).await;
    let load = Load::start(cluster.api(), &[2, 3], WORKERS);
    load.progress(SOME).await;
    add(&mut cluster, &[1, 2, 3], 4).await;
    load.progress(SOME).await;
    let table = add(&mut cluster, &[3], 5).await;
    assert_eq!(votes(&table), [(1, true), (2, true), (3, true), (4, true), (5, true)]);
    load.progress(SOME).await;

    // Once more the same: it is there.
    let (code, _, complaint) = members(&cluster, &[5], &["transfer-leader", "1"]).await;
    assert_eq!(code, Some(0), "{complaint}");
    assert_eq!(cluster.leader().await, 1);
    load.progress(SOME).await;
    // The leader itself goes, and is asked to do it.
    let table = change(&cluster, &[1], &["remove", "1"]).await;
    assert_eq!(votes(&table), [(2, true), (3, true), (4, true), (5, true)]);
    load.progress(SOME).await;
    let table = change(&cluster, &[2, 3], &["remove", "4"]).await;
    assert_eq!(votes(&table), [(2, true), (3, true), (5, true)]);
    load.progress(SOME).await;

    // Who was removed knows it, serves nobody, and disturbs nobody.
    let api = cluster.api().clone();
    for gone in [1, 4] {
        wait_until(&format!("node {gone} knows that it was removed"), async || {
            let answer = api.try_get(gone, "/readyz").await.map_err(|error| error.to_string())?;
            let text = answer.text();
            if text.contains("not a member") { Ok(()) } else { Err(text) }
        })
        .await;
        cluster.terminate(gone).await;
    }
    load.progress(SOME).await;
    let record = load.stop().await;
    cluster.equal_state().await;
    record.verify(&api, 5, false).await;
    assert_eq!(record.failures, [], "no request may fail");
    let report = cluster.report(5).await.expect("a report");
    assert_eq!(report["nodes"].as_array().map(Vec::len), Some(3), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_machine_is_replaced_under_load() {
    let mut cluster = TestCluster::start_as(with_spares(1)).await;
    let load = Load::start(cluster.api(), &[1, 2], WORKERS);
    load.progress(SOME).await;
    cluster.kill(3);
    load.progress(SOME).await;

    cluster.restart(4);
    let new = cluster.new_node(4);
    let mut arguments = vec!["replace", "3"];
    arguments.extend(new.iter().map(String::as_str));
    let table = change(&cluster, &[1, 2], &arguments).await;
    assert_eq!(votes(&table), [(1, true), (2, true), (4, true)]);
    cluster.wait_ready_one(4).await;
    load.progress(SOME).await;
    // One that lost its disk finds a leader that its settings do not name.
    change(&cluster, &[1], &["transfer-leader", "4"]).await;
    cluster.kill(2);
    cluster.wipe(2);
    cluster.restart(2);
    cluster.wait_ready_one(2).await;
    assert_eq!(cluster.leader().await, 4);
    load.progress(SOME).await;
    // The new one counts: without another of the old ones it is the majority.
    cluster.kill(1);
    load.progress(SOME).await;
    // A new node's settings name the first three; the log knows better, also after a restart.
    cluster.kill(4);
    cluster.restart(4);
    cluster.wait_ready_one(4).await;
    load.progress(SOME).await;
    cluster.restart(1);
    cluster.wait_ready().await;
    let record = load.stop().await;
    cluster.equal_state().await;
    record.verify(cluster.api(), 4, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_the_cluster_is_refused_and_changes_nothing() {
    let mut cluster = TestCluster::start_as(with_spares(2)).await;
    let new = |id: u64, at: u64| {
        let mut arguments = vec!["add".to_owned()];
        arguments.extend(cluster.new_node(at));
        arguments[2] = id.to_string();
        arguments
    };
    let all = [1, 2, 3];
    let before = change(&cluster, &all, &["list"]).await;
    assert_eq!(votes(&before), [(1, true), (2, true), (3, true)]);
    let cases = [
        (new(2, 4), "already_member"),
        (new(4, 2), "already_member"),
        (vec!["transfer-leader".into(), "9".into()], "not_a_member"),
    ];
    for (arguments, why) in &cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        refused(&cluster, &all, &arguments, why).await;
    }
    let api = cluster.api().clone();
    for body in [
        json!({}),
        json!({"lead": {}}),
        json!({"lead": {"id": 1, "also": 2}}),
        json!({"lead": {"id": 1}, "remove": {"id": 1}}),
        json!({"add": {"id": 0, "http": "a:1", "peer": "a:2"}}),
        json!({"add": {"id": 4, "http": "nowhere", "peer": "a:2"}}),
        json!(["lead"]),
        Value::Null,
    ] {
        let answer = api.post(2, "/admin/members", body.to_string()).await;
        answer.problem(400, "invalid_change");
    }
    // `tallykeep members` waits for a node that was started a moment ago.
    let [_, _, _, http, _, peer] = cluster.new_node(4);
    let add = json!({"add": {"id": 4, "http": http, "peer": peer}});
    api.post(1, "/admin/members", add.to_string()).await.problem(409, "node_not_reached");
    // What is gone already, and what is so already, is as asked.
    change(&cluster, &all, &["remove", "9"]).await;
    let leader = cluster.leader().await.to_string();
    let after = change(&cluster, &all, &["transfer-leader", &leader]).await;
    assert_eq!(votes(&after), votes(&before));

    // With one node down, another must not go.
    let down = cluster.a_follower().await;
    let other = cluster.ids().into_iter().find(|id| *id != down && id.to_string() != leader);
    let other = other.expect("three nodes").to_string();
    cluster.kill(down);
    let left: Vec<u64> = cluster.active();
    wait_until("the dead node is seen to be", async || {
        let report = cluster.report(left[0]).await?;
        let node = &report["nodes"][usize::try_from(down).expect("small") - 1];
        if node["role"] == "unreachable" { Ok(()) } else { Err(report.to_string()) }
    })
    .await;
    refused(&cluster, &left, &["remove", &other], "would_lose_quorum").await;
    // But the dead one may.
    let table = change(&cluster, &left, &["remove", &down.to_string()]).await;
    assert_eq!(votes(&table).len(), 2);
    api.check(left[0], "still", 5, 600_000).await.admitted(5, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_goes_on_when_the_others_are_gone_for_good() {
    let mut cluster = TestCluster::start_as(with_spares(2)).await;
    let load = Load::start(cluster.api(), &cluster.ids(), WORKERS);
    load.progress(SOME).await;
    let record = load.stop().await;
    cluster.equal_state().await;
    for id in cluster.ids() {
        cluster.kill(id);
    }
    cluster.wipe(1);
    cluster.wipe(2);

    let config = cluster.config(3).to_string_lossy().into_owned();
    let show = ["recover", "--config", &config];
    let (code, told, complaint) = run(&show).output().await;
    assert_eq!(code, Some(0), "{complaint}");
    assert!(told.starts_with("node 3 has entries up to index "), "{told}");
    assert!(told.contains("Nothing was changed"), "{told}");
    // A node that has nothing cannot.
    let other = cluster.config(2).to_string_lossy().into_owned();
    let (code, _, complaint) = run(&["recover", "--config", &other]).output().await;
    assert_eq!(code, Some(1), "{complaint}");

    let force = ["recover", "--config", &config, "--unsafe-forget-others"];
    let (code, told, complaint) = run(&force).output().await;
    assert_eq!(code, Some(0), "{complaint}");
    assert!(told.contains("a cluster of its own now"), "{told}");

    cluster.restart(3);
    cluster.wait_ready_one(3).await;
    let api = cluster.api().clone();
    record.verify(&api, 3, false).await;
    // While it runs, it cannot be done again.
    let (code, _, complaint) = run(&force).output().await;
    assert_eq!(code, Some(1), "{complaint}");
    let load = Load::start(&api, &[3], WORKERS);
    load.progress(SOME).await;
    add(&mut cluster, &[3], 4).await;
    let table = add(&mut cluster, &[3], 5).await;
    assert_eq!(votes(&table), [(3, true), (4, true), (5, true)]);
    load.progress(SOME).await;
    let second = load.stop().await;
    assert_eq!(second.failures, []);
    cluster.equal_state().await;
    second.verify(&api, 4, false).await;
}
