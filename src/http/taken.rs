//! Whether a client of HTTP/2 takes the answers that it is sent.
//!
//! hyper asks a body for more only while its stream has room (RFC 9113, section 5.2), so a connection none of
//! whose bodies is asked any more is one whose client takes nothing, however many pings it answers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// Set when a body of a connection is asked for more.
#[derive(Clone, Default)]
pub(super) struct Taken(Arc<AtomicBool>);

/// A body that says so.
struct Watched {
    body: Body,
    taken: Taken,
}

impl Taken {
    /// A body that says when it is asked for more.
    pub(super) fn watch(&self, body: Body) -> Body {
        Body::new(Watched { body, taken: self.clone() })
    }

    /// Whether one was since this was called last.
    pub(super) fn lately(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.taken.0.store(true, Ordering::Relaxed);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
