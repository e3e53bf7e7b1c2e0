//! Faults under load, on real processes: nothing that was acknowledged is lost or doubled, no
//! answer is made up, and the replicas end up equal.

mod cluster;

use std::fs::File;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::time::timeout;

use cluster::{Answer, Api, Load, Setup, TestCluster, wait_until};

/// Workers of a load: enough for batches, few enough for two cores.
const WORKERS: usize = 12;
/// What has to be acknowledged between two events.
const SOME: u64 = 1500;
/// Faults of the test that picks them at random.
const ROUNDS: usize = 10;
/// The smallest there is.
const SNAPSHOTS_OFTEN: &str = "snapshot_log_bytes = 65536";

/// The others' clients see at most a pause; nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_killed_under_load() {
    let mut cluster = TestCluster::start().await;
    let load = Load::start(cluster.api(), &cluster.ids(), WORKERS);
    load.progress(SOME).await;
    let first = cluster.leader().await;
    cluster.kill(first);
    let second = cluster.leader().await;
    load.progress(SOME).await;
    cluster.restart(first);
    cluster.wait_ready().await;
    load.progress(SOME).await;
    // Once more, with the node that was away among the voters.
    cluster.kill(second);
    cluster.leader().await;
    load.progress(SOME).await;
    cluster.restart(second);
    cluster.wait_ready().await;
    let record = load.stop().await;

    cluster.equal_state().await;
    record.verify(cluster.api(), cluster.a_follower().await, false).await;
    cluster.equal_state().await;
    let others = record.failures_of(|node| node != first && node != second);
    assert!(others.is_empty(), "clients of the node that lived were failed: {others:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_are_killed_at_once_under_load() {
    let mut cluster = TestCluster::start_as(Setup::with(SNAPSHOTS_OFTEN)).await;
    let load = Load::start(cluster.api(), &cluster.ids(), WORKERS);
    for _ in 0..2 {
        load.progress(SOME).await;
        for id in cluster.ids() {
            cluster.kill(id);
        }
        for id in cluster.ids() {
            cluster.restart(id);
        }
        cluster.wait_ready().await;
    }
    load.progress(SOME).await;
    let record = load.stop().await;

    cluster.equal_state().await;
    record.verify(cluster.api(), cluster.a_follower().await, false).await;
    cluster.equal_state().await;
}

