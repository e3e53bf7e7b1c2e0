//! Looking inside: what objects there are, what they hold, how limiters stand, which refuse most.

mod cluster;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use cluster::{Api, Setup, TestCluster, check_body, run};

const WINDOW_MS: u64 = 3_600_000;

/// A check by a limit of its own.
fn a_check(identifier: &str, type_: Option<&str>, requests: u64) -> String {
    let config = json!({"requests": requests, "windowMs": WINDOW_MS});
    json!({"identifier": identifier, "type": type_, "config": config}).to_string()
}

/// Percent-encoded, every byte.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn json_of(api: &Api, id: u64, path: &str) -> Value {
    let answer = api.get(id, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// All objects of a list, a page after the other, with `between` awaited behind each; each page from
/// another node.
async fn listed(api: &Api, query: &str, mut between: impl AsyncFnMut(usize)) -> Vec<Value> {
    let (mut all, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let from = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let node = pages as u64 % 3 + 1;
        let page = json_of(api, node, &format!("/admin/objects?{query}{from}")).await;
        all.extend(page["objects"].as_array().expect("objects").iter().cloned());
        pages += 1;
        between(pages).await;
        cursor = page["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return all;
        }
    }
}

/// Nothing happens between two pages.
async fn nothing(_: usize) {}

fn names(objects: &[Value]) -> BTreeSet<String> {
    objects.iter().filter_map(|object| object["name"].as_str()).map(str::to_owned).collect()
}

/// Every object is in exactly one page, whatever is written between, whichever node gives it, and by its
/// prefix; also behind a restart of all nodes.
#[tokio::test]
async fn objects_are_listed_by_prefix_page_by_page() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let odd = ["100%", "a/b c", "ü:日本", "::1", "wix", "wix:", "é?&#+"];
    let mut expected: BTreeSet<String> = odd.iter().map(|name| (*name).to_owned()).collect();
    for (place, name) in odd.iter().enumerate() {
        let id = place as u64 % 3 + 1;
        let path = format!("/do/RATE_LIMITER/name/{}/check", encoded(name));
        api.post(id, &path, check_body(name, 5, WINDOW_MS)).await.admitted(5, 4);
    }
    for number in 0..40_u64 {
        let identifier = format!("10.0.0.{number}");
        let body = a_check(&identifier, Some("wix"), 5);
        api.post(number % 3 + 1, "/check", body).await.admitted(5, 4);
        expected.insert(format!("wix:{identifier}"));
    }
    let written = async |pages: usize| {
        let body = a_check(&format!("later {pages}"), None, 5);
        api.post(2, "/check", body).await.admitted(5, 4);
        // And one that is there is written again.
        api.post(3, "/check", a_check("10.0.0.1", Some("wix"), 50)).await;
    };
    let all = listed(&api, "binding=RATE_LIMITER&limit=7", written).await;
    let ids: Vec<_> = all.iter().map(|object| object["id"].as_str().expect("an id")).collect();
    assert!(ids.is_sorted() && ids.iter().collect::<BTreeSet<_>>().len() == ids.len());
    assert!(names(&all).is_superset(&expected), "{:?}", names(&all));
    for object in &all {
        assert_eq!(
            (&object["binding"], &object["class"]),
            (&json!("RATE_LIMITER"), &json!("RateLimiter"))
        );
        assert_eq!(object["keys"], 1);
        assert!(object["bytes"].as_u64().expect("bytes") > 30, "{object}");
        assert!(object["alarmTime"].as_u64().expect("a time") > cluster::now_ms(), "{object}");
    }

    for prefix in ["wix:", "wix", "100%", "a/", "ü:", ":", "é?&#+", "nobody"] {
        let query = format!("binding=RATE_LIMITER&limit=9&prefix={}", encoded(prefix));
        let found = names(&listed(&api, &query, nothing).await);
        let wanted = expected.iter().filter(|name| name.starts_with(prefix)).cloned();
        assert_eq!(found, wanted.collect(), "{prefix}");
    }

    for id in cluster.ids() {
        cluster.terminate(id).await;
    }
    for id in cluster.ids() {
        cluster.restart(id);
    }
    cluster.wait_ready().await;
    let query = "binding=RATE_LIMITER&limit=100";
    let after = listed(&api, query, nothing).await;
    assert!(names(&after).is_superset(&expected));

    for (query, code) in [
        ("", "invalid_parameter"),
        ("binding=RATE_LIMITER&limit=0", "invalid_parameter"),
        ("binding=RATE_LIMITER&limit=1001", "invalid_parameter"),
        ("binding=RATE_LIMITER&limt=1", "invalid_parameter"),
        ("binding=RATE_LIMITER&cursor=00", "bad_cursor"),
        ("binding=RATE_LIMITER&prefix=%zz", "invalid_encoding"),
    ] {
        api.get(1, &format!("/admin/objects?{query}")).await.problem(400, code);
    }
    api.get(1, "/admin/objects?binding=NONE").await.problem(404, "not_found");
}

