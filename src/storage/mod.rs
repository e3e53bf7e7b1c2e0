//! The cellar: what a node has on disk. The only room that knows RocksDB.
//!
//! A data folder holds two RocksDB instances and the snapshots:
//!
//! ```text
//! log/                  the Raft log and the vote; its write-ahead log is synced   (LogStore)
//! state/CURRENT_STATE   the number of the state in force                           (StateStore)
//! state/<n>/            the machine's tables; no write-ahead log
//! snapshots/<n>/        complete checkpoints of the state, each with its manifest   (Snapshots)
//! incoming/             checkpoints being made or received; emptied at every start
//! RESTORING             there while a backup is being put in place: nothing else counts     (Restoring)
//! ```
//!
//! Everything that Raft writes is bytes here: this room knows indexes, and no Raft.
//!
//! # Invariants
//!
//! 1. What was reported as done by [`LogStore`] is on disk. Entries and votes are one ordered
//!    stream of writes, so a sync that covers one covers all before it.
//! 2. After a write or a sync of the log failed, every later call fails: what the disk then holds
//!    is unknown, and a second sync that succeeds would prove nothing.
//! 3. The log has no hole: its entries run from the one after the purged to the last. Each carries
//!    a checksum over its index and bytes. A log that comes back shorter than it was on disk is
//!    refused (`synced.rs`).
//! 4. The state on disk is always the state after some one entry: RocksDB flushes all tables together,
//!    never by itself, and only while it has all effects of an entry and its mark (`current.rs`). A
//!    state that lacks some says so, and is refused.
//! 5. The log is never purged past what the state on disk contains ([`Flushed`]). So a crash loses
//!    only what the log still holds, and replaying it from the mark gives the same bytes.
//! 6. A folder is a snapshot, and a state is in force, only once it is complete and synced; the
//!    last step is the rename of one name.
//!
//! # Deliberately absent
//!
//! A write-ahead log of the state (the Raft log is it), partial snapshots, and a repair of damaged
//! entries: a damaged node is emptied and takes a snapshot from its peers.

mod background;
mod cells;
mod checkpoint;
mod current;
mod files;
mod flushed;
mod log;
mod observe;
mod resident;
mod restoring;
mod rocks;
mod sizes;
mod snapshots;
mod space;
mod state;
mod state_db;
mod state_snapshot;
mod sync;
mod synced;
mod traits;
mod wal;

pub use checkpoint::{FileEntry, Manifest};
pub use flushed::Flushed;
pub use log::{LogStore, Meta};
pub use restoring::Restoring;
pub use snapshots::{Incoming, Passing, SnapshotDir, Snapshots};
pub use space::free_bytes;
pub use state::{StateOptions, StateStore};
pub use state_db::Marks;
pub use state_snapshot::StateSnapshot;
pub use sync::Done;
pub use traits::{LogStorage, StateStorage};
