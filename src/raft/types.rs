//! The one file that spells openraft's generics.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::machine::GroupOutcome;

openraft::declare_raft_types!(
    /// What our Raft is made of. Leader ids are those of standard Raft: one leader a term.
    pub TypeConfig:
        D = EncodedBatch,
        R = Applied,
        NodeId = u64,
        Node = NodeAddress,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

/// A [`crate::machine::Batch`] as the leader encoded it: not decoded again before it is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedBatch(pub Bytes);

impl fmt::Display for EncodedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

/// What applying an entry gave: an outcome per group of its batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied(pub Vec<GroupOutcome>);

/// Where a node listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// For clients: `host:port`.
    pub http: String,
    /// For peers: `host:port`.
    pub peer: String,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.peer)
    }
}

pub(super) type Raft = openraft::Raft<TypeConfig, super::apply::StateMachine>;
pub(super) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(super) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(super) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(super) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(super) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub(super) type Snapshot =
    openraft::type_config::alias::SnapshotOf<TypeConfig, super::snapshot::Handle>;
