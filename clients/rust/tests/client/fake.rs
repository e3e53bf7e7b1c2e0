//! Small HTTP servers that fail in chosen ways.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// An answer of `POST /check`.
pub(crate) const ALLOWED: &str = r#"{"allowed":true,"remaining":95,"resetTime":1634567890000}"#;

/// What a node was asked. Headers have names in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn key(&self) -> Option<&str> {
        self.headers.get("idempotency-key").map(String::as_str)
    }
}

/// How a node answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With a status, further headers as they stand on the wire, and a body.
    Whole(u16, String, String),
    /// By breaking the connection off.
    Drop,
    /// Not at all.
    Hang,
    /// With these bytes and no more.
    Raw(&'static str),
    /// With parts of a body, so long after each other, and then so.
    Parts(&'static [&'static str], Duration, End),
}

/// How a body of parts ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Whole,
    Drop,
    Hang,
}

pub(crate) fn allow() -> Reply {
    Reply::Whole(200, String::new(), ALLOWED.to_owned())
}

/// tallykeep's form of an error (RFC 9457).
pub(crate) fn problem(status: u16, code: &str, headers: &str) -> Reply {
    let body = format!(r#"{{"status":{status},"detail":"detail of {code}","code":"{code}"}}"#);
    Reply::Whole(status, headers.to_owned(), body)
}

/// A node that answers as it was told, and remembers what it was asked.
pub(crate) struct FakeNode {
    pub(crate) endpoint: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

/// Is told how many requests there were before.
type Answer = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

struct State {
    answer: Box<Answer>,
    requests: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    closed: AtomicUsize,
}

impl FakeNode {
    /// `answer` is told how many requests there were before.
    pub(crate) async fn start(
        answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            answer: Box::new(answer),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
        });
        let of_task = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                of_task.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&of_task);
                tokio::spawn(async move {
                    // That a client goes away is no failure.
                    let _ = serve(&state, stream).await;
                    state.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { endpoint, state, task }
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.state.requests.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many of them are over.
    pub(crate) fn closed(&self) -> usize {
        self.state.closed.load(Ordering::SeqCst)
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(state: &State, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read_request(&mut stream).await? {
        let before = {
            let mut requests = state.requests.lock().unwrap();
            requests.push(asked.clone());
            requests.len() - 1
        };
        match (state.answer)(before, &asked) {
            Reply::Whole(status, headers, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Phrase\r\n{headers}content-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(body.as_bytes()).await?;
            }
            Reply::Drop => return Ok(()),
            Reply::Hang => return until_gone(&mut stream).await,
            Reply::Raw(bytes) => return stream.write_all(bytes.as_bytes()).await,
            Reply::Parts(parts, gap, end) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                for part in parts {
                    let chunk = format!("{:x}\r\n{part}\r\n", part.len());
                    stream.write_all(chunk.as_bytes()).await?;
                    tokio::time::sleep(gap).await;
                }
                match end {
                    End::Whole => stream.write_all(b"0\r\n\r\n").await?,
                    End::Drop => return Ok(()),
                    End::Hang => return until_gone(&mut stream).await,
                }
            }
        }
    }
    Ok(())
}

/// Waits until the client has closed the connection.
async fn until_gone(stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte).await? > 0 {}
    Ok(())
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body).unwrap();
    Ok(Some(Asked { method, path, headers, body }))
}

/// An endpoint where nobody listens.
pub(crate) async fn dead_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
