//! `POST /query`: filters, order, limits and cursors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cluster::{Api, TestCluster};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_give_what_was_asked_for() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    nothing_is_an_answer(api).await;
    fill(api).await;
    let all = all_entries(api).await;
    filters_give_what_a_model_gives(api, &all).await;
    limits_and_orders(api, &all).await;
    cursors_belong_to_their_query(api).await;
    pages_are_whole_while_the_log_grows(api).await;
}

async fn nothing_is_an_answer(api: &Api) {
    for node in api.ids() {
        let answer = api.post(node, "/query", "{}").await;
        assert_eq!(answer.text(), r#"{"entries":[],"count":0}"#);
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

/// 240 entries in rounds, so that there are times to ask for: at once within a round, one round
/// after the other.
async fn fill(api: &Api) {
    for round in 0..8 {
        let mut entries = JoinSet::new();
        for number in 0..30 {
            let mut entry = json!({
                "type": format!("t{}", number % 3),
                "action": format!("a{}", number % 2),
                "details": {"round": round},
            });
            if number % 5 != 0 {
                entry["userId"] = json!(format!("u{}", number % 4));
            }
            if number % 7 != 0 {
                entry["ip"] = json!(format!("10.0.0.{}", round % 2));
            }
            let api = api.clone();
            entries.spawn(async move { api.log(number % 3 + 1, entry.to_string()).await });
        }
        entries.join_all().await;
    }
}

/// All entries, oldest first.
async fn all_entries(api: &Api) -> Vec<Value> {
    let log = api.query(1, &json!({"limit": 10_000, "order": "asc"})).await;
    assert!(log.get("cursor").is_none());
    assert_eq!(log["count"], 240);
    entries(&log).clone()
}

fn entries(log: &Value) -> &Vec<Value> {
    let entries = log["entries"].as_array().expect("entries");
    assert_eq!(log["count"], entries.len());
    entries
}

/// What a filter means.
fn matches(filter: &Value, entry: &Value) -> bool {
    let texts = ["type", "action", "userId", "ip"];
    texts.iter().all(|name| filter.get(name).is_none_or(|wanted| entry.get(name) == Some(wanted)))
        && filter.get("startTime").is_none_or(|at| at.as_u64() <= entry["timestamp"].as_u64())
        && filter.get("endTime").is_none_or(|at| at.as_u64() >= entry["timestamp"].as_u64())
}

async fn filters_give_what_a_model_gives(api: &Api, all: &[Value]) {
    let time = |index: usize| all[index]["timestamp"].as_u64().expect("a timestamp");
    let (first, middle, last) = (time(0), time(120), time(239));
    let mut found = 0;
    for (number, filter) in [
        json!({}),
        json!({"type": "t1"}),
        json!({"action": "a0"}),
        json!({"userId": "u2"}),
        json!({"ip": "10.0.0.1"}),
        json!({"type": "t0", "action": "a1", "userId": "u3", "ip": "10.0.0.0"}),
        json!({"type": "t2", "action": "a0", "startTime": middle}),
        json!({"type": "nothing"}),
        json!({"userId": ""}),
        json!({"startTime": first, "endTime": last}),
        json!({"startTime": middle}),
        json!({"startTime": middle + 1}),
        json!({"endTime": middle}),
        json!({"endTime": middle - 1}),
        json!({"startTime": middle, "endTime": middle}),
        json!({"startTime": middle, "endTime": middle, "type": "t0"}),
        json!({"startTime": 0, "endTime": first - 1}),
        json!({"startTime": last + 1, "endTime": 253_402_300_799_999_u64}),
        json!({"startTime": 0, "endTime": 253_402_300_799_999_u64, "ip": "10.0.0.0"}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut expected: Vec<_> = all.iter().filter(|entry| matches(&filter, entry)).collect();
        found += expected.len();
        let node = number as u64 % 3 + 1;
        for order in ["asc", "desc"] {
            let mut query = filter.clone();
            query["limit"] = json!(10_000);
            query["order"] = json!(order);
            let log = api.query(node, &query).await;
            assert!(entries(&log).iter().eq(expected.iter().copied()), "{query}");
            assert!(log.get("cursor").is_none(), "{query}");
            // By pages it is the same.
            query["limit"] = json!(7);
            assert!(paged(api, &query).await.iter().eq(expected.iter().copied()), "{query}");
            expected.reverse();
        }
    }
    assert!(found > 1000, "the filters are too narrow to show anything: {found}");
    // A member that is null is as good as absent.
    let log = api.query(2, &json!({"type": null, "startTime": null, "cursor": null})).await;
    assert_eq!(log["count"], 100);
}

/// All pages of a query, each asked of another node.
async fn paged(api: &Api, query: &Value) -> Vec<Value> {
    let (mut query, mut all, mut node) = (query.clone(), Vec::new(), 0);
    loop {
        node = node % 3 + 1;
        let page = api.query(node, &query).await;
        let limit = query["limit"].as_u64().expect("a limit");
        assert!(page["count"].as_u64() <= Some(limit));
        all.extend(entries(&page).iter().cloned());
        match page.get("cursor") {
            Some(cursor) => query["cursor"] = cursor.clone(),
            None => return all,
        }
    }
}

async fn limits_and_orders(api: &Api, all: &[Value]) {
    for node in api.ids() {
        // Newest first and 100 of them, unless it is said otherwise.
        let log = api.query(node, &json!({})).await;
        assert!(entries(&log).iter().eq(all.iter().rev().take(100)));
        assert!(log["cursor"].is_string());
        let log = api.query(node, &json!({"limit": 1, "order": "asc"})).await;
        assert!(entries(&log).iter().eq(&all[..1]));
        assert!(log["cursor"].is_string());
        let log = api.query(node, &json!({"limit": 239})).await;
        assert!(entries(&log).iter().eq(all[1..].iter().rev()));
        assert!(log["cursor"].is_string());
        for limit in [240, 241, 10_000] {
            let log = api.query(node, &json!({"limit": limit})).await;
            assert!(entries(&log).iter().eq(all.iter().rev()));
            assert!(log.get("cursor").is_none(), "{limit}");
        }
        let log = api.query(node, &json!({"limit": 0})).await;
        assert_eq!(entries(&log).len(), 0);
    }
}

async fn cursors_belong_to_their_query(api: &Api) {
    let query = json!({"type": "t1", "limit": 5});
    let page = api.query(1, &query).await;
    let cursor = page["cursor"].as_str().expect("a cursor").to_owned();
    for (node, other) in api.ids().cycle().zip([
        json!({"type": "t2"}),
        json!({}),
        json!({"type": "t1", "action": "a1"}),
        json!({"type": "t1", "startTime": 0}),
        json!({"type": "t1", "endTime": 253_402_300_799_999_u64}),
        json!({"type": "t1", "order": "asc"}),
    ]) {
        let mut other = other;
        other["cursor"] = json!(cursor);
        api.post(node, "/query", other.to_string()).await.problem(400, "bad_cursor");
    }
    let same = json!({"type": "t1", "cursor": cursor}).to_string();
    let shard = "/do/AUDIT_LOGGER/name/2024-01-15/query";
    api.post(1, shard, same.clone()).await.problem(400, "bad_cursor");
    // Only `limit` may differ, and an explicit default is no difference.
    let rest = json!({"type": "t1", "limit": 3, "order": "desc", "cursor": cursor});
    let next = api.query(2, &rest).await;
    let both = api.query(3, &json!({"type": "t1", "limit": 8})).await;
    let pages = entries(&page).iter().chain(entries(&next));
    assert!(entries(&both).iter().eq(pages));
    // A cursor that was changed on its way is refused.
    for position in [0, cursor.len() / 2, cursor.len() - 1] {
        let mut changed = cursor.clone();
        let digit = if &changed[position..=position] == "0" { "1" } else { "0" };
        changed.replace_range(position..=position, digit);
        let body = json!({"type": "t1", "cursor": changed}).to_string();
        api.post(1, "/query", body).await.problem(400, "bad_cursor");
    }
}

async fn pages_are_whole_while_the_log_grows(api: &Api) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut growth = JoinSet::new();
    for worker in 0..6u64 {
        let (api, stop) = (api.clone(), stop.clone());
        growth.spawn(async move {
            let mut grown = 0;
            while !stop.load(Ordering::Relaxed) {
                api.log(worker % 3 + 1, r#"{"type":"grow","action":"a"}"#).await;
                grown += 1;
            }
            grown
        });
    }
    for _ in 0..3 {
        // Newest first: exactly what was there when the first page was read, each entry once.
        let newest = api.query(1, &json!({"limit": 1})).await["entries"][0].clone();
        let pages = paged(api, &json!({"limit": 40})).await;
        let ids: Vec<_> = pages.iter().map(|entry| entry["id"].as_str()).collect();
        assert!(ids.is_sorted_by(|a, b| a > b), "an entry twice, or out of order");
        assert!(ids[0] >= newest["id"].as_str());
        let upto = json!({
            "endTime": pages[0]["timestamp"], "limit": 10_000, "order": "asc",
        });
        let log = api.query(2, &upto).await;
        // Entries of the very millisecond may have come since.
        let known = entries(&log).iter().filter(|entry| entry["id"].as_str() <= ids[0]);
        assert!(known.eq(pages.iter().rev()));
    }
    // Oldest first, page by page until it is known that nobody logs any more: all there is.
    let mut query = json!({"limit": 20, "order": "asc"});
    let (mut pages, mut turn, mut grown) = (Vec::new(), 0, None);
    loop {
        turn += 1;
        if turn == 10 {
            stop.store(true, Ordering::Relaxed);
            grown = Some(std::mem::take(&mut growth).join_all().await.iter().sum::<usize>());
        }
        let page = api.query(turn % 3 + 1, &query).await;
        pages.extend(entries(&page).iter().cloned());
        match page.get("cursor") {
            Some(cursor) => query["cursor"] = cursor.clone(),
            None => break,
        }
    }
    let grown = grown.expect("the log has more than ten pages");
    assert_eq!(pages.len(), 240 + grown);
    let ids = pages.iter().map(|entry| entry["id"].as_str().expect("an id"));
    assert!(ids.is_sorted_by(|a, b| a < b));
}
