//! Against servers that fail in chosen ways.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tallykeep_client::{Client, Decision, ErrorKind, Filter, Format, Limit, NewEntry, Query};

use crate::fake::{ALLOWED, Asked, End, FakeNode, Reply, allow, dead_endpoint, problem};
use crate::wait::wait_for;

const LIMIT: Limit = Limit { requests: 100, window_ms: 60_000 };
const ANSWER: Decision = Decision {
    allowed: true,
    remaining: 95,
    reset_time_ms: 1_634_567_890_000,
    retry_after_s: None,
};
const LONG: Duration = Duration::from_secs(60);

async fn node(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> FakeNode {
    FakeNode::start(answer).await
}

/// A client whose first call begins with the first endpoint.
fn client(endpoints: &[&str], timeout: Duration) -> Client {
    attempting(endpoints, timeout, Duration::from_secs(2))
}

fn attempting(endpoints: &[&str], timeout: Duration, attempt_timeout: Duration) -> Client {
    Client::builder(endpoints.iter().copied())
        .timeout(timeout)
        .attempt_timeout(attempt_timeout)
        .token("secret")
        .first_turn(0)
        .build()
        .unwrap()
}

fn keys(node: &FakeNode) -> BTreeSet<Option<String>> {
    node.requests().iter().map(|asked| asked.key().map(str::to_owned)).collect()
}

#[tokio::test]
async fn what_breaks_off_is_asked_of_the_next_node_with_the_same_bytes_and_key() {
    let faults = [
        Reply::Drop,
        Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"allowed\":"),
        Reply::Raw("SSH-2.0-OpenSSH\r\n"),
    ];
    for fault in faults {
        let broken = node(move |_, _| fault.clone()).await;
        let good = node(|_, _| allow()).await;
        let client = client(&[&broken.endpoint, &good.endpoint], LONG);
        assert_eq!(client.check("user-123", "wix", LIMIT).await.unwrap(), ANSWER);
        let (first, second) = (&broken.requests()[0], &good.requests()[0]);
        assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/check"));
        assert_eq!(first.body, second.body);
        assert!(first.key().is_some_and(|key| key.len() == 46 && key.ends_with("\";ttl=120")));
        assert_eq!(first.key(), second.key());
        assert_eq!(first.headers["authorization"], "Bearer secret");
        assert_eq!(second.headers["content-type"], "application/json");
        assert_eq!((broken.requests().len(), good.requests().len()), (1, 1));
    }
}

#[tokio::test]
async fn calls_take_the_nodes_in_turn_and_keep_their_connections() {
    let nodes = [node(|_, _| allow()).await, node(|_, _| allow()).await];
    let client = client(&[&nodes[0].endpoint, &nodes[1].endpoint], LONG);
    for _ in 0..20 {
        client.check("a", None, LIMIT).await.unwrap();
    }
    for node in &nodes {
        assert_eq!((node.requests().len(), node.connections()), (10, 1));
        assert_eq!(keys(node).len(), 10);
    }
}

#[tokio::test]
async fn a_dead_node_is_passed_over_then_tried_again_and_used_when_it_is_back() {
    let back = node(|before, _| if before == 0 { Reply::Drop } else { allow() }).await;
    let good = node(|_, _| allow()).await;
    let client = client(&[&back.endpoint, &good.endpoint], LONG);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(400) {
        client.check("a", None, LIMIT).await.unwrap();
    }
    assert_eq!(back.requests().len(), 1);
    wait_for("the node is used again", async || {
        client.check("a", None, LIMIT).await.unwrap();
        back.requests().len() > 2
    })
    .await;
}

#[tokio::test]
async fn a_node_that_hangs_is_left_after_its_time() {
    let (hanging, good) = (node(|_, _| Reply::Hang).await, node(|_, _| allow()).await);
    let endpoints = [hanging.endpoint.as_str(), good.endpoint.as_str()];
    let client = attempting(&endpoints, LONG, Duration::from_millis(200));
    let began = Instant::now();
    assert_eq!(client.check("a", None, LIMIT).await.unwrap(), ANSWER);
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(keys(&hanging), keys(&good));
}

