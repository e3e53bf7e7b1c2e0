//! `tallykeep bench` of three real nodes: every request is accounted for, and the cluster holds
//! what the summary says.

mod cluster;

use std::net::TcpListener;

use serde_json::{Value, json};

use cluster::{TestCluster, run};

/// Runs `bench` with these arguments against a cluster; gives its summary, after exit code 0.
async fn bench(cluster: &TestCluster, arguments: &[&str]) -> Value {
    let mut all = vec!["bench", "--json"];
    all.extend(arguments);
    for id in cluster.ids() {
        all.extend(["--endpoint", cluster.api().url(id)]);
    }
    let (code, stdout, stderr) = run(&all).output().await;
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    let summary: Value = serde_json::from_str(&stdout).expect("a summary in JSON");
    assert_eq!(summary["wrong"], 0, "{summary}");
    assert_eq!(summary["nodes"], 3);
    summary
}

/// A number of a summary, by its JSON pointer.
fn number(summary: &Value, pointer: &str) -> u64 {
    let value = summary.pointer(pointer).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no number at {pointer}: {summary}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mix_is_accounted_for() {
    let cluster = TestCluster::start().await;

    // Few identifiers with a low limit: what is admitted is known.
    let arguments = ["--requests-total", "2000", "--connections", "32", "--keys", "10"];
    let limit = ["--limit", "50", "--window", "24h", "--distribution", "sequential"];
    let checks = bench(&cluster, &[&arguments[..], &limit].concat()).await;
    assert_eq!(number(&checks, "/requests"), 2000);
    let check = &checks["operations"]["check"];
    assert_eq!((&check["admitted"], &check["refused"]), (&json!(500), &json!(1500)));
    assert_eq!((&check["answered"], &check["errors"]), (&json!(2000), &json!(0)));
    assert!(checks["operations"].get("log").is_none(), "{checks}");

    // Entries over three days, one of which is today.
    let arguments = ["--requests-total", "300", "--mix", "log=1", "--days", "3", "--types", "2"];
    let logs = bench(&cluster, &arguments).await;
    assert_eq!(number(&logs, "/operations/log/answered"), 300);
    let export = cluster.api().get(1, "/export?format=ndjson").await.text();
    let entries: Vec<Value> =
        export.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect();
    assert_eq!(entries.len(), 300);
    for entry in &entries {
        assert_eq!(entry["details"].to_string().len(), 300, "{entry}");
        assert!(["bench-0", "bench-1"].contains(&entry["type"].as_str().expect("a type")));
    }

    // They are found, over all shards and in each of the days.
    let arguments = ["--requests-total", "20", "--mix", "query=1", "--types", "2"];
    let queries = bench(&cluster, &arguments).await;
    assert_eq!(number(&queries, "/operations/query/entries"), 20 * 100, "{queries}");
    let days = bench(&cluster, &[&arguments[..], &["--days", "3"]].concat()).await;
    let found = number(&days, "/operations/query/entries");
    assert!((20 * 20..20 * 80).contains(&found), "about half of a hundred: {found}");

    // All at once, by a schedule.
    let arguments = ["--requests-total", "900", "--mix", "check=3,log=2,query=1", "--rate", "600"];
    let zipf = ["--distribution", "zipf", "--keys", "50"];
    let mixed = bench(&cluster, &[&arguments[..], &zipf].concat()).await;
    let operations = ["check", "log", "query"].map(|name| &mixed["operations"][name]);
    for operation in operations {
        assert_eq!(operation["answered"], operation["requests"], "{mixed}");
        assert!(operation["answered"].as_u64() > Some(0), "{mixed}");
        assert!(operation["p50_ms"].as_f64() <= operation["p99_9_ms"].as_f64(), "{mixed}");
    }
    let sum: u64 = operations.iter().filter_map(|operation| operation["requests"].as_u64()).sum();
    assert_eq!((sum, number(&mixed, "/requests"), number(&mixed, "/unsent")), (900, 900, 0));
    assert_eq!(number(&mixed, "/schedule/rate_per_s"), 600);
    // The last request was due 1,498 ms after the first.
    assert!(mixed["elapsed_ms"].as_f64() > Some(1498.0), "{mixed}");

    cluster.equal_state().await;
}

/// Identifiers that somebody used before are told from limiters that count wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_before_the_run_are_told() {
    let cluster = TestCluster::start().await;
    for _ in 0..3 {
        let body = json!({"identifier": "user-0", "type": "bench",
                          "config": {"requests": 1_000_000, "windowMs": 86_400_000}});
        cluster.api().post(1, "/check", body.to_string()).await;
    }
    let arguments = ["--requests-total", "200", "--keys", "2", "--window", "24h"];
    let summary = bench(&cluster, &[&arguments[..], &["--prefix", "user-"]].concat()).await;
    assert_eq!(number(&summary, "/identifiers/counted_before"), 1);
}

#[tokio::test]
async fn endpoints_where_nobody_listens_are_told() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number");
    let endpoint = format!("http://{free}");
    let (code, stdout, stderr) = run(&["bench", "--endpoint", &endpoint]).output().await;
    assert_eq!((code, stdout.as_str()), (Some(3), ""));
    let expected = format!("no node can be connected to at {free}: ");
    assert!(stderr.contains(&expected), "{stderr}");
}
