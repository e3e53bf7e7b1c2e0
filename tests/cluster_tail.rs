//! Following requests as the nodes answer them.

mod cluster;

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use cluster::{Api, TestCluster, check_body, run, wait_until};

const WINDOW_MS: u64 = 3_600_000;
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn a_check(identifier: &str, type_: &str, requests: u64) -> String {
    let config = json!({"requests": requests, "windowMs": WINDOW_MS});
    json!({"identifier": identifier, "type": type_, "config": config}).to_string()
}

/// One node's stream.
struct Tail {
    response: Response,
    text: String,
}

impl Tail {
    /// Follows a node; what it answers from now on is told.
    async fn of(api: &Api, id: u64, query: &str) -> Self {
        let request = api.request(Method::GET, id, &format!("/admin/tail?{query}")).timeout(LONG);
        let mut response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let first = response.chunk().await.expect("a piece").expect("not the end");
        assert_eq!(&first[..], b":\n\n");
        Self { response, text: String::new() }
    }

    /// The next event: its name and its data; none at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let Some((name, data)) = event.split_once('\n') else { continue };
                let name = name.strip_prefix("event: ").expect("a name").to_owned();
                let data = data.strip_prefix("data: ").expect("data");
                return Some((name, serde_json::from_str(data).expect("JSON")));
            }
            let piece = timeout(LONG, self.response.chunk()).await.expect("in time");
            let piece = piece.expect("a piece")?;
            self.text.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
        }
    }

    /// The next request.
    async fn request(&mut self) -> Value {
        let (name, data) = self.next().await.expect("not the end");
        assert_eq!(name, "request", "{data}");
        data
    }
}

/// Each request is told of once, by the node that was asked, to those whose filter takes it.
#[tokio::test]
async fn requests_are_told_of_by_the_node_that_answers_them() {
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    for node in api.ids() {
        let mut all = Tail::of(api, node, "").await;
        let mut refused = Tail::of(api, node, "name=wix:*&status=429&binding=RATE_LIMITER").await;
        let mut logs = Tail::of(api, node, "endpoint=/log").await;
        // Requests at other nodes are not this one's.
        let other = node % 3 + 1;
        api.post(other, "/check", a_check("elsewhere", "wix", 0)).await;
        let identifier = format!("u{node}");
        api.post(node, "/check", a_check(&identifier, "wix", 1)).await.admitted(1, 0);
        api.post(node, "/check", a_check(&identifier, "gamma", 0)).await;
        api.post(node, "/check", a_check(&identifier, "wix", 1)).await.refused(1);
        let path = format!("/do/RATE_LIMITER/name/a%2F%C3%A9{node}/check");
        api.post(node, &path, check_body("inner", 5, WINDOW_MS)).await.admitted(5, 4);
        api.log(node, r#"{"type":"t","action":"a"}"#).await;
        api.post(node, "/check", "{").await.problem(400, "malformed_json");

        let mut told = Vec::new();
        for _ in 0..6 {
            let request = all.request().await;
            assert_eq!((&request["node"], &request["method"]), (&json!(node), &json!("POST")));
            assert!(request["time"].as_u64().expect("a time") > 1_600_000_000_000, "{request}");
            assert!(request["durationMs"].as_f64().expect("a duration") >= 0.0, "{request}");
            let text = |member: &str| request[member].as_str().unwrap_or("-").to_owned();
            let members = ["endpoint", "binding", "name", "identifier"].map(text).join(" ");
            told.push(format!("{} {members}", request["status"]));
        }
        assert_eq!(
            told,
            [
                format!("200 /check RATE_LIMITER wix:u{node} u{node}"),
                format!("429 /check RATE_LIMITER gamma:u{node} u{node}"),
                format!("429 /check RATE_LIMITER wix:u{node} u{node}"),
                format!("200 /check RATE_LIMITER a/é{node} inner"),
                "200 /log AUDIT_LOGGER - -".to_owned(),
                "400 /check RATE_LIMITER - -".to_owned(),
            ]
        );
        assert_eq!(refused.request().await["name"], format!("wix:u{node}"));
        assert_eq!(logs.request().await["endpoint"], "/log");
    }
    api.get(1, "/admin/tail?status=many").await.problem(400, "invalid_parameter");
    api.get(1, "/admin/tail?sample=2").await.problem(400, "invalid_parameter");
    api.get(1, "/admin/tail?binding=NONE").await.problem(404, "not_found");
}

/// A node has places for a few, gives them back, and ends all streams as it stops, with no delay.
#[tokio::test]
async fn watchers_are_few_and_end_with_the_node() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let mut tails = Vec::new();
    for _ in 0..8 {
        tails.push(Tail::of(&api, 2, "").await);
    }
    api.get(2, "/admin/tail").await.problem(503, "overloaded");
    drop(tails.pop());
    let mut last = None;
    wait_until("there is a place again", async || {
        let request = api.request(Method::GET, 2, "/admin/tail").timeout(LONG);
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        if status != 200 {
            return Err(status.to_string());
        }
        last = Some(response);
        Ok(())
    })
    .await;
    let (status, _) = cluster.terminate(2).await;
    assert!(status.success());
    for mut tail in tails {
        while tail.next().await.is_some() {}
    }
    let mut last = last.expect("a stream");
    while last.chunk().await.expect("a clean end").is_some() {}
}

