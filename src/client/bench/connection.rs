//! One kept HTTP/1.1 connection to a node, with one request under way at a time, over TLS or without.
//!
//! Written by hand over [`httparse`], for a load generator must cost little beside what it loads:
//! a request is a `write`, an answer is a `read`, and nothing is allocated in between. It
//! understands what nodes send: answers with a `Content-Length` (RFC 9112, section 6.2).

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{BENCH_ANSWER_BYTES_MAX, CLIENT_CONNECT_TIMEOUT, CLIENT_TIMEOUT};
use crate::tls::{Trust, TrustedStream};

/// Headers of an answer that are looked at.
const HEADERS_MAX: usize = 32;
/// Bytes that are read at once, at least.
const READ_BYTES: usize = 4 * 1024;

/// Why a request has no answer. The connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The connection broke.
    #[error("{0}")]
    Lost(#[from] io::Error),
    /// Nothing came for [`CLIENT_TIMEOUT`].
    #[error("no answer within {} s", CLIENT_TIMEOUT.as_secs())]
    TimedOut,
    /// What came is no answer.
    #[error("the answer is not HTTP as a node speaks it: {0}")]
    Malformed(&'static str),
}

/// A whole answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    /// Such as 200.
    pub(super) status: u16,
    /// All of it.
    pub(super) body: &'a [u8],
    /// Whether the node closes the connection after it.
    pub(super) is_last: bool,
}

/// An open connection.
pub(super) struct Connection {
    stream: Stream,
    received: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<TrustedStream<TcpStream>>),
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    is_last: bool,
    /// Bytes of the head.
    head_len: usize,
    /// Bytes of the head and the body.
    whole_len: usize,
}

impl Connection {
    /// Connects; over TLS if there is somebody to trust, who has to say that it is `host`.
    ///
    /// # Errors
    /// What the system said; `TimedOut` after [`CLIENT_CONNECT_TIMEOUT`].
    pub(super) async fn open(address: SocketAddr, tls: Option<(&Trust, &str)>) -> io::Result<Self> {
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(match tls {
                None => Stream::Plain(stream),
                Some((trust, host)) => Stream::Secure(trust.connect(host, stream).await?.into()),
            })
        };
        let stream = timeout(CLIENT_CONNECT_TIMEOUT, connect).await??;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends a request, head and body, and reads the whole answer.
    ///
    /// # Errors
    /// As [`Broken`] says. The request may have been carried out nonetheless.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, Broken> {
        let Head { status, is_last, head_len, whole_len } =
            timeout(CLIENT_TIMEOUT, self.exchange_patiently(request))
                .await
                .map_err(|_| Broken::TimedOut)??;
        Ok(Answer { status, is_last, body: &self.received[head_len..whole_len] })
    }

    async fn exchange_patiently(&mut self, request: &[u8]) -> Result<Head, Broken> {
        self.received.clear();
        match &mut self.stream {
            Stream::Plain(stream) => exchange(stream, &mut self.received, request).await,
            Stream::Secure(stream) => exchange(&mut **stream, &mut self.received, request).await,
        }
    }
}

async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    received: &mut Vec<u8>,
    request: &[u8],
) -> Result<Head, Broken> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut head = None;
    loop {
        let whole_len = head.as_ref().map_or(0, |head: &Head| head.whole_len);
        let missing = whole_len.saturating_sub(received.len());
        received.reserve(missing.max(READ_BYTES));
        if stream.read_buf(received).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if head.is_none() {
            head = parse(received)?;
        }
        if let Some(head) = head.take_if(|head| head.whole_len <= received.len()) {
            if head.whole_len < received.len() {
                return Err(Broken::Malformed("more bytes than its length"));
            }
            return Ok(head);
        }
    }
}

/// Reads the head of an answer; none if it is not there yet.
fn parse(received: &[u8]) -> Result<Option<Head>, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head_len = match response.parse(received) {
        Ok(httparse::Status::Complete(head_len)) => head_len,
        Ok(httparse::Status::Partial) if received.len() < BENCH_ANSWER_BYTES_MAX => {
            return Ok(None);
        }
        Ok(httparse::Status::Partial) => return Err(Broken::Malformed("a head without an end")),
        Err(_) => return Err(Broken::Malformed("no status line, or a broken header")),
    };
    let (mut body_len, mut is_last) = (None, response.version == Some(0));
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
            body_len = length.filter(|length: &usize| *length <= BENCH_ANSWER_BYTES_MAX);
        } else if header.name.eq_ignore_ascii_case("connection") {
            is_last |= header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let body_len = body_len.ok_or(Broken::Malformed("no Content-Length within bounds"))?;
    let status = response.code.ok_or(Broken::Malformed("no status"))?;
    Ok(Some(Head { status, is_last, head_len, whole_len: head_len + body_len }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn head(text: &str) -> Option<Head> {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn heads() {
        let text = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5\r\nretry-after: 1\r\n\r\n";
        let len = text.len();
        let expected = Head { status: 429, is_last: false, head_len: len, whole_len: len + 5 };
        assert_eq!(head(text), Some(expected));
        assert_eq!(head(&text[..len - 1]), None);
        let last = "HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n";
        assert!(head(last).unwrap().is_last);
    }

    #[test]
    fn what_is_no_answer() {
        for wrong in [
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(matches!(parse(wrong.as_bytes()), Err(Broken::Malformed(_))), "{wrong}");
        }
    }

    /// A node that answers each request with the next of `answers`, in the pieces given, and then
    /// closes the connection.
    async fn node(answers: &'static [&'static [&'static str]]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            for answer in answers {
                let mut request = [0; 4];
                stream.read_exact(&mut request).await.unwrap();
                assert_eq!(&request, b"ping");
                for piece in *answer {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        Connection::open(address, None).await.unwrap()
    }

    #[tokio::test]
    async fn answers_come_in_pieces_and_one_after_the_other() {
        let mut connection = node(&[
            &["HTTP/1.1 200 OK\r\ncon", "tent-length: 6\r\n\r", "\nfo", "obar"],
            &["HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"],
        ])
        .await;
        let answer = connection.exchange(b"ping").await.unwrap();
        assert_eq!((answer.status, answer.body), (200, b"foobar".as_slice()));
        let answer = connection.exchange(b"ping").await.unwrap();
        assert_eq!((answer.status, answer.body), (503, b"".as_slice()));
        assert!(matches!(connection.exchange(b"ping").await, Err(Broken::Lost(_))));
    }

    #[tokio::test]
    async fn an_answer_cut_short_is_lost() {
        let mut connection = node(&[&["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nfoo"]]).await;
        assert!(matches!(connection.exchange(b"ping").await, Err(Broken::Lost(_))));
    }

    #[tokio::test]
    async fn an_answer_longer_than_it_says_is_none() {
        let mut connection = node(&[&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nfoo"]]).await;
        assert!(matches!(connection.exchange(b"ping").await, Err(Broken::Malformed(_))));
    }
}
