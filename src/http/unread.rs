//! Answers over HTTP/2 to requests whose bodies nobody has read to their end: what was refused at its head.
//!
//! A server that answers before it has the whole request resets the stream behind its answer, with no error
//! (RFC 9113, section 8.1). Some clients, curl 7.88 of Debian 12 for one, take that for a failure and do not
//! show the answer. So a body is lent out, and what nobody has read of it, if it is little and comes soon,
//! is read before the answer goes. HTTP/1.1 has no such resets; `linger.rs` does the like for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limits;

/// A body whose reader drops it when it is done, and which comes back to its lender then if there is more.
struct Lent {
    /// Present until the drop.
    body: Option<Body>,
    back: Option<oneshot::Sender<Body>>,
}

/// Lends `body` out. The receiver has what is left of it once it was dropped; nothing if nothing is.
pub(super) fn lend(body: Body) -> (Body, oneshot::Receiver<Body>) {
    let (back, returned) = oneshot::channel();
    (Body::new(Lent { body: Some(body), back: Some(back) }), returned)
}

/// Reads what is left of a body that was lent and has been dropped, and throws it away.
pub(super) async fn discard(mut returned: oneshot::Receiver<Body>) {
    let Ok(body) = returned.try_recv() else { return };
    let mut pieces = body.into_data_stream();
    let to_the_end = async {
        let mut left = limits::CLIENT_UNREAD_BYTES_MAX;
        while let Some(Ok(piece)) = pieces.next().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                break;
            }
        }
    };
    // A client that sends on, or nothing at all, is answered all the same.
    let _ = timeout(limits::CLIENT_LINGER_TIMEOUT, to_the_end).await;
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Some(back)) = (unread, self.back.take()) {
            // The connection may have gone.
            let _ = back.send(body);
        }
    }
}
