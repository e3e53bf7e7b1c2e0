//! Real nodes that are sent anything, on both of their ports: they go on, answer what is right, and
//! take no more memory than they should.

mod cluster;

#[path = "bad_input/mutation.rs"]
mod mutation;

use std::fs;
use std::path::Path;
use std::time::Duration;

use cluster::{CLUSTER, TestCluster, check_body};
use mutation::mutated;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use reqwest::Method;
use tallykeep::codec;
use tallykeep::limits;
use tallykeep::peer::{Hello, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Inputs that are sent to each port.
const INPUTS: u64 = 1_000;
/// Connections at once.
const CONNECTIONS: usize = 32;
/// A node answers, or closes the connection, long before.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a node may take in addition for all that it is sent.
const GROWTH_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Sends `input`, and gives what comes back until the node closes the connection.
async fn exchange(address: String, input: Vec<u8>) -> Vec<u8> {
    let mut stream = TcpStream::connect(&address).await.expect("the node listens");
    let (mut from, mut to) = stream.split();
    let mut answer = Vec::new();
    let write = async {
        // The node may have closed the connection before it was sent everything.
        let _ = to.write_all(&input).await;
        let _ = to.shutdown().await;
    };
    let read = async {
        // A reset ends the answer, too.
        let _ = from.read_to_end(&mut answer).await;
    };
    let both = async { tokio::join!(write, read) };
    let ended = timeout(PATIENCE, both).await;
    assert!(ended.is_ok(), "a connection stays open: {:?}", String::from_utf8_lossy(&input));
    answer
}

/// Sends each input on a connection of its own, to one node after the other; gives what came back.
async fn exchange_all(addresses: &[String], inputs: Vec<Vec<u8>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut tasks, mut answers) = (JoinSet::new(), Vec::new());
    for (input, address) in inputs.into_iter().zip(addresses.iter().cycle()) {
        if tasks.len() == CONNECTIONS {
            answers.push(tasks.join_next().await.expect("a task").expect("no assertion failed"));
        }
        let address = address.clone();
        tasks.spawn(async move { (input.clone(), exchange(address, input).await) });
    }
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer.expect("no assertion failed"));
    }
    answers
}

/// The addresses of all nodes: for clients or for peers, as their configuration has them.
fn addresses(cluster: &mut TestCluster, port: &str) -> Vec<String> {
    let text = fs::read_to_string(cluster.config(1)).expect("a configuration");
    let settings: toml::Table = text.parse().expect("TOML");
    let nodes = settings["nodes"].as_array().expect("nodes");
    nodes.iter().map(|node| node[port].as_str().expect("an address").to_owned()).collect()
}

/// The most memory that each node has had so far, in bytes; nothing where the system does not tell.
fn peaks(cluster: &TestCluster) -> Vec<u64> {
    let peak = |id: u64| {
        let text = fs::read_to_string(format!("/proc/{}/status", cluster.process(id))).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    };
    cluster.ids().into_iter().filter_map(peak).collect()
}

/// Asserts that every node serves, that the limit of one limiter is exact over all of them, that
/// their states are equal, and that none has grown by more than it may.
async fn assert_well(cluster: &mut TestCluster, before: &[u64]) {
    cluster.wait_ready().await;
    let limit = 5;
    for remaining in (0..limit).rev() {
        let id = remaining % 3 + 1;
        cluster.api().check(id, "afterwards", limit, 600_000).await.admitted(limit, remaining);
    }
    cluster.api().check(1, "afterwards", limit, 600_000).await.refused(limit);
    cluster.equal_state().await;
    for (before, after) in before.iter().zip(peaks(cluster)) {
        let grown = after.saturating_sub(*before);
        assert!(grown <= GROWTH_BYTES_MAX, "a node has grown by {grown} bytes");
    }
}

/// The inputs that are kept for a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(dir).expect("a corpus");
    files.map(|file| fs::read(file.expect("a file").path()).expect("an input")).collect()
}

/// Requests as they are on the wire, from which bad ones are made.
fn requests() -> Vec<Vec<u8>> {
    let body = check_body("user-123", 5, 60_000);
    let length = body.len();
    let mut requests = vec![
        format!("POST /check HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("POST /check HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("POST /reset HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n{body}"),
        "GET /export?format=csv&startTime=1&type=a+b HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n".to_owned(),
        "GET /admin/cluster HTTP/1.0\r\n\r\n".to_owned(),
        "POST /do/RATE_LIMITER/name/wix%3A1/check HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nGET /readyz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n".to_owned(),
        "POST /log HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551615\r\n\r\n{}".to_owned(),
    ];
    requests.push(format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100_000)));
    requests.push(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1_000)));
    let mut requests: Vec<Vec<u8>> = requests.into_iter().map(String::into_bytes).collect();
    // HTTP/2: the preface, settings, and a frame of headers that is none.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let headers = [0, 0, 4, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0xff, 0xff];
    requests.push([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &headers].concat());
    let paths = corpus("object_path").into_iter().map(|path| ("POST", path));
    let queries = corpus("export_parameters").into_iter();
    let queries = queries.map(|query| ("GET", [b"/export?", &query[..]].concat()));
    requests.extend(paths.chain(queries).map(|(method, target)| {
        [method.as_bytes(), b" ", &target, b" HTTP/1.1\r\nhost: a\r\n\r\n"].concat()
    }));
    requests
}

fn random_bytes(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..2_000)];
    random.fill_bytes(&mut bytes);
    bytes
}