#[tokio::test]
async fn an_answer_that_trickles_is_bounded_as_a_whole() {
    let trickling =
        node(|_, _| Reply::Parts(&[" "; 100], Duration::from_millis(50), End::Whole)).await;
    let good = node(|_, _| allow()).await;
    let endpoints = [trickling.endpoint.as_str(), good.endpoint.as_str()];
    let client = attempting(&endpoints, LONG, Duration::from_millis(200));
    let began = Instant::now();
    assert_eq!(client.check("a", None, LIMIT).await.unwrap(), ANSWER);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_single_node_has_the_whole_deadline() {
    let hanging = node(|_, _| Reply::Hang).await;
    let timeout = Duration::from_millis(300);
    let client = attempting(&[&hanging.endpoint], timeout, Duration::from_millis(10));
    let began = Instant::now();
    let error = client.check("a", None, LIMIT).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(290));
    assert_eq!(hanging.requests().len(), 1);
    assert_eq!((error.kind(), error.status()), (ErrorKind::NoAnswer, None));
    assert!(error.is_retryable());
    assert!(error.to_string().contains("cannot be reached: no answer within"), "{error}");
}

#[tokio::test]
async fn when_all_nodes_were_found_dead_further_calls_do_not_wait_for_the_deadline() {
    let (one, other) = (dead_endpoint().await, dead_endpoint().await);
    let client = client(&[&one, &other], Duration::from_secs(2));
    let began = Instant::now();
    let error = client.check("a", None, LIMIT).await.unwrap_err();
    assert!(began.elapsed() > Duration::from_secs(1), "it was not tried for long enough");
    assert!(error.to_string().contains("refused"), "{error}");
    let began = Instant::now();
    client.check("a", None, LIMIT).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(1), "it waited");
}

#[tokio::test]
async fn a_503_is_asked_of_the_others_and_of_the_same_node_after_its_retry_after() {
    let busy = node(|before, _| match before {
        0 => problem(503, "no_leader", "retry-after: 1\r\n"),
        _ => allow(),
    })
    .await;
    let other = node(|_, _| problem(503, "no_leader", "retry-after: 30\r\n")).await;
    let client = client(&[&busy.endpoint, &other.endpoint], LONG);
    let began = Instant::now();
    assert_eq!(client.check("a", None, LIMIT).await.unwrap(), ANSWER);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!((busy.requests().len(), other.requests().len()), (2, 1));
    assert_eq!(keys(&busy), keys(&other));
    assert_eq!(keys(&busy).len(), 1);
}

