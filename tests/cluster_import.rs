//! `tallykeep import` into real clusters.

mod cluster;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use cluster::{Api, TestCluster, iso, now_ms, run, wait_until};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Days that the generated history goes back: all of it within the retention of 30.
const DAYS: u64 = 28;
const FORMATS: [&str; 3] = ["json", "csv", "ndjson"];

/// Runs `tallykeep import`; gives the exit code, the summary, if there is one, and the complaints.
async fn import(
    cluster: &TestCluster,
    file: &Path,
    flags: &[&str],
) -> (Option<i32>, Value, String) {
    let (code, told, complaints) = start(cluster, file, flags).output().await;
    (code, serde_json::from_str(&told).unwrap_or_default(), complaints)
}

fn start(cluster: &TestCluster, file: &Path, flags: &[&str]) -> cluster::Exit {
    let file = file.to_str().expect("a path of text");
    let mut arguments = vec!["import", file, "--json"];
    arguments.extend(flags);
    for id in cluster.ids() {
        arguments.extend(["--endpoint", cluster.api().url(id)]);
    }
    run(&arguments)
}

/// Asserts what a summary says of its rows.
fn assert_counts(summary: &Value, counts: &[(&str, u64)]) {
    for name in ["imported", "alreadyThere", "bad", "expired", "refused"] {
        let expected = counts.iter().find(|(known, _)| *known == name).map_or(0, |count| count.1);
        assert_eq!(summary[name], expected, "{name} in {summary}");
    }
}

async fn export(api: &Api, node: u64, format: &str) -> Vec<u8> {
    let answer = api.get(node, &format!("/export?format={format}")).await;
    assert_eq!(answer.status, 200);
    answer.body
}

fn write(dir: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).expect("a file in a temporary folder");
    path
}

/// A time on a day so many days ago.
fn ago(days: u64) -> u64 {
    now_ms() - days * DAY_MS
}

