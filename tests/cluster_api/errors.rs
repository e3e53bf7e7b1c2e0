//! What is refused: every bound just inside and just outside, on every node, and nothing changes.

use std::time::Duration;

use reqwest::{Body, Method};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cluster::{Answer, Api, TestCluster};

/// SPEC section 2: identifiers and names.
const NAME_BYTES_MAX: usize = 512;
/// SPEC section 2: a body.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// SPEC section 2: details.
const DETAILS_BYTES_MAX: usize = 256 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_told_why_and_changes_nothing() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    // An entry to find alone, and a limiter, before and after.
    let id = api.log(1, r#"{"type":"only","action":"one"}"#).await;
    api.check(1, "u", 2, 600_000).await.admitted(2, 1);

    for node in api.ids() {
        no_such_route(api, node).await;
        no_such_method(api, node).await;
        no_json(api, node).await;
        no_check(api, node).await;
        no_reset(api, node).await;
        no_entry(api, node).await;
        no_query(api, node).await;
        no_export(api, node).await;
        too_large(api, node).await;
    }
    just_inside(api).await;

    let log = api.query(2, &json!({"type": "only"})).await;
    assert_eq!((&log["count"], &log["entries"][0]["id"]), (&json!(1), &json!(id)));
    let log = api.query(3, &json!({"type": "t"})).await;
    assert_eq!(log["count"], 0, "a refused entry is not there: {log}");
    api.check(3, "u", 2, 600_000).await.admitted(2, 0);
    cluster.equal_state().await;
}

/// Asserts that `POST path` with `body` is a problem of `status` and `code` whose detail has `part`.
async fn refuses(api: &Api, node: u64, path: &str, body: &str, code: &str, part: &str) {
    let answer = api.post(node, path, body.to_owned()).await;
    let shown: String = body.chars().take(200).collect();
    assert_eq!(answer.status, 400, "{path} {shown}: {}", answer.text());
    let detail = answer.problem(400, code);
    assert!(detail.contains(part), "{path} {shown}: {detail}");
}

async fn no_such_route(api: &Api, node: u64) {
    for path in ["/", "/nothing", "/check/", "/Check", "/do/RATE_LIMITER/check", "/admin", "/do"] {
        api.get(node, path).await.problem(404, "not_found");
        api.post(node, path, "{}").await.problem(404, "not_found");
    }
}

async fn no_such_method(api: &Api, node: u64) {
    let methods = [Method::GET, Method::PUT, Method::DELETE, Method::PATCH, Method::POST];
    let routes = [
        ("/check", "POST"),
        ("/reset", "POST"),
        ("/log", "POST"),
        ("/query", "POST"),
        ("/do/RATE_LIMITER/name/a/check", "POST"),
        ("/do/RATE_LIMITER/name/a/reset", "POST"),
        ("/do/AUDIT_LOGGER/name/a/log", "POST"),
        ("/do/AUDIT_LOGGER/name/a/query", "POST"),
        ("/do/AUDIT_LOGGER/name/a/export", "GET"),
        ("/export", "GET"),
        ("/healthz", "GET"),
        ("/readyz", "GET"),
        ("/admin/cluster", "GET"),
    ];
    for (path, taken) in routes {
        for method in methods.iter().filter(|method| method.as_str() != taken) {
            let answer = Answer::of(api.request(method.clone(), node, path)).await;
            let answer = answer.expect("an answer");
            answer.problem(405, "method_not_allowed");
            let allow: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
            assert!(allow.contains(&taken), "{method} {path}: {allow:?}");
            assert!(!allow.contains(&method.as_str()), "{method} {path}: {allow:?}");
        }
    }
}

async fn no_json(api: &Api, node: u64) {
    let bodies =
        ["", " ", "{", "null", "[]", "7", "\"x\"", "{}}", "{\"a\":}", "{'a':1}", "\u{feff}{}"];
    for path in ["/check", "/reset", "/log", "/query", "/do/AUDIT_LOGGER/name/a/log"] {
        for body in bodies {
            refuses(api, node, path, body, "malformed_json", "").await;
        }
    }
    let answer = api.post(node, "/log", b"{\"type\":\"\xff\",\"action\":\"a\"}".to_vec()).await;
    answer.problem(400, "malformed_json");
}

