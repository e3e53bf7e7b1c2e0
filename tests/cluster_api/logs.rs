//! `POST /log`: entries are kept byte for byte, in the order of their ids.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::cluster::{Api, TestCluster, now_ms};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_kept_whole_and_unaltered() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    an_entry_is_answered_and_found_as_documented(api).await;
    details_are_kept_to_the_byte(api).await;
    a_clients_own_members_are_kept(api).await;
    ids_sort_in_the_order_of_the_log(api).await;
    cluster.equal_state().await;
}

/// The body of `/query` for the entries of a type, as text.
async fn found(api: &Api, node: u64, kind: &str) -> String {
    let answer = api.post(node, "/query", json!({"type": kind}).to_string()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.text()
}

async fn an_entry_is_answered_and_found_as_documented(api: &Api) {
    let body = r#"{
        "type": "wix_request", "action": "api_call", "userId": "user-123", "ip": "1.2.3.4",
        "details": {"path": "/api/wix/content", "method": "POST", "status": 200}
    }"#;
    let before_ms = now_ms();
    let answer = api.post(2, "/log", body).await;
    let after_ms = now_ms();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.text(), format!(r#"{{"success":true,"id":"{id}"}}"#));
    let uuid: Uuid = id.parse().expect("a UUID");
    assert_eq!(uuid.get_version_num(), 7);
    assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
    assert_eq!(id, uuid.hyphenated().to_string(), "lower case, with hyphens");

    for node in api.ids() {
        let text = found(api, node, "wix_request").await;
        let log: Value = serde_json::from_str(&text).expect("JSON");
        let at_ms = log["entries"][0]["timestamp"].as_u64().expect("a timestamp");
        // The cluster's clock and this one are of one machine; a stamp may lag behind a little.
        assert!((before_ms.saturating_sub(1000)..=after_ms + 1000).contains(&at_ms), "{at_ms}");
        let (seconds, nanos) = uuid.get_timestamp().expect("a UUIDv7").to_unix();
        assert_eq!(seconds * 1000 + u64::from(nanos / 1_000_000), at_ms, "the id's own time");
        let entry = format!(
            r#"{{"id":"{id}","timestamp":{at_ms},"type":"wix_request","action":"api_call","userId":"user-123","ip":"1.2.3.4","details":{{"path":"/api/wix/content","method":"POST","status":200}}}}"#
        );
        assert_eq!(text, format!(r#"{{"entries":[{entry}],"count":1}}"#));
    }
}

async fn details_are_kept_to_the_byte(api: &Api) {
    for (number, details) in [
        "{}",
        r#"{"z":1,"a":2,"m":{"y":[],"b":{}}}"#,
        r#"{"n":123456789012345678901234567890,"big":9007199254740993,"e":1e999,"f":1.0,"g":-0,"h":1E+2,"i":0.10}"#,
        r#"{"plain":"é 😀 中","escaped":"\u00e9 \ud83d\ude00 \/ \" \\ \n \u0007 \u0000"}"#,
        r#"{"":null,"t":true,"f":false,"é":[1,[2,[3]]],"a b":"  two  spaces  "}"#,
        "{\"separators\":\"\u{2028}\u{2029}\",\"delete\":\"\u{7f}\"}",
        r#"{"id":"x","timestamp":"y","type":1,"__proto__":{"constructor":2}}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let kind = format!("details-{number}");
        let node = number as u64 % 3 + 1;
        let body = format!(r#"{{"type":"{kind}","action":"a","details":{details}}}"#);
        api.log(node, body).await;
        for node in api.ids() {
            let text = found(api, node, &kind).await;
            let expected = format!(r#""action":"a","details":{details}}}],"count":1}}"#);
            assert!(text.ends_with(&expected), "{text}");
        }
    }
    // White space between lexemes is not part of them; an entry is one line.
    let body = " {\r\n \"details\" : { \"b\" : [ 1 ,\t2 ] ,\n \"a\" : \" x \" } , \"action\" : \"a\" , \
                \"type\" : \"spaced\" } ";
    api.log(3, body).await;
    let text = found(api, 1, "spaced").await;
    assert!(text.ends_with(r#""details":{"b":[1,2],"a":" x "}}],"count":1}"#), "{text}");
    // Left out, there are none; and what an entry does not have is left out of it.
    api.log(1, r#"{"type":"bare","action":"a","userId":null,"ip":null}"#).await;
    let text = found(api, 2, "bare").await;
    assert!(text.ends_with(r#","type":"bare","action":"a","details":{}}],"count":1}"#), "{text}");
}

async fn a_clients_own_members_are_kept(api: &Api) {
    let body = r#"{"severity":"high","id":"mine","type":"own","tags":["a",{"b":1.0}],"action":"a",
        "timestamp":1634567890000.5,"traceId":12345678901234567890,"none":null}"#;
    let id = api.log(1, body).await;
    assert_ne!(id, "mine");
    for node in api.ids() {
        let text = found(api, node, "own").await;
        assert!(text.starts_with(&format!(r#"{{"entries":[{{"id":"{id}","timestamp":"#)), "{text}");
        let expected = r#","type":"own","action":"a","details":{},"clientTime":1634567890000.5,"clientId":"mine","severity":"high","tags":["a",{"b":1.0}],"traceId":12345678901234567890,"none":null}],"count":1}"#;
        assert!(text.ends_with(expected), "{text}");
        let at_ms = serde_json::from_str::<Value>(&text).expect("JSON")["entries"][0]["timestamp"]
            .as_u64()
            .expect("a timestamp");
        assert!(at_ms > 1_700_000_000_000, "the server's own: {at_ms}");
    }
    // The same entry twice is two entries: an id of the client's is a word like any other.
    let again = api.log(2, body).await;
    assert_ne!(id, again);
}

async fn ids_sort_in_the_order_of_the_log(api: &Api) {
    // One after the other through all nodes, and many at once.
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(api.log(number % 3 + 1, r#"{"type":"order","action":"a"}"#).await);
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let mut many = JoinSet::new();
    for number in 0..300 {
        let api = api.clone();
        let body = r#"{"type":"order","action":"a"}"#;
        many.spawn(async move { api.log(number % 3 + 1, body).await });
    }
    let mut later = many.join_all().await;
    later.sort_unstable();
    assert!(ids.last() < later.first());
    ids.extend(later);

    let log = api.query(2, &json!({"type": "order", "order": "asc", "limit": 1000})).await;
    let entries = log["entries"].as_array().expect("entries");
    let logged: Vec<_> = entries.iter().map(|entry| entry["id"].as_str().expect("an id")).collect();
    assert_eq!(logged, ids);
    let times = entries.iter().map(|entry| entry["timestamp"].as_u64().expect("a timestamp"));
    assert!(times.is_sorted());
}