/// What an object holds, by its name and by its id, on every node: cells that are in memory alone, an
/// object that is known by its id alone, one with many identifiers, a shard.
#[tokio::test]
async fn an_object_is_shown_as_it_is_stored() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    api.post(1, "/check", a_check("u", Some("wix"), 5)).await.admitted(5, 4);
    let path = "/admin/objects/RATE_LIMITER/name/wix%3Au";
    let shown = json_of(api, 2, path).await;
    let id = shown["id"].as_str().expect("an id").to_owned();
    assert_eq!((&shown["name"], &shown["keys"]), (&json!("wix:u"), &json!(1)));
    let start = shown["storage"][0]["value"]["windowStart"].as_u64().expect("a time");
    let row =
        |count| json!([{"key": "ratelimit:u", "value": {"count": count, "windowStart": start}}]);
    assert_eq!((&shown["storage"], &shown["cursor"]), (&row(1), &Value::Null));
    // Each admitted check is seen by the next look, on whichever node.
    for count in 2..=5 {
        api.post(count % 3 + 1, "/check", a_check("u", Some("wix"), 5))
            .await
            .admitted(5, 5 - count);
        for node in api.ids() {
            let shown = json_of(api, node, &format!("/admin/objects/RATE_LIMITER/id/{id}")).await;
            assert_eq!((&shown["storage"], &shown["name"]), (&row(count), &json!("wix:u")));
        }
    }

    // Named by its id alone: nobody has told the name.
    let shown = json_of(api, 1, "/admin/limiters/RATE_LIMITER/name/secret").await;
    let secret = shown["id"].as_str().expect("an id").to_owned();
    let by_id = format!("/do/RATE_LIMITER/id/{secret}/check");
    for identifier in ["b", "a", "é"] {
        api.post(3, &by_id, check_body(identifier, 5, WINDOW_MS)).await.admitted(5, 4);
    }
    let list = json_of(api, 2, "/admin/objects?binding=RATE_LIMITER").await;
    let objects = list["objects"].as_array().expect("objects");
    let unnamed = objects.iter().find(|object| object["id"] == json!(secret)).expect("listed");
    assert_eq!((&unnamed["name"], &unnamed["keys"]), (&Value::Null, &json!(3)));
    // 64 for each key, and the identifiers.
    assert_eq!((&unnamed["bytes"], &unnamed["alarmTime"]), (&json!(3 * 64 + 4), &Value::Null));
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    for node in api.ids() {
        let path = format!("/admin/objects/RATE_LIMITER/id/{secret}?limit=1{cursor}");
        let shown = json_of(api, node, &path).await;
        assert!(shown["bytes"].is_u64() && shown["alarmTime"].is_u64(), "{shown}");
        keys.push(shown["storage"][0]["key"].as_str().expect("a key").to_owned());
        cursor = match shown["cursor"].as_str() {
            Some(cursor) => format!("&cursor={cursor}"),
            None => String::new(),
        };
    }
    assert_eq!(
        (keys.join(" "), cursor),
        ("ratelimit:a ratelimit:b ratelimit:é".into(), String::new())
    );

    // A shard: its entries as they were logged, in their order, a page after the other.
    let mut ids = Vec::new();
    for number in 0..25 {
        let entry = json!({"type": "t", "action": format!("{number}"), "details": {"n": 1.0}});
        ids.push(api.log(number % 3 + 1, entry.to_string()).await);
    }
    let list = json_of(api, 1, "/admin/objects?binding=AUDIT_LOGGER").await;
    let (mut told, mut total) = (Vec::new(), 0);
    // The day may change while they are logged.
    for object in list["objects"].as_array().expect("objects") {
        total += object["keys"].as_u64().expect("a count");
        let day = object["name"].as_str().expect("a day");
        let mut cursor = String::new();
        loop {
            let path = format!("/admin/objects/AUDIT_LOGGER/name/{day}?limit=4{cursor}");
            let shown = json_of(api, 3, &path).await;
            told.extend(shown["storage"].as_array().expect("rows").iter().cloned());
            match shown["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    assert_eq!((told.len(), total), (25, 25));
    let rows: BTreeMap<_, _> =
        told.iter().map(|row| (row["value"]["id"].as_str().expect("an id"), row)).collect();
    for id in &ids {
        let row = rows[id.as_str()];
        assert_eq!(row["key"], format!("log:{}:{id}", row["value"]["timestamp"]));
    }

    api.get(1, "/admin/objects/RATE_LIMITER/name/nobody").await.problem(404, "not_found");
    api.get(1, "/admin/objects/NONE/name/u").await.problem(404, "not_found");
    api.get(1, "/admin/objects/RATE_LIMITER/id/00").await.problem(400, "invalid_id");
    api.get(1, &format!("/admin/objects/AUDIT_LOGGER/id/{id}")).await.problem(400, "foreign_id");
    let bindings = json_of(api, 1, "/admin/bindings").await;
    assert_eq!(bindings["bindings"][0]["objects"], 2);
    assert!(bindings["bindings"][1]["bytes"].as_u64().expect("bytes") > 25 * 50);
}

/// A look at a limiter agrees with what checks were answered, on every node, and counts nothing.
#[tokio::test]
async fn a_limiter_stands_as_checks_were_answered() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let put = json!({"requests": 3, "windowMs": WINDOW_MS}).to_string();
    let stored = api.request(reqwest::Method::PUT, 1, "/admin/policies/wix").body(put);
    assert_eq!(cluster::Answer::of(stored).await.expect("an answer").status, 200);
    let path = "/admin/limiters/RATE_LIMITER/name/wix%3A%3A%3A1";
    let empty = json_of(&api, 3, path).await;
    assert_eq!((&empty["count"], &empty["resetTime"]), (&json!(0), &Value::Null));
    let body = json!({"identifier": "::1", "type": "wix"}).to_string();
    for remaining in (0..3_u64).rev() {
        let reset_ms =
            api.post(remaining % 3 + 1, "/check", body.clone()).await.admitted(3, remaining);
        for node in api.ids() {
            for _ in 0..2 {
                let state = json_of(&api, node, path).await;
                assert_eq!(state["count"], 3 - remaining, "{state}");
                assert_eq!((&state["limit"], &state["remaining"]), (&json!(3), &json!(remaining)));
                assert_eq!(
                    (&state["resetTime"], &state["windowMs"]),
                    (&json!(reset_ms), &json!(WINDOW_MS))
                );
                assert_eq!((&state["identifier"], &state["type"]), (&json!("::1"), &json!("wix")));
            }
        }
    }
    for id in cluster.ids() {
        cluster.kill(id);
    }
    for id in cluster.ids() {
        cluster.restart(id);
    }
    cluster.wait_ready().await;
    for node in api.ids() {
        assert_eq!(json_of(&api, node, path).await["count"], 3);
    }
    // Without a policy the count is known, and the end that was told.
    let reset_ms = api.post(1, "/check", a_check("own", Some("gamma"), 9)).await.admitted(9, 8);
    let state = json_of(&api, 2, "/admin/limiters/RATE_LIMITER/name/gamma%3Aown").await;
    assert_eq!((&state["count"], &state["limit"]), (&json!(1), &Value::Null));
    assert_eq!(state["resetTime"], reset_ms);
    let reset = json!({"identifier": "own", "type": "gamma"}).to_string();
    assert_eq!(api.post(3, "/reset", reset).await.status, 200);
    let state = json_of(&api, 2, "/admin/limiters/RATE_LIMITER/name/gamma%3Aown").await;
    assert_eq!((&state["count"], &state["resetTime"]), (&json!(0), &Value::Null));
    api.get(1, "/admin/limiters/AUDIT_LOGGER/name/2024-01-15").await.problem(404, "not_found");
}

/// Each node knows what it has refused itself: by the log, by a read, in a batch, under a key; the command
/// adds them up.
#[tokio::test]
async fn who_refuses_most_is_told_by_each_node_and_added_up_by_the_command() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    for node in api.ids() {
        for number in 0..node * 2 {
            let answer = api.post(node, "/check", a_check("often", Some("wix"), 0)).await;
            assert_eq!(answer.status, 429, "{number}");
        }
    }
    let item: Value = serde_json::from_str(&a_check("batch", None, 0)).expect("JSON");
    let batch = json!({"checks": [item, item, item]}).to_string();
    assert_eq!(api.post(2, "/check/batch", batch).await.status, 200);
    api.post(2, "/check", a_check("fine", None, 5)).await.admitted(5, 4);
    for node in api.ids() {
        let top = json_of(api, node, "/admin/limiters/top?binding=RATE_LIMITER").await;
        assert_eq!(top["node"], node);
        let first = &top["limiters"][0];
        assert_eq!((&first["name"], &first["identifier"]), (&json!("wix:often"), &json!("often")));
        assert_eq!((&first["refused"], &first["refusedMin"]), (&json!(node * 2), &json!(node * 2)));
        let others = usize::from(node == 2);
        assert_eq!(top["limiters"].as_array().expect("limiters").len(), 1 + others, "{top}");
    }
    let endpoints: Vec<_> = api.ids().flat_map(|id| ["--endpoint", api.url(id)]).collect();
    let command = async |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        run(&[&words[..], &endpoints].concat()).output().await
    };
    let (code, out, err) = command("objects top").await;
    assert_eq!(code, Some(0), "{err}");
    let lines: Vec<_> = out.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "REFUSED  BINDING       NAME       IDENTIFIER",
            "12       RATE_LIMITER  wix:often  often",
            "3        RATE_LIMITER  batch      batch",
        ]
    );
}

