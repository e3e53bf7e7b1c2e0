//! The command line against real clusters: what it prints, and its exit codes.

mod cluster;

#[path = "cluster_cli/limits.rs"]
mod limits;
#[path = "cluster_cli/logs.rs"]
mod logs;
#[path = "cluster_cli/stubs.rs"]
mod stubs;

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use cluster::{TestCluster, run, run_with};

/// Runs the binary, asking these nodes; gives the exit code, what it told and what it complained of.
async fn tallykeep(
    cluster: &TestCluster,
    nodes: &[u64],
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let urls: Vec<&str> = nodes.iter().map(|node| cluster.api().url(*node)).collect();
    asking(&urls, arguments).await
}

/// The same, of nodes that are given by their URLs.
async fn asking(urls: &[&str], arguments: &[&str]) -> (Option<i32>, String, String) {
    // Half of the runs take them from the environment.
    if urls.len() == 1 {
        let named = ["--endpoint", urls[0]];
        return run(&[arguments, &named].concat()).output().await;
    }
    let urls = urls.join(",");
    run_with(arguments, &[("TALLYKEEP_ENDPOINT", OsStr::new(&urls))]).output().await
}

/// As [`tallykeep`], asking all nodes, for what must succeed; gives what it told.
async fn told(cluster: &TestCluster, arguments: &[&str]) -> String {
    let (code, told, complaint) = tallykeep(cluster, &[1, 2, 3], arguments).await;
    assert_eq!(code, Some(0), "{arguments:?}: {told}{complaint}");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_do_what_they_say() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = TestCluster::start().await;
    limits::a_check_is_counted_once_and_its_exit_code_is_the_verdict(&cluster).await;
    limits::a_limiter_can_be_named(&cluster).await;
    limits::a_retry_at_another_node_counts_once(&cluster).await;
    logs::an_entry_is_kept_as_it_was_written(&cluster).await;
    logs::a_hostile_entry_does_not_steer_the_terminal(&cluster).await;
    logs::lines_are_logged_in_their_order(&cluster, &dir).await;
    logs::a_file_under_a_key_is_logged_once(&cluster, &dir).await;
    logs::pages_are_followed(&cluster).await;
    logs::nobody_has_to_read_to_the_end(&cluster).await;
    logs::an_export_is_what_a_node_sends(&cluster, &dir).await;
    logs::an_export_that_breaks_off_is_begun_again_or_leaves_nothing(&cluster, &dir).await;
    what_the_cluster_does_not_take_is_told(&cluster).await;
    cluster.equal_state().await;
}