/// While a majority of disks is nearly full writes are refused and reads go on; when there is space
/// again so do writes, without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_fill_up_and_have_space_again() {
    let elsewhere = tempfile::tempdir().expect("a folder for temporary files");
    let found = rustix::fs::statvfs(elsewhere.path()).expect("the folder's file system");
    let free = found.f_bavail * found.f_frsize;
    // Enough that what else goes on on this disk does not matter.
    let much = (free / 4).min(1 << 30);
    let reserve = free - much;
    let setup = Setup::with(&format!("storage = {{ disk_reserve_bytes = {reserve} }}"));
    let cluster = TestCluster::start_as(setup).await;
    let api = cluster.api();
    let first = api.log(1, r#"{"type":"disk","action":"fill"}"#).await;
    for id in cluster.ids() {
        let admitted = u16::from(id == 1) * 200 + u16::from(id != 1) * 429;
        assert_eq!(api.check(id, "once", 1, 3_600_000).await.status, admitted);
    }

    let ballast = File::create(elsewhere.path().join("ballast")).expect("a file");
    rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, 2 * much)
        .expect("there is as much space");
    let mut acknowledged = vec![first];
    for id in cluster.ids() {
        wait_until("writes are refused for want of space", async || {
            let answer = api.post(id, "/log", r#"{"type":"disk","action":"fill"}"#).await;
            if answer.status == 200 {
                acknowledged.push(answer.json()["id"].as_str().expect("an id").to_owned());
                return Err(answer.text());
            }
            answer.problem(507, "insufficient_storage");
            Ok(())
        })
        .await;
        api.check(id, "another", 1, 1000).await.problem(507, "insufficient_storage");
        api.check(id, "once", 1, 3_600_000).await.refused(1);
        assert_eq!(entries(api, id).await, acknowledged);
        assert_eq!(api.get(id, "/readyz").await.status, 200);
        assert_eq!(api.get(id, "/admin/cluster").await.json()["nodes"][0]["disk"], "low");
    }

    drop(ballast);
    elsewhere.close().expect("the ballast goes");
    for id in cluster.ids() {
        wait_until("writes go on", async || {
            let answer = api.post(id, "/log", r#"{"type":"disk","action":"fill"}"#).await;
            if answer.status == 507 {
                return Err(answer.text());
            }
            acknowledged.push(answer.json()["id"].as_str().expect("an id").to_owned());
            Ok(())
        })
        .await;
        api.check(id, &format!("of {id}"), 1, 1000).await.admitted(1, 0);
        assert_eq!(entries(api, id).await, acknowledged);
    }
    cluster.equal_state().await;
}

/// The ids of all entries of the type `disk`, oldest first.
async fn entries(api: &Api, id: u64) -> Vec<String> {
    let found = api.query(id, &json!({"type": "disk", "limit": 1000, "order": "asc"})).await;
    let entries = found["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect()
}

/// A node whose disk was lost gets a snapshot, for the log no longer goes back to its beginning;
/// meanwhile the others serve, and a wiped node does not vote for what it has forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_wiped_and_rejoins_by_snapshot() {
    let mut cluster = TestCluster::start_as(Setup::with(SNAPSHOTS_OFTEN)).await;
    let wiped = cluster.a_follower().await;
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != wiped).collect();
    // Not many workers: a log entry holds as many commands as wait, and it is entries that count.
    let load = Load::start(cluster.api(), &others, 4);
    for id in &others {
        cluster.wait_log_cut(*id).await;
    }
    cluster.kill(wiped);
    cluster.wipe(wiped);
    load.progress(SOME).await;
    cluster.restart(wiped);
    cluster.wait_ready_one(wiped).await;
    assert!(cluster.log(wiped).contains("installed a snapshot"));
    load.progress(SOME).await;
    let record = load.stop().await;

    cluster.equal_state().await;
    record.verify(cluster.api(), wiped, false).await;
    cluster.equal_state().await;
    assert!(record.failures.is_empty(), "the others' clients: {:?}", record.failures);

    // It is a voter like any other again: with it, one of the others may be gone.
    let leader = cluster.leader().await;
    let gone = *others.iter().find(|id| **id != leader).unwrap_or(&others[0]);
    cluster.kill(gone);
    cluster.leader().await;
    cluster.api().check(wiped, "voter", 2, 600_000).await.admitted(2, 1);
    cluster.restart(gone);
    cluster.wait_ready().await;
    cluster.equal_state().await;
}

/// A paused node is worse than a dead one: its connections stay open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_paused_and_resumed() {
    let mut cluster = TestCluster::start().await;
    let paused = cluster.leader().await;
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != paused).collect();
    let load = Load::start(cluster.api(), &others, WORKERS);
    load.progress(SOME).await;
    cluster.pause(paused);
    let next = cluster.leader().await;
    assert_ne!(next, paused);
    load.progress(SOME).await;
    // It wakes up believing that it leads.
    cluster.resume(paused);
    cluster.wait_ready().await;
    load.progress(SOME).await;
    let record = load.stop().await;

    cluster.equal_state().await;
    record.verify(cluster.api(), paused, false).await;
    cluster.equal_state().await;
    assert!(record.failures.is_empty(), "the others' clients: {:?}", record.failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_paused_and_resumed() {
    let mut cluster = TestCluster::start().await;
    let paused = cluster.a_follower().await;
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != paused).collect();
    let load = Load::start(cluster.api(), &others, WORKERS);
    load.progress(SOME).await;
    cluster.pause(paused);
    load.progress(SOME * 2).await;
    cluster.resume(paused);
    cluster.wait_ready().await;
    load.progress(SOME).await;
    let record = load.stop().await;

    cluster.equal_state().await;
    record.verify(cluster.api(), paused, false).await;
    cluster.equal_state().await;
    assert!(record.failures.is_empty(), "the others' clients: {:?}", record.failures);
}

