//! The routes' shapes, as far as they need no cluster.

use axum::body::to_bytes;
use axum::http::{Method, Request};
use serde_json::Value;
use tower::ServiceExt;

use std::path::Path;

use super::*;
use crate::clock::SystemClock;
use crate::machine::{Keeping, Namespace, Quotas, VERSION_MAX};
use crate::peer::Tcp;
use crate::propose;
use crate::raft::{NodeAddress, RaftSettings};
use crate::storage::{LogStore, Snapshots, StateOptions, StateStore};

/// A response's header, or nothing.
pub(super) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A response's body.
pub(super) async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.into()).unwrap()
}

/// A node of three, whose peers are not there, and which knows it.
pub(super) async fn lonely_node(dir: &Path) -> Node {
    let address = |port: u16| NodeAddress {
        http: format!("127.0.0.1:{port}"),
        // Port 1 is nobody's: connecting to it is refused at once.
        peer: "127.0.0.1:1".to_owned(),
    };
    let settings = RaftSettings {
        cluster: "test".to_owned(),
        id: 1,
        members: (1..=3).map(|id| (u64::from(id), address(id))).collect(),
        dir: dir.to_owned(),
        heartbeat_ms: 50,
        election_min_ms: 300,
        election_max_ms: 600,
        snapshot_log_bytes: u64::MAX,
        disk_reserve_bytes: 0,
        version_max: VERSION_MAX,
    };
    let options = StateOptions { block_cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20 };
    let state = StateStore::open(&dir.join("state"), options).unwrap();
    let log = LogStore::open(&dir.join("log"), state.flushed(), 1 << 20).unwrap();
    let snapshots = Snapshots::open(dir).unwrap();
    let clock = Arc::new(SystemClock::new());
    let node =
        Node::start(settings, clock, Arc::new(Tcp), Arc::new(log), Arc::new(state), snapshots)
            .await
            .unwrap();
    while node.check_quorum().is_ok() {
        // Asks the peers, who do not answer.
        node.report().await;
    }
    node
}

async fn ask(method: Method, path: &str, body: impl Into<Body>) -> Response {
    let dir = tempfile::tempdir().unwrap();
    let node = lonely_node(dir.path()).await;
    let (keeping, quotas) = (Keeping::default(), Quotas::default());
    let proposals = propose::start(&node, 1_000, keeping, Vec::new(), quotas);
    let bindings = Bindings::default_for("script");
    let api = Api::new(proposals.proposer, node, bindings, Vec::new(), None);
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    router(api).oneshot(request).await.unwrap()
}

