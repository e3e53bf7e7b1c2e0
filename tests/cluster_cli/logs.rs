//! `log`, `query` and `export`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{TestCluster, now_ms, run_from};
use super::{asking, stubs, tallykeep, told};

/// Lines of the file that is logged: more than two pages and two requests.
const LINES: usize = 2500;

pub async fn an_entry_is_kept_as_it_was_written(cluster: &TestCluster) {
    let details = r#"{"n":1.0e+2,"big":9007199254740993,"b":1,"a":2}"#;
    let log = [
        "log",
        "--type",
        "one",
        "--action",
        "made",
        "--user",
        "u-1",
        "--ip",
        "::1",
        "--details",
        details,
    ];
    let id = told(cluster, &log).await;
    let found = told(cluster, &["query", "--type", "one", "--json"]).await;
    let entry: Value = serde_json::from_str(&found).expect("an entry");
    let at_ms = entry["timestamp"].as_u64().expect("a time");
    assert_eq!(
        found,
        format!(
            r#"{{"id":"{}","timestamp":{at_ms},"type":"one","action":"made","userId":"u-1","ip":"::1","details":{details}}}"#,
            id.trim_end()
        ) + "\n"
    );
    for (filters, count) in [
        (&["--user", "u-1"][..], 1),
        (&["--user", "u-2"], 0),
        (&["--ip", "::1", "--action", "made", "--since", "1h", "--until", "now"], 1),
        (&["--since", "2000-01-01", "--until", "1h"], 0),
        (&["--since", &at_ms.to_string(), "--until", &at_ms.to_string()], 1),
        (&["--since", &(at_ms + 1).to_string()], 0),
    ] {
        let query = [&["query", "--type", "one", "--json"], filters].concat();
        assert_eq!(told(cluster, &query).await.lines().count(), count, "{filters:?}");
    }

    let shard = ["--binding", "AUDIT_LOGGER", "--object", "2001-02-03"];
    let log = [&["log", "--type", "two", "--action", "a", "--json"], &shard[..]].concat();
    let answer: Value = serde_json::from_str(&told(cluster, &log).await).expect("an answer");
    assert_eq!(answer["success"], true);
    let query = [&["query", "--json"], &shard[..]].concat();
    let entries = told(cluster, &query).await;
    assert!(entries.contains(answer["id"].as_str().expect("an id")), "{entries}");
    assert_eq!(entries.lines().count(), 1);
    let key = ["log", "--type", "once", "--action", "a", "--idempotency-key", "k"];
    assert_eq!(told(cluster, &key).await, told(cluster, &key).await);
    assert_eq!(told(cluster, &["query", "--type", "once", "--json"]).await.lines().count(), 1);
}

