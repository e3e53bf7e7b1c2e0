//! Starting and stopping real nodes: first starts, graceful stops, and what stops a start.

mod cluster;

use std::net::TcpListener;
use std::time::Duration;

use reqwest::Method;

use cluster::{
    Answer, Api, Failure, Load, Ports, Record, Setup, TestCluster, Why, is_free, run, wait_until,
};

/// Workers of a load.
const WORKERS: usize = 12;
/// What has to be acknowledged between two events.
const SOME: u64 = 1000;

/// In any order and with any gaps there is one cluster, and none before all three are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_in_any_order_form_one_cluster() {
    let mut cluster = TestCluster::prepare(Setup::default());
    let api = cluster.api().clone();
    for (position, id) in [3, 1].into_iter().enumerate() {
        cluster.restart(id);
        wait_until(&format!("node {id} lives and waits for the others"), async || {
            let answer = api.try_get(id, "/healthz").await.map_err(|error| error.to_string())?;
            assert_eq!(answer.status, 200);
            let log = cluster.log(id);
            if log.contains("waiting for all nodes") { Ok(()) } else { Err(log) }
        })
        .await;
        // A request of its whole deadline, while no cluster may form.
        for id in &[3, 1][..=position] {
            let check = api.check(*id, "early", 1, 1000).await;
            check.problem(503, "no_leader");
            api.get(*id, "/readyz").await.problem(503, "no_leader");
            let report = cluster.report(*id).await.expect("a report");
            assert!(report["leader"].is_null(), "{report}");
        }
    }
    // A start that was broken off leaves no half of a cluster behind.
    cluster.kill(1);
    cluster.restart(1);
    cluster.restart(2);
    cluster.wait_ready().await;
    cluster.leader().await;
    for node in api.ids() {
        api.check(node, "formed", 3, 600_000).await.admitted(3, 3 - node);
    }
    cluster.equal_state().await;
    let started = cluster.ids().into_iter().filter(|id| cluster.log(*id).contains("a new cluster"));
    assert_eq!(started.count(), 1, "one node started one cluster");
}

/// SIGTERM at the leader: exit 0 in time, leadership handed over, and no request fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_told_to_stop_fails_no_request() {
    let mut cluster = TestCluster::start().await;
    let load = Load::start(cluster.api(), &cluster.ids(), WORKERS);
    load.progress(SOME).await;
    let stopped = cluster.leader().await;
    stops_in_time(&mut cluster, stopped).await;
    load.progress(SOME).await;
    let next = cluster.leader().await;
    assert_ne!(next, stopped);
    let record = load.stop().await;
    no_request_failed(&record, &[stopped]);
    record.verify(cluster.api(), next, true).await;

    // Started again it has what it had, and what came since.
    cluster.restart(stopped);
    cluster.wait_ready().await;
    cluster.equal_state().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let mut cluster = TestCluster::start().await;
    let load = Load::start(cluster.api(), &cluster.ids(), WORKERS);
    for id in cluster.ids() {
        load.progress(SOME).await;
        stops_in_time(&mut cluster, id).await;
        load.progress(SOME).await;
        cluster.restart(id);
        cluster.wait_ready().await;
    }
    load.progress(SOME).await;
    let record = load.stop().await;
    cluster.equal_state().await;
    no_request_failed(&record, &cluster.ids());
    record.verify(cluster.api(), cluster.a_follower().await, true).await;
    cluster.equal_state().await;
}

/// The whole cluster is stopped and started: all data is there, and it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_stopped_keeps_its_data() {
    let mut cluster = TestCluster::start().await;
    let load = Load::start(cluster.api(), &cluster.ids(), WORKERS);
    load.progress(SOME).await;
    let record = load.stop().await;
    assert!(record.failures.is_empty(), "{:?}", record.failures);
    for id in cluster.ids() {
        // The last ones have nobody to hand over to.
        stops_in_time(&mut cluster, id).await;
    }
    for id in [2, 3, 1] {
        cluster.restart(id);
    }
    cluster.wait_ready().await;
    cluster.equal_state().await;
    record.verify(cluster.api(), 1, true).await;
    for id in cluster.ids() {
        let log = cluster.log(id);
        assert_eq!(log.matches("anew").count(), 0, "a node with data goes on: {log}");
    }
}