async fn no_check(api: &Api, node: u64) {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let wide = "é".repeat(NAME_BYTES_MAX / 2) + "x";
    let config = r#""config":{"requests":1,"windowMs":1000}"#;
    for identifier in [
        "null",
        "7",
        "\"\"",
        "[\"u\"]",
        r#""a\u0000b""#,
        r#""a\nb""#,
        &format!("\"{long}\""),
        &format!("\"{wide}\""),
    ] {
        let body = format!(r#"{{"identifier":{identifier},{config}}}"#);
        refuses(api, node, "/check", &body, "invalid_field", "identifier").await;
    }
    refuses(api, node, "/check", &format!("{{{config}}}"), "invalid_field", "identifier").await;
    for kind in ["7", "\"\"", "{}", &format!("\"{long}\"")] {
        let body = format!(r#"{{"identifier":"u","type":{kind},{config}}}"#);
        refuses(api, node, "/check", &body, "invalid_field", "type").await;
    }
    for (body, code, part) in [
        (r#"{"identifier":"u"}"#, "config_required", "config"),
        (r#"{"identifier":"u","config":null}"#, "config_required", "config"),
        (r#"{"identifier":"u","config":[]}"#, "invalid_field", "config"),
        (r#"{"identifier":"u","config":{"windowMs":1}}"#, "invalid_field", "config.requests"),
        (r#"{"identifier":"u","config":{"requests":1}}"#, "invalid_field", "config.windowMs"),
        (
            r#"{"identifier":"u","identifier":"u","config":{"requests":1,"windowMs":1}}"#,
            "duplicate_key",
            "identifier",
        ),
        (
            r#"{"identifier":"u","config":{"requests":1,"windowMs":1,"windowMs":1}}"#,
            "duplicate_key",
            "windowMs",
        ),
    ] {
        refuses(api, node, "/check", body, code, part).await;
    }
    for wrong in ["-1", "1.5", "1.0", "1e2", "\"2\"", "true", "null", "9007199254740992", "1e400"] {
        let body =
            format!(r#"{{"identifier":"u","config":{{"requests":{wrong},"windowMs":1000}}}}"#);
        // 1e400 is beyond what a JSON reader holds.
        let code = if wrong == "1e400" { "malformed_json" } else { "invalid_field" };
        let part = if wrong == "1e400" { "" } else { "from 0 to 9007199254740991" };
        refuses(api, node, "/check", &body, code, part).await;
    }
    for wrong in ["0", "-1", "1.5", "\"1000\"", "null", "34560000001", "18446744073709551616"] {
        let body = format!(r#"{{"identifier":"u","config":{{"requests":1,"windowMs":{wrong}}}}}"#);
        let part = "config.windowMs";
        refuses(api, node, "/check", &body, "invalid_field", part).await;
        refuses(api, node, "/check", &body, "invalid_field", "from 1 to 34560000000").await;
    }
}

async fn no_reset(api: &Api, node: u64) {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for (body, code, part) in [
        ("{}", "invalid_field", "identifier"),
        (r#"{"identifier":7}"#, "invalid_field", "identifier"),
        (&format!(r#"{{"identifier":"{long}"}}"#), "invalid_field", "512"),
        (r#"{"identifier":"u","type":""}"#, "invalid_field", "type"),
        (r#"{"identifier":"u","identifier":"v"}"#, "duplicate_key", "identifier"),
    ] {
        refuses(api, node, "/reset", body, code, part).await;
    }
}

async fn no_entry(api: &Api, node: u64) {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let with = |rest: &str| format!(r#"{{"type":"t","action":"a",{rest}}}"#);
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (body, code, part) in [
        ("{}".to_owned(), "invalid_field", "type"),
        (r#"{"type":"t"}"#.into(), "invalid_field", "action"),
        (r#"{"type":"","action":"a"}"#.into(), "invalid_field", "type"),
        (r#"{"type":"t","action":""}"#.into(), "invalid_field", "action"),
        (r#"{"type":null,"action":"a"}"#.into(), "invalid_field", "type"),
        (r#"{"type":7,"action":"a"}"#.into(), "invalid_field", "type"),
        (format!(r#"{{"type":"{long}","action":"a"}}"#), "invalid_field", "512"),
        (format!(r#"{{"type":"t","action":"{long}"}}"#), "invalid_field", "512"),
        (with(&format!(r#""userId":"{long}""#)), "invalid_field", "userId"),
        (with(&format!(r#""ip":"{long}""#)), "invalid_field", "ip"),
        (with(r#""userId":7"#), "invalid_field", "userId"),
        (with(r#""ip":[]"#), "invalid_field", "ip"),
        (with(r#""details":[]"#), "invalid_field", "details"),
        (with(r#""details":"{}""#), "invalid_field", "details"),
        (with(r#""details":7"#), "invalid_field", "details"),
        (with(r#""type":"t""#), "duplicate_key", "type"),
        (with(r#""more":1,"more":1"#), "duplicate_key", "more"),
        (with(r#""details":{"a":{"b":1,"b":2}}"#), "duplicate_key", "b"),
        (with(r#""details":{"a":1,"\u0061":2}"#), "duplicate_key", "a"),
        (with(r#""details":{"a":"\ud800"}"#), "lone_surrogate", "details"),
        (with(r#""details":{"\udfff":1}"#), "lone_surrogate", "details"),
        (with(r#""userId":"\ud83d""#), "lone_surrogate", "userId"),
        (with(r#""userId":"a\u0007""#), "control_character", "userId"),
        (with(r#""ip":"a\nb""#), "control_character", "ip"),
        (with(r#""more":{"a":"\t"}"#), "control_character", "more"),
        (r#"{"type":"t\r","action":"a"}"#.into(), "control_character", "type"),
        (with("\"userId\":\"\u{7f}\""), "control_character", "userId"),
        (with(r#""details":{"a":NaN}"#), "malformed_json", ""),
        (with(r#""details":{"a":01}"#), "malformed_json", ""),
        (with("\"details\":{\"a\":\"\n\"}"), "malformed_json", ""),
        // The entry, details and 63 arrays.
        (with(&format!(r#""details":{{"a":{}}}"#, arrays(63))), "too_deep", "64"),
        (with(&format!(r#""more":{}"#, arrays(64))), "too_deep", "64"),
    ] {
        refuses(api, node, "/log", &body, code, part).await;
    }
}

async fn no_query(api: &Api, node: u64) {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for (body, code, part) in [
        (r#"{"typ":"t"}"#, "unknown_member", "typ"),
        (r#"{"details":{}}"#, "unknown_member", "details"),
        (r#"{"startTime":2,"endTime":1}"#, "invalid_range", "startTime"),
        (r#"{"startTime":-1}"#, "invalid_field", "startTime"),
        (r#"{"startTime":1.5}"#, "invalid_field", "startTime"),
        (r#"{"startTime":"2024-01-15"}"#, "invalid_field", "startTime"),
        (r#"{"endTime":253402300800000}"#, "invalid_field", "253402300799999"),
        (r#"{"limit":10001}"#, "invalid_field", "from 0 to 10000"),
        (r#"{"limit":-1}"#, "invalid_field", "limit"),
        (r#"{"limit":1.0}"#, "invalid_field", "limit"),
        (r#"{"limit":"1"}"#, "invalid_field", "limit"),
        (r#"{"order":"newest"}"#, "invalid_field", "order"),
        (r#"{"type":7}"#, "invalid_field", "type"),
        (&format!(r#"{{"ip":"{long}"}}"#), "invalid_field", "ip"),
        (r#"{"type":"t","type":"t"}"#, "duplicate_key", "type"),
        (r#"{"cursor":""}"#, "bad_cursor", "cursor"),
        (r#"{"cursor":"00"}"#, "bad_cursor", "cursor"),
        (r#"{"cursor":"nonsense"}"#, "bad_cursor", "cursor"),
        (r#"{"cursor":7}"#, "invalid_field", "cursor"),
    ] {
        refuses(api, node, "/query", body, code, part).await;
        refuses(api, node, "/do/AUDIT_LOGGER/name/2024-01-15/query", body, code, part).await;
    }
}

async fn no_export(api: &Api, node: u64) {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for (query, part) in [
        ("typ=a", "typ"),
        ("limit=1", "limit"),
        ("format=xml", "format"),
        ("format=", "format"),
        ("format=json&format=csv", "format"),
        ("order=up", "order"),
        ("csvEscape=all", "csvEscape"),
        ("startTime=", "startTime"),
        ("startTime=-1", "startTime"),
        ("endTime=1.5", "endTime"),
        ("endTime=253402300800000", "endTime"),
        ("startTime=2&endTime=1", "startTime"),
        ("type=%zz", "type"),
        (&format!("type={long}"), "type"),
    ] {
        for path in ["/export", "/do/AUDIT_LOGGER/name/2024-01-15/export"] {
            let answer = api.get(node, &format!("{path}?{query}")).await;
            assert_eq!(answer.status, 400, "{query}");
            let code = answer.json()["code"].as_str().expect("a code").to_owned();
            let detail = answer.problem(400, &code);
            assert!(detail.contains(part), "{query}: {detail}");
        }
    }
}

async fn too_large(api: &Api, node: u64) {
    let padded = |body: &str| body.to_owned() + &" ".repeat(BODY_BYTES_MAX + 1 - body.len());
    for path in ["/check", "/reset", "/log", "/query", "/do/RATE_LIMITER/name/a/check"] {
        let answer = api.post(node, path, padded(r#"{"type":"t","action":"a"}"#)).await;
        let detail = answer.problem(413, "body_too_large");
        assert!(detail.contains("1048576"), "{detail}");
    }
    // In chunks, without a length in front, and the answer comes after all of it was taken.
    let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024]));
    let chunked = Body::wrap_stream(futures_util::stream::iter(chunks));
    let request = api.request(Method::POST, node, "/log").body(chunked);
    Answer::of(request).await.expect("an answer").problem(413, "body_too_large");
    no_leave_to_send(api, node).await;

    let entry = |text: usize| {
        let text = "x".repeat(text);
        format!(r#"{{"type":"t","action":"a","details":{{"a":"{text}"}}}}"#)
    };
    let most = DETAILS_BYTES_MAX - r#"{"a":""}"#.len();
    let answer = api.post(node, "/log", entry(most + 1)).await;
    let detail = answer.problem(413, "details_too_large");
    assert!(detail.contains("262144"), "{detail}");
}

/// A client that asks for leave to send too much does not get it. It may have begun to send, so the
/// connection cannot be used again: the answer says so, and it ends.
async fn no_leave_to_send(api: &Api, node: u64) {
    let address = api.url(node).trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST /log HTTP/1.1\r\nhost: {address}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        BODY_BYTES_MAX + 1
    );
    stream.write_all(head.as_bytes()).await.expect("the head is taken");
    let mut answer = String::new();
    let read = timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#""code":"body_too_large""#), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    read.expect("the connection ends").expect("and cleanly");
}

/// The largest of everything is taken, and comes back whole.
async fn just_inside(api: &Api) {
    let name = "é".repeat(NAME_BYTES_MAX / 2);
    for (node, remaining) in api.ids().zip((0..3).rev()) {
        let config = json!({"requests": 3, "windowMs": 600_000});
        let body = json!({"identifier": name, "type": name, "config": config});
        api.post(node, "/check", body.to_string()).await.admitted(3, remaining);
    }
    let body = r#"{"identifier":"padded","config":{"requests":1,"windowMs":1000}}"#;
    let body = body.to_owned() + &" ".repeat(BODY_BYTES_MAX - body.len());
    api.post(2, "/check", body).await.admitted(1, 0);

    let text = "x".repeat(DETAILS_BYTES_MAX - r#"{"a":""}"#.len());
    let deep = format!("{}{}", "[".repeat(62), "]".repeat(62));
    for (node, details) in
        api.ids().zip([format!(r#"{{"a":"{text}"}}"#), format!(r#"{{"a":{deep}}}"#), "{}".into()])
    {
        let body = format!(
            r#"{{"type":"{name}","action":"{name}","userId":"{name}","ip":"{name}","details":{details}}}"#
        );
        let id = api.log(node, body).await;
        let query = json!({"type": name, "userId": name, "limit": 1}).to_string();
        let answer = api.post(node % 3 + 1, "/query", query).await.text();
        assert!(answer.contains(&id) && answer.contains(&details), "{node}");
    }
    // An entry that holds much outside of its details, up to the size of a body.
    let start = r#"{"type":"large","action":"a","more":""#;
    let more = "x".repeat(BODY_BYTES_MAX - start.len() - 2);
    let id = api.log(1, format!("{start}{more}\"}}")).await;
    let answer = api.post(3, "/query", r#"{"type":"large"}"#).await.text();
    assert!(answer.contains(&id) && answer.contains(&more));
}