#[tokio::test]
async fn nothing_that_clients_send_is_more_than_refused() {
    let mut cluster = TestCluster::start().await;
    let before = peaks(&cluster);
    let addresses = addresses(&mut cluster, "http");

    // Whole requests, with bodies of every kind at every endpoint.
    let bodies = ["check_body", "log_body", "query_body", "cursor"].map(corpus).concat();
    for (number, body) in (0..).zip(bodies) {
        for path in [
            "/check",
            "/reset",
            "/log",
            "/query",
            "/do/RATE_LIMITER/name/a/check",
            "/do/AUDIT_LOGGER/name/2024-01-15/query",
        ] {
            let api = cluster.api();
            let request = api.request(Method::POST, number % 3 + 1, path).body(body.clone());
            let answer = cluster::Answer::of(request).await.expect("an answer");
            assert!(answer.status < 500, "{path}: {}", answer.text());
        }
    }

    let requests = requests();
    let seeds: Vec<&[u8]> = requests.iter().map(|request| &request[..]).collect();
    let mut random = StdRng::seed_from_u64(1);
    let others = (0..INPUTS).map(|number| match number % 5 {
        0 => random_bytes(&mut random),
        _ => mutated(&mut random, &seeds),
    });
    let inputs = others.chain(requests.iter().cloned()).collect();
    let mut refused = 0;
    for (input, answer) in exchange_all(&addresses, inputs).await {
        let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.first_chunk::<3>());
        let input = String::from_utf8_lossy(&input);
        if let Some(status) = status {
            assert!(*status < *b"500", "{}: {input:?}", String::from_utf8_lossy(&answer));
            refused += u64::from(*status >= *b"400");
        }
    }
    assert!(refused > INPUTS / 10, "only {refused} requests were refused: they are hardly bad");
    assert_well(&mut cluster, &before).await;
}

/// A frame as peers send them.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    [&length.to_be_bytes(), payload].concat()
}

fn request(id: u64, kind: u8, payload: &[u8]) -> Vec<u8> {
    frame(&[&id.to_be_bytes(), &[kind][..], payload].concat())
}

#[tokio::test]
async fn nothing_that_strangers_send_to_the_peers_port_ends_a_node() {
    let mut cluster = TestCluster::start().await;
    let before = peaks(&cluster);
    let addresses = addresses(&mut cluster, "peer");

    // Strangers, who greet in vain or not at all.
    let hello = |cluster: &str, to| frame(&codec::encode(&Hello::new(cluster, 2, to)));
    let known = [hello(CLUSTER, 1), hello("another", 1), hello(CLUSTER, 9)];
    let known: Vec<&[u8]> = known.iter().map(|frame| &frame[..]).collect();
    let mut random = StdRng::seed_from_u64(2);
    let inputs = (0..INPUTS).map(|number| match number % 4 {
        0 => random_bytes(&mut random),
        1 => frame(&random_bytes(&mut random)),
        _ => mutated(&mut random, &known),
    });
    exchange_all(&addresses, inputs.collect()).await;

    // Strangers who say that much is coming, and send a part of it.
    let length = u32::try_from(limits::FRAME_BYTES_MAX / 2).expect("a frame's length");
    let large = [&length.to_be_bytes()[..], &vec![7; limits::FRAME_BYTES_MAX / 4]].concat();
    exchange_all(&addresses[..1], vec![large; 2 * CONNECTIONS]).await;
    assert_well(&mut cluster, &before).await;
}

#[tokio::test]
async fn whatever_a_peer_asks_for_it_gets_a_reply() {
    let mut cluster = TestCluster::start().await;
    let before = peaks(&cluster);
    let addresses = addresses(&mut cluster, "peer");
    let mut random = StdRng::seed_from_u64(3);
    for (id, address) in (1..).zip(&addresses) {
        let mut stream = TcpStream::connect(address).await.expect("the node listens");
        // A member's greeting, for the rest of the connection to be read.
        let greeting = Hello::new(CLUSTER, id % 3 + 1, id);
        stream.write_all(&frame(&codec::encode(&greeting))).await.expect("a greeting");
        let welcome = timeout(PATIENCE, read_frame(&mut stream)).await.expect("a welcome");
        assert_eq!(codec::decode::<Result<(), String>>(&welcome).expect("an answer"), Ok(()));

        let kinds: Vec<u8> = (0..=255).filter(|kind| *kind != Kind::Rejoin as u8).collect();
        for (number, kind) in (0..).zip(&kinds) {
            // Behind the version byte, or without one.
            let mut payload = random_bytes(&mut random);
            if number % 2 == 0 && !payload.is_empty() {
                payload[0] = codec::VERSION;
            }
            stream.write_all(&request(number, *kind, &payload)).await.expect("a request");
        }
        let mut answered = Vec::new();
        for _ in &kinds {
            let reply = timeout(PATIENCE, read_frame(&mut stream)).await.expect("a reply");
            answered.push(u64::from_be_bytes(*reply.first_chunk().expect("a header")));
        }
        answered.sort_unstable();
        assert_eq!(answered, (0..kinds.len() as u64).collect::<Vec<_>>(), "a reply each");

        // More than a log entry could carry to the others.
        let large = vec![codec::VERSION; limits::FORWARD_BYTES_MAX + 1];
        stream.write_all(&request(7, Kind::Forward as u8, &large)).await.expect("a request");
        let reply = timeout(PATIENCE, read_frame(&mut stream)).await.expect("a reply");
        assert!(reply.ends_with(b"a group larger than any node makes"), "{reply:?}");

        // A frame without a header ends the connection.
        stream.write_all(&frame(b"short")).await.expect("a frame");
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && rest.is_empty(), "the connection stays open");
    }
    assert_well(&mut cluster, &before).await;
}

async fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u32().await.expect("a frame");
    let mut frame = vec![0; usize::try_from(length).expect("a frame's length")];
    stream.read_exact(&mut frame).await.expect("a whole frame");
    frame
}
