//! More than a node can take: what it admits it answers in time, the rest it refuses at once and says
//! so, its memory stays bounded, and afterwards it is as before.

mod cluster;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::task::JoinSet;

use cluster::{TestCluster, wait_until};

/// Connections that a node takes; see `limits.rs`.
const CONNECTIONS_MAX: usize = 4096;
/// Connections that are tried, if this process may have so many.
const CONNECTIONS_TRIED: usize = 10_000;
/// What one node may have in memory, whatever clients do. Block cache and write buffers are 384 MiB
/// of it, if they fill up.
const MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// What a node takes at most until it has answered, and what the machine may add.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// How many connections this process may open at once.
fn connections_allowed() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the maximum");
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(512).min(CONNECTIONS_TRIED)
}

/// A client that says nothing, or begins a request and never ends it.
fn half_open(address: &str, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the system connects");
    let said: &[u8] = match number % 4 {
        0 => b"",
        1 => b"POST /check HTTP/1.1\r\nhost: a\r\nx-slow: ",
        2 => b"POST /log HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{\"type\":",
        _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };
    // Who is one too many may be cut off before it has said anything.
    let _ = stream.write_all(said);
    stream
}

/// Whether the node has told this client that it is one too many, and closed.
fn was_refused(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let mut told = Vec::new();
    // An error is that nothing is there yet, or that the connection was cut off.
    let _ = stream.read_to_end(&mut told);
    told.starts_with(b"HTTP/1.1 503 ") && String::from_utf8_lossy(&told).contains("retry-after: 1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_and_slow_clients_stop_nobody() {
    let mut cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let address = api.url(1).trim_start_matches("http://").to_owned();
    let count = connections_allowed();
    let opening = tokio::task::spawn_blocking(move || {
        (0..count).map(|number| half_open(&address, number)).collect::<Vec<_>>()
    });
    let mut streams = opening.await.expect("no panic");
    // The others notice nothing, not even where the one that is full leads.
    for node in [2, 3] {
        api.check(node, "others", 9, 600_000).await;
    }
    if count > CONNECTIONS_MAX + 512 {
        let refused = streams.iter_mut().filter_map(|stream| was_refused(stream).then_some(()));
        assert!(
            refused.count() > 0,
            "of {count} connections none was told that it is one too many"
        );
    }
    let memory = cluster.memory_bytes(1);
    assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes with {count} connections");
    for stream in streams {
        // The node may have closed it.
        let _ = stream.shutdown(Shutdown::Both);
    }
    wait_until("the node takes clients again", async || {
        let answer = api.try_get(1, "/readyz").await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    api.check(1, "after", 5, 600_000).await.admitted(5, 4);
    cluster.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_at_once_and_the_rest_is_carried_out() {
    const CLIENTS: usize = 600;
    let cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    // 150 MB at one moment, where 64 MiB may wait.
    let padding = "x".repeat(250 * 1024);
    let entry =
        json!({"type": "flood", "action": "a", "details": {"padding": padding}}).to_string();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (api, entry) = (api.clone(), entry.clone());
        clients.spawn(async move {
            let began = Instant::now();
            let answer = api.try_post(1, "/log", entry).await.expect("an answer");
            (answer, began.elapsed())
        });
    }
    let (mut logged, mut refused, mut unknown) = (0, 0, 0);
    while let Some(done) = clients.join_next().await {
        let (answer, took) = done.expect("no panic");
        assert!(took < ANSWERED_WITHIN, "{took:?} for {}", answer.text());
        match answer.status {
            200 => logged += 1,
            503 => {
                assert_eq!(answer.header("retry-after"), "1");
                match answer.json()["code"].as_str() {
                    Some("overloaded") => refused += 1,
                    Some("unknown_outcome") => unknown += 1,
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert!(logged > 0 && refused > 0, "{logged} logged, {refused} refused, {unknown} unknown");
    let memory = cluster.memory_bytes(1);
    assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes");

    // What was refused is not there, and what was acknowledged is.
    let page = api.query(2, &json!({"type": "flood", "limit": 1})).await;
    assert_eq!(page["count"], 1);
    let export = api.get(3, "/export?format=ndjson&type=flood").await.text();
    let stored = export.lines().count();
    assert!((logged..=logged + unknown).contains(&stored), "{stored} stored of {logged} logged");
    api.check(1, "after", 5, 600_000).await.admitted(5, 4);
    cluster.equal_state().await;
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A client of HTTP/2 that begins requests and takes each back at once, as fast as it can.
fn begin_and_take_back(address: &str) {
    const REQUESTS: u32 = 100_000;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const END_HEADERS: u8 = 4;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let mut stream = TcpStream::connect(address).expect("the system connects");
    // `:method: POST`, `:scheme: http`, and `:path` and `:authority` as literals (RFC 7541).
    let request = [&[0x83, 0x86, 0x04, 0x06][..], b"/check", &[0x01, 0x01], b"a"].concat();
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    for number in 0..REQUESTS {
        let id = 2 * number + 1;
        said.extend(frame(HEADERS, END_HEADERS, id, &request));
        said.extend(frame(RST_STREAM, 0, id, &CANCEL));
        if said.len() > 16 * 1024 {
            // The node may close the connection.
            if stream.write_all(&said).is_err() {
                return;
            }
            said.clear();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_taken_back_at_once_stop_nobody() {
    let cluster = TestCluster::start().await;
    let api = cluster.api().clone();
    let address = api.url(1).trim_start_matches("http://").to_owned();
    let floods = tokio::task::spawn_blocking(move || {
        std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(|| begin_and_take_back(&address))));
        });
    });
    for node in [1, 2, 3] {
        let began = Instant::now();
        api.check(node, "others", 9, 600_000).await;
        assert!(began.elapsed() < ANSWERED_WITHIN, "{:?} at node {node}", began.elapsed());
    }
    floods.await.expect("no panic");
    let memory = cluster.memory_bytes(1);
    assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes");
    api.check(1, "after", 5, 600_000).await.admitted(5, 4);
    cluster.equal_state().await;
}
