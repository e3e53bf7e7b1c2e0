//! `tallykeep replay` of a real access log through three real nodes: exact numbers, whatever
//! happens to the nodes meanwhile.

mod cluster;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use cluster::{Exit, TestCluster, run, wait_until};

/// Requests that an address may make in the window of 24 hours.
const LIMIT: u64 = 100;
const LINES: u64 = 10_000;
const ADMITTED: u64 = 8_909;
const REFUSED: u64 = 1_091;

/// The access log that the issue names or, where that folder is not, one of the same counts.
struct AccessLog {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl AccessLog {
    fn find() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/access.log");
        let path = if real.exists() {
            real
        } else {
            let path = dir.path().join("access.log");
            std::fs::write(&path, Self::make()).expect("a temporary file");
            path
        };
        Self { path, _dir: dir }
    }

    /// Few addresses over the limit, many under it, all mixed.
    fn make() -> String {
        let mut counts = vec![482, 364, 357, 273, 115];
        let over: u64 = counts.iter().map(|count| count - LIMIT).sum();
        assert_eq!(over, REFUSED);
        while counts.iter().sum::<u64>() < LINES {
            let left = LINES - counts.iter().sum::<u64>();
            counts.push(left.min(counts.len() as u64 % 11 + 1));
        }
        let mut text = String::new();
        for round in 0..counts[0] {
            for (address, _) in counts.iter().enumerate().filter(|(_, count)| **count > round) {
                let (high, low) = (address / 256, address % 256);
                writeln!(
                    text,
                    "10.0.{high}.{low} - - [17/May/2015:10:05:03 +0000] \
                     \"GET /page/{round}?q=a%20b HTTP/1.1\" 200 {round} \
                     \"http://example.org/\" \"Mozilla/5.0 (X11; \\\"quoted\\\")\""
                )
                .expect("a String takes every write");
            }
        }
        text
    }

    fn replay(&self, cluster: &TestCluster, concurrency: &str) -> Exit {
        let path = self.path.to_str().expect("a path of UTF-8");
        let mut arguments = vec!["replay", path, "--type", "wix", "--requests", "100"];
        arguments.extend(["--window", "24h", "--json", "--concurrency", concurrency]);
        for id in cluster.ids() {
            arguments.extend(["--endpoint", cluster.api().url(id)]);
        }
        run(&arguments)
    }
}

/// The counts by address, as the log itself has them, are what the numbers above say.
#[test]
fn the_access_log_has_the_counts_that_are_expected() {
    for text in [
        AccessLog::make(),
        std::fs::read_to_string(AccessLog::find().path).expect("the access log is UTF-8"),
    ] {
        let mut counts = BTreeMap::<&str, u64>::new();
        for line in text.lines() {
            *counts.entry(line.split(' ').next().expect("an address")).or_default() += 1;
        }
        assert_eq!(counts.values().sum::<u64>(), LINES);
        assert_eq!(counts.values().map(|count| LIMIT.min(*count)).sum::<u64>(), ADMITTED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_has_its_exact_numbers() {
    let cluster = TestCluster::start().await;
    let log = AccessLog::find();
    let mut replay = log.replay(&cluster, "64");
    let summary = whole(&mut replay).await;
    assert_eq!(summary["resent"], 0, "nothing went wrong: {summary}");
    assert_eq!(summary["identifiersCountedBefore"], 0, "{summary}");
    in_the_audit_log(&cluster, 1).await;
    cluster.equal_state().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_has_its_exact_numbers_though_the_leader_is_killed() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let log = AccessLog::find();
    let mut replay = log.replay(&cluster, "32");
    let killed = cluster.leader().await;
    wait_until("the replay has logged more than 3,000 entries", async || {
        let query = json!({"type": "wix_request", "limit": 3001});
        let log = api.query(killed % 3 + 1, &query).await;
        if log["count"] == 3001 { Ok(()) } else { Err(log["count"].to_string()) }
    })
    .await;
    cluster.kill(killed);
    assert!(replay.ended().is_none(), "the replay was over before the leader was killed");
    let summary = whole(&mut replay).await;
    assert!(summary["resent"].as_u64() > Some(0), "the kill was felt: {summary}");
    in_the_audit_log(&cluster, killed % 3 + 1).await;
    cluster.restart(killed);
    cluster.wait_ready().await;
    cluster.equal_state().await;
    in_the_audit_log(&cluster, killed).await;
}

/// Waits for the end of a replay; gives its summary, whose numbers are as they must be.
async fn whole(replay: &mut Exit) -> Value {
    let (code, stdout, stderr) = replay.output().await;
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    let summary: Value = serde_json::from_str(&stdout).expect("a summary in JSON");
    for (name, expected) in [
        ("lines", LINES),
        ("malformed", 0),
        ("admitted", ADMITTED),
        ("refused", REFUSED),
        ("errors", 0),
    ] {
        assert_eq!(summary[name], expected, "{name} in {summary}");
    }
    assert_eq!(summary["audit"], json!({"entries": LINES, "missing": 0, "doubled": 0}));
    summary
}

/// What the cluster itself holds of the replay.
async fn in_the_audit_log(cluster: &TestCluster, node: u64) {
    let export = cluster.api().get(node, "/export?format=ndjson&type=wix_request").await.text();
    let entries: Vec<Value> =
        export.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect();
    assert_eq!(entries.len() as u64, LINES);
    let mut admitted = BTreeMap::<&str, u64>::new();
    for entry in &entries {
        let allowed = entry["details"]["allowed"].as_bool().expect("a verdict");
        *admitted.entry(entry["ip"].as_str().expect("an address")).or_default() +=
            u64::from(allowed);
    }
    assert_eq!(admitted.values().sum::<u64>(), ADMITTED);
    // And so do the limiters: each goes on where the replay left it.
    let (address, count) = admitted.iter().next().expect("an address");
    let full = admitted.iter().find(|(_, count)| **count == LIMIT).expect("an address over it");
    let peek = |address: &str| {
        let config = json!({"requests": 0, "windowMs": 24 * 60 * 60 * 1000});
        json!({"type": "wix", "identifier": address, "config": config}).to_string()
    };
    // A check with a limit of nothing is refused, counts nothing, and tells when the window began.
    cluster.api().post(node, "/check", peek(full.0)).await.refused(0);
    assert!(*count >= 1, "{address}");
}
