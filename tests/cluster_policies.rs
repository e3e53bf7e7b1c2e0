//! Policies: limits that the cluster keeps, for checks that bring none.

mod cluster;

use reqwest::Method;
use serde_json::{Value, json};

use cluster::{Answer, Api, Setup, TestCluster, run};

const PATH: &str = "/admin/policies";

/// A check without a limit.
fn by_policy(identifier: &str, type_: &str) -> String {
    json!({"identifier": identifier, "type": type_}).to_string()
}

async fn send(api: &Api, method: Method, id: u64, path: &str, body: &str) -> Answer {
    Answer::of(api.request(method, id, path).body(body.to_owned())).await.expect("an answer")
}

async fn put(api: &Api, id: u64, type_: &str, requests: u64, window_ms: u64) {
    let body = json!({"requests": requests, "windowMs": window_ms}).to_string();
    let answer = send(api, Method::PUT, id, &format!("{PATH}/{type_}"), &body).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"success":true}"#));
}

/// A policy is in force on every node once it is acknowledged, for single checks, batches, objects and
/// under a key; refusals by it, which go past the log, see each change.
#[tokio::test]
async fn a_policy_is_in_force_everywhere_at_once() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    let detail = api.post(1, "/check", by_policy("u", "wix")).await.problem(400, "no_policy");
    assert!(detail.contains("\"wix\""), "{detail}");

    put(api, 1, "wix", 2, 600_000).await;
    let reset_ms = api.post(2, "/check", by_policy("u", "wix")).await.admitted(2, 1);
    assert_eq!(api.post(3, "/check", by_policy("u", "wix")).await.admitted(2, 0), reset_ms);
    for id in api.ids() {
        // The second of each goes by a read.
        for _ in 0..2 {
            assert_eq!(api.post(id, "/check", by_policy("u", "wix")).await.refused(2).0, reset_ms);
        }
    }
    // The request's own limit goes before it.
    let own = json!({"identifier": "u", "type": "wix",
        "config": {"requests": 9, "windowMs": 600_000}});
    api.post(1, "/check", own.to_string()).await.admitted(9, 6);

    for (requests, id) in [(5, 2), (3, 3), (6, 1)] {
        put(api, id, "wix", requests, 600_000).await;
        for other in api.ids() {
            let answer = api.post(other, "/check", by_policy("u", "wix")).await;
            assert_eq!(answer.header("x-ratelimit-limit"), requests.to_string());
        }
    }

    let batch = json!({"checks": [
        {"identifier": "b", "type": "wix"},
        {"identifier": "b", "type": "gamma"},
        {"identifier": "b", "type": "wix"},
        {"identifier": "b"},
    ]});
    let results = api.post(2, "/check/batch", batch.to_string()).await.json();
    let told: Vec<_> = results["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| {
            (result["status"].as_u64(), result["remaining"].as_u64(), result["code"].as_str())
        })
        .collect();
    let (bad, none) = (Some(400), None);
    assert_eq!(
        told,
        [
            (Some(200), Some(5), None),
            (bad, none, Some("no_policy")),
            (Some(200), Some(4), None),
            (bad, none, Some("config_required")),
        ]
    );
    assert!(results["results"][1]["detail"].as_str().expect("a detail").contains("\"gamma\""));

    // An object is the path's, and only the policy the body's.
    let path = "/do/RATE_LIMITER/name/anything/check";
    api.post(3, path, by_policy("o", "wix")).await.admitted(6, 5);
    api.post(3, path, by_policy("o", "gamma")).await.problem(400, "no_policy");

    let keyed = async |id: u64| {
        let request = api.request(Method::POST, id, "/check").header("idempotency-key", "k");
        Answer::of(request.body(by_policy("k", "gamma"))).await.expect("an answer")
    };
    keyed(1).await.problem(400, "no_policy");
    put(api, 2, "gamma", 1, 600_000).await;
    keyed(1).await.admitted(1, 0);
    let again = keyed(3).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    again.admitted(1, 0);

    let removed = send(api, Method::DELETE, 3, &format!("{PATH}/wix"), "").await;
    assert_eq!(removed.text(), r#"{"success":true,"existed":true}"#);
    for id in api.ids() {
        api.post(id, "/check", by_policy("u", "wix")).await.problem(400, "no_policy");
    }
    cluster.equal_state().await;
}