/// What is given back is admitted by the next check, on whichever node, also where checks were refused without
/// the log. The window stays as it is; with a key it is given once; no more is given back than was counted.
#[tokio::test]
async fn what_is_given_back_is_admitted_by_the_next_check_on_every_node() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let path = "/admin/limiters/RATE_LIMITER/name/wix%3Au/credit";
    let body = |amount: u64| json!({"identifier": "u", "amount": amount}).to_string();
    let check = async |node: u64| api.post(node, "/check", a_check("u", Some("wix"), 3)).await;
    let mut reset_ms = 0;
    for remaining in (0..3).rev() {
        reset_ms = check(1).await.admitted(3, remaining);
    }
    for round in 0..9_u64 {
        // Each node knows by now that such checks are refused, and asks its own state first.
        for node in api.ids() {
            check(node).await.refused(3);
            check(node).await.refused(3);
        }
        let answer = api.post(round % 3 + 1, path, body(1)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let state = answer.json();
        assert_eq!((&state["credited"], &state["count"]), (&json!(1), &json!(2)), "{state}");
        assert_eq!((&state["resetTime"], &state["name"]), (&json!(reset_ms), &json!("wix:u")));
        assert_eq!(check(round / 3 + 1).await.admitted(3, 0), reset_ms, "the window stays");
    }

    // Twice the same, once.
    let credit = async |node: u64, amount: u64| {
        let request = api.request(reqwest::Method::POST, node, path);
        let request = request.header("idempotency-key", "refund-1").body(body(amount));
        cluster::Answer::of(request).await.expect("an answer")
    };
    let first = credit(1, 2).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, ""));
    check(2).await.admitted(3, 1);
    for node in api.ids() {
        let again = credit(node, 2).await;
        assert_eq!((again.text(), again.header("idempotency-replayed")), (first.text(), "true"));
    }
    credit(2, 1).await.problem(422, "idempotency_key_reused");
    check(3).await.admitted(3, 0);

    // All that was counted, and the window is there with nothing in it; what is shown is what is answered.
    let state = api.post(2, path, body(100)).await.json();
    assert_eq!((&state["credited"], &state["count"]), (&json!(3), &json!(0)), "{state}");
    let again = api.post(3, path, body(1)).await.json();
    assert_eq!((&again["credited"], &again["count"]), (&json!(0), &json!(0)), "{again}");
    let shown = json_of(&api, 1, "/admin/limiters/RATE_LIMITER/name/wix%3Au").await;
    for member in ["binding", "name", "id", "identifier", "type", "count", "resetTime", "limit"] {
        assert_eq!(shown[member], state[member], "{member}");
    }
    assert_eq!(state["resetTime"], reset_ms);
    let by_id = format!("/admin/limiters/RATE_LIMITER/id/{}/credit", shown["id"].as_str().unwrap());
    check(1).await.admitted(3, 2);
    let state = api.post(1, &by_id, body(1)).await.json();
    assert_eq!((&state["credited"], &state["name"]), (&json!(1), &json!("wix:u")), "{state}");
    check(1).await.admitted(3, 2);
    let nobody = "/admin/limiters/RATE_LIMITER/name/nobody/credit";
    let state = api.post(1, nobody, body(1)).await.json();
    assert_eq!((&state["credited"], &state["windowStart"]), (&json!(0), &Value::Null));

    // What is none changes nothing.
    for (body, code) in [
        ("", "malformed_json"),
        (r#"{"amount":1}"#, "invalid_field"),
        (r#"{"identifier":"u"}"#, "invalid_field"),
        (r#"{"identifier":"u","amount":0}"#, "invalid_field"),
        (r#"{"identifier":"u","amount":-1}"#, "invalid_field"),
        (r#"{"identifier":"u","amount":1,"limit":1}"#, "unknown_member"),
    ] {
        api.post(1, path, body).await.problem(400, code);
    }
    api.post(1, &format!("{path}?type=wix"), body(1)).await.problem(400, "invalid_parameter");
    api.get(1, path).await.problem(405, "method_not_allowed");
    let log = "/admin/limiters/AUDIT_LOGGER/name/2024-01-15/credit";
    api.post(1, log, body(1)).await.problem(404, "not_found");
    let shown = json_of(&api, 2, "/admin/limiters/RATE_LIMITER/name/wix%3Au").await;
    assert_eq!(shown["count"], 1);

    // Who did it, and what came of it, is in the record.
    let record = "/do/AUDIT_LOGGER/name/tallykeep.system/query";
    let query = json!({"action": "limiters.post", "order": "asc", "limit": 1000});
    cluster::wait_until("the record has the first credit", async || {
        let found = api.query_at(2, record, &query).await;
        let entries = found["entries"].as_array().expect("entries");
        let mut ended = entries.iter().filter(|entry| entry["details"]["phase"] == "ended");
        let what = json!({"identifier": "u", "amount": 1, "credited": 1, "replayed": false});
        match ended.any(|entry| entry["details"]["what"] == what) {
            true => Ok(()),
            false => Err(found.to_string()),
        }
    })
    .await;

    for id in cluster.ids() {
        cluster.kill(id);
    }
    for id in cluster.ids() {
        cluster.restart(id);
    }
    cluster.wait_ready().await;
    for node in api.ids() {
        let shown = json_of(&api, node, "/admin/limiters/RATE_LIMITER/name/wix%3Au").await;
        assert_eq!((&shown["count"], &shown["resetTime"]), (&json!(1), &json!(reset_ms)));
    }
    cluster.equal_state().await;
}

/// A cluster that is held at an earlier version gives nothing back, and says so at once.
#[tokio::test]
async fn credits_wait_for_the_version_that_has_them() {
    let cluster = TestCluster::start_as(Setup { nodes: 1, ..Setup::with("version_max = 6") }).await;
    let api = cluster.api();
    api.check(1, "u", 2, WINDOW_MS).await.admitted(2, 1);
    let path = "/admin/limiters/RATE_LIMITER/name/u/credit";
    let body = r#"{"identifier":"u","amount":1}"#;
    api.post(1, path, body).await.problem(503, "not_yet_supported");
    let request = api.request(reqwest::Method::POST, 1, path).header("idempotency-key", "k");
    let answer = cluster::Answer::of(request.body(body)).await.expect("an answer");
    answer.problem(503, "not_yet_supported");
    let limited = r#"{"name":"n","scopes":["check"],"requestsPerSecond":5}"#;
    api.post(1, "/admin/tokens", limited).await.problem(503, "not_yet_supported");
    let token = r#"{"name":"n","scopes":["check"]}"#;
    assert_eq!(api.post(1, "/admin/tokens", token).await.status, 200);
    api.check(1, "u", 2, WINDOW_MS).await.admitted(2, 0);
}

/// The command, as an operator uses it.
#[tokio::test]
async fn the_command_lists_and_shows() {
    let cluster = TestCluster::start_as(Setup { nodes: 1, ..Setup::default() }).await;
    let api = cluster.api();
    for number in 0..5 {
        api.post(1, "/check", a_check(&format!("u{number}"), Some("wix"), 5)).await.admitted(5, 4);
    }
    let endpoint = ["--endpoint", api.url(1)];
    let command = async |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        run(&[&words[..], &endpoint].concat()).output().await
    };
    let list = "objects list --binding RATE_LIMITER --prefix wix:";
    let (code, out, err) = command(&format!("{list} --all")).await;
    assert_eq!((code, out.lines().count()), (Some(0), 6), "{out}{err}");
    assert!(out.lines().skip(1).all(|line| line.starts_with("wix:u")), "{out}");
    let (_, out, err) = command(&format!("{list} --limit 2 --json")).await;
    let page: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(page["objects"].as_array().expect("objects").len(), 2, "{err}");
    let cursor = page["cursor"].as_str().expect("there are more");
    let (_, out, _) = command(&format!("{list} --cursor {cursor}")).await;
    assert_eq!(out.lines().count(), 4, "{out}");

    let (code, out, err) = command("objects get wix:u1 --binding RATE_LIMITER").await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("ratelimit:u1  {\"count\":1,\"windowStart\":"), "{out}");
    let (code, out, _) = command("objects limiter wix:u1 --binding RATE_LIMITER").await;
    assert_eq!(code, Some(0));
    assert!(out.contains("count        1\n") && out.contains("type         wix\n"), "{out}");
    assert!(out.contains("limit        -\n"), "{out}");
    let policy = r#"{"requests":100,"windowMs":60000}"#;
    let put = api.request(reqwest::Method::PUT, 1, "/admin/policies/wix").body(policy);
    assert_eq!(cluster::Answer::of(put).await.expect("an answer").status, 200);
    let (_, out, _) = command("objects limiter wix:u1 --binding RATE_LIMITER").await;
    assert!(out.contains("limit        100, by the policy\nremaining    99\n"), "{out}");
    let credit = "objects credit wix:u1 --binding RATE_LIMITER --amount";
    let (code, out, err) = command(&format!("{credit} 1")).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("given back   1\n") && out.contains("count        0\n"), "{out}");
    let (code, out, err) = command(&format!("{credit} 5 --identifier u1 --json")).await;
    let state: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &state["credited"]), (Some(0), &json!(0)), "{err}");
    let (code, _, err) = command(&format!("{credit} 0")).await;
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = command("objects credit u9 --binding RATE_LIMITER --amount 1").await;
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("--identifier"), "{err}");
    let (code, out, _) = command("objects bindings").await;
    assert_eq!(code, Some(0));
    assert!(out.contains("RATE_LIMITER  RateLimiter  5"), "{out}");
    let (code, _, err) = command("objects get nobody --binding RATE_LIMITER").await;
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("not_found"), "{err}");
}
