//! `tallykeep replay` against nodes that lose answers: a stand-in for a cluster, with one state
//! behind three doors, of which a request in so many is lost before or after it is applied.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tallykeep::client::{Endpoints, Summary, replay};

const LIMIT: u64 = 5;

/// What the stand-in holds, and how it fails.
struct Cluster {
    counts: BTreeMap<String, u64>,
    entries: Vec<Value>,
    requests: u64,
    faulty: bool,
}

/// How a request fares.
#[derive(PartialEq)]
enum Fare {
    Good,
    /// 503: nothing was changed.
    NoLeader,
    /// The connection breaks before the request is applied.
    BrokenBefore,
    /// The connection breaks after it was applied.
    BrokenAfter,
    /// 503: it was applied, but the node does not know.
    UnknownAfter,
}

impl Cluster {
    fn fare(&mut self, often: bool) -> Fare {
        self.requests += 1;
        match self.requests % 47 {
            _ if !self.faulty => Fare::Good,
            3 => Fare::NoLeader,
            11 if often => Fare::BrokenBefore,
            19 | 29 => Fare::BrokenAfter,
            41 => Fare::UnknownAfter,
            _ => Fare::Good,
        }
    }
}

type Shared = Arc<Mutex<Cluster>>;

fn broken() -> Response {
    let error = Err::<Bytes, _>(std::io::Error::other("the node is gone"));
    Body::from_stream(futures_util::stream::iter([error])).into_response()
}

fn unavailable(code: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, json_of(&json!({ "code": code }))).into_response()
}

fn fated(fare: Fare, apply: impl FnOnce() -> Response) -> Response {
    match fare {
        Fare::NoLeader => unavailable("no_leader"),
        Fare::BrokenBefore => broken(),
        Fare::Good => apply(),
        Fare::BrokenAfter => {
            apply();
            broken()
        }
        Fare::UnknownAfter => {
            apply();
            unavailable("unknown_outcome")
        }
    }
}

fn json_of(value: &Value) -> impl IntoResponse {
    ([("content-type", "application/json")], value.to_string())
}