/// Asserts that a response is a problem of `status` and `code`, whole in its form.
async fn assert_problem(response: Response, status: u16, code: &str) {
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    assert_eq!(response.status(), status);
    let problem: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["error"], problem["title"]);
    assert!(!problem["title"].as_str().unwrap().is_empty());
    assert!(!problem["detail"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_path_without_a_route_is_404() {
    for path in [
        "/",
        "/check/",
        "/nothing",
        "/do/RATE_LIMITER/name//check",
        "/do//name/a/check",
        "/do/RATE_LIMITER/name/a/b/check",
        "/do/RATE_LIMITER/check",
        "/do/NOTHING/name/a/check",
        "/do/AUDIT_LOGGER/name/a/check",
        "/do/AUDIT_LOGGER/name/a/reset",
        "/do/RATE_LIMITER/name/a/log",
        "/do/RATE_LIMITER/name/a/log/batch",
        "/do/RATE_LIMITER/name/a/check/batch",
        "/do/RATE_LIMITER/name/a/query",
    ] {
        let response = ask(Method::POST, path, "{}").await;
        assert_eq!(response.status(), 404, "{path}");
        assert_problem(response, 404, "not_found").await;
    }
    let export = ask(Method::GET, "/do/RATE_LIMITER/name/a/export", "").await;
    assert_problem(export, 404, "not_found").await;
    // Whatever the method.
    for (method, path) in [
        (Method::GET, "/do/RATE_LIMITER/name/a/log"),
        (Method::GET, "/do/RATE_LIMITER/name/a/log/batch"),
        (Method::DELETE, "/do/RATE_LIMITER/name/a/query"),
        (Method::POST, "/do/RATE_LIMITER/name/a/export"),
        (Method::GET, "/do/AUDIT_LOGGER/name/a/check"),
        (Method::PUT, "/do/AUDIT_LOGGER/id/b/reset"),
        (Method::GET, "/do/NOTHING/name/a/check"),
    ] {
        assert_problem(ask(method, path, "").await, 404, "not_found").await;
    }
}

#[tokio::test]
async fn another_method_is_405_and_told_which_are_allowed() {
    for path in [
        "/check",
        "/check/batch",
        "/reset",
        "/log",
        "/log/batch",
        "/query",
        "/do/RATE_LIMITER/name/a/check",
        "/do/AUDIT_LOGGER/name/a/log/batch",
    ] {
        let response = ask(Method::GET, path, "").await;
        assert_eq!(header(&response, "allow"), "POST");
        assert_problem(response, 405, "method_not_allowed").await;
    }
    for path in ["/export", "/healthz", "/do/AUDIT_LOGGER/name/a/export"] {
        let response = ask(Method::POST, path, "").await;
        assert_eq!(header(&response, "allow"), "GET,HEAD");
        assert_problem(response, 405, "method_not_allowed").await;
    }
}

#[tokio::test]
async fn a_body_too_large_is_413_whether_it_says_its_length_or_not() {
    let large = vec![b' '; limits::BODY_BYTES_MAX + 1];
    for path in ["/check", "/reset", "/log", "/query", "/do/RATE_LIMITER/name/a/check"] {
        let whole = ask(Method::POST, path, large.clone()).await;
        assert_problem(whole, 413, "body_too_large").await;
    }
    let pieces = large.chunks(1000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let chunked = Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    assert_problem(ask(Method::POST, "/check", chunked).await, 413, "body_too_large").await;
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400() {
    for path in [
        "/check",
        "/check/batch",
        "/reset",
        "/log",
        "/log/batch",
        "/query",
        "/do/AUDIT_LOGGER/name/a/log",
        "/do/AUDIT_LOGGER/name/a/log/batch",
    ] {
        for body in ["", "{", "null", "[]"] {
            let response = ask(Method::POST, path, body).await;
            assert_eq!(response.status(), 400, "{path} {body}");
            assert_eq!(header(&response, "content-type"), "application/problem+json");
        }
    }
}

#[tokio::test]
async fn a_name_or_an_id_that_cannot_be_is_400() {
    let other = Namespace::new("other-RateLimiter");
    let foreign = other.hex(other.object("a").id);
    let long = "x".repeat(limits::OBJECT_NAME_BYTES_MAX + 1);
    for (which, code) in [
        ("name/%zz", "invalid_encoding"),
        ("name/%FF", "invalid_encoding"),
        (&format!("name/{long}"), "name_too_long"),
        ("id/abc", "invalid_id"),
        (&format!("id/{}", "g".repeat(64)), "invalid_id"),
        (&format!("id/{foreign}"), "foreign_id"),
    ] {
        let path = format!("/do/RATE_LIMITER/{which}/check");
        assert_problem(ask(Method::POST, &path, "{}").await, 400, code).await;
    }
}

#[tokio::test]
async fn a_good_request_goes_through_to_the_cluster_that_is_not_there() {
    let namespace = Namespace::new("script-RateLimiter");
    let id = namespace.hex(namespace.object("a").id).to_uppercase();
    let body = r#"{"identifier":"a","config":{"requests":1,"windowMs":1000},"type":"t"}"#;
    for path in [
        "/check",
        "/do/RATE_LIMITER/name/wix%3A192.168.1.1/check",
        "/do/RATE_LIMITER/name/a%2Fb/check",
        &format!("/do/RATE_LIMITER/id/{id}/check"),
    ] {
        let response = ask(Method::POST, path, body).await;
        assert_eq!(header(&response, "retry-after"), "1");
        assert_problem(response, 503, "no_leader").await;
    }
}

#[tokio::test]
async fn a_backup_waits_for_no_leader_that_is_known_not_to_be_there() {
    assert_problem(ask(Method::GET, "/admin/backup", "").await, 503, "no_leader").await;
}

#[tokio::test]
async fn a_bad_parameter_of_an_export_is_400() {
    for path in ["/export?typ=a", "/do/AUDIT_LOGGER/name/2024-01-15/export?format=xml"] {
        assert_problem(ask(Method::GET, path, "").await, 400, "invalid_parameter").await;
    }
}

#[tokio::test]
async fn a_process_that_lives_says_so_though_it_is_not_ready() {
    let alive = ask(Method::GET, "/healthz", "").await;
    assert_eq!(header(&alive, "content-type"), "application/json");
    assert_eq!(text(alive).await, r#"{"status":"ok"}"#);
    let head = ask(Method::HEAD, "/healthz", "").await;
    assert_eq!((head.status().as_u16(), text(head).await.as_str()), (200, ""));
    assert_problem(ask(Method::GET, "/readyz", "").await, 503, "no_leader").await;
}
