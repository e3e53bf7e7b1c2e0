//! Backups of a cluster that runs, and new clusters that begin with them.

mod cluster;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use cluster::{Load, Setup, TestCluster, run, wait_until};

/// Workers of a load.
const WORKERS: usize = 8;
/// What has to be acknowledged between two events.
const SOME: u64 = 1000;
const HOUR_MS: u64 = 3_600_000;
/// What makes a backup long enough not to fit into all the buffers between a node and its client.
const LARGE_ENTRIES: usize = 64;
const LARGE_BYTES: usize = 250_000;

/// Runs `tallykeep backup`, asking one node; gives its summary.
async fn backup(cluster: &TestCluster, node: u64, file: &Path) -> Value {
    let url = cluster.api().url(node);
    let arguments =
        ["backup".as_ref(), file, "--json".as_ref(), "--endpoint".as_ref(), url.as_ref()];
    let (code, told, complaint) = run(&arguments).output().await;
    assert_eq!(code, Some(0), "{complaint}");
    serde_json::from_str(&told).expect("a summary")
}

/// Runs `tallykeep restore` for a node; gives the exit code, what it told and what it complained of.
async fn restore(
    cluster: &mut TestCluster,
    node: u64,
    file: &Path,
    more: &[&str],
) -> (Option<i32>, String, String) {
    let config = cluster.config(node).to_owned();
    let mut arguments = vec!["restore".as_ref(), file, "--config".as_ref(), &config];
    arguments.extend(more.iter().map(Path::new));
    run(&arguments).output().await
}

/// As [`restore`], for what must succeed.
async fn restored(cluster: &mut TestCluster, nodes: &[u64], file: &Path) -> String {
    let mut last = String::new();
    for node in nodes {
        let (code, told, complaint) = restore(cluster, *node, file, &[]).await;
        assert_eq!(code, Some(0), "{told}{complaint}");
        last = told;
    }
    last
}

/// As [`restore`], for what must be refused and say this.
async fn refused(cluster: &mut TestCluster, node: u64, file: &Path, why: &str) {
    let before = names(&cluster.data(node));
    let (code, told, complaint) = restore(cluster, node, file, &[]).await;
    assert_eq!((code, told.as_str()), (Some(1), ""), "{complaint}");
    assert!(complaint.contains(why), "{complaint}");
    assert_eq!(names(&cluster.data(node)), before, "nothing may have changed");
}

/// What is in a folder, if it is there.
fn names(folder: &Path) -> Option<Vec<PathBuf>> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    Some(names)
}