/// Stops a node; SPEC and issue: exit 0 within five seconds.
async fn stops_in_time(cluster: &mut TestCluster, id: u64) {
    let (status, elapsed) = cluster.terminate(id).await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(elapsed < Duration::from_secs(5), "node {id} took {elapsed:?} to stop");
}

/// Nobody's request failed. Those who turned to a node that was stopped found nobody there or, at
/// most once for a stop, their connection cleanly closed; then they went on elsewhere.
fn no_request_failed(record: &Record, stopped: &[u64]) {
    let fine = |failure: &Failure| {
        stopped.contains(&failure.node) && matches!(failure.why, Why::NotConnected | Why::Closed)
    };
    let bad: Vec<_> = record.failures.iter().filter(|failure| !fine(failure)).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let closed = record.failures.iter().filter(|failure| failure.why == Why::Closed).count();
    assert!(closed <= WORKERS * stopped.len(), "{closed} connections were closed");
}

/// A single node serves alone; its data is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_serves_alone() {
    let mut cluster = TestCluster::start_as(Setup { nodes: 1, ..Setup::default() }).await;
    let api = cluster.api().clone();
    api.check(1, "u", 3, 600_000).await.admitted(3, 2);
    let id = api.log(1, r#"{"type":"t","action":"a"}"#).await;
    cluster.kill(1);
    cluster.restart(1);
    cluster.wait_ready().await;
    api.check(1, "u", 3, 600_000).await.admitted(3, 1);
    stops_in_time(&mut cluster, 1).await;
    cluster.restart(1);
    cluster.wait_ready().await;
    api.check(1, "u", 3, 600_000).await.admitted(3, 0);
    assert!(api.get(1, "/export?format=ndjson").await.text().contains(&id));
}

