//! Log compaction (the Raft paper, section 7): when a snapshot is made, so that openraft purges what it
//! covers.
//!
//! Not while a follower catches up. A snapshot that is sent takes a while, in which the log grows; if what
//! grew were purged by the next snapshot before the follower has it, the follower would need that one too,
//! and so on without end.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::sleep;

use super::disk::Disk;
use super::node::Inner;
use super::types::LogId;
use crate::limits;

/// Entries that stay in the log behind a snapshot, for followers that are a little behind.
pub(super) const KEEP_ENTRIES: u64 = 512;
/// Between two looks at the log.
const INTERVAL: Duration = Duration::from_secs(1);

impl Inner {
    /// Makes a snapshot whenever the log has grown by `snapshot_log_bytes` since the last. By bytes and not
    /// by entries: an entry may hold one command or a thousand. Returns when Raft has stopped.
    pub(super) async fn compact_when_due(&self) {
        let mut is_kept = false;
        loop {
            sleep(INTERVAL).await;
            let snapshot = self.raft.metrics().borrow_watched().snapshot;
            let grown = self.log.bytes_since(snapshot.map_or(0, |id| id.index + 1));
            // A checkpoint begins with a flush. While there is no space for that the log stays longer.
            if grown < self.settings.snapshot_log_bytes || self.disks.own() == Disk::Full {
                continue;
            }
            let behind = self.catching_up();
            let is_room = grown < limits::LOG_KEPT_BYTES_MAX && self.disks.own() == Disk::Ample;
            if is_room && let Some(node) = behind {
                if !is_kept {
                    tracing::info!(node, "a node catches up: the log is kept for it");
                }
                is_kept = true;
                continue;
            }
            if let Some(node) = behind {
                let bytes = grown;
                tracing::warn!(
                    node,
                    bytes,
                    "a node catches up, but the log has no more room for it"
                );
            }
            is_kept = false;
            if self.raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
    }

    /// A node that answers, and still needs what the next snapshot would let be purged. Only a leader knows
    /// of one.
    fn catching_up(&self) -> Option<u64> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let (last, mut matching) = (metrics.last_log_index?, metrics.replication?);
        let reachable = self.peers.reachable();
        matching.retain(|node, _| reachable.contains_key(node));
        behind(last, matching)
    }
}

/// The node that has least of a log up to `last`, if more than [`KEEP_ENTRIES`] are missing.
fn behind(last: u64, matching: BTreeMap<u64, Option<LogId>>) -> Option<u64> {
    let has = |(node, id): (u64, Option<LogId>)| (id.map_or(0, |id| id.index), node);
    let (has, node) = matching.into_iter().map(has).min()?;
    (last.saturating_sub(has) > KEEP_ENTRIES).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_behind_that_needs_what_would_be_purged() {
        let id = |index| Some(LogId::new_term_index(1, index));
        let last = 10_000;
        let near = last - KEEP_ENTRIES;
        assert_eq!(behind(last, BTreeMap::new()), None);
        assert_eq!(behind(last, [(2, id(last)), (3, id(near))].into()), None);
        assert_eq!(behind(last, [(2, id(near - 1)), (3, id(near))].into()), Some(2));
        // One that has nothing, and gets a snapshot.
        assert_eq!(behind(last, [(1, id(last)), (2, id(9)), (3, None)].into()), Some(3));
        assert_eq!(behind(5, [(2, None)].into()), None);
    }
}