/// Waits until a node has no checkpoint any more that is not its snapshot.
async fn nothing_left(cluster: &TestCluster, node: u64) {
    let incoming = cluster.data(node).join("incoming");
    wait_until(&format!("node {node} has removed its checkpoints"), async || {
        match names(&incoming) {
            Some(left) if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
}

async fn content_hash(cluster: &TestCluster, node: u64) -> String {
    let answer = cluster.api().get(node, "/admin/hash").await.json();
    answer["hash"].as_str().expect("a hash").to_owned()
}

async fn log_said(cluster: &TestCluster, node: u64, what: &str) {
    wait_until(&format!("node {node} says {what:?}"), async || {
        let log = cluster.log(node);
        if log.contains(what) { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_begins_as_the_old_one_was() {
    let files = TempDir::new().expect("a folder");
    let mut old = TestCluster::start().await;
    let api = old.api().clone();
    api.check(1, "counted", 10, HOUR_MS).await.admitted(10, 9);
    let reset_ms = api.check(2, "counted", 10, HOUR_MS).await.admitted(10, 8);
    let id = api.log(3, json!({"type": "kept", "action": "a"}).to_string()).await;
    old.equal_state().await;
    let report = old.report(1).await.expect("a report");

    let mut state_hash = Value::Null;
    let (leader, follower) = (old.leader().await, old.a_follower().await);
    let file = files.path().join("backup.tar");
    for node in [leader, follower] {
        let file = files.path().join(format!("of-{node}.tar"));
        let summary = backup(&old, node, &file).await;
        assert_eq!(summary["node"], node, "{summary}");
        assert_eq!(summary["cluster"], cluster::CLUSTER, "{summary}");
        // That it was begun is recorded before, and is in it.
        let before = report["stateHash"]["applied"].as_u64();
        assert!(summary["applied"].as_u64() > before, "{summary}");
        state_hash = summary["stateHash"].clone();
        let bytes = file.metadata().expect("the file").len();
        assert_eq!(summary["bytes"].as_u64(), Some(bytes), "{summary}");
        nothing_left(&old, node).await;
    }
    fs::rename(files.path().join(format!("of-{follower}.tar")), &file).expect("the file");
    let check = run(&["restore".as_ref(), file.as_path(), "--check".as_ref()]).output().await;
    assert_eq!(check.0, Some(0), "{check:?}");
    assert!(check.1.contains("The backup is whole."), "{check:?}");
    for node in old.ids() {
        old.terminate(node).await;
    }

    let mut new = TestCluster::prepare(Setup::default());
    let told = restored(&mut new, &[1, 2, 3], &file).await;
    for node in new.ids() {
        new.restart(node);
    }
    new.wait_ready().await;
    new.equal_state().await;
    for node in new.ids() {
        let hash = content_hash(&new, node).await;
        assert!(told.contains(&hash), "{told} {hash}");
    }
    let again = new.report(1).await.expect("a report");
    assert_eq!(again["stateHash"]["hash"], state_hash, "{again}");
    assert!(again["term"].as_u64() > report["term"].as_u64(), "{again}");

    let api = new.api().clone();
    let same = api.check(3, "counted", 10, HOUR_MS).await.admitted(10, 7);
    assert_eq!(same, reset_ms);
    let found = api.query(2, &json!({"type": "kept"})).await;
    assert_eq!(found["entries"][0]["id"], id, "{found}");
    let later = api.log(1, json!({"type": "kept", "action": "b"}).to_string()).await;
    assert!(later > id, "{later} after {id}");
    // A restart is a restart like any other, and so is a disk that is lost.
    for node in new.ids() {
        new.kill(node);
    }
    new.wipe(2);
    for node in new.ids() {
        new.restart(node);
    }
    new.wait_ready().await;
    new.equal_state().await;
    refused(&mut new, 1, &file, "is not empty").await;
    new.api().check(2, "counted", 10, HOUR_MS).await.admitted(10, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_all_that_was_acknowledged_before() {
    let files = TempDir::new().expect("a folder");
    let mut old = TestCluster::start_as(Setup::with("snapshot_log_bytes = 65536")).await;
    let load = Load::start(old.api(), &old.ids(), WORKERS);
    load.progress(SOME).await;
    let (leader, follower) = (old.leader().await, old.a_follower().await);
    let mut backups = Vec::new();
    for node in [follower, leader] {
        let (began, file) = (Instant::now(), files.path().join(format!("of-{node}.tar")));
        backup(&old, node, &file).await;
        load.progress(SOME).await;
        backups.push((began, file));
        nothing_left(&old, node).await;
    }
    let mut record = load.stop().await;
    assert_eq!(record.failures, [], "no request may fail");
    old.equal_state().await;
    record.verify(old.api(), follower, false).await;
    for node in old.ids() {
        old.terminate(node).await;
    }

    // The later one first: what it lacks, the earlier one lacks too.
    for (began, file) in backups.into_iter().rev() {
        record.as_of(began);
        let mut new = TestCluster::prepare(Setup::with("snapshot_log_bytes = 65536"));
        restored(&mut new, &[1, 2, 3], &file).await;
        for node in new.ids() {
            new.restart(node);
        }
        new.wait_ready().await;
        record.verify(new.api(), 1, false).await;
        // It goes on as any cluster does, through a snapshot and a leader's death.
        let load = Load::start(new.api(), &new.ids(), WORKERS);
        load.progress(SOME).await;
        let leader = new.leader().await;
        new.kill(leader);
        load.progress(SOME).await;
        new.wipe(leader);
        new.restart(leader);
        new.wait_ready().await;
        let more = load.stop().await;
        new.equal_state().await;
        more.verify(new.api(), leader, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_whole_backup_or_no_new_node_is_refused_and_changes_nothing() {
    let files = TempDir::new().expect("a folder");
    let old = TestCluster::start_as(Setup { nodes: 1, ..Setup::default() }).await;
    old.api().log(1, json!({"type": "kept", "action": "a"}).to_string()).await;
    let good = files.path().join("good.tar");
    backup(&old, 1, &good).await;
    let mut new = TestCluster::prepare(Setup { nodes: 1, ..Setup::default() });

    let bytes = fs::read(&good).expect("the backup");
    let bad = files.path().join("bad.tar");
    for (kept, flipped, why) in [
        (bytes.len() - 1, None, "it ends here, before its end"),
        (bytes.len() / 2, None, "it ends here, before its end"),
        (bytes.len(), Some(bytes.len() / 2), "at byte"),
        (bytes.len(), Some(700), "at byte"),
        (0, None, "it ends here, before its end"),
    ] {
        let mut bytes = bytes[..kept].to_vec();
        if let Some(flipped) = flipped {
            bytes[flipped] ^= 1;
        }
        fs::write(&bad, bytes).expect("a file");
        refused(&mut new, 1, &bad, why).await;
        assert_eq!(names(&new.data(1)), None);
        let (code, _, complaint) =
            run(&["restore".as_ref(), bad.as_path(), "--check".as_ref()]).output().await;
        assert_eq!(code, Some(1), "{complaint}");
        assert!(complaint.contains(why), "{complaint}");
    }
    // Not over another file, unless it is said; and nothing is left beside it.
    let url = old.api().url(1).to_owned();
    let mut arguments = vec!["backup", bad.to_str().expect("a path"), "--endpoint", &url];
    let (code, _, complaint) = run(&arguments).output().await;
    assert_eq!(code, Some(1));
    assert!(complaint.contains("--force"), "{complaint}");
    assert_eq!(fs::read(&bad).expect("the file"), b"");
    arguments.push("--force");
    let (code, told, complaint) = run(&arguments).output().await;
    assert_eq!(code, Some(0), "{complaint}");
    assert!(told.contains("at entry "), "{told}");
    assert_eq!(names(files.path()), Some(vec![bad.clone(), good.clone()]));

    // Another cluster's.
    new.reconfigure(1, &format!("\"{}\"", cluster::CLUSTER), "\"another\"");
    refused(&mut new, 1, &good, "--any-cluster").await;
    let (code, _, complaint) = restore(&mut new, 1, &good, &["--any-cluster"]).await;
    assert_eq!(code, Some(0), "{complaint}");
    new.reconfigure(1, "\"another\"", &format!("\"{}\"", cluster::CLUSTER));
    refused(&mut new, 1, &good, "is not empty").await;
    new.wipe(1);

    // What a restore has left that ended in its midst is no node, and is restored again.
    restored(&mut new, &[1], &good).await;
    fs::write(new.data(1).join("RESTORING"), "").expect("a marker");
    let config = new.config(1).to_str().expect("a path").to_owned();
    let (code, _, complaint) = run(&["serve", "--config", &config]).output().await;
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("restore it again"), "{complaint}");
    restored(&mut new, &[1], &good).await;
    // By itself it is a cluster of one.
    new.restart(1);
    new.wait_ready().await;
    assert_eq!(new.api().query(1, &json!({"type": "kept"})).await["count"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_two_backups_or_of_none_do_not_mix() {
    let files = TempDir::new().expect("a folder");
    let mut old = TestCluster::start().await;
    let (one, two) = (files.path().join("one.tar"), files.path().join("two.tar"));
    old.api().check(1, "counted", 10, HOUR_MS).await.admitted(10, 9);
    backup(&old, 1, &one).await;
    old.api().check(1, "counted", 10, HOUR_MS).await.admitted(10, 8);
    backup(&old, 1, &two).await;

    // A node of a cluster that runs does not come back with a backup, for it would have forgotten
    // what it did since. It stops, and comes back without.
    old.kill(3);
    old.wipe(3);
    restored(&mut old, &[3], &two).await;
    let config = old.config(3).to_str().expect("a path").to_owned();
    let (code, _, complaint) = run(&["serve", "--config", &config]).output().await;
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("has data that is not of it"), "{complaint}");
    old.wipe(3);
    old.restart(3);
    old.wait_ready().await;
    old.equal_state().await;
    for node in old.ids() {
        old.terminate(node).await;
    }

    let mut new = TestCluster::prepare(Setup::default());
    restored(&mut new, &[2], &two).await;
    restored(&mut new, &[3], &one).await;
    for node in new.ids() {
        new.restart(node);
    }
    log_said(&new, 1, "a node was restored from a backup, and this one was not").await;
    log_said(&new, 2, "was restored from another backup").await;
    log_said(&new, 3, "was restored from another backup").await;
    let answer = new.api().get(2, "/readyz").await;
    assert!(answer.problem(503, "no_leader").contains("waits for all others"));
    for node in [1, 3] {
        new.kill(node);
        new.wipe(node);
        restored(&mut new, &[node], &two).await;
        new.restart(node);
    }
    new.wait_ready().await;
    new.equal_state().await;
    new.api().check(3, "counted", 10, HOUR_MS).await.admitted(10, 7);

    // Restored once more, a node has forgotten what it did since: it catches up before it votes.
    new.kill(1);
    new.wipe(1);
    restored(&mut new, &[1], &two).await;
    new.restart(1);
    new.wait_ready().await;
    log_said(&new, 1, "has caught up and votes again").await;
    new.api().check(1, "counted", 10, HOUR_MS).await.admitted(10, 6);
    new.equal_state().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let files = TempDir::new().expect("a folder");
    let cluster = TestCluster::start_as(Setup { nodes: 1, ..Setup::default() }).await;
    let api = cluster.api();
    for number in 0..LARGE_ENTRIES {
        let noise: String = (0..LARGE_BYTES).map(|_| rand::random_range('a'..='z')).collect();
        let body =
            json!({"type": "large", "action": "a", "details": {"n": number, "noise": noise}});
        api.log(1, body.to_string()).await;
    }
    let ask = async || {
        let mut response =
            api.request(Method::GET, 1, "/admin/backup").send().await.expect("a backup");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-tar");
        let first = response.chunk().await.expect("a piece").expect("not all of it");
        assert!(first.starts_with(b"backup.json\0"));
        response
    };
    let (first, second) = (ask().await, ask().await);
    let incoming = cluster.data(1).join("incoming");
    assert_eq!(names(&incoming).map(|left| left.len()), Some(2));
    let answer = api.get(1, "/admin/backup").await;
    answer.problem(503, "overloaded");
    drop((first, second));
    nothing_left(&cluster, 1).await;
    let file = files.path().join("backup.tar");
    let summary = backup(&cluster, 1, &file).await;
    assert!(
        summary["bytes"].as_u64() > Some((LARGE_ENTRIES * LARGE_BYTES / 2) as u64),
        "{summary}"
    );
    nothing_left(&cluster, 1).await;
}
