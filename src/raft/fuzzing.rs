//! Raft's requests, replies and stored values as functions from bytes to bytes; see
//! [`crate::fuzzing`].

use std::collections::BTreeMap;
use std::io;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bootstrap::{Beginning, Grant};
use super::change::{Change, Changed, Refused};
use super::cluster::Status;
use super::read::ReadPoint;
use super::snapshot::{Begin, Chunk, End};
use super::types::{Entry, LogId, NodeAddress, SnapshotMeta, StoredMembership, TypeConfig, Vote};
use crate::codec;
use crate::peer::Kind;

/// A sort of value that Raft keeps on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// An entry of the log.
    Entry,
    /// The vote.
    Vote,
    /// A mark: what is applied, committed or purged.
    LogId,
    /// The membership beside the state.
    Membership,
    /// The meta of a snapshot.
    SnapshotMeta,
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> io::Result<Vec<u8>> {
    Ok(codec::encode(&codec::decode::<T>(bytes)?))
}

/// A request without content: whatever comes with it is not looked at.
fn nothing() -> io::Result<Vec<u8>> {
    Ok(Vec::new())
}

/// What a request carries, read and written again.
pub(crate) fn request(kind: Kind, payload: &[u8]) -> io::Result<Vec<u8>> {
    match kind {
        Kind::Append => again::<AppendEntriesRequest<TypeConfig>>(payload),
        Kind::Vote | Kind::PreVote => again::<VoteRequest<TypeConfig>>(payload),
        Kind::TransferLeader => again::<TransferLeaderRequest<TypeConfig>>(payload),
        Kind::SnapshotBegin => again::<Begin>(payload),
        Kind::SnapshotChunk => again::<Chunk>(payload),
        Kind::SnapshotEnd => again::<End>(payload),
        Kind::Begin => again::<Beginning>(payload),
        Kind::Bootstrap => again::<BTreeMap<u64, NodeAddress>>(payload),
        Kind::Change => again::<Change>(payload),
        Kind::Rejoin => again::<u8>(payload),
        Kind::Status | Kind::ReadIndex => nothing(),
        Kind::Forward => Err(io::Error::other("not a request of Raft")),
    }
}

/// What a reply carries, read and written again.
pub(crate) fn reply(kind: Kind, payload: &[u8]) -> io::Result<Vec<u8>> {
    match kind {
        Kind::Append => again::<AppendEntriesResponse<TypeConfig>>(payload),
        Kind::Vote | Kind::PreVote => again::<VoteResponse<TypeConfig>>(payload),
        Kind::TransferLeader => again::<TransferLeaderResponse<TypeConfig>>(payload),
        Kind::SnapshotEnd => again::<SnapshotResponse<TypeConfig>>(payload),
        Kind::Status => Ok(Status::from_wire(payload)?.to_wire()),
        Kind::Change => again::<Result<Changed, Refused>>(payload),
        Kind::ReadIndex => again::<ReadPoint>(payload),
        Kind::Rejoin => again::<Option<Grant>>(payload),
        Kind::SnapshotBegin | Kind::SnapshotChunk | Kind::Bootstrap | Kind::Begin => nothing(),
        Kind::Forward => Err(io::Error::other("not a request of Raft")),
    }
}

/// What is on disk, read and written again.
pub(crate) fn stored(what: Stored, bytes: &[u8]) -> io::Result<Vec<u8>> {
    match what {
        Stored::Entry => again::<Entry>(bytes),
        Stored::Vote => again::<Vote>(bytes),
        Stored::LogId => again::<LogId>(bytes),
        Stored::Membership => again::<StoredMembership>(bytes),
        Stored::SnapshotMeta => again::<SnapshotMeta>(bytes),
    }
}
