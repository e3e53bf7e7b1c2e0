//! Exports: all entries that match a filter, as they come.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result, reason};

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"entries":[…],"count":n}`.
    Json,
    /// One entry a line.
    Ndjson,
    /// RFC 4180, with a header line. With `escape`, cells that a spreadsheet would run get a `'` in
    /// front.
    Csv {
        /// Whether they do.
        escape: bool,
    },
}

/// An export that has begun, in parts of any size.
#[derive(Debug)]
pub struct Export {
    response: reqwest::Response,
    stall: Duration,
}

impl Export {
    pub(crate) fn new(response: reqwest::Response, stall: Duration) -> Self {
        Self { response, stall }
    }

    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::NoAnswer`]: the export broke off, or no part came for the client's `timeout`. It
    /// is not begun again, for another snapshot would follow.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let broke_off =
            |why: String| Error::new(ErrorKind::NoAnswer, format!("the export broke off: {why}"));
        match timeout(self.stall, self.response.chunk()).await {
            Ok(Ok(part)) => Ok(part),
            Ok(Err(error)) => Err(broke_off(reason(&error)).with_source(error)),
            Err(_) => Err(broke_off(format!("no part within {} ms", self.stall.as_millis()))),
        }
    }
}