pub async fn a_hostile_entry_does_not_steer_the_terminal(cluster: &TestCluster) {
    let hostile = "root\u{202e}\u{200b}".to_owned();
    let details = "{\"t\":\"\\u001b[2J\",\"raw\":\"\u{202e}\"}";
    let log = ["log", "--type", "hostile", "--action", &hostile, "--details", details];
    told(cluster, &log).await;
    let table = told(cluster, &["query", "--type", "hostile", "--wide"]).await;
    assert!(table.starts_with("TIME  "), "{table}");
    assert!(table.contains(r"root\u{202e}\u{200b}"), "{table}");
    assert!(table.contains(r#"{"t":"\u001b[2J","raw":"\u{202e}"}"#), "{table}");
    let steers = |c: char| c.is_control() && c != '\n' || ('\u{200b}'..='\u{202e}').contains(&c);
    assert!(!table.contains(steers), "{table:?}");
    let json = told(cluster, &["query", "--type", "hostile", "--json"]).await;
    assert!(json.contains(&hostile) && json.contains(details), "{json}");
}

pub async fn lines_are_logged_in_their_order(cluster: &TestCluster, dir: &TempDir) {
    let mut text = String::new();
    for number in 0..LINES {
        text += &format!(r#"{{"type":"batch","action":"a","details":{{"n":{number}}}}}"#);
        text += if number % 2 == 0 { "\n" } else { "\r\n\n" };
    }
    let file = dir.path().join("lines.ndjson");
    fs::write(&file, &text).expect("a file");
    let mut log = vec!["log", "--batch", "-"];
    for node in cluster.ids() {
        log.extend(["--endpoint", cluster.api().url(node)]);
    }
    let input = || Stdio::from(File::open(&file).expect("the file"));
    let (code, told, complaint) = run_from(&log, input()).output().await;
    assert_eq!(code, Some(0), "{complaint}");
    assert!(complaint.ends_with("2500 entries logged, 0 lines refused\n"), "{complaint}");
    let query = ["query", "--all", "--type", "batch", "--order", "asc", "--json"];
    let entries = super::told(cluster, &query).await;
    assert_eq!(entries.lines().count(), LINES);
    for ((number, entry), id) in entries.lines().enumerate().zip(told.lines()) {
        let entry: Value = serde_json::from_str(entry).expect("an entry");
        assert_eq!((&entry["id"], &entry["details"]["n"]), (&json!(id), &json!(number)));
    }

    // Lines that are no entries are told, and the others logged.
    let text = "{\"type\":\"bad\",\"action\":\"a\"}\n{\"type\":\"bad\"}\n\nnonsense\n\
                {\"type\":\"bad\",\"action\":\"b\"}";
    fs::write(&file, text).expect("a file");
    log.push("--json");
    let (code, told, complaint) = run_from(&log, input()).output().await;
    assert_eq!(code, Some(1), "{complaint}");
    let outcomes: Vec<Value> =
        told.lines().map(|line| serde_json::from_str(line).expect("an outcome")).collect();
    let told: Vec<_> = outcomes.iter().map(|one| (&one["line"], &one["status"])).collect();
    let (ok, bad) = (&json!(200), &json!(400));
    assert_eq!(told, [(&json!(1), ok), (&json!(2), bad), (&json!(4), bad), (&json!(5), ok)]);
    assert!(outcomes[0]["id"].is_string() && outcomes[1]["code"] == "invalid_field");
    for line in ["line 2: action must be there", "line 4: it is not JSON", "2 lines refused"] {
        assert!(complaint.contains(line), "{complaint}");
    }
    let found = cluster.api().query(1, &json!({"type": "bad"})).await;
    assert_eq!(found["count"], 2);
    let missing = ["log", "--batch", "not-there"];
    let (code, _, complaint) = tallykeep(cluster, &[1], &missing).await;
    assert_eq!(code, Some(1));
    assert!(complaint.contains("cannot read not-there"), "{complaint}");
}

pub async fn a_file_under_a_key_is_logged_once(cluster: &TestCluster, dir: &TempDir) {
    let lines = |count| "{\"type\":\"keyed\",\"action\":\"a\"}\n".repeat(count);
    let file = dir.path().join("keyed.ndjson");
    let log = [
        "log",
        "--batch",
        file.to_str().expect("a path"),
        "--idempotency-key",
        "nightly",
        "--json",
    ];
    fs::write(&file, lines(1500)).expect("a file");
    // A run whose second request is never answered: its lines are of unknown fate.
    let lossy = stubs::lossy(cluster.api().url(1)).await;
    let (code, _, complaint) =
        asking(&[lossy.url()], &[&log[..], &["--timeout", "1s"]].concat()).await;
    assert_eq!(code, Some(3), "{complaint}");
    assert!(complaint.contains("lines 1 to 1000: no node answered in time"), "{complaint}");
    assert!(complaint.contains("run the same again to go on"), "{complaint}");
    assert!(lossy.lost() > 0);
    let first = told(cluster, &log).await;
    assert_eq!(told(cluster, &log).await, first);
    let found = cluster.api().query(1, &json!({"type": "keyed", "limit": 10_000})).await;
    assert_eq!(found["count"], 1500);
    // Another file is not taken for it.
    fs::write(&file, lines(10)).expect("a file");
    let (code, _, complaint) = tallykeep(cluster, &[1], &log).await;
    assert_eq!(code, Some(4), "{complaint}");
    assert!(complaint.contains("idempotency_key_reused"), "{complaint}");
}

pub async fn pages_are_followed(cluster: &TestCluster) {
    let query = ["query", "--type", "batch", "--order", "asc", "--json"];
    let (code, first, complaint) = tallykeep(cluster, &[2], &query).await;
    assert_eq!((code, first.lines().count()), (Some(0), 100));
    let cursor = complaint.split_once("--cursor ").expect("a cursor").1.trim_end();
    let more = [&query[..], &["--cursor", cursor, "--limit", "2000"]].concat();
    let (code, second, complaint) = tallykeep(cluster, &[3], &more).await;
    assert_eq!((code, second.lines().count()), (Some(0), 2000), "{complaint}");
    let all = told(cluster, &[&query[..], &["--all"]].concat()).await;
    assert!(all.starts_with(&(first + &second)), "the pages are one after the other");
    let table = told(cluster, &["query", "--type", "batch", "--all"]).await;
    assert_eq!(table.lines().count(), LINES + 1);
    let column = table.find("DETAILS").expect("a heading");
    assert!(table.lines().skip(1).all(|line| line[column..].starts_with("{\"n\":")), "in columns");
}

pub async fn nobody_has_to_read_to_the_end(cluster: &TestCluster) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallykeep"));
    command.args(["query", "--all", "--json", "--endpoint", cluster.api().url(1)]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the built binary starts");
    // It has far more to say than a pipe holds.
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()),
        (Some(0), "")
    );
}

/// What is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> =
        entries.map(|entry| name(entry).into_string().expect("a name")).collect();
    names.sort();
    names
}

