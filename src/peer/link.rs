//! The calling side: one kept connection to one peer.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::complaint::Complaint;
use super::{Connection, Dial, Hello, Kind, REPLY_DONE, framed, widen};
use crate::codec;
use crate::limits;

/// How long a connection may take to be made, the greeting included.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);

/// A handle of a connection to a peer that is made when it is first needed, and again after it
/// broke. Calls are written in the order in which [`Link::call`] was called.
#[derive(Clone, Debug)]
pub struct Link {
    calls: mpsc::Sender<Call>,
}

#[derive(Debug)]
struct Call {
    kind: Kind,
    payload: Bytes,
    reply: oneshot::Sender<io::Result<Bytes>>,
}

impl Link {
    /// A link to the peer at `address`, made by `dial`, which greets with `hello`. A connection on
    /// which the peer owes an answer and has sent nothing for `silence` is given up.
    pub fn new(dial: Arc<dyn Dial>, address: String, hello: Hello, silence: Duration) -> Self {
        let (calls, waiting) = mpsc::channel(limits::LINK_QUEUE_MAX);
        tokio::spawn(run(dial, address, hello, silence, waiting));
        Self { calls }
    }

    /// Sends a request; the future gives the reply. The request is on its way, behind those called
    /// before, when this returns.
    ///
    /// # Errors
    /// (of the future) `ConnectionRefused` or `TimedOut` if the peer was not reached and
    /// `WouldBlock` if too many requests wait: then nothing was sent. Any other kind if it may have
    /// been: `ConnectionReset` if the connection broke afterwards, `Other` with the peer's message
    /// if it could not carry the request out.
    pub fn call(
        &self,
        kind: Kind,
        payload: Vec<u8>,
    ) -> impl Future<Output = io::Result<Bytes>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let sent = self.calls.try_send(Call { kind, payload: payload.into(), reply });
        async move {
            sent.map_err(|_| {
                io::Error::new(io::ErrorKind::WouldBlock, "too many requests wait for the peer")
            })?;
            answer.await.unwrap_or_else(|_| Err(broken("the link was closed")))
        }
    }
}

fn broken(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, why.into())
}

async fn run(
    dial: Arc<dyn Dial>,
    address: String,
    hello: Hello,
    silence: Duration,
    mut waiting: mpsc::Receiver<Call>,
) {
    let strangers = Complaint::default();
    while let Some(first) = waiting.recv().await {
        if first.reply.is_closed() {
            continue;
        }
        match timeout(CONNECT_TIMEOUT, connect(&*dial, &address, &hello, &strangers)).await {
            Ok(Ok(connection)) => converse(connection, silence, first, &mut waiting).await,
            failed => {
                let error = match failed {
                    Ok(Err(error)) => error,
                    _ => io::Error::new(io::ErrorKind::TimedOut, "the peer did not answer"),
                };
                tracing::debug!(peer = hello.to, address, %error, "peer not reached");
                let refuse = |call: Call| {
                    let error = io::Error::new(error.kind(), error.to_string());
                    let _ = call.reply.send(Err(error));
                };
                refuse(first);
                // Those that queued meanwhile were waiting for the same connection.
                while let Ok(call) = waiting.try_recv() {
                    refuse(call);
                }
            }
        }
    }
}

async fn connect(
    dial: &dyn Dial,
    address: &str,
    hello: &Hello,
    strangers: &Complaint,
) -> io::Result<Framed<Box<dyn Connection>, LengthDelimitedCodec>> {
    let unreached = |error: io::Error| {
        // A peer that is away comes back. One whose certificate is no good, or that takes this
        // node's for none, does not.
        if error.kind() == io::ErrorKind::InvalidData
            && let Some(left_out) = strangers.due()
        {
            tracing::warn!(peer = hello.to, address, %error, left_out, "a peer that is none");
        }
        io::Error::new(io::ErrorKind::ConnectionRefused, format!("cannot reach peer: {error}"))
    };
    let mut connection = framed(dial.dial(hello.to, address).await.map_err(unreached)?);
    connection.send(Bytes::from(codec::encode(hello))).await.map_err(unreached)?;
    let welcome = match connection.next().await {
        Some(frame) => frame.map_err(unreached)?,
        None => return Err(unreached(broken("the peer closed the connection"))),
    };
    codec::decode::<Result<(), String>>(&welcome)?
        .map_err(|refusal| io::Error::new(io::ErrorKind::ConnectionRefused, refusal))?;
    widen(&mut connection);
    Ok(connection)
}