async fn check(State(cluster): State<Shared>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut cluster = cluster.lock().unwrap();
    let fare = cluster.fare(true);
    fated(fare, || {
        let limit = body["config"]["requests"].as_u64().unwrap();
        assert_eq!(body["config"]["windowMs"], 86_400_000);
        let name = format!("{}:{}", body["type"], body["identifier"]);
        let count = cluster.counts.entry(name).or_default();
        let allowed = *count < limit;
        *count += u64::from(allowed);
        let status = if allowed { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        let answer = json!({"allowed": allowed, "remaining": limit - *count, "resetTime": 9});
        (status, json_of(&answer)).into_response()
    })
}

async fn log(State(cluster): State<Shared>, entry: String) -> Response {
    let mut entry: Value = serde_json::from_str(&entry).unwrap();
    let mut cluster = cluster.lock().unwrap();
    // An entry that was lost before it was applied takes seconds to settle: a few are enough.
    let often = cluster.entries.len() < 60;
    let fare = cluster.fare(often);
    fated(fare, || {
        entry["clientId"] = entry["id"].take();
        entry["timestamp"] = json!(1_000 + cluster.entries.len());
        cluster.entries.push(entry);
        json_of(&json!({"success": true, "id": "x"})).into_response()
    })
}

/// Pages of at most seven, newest first.
async fn query(State(cluster): State<Shared>, filter: String) -> Response {
    let filter: Value = serde_json::from_str(&filter).unwrap();
    let mut cluster = cluster.lock().unwrap();
    let fare = cluster.fare(true);
    fated(fare, || {
        let from = filter["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
        let found = cluster.entries.iter().rev().filter(|entry| {
            entry["type"] == filter["type"]
                && (filter["ip"].is_null() || filter["ip"] == entry["ip"])
                && entry["timestamp"].as_u64() >= filter["startTime"].as_u64()
        });
        let found: Vec<_> = found.skip(from).take(8).collect();
        let page = &found[..found.len().min(7)];
        let mut answer = json!({"entries": page, "count": page.len()});
        if found.len() > 7 {
            answer["cursor"] = json!((from + 7).to_string());
        }
        json_of(&answer).into_response()
    })
}

/// Three doors to one state.
async fn start(faulty: bool) -> (Shared, Endpoints) {
    let cluster = Cluster { counts: BTreeMap::new(), entries: Vec::new(), requests: 0, faulty };
    let cluster = Arc::new(Mutex::new(cluster));
    let router = Router::new()
        .route("/check", post(check))
        .route("/log", post(log))
        .route("/query", post(query))
        .with_state(cluster.clone());
    let mut urls = Vec::new();
    for _ in 0..3 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        urls.push(url.parse().unwrap());
        let router = router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    (cluster, Endpoints { urls, ca: None, token_file: None, token: None })
}

/// `addresses` client addresses with one to `addresses` lines each, mixed, and a malformed line.
fn access_log(addresses: u64) -> (tempfile::NamedTempFile, u64, u64) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let (mut lines, mut admitted) = (0, 0);
    for round in 0..addresses {
        for address in round..addresses {
            writeln!(
                file,
                r#"10.0.0.{address} - - [17/May/2015:10:05:03 +0000] "GET /{round} HTTP/1.1" 200 1"#
            )
            .unwrap();
            lines += 1;
            admitted += u64::from(round < LIMIT);
        }
    }
    writeln!(file, "not a line of an access log").unwrap();
    (file, lines, admitted)
}

async fn run(file: &tempfile::NamedTempFile, endpoints: Endpoints) -> Summary {
    let args = replay::Args {
        file: file.path().to_owned(),
        kind: "wix".into(),
        requests: LIMIT,
        window: Duration::from_secs(24 * 60 * 60),
        concurrency: 16,
        json: false,
        endpoints,
    };
    replay::replay(args).await.unwrap()
}

#[tokio::test]
async fn the_numbers_hold_when_answers_are_lost() {
    let (cluster, mut endpoints) = start(true).await;
    // A node that is not there at all.
    endpoints.urls.insert(1, "http://127.0.0.1:1".parse().unwrap());
    let (file, lines, admitted) = access_log(20);
    let summary = run(&file, endpoints).await;

    assert!(summary.is_whole(), "{summary}");
    assert_eq!((summary.lines, summary.malformed), (lines, 1));
    assert_eq!((summary.admitted, summary.refused), (admitted, lines - admitted));
    assert_eq!(summary.audit.entries, lines);
    let fates = summary.unknown_fates;
    assert!(fates.checks_found > 0 && fates.logs_found > 0, "{summary}");
    assert!(fates.logs > fates.logs_found, "{summary}");

    let cluster = cluster.lock().unwrap();
    assert_eq!(cluster.entries.len() as u64, lines);
    let allowed = cluster.entries.iter().filter(|entry| entry["details"]["allowed"] == true);
    assert_eq!(allowed.count() as u64, admitted);
    assert!(cluster.counts.values().all(|count| *count <= LIMIT));
}

#[tokio::test]
async fn a_second_run_sees_the_counts_of_the_first() {
    let (_cluster, endpoints) = start(false).await;
    let (file, lines, admitted) = access_log(8);
    let first = run(&file, endpoints.clone()).await;
    assert_eq!((first.admitted, first.identifiers_counted_before), (admitted, 0));

    let second = run(&file, endpoints).await;
    // Addresses with fewer lines than the limit had some of it left.
    assert!(second.admitted < admitted);
    assert_eq!(second.admitted + second.refused, lines);
    assert_eq!(second.identifiers_counted_before, 8);
    assert_eq!(second.audit.entries, lines);
    assert!(second.is_whole(), "{second}");
}