/// What operators send and get, over HTTP and by the command.
#[tokio::test]
async fn operators_keep_policies_by_http_and_by_the_command() {
    let cluster = TestCluster::start_as(Setup { nodes: 1, ..Setup::default() }).await;
    let api = cluster.api();
    let list = api.get(1, PATH).await;
    assert_eq!((list.status, list.text().as_str()), (200, r#"{"policies":[]}"#));
    put(api, 1, "a%2Fb%20%C3%A9", 0, 1).await;
    let shown = api.get(1, &format!("{PATH}/a%2Fb%20%C3%A9?binding=RATE_LIMITER")).await.json();
    let updated = shown["updatedTime"].as_u64().expect("a time");
    let expected = json!({"binding": "RATE_LIMITER", "type": "a/b é", "requests": 0,
        "windowMs": 1, "updatedTime": updated});
    assert_eq!(shown, expected);
    assert_eq!(api.get(1, PATH).await.json(), json!({"policies": [expected]}));

    let bad = [
        (Method::PUT, "/t", r#"{"requests":1}"#, 400, "invalid_field"),
        (Method::PUT, "/t", r#"{"requests":1,"windowMs":0}"#, 400, "invalid_field"),
        (Method::PUT, "/t", r#"{"requests":1,"windowMs":1,"burst":1}"#, 400, "unknown_member"),
        (Method::PUT, "/t", "1", 400, "malformed_json"),
        (Method::PUT, "/a%07", r#"{"requests":1,"windowMs":1}"#, 400, "invalid_field"),
        (Method::PUT, "/%zz", r#"{"requests":1,"windowMs":1}"#, 400, "invalid_encoding"),
        (Method::PUT, "/t?binding=NO", r#"{"requests":1,"windowMs":1}"#, 404, "not_found"),
        (
            Method::PUT,
            "/t?binding=AUDIT_LOGGER",
            r#"{"requests":1,"windowMs":1}"#,
            404,
            "not_found",
        ),
        (Method::GET, "/t", "", 404, "not_found"),
        (Method::GET, "/t?b=1", "", 400, "invalid_parameter"),
        (Method::GET, "?binding=NO", "", 404, "not_found"),
        (Method::POST, "/t", "", 405, "method_not_allowed"),
        (Method::GET, "/", "", 404, "not_found"),
    ];
    for (method, path, body, status, code) in bad {
        send(api, method, 1, &format!("{PATH}{path}"), body).await.problem(status, code);
    }
    assert_eq!(api.get(1, PATH).await.json(), json!({"policies": [expected]}));

    let command = async |arguments: &str| {
        let endpoint = ["--endpoint", api.url(1)];
        let words: Vec<&str> = ["policy"].into_iter().chain(arguments.split(' ')).collect();
        run(&[&words[..], &endpoint].concat()).output().await
    };
    let (code, out, err) = command("put wix --requests 100 --window 60s").await;
    let table = "BINDING       TYPE  REQUESTS  WINDOW\nRATE_LIMITER  wix   100       1m\n";
    assert_eq!((code, out.as_str()), (Some(0), table), "{err}");
    // A check from the command line may go by it, too.
    let check = ["check", "of-the-policy", "--type", "wix", "--endpoint", api.url(1)];
    let (code, out, err) = run(&check).output().await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("remaining    99\n"), "{out}");
    let (_, out, _) = command("get wix --json").await;
    let shown: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&shown["requests"], &shown["windowMs"]), (&json!(100), &json!(60_000)));
    let (_, out, _) = command("list --json --binding RATE_LIMITER").await;
    let listed: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(listed, api.get(1, PATH).await.json());
    let (code, out, _) = command("delete a/b --json").await;
    assert_eq!((code, out.trim()), (Some(0), r#"{"success":true,"existed":false}"#));
    let (_, out, _) = command("delete wix").await;
    assert_eq!(out, "the policy of \"wix\" is removed\n");
    let (code, _, err) = command("get wix").await;
    assert_eq!(code, Some(4));
    assert!(err.contains("no policy is stored"), "{err}");
}

/// A new cluster begins with the policies of its configuration, and what an operator has made of them
/// outlives restarts.
#[tokio::test]
async fn a_new_cluster_begins_with_the_policies_of_its_configuration() {
    let seeds = "policies = [{ type = \"wix\", requests = 2, window = \"60s\" }, \
                 { type = \"gamma\", requests = 1, window = \"60s\" }]";
    let mut cluster = TestCluster::prepare(Setup::with(seeds));
    for id in cluster.ids() {
        cluster.restart(id);
    }
    // No longer than that: a request waits for what is still on its way.
    cluster.wait_ready().await;
    for id in cluster.api().ids() {
        cluster.api().post(id, "/check", by_policy(&format!("u{id}"), "wix")).await.admitted(2, 1);
    }
    let removed = send(cluster.api(), Method::DELETE, 1, &format!("{PATH}/gamma"), "").await;
    assert_eq!(removed.status, 200);
    put(cluster.api(), 1, "wix", 7, 60_000).await;
    for id in cluster.ids() {
        cluster.terminate(id).await;
    }
    for id in cluster.ids() {
        cluster.restart(id);
    }
    cluster.wait_ready().await;
    let api = cluster.api();
    let listed = api.get(2, PATH).await.json();
    let types: Vec<_> = listed["policies"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|policy| (policy["type"].as_str().expect("a type"), policy["requests"].as_u64()))
        .collect();
    assert_eq!(types, [("wix", Some(7))]);
    api.post(3, "/check", by_policy("u1", "wix")).await.admitted(7, 5);
    cluster.equal_state().await;
}

/// A cluster that is held at an earlier version takes no policies, and says so at once.
#[tokio::test]
async fn policies_wait_for_the_version_that_has_them() {
    let cluster = TestCluster::start_as(Setup { nodes: 1, ..Setup::with("version_max = 4") }).await;
    let api = cluster.api();
    api.post(1, "/check", by_policy("u", "wix")).await.problem(503, "not_yet_supported");
    let body = r#"{"requests":1,"windowMs":1}"#;
    let answer = send(api, Method::PUT, 1, &format!("{PATH}/wix"), body).await;
    answer.problem(503, "not_yet_supported");
    api.check(1, "u", 1, 60_000).await.admitted(1, 0);
    assert_eq!(api.get(1, PATH).await.json(), json!({"policies": []}));
}
