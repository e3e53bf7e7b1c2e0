//! Requests can be followed: by their ids in answers, log lines, events and the record, and by their spans.

mod cluster;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tallykeep::limits;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use cluster::{Answer, Api, Setup, TestCluster, check_body, wait_until};

const WINDOW_MS: u64 = 3_600_000;
const RECORD: &str = "/do/AUDIT_LOGGER/name/tallykeep.system";
/// What no line and no span may hold.
const IDENTIFIER: &str = "somebody-secret";

async fn answer(request: RequestBuilder) -> Answer {
    Answer::of(request).await.expect("an answer")
}

fn check(api: &Api, node: u64) -> RequestBuilder {
    api.request(Method::POST, node, "/check").body(check_body(IDENTIFIER, 1_000_000, WINDOW_MS))
}

/// Waits until a node's log has a line with all of these; gives it.
async fn line(cluster: &TestCluster, node: u64, parts: &[&str]) -> String {
    wait_until(&format!("node {node} tells of {parts:?}"), async || {
        let log = cluster.log(node);
        let mut lines = log.lines();
        let found = lines.find(|line| parts.iter().all(|part| line.contains(part)));
        found.map(str::to_owned).ok_or(log.clone())
    })
    .await
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    let get = |node, path| api.request(Method::GET, node, path);
    for node in api.ids() {
        for request in [
            check(api, node),
            api.request(Method::POST, node, "/check").body("{"),
            get(node, "/healthz"),
            get(node, "/nothing"),
            get(node, "/check"),
            get(node, "/ui"),
            get(node, "/admin/objects"),
            get(node, "/openapi.json"),
        ] {
            let named = request.try_clone().expect("a body that can be sent again");
            let named = answer(named.header("X-Request-Id", "client/4711=\"a\"")).await;
            let unnamed = answer(request).await;
            let again = unnamed.header("x-request-id").to_owned();
            assert_eq!(named.header("x-request-id"), "client/4711=\"a\"", "{}", named.text());
            assert!(again.len() == 32 && again.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert_eq!(named.status, unnamed.status);
            if named.status >= 400 {
                assert_eq!(named.json()["requestId"], "client/4711=\"a\"");
                assert_eq!(unnamed.json()["requestId"], again.as_str());
            }
        }
        // What could not stand everywhere is not told again.
        let longest = "x".repeat(limits::REQUEST_ID_BYTES_MAX);
        let sent = answer(get(node, "/nothing").header("x-request-id", &longest)).await;
        assert_eq!(sent.header("x-request-id"), longest);
        for bad in ["", "a b", "é", &format!("{longest}x")] {
            let sent = get(node, "/nothing").header("x-request-id", bad.as_bytes());
            let answer = answer(sent).await;
            assert_eq!(answer.header("x-request-id").len(), 32, "{bad}");
            assert_eq!(answer.json()["requestId"], answer.header("x-request-id"));
        }
        let twice = get(node, "/nothing").header("x-request-id", "a").header("x-request-id", "b");
        assert_eq!(answer(twice).await.header("x-request-id").len(), 32);
    }
    // A HEAD has the id, and no body.
    let head = answer(api.request(Method::HEAD, 1, "/nothing").header("x-request-id", "h")).await;
    assert_eq!((head.status, head.header("x-request-id"), head.body.len()), (404, "h", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_and_the_record_lead_to_the_request() {
    let setup = Setup {
        tokens: true,
        settings: "telemetry = { slow_request = \"100ms\" }".to_owned(),
        ..Setup::default()
    };
    let mut cluster = TestCluster::start_as(setup).await;
    let (leader, node) = (cluster.leader().await, cluster.a_follower().await);
    let api = cluster.api().clone();
    let policy = json!({"requests": 7, "windowMs": 1000}).to_string();
    let path = "/admin/policies/wix";
    let put = |api: &Api| api.request(Method::PUT, node, path).body(policy.clone());

    let done = answer(put(&api).header("x-request-id", "change-4711")).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let query = json!({"type": "admin", "action": "policies.put"});
    let entries = wait_until("both entries are there", async || {
        let found = api.query_at(leader, &format!("{RECORD}/query"), &query).await;
        let entries = found["entries"].as_array().expect("entries").clone();
        if entries.len() == 2 { Ok(entries) } else { Err(found.to_string()) }
    })
    .await;
    for entry in entries {
        assert_eq!(entry["details"]["request"], "change-4711", "{entry}");
    }
    line(&cluster, node, &["tallykeep::record", "change-4711", "begun"]).await;

    // Its token is of no use.
    let stranger = api.with_token(Some("tk_0011223344556677_00"));
    let refused = answer(put(&stranger).header("x-request-id", "refused-4711")).await;
    refused.problem(401, "unauthenticated");
    let told = line(&cluster, node, &["administration was refused", "refused-4711"]).await;
    for part in ["WARN", "method=\"PUT\"", "endpoint=\"/admin/policies\"", "status=401"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(told.contains("code=\"unauthenticated\"") && !told.contains("wix"), "{told}");

    // Who asks now waits for an election.
    cluster.kill(leader);
    let late = answer(check(&api, node).header("x-request-id", "slow-4711")).await;
    assert_eq!(late.status, 200, "{}", late.text());
    let told = line(&cluster, node, &["a request was slow", "slow-4711"]).await;
    for part in ["WARN", "endpoint=\"/check\"", "binding=\"RATE_LIMITER\"", "duration_ms="] {
        assert!(told.contains(part), "{part} in {told}");
    }

    let last = cluster.ids().into_iter().find(|id| *id != leader && *id != node);
    cluster.kill(last.expect("a third node"));
    let request = check(&api, node).header("x-request-id", "failed-4711");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let failed = answer(request.header("traceparent", parent)).await;
    assert_eq!(failed.status, 503, "{}", failed.text());
    let told = line(&cluster, node, &["a request could not be carried out", "failed-4711"]).await;
    for part in ["status=503", "trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"", "code="] {
        assert!(told.contains(part), "{part} in {told}");
    }
    for node in cluster.ids() {
        assert!(!cluster.log(node).contains(IDENTIFIER), "node {node}");
    }
}

#[tokio::test]
async fn events_have_the_id() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    let mut tail = api
        .request(Method::GET, 1, "/admin/tail?endpoint=/check")
        .timeout(Duration::from_secs(60))
        .send()
        .await
        .expect("a stream");
    let first = tail.chunk().await.expect("a piece").expect("not the end");
    assert_eq!(&first[..], b":\n\n");
    answer(check(api, 1).header("x-request-id", "tailed-4711")).await.admitted(1_000_000, 999_999);
    let mut text = String::new();
    while !text.contains("requestId") {
        let piece = tail.chunk().await.expect("a piece").expect("not the end");
        text.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
    }
    assert!(text.contains("\"requestId\":\"tailed-4711\""), "{text}");
}

/// A collector: it keeps the spans that it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Value>>>);

impl Collector {
    /// One that listens; gives its URL too.
    async fn start() -> (Self, String) {
        async fn take(State(collector): State<Collector>, body: Bytes) -> &'static str {
            let text = String::from_utf8(body.to_vec()).expect("JSON is UTF-8");
            assert!(!text.contains(IDENTIFIER), "{text}");
            let body: Value = serde_json::from_str(&text).expect("JSON");
            let mut received = Vec::new();
            for resource in body["resourceSpans"].as_array().expect("resources") {
                let node = attribute(&resource["resource"], "service.instance.id");
                let node = node.expect("which node it is").to_owned();
                for scope in resource["scopeSpans"].as_array().expect("scopes") {
                    for span in scope["spans"].as_array().expect("spans") {
                        let mut span = span.clone();
                        span["node"] = json!(node);
                        received.push(span);
                    }
                }
            }
            // At once: whoever sees a request's span sees those of its parts.
            collector.0.lock().expect("no panic").extend(received);
            "{}"
        }
        let collector = Self::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, url)
    }

    /// The spans of which the member is so.
    fn spans(&self, member: &str, is: &str) -> Vec<Value> {
        let spans = self.0.lock().expect("no panic");
        spans.iter().filter(|span| span[member] == is).cloned().collect()
    }

    /// Waits for the one span of a request.
    async fn request(&self, id: &str) -> Value {
        wait_until(&format!("there is a span of {id}"), async || {
            let spans = self.0.lock().expect("no panic");
            let mut of = spans.iter().filter(|span| {
                attribute(span, "tallykeep.request_id").is_some_and(|found| found == id)
            });
            let found = of.next().cloned();
            assert!(of.next().is_none(), "a request has one span");
            found.ok_or_else(|| format!("{} others", spans.len()))
        })
        .await
    }
}

/// The text of an attribute, or its integer.
fn attribute<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    let attributes = of["attributes"].as_array()?;
    let value = &attributes.iter().find(|one| one["key"] == key)?["value"];
    value["stringValue"].as_str().or_else(|| value["intValue"].as_str())
}

/// How many spans of a node came to this.
async fn spans_total(api: &Api, node: u64, outcome: &str) -> f64 {
    let told = api.get(node, "/metrics").await.text();
    let sample = format!("tallykeep_spans_total{{outcome=\"{outcome}\"}} ");
    let mut counts = told.lines().filter_map(|line| line.strip_prefix(&sample));
    counts.next().expect("a sample").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_sampled_requests_reach_a_collector() {
    let (collector, url) = Collector::start().await;
    let settings = format!("telemetry = {{ endpoint = \"{url}\", sampling_ratio = 1 }}");
    let mut cluster = TestCluster::start_as(Setup::with(&settings)).await;
    let (leader, follower) = (cluster.leader().await, cluster.a_follower().await);
    let api = cluster.api().clone();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = |flags: &str| format!("00-{trace}-00f067aa0ba902b7-{flags}");

    for (node, id) in [(leader, "at-leader"), (follower, "at-follower")] {
        let request = check(&api, node).header("x-request-id", id);
        let answer = answer(request.header("traceparent", parent("01"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let span = collector.request(id).await;
        assert_eq!(span["name"], "POST /check");
        assert_eq!(
            (span["traceId"].as_str(), span["node"].as_str()),
            (Some(trace), Some(&*node.to_string()))
        );
        assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
        let own = span["spanId"].as_str().expect("an id");
        let parts = collector.spans("parentSpanId", own);
        let names: Vec<_> =
            parts.iter().map(|part| part["name"].as_str().expect("a name")).collect();
        assert_eq!(names, ["queue", "commit"]);
        // Wherever it was sent, it says who led.
        let led = attribute(&parts[1], "tallykeep.leader_id").expect("a leader").to_owned();
        assert_eq!(led, leader.to_string());
        for part in &parts {
            assert_eq!(part["traceId"], trace);
        }
    }

    // A client that does not sample is taken at its word, and one that says nothing is sampled.
    let unsampled = check(&api, follower).header("traceparent", parent("00"));
    answer(unsampled.header("x-request-id", "unsampled")).await;
    let own = answer(check(&api, follower)).await.header("x-request-id").to_owned();
    let span = collector.request(&own).await;
    assert_eq!(span["traceId"], own.as_str(), "the trace begins here");
    assert!(span.get("parentSpanId").is_none());
    let ids = |span: &Value| attribute(span, "tallykeep.request_id").map(str::to_owned);
    let of_checks = collector.spans("name", "POST /check");
    assert!(of_checks.iter().filter_map(ids).all(|id| id != "unsampled"));

    // A refused check is a read, by the second time at the latest.
    let body = check_body("full", 0, WINDOW_MS);
    for id in ["refused-1", "refused-2"] {
        let request = api.request(Method::POST, follower, "/check").body(body.clone());
        assert_eq!(answer(request.header("x-request-id", id)).await.status, 429);
    }
    let span = collector.request("refused-2").await;
    let parts = collector.spans("parentSpanId", span["spanId"].as_str().expect("an id"));
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0]["name"], "read");

    // What was answered last is told before the node has stopped.
    answer(check(&api, follower).header("x-request-id", "the-last")).await;
    cluster.terminate(follower).await;
    collector.request("the-last").await;
    let exported = spans_total(&api, leader, "exported").await;
    assert!(exported >= 3.0, "{exported}");
}

/// A collector that does not answer, or is gone, costs spans, and no request anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_do_not_need_the_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let collector = tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok(connection) = listener.accept().await {
            silent.push(connection);
        }
    });
    let settings = format!("telemetry = {{ endpoint = \"http://{address}\", sampling_ratio = 1 }}");
    let cluster = TestCluster::start_as(Setup::with(&settings)).await;
    let api = cluster.api();

    // Each is answered, until more have a span than there is room for, and beyond.
    let is_full = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (api, is_full) = (api.clone(), is_full.clone());
        clients.spawn(async move {
            while !is_full.load(Ordering::Relaxed) {
                assert_eq!(api.get(1, "/healthz").await.status, 200);
            }
        });
    }
    wait_until("spans are dropped", async || {
        let dropped = spans_total(api, 1, "dropped").await;
        if dropped > 0.0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    for remaining in (999_980..1_000_000).rev() {
        answer(check(api, 1)).await.admitted(1_000_000, remaining);
    }
    is_full.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("every request is answered");
    }

    // It hangs up, and nobody listens there any more.
    collector.abort();
    let told = line(&cluster, 1, &["the collector does not take spans"]).await;
    assert!(told.contains("/v1/traces"), "{told}");
}
