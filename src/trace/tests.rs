//! Spans on their way to a collector, which is a server that reads what it gets.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

use super::*;
use crate::limits;
use crate::metrics::counted;
use crate::tls::Trust;

/// What a collector says: a status, `Retry-After` if that is not empty, and a body.
type Said = (StatusCode, &'static str, &'static str);

#[derive(Default)]
struct Collector {
    received: Mutex<Vec<Value>>,
    /// When it received each of them.
    at: Mutex<Vec<Instant>>,
    /// What it says, the last first; when there is no more, 200.
    says: Mutex<Vec<Said>>,
}

async fn take(
    State(collector): State<Arc<Collector>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, &'static str) {
    assert_eq!(headers["content-type"], "application/json");
    collector.at.lock().unwrap().push(Instant::now());
    collector.received.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    let all_taken = (StatusCode::OK, "", r#"{"partialSuccess":{}}"#);
    let (status, retry_after, body) = collector.says.lock().unwrap().pop().unwrap_or(all_taken);
    let mut headers = HeaderMap::new();
    if !retry_after.is_empty() {
        headers.insert("retry-after", HeaderValue::from_static(retry_after));
    }
    (status, headers, body)
}

/// A collector that says this, and its URL.
async fn collector(says: &[Said]) -> (Arc<Collector>, String) {
    let collector = Arc::new(Collector::default());
    collector.says.lock().unwrap().extend(says.iter().rev());
    let router = Router::new().route("/base/v1/traces", post(take)).with_state(collector.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (collector, url)
}

fn export(endpoint: String, sampling_ratio: f64) -> Export {
    Export { endpoint, trust: Trust::nobody(), sampling_ratio, cluster: "c".into(), node: 7 }
}

fn answered(status: u16) -> Answered {
    Answered {
        method: "POST",
        endpoint: "/check".into(),
        binding: Some(["RATE_LIMITER".into(), "RateLimiter".into()]),
        status,
        request_id: "r-1".into(),
    }
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How many spans came to this so far.
fn spans(came_to: &str) -> u64 {
    counted().spans.with_label_values(&[came_to]).get()
}

/// The text of an attribute, or its integer.
fn attribute<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    let attributes = of["attributes"].as_array()?;
    let value = &attributes.iter().find(|one| one["key"] == key)?["value"];
    value["stringValue"].as_str().or_else(|| value["intValue"].as_str())
}

fn time(span: &Value, member: &str) -> u128 {
    span[member].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_request_and_its_parts_arrive() {
    let (collector, url) = collector(&[]).await;
    let (tracer, exporter) = start(export(url, 0.0)).unwrap();
    let value = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = tracer.begin(Context::parse(value), None).unwrap();
    assert!(current().is_none());
    let within = async {
        let traced = current().unwrap();
        let began = Instant::now();
        timed("read", tokio::task::yield_now()).await;
        traced.part("commit", began, Instant::now(), Some(3));
    };
    traced.clone().scope(within).await;
    let exported = spans("exported");
    tracer.end(traced, answered(503));
    drop(tracer);
    exporter.run().await;
    assert!(spans("exported") >= exported + 3);

    let received = collector.received.lock().unwrap().clone();
    let [body] = &received[..] else { panic!("{received:?}") };
    let resource = &body["resourceSpans"][0]["resource"];
    assert_eq!(attribute(resource, "service.name"), Some("tallykeep"));
    assert_eq!(attribute(resource, "service.namespace"), Some("c"));
    assert_eq!(attribute(resource, "service.instance.id"), Some("7"));
    let told = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let [request, read, commit] = &told[..] else { panic!("{told:?}") };
    for span in told {
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736", "{span}");
        let id = span["spanId"].as_str().unwrap();
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{span}");
        let [began, ended] = ["startTimeUnixNano", "endTimeUnixNano"].map(|of| time(span, of));
        assert!(began <= ended && began >= time(request, "startTimeUnixNano"), "{span}");
        assert!(ended <= time(request, "endTimeUnixNano"), "{span}");
    }
    assert_eq!(request["name"], "POST /check");
    assert_eq!(request["kind"], 2);
    assert_eq!(request["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(request["status"]["code"], 2);
    assert_eq!(request["flags"], 0x301);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/check"),
        ("http.response.status_code", "503"),
        ("error.type", "503"),
        ("tallykeep.binding", "RATE_LIMITER"),
        ("tallykeep.class", "RateLimiter"),
        ("tallykeep.request_id", "r-1"),
    ] {
        assert_eq!(attribute(request, key), Some(value), "{request}");
    }
    for (part, name, leader) in [(read, "read", None), (commit, "commit", Some("3"))] {
        assert_eq!(part["name"], name, "{part}");
        assert_eq!(part["kind"], 1, "{part}");
        assert_eq!(part["parentSpanId"], request["spanId"], "{part}");
        assert_eq!(attribute(part, "tallykeep.leader_id"), leader, "{part}");
    }
    // Within a minute of this machine's clock.
    let now = crate::clock::wall_at(Instant::now()).as_nanos();
    assert!(now.abs_diff(time(request, "endTimeUnixNano")) < 60_000_000_000);
}

#[tokio::test]
async fn the_clients_word_counts_and_otherwise_the_ratio() {
    let of = |ratio| start(export("http://127.0.0.1:1".into(), ratio)).unwrap();
    let parent = |flags: &str| {
        let value = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        Context::parse(value.as_bytes())
    };
    let ((all, _all), (none, _none), (some, _some)) = (of(1.0), of(0.0), of(0.25));
    assert!(all.begin(parent("00"), None).is_none());
    let sampled = none.begin(parent("01"), Some(TraceId::unique())).unwrap();
    assert_eq!(sampled.trace(), parent("01").unwrap().trace);
    assert!(Tracer::default().begin(parent("01"), None).is_none());
    let own = TraceId::unique();
    assert_eq!(all.begin(None, Some(own)).unwrap().trace(), own);
    let share = |tracer: &Tracer| {
        let begun = (0..10_000).filter(|_| tracer.begin(None, None).is_some());
        begun.count()
    };
    assert_eq!((share(&all), share(&none)), (10_000, 0));
    // Seven standard deviations are 300.
    assert!((2_200..2_800).contains(&share(&some)));
}

#[tokio::test]
async fn what_finds_the_queue_full_is_dropped_and_counted() {
    // Nobody takes anything out of it.
    let (tracer, exporter) = start(export("http://127.0.0.1:1".into(), 1.0)).unwrap();
    let end = || {
        let traced = tracer.begin(None, None).unwrap();
        let now = Instant::now();
        for _ in 0..2 * limits::SPAN_PARTS_MAX {
            traced.part("queue", now, now, None);
        }
        tracer.end(traced, answered(200));
    };
    for _ in 0..limits::SPANS_QUEUE_MAX {
        end();
    }
    let dropped = spans("dropped");
    end();
    end();
    let each = 1 + limits::SPAN_PARTS_MAX as u64;
    assert!(spans("dropped") >= dropped + 2 * each);
    // Nobody listens there either; since no more can come it does not wait for somebody.
    let failed = spans("failed");
    drop(tracer);
    exporter.run().await;
    assert!(spans("failed") >= failed + limits::SPANS_QUEUE_MAX as u64 * each);
}

#[tokio::test]
async fn what_may_be_taken_later_is_sent_again_and_nothing_else() {
    let (unavailable, bad) = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_REQUEST);
    let partly = r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}"#;
    let (collector, url) =
        collector(&[(unavailable, "", ""), (bad, "", ""), (StatusCode::OK, "", partly)]).await;
    let (tracer, exporter) = start(export(url, 1.0)).unwrap();
    let running = tokio::spawn(exporter.run());
    let [exported, failed] = ["exported", "failed"].map(spans);
    let is_received = |count| collector.received.lock().unwrap().len() == count;
    // Sent twice, and then refused; and taken, but for the span that it was about.
    for (received, lost) in [(2, 1), (3, 2)] {
        tracer.end(tracer.begin(None, None).unwrap(), answered(200));
        let is_done = || is_received(received) && spans("failed") >= failed + lost;
        until(&format!("{received} requests"), is_done).await;
    }
    tracer.end(tracer.begin(None, None).unwrap(), answered(200));
    drop(tracer);
    running.await.unwrap();
    let received = collector.received.lock().unwrap();
    assert_eq!(received.len(), 4);
    assert_eq!(received[0], received[1], "the same is sent again");
    assert!(spans("exported") > exported);
}

#[tokio::test]
async fn the_collector_is_not_asked_before_it_has_said() {
    let busy = |retry_after| (StatusCode::SERVICE_UNAVAILABLE, retry_after, "");
    let (collector, url) = collector(&[busy("1"), busy("300"), busy("300")]).await;
    let (tracer, exporter) = start(export(url, 1.0)).unwrap();
    let running = tokio::spawn(exporter.run());
    let failed = spans("failed");
    let end = || tracer.end(tracer.begin(None, None).unwrap(), answered(200));
    let received = || collector.received.lock().unwrap().len();

    // First for longer than a pause, then for longer than a batch is sent again.
    end();
    until("the first is given up", || received() == 2 && spans("failed") > failed).await;
    {
        let at = collector.at.lock().unwrap();
        assert!(at[1] - at[0] >= Duration::from_secs(1), "{at:?}");
    }
    // The next is sent when that time is over.
    end();
    tokio::time::pause();
    tokio::time::advance(limits::SPANS_RETRY_AFTER_MAX).await;
    tokio::time::resume();
    until("the second is sent", || received() == 3).await;
    // A node that stops does not wait for it, and does not send before it either.
    end();
    drop(tracer);
    running.await.unwrap();
    assert_eq!(received(), 3);
    assert!(spans("failed") >= failed + 3);
}

#[test]
fn an_endpoint_is_a_base_url() {
    for (good, is_https) in [
        ("http://127.0.0.1:4318", false),
        ("http://[::1]:4318", false),
        ("HTTP://https", false),
        ("https://collector.example/otlp/", true),
        ("HTTPS://collector.example", true),
        (" https://collector.example", true),
    ] {
        assert_eq!(check_endpoint(good), Ok(()), "{good}");
        assert_eq!(is_secure(good), is_https, "{good}");
    }
    for bad in [
        "",
        "collector:4318",
        "grpc://collector",
        "http://",
        "http://u@c",
        "http://c/?a",
        "http://c#a",
    ] {
        assert!(check_endpoint(bad).is_err() && !is_secure(bad), "{bad}");
    }
}