async fn what_the_cluster_does_not_take_is_told(cluster: &TestCluster) {
    let long = "x".repeat(600);
    for (arguments, why) in [
        (&["check", &long, "--requests", "1", "--window", "1s"][..], "identifier must"),
        (&["log", "--type", "", "--action", "a"], "type must"),
        (&["query", "--since", "2", "--until", "1"], "invalid_range"),
        (&["query", "--cursor", "nonsense"], "cursor"),
        (&["export", "--type", &long], "type"),
        (&["reset", "u", "--binding", "NOBODY", "--object", "o"], "no binding \"NOBODY\""),
        (&["query", "--binding", "RATE_LIMITER", "--object", "o"], "no such route"),
    ] {
        let (code, told, complaint) = tallykeep(cluster, &[1, 2, 3], arguments).await;
        assert_eq!((code, told.as_str()), (Some(4), ""), "{arguments:?}: {complaint}");
        assert!(complaint.contains(why), "{arguments:?}: {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_down_are_passed_over_and_told() {
    let mut cluster = TestCluster::start().await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let others: Vec<u64> = cluster.active();
    // The node that is down is asked first.
    let nodes = [leader, others[0], others[1]];
    let check = ["check", "u", "--requests", "9", "--window", "1h", "--json"];
    for remaining in (6..9).rev() {
        let (code, told, complaint) = tallykeep(&cluster, &nodes, &check).await;
        assert_eq!(code, Some(0), "{complaint}");
        let verdict: Value = serde_json::from_str(&told).expect("an answer");
        assert_eq!(verdict["remaining"], remaining, "{told}");
    }
    let log = ["log", "--type", "t", "--action", "a"];
    let (code, id, complaint) = tallykeep(&cluster, &nodes, &log).await;
    assert_eq!(code, Some(0), "{complaint}");
    for command in [&["query", "--json"][..], &["export", "--format", "ndjson"]] {
        let (code, told, complaint) = tallykeep(&cluster, &nodes, command).await;
        assert_eq!(code, Some(0), "{complaint}");
        assert!(told.contains(id.trim_end()) && told.lines().count() == 1, "{told}");
    }

    // Paused, it takes connections and answers nothing.
    cluster.restart(leader);
    cluster.wait_ready().await;
    cluster.pause(leader);
    let (code, told, complaint) = tallykeep(&cluster, &nodes, &check).await;
    assert_eq!(code, Some(0), "{complaint}");
    let verdict: Value = serde_json::from_str(&told).expect("an answer");
    assert_eq!(verdict["remaining"], 5, "{told}");
    cluster.resume(leader);

    // Without a majority each node says so.
    cluster.kill(leader);
    cluster.kill(others[0]);
    for command in [&check[..], &log, &["query"], &["export"]] {
        let command = [command, &["--timeout", "2s"]].concat();
        let (code, told, complaint) = tallykeep(&cluster, &nodes, &command).await;
        assert_eq!((code, told.contains("{")), (Some(3), false), "{command:?}: {complaint}");
        for id in nodes {
            assert!(complaint.contains(cluster.api().url(id)), "{complaint}");
        }
        assert!(complaint.contains("Connection refused"), "{complaint}");
        assert!(complaint.contains("503 Service Unavailable: "), "{complaint}");
        assert!(complaint.contains("TALLYKEEP_ENDPOINT"), "{complaint}");
    }
    let (code, _, _) = tallykeep(&cluster, &nodes, &["status"]).await;
    assert_eq!(code, Some(0), "a node answers");
    let (code, _, _) = tallykeep(&cluster, &nodes, &["status", "--wait-ready", "0"]).await;
    assert_eq!(code, Some(1), "not all are ready");
    cluster.kill(others[1]);
    let (code, told, _) = tallykeep(&cluster, &nodes, &["status"]).await;
    assert_eq!((code, told.lines().count()), (Some(3), 4), "{told}");
    let (code, _, complaint) =
        tallykeep(&cluster, &nodes[..1], &["export", "--timeout", "1s"]).await;
    assert_eq!(code, Some(3), "{complaint}");
}

#[tokio::test]
async fn shells_and_man_know_the_commands() {
    for (shell, word) in [("bash", "complete -F _tallykeep"), ("zsh", "#compdef tallykeep")] {
        let (code, told, complaint) = run(&["completions", shell]).output().await;
        assert_eq!(code, Some(0), "{complaint}");
        assert!(told.contains(word) && told.contains("--idempotency-key"), "{told}");
    }
    let (code, page, complaint) = run(&["man"]).output().await;
    assert_eq!(code, Some(0), "{complaint}");
    for word in [".TH tallykeep 1", "tallykeep\\-export(1)", "no node answered"] {
        assert!(page.contains(word), "{word} in {page}");
    }
    let folder = TempDir::new().expect("a folder");
    let to = folder.path().join("man/man1");
    let arguments = ["man".as_ref(), "--to".as_ref(), to.as_path()];
    let (code, told, complaint) = run(&arguments).output().await;
    assert_eq!((code, told.as_str()), (Some(0), ""), "{complaint}");
    for command in ["check", "query", "members-add", "man"] {
        let page = fs::read_to_string(to.join(format!("tallykeep-{command}.1"))).expect("a page");
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    // Where nobody reads it ends, and does not panic.
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallykeep"));
    let pipe = std::io::pipe().expect("a pipe");
    drop(pipe.0);
    let ended = command.arg("man").stdout(pipe.1).stderr(Stdio::piped()).output().expect("it ran");
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
    let (code, _, complaint) = run(&["check", "u", "--requests", "1"]).output().await;
    assert_eq!(code, Some(2));
    assert!(complaint.contains("--window <TIME>"), "{complaint}");
}
