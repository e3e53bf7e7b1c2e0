//! The wire between nodes: requests and replies in length-prefixed frames over kept connections.
//!
//! A frame is `length (4) ‖ request id (8) ‖ kind (1) ‖ payload`, numbers big-endian. A connection
//! starts with a [`Hello`] that says which cluster and which node it is for, so that nodes of two
//! clusters, or a node at another's address, never talk past each other. Over TLS it is believed only
//! as far as the certificates of both sides bear it out. Requests of one connection are answered in
//! any order, but for appends, which keep theirs.
//!
//! This room carries bytes. What they mean is said in `raft/` and `propose/`.

mod complaint;
mod link;
mod listen;
mod secure;
mod transport;

use serde::{Deserialize, Serialize};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

pub use link::Link;
pub use listen::{Handler, Ordered, Reply, listen};
pub use secure::{TlsDial, TlsListener};
pub use transport::{Accept, Caller, Connection, Dial, Tcp};

use crate::limits;

/// The version of the frames and of what they carry.
const PROTOCOL: u16 = 2;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Raft: entries, or a heartbeat.
    Append = 1,
    /// Raft: a vote.
    Vote = 2,
    /// Raft: whether a vote would be given.
    PreVote = 3,
    /// Raft: lead, now.
    TransferLeader = 4,
    /// A snapshot follows.
    SnapshotBegin = 5,
    /// A piece of a snapshot's file.
    SnapshotChunk = 6,
    /// The snapshot is complete: install it.
    SnapshotEnd = 7,
    /// How the node is.
    Status = 8,
    /// The log index that a linearizable read has to see applied.
    ReadIndex = 9,
    /// A group of commands for the leader.
    Forward = 10,
    /// The first membership, for a node that has no data.
    Bootstrap = 11,
    /// The sender has lost its data and starts anew: the newest version of commands that it knows.
    Rejoin = 12,
    /// A change of the cluster's members, for the leader.
    Change = 13,
    /// All nodes were restored from the same backup: take part.
    Begin = 14,
}

/// Checks that an address is `host:port`; whether there is such a host is seen when it is used.
///
/// # Errors
/// One sentence that names the address.
pub fn check_address(address: &str) -> Result<(), String> {
    let host_and_port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match host_and_port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(1..)) => Ok(()),
        _ => Err(format!("{address:?} is not host:port")),
    }
}

impl Kind {
    /// The kind that a frame's byte says.
    pub fn from_byte(byte: u8) -> Option<Self> {
        use Kind::*;
        [
            Append,
            Vote,
            PreVote,
            TransferLeader,
            SnapshotBegin,
            SnapshotChunk,
            SnapshotEnd,
            Status,
            ReadIndex,
            Forward,
            Bootstrap,
            Rejoin,
            Change,
            Begin,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// The kinds of a reply frame.
const REPLY_DONE: u8 = 0;
const REPLY_FAILED: u8 = 255;

/// Who is calling whom, in the first frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the caller.
    protocol: u16,
    /// The name of the caller's cluster.
    pub cluster: String,
    /// The caller's node id.
    pub from: u64,
    /// The node id that the caller means to reach.
    pub to: u64,
}

impl Hello {
    /// The greeting of node `from` of `cluster` to node `to`.
    pub fn new(cluster: &str, from: u64, to: u64) -> Self {
        Self { protocol: PROTOCOL, cluster: cluster.to_owned(), from, to }
    }
}

/// A connection on which greetings may come. A frame's length is memory that is set aside before the
/// frame is there, so whoever has not greeted gets little.
fn framed<C: Connection>(connection: C) -> Framed<C, LengthDelimitedCodec> {
    let mut codec = LengthDelimitedCodec::builder();
    codec.max_frame_length(limits::GREETING_BYTES_MAX).new_framed(connection)
}

/// Lets frames of any size through that is allowed, once both sides have greeted.
fn widen<C>(connection: &mut Framed<C, LengthDelimitedCodec>) {
    connection.codec_mut().set_max_frame_length(limits::FRAME_BYTES_MAX);
}
