//! What a call fails with.

use std::error::Error as StdError;
use std::fmt;

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An argument is out of bounds. Nothing was sent.
    Argument,
    /// No node could be reached, none answered in time, or an export broke off. Has no status.
    NoAnswer,
    /// The last answer was a 5xx: 503 `no_leader`, `overloaded`; 507; 500.
    Server,
    /// The cluster refused what was asked, a 4xx: the message says what is wrong with it. One is
    /// retryable: the 429 `token_rate_limited`, for a token that asked every node too often until the
    /// call's time was over.
    Request,
    /// An answer that is none of tallykeep's: something else is at the endpoint, or in between.
    Protocol,
}

/// A call that came to nothing.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    status: Option<u16>,
    code: Option<String>,
    is_retryable: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let is_retryable = kind == ErrorKind::NoAnswer;
        Self { kind, message: message.into(), status: None, code: None, is_retryable, source: None }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Argument, message)
    }

    pub(crate) fn with_answer(mut self, status: u16, code: Option<String>) -> Self {
        self.status = Some(status);
        self.code = code;
        self
    }

    pub(crate) fn with_retryable(mut self, is_retryable: bool) -> Self {
        self.is_retryable = is_retryable;
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The status of the last answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The stable word of the last answer's problem (RFC 9457): `no_leader`, `overloaded`, …
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Whether the same call may be carried out if it is made again later. It may also have been
    /// carried out by now: give both the same key ([`crate::Client::with_idempotency_key`]), and it
    /// counts once.
    pub fn is_retryable(&self) -> bool {
        self.is_retryable
    }

    /// Whether the cluster has too much to do: trying again at once makes it worse.
    pub fn is_overloaded(&self) -> bool {
        self.code() == Some("overloaded")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// An error and what is behind it, in one line: reqwest's own message has no reason.
pub(crate) fn reason(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