/// Somebody who watches and does not read costs nobody an answer, and is told what was missed.
#[tokio::test]
async fn a_slow_watcher_is_told_what_it_has_missed() {
    const WORKERS: u64 = 32;
    const CHECKS: u64 = 500;
    let cluster = TestCluster::start().await;
    let api = cluster.api();
    let address = api.url(1).strip_prefix("http://").expect("an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut slow = socket.connect(address.parse().expect("an address")).await.expect("a node");
    let ask = format!("GET /admin/tail HTTP/1.1\r\nhost: {address}\r\n\r\n");
    slow.write_all(ask.as_bytes()).await.expect("it is taken");
    // The head has come: from now on all is told.
    let mut head = [0; 15];
    slow.read_exact(&mut head).await.expect("a head");
    assert_eq!(&head, b"HTTP/1.1 200 OK");

    // Long names, so that no buffer of the system holds all that is told.
    let name = "n".repeat(500);
    let workers = (0..WORKERS).map(|worker| {
        let (api, name) = (api.clone(), format!("{name}{worker}"));
        tokio::spawn(async move {
            for _ in 0..CHECKS {
                assert_eq!(api.post(1, "/check", a_check(&name, "wix", 0)).await.status, 429);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("every check is answered");
    }

    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    let dropped = loop {
        let read = timeout(LONG, slow.read(&mut piece)).await.expect("in time").expect("a piece");
        assert!(read > 0, "the stream ended");
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, rest)) = text.split_once("event: dropped\ndata: {\"count\":")
            && let Some((count, _)) = rest.split_once('}')
        {
            break count.parse::<u64>().expect("a number");
        }
    };
    assert!((1..WORKERS * CHECKS).contains(&dropped), "{dropped}");
    let metrics = api.get(1, "/metrics").await.text();
    let counted = metrics.lines().find(|line| line.starts_with("tallykeep_tail_dropped_total "));
    let value = counted.expect("counted").rsplit(' ').next().expect("a value");
    let counted: u64 = value.parse().expect("a number");
    assert!(counted >= dropped, "{counted}");
}

/// The command follows all nodes, also one that was away.
#[tokio::test]
async fn the_command_follows_all_nodes() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let endpoints: Vec<_> = api.ids().flat_map(|id| ["--endpoint", api.url(id)]).collect();
    let words = ["tail", "--json", "--name", "followed:*", "--limit", "60"];
    let mut command = run(&[&words[..], &endpoints].concat());
    wait_until("it follows all nodes", async || {
        for node in api.ids() {
            let metrics = api.get(node, "/metrics").await.text();
            if !metrics.lines().any(|line| line == "tallykeep_tail_clients 1") {
                return Err(format!("not node {node}"));
            }
        }
        Ok(())
    })
    .await;
    for number in 0..10 {
        for node in [1, 2] {
            api.post(node, "/check", a_check(&format!("u{number}"), "followed", 0)).await;
        }
    }
    cluster.terminate(3).await;
    cluster.restart(3);
    cluster.wait_ready().await;
    // So the rest comes from the node that was away. It is followed again some time after it is back.
    while command.ended().is_none() {
        api.post(3, "/check", a_check("late", "followed", 0)).await;
    }
    let (code, out, err) = command.output().await;
    assert_eq!(code, Some(0), "{err}");
    let told: Vec<Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(told.len(), 60);
    for (node, count) in [(1, 10), (2, 10), (3, 40)] {
        assert_eq!(told.iter().filter(|request| request["node"] == node).count(), count, "{node}");
    }
    assert!(err.contains("followed again"), "{err}");
    assert!(told.iter().all(|request| request["status"] == 429));
    let wrong = ["tail", "--status", "many"];
    let (code, _, err) = run(&[&wrong[..], &endpoints].concat()).output().await;
    assert_eq!(code, Some(4), "{err}");
}