pub async fn an_export_is_what_a_node_sends(cluster: &TestCluster, dir: &TempDir) {
    let folder = dir.path().join("exports");
    fs::create_dir(&folder).expect("a folder");
    let until = (now_ms() - 1).to_string();
    for format in ["json", "csv", "ndjson"] {
        let sent = cluster.api().get(1, &format!("/export?format={format}&endTime={until}")).await;
        assert_eq!(sent.status, 200);
        let file = folder.join(format!("log.{format}"));
        let file = file.to_str().expect("a path");
        let export = ["export", file, "--until", &until];
        assert_eq!(told(cluster, &export).await, "");
        assert!(fs::read(file).expect("the export") == sent.body, "{format}");
        let printed = told(cluster, &["export", "--format", format, "--until", &until]).await;
        assert!(printed.as_bytes() == sent.body, "{format}");
        let (code, _, complaint) = tallykeep(cluster, &[1], &export).await;
        assert_eq!(code, Some(1));
        assert!(complaint.contains("--force"), "{complaint}");
        told(cluster, &[&export[..], &["--force", "--type", "nobody's"]].concat()).await;
        assert!(fs::read(file).expect("the export").len() < 100, "it has no entries");
    }
    assert_eq!(names(&folder), ["log.csv", "log.json", "log.ndjson"]);
    let plain = ["export", "--format", "csv", "--csv-unescaped", "--type", "one", "--user", "u-1"];
    let plain = told(cluster, &[&plain[..], &["--action", "made", "--ip", "::1"]].concat()).await;
    assert_eq!(plain.lines().count(), 2);
    assert!(plain.contains(",one,made,u-1,::1,"), "{plain}");
}

pub async fn an_export_that_breaks_off_is_begun_again_or_leaves_nothing(
    cluster: &TestCluster,
    dir: &TempDir,
) {
    let folder = dir.path().join("broken");
    fs::create_dir(&folder).expect("a folder");
    let file = folder.join("log.ndjson");
    let export = ["export", file.to_str().expect("a path"), "--type", "one"];
    for (stub, why) in [
        (stubs::breaks_off().await, "the export broke off: "),
        (stubs::without_length().await, "came without a length"),
        (stubs::without_end().await, "its end is missing"),
    ] {
        let (code, told, complaint) = asking(&[stub.url()], &export).await;
        assert_eq!((code, told.as_str()), (Some(3), ""), "{complaint}");
        assert!(complaint.contains(why) && complaint.contains("nothing is kept"), "{complaint}");
        assert_eq!(names(&folder), [""; 0]);
        let printed = ["export", "--format", "ndjson", "--type", "one"];
        let (code, told, complaint) = asking(&[stub.url()], &printed).await;
        assert_eq!(code, Some(3), "{complaint}");
        assert!(told.is_empty() || complaint.contains("a part of it"), "{told} {complaint}");
        // The next node has it.
        let (code, _, complaint) = asking(&[stub.url(), cluster.api().url(2)], &export).await;
        assert_eq!(code, Some(0), "{complaint}");
        let exported = fs::read_to_string(&file).expect("the export");
        assert!(!exported.contains("broken") && exported.lines().count() == 1, "{exported}");
        fs::remove_file(&file).expect("the export");
    }
}
