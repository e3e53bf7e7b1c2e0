//! `GET /export`: JSON, NDJSON and CSV of ten thousand entries, and of one shard.

use std::io::Write;
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cluster::{Answer, Api, TestCluster, iso};

const COUNT: usize = 10_000;
const WORKERS: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_hold_every_entry_in_every_format() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    of_nothing(api).await;
    as_csv(api).await;
    of_one_shard(api).await;
    of_ten_thousand(api).await;
    cluster.equal_state().await;
}

async fn of_nothing(api: &Api) {
    for node in api.ids() {
        for (path, kind, file, text) in [
            ("/export", "application/json", "json", r#"{"entries":[],"count":0}"#),
            ("/export?format=json", "application/json", "json", r#"{"entries":[],"count":0}"#),
            ("/export?format=ndjson", "application/x-ndjson", "ndjson", ""),
            (
                "/export?format=csv",
                "text/csv; charset=utf-8; header=present",
                "csv",
                "id,timestamp,type,action,userId,ip,details\r\n",
            ),
        ] {
            let answer = api.get(node, path).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), kind);
            let disposition = format!("attachment; filename=\"audit-log.{file}\"");
            assert_eq!(answer.header("content-disposition"), disposition);
            assert_eq!(answer.text(), text, "{path}");
        }
    }
}

async fn as_csv(api: &Api) {
    let entry = |kind: &str, action: &str| {
        json!({
            "type": kind, "action": action, "userId": "'fine", "ip": "-1",
            "details": {"say": "\"hi\", he\nsaid", "n": 1},
        })
    };
    let bare = api.log(1, r#"{"type":"a,b","action":"say \"hi\"","more":"not in CSV"}"#).await;
    let full = api.log(2, entry("=1+1", "'@x").to_string()).await;
    let log = api.query(3, &json!({"order": "asc"})).await;
    let at = |index: usize| iso(log["entries"][index]["timestamp"].as_u64().expect("a time"));
    let (first, second) = (at(0), at(1));
    let details = r#""{""n"":1,""say"":""\""hi\"", he\nsaid""}""#;
    let expected = |kind: &str, action: &str, ip: &str| {
        format!(
            "id,timestamp,type,action,userId,ip,details\r\n\
             {bare},{first},\"a,b\",\"say \"\"hi\"\"\",,,\"{{}}\"\r\n\
             {full},{second},{kind},{action},'fine,{ip},{details}\r\n"
        )
    };
    for node in api.ids() {
        let answer = api.get(node, "/export?format=csv&order=asc").await;
        assert_eq!(answer.text(), expected("'=1+1", "''@x", "'-1"));
        assert_eq!(answer.header("x-csv-escape"), "apostrophe-v1");
        let answer = api.get(node, "/export?format=csv&order=asc&csvEscape=none").await;
        assert_eq!(answer.text(), expected("=1+1", "'@x", "-1"));
    }
    // Filters, form-encoded.
    let answer = api.get(1, "/export?type=%3D1%2B1&action=%27%40x&userId='fine&ip=-1").await.json();
    assert_eq!((&answer["count"], &answer["entries"][0]["id"]), (&json!(1), &json!(full)));
    let answer = api.get(2, "/export?type=a%2Cb&action=say+%22hi%22").await.json();
    assert_eq!((&answer["count"], &answer["entries"][0]["id"]), (&json!(1), &json!(bare)));
}

async fn of_one_shard(api: &Api) {
    let shard = "/do/AUDIT_LOGGER/name/2024-01-15";
    let id = api.log_at(1, &format!("{shard}/log"), r#"{"type":"t","action":"a"}"#).await;
    for node in api.ids() {
        let answer = api.get(node, &format!("{shard}/export?format=ndjson")).await;
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let lines = answer.text();
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(
            lines.starts_with(&format!(r#"{{"id":"{id}","timestamp":"#)) && lines.ends_with("}\n")
        );
        let answer = api.get(node, "/do/AUDIT_LOGGER/name/2024-01-16/export").await;
        assert_eq!(answer.text(), r#"{"entries":[],"count":0}"#);
    }
}

async fn of_ten_thousand(api: &Api) {
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let api = api.clone();
        workers.spawn(async move {
            for number in (worker..COUNT).step_by(WORKERS) {
                let entry = json!({
                    "type": "many", "action": format!("a{}", number % 10), "id": number,
                    "details": {"number": number, "text": "x".repeat(number % 300)},
                });
                api.log(number as u64 % 3 + 1, entry.to_string()).await;
            }
        });
    }
    workers.join_all().await;

    // Newest first, as the query's own largest page.
    let text = api.post(1, "/query", r#"{"type":"many","limit":10000}"#).await.text();
    let page: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(page["count"], COUNT);
    assert!(page.get("cursor").is_none(), "all of them are there");
    let entries = page["entries"].as_array().expect("entries");
    let mut numbers: Vec<_> = entries.iter().map(|entry| entry["clientId"].as_u64()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq((0..COUNT as u64).map(Some)), "each entry once");

    for node in api.ids() {
        assert_eq!(api.get(node, "/export?type=many").await.text(), text, "byte for byte");
    }
    let lines = api.get(2, "/export?format=ndjson&type=many&order=asc").await.text();
    let joined = lines.lines().rev().collect::<Vec<_>>().join(",");
    assert_eq!(format!(r#"{{"entries":[{joined}],"count":{COUNT}}}"#), text);
    assert!(lines.ends_with("}\n"));

    let csv = api.get(3, "/export?format=csv&type=many").await;
    let mut reader = csv::Reader::from_reader(&csv.body[..]);
    let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), COUNT);
    for (row, entry) in rows.iter().zip(entries) {
        assert_eq!(Some(&row[0]), entry["id"].as_str());
        assert_eq!(row[1], iso(entry["timestamp"].as_u64().expect("a time")));
        assert_eq!(serde_json::from_str::<Value>(&row[6]).expect("JSON"), entry["details"]);
    }

    let narrow = api.get(1, "/export?type=many&action=a7").await.json();
    assert_eq!(narrow["count"], COUNT / 10);
    let (from, to) = (&entries[6000]["timestamp"], &entries[3000]["timestamp"]);
    let range = api.get(2, &format!("/export?type=many&startTime={from}&endTime={to}")).await;
    let inside =
        |entry: &&Value| (from.as_u64()..=to.as_u64()).contains(&entry["timestamp"].as_u64());
    let expected: Vec<_> = entries.iter().filter(inside).collect();
    assert!(range.json()["entries"].as_array().expect("entries").iter().eq(expected));

    let request =
        api.request(Method::GET, 3, "/export?type=many").header("accept-encoding", "gzip");
    let answer = Answer::of(request).await.expect("an answer");
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.body.len() * 3 < text.len(), "{} bytes", answer.body.len());
    assert_eq!(gunzip(answer.body), text);
    assert_eq!(api.get(3, "/export?type=none").await.header("content-encoding"), "");
}

/// What every client with gzip makes of it: not the crate that compressed it.
fn gunzip(compressed: Vec<u8>) -> String {
    let mut child = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is a program of every Unix");
    let mut input = child.stdin.take().expect("a pipe");
    // Beside the reading, for a pipe holds little.
    let writer = std::thread::spawn(move || input.write_all(&compressed));
    let output = child.wait_with_output().expect("gzip ends");
    writer.join().expect("the writer ends").expect("gzip reads it all");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}
