//! The answering side: accepts peers, and hands their requests to a [`Handler`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::complaint::Complaint;
use super::{
    Accept, Caller, Connection, Hello, Kind, PROTOCOL, REPLY_DONE, REPLY_FAILED, framed, widen,
};
use crate::codec;
use crate::limits;

/// How long a caller may take to greet, its TLS handshake included.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing came for this long is closed; a link makes another when it needs it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Requests of one connection that are carried out at once.
const CONCURRENCY_MAX: usize = 256;

/// A request of a kind that keeps its order, and where its reply goes.
pub struct Ordered {
    /// What the caller sent.
    pub payload: Bytes,
    id: u64,
}

impl Ordered {
    /// The reply to this request, for the channel that was handed to [`Handler::appends`].
    pub fn reply(self, answer: io::Result<Vec<u8>>) -> Reply {
        Reply { id: self.id, answer }
    }
}

/// An answer on its way back.
pub struct Reply {
    id: u64,
    answer: io::Result<Vec<u8>>,
}

/// What answers peers' requests.
pub trait Handler: Send + Sync + 'static {
    /// Carries out one request of node `from`. An error is sent back as its text.
    fn call(
        &self,
        from: u64,
        kind: Kind,
        payload: Bytes,
    ) -> BoxFuture<'static, io::Result<Vec<u8>>>;

    /// Carries out the appends of one connection, in order, until `requests` ends. An append that
    /// gets no reply breaks the connection.
    fn appends(
        &self,
        requests: mpsc::Receiver<Ordered>,
        replies: mpsc::Sender<Reply>,
    ) -> BoxFuture<'static, ()>;
}

/// Answers peers of `cluster` that mean node `id`, until dropped.
pub async fn listen(
    mut listener: impl Accept,
    cluster: String,
    id: u64,
    handler: Arc<dyn Handler>,
) {
    let places = Arc::new(Semaphore::new(limits::PEER_CONNECTIONS_MAX));
    let refusals = Arc::new(Complaint::default());
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let arrival = match listener.accept().await {
            Ok(arrival) => arrival,
            Err(error) => {
                // Out of descriptors, most likely: others may be closed soon.
                tracing::warn!(%error, "cannot accept a peer");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (cluster, handler, refusals) = (cluster.clone(), handler.clone(), refusals.clone());
        connections.spawn(async move {
            let deadline = Instant::now() + HELLO_TIMEOUT;
            match timeout_at(deadline, arrival).await {
                Ok(Ok((connection, caller))) => {
                    let here = Here { cluster: &cluster, id, refusals: &refusals };
                    if let Err(error) = converse(connection, caller, deadline, here, handler).await
                    {
                        tracing::debug!(%error, "a peer's connection ended");
                    }
                }
                Ok(Err(error)) => complain(&refusals, None, &error.to_string()),
                Err(_) => complain(&refusals, None, "no TLS handshake in time"),
            }
            drop(place);
        });
    }
}

/// Says that somebody was refused, if it was not said of others just now: anybody can cause it.
fn complain(refusals: &Complaint, from: Option<u64>, refusal: &str) {
    if let Some(left_out) = refusals.due() {
        tracing::warn!(from, refusal, left_out, "refused a peer");
    }
}

/// What callers find.
struct Here<'a> {
    cluster: &'a str,
    id: u64,
    refusals: &'a Complaint,
}

async fn converse(
    connection: impl Connection,
    caller: Caller,
    deadline: Instant,
    here: Here<'_>,
    handler: Arc<dyn Handler>,
) -> io::Result<()> {
    let mut connection = framed(connection);
    let Ok(Some(frame)) = timeout_at(deadline, connection.next()).await else { return Ok(()) };
    let hello: Hello = codec::decode(&frame?)?;
    let welcome = admit(&hello, &caller, here.cluster, here.id);
    connection.send(Bytes::from(codec::encode(&welcome))).await?;
    if let Err(refusal) = welcome {
        complain(here.refusals, Some(hello.from), &refusal);
        return Ok(());
    }
    // What it has proved is of no more use, and a connection lives long.
    drop(caller);
    widen(&mut connection);

    let (mut sink, mut stream) = connection.split();
    let (replies, mut done) = mpsc::channel::<Reply>(CONCURRENCY_MAX);
    let places = Arc::new(Semaphore::new(CONCURRENCY_MAX));
    let write = async {
        while let Some(reply) = done.recv().await {
            sink.feed(frame_of(reply)).await?;
            while let Ok(reply) = done.try_recv() {
                sink.feed(frame_of(reply)).await?;
            }
            sink.flush().await?;
        }
        io::Result::Ok(())
    };
    let read = async {
        // Dropped, and so ended, with the connection.
        let mut tasks = tokio::task::JoinSet::new();
        let (appends, ordered) = mpsc::channel(limits::APPENDS_IN_FLIGHT_MAX * 2);
        let mut ordered = Some(ordered);
        // A peer that is gone without a word must not keep its place for ever.
        while let Some(frame) = timeout(IDLE_TIMEOUT, stream.next()).await? {
            let mut frame = frame?;
            if frame.len() < 9 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame without a header"));
            }
            let (id, kind) = (frame.get_u64(), frame.get_u8());
            let payload = frame.freeze();
            while tasks.try_join_next().is_some() {}
            match Kind::from_byte(kind) {
                Some(Kind::Append) => {
                    if let Some(ordered) = ordered.take() {
                        tasks.spawn(handler.appends(ordered, replies.clone()));
                    }
                    appends
                        .send(Ordered { payload, id })
                        .await
                        .map_err(|_| io::Error::other("the append stream ended"))?;
                }
                Some(kind) => {
                    let place = places.clone().acquire_owned().await;
                    let call = handler.call(hello.from, kind, payload);
                    let replies = replies.clone();
                    tasks.spawn(async move {
                        let answer = call.await;
                        replies.send(Reply { id, answer }).await.ok();
                        drop(place);
                    });
                }
                None => {
                    let answer = Err(io::Error::other(format!("unknown request kind {kind}")));
                    replies.send(Reply { id, answer }).await.ok();
                }
            }
        }
        Ok(())
    };
    tokio::select! { ended = read => ended, ended = write => ended }
}

fn admit(hello: &Hello, caller: &Caller, cluster: &str, id: u64) -> Result<(), String> {
    caller
        .is_node(hello.from)
        .map_err(|why| format!("not proved to be node {}: {why}", hello.from))?;
    if hello.protocol != PROTOCOL {
        return Err(format!("protocol {} here, {} there", PROTOCOL, hello.protocol));
    }
    if hello.cluster != cluster {
        return Err(format!("this is cluster {cluster:?}, not {:?}", hello.cluster));
    }
    if hello.to != id {
        return Err(format!("this is node {id}, not {}", hello.to));
    }
    Ok(())
}

fn frame_of(reply: Reply) -> Bytes {
    let (kind, payload) = match reply.answer {
        Ok(payload) => (REPLY_DONE, payload),
        Err(error) => (REPLY_FAILED, error.to_string().into_bytes()),
    };
    let mut frame = BytesMut::with_capacity(9 + payload.len());
    frame.put_u64(reply.id);
    frame.put_u8(kind);
    frame.put_slice(&payload);
    frame.freeze()
}