/// Replies that are owed, by request id, and when the peer was last heard of.
struct Owed {
    replies: BTreeMap<u64, oneshot::Sender<io::Result<Bytes>>>,
    heard: Instant,
}

/// Sends calls and hands out replies until the connection breaks or the link is dropped.
///
/// Writing and reading are apart: a writer that waits for the peer to read must not keep this side
/// from reading, or the two would wait for each other.
async fn converse(
    connection: Framed<Box<dyn Connection>, LengthDelimitedCodec>,
    silence: Duration,
    first: Call,
    waiting: &mut mpsc::Receiver<Call>,
) {
    let (mut sink, mut stream) = connection.split();
    let owed = Mutex::new(Owed { replies: BTreeMap::new(), heard: Instant::now() });
    let write = async {
        let mut next_id = 0u64;
        let mut call = Some(first);
        loop {
            let Some(Call { kind, payload, reply }) = call.take() else {
                timeout(silence, sink.flush()).await??;
                call = waiting.recv().await;
                if call.is_none() {
                    return Err(broken("the link was closed"));
                }
                continue;
            };
            if reply.is_closed() {
                // Who called has given up; while the peer did not read, many may have.
                call = waiting.try_recv().ok();
                continue;
            }
            next_id += 1;
            {
                let mut owed = lock(&owed);
                if owed.replies.is_empty() {
                    owed.heard = Instant::now();
                }
                owed.replies.insert(next_id, reply);
            }
            let mut frame = BytesMut::with_capacity(9 + payload.len());
            frame.put_u64(next_id);
            frame.put_u8(kind as u8);
            frame.put(payload);
            timeout(silence, sink.feed(frame.freeze())).await??;
            // What waits is fed before the flush, so that many small frames share one write.
            call = waiting.try_recv().ok();
        }
    };
    let read = async {
        while let Some(frame) = stream.next().await {
            let mut frame = frame?;
            if frame.len() < 9 {
                return Err(broken("the peer sent a frame without a header"));
            }
            let (id, kind) = (frame.get_u64(), frame.get_u8());
            let answer = match kind {
                REPLY_DONE => Ok(frame.freeze()),
                _ => Err(io::Error::other(String::from_utf8_lossy(&frame).into_owned())),
            };
            let mut owed = lock(&owed);
            owed.heard = Instant::now();
            if let Some(reply) = owed.replies.remove(&id) {
                // Who called may have given up.
                let _ = reply.send(answer);
            }
        }
        Err(broken("the peer closed the connection"))
    };
    let watch = async {
        let mut ticks = interval(silence / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut owed = lock(&owed);
            owed.replies.retain(|_, reply| !reply.is_closed());
            if !owed.replies.is_empty() && owed.heard.elapsed() > silence {
                let silent_ms = owed.heard.elapsed().as_millis();
                return Err(broken(format!("the peer was silent for {silent_ms} ms")));
            }
        }
    };
    let ended: io::Result<()> = tokio::select! {
        ended = write => ended,
        ended = read => ended,
        ended = watch => ended,
    };
    let why = ended.err().map_or_else(String::new, |error| error.to_string());
    for (_, reply) in std::mem::take(&mut lock(&owed).replies) {
        let _ = reply.send(Err(broken(why.clone())));
    }
}

fn lock(owed: &Mutex<Owed>) -> MutexGuard<'_, Owed> {
    owed.lock().unwrap_or_else(PoisonError::into_inner)
}
