//! Clients that connect, wait, break off and speak too long or out of turn, over real sockets.

mod http2;

use axum::routing::get;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::super::tail::Tail;
use super::*;
use crate::bindings::Bindings;
use crate::trace::Tracer;

const ASK: &[u8] = b"GET /now HTTP/1.1\r\nhost: x\r\n\r\n";
const ASK_SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);
/// More than the system's buffers between a client and its server hold.
const LARGE_BYTES: usize = 64 * 1024 * 1024;

/// A server whose `/now` answers at once, `/slow` when it is let; then `/broken` breaks off.
struct Running {
    address: std::net::SocketAddr,
    /// Notified when `/slow` was asked for.
    asked: Arc<Notify>,
    /// Lets `/slow` answer.
    let_go: Arc<Notify>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// None but the number of connections that a test would meet.
fn bounds(most: usize) -> Bounds {
    Bounds {
        connections: Connections { most, most_per_address: None },
        source_of,
        handshake: LONG,
        first_request: LONG,
        idle: LONG,
        stall: LONG,
    }
}

async fn start(connections_max: usize, first_request: Duration) -> Running {
    start_as(Bounds { first_request, ..bounds(connections_max) }, None).await
}

async fn start_as(bounds: Bounds, tls: Option<Arc<Clients>>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, let_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (stop, stopped) = oneshot::channel();
    let slow = {
        let (asked, let_go) = (Arc::clone(&asked), Arc::clone(&let_go));
        move || async move {
            asked.notify_one();
            let_go.notified().await;
            "slow"
        }
    };
    let broken = {
        let let_go = Arc::clone(&let_go);
        move || async move {
            let first = stream::iter([Ok("some")]);
            let then = stream::once(async move {
                let_go.notified().await;
                Err(io::Error::other("disk"))
            });
            Body::from_stream(first.chain(then))
        }
    };
    let router = Router::new()
        .route("/now", get(|| async { "now" }))
        .route("/large", get(|| async { vec![b'x'; LARGE_BYTES] }))
        .route("/slow", get(slow))
        .route("/broken", get(broken));
    let telemetry = Telemetry { tracer: Tracer::default(), slow_request: LONG };
    let traffic = Traffic::new(&Bindings::default_for("test"), Tail::new(1, || 0), telemetry);
    let server = tokio::spawn(serve_within(
        bounds,
        listener,
        tls,
        router,
        traffic,
        None,
        stopped.map(|_| ()),
    ));
    Running { address, asked, let_go, stop, server }
}

/// Reads until the answer's body, `end`, has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(end) {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the connection ended after {answer:?}");
        answer.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    answer
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_closes_what_is_idle() {
    let running = start(10, LONG).await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(ASK).await.unwrap();
    read_until(&mut idle, "now").await;
    let mut busy = TcpStream::connect(running.address).await.unwrap();
    busy.write_all(ASK).await.unwrap();
    assert!(!read_until(&mut busy, "now").await.contains("connection: close"));
    busy.write_all(ASK_SLOW).await.unwrap();
    running.asked.notified().await;
    // Connected, and with its request sent, but perhaps not yet accepted.
    let mut late = TcpStream::connect(running.address).await.unwrap();
    late.write_all(ASK).await.unwrap();

    running.stop.send(()).unwrap();
    assert!(read_to_end(&mut late).await.ends_with("now"));
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(TcpStream::connect(running.address).await.is_err());
    running.let_go.notify_one();
    let answer = read_to_end(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
    drop((idle, busy, late));
    running.server.await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_told_to_close_cannot_come_back() {
    let running = start(10, LONG).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(ASK).await.unwrap();
    read_until(&mut client, "now").await;
    running.stop.send(()).unwrap();
    loop {
        client.write_all(ASK).await.unwrap();
        let answer = read_until(&mut client, "now").await;
        if answer.contains("connection: close") {
            break;
        }
    }
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_crosses_the_close_finds_a_clean_end() {
    let running = start(10, LONG).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(ASK).await.unwrap();
    read_until(&mut client, "now").await;
    running.stop.send(()).unwrap();
    // The node's half is closed now, and the client may not have looked.
    assert_eq!(read_to_end(&mut client).await, "");
    client.write_all(ASK).await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "");
    // The server waits for the client alone.
    drop(client);
    running.server.await.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_off_never_looks_complete() {
    let running = start(10, LONG).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = read_until(&mut client, "some\r\n").await;
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    running.let_go.notify_one();
    // The connection closes without the last, empty chunk.
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_room_is_given_again() {
    let running = start(1, LONG).await;
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first.write_all(ASK).await.unwrap();
    read_until(&mut first, "now").await;
    let mut second = TcpStream::connect(running.address).await.unwrap();
    let answer = read_to_end(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    drop(first);
    loop {
        let mut next = TcpStream::connect(running.address).await.unwrap();
        if next.write_all(ASK).await.is_ok() {
            let mut answer = [0; 12];
            if next.read_exact(&mut answer).await.is_ok() && answer == *b"HTTP/1.1 200" {
                break;
            }
        }
    }
}

/// Whether the server answers a client anew, and with what.
async fn status_of_another(running: &Running) -> Option<String> {
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(ASK).await.ok()?;
    let mut status = [0; 12];
    client.read_exact(&mut status).await.ok()?;
    Some(String::from_utf8(status.into()).unwrap())
}

#[tokio::test]
async fn an_address_has_its_share_of_connections() {
    let connections = Connections { most: 10, most_per_address: Some(2) };
    let source_of = |ip: IpAddr| Some(ip);
    let running = start_as(Bounds { connections, source_of, ..bounds(10) }, None).await;
    let refused = || counted().http_address_refused_connections.get();
    let before = refused();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(ASK).await.unwrap();
        read_until(&mut client, "now").await;
        held.push(client);
    }
    let mut third = TcpStream::connect(running.address).await.unwrap();
    let answer = read_to_end(&mut third).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("from this address"), "{answer}");
    assert!(refused() > before);
    held.pop();
    while status_of_another(&running).await.as_deref() != Some("HTTP/1.1 200") {}
}

#[tokio::test]
async fn this_machine_s_own_connections_are_not_counted() {
    let connections = Connections { most: 10, most_per_address: Some(1) };
    let running = start_as(Bounds { connections, ..bounds(10) }, None).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(ASK).await.unwrap();
        read_until(&mut client, "now").await;
        held.push(client);
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_not_kept() {
    let stall = Duration::from_millis(50);
    let running = start_as(Bounds { stall, ..bounds(1) }, None).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // It holds the only place until the server gives up.
    while status_of_another(&running).await.as_deref() != Some("HTTP/1.1 200") {}
    let mut taken = Vec::new();
    let _ = client.read_to_end(&mut taken).await;
    assert!(taken.starts_with(b"HTTP/1.1 200") && taken.len() < LARGE_BYTES, "{}", taken.len());
}

#[tokio::test]
async fn a_head_is_bounded() {
    let running = start(10, LONG).await;
    let ask = async |headers: String| {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        let head = format!("GET /now HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n");
        // The server may close before it has read all of it.
        let _ = client.write_all(head.as_bytes()).await;
        let mut status = [0; 12];
        client.read_exact(&mut status).await.unwrap();
        String::from_utf8(status.into()).unwrap()
    };
    let most = limits::CLIENT_HEAD_BYTES_MAX as usize;
    assert_eq!(ask(format!("x: {}\r\n", "x".repeat(most - 1024))).await, "HTTP/1.1 200");
    assert_eq!(ask(format!("x: {}\r\n", "x".repeat(most))).await, "HTTP/1.1 431");
    // hyper's own bound; two are there besides.
    assert_eq!(ask("x: x\r\n".repeat(98)).await, "HTTP/1.1 200");
    assert_eq!(ask("x: x\r\n".repeat(99)).await, "HTTP/1.1 431");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_not_kept() {
    let running = start(10, Duration::from_millis(1)).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    // As far as this goes, it might become HTTP/1 as well as HTTP/2.
    client.write_all(b"P").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "");
}

fn over_tls(handshake: Duration) -> (Bounds, Option<Arc<Clients>>, tls::Trust) {
    let (clients, trust) = tls::tests::localhost();
    (Bounds { handshake, ..bounds(10) }, Some(clients), trust)
}

#[tokio::test]
async fn a_client_over_tls_is_served_and_told_of_the_end() {
    let (bounds, clients, trust) = over_tls(LONG);
    let running = start_as(bounds, clients).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut client = trust.connect("127.0.0.1", stream).await.unwrap();
    for _ in 0..2 {
        client.write_all(ASK).await.unwrap();
        let mut answer = vec![0; 1024];
        let mut length = 0;
        while !answer[..length].ends_with(b"now") {
            length += client.read(&mut answer[length..]).await.unwrap();
        }
    }
    running.stop.send(()).unwrap();
    // A connection that was cut would be an error here.
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    drop(client);
    running.server.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_speak_tls_is_told_that_it_has_to() {
    let (bounds, clients, _) = over_tls(LONG);
    let running = start_as(bounds, clients).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(ASK).await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("not_tls") && answer.contains("https://"), "{answer}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_not_waited_for() {
    let (bounds, clients, _) = over_tls(Duration::from_millis(50));
    let running = start_as(bounds, clients).await;
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(begun).await.unwrap();
        // Closed or reset, for what was sent was not read to its end.
        let ended = client.read(&mut [0]).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    running.stop.send(()).unwrap();
    running.server.await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_handshake() {
    let (bounds, clients, _) = over_tls(LONG);
    let running = start_as(bounds, clients).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"\x16").await.unwrap();
    running.stop.send(()).unwrap();
    running.server.await.unwrap();
    assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_connection_too_many_over_tls_is_closed_and_room_is_given_again() {
    let (bounds, clients, trust) = over_tls(LONG);
    let connections = Connections { most: 1, most_per_address: None };
    let running = start_as(Bounds { connections, ..bounds }, clients).await;
    // Its handshake alone takes the place.
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first.write_all(b"\x16").await.unwrap();
    let mut second = TcpStream::connect(running.address).await.unwrap();
    assert!(matches!(second.read(&mut [0]).await, Ok(0) | Err(_)));
    drop(first);
    loop {
        let next = TcpStream::connect(running.address).await.unwrap();
        let Ok(mut next) = trust.connect("127.0.0.1", next).await else { continue };
        next.write_all(ASK).await.unwrap();
        let mut answer = [0; 12];
        next.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        break;
    }
}
