//! The stairs: the only room that knows openraft.
//!
//! What openraft requires of its user, and what this room adds:
//!
//! | file | required | added |
//! |---|---|---|
//! | `types.rs` | the type config | batches that stay encoded until apply |
//! | `log.rs` | log storage | the newest entries in memory |
//! | `apply.rs` | the state machine | progress that can be watched |
//! | `snapshot.rs` | a snapshot builder | transfer of checkpoint directories as files |
//! | `network.rs`, `rpc.rs` | calls, and who answers them | pipelined appends |
//! | `read.rs` | | read index for every node, a round for many readers |
//! | `bootstrap.rs` | | the first start, also from a backup, and a node that lost its disk |
//! | `members.rs` | | who belongs to the cluster, and who is asked for it |
//! | `change.rs` | | changing that, a step at a time |
//! | `recover.rs` | | one node goes on alone when a majority is gone for good |
//! | `backup.rs`, `restore.rs` | | a backup of the state, and stores made of one |
//! | `clock.rs` | | the cluster's clock as this node knows it |
//! | `cluster.rs` | | what is known of the peers, and of their clocks |
//! | `blocking.rs` | | work that waits for the disk |
//! | `disk.rs` | | a disk that fills up |
//! | `crowds.rs` | | objects that are near their quotas |
//! | `node.rs` | | the door: propose, read, answer peers |
//! | `status.rs` | | readiness, and what operators are told |
//! | `handover.rs` | | who leads next, and stopping |
//!
//! Invariants: no vote before the gate is open; a proposal is appended under the term it was
//! stamped in, or not at all; an error of the storage or of apply stops the node.

mod apply;
mod backup;
mod blocking;
mod bootstrap;
mod change;
mod clock;
mod cluster;
mod compact;
mod crowds;
mod disk;
pub(crate) mod fuzzing;
mod handover;
pub mod log;
mod members;
mod network;
mod node;
mod observe;
mod read;
mod recover;
mod restore;
mod rpc;
mod snapshot;
mod status;
mod types;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use openraft::{Config, SnapshotPolicy};

pub use apply::{Progress, StateMachine};
pub use backup::Backup;
pub use change::{Change, Changed, Member};
pub use cluster::{Role, Status};
pub use disk::Disk;
pub use node::{Leadership, Node, ProposeError};
pub use read::Reads;
pub use recover::{Holdings, forget_others, holdings};
pub use restore::{Stores, begin_restored};
pub use status::{ClusterReport, NodeReport, StateHash};
pub use types::{Applied, EncodedBatch, NodeAddress, TypeConfig};

use node::Inner;

/// What a node needs to know to take part.
#[derive(Clone, Debug)]
pub struct RaftSettings {
    /// The cluster's name.
    pub cluster: String,
    /// This node's id.
    pub id: u64,
    /// All nodes, this one included.
    pub members: BTreeMap<u64, NodeAddress>,
    /// The node's data folder.
    pub dir: PathBuf,
    /// Between two heartbeats of a leader, in ms.
    pub heartbeat_ms: u64,
    /// A follower that hears nothing for this long asks to be elected, in ms: at least.
    pub election_min_ms: u64,
    /// In ms: at most.
    pub election_max_ms: u64,
    /// Bytes of log after which a snapshot is made, so that the log can be cut.
    pub snapshot_log_bytes: u64,
    /// Bytes of disk that clients' writes leave free.
    pub disk_reserve_bytes: u64,
    /// The newest version of commands that this node takes part in.
    pub version_max: u8,
}

fn config(settings: &RaftSettings) -> io::Result<Config> {
    let config = Config {
        cluster_name: settings.cluster.clone(),
        heartbeat_interval: settings.heartbeat_ms,
        election_timeout_min: settings.election_min_ms,
        election_timeout_max: settings.election_max_ms,
        enable_pre_vote: Some(true),
        // A restarted node reads its committed mark, so this would be sound; but a leader that was
        // gone has to prove itself like any other.
        enable_leader_restore: Some(false),
        broadcast_submitted_on_append: Some(true),
        install_snapshot_timeout: snapshot::INSTALL_TIMEOUT.as_millis() as u64,
        // Only a follower whose entries are purged gets a snapshot; see `compact.rs`.
        replication_lag_threshold: u64::MAX / 2,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: compact::KEEP_ENTRIES,
        backoff: "20ms 40ms 80ms ...200ms".to_owned(),
        ..Config::default()
    };
    config.validate().map_err(io::Error::other)
}