#[tokio::test]
async fn a_retry_after_beyond_the_deadline_is_not_waited_for() {
    for later in ["3600", "Fri, 31 Dec 2100 00:00:00 GMT"] {
        let headers = format!("retry-after: {later}\r\nx-request-id: r-1\r\n");
        let busy = node(move |_, _| problem(503, "overloaded", &headers)).await;
        let client = client(&[&busy.endpoint], LONG);
        let began = Instant::now();
        let error = client.log(&NewEntry::new("t", "a")).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(30));
        let said = "answered 503: detail of overloaded (request r-1)";
        assert_eq!(error.to_string(), format!("tallykeep at {} {said}", busy.endpoint));
        assert_eq!((error.status(), error.code()), (Some(503), Some("overloaded")));
        assert!(error.is_retryable() && error.is_overloaded());
        assert_eq!(busy.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_node_that_says_to_come_back_at_once_is_not_asked_without_a_pause() {
    let busy = node(|_, _| problem(503, "overloaded", "retry-after: 0\r\n")).await;
    let client = client(&[&busy.endpoint], Duration::from_secs(1));
    assert_eq!(client.reset("a", None).await.unwrap_err().status(), Some(503));
    assert!((2..=20).contains(&busy.requests().len()), "{} requests", busy.requests().len());
}

#[tokio::test]
async fn a_500_is_asked_of_every_other_node_once() {
    let nodes = [
        node(|_, _| problem(500, "internal", "")).await,
        node(|_, _| Reply::Whole(502, String::new(), "<h1>".to_owned())).await,
    ];
    let client = client(&[&nodes[0].endpoint, &nodes[1].endpoint], LONG);
    let error = client.check("a", None, LIMIT).await.unwrap_err();
    let message = format!("tallykeep at {} answered 502: Bad Gateway", nodes[1].endpoint);
    assert_eq!(error.to_string(), message);
    assert_eq!((error.kind(), error.status(), error.code()), (ErrorKind::Server, Some(502), None));
    assert_eq!(nodes.each_ref().map(|node| node.requests().len()), [1, 1]);
}

#[tokio::test]
async fn a_507_is_the_whole_clusters() {
    let other = node(|_, _| allow()).await;
    for code in ["insufficient_storage", "object_full", "objects_full"] {
        let full = node(move |_, _| problem(507, code, "")).await;
        let client = client(&[&full.endpoint, &other.endpoint], LONG);
        let error = client.check("a", None, LIMIT).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Server, Some(507)));
        assert_eq!((error.code(), error.is_retryable()), (Some(code), false));
        assert_eq!(full.requests().len(), 1);
    }
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_cluster_that_takes_no_key_is_asked_once_without_one() {
    for (status, code) in [(507, "idempotency_keys_full"), (503, "not_yet_supported")] {
        let keyless = node(move |_, asked| match asked.key() {
            Some(_) => problem(status, code, "retry-after: 1\r\n"),
            None => allow(),
        })
        .await;
        let one = client(&[&keyless.endpoint], Duration::from_millis(500));
        assert_eq!(one.check("a", None, LIMIT).await.unwrap(), ANSWER);
        let requests = keyless.requests();
        assert_eq!(requests.len(), 2);
        assert!(requests[0].key().is_some() && requests[1].key().is_none());
        assert_eq!(requests[0].body, requests[1].body);

        // Not if the caller asked for a key, nor if an earlier attempt may have been carried out.
        let keyed = one.with_idempotency_key("own").unwrap();
        assert_eq!(keyed.check("a", None, LIMIT).await.unwrap_err().code(), Some(code));
        let broken = node(|_, _| Reply::Drop).await;
        let later = client(&[&broken.endpoint, &keyless.endpoint], Duration::from_millis(500));
        later.check("a", None, LIMIT).await.unwrap_err();
        let without = keyless.requests().iter().filter(|asked| asked.key().is_none()).count();
        assert_eq!(without, 1);
    }
}

#[tokio::test]
async fn an_attempt_without_a_key_is_not_repeated() {
    let full = node(|before, _| match before {
        0 => problem(507, "idempotency_keys_full", ""),
        _ => Reply::Drop,
    })
    .await;
    let other = node(|_, _| allow()).await;
    let client = client(&[&full.endpoint, &other.endpoint], LONG);
    assert_eq!(client.check("a", None, LIMIT).await.unwrap_err().kind(), ErrorKind::NoAnswer);
    assert_eq!((full.requests().len(), other.requests().len()), (2, 0));
}

#[tokio::test]
async fn a_callers_key_is_sent_and_a_query_has_none() {
    let body = |asked: &Asked| match asked.path.as_str() {
        "/check" => ALLOWED,
        "/query" => r#"{"entries":[],"count":0,"cursor":"c"}"#,
        _ => r#"{"success":true,"id":"i"}"#,
    };
    let good = node(move |_, asked| Reply::Whole(200, String::new(), body(asked).to_owned())).await;
    let client = client(&[&good.endpoint], LONG).with_idempotency_key("order-17").unwrap();
    client.check("a", None, LIMIT).await.unwrap();
    client.reset("a", "wix").await.unwrap();
    assert_eq!(client.log(&NewEntry::new("t", "a")).await.unwrap(), "i");
    assert_eq!(client.query(&Query::default()).await.unwrap().cursor.as_deref(), Some("c"));
    let requests = good.requests();
    let sent: Vec<_> = requests.iter().map(|asked| (asked.path.as_str(), asked.key())).collect();
    let key = Some("\"order-17\"");
    assert_eq!(sent, [("/check", key), ("/reset", key), ("/log", key), ("/query", None)]);
}

#[tokio::test]
async fn a_token_that_asks_a_node_too_often_asks_another() {
    let often = node(|_, _| problem(429, "token_rate_limited", "retry-after: 1\r\n")).await;
    let good = node(|_, _| allow()).await;
    let client = client(&[&often.endpoint, &good.endpoint], LONG);
    // In turn, so that every other call begins with each.
    for _ in 0..2 {
        assert_eq!(client.check("a", None, LIMIT).await.unwrap(), ANSWER);
    }
    let mut export = client.export(Format::Json, &Filter::default()).await.unwrap();
    assert_eq!(export.next().await.unwrap().as_deref(), Some(ALLOWED.as_bytes()));
    let paths: Vec<_> = often.requests().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/check", "/export?format=json&order=desc"]);
    assert_eq!(good.requests().len(), 3);
    assert!(often.requests()[0].key().is_some());
    assert_eq!(often.requests()[0].key(), good.requests()[0].key());
}

#[tokio::test]
async fn a_token_that_asks_every_node_too_often_asks_again_after_the_retry_after() {
    let often = |before: usize| match before {
        0 => problem(429, "token_rate_limited", "retry-after: 1\r\n"),
        _ => allow(),
    };
    let busy = node(move |before, _| often(before)).await;
    let other = node(|_, _| problem(429, "token_rate_limited", "retry-after: 30\r\n")).await;
    let client = client(&[&busy.endpoint, &other.endpoint], LONG);
    let began = Instant::now();
    assert_eq!(client.check("a", None, LIMIT).await.unwrap(), ANSWER);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!((busy.requests().len(), other.requests().len()), (2, 1));
    assert_eq!(keys(&busy), keys(&other));
}

#[tokio::test]
async fn a_token_that_asks_too_often_until_the_deadline_is_told_and_is_no_refused_check() {
    let headers = "retry-after: 1\r\nx-request-id: r-1\r\n";
    let busy = node(move |_, _| problem(429, "token_rate_limited", headers)).await;
    let client = client(&[&busy.endpoint], Duration::from_millis(500));
    let error = client.check("a", None, LIMIT).await.unwrap_err();
    let said = "answered 429: detail of token_rate_limited (request r-1)";
    assert_eq!(error.to_string(), format!("tallykeep at {} {said}", busy.endpoint));
    assert_eq!((error.kind(), error.status()), (ErrorKind::Request, Some(429)));
    assert_eq!(error.code(), Some("token_rate_limited"));
    assert!(error.is_retryable() && !error.is_overloaded());
    assert_eq!(busy.requests().len(), 1);
}

#[tokio::test]
async fn a_429_that_is_not_of_the_token_is_the_answer() {
    let denied = r#"{"allowed":false,"remaining":0,"resetTime":1634567890000,"retryAfter":45}"#;
    let headers = "retry-after: 45\r\n".to_owned();
    let refusing = node(move |_, _| Reply::Whole(429, headers.clone(), denied.to_owned())).await;
    let proxy = node(|_, _| problem(429, "slow_down", "retry-after: 1\r\n")).await;
    let other = node(|_, _| allow()).await;
    let decided = client(&[&refusing.endpoint, &other.endpoint], LONG);
    let decision = decided.check("a", None, LIMIT).await.unwrap();
    let expected = Decision { allowed: false, remaining: 0, retry_after_s: Some(45), ..ANSWER };
    assert_eq!(decision, expected);
    let refused = client(&[&proxy.endpoint, &other.endpoint], LONG);
    let error = refused.check("a", None, LIMIT).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Request, Some("slow_down")));
    assert!(!error.is_retryable());
    assert_eq!((refusing.requests().len(), proxy.requests().len()), (1, 1));
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn what_is_no_answer_of_tallykeeps_is_a_protocol_error() {
    let cases = [
        (200, "<h1>hello</h1>"),
        (200, "{}"),
        (200, r#"{"allowed":true,"remaining":1}"#),
        (200, r#"{"allowed":1,"remaining":1,"resetTime":1}"#),
        (200, r#"{"allowed":false,"remaining":0,"resetTime":1,"retryAfter":1}"#),
        (429, r#"{"allowed":true,"remaining":1,"resetTime":1}"#),
        (429, "too many requests"),
        (204, ""),
    ];
    for (status, body) in cases {
        let other = node(move |_, _| Reply::Whole(status, String::new(), body.to_owned())).await;
        let client = client(&[&other.endpoint], LONG);
        let error = client.check("a", None, LIMIT).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Protocol, Some(status)), "{body}");
        assert!(!error.is_retryable());
    }
    let other =
        node(|_, _| Reply::Whole(200, String::new(), r#"{"success":false}"#.to_owned())).await;
    let client = client(&[&other.endpoint], LONG);
    assert_eq!(client.reset("a", None).await.unwrap_err().kind(), ErrorKind::Protocol);
    let error = client.log(&NewEntry::new("t", "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_4xx_is_told_in_the_clusters_words() {
    let refusing = node(|_, _| problem(422, "idempotency_key_reused", "")).await;
    let client = client(&[&refusing.endpoint], LONG);
    let error = client.check("a", None, LIMIT).await.unwrap_err();
    assert_eq!(error.to_string(), "tallykeep answered 422: detail of idempotency_key_reused");
    assert_eq!(error.kind(), ErrorKind::Request);
    assert_eq!((error.status(), error.code()), (Some(422), Some("idempotency_key_reused")));
    let error = client.export(Format::Json, &Filter::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_token_stays_here() {
    let other = node(|_, _| allow()).await;
    let location = format!("location: {}/check\r\n", other.endpoint);
    let moved = node(move |_, _| Reply::Whole(307, location.clone(), String::new())).await;
    let error = client(&[&moved.endpoint], LONG).check("a", None, LIMIT).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Protocol, Some(307)));
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn an_export_is_streamed_beyond_the_deadline_of_its_beginning() {
    let gap = Duration::from_millis(300);
    let slow =
        node(move |_, _| Reply::Parts(&["first\n", "b\n", "c\n", "d\n"], gap, End::Whole)).await;
    let endpoints = [slow.endpoint.as_str(), "http://127.0.0.1:1"];
    let client = attempting(&endpoints, Duration::from_millis(900), Duration::from_millis(500));
    let mut export = client.export(Format::Ndjson, &Filter::default()).await.unwrap();
    let mut whole = Vec::new();
    while let Some(part) = export.next().await.unwrap() {
        whole.extend_from_slice(&part);
    }
    assert_eq!(whole, b"first\nb\nc\nd\n");
    let asked = &slow.requests()[0];
    assert_eq!((asked.method.as_str(), asked.key()), ("GET", None));
    assert_eq!(asked.path, "/export?format=ndjson&order=desc");
}

#[tokio::test]
async fn an_export_that_breaks_off_or_stalls_is_an_error_of_its_reader() {
    for end in [End::Drop, End::Hang] {
        let cut = node(move |_, _| Reply::Parts(&["first\n"], Duration::ZERO, end)).await;
        let client = client(&[&cut.endpoint], Duration::from_millis(500));
        let mut export = client.export(Format::Json, &Filter::default()).await.unwrap();
        assert_eq!(export.next().await.unwrap().as_deref(), Some(b"first\n".as_slice()));
        let error = export.next().await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NoAnswer, true));
        assert!(error.to_string().starts_with("the export broke off: "), "{error}");
        assert_eq!(cut.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_export_that_does_not_begin_is_asked_of_the_next_node() {
    let broken = node(|_, _| Reply::Drop).await;
    let full = node(|_, _| problem(503, "overloaded", "retry-after: 1\r\n")).await;
    let good = node(|_, _| Reply::Whole(200, String::new(), "whole".to_owned())).await;
    let client = client(&[&broken.endpoint, &full.endpoint, &good.endpoint], LONG);
    let mut export = client.export(Format::Json, &Filter::default()).await.unwrap();
    assert_eq!(export.next().await.unwrap().as_deref(), Some(b"whole".as_slice()));
    assert!(export.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_its_request_and_is_not_held_against_the_node() {
    let slow = node(|before, _| if before == 0 { Reply::Hang } else { allow() }).await;
    let good = node(|_, _| allow()).await;
    let client = client(&[&slow.endpoint, &good.endpoint], LONG);
    let call = client.check("a", None, LIMIT);
    tokio::time::timeout(Duration::from_millis(100), call).await.unwrap_err();
    wait_for("the connection is closed", async || slow.closed() == 1).await;
    for _ in 0..4 {
        client.check("a", None, LIMIT).await.unwrap();
    }
    assert_eq!(slow.requests().len(), 3);
}

#[tokio::test]
async fn many_calls_at_once_share_a_client() {
    let (dead, good) = (dead_endpoint().await, node(|_, _| allow()).await);
    let client = client(&[&dead, &good.endpoint], LONG);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.check("a", None, LIMIT).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), ANSWER);
    }
    assert_eq!(keys(&good).len(), 100);
}