fn line(id: &str, at_ms: u64, rest: &str) -> String {
    format!(r#"{{"id":"{id}","timestamp":{at_ms},"type":"t","action":"a"{rest}}}"#) + "\n"
}

/// Entries of `DAYS` days, `count` of them, in no order: some of one millisecond, with the guide's ids
/// and with UUIDs, and with everything in them that formats and parsers alter.
fn history(count: u64) -> String {
    let base = ago(DAYS) / DAY_MS * DAY_MS + DAY_MS;
    let lines = (0..count).map(|i| {
        // A walk that meets every number once, if `count` is no multiple of it.
        let i = i * 7919 % count;
        let at_ms = base + (i / 3) * (DAYS - 2) * DAY_MS / (count / 3 + 1);
        let id = match i % 2 {
            0 => format!(
                "{:032x}",
                u128::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            ),
            _ => format!("01a208b0-f3da-7000-8000-{i:012x}"),
        };
        let rest = match i % 5 {
            0 => r#","details":{"n":9007199254740993,"f":1.0,"t":"a\u0007\n"}"#.to_owned(),
            1 => format!(r#","userId":"u{}","ip":"=1+1","details":{{}}"#, i % 7),
            2 => r#","userId":"'@x, \"y\"","details":{"é":[1E+2,{"\u0061":null}]}"#.to_owned(),
            3 => r#","ip":"::1","details":{},"clientTime":1.50,"clientId":{"a":1}"#.to_owned(),
            // The guide's own order of members; without details.
            _ => r#","z":[true],"ip":null"#.to_owned(),
        };
        line(&id, at_ms, &rest)
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_comes_back_byte_for_byte() {
    const COUNT: u64 = 700;
    let dir = tempfile::tempdir().expect("a folder");
    let first = TestCluster::start().await;
    let history = history(COUNT);
    let file = write(&dir, "history.ndjson", &history);
    let (code, summary, complaints) = import(&first, &file, &[]).await;
    assert_eq!(code, Some(0), "{summary} {complaints}");
    assert_eq!(summary["format"], "ndjson");
    assert_counts(&summary, &[("imported", COUNT)]);
    for number in 0..20 {
        let entry = json!({"type": "live", "action": "a,b", "details": {"number": number}});
        first.api().log(1 + number % 3, entry.to_string()).await;
    }
    first.equal_state().await;
    in_order_and_as_they_were(first.api(), &history).await;

    for format in FORMATS {
        let exported = export(first.api(), 1, format).await;
        let file = write(&dir, &format!("export-{format}"), &exported);
        let second = TestCluster::start().await;
        let (code, summary, complaints) = import(&second, &file, &[]).await;
        assert_eq!(code, Some(0), "{summary} {complaints}");
        assert_eq!(summary["format"], format);
        assert_counts(&summary, &[("imported", COUNT + 20)]);
        second.equal_state().await;
        // CSV has no column for further members, and one cell for a text that is empty or not there.
        let same = if format == "csv" { &FORMATS[1..2] } else { &FORMATS[..] };
        for same in same {
            let back = export(second.api(), 2, same).await;
            assert!(
                back == export(first.api(), 3, same).await,
                "{format} came back as another {same}"
            );
        }

        let before = export(second.api(), 1, "json").await;
        let (code, summary, complaints) = import(&second, &file, &[]).await;
        assert_eq!(code, Some(0), "{summary} {complaints}");
        assert_counts(&summary, &[("alreadyThere", COUNT + 20)]);
        assert!(export(second.api(), 3, "json").await == before, "a second run changes nothing");
        second.equal_state().await;
    }
}

/// What was imported is what the file had, is found by its fields and its time, and live entries stand
/// behind it.
async fn in_order_and_as_they_were(api: &Api, history: &str) {
    let exported = String::from_utf8(export(api, 2, "ndjson").await).expect("UTF-8");
    let lines: BTreeSet<&str> = exported.lines().collect();
    assert_eq!(history.lines().find(|line| !lines.contains(line)), None);
    let place = |line: &str| {
        let entry: Value = serde_json::from_str(line).expect("an entry");
        let id = entry["id"].as_str().expect("an id").to_owned();
        (entry["timestamp"].as_u64().expect("a time"), id)
    };
    let places: Vec<_> = exported.lines().map(place).collect();
    assert!(places.is_sorted_by(|later, earlier| later > earlier), "newest first");
    assert_eq!(places.len(), history.lines().count() + 20);
    let found = api.query(3, &json!({"userId": "u1", "limit": 1000})).await;
    let expected = exported.matches(r#""userId":"u1""#).count();
    assert!(expected > 0 && found["count"] == expected, "{}", found["count"]);
    let (from, to) = (places[400].0, places[300].0);
    let range = json!({"startTime": from, "endTime": to, "limit": 1000});
    let inside = places.iter().filter(|(at_ms, _)| (from..=to).contains(at_ms)).count();
    assert_eq!(api.query(1, &range).await["count"], inside);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_is_told() {
    let cluster = TestCluster::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    bad_rows_are_told_by_their_lines(&cluster, &dir).await;
    a_file_that_is_not_whole_is_refused(&cluster, &dir).await;
    an_entry_without_a_place_is_refused(&cluster, &dir).await;
    an_expired_entry_is_left_out_or_kept(&cluster, &dir).await;
    the_endpoint_names_what_is_wrong(cluster.api()).await;
    cluster.equal_state().await;
}

async fn bad_rows_are_told_by_their_lines(cluster: &TestCluster, dir: &TempDir) {
    let at_ms = ago(3);
    let good = |id| line(id, at_ms, "");
    let text = format!(
        "{}\n{{\"id\":\"x\"\n{}{}{}",
        good("bad-1"),
        line("bad-2", at_ms, r#","userId":7"#),
        line("bad-3", at_ms, r#","details":{"a":1,"a":2}"#),
        good("bad-4"),
    );
    let file = write(dir, "bad.ndjson", &text);
    for flags in [&["--dry-run"][..], &[]] {
        let (code, summary, complaints) = import(cluster, &file, flags).await;
        assert_eq!(code, Some(1), "{summary} {complaints}");
        assert_counts(&summary, &[("bad", 3)]);
        assert_eq!(summary["read"], 5);
        for (row, why) in
            [(3, "id and timestamp"), (4, "userId must be"), (5, "stands there twice")]
        {
            let told = complaints.lines().find(|line| line.starts_with(&format!("row {row}: ")));
            assert!(told.is_some_and(|line| line.contains(why)), "{row}: {complaints}");
        }
        assert_eq!(cluster.api().query(1, &json!({})).await["count"], 0, "nothing was loaded");
    }
    let (code, summary, complaints) = import(cluster, &file, &["--skip-bad", "--dry-run"]).await;
    assert_eq!((code, &summary["dryRun"]), (Some(0), &json!(true)), "{summary} {complaints}");
    let (code, summary, complaints) = import(cluster, &file, &["--skip-bad"]).await;
    assert_eq!(code, Some(0), "{summary} {complaints}");
    assert_counts(&summary, &[("imported", 2), ("bad", 3)]);

    let csv = format!(
        "id,timestamp,type,action,userId,ip,details\r\n\
         csv-1,{0},\"t\nt\",a,,,\"{{}}\"\r\ncsv-2,{0},t,a,,,\"{{\"\r\ncsv-3,{0},t,,,,\"{{}}\"\r\n",
        iso(ago(2))
    );
    let (code, _, complaints) = import(cluster, &write(dir, "bad.csv", csv), &[]).await;
    assert_eq!(code, Some(1));
    // The first has a line end in a cell, and that is no text for a type.
    for row in [
        "row 2: type has a control character",
        "row 4: its details are not JSON",
        "row 5: action must",
    ] {
        assert!(complaints.contains(row), "{complaints}");
    }
}

async fn a_file_that_is_not_whole_is_refused(cluster: &TestCluster, dir: &TempDir) {
    let entry = line("whole-1", ago(2), "");
    for (text, why) in [
        (format!(r#"{{"entries":[{entry}"#), "EOF"),
        (format!(r#"{{"entries":[{entry}],"count":2}}"#), "count is 2 and there are 1"),
        ("id,timestamp\n".to_owned(), "the first line must be"),
    ] {
        let (code, summary, complaints) = import(cluster, &write(dir, "cut", text), &[]).await;
        assert_eq!((code, summary), (Some(1), Value::Null), "{complaints}");
        assert!(complaints.contains(why), "{complaints}");
    }
    let found = cluster.api().query(2, &json!({"startTime": ago(2) - 1000})).await;
    assert_eq!(found["count"], 0, "nothing was loaded");
}

async fn an_entry_without_a_place_is_refused(cluster: &TestCluster, dir: &TempDir) {
    let at_ms = ago(4);
    let there =
        [line("order-2", at_ms, ""), line("order-1", at_ms, ""), line("order-4", at_ms, "")];
    let (code, summary, complaints) =
        import(cluster, &write(dir, "there", there.concat()), &[]).await;
    assert_eq!(code, Some(0), "{summary} {complaints}");
    assert_counts(&summary, &[("imported", 3)]);
    let more = [
        // Twice, and at its place.
        line("order-1", at_ms, ""),
        line("order-1", at_ms, ""),
        line("order-2", at_ms, r#","details":{}"#),
        line("order-3", at_ms, ""),
        line("order-5", at_ms, ""),
        line("order-6", now_ms() + DAY_MS, ""),
    ];
    let (code, summary, complaints) =
        import(cluster, &write(dir, "more", more.concat()), &[]).await;
    assert_eq!(code, Some(1), "{summary} {complaints}");
    assert_counts(&summary, &[("imported", 1), ("alreadyThere", 2), ("refused", 3)]);
    for told in ["row 3: an entry of this id", "row 4: the shard", "row 6: the entry's time"] {
        assert!(complaints.contains(told), "{complaints}");
    }
}

async fn an_expired_entry_is_left_out_or_kept(cluster: &TestCluster, dir: &TempDir) {
    let text = [line("old-1", ago(40), ""), line("old-2", ago(39), ""), line("new-1", ago(5), "")];
    let file = write(dir, "expired", text.concat());
    let (code, summary, complaints) = import(cluster, &file, &[]).await;
    assert_eq!(code, Some(1), "{summary} {complaints}");
    assert_counts(&summary, &[("imported", 1), ("expired", 2)]);
    assert!(summary["advice"][0].as_str().is_some_and(|advice| advice.contains("--keep-expired")));
    let (code, summary, complaints) = import(cluster, &file, &["--skip-expired"]).await;
    assert_eq!(code, Some(0), "{summary} {complaints}");
    assert_counts(&summary, &[("alreadyThere", 1), ("expired", 2)]);
    let (code, summary, complaints) = import(cluster, &file, &["--keep-expired"]).await;
    assert_eq!(code, Some(0), "{summary} {complaints}");
    assert_counts(&summary, &[("imported", 2), ("alreadyThere", 1)]);
    // Whatever is due goes within a second.
    sleep(Duration::from_secs(2)).await;
    let found = cluster.api().query(3, &json!({"endTime": ago(35)})).await;
    assert_eq!(found["count"], 2, "{found}");
}

async fn the_endpoint_names_what_is_wrong(api: &Api) {
    let entry = line("wrong", ago(1), "");
    let body = format!(r#"{{"entries":[{entry}]}}"#);
    for (path, body, code) in [
        ("/admin/import?dryrun=true", body.as_str(), "invalid_parameter"),
        ("/admin/import?dryRun=1", &body, "invalid_parameter"),
        ("/admin/import", "{}", "invalid_field"),
        ("/admin/import", "[]", "malformed_json"),
    ] {
        api.post(1, path, body.to_owned()).await.problem(400, code);
    }
    let answer = api.post(2, "/admin/import?dryRun=true", body.clone()).await;
    assert_eq!(answer.text(), r#"{"results":[{"status":200}]}"#);
    for (node, imported) in [(1, true), (2, false), (3, false)] {
        let answer = api.post(node, "/admin/import", body.clone()).await;
        assert_eq!(
            answer.text(),
            format!(r#"{{"results":[{{"status":200,"imported":{imported}}}]}}"#)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_whole_though_the_leader_is_killed() {
    const COUNT: u64 = 60_000;
    let mut cluster = TestCluster::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(&dir, "history", history(COUNT));
    let leader = cluster.leader().await;
    let follower = cluster.a_follower().await;
    let mut running = start(&cluster, &file, &[]);
    wait_until("some entries are loaded", async || {
        let found = cluster.api().query(follower, &json!({"limit": 1})).await;
        if found["count"] == 1 { Ok(()) } else { Err("none".into()) }
    })
    .await;
    assert!(running.ended().is_none(), "it is killed in the middle");
    cluster.kill(leader);
    let (code, told, complaints) = running.output().await;
    assert_eq!(code, Some(0), "{told} {complaints}");
    let summary: Value = serde_json::from_str(&told).expect("a summary");
    assert_eq!(summary["read"], COUNT);
    let loaded = ["imported", "alreadyThere"].map(|name| summary[name].as_u64().expect("a number"));
    assert_eq!(loaded.iter().sum::<u64>(), COUNT, "{summary}");
    cluster.restart(leader);
    cluster.wait_ready().await;
    cluster.equal_state().await;
    let exported = String::from_utf8(export(cluster.api(), leader, "ndjson").await).expect("UTF-8");
    let ids: BTreeSet<&str> = exported.lines().map(|line| &line[..50]).collect();
    assert_eq!((exported.lines().count() as u64, ids.len() as u64), (COUNT, COUNT));
}
