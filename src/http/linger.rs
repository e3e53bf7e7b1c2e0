//! Closing a connection so that its client reads the end of it, and not an error; and giving up on a client
//! that takes nothing of what it is sent.
//!
//! A socket that is closed while a client's bytes lie in it unread, or before bytes that are on
//! their way arrive, answers them with a reset; and a reset discards what the client has not read
//! yet. So only the writing half is closed at first, and the other half is read until the client
//! has closed its own (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep, timeout};

use crate::limits;

/// A stream whose user drops it when it is done, and which comes back to its lender then.
pub(super) struct Lent {
    /// Present until the drop.
    stream: Option<TcpStream>,
    back: Option<oneshot::Sender<TcpStream>>,
    /// How long the client may take nothing while there is something for it.
    stall: Duration,
    /// There while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Lends `stream` out; the receiver is ready when it was dropped. Writing fails once the client has taken
/// nothing for as long as `stall`.
pub(super) fn lend(stream: TcpStream, stall: Duration) -> (Lent, oneshot::Receiver<TcpStream>) {
    let (back, returned) = oneshot::channel();
    (Lent { stream: Some(stream), back: Some(back), stall, stalled: None }, returned)
}

/// Closes `stream`: says that nothing more will come, and reads until the client says so too, at
/// most for [`limits::CLIENT_LINGER_TIMEOUT`].
pub(super) async fn close(mut stream: TcpStream) {
    // Fails where the client is gone already, and then there is nobody to wait for.
    if stream.shutdown().await.is_err() {
        return;
    }
    let until_closed = async {
        let mut unheard = [0; 4096];
        while stream.read(&mut unheard).await.is_ok_and(|read| read > 0) {}
    };
    // Late or not, it is over: the stream is dropped.
    let _ = timeout(limits::CLIENT_LINGER_TIMEOUT, until_closed).await;
}

impl Lent {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(self.get_mut().stream.as_mut().expect("a stream until it is dropped"))
    }

    /// What a write came to, or the end of the client's time if it has taken nothing for too long.
    fn unless_stalled(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if written.is_ready() {
            // As a rule it is none already, and nothing is done here.
            this.stalled = None;
            return written;
        }
        let stall = this.stall;
        let stalled = this.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Whoever does not wait for it any more does not want it: it is closed.
            let _ = back.send(stream);
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, into)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.as_mut().stream().poll_write(context, bytes);
        self.unless_stalled(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.as_mut().stream().poll_write_vectored(context, pieces);
        self.unless_stalled(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
