//! The same of HTTP/2, in frames (RFC 9113, section 4.1).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Bounds, Duration, LONG, bounds, start, start_as};
use crate::limits;

/// A client's first words: the preface, and settings that are the defaults.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// Of `DATA` and `HEADERS`: the stream's end.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Of `PING`: an answer.
const ACK: u8 = 1;

/// `:status 200` is one byte of a table (RFC 7541, appendix A).
const OK: u8 = 0x88;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn is_end(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The next frame; none at the end of the connection.
async fn read_frame(client: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    client.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    client.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream, payload })
}

/// The next frame of this kind.
async fn next_frame(client: &mut TcpStream, wanted: u8) -> Option<Frame> {
    loop {
        let frame = read_frame(client).await?;
        if frame.kind == wanted {
            return Some(frame);
        }
    }
}

/// A GET as literals and entries of a table (RFC 7541): `:method GET`, `:scheme http`, `:path`, `:authority`.
fn get(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    [b"\x82\x86\x04", &[length][..], path.as_bytes(), b"\x01\x01x"].concat()
}

/// `GET /now` with so many bytes in further headers, in as many frames as that takes.
fn get_now(stream: u32, further_bytes: usize) -> Vec<u8> {
    let mut fields = get("/now");
    for _ in 0..further_bytes.div_ceil(100) {
        fields.extend([&b"\0\x01x\x63"[..], &[b'x'; 99]].concat());
    }
    let pieces: Vec<&[u8]> = fields.chunks(16 * 1024).collect();
    let frames = pieces.iter().enumerate().map(|(place, piece)| {
        let end_headers = if place + 1 == pieces.len() { END_HEADERS } else { 0 };
        match place {
            0 => frame(HEADERS, END_STREAM | end_headers, stream, piece),
            _ => frame(CONTINUATION, end_headers, stream, piece),
        }
    });
    frames.collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn an_answer_comes_without_a_reset_although_nobody_read_the_body() {
    let running = start(10, LONG).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    // POST would be refused at once; a GET may have a body too, and its route can be held.
    let ask = frame(HEADERS, END_HEADERS, 1, &get("/slow"));
    client.write_all(&[HELLO, &ask].concat()).await.unwrap();
    running.asked.notified().await;
    running.let_go.notify_one();
    client.write_all(&frame(DATA, END_STREAM, 1, b"{}")).await.unwrap();
    loop {
        let frame = read_frame(&mut client).await.unwrap();
        assert_ne!(frame.kind, RST_STREAM);
        if frame.is_end() {
            break;
        }
    }
    // What would have come behind the answer has come before this.
    client.write_all(&frame(PING, 0, 0, b"pingping")).await.unwrap();
    loop {
        let frame = read_frame(&mut client).await.unwrap();
        assert_ne!(frame.kind, RST_STREAM);
        if frame.kind == PING {
            break;
        }
    }
    drop(client);
    running.stop.send(()).unwrap();
    running.server.await.unwrap();
}

#[tokio::test]
async fn a_head_is_bounded() {
    let running = start(10, LONG).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(HELLO).await.unwrap();
    // As HTTP/2 counts it, each of the headers has 132 bytes.
    let most = limits::CLIENT_HEAD_BYTES_MAX as usize;
    // The last shows that the connection goes on; what is refused is a 431.
    for (stream, further_bytes, is_taken) in [(1, most / 2, true), (3, most, false), (5, 0, true)] {
        client.write_all(&get_now(stream, further_bytes)).await.unwrap();
        let answer = next_frame(&mut client, HEADERS).await.unwrap();
        assert_eq!((answer.stream, answer.payload[0] == OK), (stream, is_taken));
    }
}

/// Answering pings keeps nobody who takes nothing, or does not agree to the end.
#[tokio::test]
async fn a_client_that_takes_nothing_is_not_kept() {
    let moment = Duration::from_millis(50);
    let running = start_as(Bounds { idle: moment, stall: moment, ..bounds(10) }, None).await;
    // The window that each stream begins with, of no bytes: `SETTINGS_INITIAL_WINDOW_SIZE`.
    let no_window = [HELLO, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    for (hello, is_taken) in [(HELLO, true), (&no_window, false)] {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(&[hello, &get_now(1, 0)].concat()).await.unwrap();
        let (mut told, mut data) = (false, false);
        while let Some(frame) = read_frame(&mut client).await {
            told |= frame.kind == GOAWAY;
            data |= frame.kind == DATA;
            if frame.kind == PING && !is_taken {
                // The server may have ended it just now.
                let _ = client.write_all(&self::frame(PING, ACK, 0, &frame.payload)).await;
            }
        }
        assert_eq!((told, data), (true, is_taken));
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_says_so() {
    let idle = Duration::from_millis(50);
    let running = start_as(Bounds { idle, ..bounds(10) }, None).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&[HELLO, &get_now(1, 0)].concat()).await.unwrap();
    let answer = next_frame(&mut client, HEADERS).await.unwrap();
    assert_eq!((answer.stream, answer.payload[0]), (1, OK));
    assert!(next_frame(&mut client, GOAWAY).await.is_some());
    // The server waits until it knows that the client has seen that.
    while let Some(frame) = read_frame(&mut client).await {
        if frame.kind == PING {
            client.write_all(&self::frame(PING, ACK, 0, &frame.payload)).await.unwrap();
        }
    }
}
