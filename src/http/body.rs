//! Request bodies: whole, bounded in bytes and in time, of any content type.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::error;
use crate::error::{Error, Kind, Result};
use crate::limits;

/// A request's body, at most [`limits::BODY_BYTES_MAX`] of it.
pub(super) struct Payload(Bytes);

impl Payload {
    #[cfg(test)]
    pub(super) fn of(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The body as it came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What `parse` makes of the body, which nobody has any more then: it lies in the connection's
    /// buffer, and if it were kept while its command waits, hyper would take another one for what may
    /// come next.
    ///
    /// # Errors
    /// Those of `parse`.
    pub(super) fn parse<T>(self, parse: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        parse(&self.0)
    }
}

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (head, body) = request.into_parts();
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let announced = length.and_then(|digits| digits.parse::<usize>().ok()).unwrap_or(0);
        if announced > limits::BODY_BYTES_MAX && head.headers.contains_key(EXPECT) {
            // The client waits for leave to send its body, and does not get it.
            return Err(too_large());
        }
        match timeout(limits::REQUEST_TIMEOUT, read(body)).await {
            Ok(read) => read.map(Payload),
            Err(_) => Err(Error::invalid(
                "slow_body",
                format!("the body did not come within {:?}", limits::REQUEST_TIMEOUT),
            )),
        }
    }
}

/// Reads a body. Nearly all come in one piece, which is not copied.
async fn read(body: Body) -> Result<Bytes> {
    let mut pieces = body.into_data_stream();
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut seen = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            Error::invalid("broken_body", format!("the body could not be read: {error}"))
        })?;
        seen += piece.len();
        if seen > limits::BODY_BYTES_DISCARDED_MAX {
            break;
        } else if seen > limits::BODY_BYTES_MAX {
            // Read on and throw away: if the connection were closed upon what the client is still
            // sending, the client would see a reset instead of the answer.
            continue;
        } else if first.is_empty() {
            first = piece;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&piece);
        }
    }
    if seen > limits::BODY_BYTES_MAX {
        return Err(too_large());
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

fn too_large() -> Error {
    let detail = format!("the body may have at most {} bytes", limits::BODY_BYTES_MAX);
    Error::new(Kind::TooLarge, error::BODY_TOO_LARGE, detail)
}