/// Whatever fails, in whatever order: one node at a time, while the log is cut and snapshots are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_fail_at_random_one_at_a_time() {
    let seed: u64 = rand::random();
    // Shown when the test fails. The order of the faults is the seed's; their moment is not.
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = TestCluster::start_as(Setup::with(SNAPSHOTS_OFTEN)).await;
    let load = Load::start(cluster.api(), &cluster.ids(), WORKERS);
    for _ in 0..ROUNDS {
        load.progress(random.random_range(1..SOME)).await;
        let id = random.random_range(1..=3);
        let fault = random.random_range(0..4);
        println!("fault {fault} of node {id}");
        match fault {
            0 => cluster.pause(id),
            1 => {
                let (status, _) = cluster.terminate(id).await;
                assert_eq!(status.code(), Some(0), "{status}");
            }
            2 => cluster.kill(id),
            _ => {
                cluster.kill(id);
                cluster.wipe(id);
            }
        }
        load.progress(random.random_range(1..SOME)).await;
        match fault {
            0 => cluster.resume(id),
            _ => cluster.restart(id),
        }
        cluster.wait_ready().await;
    }
    let record = load.stop().await;
    cluster.equal_state().await;
    record.verify(cluster.api(), cluster.a_follower().await, false).await;
    cluster.equal_state().await;
}

/// Without a majority a node says so, and makes nothing up; it serves again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_are_gone() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    api.check(1, "before", 3, 600_000).await.admitted(3, 2);
    let id = api.log(2, r#"{"type":"before","action":"a"}"#).await;

    // Whoever is left, the leader or a follower.
    for left_leads in [true, false] {
        let leader = cluster.leader().await;
        let left = if left_leads { leader } else { cluster.a_follower().await };
        let gone: Vec<_> = cluster.ids().into_iter().filter(|id| *id != left).collect();
        let load = Load::start(&api, &[left], 4);
        load.progress(100).await;
        for id in &gone {
            cluster.kill(*id);
        }
        answers_503(&api, left).await;
        answers_503_at_once(&api, left).await;
        api.get(left, "/readyz").await.problem(503, "no_leader");
        assert_eq!(api.get(left, "/healthz").await.status, 200);
        let report = cluster.report(left).await.expect("a report");
        assert!(report["nodes"].as_array().is_some_and(|nodes| nodes.len() == 3), "{report}");

        // One of the two is enough.
        cluster.restart(gone[0]);
        cluster.wait_ready().await;
        load.progress(100).await;
        cluster.restart(gone[1]);
        cluster.wait_ready().await;
        let record = load.stop().await;
        cluster.equal_state().await;
        record.verify(&api, left, false).await;
    }
    api.check(1, "before", 3, 600_000).await.admitted(3, 1);
    let log = api.query(3, &json!({"type": "before"})).await;
    assert_eq!((&log["count"], &log["entries"][0]["id"]), (&json!(1), &json!(id)));
    cluster.equal_state().await;
}

/// Every request that needs the cluster, sent to one node at once.
async fn requests(api: &Api, node: u64) -> Vec<Answer> {
    let check = r#"{"identifier":"none","config":{"requests":1,"windowMs":1000}}"#;
    let entry = r#"{"type":"none","action":"a"}"#;
    let shard = "/do/AUDIT_LOGGER/name/2024-01-15";
    let (log, query) = (format!("{shard}/log"), format!("{shard}/query"));
    let (a, b, c, d, e, f, g) = tokio::join!(
        api.post(node, "/check", check),
        api.post(node, "/reset", r#"{"identifier":"none"}"#),
        api.post(node, "/log", entry),
        api.post(node, "/query", "{}"),
        api.get(node, "/export"),
        api.post(node, &log, entry),
        api.post(node, &query, "{}"),
    );
    vec![a, b, c, d, e, f, g]
}

/// A request's deadline is five seconds; a busy machine is given some more.
async fn answers_503(api: &Api, node: u64) {
    let answers = timeout(Duration::from_secs(8), requests(api, node)).await;
    for answer in answers.expect("every request is answered within its deadline") {
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        assert!(["no_leader", "unknown_outcome"].contains(&&code[..]), "{}", answer.text());
        answer.problem(503, &code);
    }
}

/// Once it is known that there is no majority, nobody waits for it.
async fn answers_503_at_once(api: &Api, node: u64) {
    wait_until("every request is refused long before its deadline", async || {
        let answers = timeout(Duration::from_secs(2), requests(api, node)).await;
        for answer in answers.map_err(|_| "a request still waits".to_owned())? {
            answer.problem(503, "no_leader");
        }
        Ok(())
    })
    .await;
}
