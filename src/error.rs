//! The errors that a caller can act on.
//!
//! A refused check is not an error: it is an outcome of the machine. A local fault while an entry
//! is applied is not one either: it stops the node. What is left is told to the client, and
//! `http/error.rs` alone decides with which status.

use std::fmt;

/// What a caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong and will be wrong again.
    Invalid,
    /// Nobody knows who asks: there is no valid token with the request.
    Unauthenticated,
    /// The request's token may not be used for it.
    Forbidden,
    /// There is no such object or route.
    NotFound,
    /// The request does not fit what the cluster is now. Nothing was changed.
    Conflict,
    /// The request's idempotency key was used for another request. Nothing was changed.
    KeyReused,
    /// The request is larger than allowed.
    TooLarge,
    /// The request's token asks this node more often than it may. Nothing was changed.
    TooOften,
    /// This node has as much work as it takes: try again, here or elsewhere. Nothing was changed.
    Overloaded,
    /// No leader could be reached in time. Nothing was changed.
    Unavailable,
    /// There is no majority of nodes with space left on their disks, no room left for what has to be
    /// kept, or a quota is used up. Nothing was changed.
    StorageFull,
    /// The command may or may not have been applied: the answer did not come in time.
    Unknown,
    /// A fault inside, told in the log.
    Internal,
}

/// An error for the caller: its kind and one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What to do about it.
    pub kind: Kind,
    /// A stable word that programs may compare.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` with a stable `code` and a sentence.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into() }
    }

    /// [`Kind::Invalid`]: the request cannot be carried out as it stands.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, code, message)
    }

    /// [`Kind::Overloaded`]: a bounded queue is full.
    pub fn overloaded(what: &str) -> Self {
        Self::new(Kind::Overloaded, "overloaded", format!("{what}; try again shortly"))
    }

    /// [`Kind::Unavailable`]: nothing was changed, for want of a leader.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, "no_leader", message)
    }

    /// [`Kind::Unknown`]: the command's fate could not be learnt in time.
    pub fn unknown() -> Self {
        Self::new(
            Kind::Unknown,
            "unknown_outcome",
            "the answer did not come in time; the request may have been carried out",
        )
    }

    /// [`Kind::Internal`]: what is on this node's disk could not be read.
    pub fn unreadable(error: std::io::Error) -> Self {
        Self::internal(format!("the state could not be read: {error}"))
    }

    /// [`Kind::Internal`]: a fault that the log tells more of.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "internal", message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
