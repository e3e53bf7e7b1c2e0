//! `check` and `reset`.

use serde_json::Value;

use super::cluster::TestCluster;
use super::{asking, stubs, tallykeep, told};

pub async fn a_check_is_counted_once_and_its_exit_code_is_the_verdict(cluster: &TestCluster) {
    let check = ["check", "user-1", "--type", "wix", "--requests", "2", "--window", "1h"];
    assert!(told(cluster, &check).await.contains("\nremaining    1 of 2\n"));
    let json = [&check[..], &["--json"]].concat();
    let (code, answer, complaint) = tallykeep(cluster, &[2], &json).await;
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let reset_ms = serde_json::from_str::<Value>(&answer).expect("an answer")["resetTime"].clone();
    assert_eq!(answer, format!("{{\"allowed\":true,\"remaining\":0,\"resetTime\":{reset_ms}}}\n"));
    let (code, refused, complaint) = tallykeep(cluster, &[1, 2, 3], &check).await;
    assert_eq!((code, complaint.as_str()), (Some(1), ""));
    assert!(refused.starts_with("allowed      no\nremaining    0 of 2\n"), "{refused}");
    assert!(refused.contains("\nretry after  "), "{refused}");
    let (code, answer, _) = tallykeep(cluster, &[3], &json).await;
    assert_eq!(code, Some(1));
    assert!(answer.starts_with("{\"allowed\":false,"), "{answer}");

    let reset = ["reset", "user-1", "--type", "wix"];
    assert_eq!(told(cluster, &reset).await, "reset\n");
    let reset = [&reset[..], &["--json"]].concat();
    assert_eq!(told(cluster, &reset).await, "{\"success\":true}\n");
    let key = [&json[..], &["--idempotency-key", "it's \"one\""]].concat();
    let first = told(cluster, &key).await;
    assert!(first.contains("\"remaining\":1,"), "{first}");
    assert_eq!(told(cluster, &key).await, first, "it was counted before");
    assert!(told(cluster, &json).await.contains("\"remaining\":0,"));
}

pub async fn a_limiter_can_be_named(cluster: &TestCluster) {
    let limit = ["--requests", "5", "--window", "1h", "--json"];
    let at = ["--binding", "RATE_LIMITER", "--object", "a/b %2F?é"];
    let check = [&["check", "u"], &limit[..], &at].concat();
    assert!(told(cluster, &check).await.contains("\"remaining\":4,"));
    // The object of that name, and no other.
    let path = "/do/RATE_LIMITER/name/a%2Fb%20%252F%3F%C3%A9/check";
    let body = r#"{"identifier":"u","config":{"requests":5,"windowMs":3600000}}"#;
    cluster.api().post(2, path, body).await.admitted(5, 3);
    let reset = [&["reset", "u"], &at[..]].concat();
    told(cluster, &reset).await;
    assert!(told(cluster, &check).await.contains("\"remaining\":4,"));
    let plain = [&["check", "u"], &limit[..]].concat();
    assert!(told(cluster, &plain).await.contains("\"remaining\":4,"), "of another object");
}

/// The first node carries the check out and its answer is lost.
pub async fn a_retry_at_another_node_counts_once(cluster: &TestCluster) {
    let lossy = stubs::lossy(cluster.api().url(1)).await;
    let check = ["check", "lost", "--requests", "5", "--window", "1h", "--json"];
    let urls = [lossy.url(), cluster.api().url(2)];
    let (code, answer, complaint) = asking(&urls, &check).await;
    assert_eq!(code, Some(0), "{complaint}");
    assert_eq!(lossy.lost(), 1);
    assert!(answer.contains("\"remaining\":4,"), "{answer}");
    assert!(told(cluster, &check).await.contains("\"remaining\":3,"), "counted once");

    // Where there is no other node, the key to learn it by is told.
    let check = [&check[..], &["--timeout", "1s"]].concat();
    let (code, answer, complaint) = asking(&[lossy.url()], &check).await;
    assert_eq!((code, answer.as_str()), (Some(3), ""));
    let behind = complaint.split_once("--idempotency-key ").expect("a key").1;
    let key = behind.split_once(' ').expect("a key").0;
    let again = [&check[..], &["--idempotency-key", key]].concat();
    let (code, _, complaint) = asking(&urls[1..], &again).await;
    // It was kept under another lifetime of the key, but under the same key.
    assert_eq!(code, Some(0), "{complaint}");
    assert!(told(cluster, &check).await.contains("\"remaining\":1,"), "counted once");
}
