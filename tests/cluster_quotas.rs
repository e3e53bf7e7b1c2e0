//! Quotas: an object, and a binding, take what they may and no more; what is there stays and goes on; room is
//! made by resets, by windows that end, by the retention, and by a larger quota.

mod cluster;

use reqwest::Method;
use serde_json::{Value, json};

use cluster::{Answer, Api, Setup, TestCluster, check_body, run, wait_until};

const LONG_MS: u64 = 3_600_000;
/// The smallest quota that there may be.
const BYTES_MAX: u64 = 65_536;
/// What a key takes beside its identifier or its entry.
const KEY_BYTES: u64 = 64;
const SHARED: &str = "/do/RATE_LIMITER/name/shared";

fn quotas(limiters: &str, audit: &str) -> String {
    format!(
        "quotas = [{{ binding = \"RATE_LIMITER\", {limiters} }}, \
         {{ binding = \"AUDIT_LOGGER\", {audit} }}]"
    )
}

fn both() -> String {
    let bytes = format!("object_bytes_max = {BYTES_MAX}");
    quotas(&format!("{bytes}, objects_max = 20"), &bytes)
}

async fn get(api: &Api, id: u64, path: &str) -> Value {
    let answer = api.get(id, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// A sample of a node's metrics.
async fn metric(api: &Api, id: u64, name: &str) -> Option<f64> {
    let text = api.get(id, "/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

/// How often a node has told of something in its log.
fn told(cluster: &TestCluster, id: u64, what: &str) -> usize {
    cluster.log(id).matches(what).count()
}

/// An identifier of 500 bytes.
fn identifier(number: u64) -> String {
    format!("{number:0500}")
}

async fn keyed(api: &Api, id: u64, key: &str, body: &str) -> Answer {
    let request = api.request(Method::POST, id, "/check").header("idempotency-key", key);
    Answer::of(request.body(body.to_owned())).await.expect("an answer")
}

async fn restart_one_by_one(cluster: &mut TestCluster, from: &str, to: &str) {
    for id in cluster.ids() {
        cluster.terminate(id).await;
        cluster.reconfigure(id, from, to);
        cluster.restart(id);
        cluster.wait_ready_one(id).await;
    }
}

/// A limiter with many identifiers: the first that has no room is refused on every node, those that are
/// counted go on, and so it is after all nodes were killed.
#[tokio::test]
async fn a_limiter_takes_its_quota_and_what_is_counted_goes_on() {
    let mut cluster = TestCluster::start_as(Setup::with(&both())).await;
    let api = cluster.api().clone();
    let room = BYTES_MAX / (KEY_BYTES + 500);
    let path = format!("{SHARED}/check");
    let check = async |node: u64, number: u64| {
        api.post(node, &path, check_body(&identifier(number), 2, LONG_MS)).await
    };
    for number in 0..room {
        check(number % 3 + 1, number).await.admitted(2, 1);
    }
    let is_full = async || {
        for node in api.ids() {
            let detail = check(node, room).await.problem(507, "object_full");
            assert!(detail.contains("object_bytes_max"), "{detail}");
            let shown = get(&api, node, "/admin/objects/RATE_LIMITER/name/shared?limit=1").await;
            let bytes = room * (KEY_BYTES + 500);
            assert_eq!((&shown["keys"], &shown["bytes"]), (&json!(room), &json!(bytes)));
            assert_eq!(shown["bytesMax"], BYTES_MAX);
            let list = get(&api, node, "/admin/objects?binding=RATE_LIMITER").await;
            assert_eq!(list["objects"][0]["bytes"], bytes, "{list}");
            let bindings = get(&api, node, "/admin/bindings").await;
            let limiters = &bindings["bindings"][0];
            assert_eq!((&limiters["objects"], &limiters["bytes"]), (&json!(1), &json!(bytes)));
            assert_eq!(limiters["objectsMax"], 20);
            assert_eq!(limiters["objectBytesMax"], BYTES_MAX);
        }
    };
    is_full().await;
    // Counted ones are admitted, and then refused by their limit; so is one without a limit at all.
    check(2, 7).await.admitted(2, 0);
    for node in api.ids() {
        check(node, 7).await.refused(2);
        api.post(node, &path, check_body(&identifier(room), 0, LONG_MS)).await.refused(0);
    }
    for node in api.ids() {
        let binding = r#"{binding="RATE_LIMITER"}"#;
        let crowded = format!("tallykeep_quota_crowded_objects{binding}");
        wait_until("a node has applied it", async || match metric(&api, node, &crowded).await {
            Some(1.0) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let objects = format!("tallykeep_objects{binding}");
        assert_eq!(metric(&api, node, &objects).await, Some(1.0));
        let refusals = r#"tallykeep_quota_refusals_total{quota="object_bytes"}"#;
        assert_eq!(metric(&api, node, refusals).await, Some(1.0));
        assert_eq!(told(&cluster, node, "an object has nearly reached its quota"), 1);
        assert_eq!(told(&cluster, node, "an object has reached its quota"), 1);
    }
    cluster.equal_state().await;

    for id in cluster.ids() {
        cluster.kill(id);
    }
    for id in cluster.ids() {
        cluster.restart(id);
    }
    cluster.wait_ready().await;
    is_full().await;
    check(1, 7).await.refused(2);

    // As much as is forgotten has room again.
    let reset = json!({"identifier": identifier(3)}).to_string();
    assert_eq!(api.post(3, &format!("{SHARED}/reset"), reset).await.status, 200);
    check(1, room).await.admitted(2, 1);
    check(2, room + 1).await.problem(507, "object_full");
    let out = run(&["objects", "bindings", "--endpoint", api.url(2)]).output().await.1;
    let line = out.lines().find(|line| line.starts_with("RATE_LIMITER")).expect("a line");
    let words: Vec<_> = line.split_whitespace().collect();
    let bytes = (room * (KEY_BYTES + 500)).to_string();
    assert_eq!(words, ["RATE_LIMITER", "RateLimiter", "1", &bytes, "20", "65536"]);
    let list = ["objects", "list", "--binding", "RATE_LIMITER", "--endpoint", api.url(2)];
    let out = run(&list).output().await.1;
    assert!(out.contains(" 99% "), "{out}");
    cluster.equal_state().await;
}

/// A binding's objects: one too many is refused, alone, in a batch and under a key, until one is gone.
#[tokio::test]
async fn a_binding_has_its_objects_and_no_more() {
    let cluster = TestCluster::start_as(Setup::with(&both())).await;
    let api = cluster.api();
    let check = async |node: u64, name: &str, window_ms: u64| {
        api.post(node, "/check", check_body(name, 9, window_ms)).await
    };
    for number in 0..19 {
        check(number % 3 + 1, &format!("u{number}"), LONG_MS).await.admitted(9, 8);
    }
    check(1, "brief", 10_000).await.admitted(9, 8);
    for node in api.ids() {
        let detail = check(node, "one more", LONG_MS).await.problem(507, "objects_full");
        assert!(detail.contains("objects_max"), "{detail}");
    }
    check(2, "u3", LONG_MS).await.admitted(9, 7);
    let item = |name: &str| serde_json::from_str::<Value>(&check_body(name, 9, LONG_MS)).unwrap();
    let batch = json!({"checks": [item("u4"), item("another"), item("u5"), item("u4")]});
    let results = api.post(3, "/check/batch", batch.to_string()).await.json();
    let told: Vec<_> = results["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| (result["status"].as_u64(), result["code"].as_str()))
        .collect();
    let (ok, none) = (Some(200), None);
    assert_eq!(told, [(ok, none), (Some(507), Some("objects_full")), (ok, none), (ok, none)]);

    // What the window's end makes room for, its key was not used up by.
    let body = check_body("late", 9, LONG_MS);
    keyed(api, 1, "k", &body).await.problem(507, "objects_full");
    let first = wait_until("the brief window has ended", async || {
        let answer = keyed(api, 2, "k", &body).await;
        if answer.status == 200 { Ok(answer) } else { Err(answer.text()) }
    })
    .await;
    first.admitted(9, 8);
    let again = keyed(api, 3, "k", &body).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    check(1, "brief", LONG_MS).await.problem(507, "objects_full");
    let objects = r#"tallykeep_quota_objects{binding="RATE_LIMITER"}"#;
    assert_eq!(metric(api, 1, objects).await, Some(20.0));
    let unbounded = r#"tallykeep_quota_objects{binding="AUDIT_LOGGER"}"#;
    assert_eq!(metric(api, 1, unbounded).await, None);
    cluster.equal_state().await;
}

/// A shard takes its quota; what was logged is read and exported as ever, until the retention makes room.
#[tokio::test]
async fn a_shard_takes_its_quota_and_the_retention_makes_room() {
    const PATH: &str = "/do/AUDIT_LOGGER/name/tenant";
    let settings = format!("retention = \"15s\"\n{}", both());
    let cluster = TestCluster::start_as(Setup::with(&settings)).await;
    let api = cluster.api();
    let entry = json!({"type": "t", "action": "a", "details": {"text": "x".repeat(4_000)}});
    let batch = json!({"entries": vec![entry.clone(); 20]}).to_string();
    let results = api.post(1, &format!("{PATH}/log/batch"), batch).await.json();
    let statuses: Vec<_> = results["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| (result["status"].as_u64(), result["code"].as_str()))
        .collect();
    let taken = statuses.iter().filter(|(status, _)| *status == Some(200)).count();
    // About 4,200 bytes each.
    assert!((14..=16).contains(&taken), "{statuses:?}");
    assert!(statuses[taken..].iter().all(|told| *told == (Some(507), Some("object_full"))));
    for node in api.ids() {
        let refused = api.post(node, &format!("{PATH}/log"), entry.to_string()).await;
        refused.problem(507, "object_full");
        let found = api.query_at(node, &format!("{PATH}/query"), &json!({"limit": 50})).await;
        assert_eq!(found["count"], taken);
        let exported = get(api, node, &format!("{PATH}/export")).await;
        assert_eq!(exported["count"], taken);
    }
    // One that is small enough has room yet, and another shard has its own.
    let small = json!({"type": "t", "action": "small"}).to_string();
    api.log_at(2, &format!("{PATH}/log"), small.clone()).await;
    api.log_at(3, "/do/AUDIT_LOGGER/name/other/log", entry.to_string()).await;
    wait_until("the retention has made room", async || {
        let answer = api.post(1, &format!("{PATH}/log"), entry.to_string()).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    cluster.equal_state().await;
}

/// An import takes what has room and says so of the rest; sent again, it finds what is there.
#[tokio::test]
async fn an_import_is_bounded_by_the_shard_of_its_day() {
    let cluster = TestCluster::start_as(Setup::with(&both())).await;
    let api = cluster.api();
    let at_ms = cluster::now_ms() - 3 * 24 * 3_600_000;
    let entries = (0..20).map(|number| {
        json!({"id": format!("e{number:02}"), "timestamp": at_ms, "type": "t", "action": "a",
            "details": {"text": "x".repeat(4_000)}})
    });
    let body = json!({"entries": entries.collect::<Vec<_>>()}).to_string();
    let import = async |node: u64| -> Vec<String> {
        let results = api.post(node, "/admin/import", body.clone()).await.json();
        let results = results["results"].as_array().expect("results").iter();
        results.map(|one| format!("{} {}{}", one["status"], one["imported"], one["code"])).collect()
    };
    let first = import(1).await;
    let taken = first.iter().filter(|told| *told == "200 truenull").count();
    assert!((14..=16).contains(&taken), "{first:?}");
    assert!(first[taken..].iter().all(|told| told == "507 null\"object_full\""), "{first:?}");
    let again = import(2).await;
    assert!(again[..taken].iter().all(|told| told == "200 falsenull"), "{again:?}");
    assert_eq!(again[taken..], first[taken..]);
    cluster.equal_state().await;
}

/// No quota keeps operators from what they do, for it is recorded.
#[tokio::test]
async fn what_is_done_is_recorded_where_the_audit_log_is_full() {
    let bytes = format!("object_bytes_max = {BYTES_MAX}");
    let settings = quotas(&bytes, &format!("{bytes}, objects_max = 1"));
    let setup = Setup { nodes: 1, tokens: true, settings, ..Setup::default() };
    let cluster = TestCluster::start_as(setup).await;
    let api = cluster.api();
    let entry = r#"{"type":"t","action":"a"}"#;
    api.log_at(1, "/do/AUDIT_LOGGER/name/first/log", entry).await;
    api.post(1, "/do/AUDIT_LOGGER/name/second/log", entry).await.problem(507, "objects_full");
    // 200 actions are 400 entries of some 300 bytes: more than the quota.
    for number in 0..200 {
        let policy = json!({"requests": number, "windowMs": 1_000}).to_string();
        let request = api.request(Method::PUT, 1, "/admin/policies/wix").body(policy);
        let answer = Answer::of(request).await.expect("an answer");
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
    }
    let path = "/admin/objects/AUDIT_LOGGER/name/tallykeep.system?limit=1";
    let record = get(api, 1, path).await;
    assert!(record["bytes"].as_u64() > Some(BYTES_MAX), "{record}");
    assert!(record["keys"].as_u64() > Some(390), "{record}");
}

/// An import stops where there is no room, and says so; with room it goes on, since no smaller entry from behind
/// has taken the place.
#[tokio::test]
async fn an_import_stops_at_the_quota_and_goes_on() {
    let mut cluster = TestCluster::start_as(Setup::with(&both())).await;
    let api = cluster.api().clone();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("day.ndjson");
    let yesterday_ms = cluster::now_ms() - 24 * LONG_MS;
    let entries = (0..60_u64).map(|number| {
        // Large ones, and small ones that would have room when the large ones have none.
        let more = "x".repeat(if number % 2 == 0 { 4_000 } else { 10 });
        let at_ms = yesterday_ms + number;
        let entry = json!({"id": format!("{number:032x}"), "timestamp": at_ms, "type": "t",
            "action": "a", "details": {"more": more}});
        format!("{entry}\n")
    });
    std::fs::write(&file, entries.collect::<String>()).expect("a file");
    let import = async || {
        let file = file.to_str().expect("a path of text");
        let arguments = ["import", file, "--json", "--endpoint", api.url(2)];
        let (code, told, complaints) = run(&arguments).output().await;
        let told: Value = serde_json::from_str(&told).expect("a summary");
        (code, told, complaints)
    };
    let (code, told, complaints) = import().await;
    assert_eq!((code, &told["isWhole"]), (Some(1), &json!(false)), "{told}{complaints}");
    let (imported, full) = (told["imported"].as_u64().unwrap(), told["full"].as_u64().unwrap());
    assert_eq!((imported + full, imported % 2), (60, 0), "none behind the first: {told}");
    assert!(full > 1 && complaints.contains("object_bytes_max"), "{complaints}");
    let log = api.post(1, "/query", "{}").await.json();
    assert_eq!(log["count"], imported);

    let larger = BYTES_MAX * 10;
    let (from, to) = (format!("= {BYTES_MAX}"), format!("= {larger}"));
    restart_one_by_one(&mut cluster, &from, &to).await;
    wait_until("the larger quota is in force", async || {
        let audit = get(&api, 1, "/admin/bindings").await["bindings"][1].clone();
        if audit["objectBytesMax"] == larger { Ok(()) } else { Err(audit.to_string()) }
    })
    .await;
    let (code, told, complaints) = import().await;
    assert_eq!((code, &told["isWhole"]), (Some(0), &json!(true)), "{told}{complaints}");
    assert_eq!((&told["alreadyThere"], &told["imported"]), (&json!(imported), &json!(full)));
}

/// Nothing is refused until all nodes know quotas; then all that is there is counted, and the quota holds. A
/// larger one is in force once the leader has it.
#[tokio::test]
async fn quotas_begin_when_every_node_knows_them() {
    const OLD: &str = "version_max = 7";
    const NEW: &str = "version_max = 8";
    let settings = format!("{OLD}\n{}", both());
    let mut cluster = TestCluster::start_as(Setup::with(&settings)).await;
    let api = cluster.api().clone();
    let check =
        async |node: u64, name: &str| api.post(node, "/check", check_body(name, 9, LONG_MS)).await;
    for number in 0..25 {
        check(number % 3 + 1, &format!("u{number}")).await.admitted(9, 8);
    }
    for number in 0..3 {
        let body = check_body(&identifier(number), 9, LONG_MS);
        api.post(1, &format!("{SHARED}/check"), body).await.admitted(9, 8);
    }
    let limiters = async || get(&api, 1, "/admin/bindings").await["bindings"][0].clone();
    let before = limiters().await;
    assert_eq!((&before["objects"], &before["bytes"]), (&json!(26), &Value::Null));
    assert_eq!((&before["objectsMax"], &before["objectBytesMax"]), (&Value::Null, &Value::Null));

    restart_one_by_one(&mut cluster, OLD, NEW).await;
    wait_until("the log may hold the commands", async || {
        let report = cluster.report(2).await?;
        if report["version"] == 8 { Ok(()) } else { Err(report.to_string()) }
    })
    .await;
    for node in cluster.ids() {
        check(node, "u-new").await.problem(507, "objects_full");
    }
    check(3, "u7").await.admitted(9, 7);
    let after = limiters().await;
    assert_eq!((&after["objects"], &after["objectsMax"]), (&json!(26), &json!(20)));
    // Identifiers of before are in the sum once their alarms have rung; until then it is less, and a look at
    // the object adds them up.
    assert_eq!(after["bytes"], 28 * KEY_BYTES, "{after}");
    let shown = get(&api, 2, "/admin/objects/RATE_LIMITER/name/shared").await;
    assert_eq!(shown["bytes"], 3 * (KEY_BYTES + 500), "{shown}");

    restart_one_by_one(&mut cluster, "objects_max = 20", "objects_max = 99").await;
    wait_until("the larger quota is in force", async || {
        let answer = check(1, "u-newer").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    cluster.equal_state().await;
}
