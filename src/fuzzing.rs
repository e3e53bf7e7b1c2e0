//! Decoders that are private to their rooms, for those who feed them with anything: the targets in
//! `tests/bad_input/targets`, which `fuzz/` and `tests/bad_input.rs` share. No part of the
//! interface, and used by nothing else.

use std::io;

use crate::bindings::{Bindings, Class};
use crate::codec;
use crate::error::Result;
use crate::http::{objects, parameters};
use crate::machine::{Group, ObjectRef, Request};
use crate::peer::Kind;
use crate::propose::ForwardReply;
use crate::query::Filter;
use crate::raft;

pub use crate::http::idempotency::parse as idempotency_key;
pub use crate::http::json::{
    CheckBody, Config, CreditBody, LogEntry, PastEntry, QueryBody, ResetBody, batch, check, credit,
    entry, imported, policy, query, reset,
};
pub use raft::fuzzing::Stored;

/// The query string of `/export`: how entries are to be written, in one word, and which.
///
/// # Errors
/// Those that the client is told.
pub fn parameters(text: &str) -> Result<(String, Filter)> {
    let parameters::Parameters { format, filter } = parameters::parameters(text)?;
    Ok((format!("{format:?}"), filter))
}

/// The object of a path, `/do/{binding}/…`, if its binding is of `class`.
///
/// # Errors
/// Those that the client is told.
pub fn object(path: &str, bindings: &Bindings, class: Class) -> Result<ObjectRef> {
    objects::object(path, bindings, class).map(|(object, _)| object)
}

/// What a peer's request of `kind` carries, read and written again.
///
/// # Errors
/// If the payload is none of that kind.
pub fn request(kind: Kind, payload: &[u8]) -> io::Result<Vec<u8>> {
    match kind {
        Kind::Forward => Ok(codec::encode(&codec::decode::<Group<Request>>(payload)?)),
        other => raft::fuzzing::request(other, payload),
    }
}

/// What the reply to a request of `kind` carries, read and written again.
///
/// # Errors
/// If the payload is no reply to that kind.
pub fn reply(kind: Kind, payload: &[u8]) -> io::Result<Vec<u8>> {
    match kind {
        Kind::Forward => Ok(codec::encode(&codec::decode::<ForwardReply>(payload)?)),
        other => raft::fuzzing::reply(other, payload),
    }
}

/// What Raft keeps on disk, read and written again.
///
/// # Errors
/// If the bytes are none of that.
pub fn stored(what: Stored, bytes: &[u8]) -> io::Result<Vec<u8>> {
    raft::fuzzing::stored(what, bytes)
}
