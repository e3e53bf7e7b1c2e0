//! A body that a blocking task makes, a piece at a time.
//!
//! The pieces go through a short queue, so memory is constant however long the body and however slow
//! the client, and the task waits for the client, but not for ever. A body that is given up on its way
//! ends in an error, and so the connection in a reset: it never looks complete.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::limits;

/// What goes from a blocking task to the response.
pub(super) enum Piece {
    Bytes(Bytes),
    /// The body is whole. Without this the body ends in an error.
    End,
}

/// A bounded queue and the body that is its other end.
pub(super) fn queue() -> (mpsc::Sender<Piece>, Body) {
    let (sender, receiver) = mpsc::channel(limits::STREAM_QUEUE_MAX);
    let pieces = stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the body was cut off")), None)),
        }
    });
    // Compression asks once more behind the end, which a stream need not bear.
    (sender, Body::from_stream(pieces.fuse()))
}

/// Waits for room in the queue, but not for ever.
///
/// # Errors
/// `BrokenPipe` if the client is gone, `TimedOut` if it takes nothing.
pub(super) fn send(sender: &mpsc::Sender<Piece>, piece: Piece) -> io::Result<()> {
    let sent = Handle::current()
        .block_on(async { timeout(limits::STREAM_STALL_TIMEOUT, sender.send(piece)).await });
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")),
    }
}