/// `tallykeep dev`: one node without a configuration, at the ports that it always has. Where a
/// cluster runs there already, it has to say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_developers_node_serves_alone_or_says_why_not() {
    let is_possible = is_free(7001) && is_free(7101);
    let mut dev = run(&["dev"]);
    if !is_possible {
        let (code, _, stderr) = dev.output().await;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("cannot listen for"), "{stderr}");
        return;
    }
    let api = Api::new(vec!["http://127.0.0.1:7001".to_owned()]);
    wait_until("the developer's node is ready", async || {
        if let Some(status) = dev.ended() {
            panic!("it ended with {status}: {}", dev.stderr());
        }
        let answer = api.try_get(1, "/readyz").await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    api.check(1, "u", 3, 600_000).await.admitted(3, 2);
    api.log(1, r#"{"type":"t","action":"a"}"#).await;
    assert!(dev.dir().join(".tallykeep").is_dir(), "its data is where it was started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why_and_exits_1() {
    let mut cluster = TestCluster::prepare(Setup { nodes: 1, ..Setup::default() });
    let config = cluster.config(1).to_owned();
    let file = config.to_str().expect("a path of UTF-8").to_owned();
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let refused = async |arguments: &[&str], parts: &[&str]| {
        let (code, stdout, stderr) = run(arguments).output().await;
        assert_eq!(code, Some(1), "{stderr}");
        assert_eq!(stdout, "");
        for part in parts {
            assert!(stderr.contains(part), "{part} in: {stderr}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
    };

    // Ports that are taken.
    let addresses: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once("= \"127.0.0.1:"))
        .map(|(_, port)| format!("127.0.0.1:{}", port.trim_end_matches('"')))
        .collect();
    let [clients, peers] = &addresses[..] else { panic!("two addresses in {text}") };
    for (whom, address) in [("clients", clients), ("peers", peers)] {
        let taken = TcpListener::bind(address).expect("a port of ours");
        let told = format!("cannot listen for {whom} on {address}");
        refused(&["serve", "--config", &file], &[&told]).await;
        drop(taken);
    }

    // Configurations that are wrong.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let wrong = dir.path().join("wrong.toml");
    let path = wrong.to_str().expect("a path of UTF-8").to_owned();
    refused(&["serve", "--config", &path], &["wrong.toml"]).await;
    for (more, part) in [
        ("retenion = \"30d\"", "retenion"),
        ("retention = \"999ms\"", "retention"),
        ("snapshot_log_bytes = 1", "snapshot_log_bytes"),
        ("raft = { heartbeat_ms = 0 }", "heartbeat_ms"),
        ("wrangler = \"no-such-wrangler.toml\"", "no-such-wrangler.toml"),
        ("not toml", "line 1"),
    ] {
        std::fs::write(&wrong, format!("{more}\n{text}")).expect("a temporary file");
        let file = if more.starts_with("wrangler") { part } else { "wrong.toml" };
        refused(&["serve", "--config", &path], &[part, file]).await;
    }
    // Data that cannot be: a file where the folder should be.
    let data = dir.path().join("file");
    std::fs::write(&data, "no folder").expect("a temporary file");
    let data = data.to_str().expect("a path of UTF-8").to_owned();
    refused(&["serve", "--config", &file, "--data", &data], &[&data]).await;

    // `--data` moves the data of a configuration that is right.
    let moved = dir.path().join("moved");
    let arguments = ["serve", "--config", &file, "--data", moved.to_str().expect("UTF-8")];
    let mut node = run(&arguments);
    let api = cluster.api();
    wait_until("the node with its data elsewhere is ready", async || {
        if let Some(status) = node.ended() {
            panic!("it ended with {status}: {}", node.stderr());
        }
        let answer = api.try_get(1, "/readyz").await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    assert!(moved.is_dir());
    // Two processes on one folder would ruin it: whoever comes second is refused.
    let other = Ports::reserve(2);
    let mut elsewhere = text;
    for (port, address) in other.numbers().iter().zip([clients, peers]) {
        elsewhere = elsewhere.replace(address, &format!("127.0.0.1:{port}"));
    }
    std::fs::write(&wrong, elsewhere).expect("a temporary file");
    let moved = moved.to_str().expect("UTF-8");
    refused(&["serve", "--config", &path, "--data", moved], &[moved]).await;
    let still = Answer::of(api.request(Method::GET, 1, "/readyz")).await.expect("an answer");
    assert_eq!(still.status, 200);
}

/// A node of another cluster's name at a member's address is not let in, and harms nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_refused() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let stranger = cluster.a_follower().await;
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != stranger).collect();
    cluster.kill(stranger);
    cluster.wipe(stranger);
    cluster.reconfigure(stranger, "cluster = \"black-box\"", "cluster = \"other\"");
    cluster.restart(stranger);
    for id in &others {
        wait_until(&format!("node {id} refuses the stranger"), async || {
            let answer = api.try_get(stranger, "/healthz").await;
            answer.map_err(|error| error.to_string())?;
            let log = cluster.log(*id);
            let has_refused = log.contains("refused a peer") && log.contains("not \\\"other\\\"");
            if has_refused { Ok(()) } else { Err(log) }
        })
        .await;
        let report = cluster.report(*id).await.expect("a report");
        let seen = &report["nodes"][stranger as usize - 1];
        assert_eq!((&seen["role"], &seen["ready"]), (&"unreachable".into(), &false.into()));
    }
    api.get(stranger, "/readyz").await.problem(503, "no_leader");
    api.check(stranger, "stranger", 1, 1000).await.problem(503, "no_leader");
    for (id, remaining) in others.iter().zip([1, 0]) {
        api.check(*id, "still here", 2, 600_000).await.admitted(2, remaining);
    }
    // Under its right name it is taken back.
    cluster.kill(stranger);
    cluster.wipe(stranger);
    cluster.reconfigure(stranger, "cluster = \"other\"", "cluster = \"black-box\"");
    cluster.restart(stranger);
    cluster.wait_ready().await;
    cluster.equal_state().await;
}
