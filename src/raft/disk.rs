//! What a node does while its disk fills up.
//!
//! A write that finds no space may leave a log or a table of which nobody knows how much is on disk,
//! so it ends the node. Hence a reserve: a node that has less space left than that takes in no more
//! than it must, and has the reserve for what it still has to write, the removal of what has expired
//! among it. When there is space again it goes on by itself.
//!
//! | disk | free | what changes |
//! |---|---|---|
//! | ample | at least the reserve | |
//! | low | less | the node does not lead while another can |
//! | full | less than a quarter | it takes no entries from the leader either, and no snapshots |
//!
//! Clients' writes are refused everywhere, before anything is changed, while there is no majority
//! with ample disks. Reads go on.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::blocking::blocking;
use super::members::Members;
use super::node::Inner;
use crate::error::{Error, Kind, Result};
use crate::storage::free_bytes;

/// A disk is ample again with an eighth more than the reserve, at most with so much more.
const MORE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Between two looks at the disk.
const INTERVAL: Duration = Duration::from_millis(500);

/// How much space a node's disk has left, measured by the node's reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Disk {
    /// At least the reserve.
    Ample = 0,
    /// Less than the reserve.
    Low = 1,
    /// Less than a quarter of the reserve.
    Full = 2,
}

impl Disk {
    /// What `free` bytes are beside a `reserve`, for a disk that `was` so before: it is ample again
    /// only with somewhat more, so that it does not change to and fro.
    fn of(free: u64, reserve: u64, was: Disk) -> Self {
        let more = (reserve / 8).min(MORE_BYTES_MAX);
        let ample = if was == Disk::Ample { reserve } else { reserve.saturating_add(more) };
        if free < reserve / 4 {
            Disk::Full
        } else if free < ample {
            Disk::Low
        } else {
            Disk::Ample
        }
    }
}

/// What a node knows of its own disk and of its peers'.
#[derive(Debug, Default)]
pub(super) struct Disks {
    own: AtomicU8,
    /// Whether there is no majority with ample disks.
    too_few: AtomicBool,
}

impl Disks {
    pub(super) fn own(&self) -> Disk {
        match self.own.load(Ordering::Relaxed) {
            0 => Disk::Ample,
            1 => Disk::Low,
            _ => Disk::Full,
        }
    }

    fn look(&self, free: u64, reserve: u64) {
        let was = self.own();
        let is = Disk::of(free, reserve, was);
        self.own.store(is as u8, Ordering::Relaxed);
        match (was, is) {
            (was, is) if was == is => {}
            (_, Disk::Ample) => tracing::info!(free, reserve, "the disk has space again"),
            (_, Disk::Low) => tracing::warn!(free, reserve, "the disk is nearly full"),
            (_, Disk::Full) => {
                tracing::error!(
                    free,
                    reserve,
                    "the disk is full: this node stores no more entries"
                );
            }
        }
    }
}

/// Whether disks that are low and nodes that are lost leave no majority that could store more. If no
/// voter's disk is low, it is not for want of space.
fn too_few(members: &Members, is_low: impl Fn(u64) -> bool, is_lost: impl Fn(u64) -> bool) -> bool {
    let low = members.nodes.keys().any(|id| members.is_voter(*id) && is_low(*id));
    low && !members.has_quorum(|id| is_low(id) || is_lost(id))
}

impl Inner {
    /// Keeps looking at the disk, for ever.
    pub(super) async fn watch_disk(&self) {
        let dir = &self.settings.dir;
        loop {
            let looked = dir.clone();
            // A file system that hangs is not to hang a worker thread.
            match blocking(move || free_bytes(&looked)).await {
                Ok(free) => self.disks.look(free, self.settings.disk_reserve_bytes),
                Err(error) => {
                    tracing::warn!(path = %dir.display(), %error, "cannot tell the disk's space");
                }
            }
            let peers = self.peers.reachable();
            let is_low = |id| match peers.get(&id) {
                Some(status) => status.disk != Disk::Ample,
                None => id == self.settings.id && self.disks.own() != Disk::Ample,
            };
            let too_few = too_few(&self.members(), is_low, |id| self.peers.is_lost(id));
            self.disks.too_few.store(too_few, Ordering::Relaxed);
            sleep(INTERVAL).await;
        }
    }

    pub(super) fn check_disks(&self) -> Result<()> {
        if self.disks.too_few.load(Ordering::Relaxed) {
            return Err(Error::new(
                Kind::StorageFull,
                "insufficient_storage",
                "the disks of too many nodes are nearly full; nothing was changed, and writes go on \
                 once there is space",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::NodeAddress;

    #[test]
    fn a_disk_is_low_below_the_reserve_and_full_below_a_quarter_of_it() {
        let of = |free, was| Disk::of(free, 800, was);
        assert_eq!(of(800, Disk::Ample), Disk::Ample);
        assert_eq!(of(799, Disk::Ample), Disk::Low);
        assert_eq!(of(200, Disk::Ample), Disk::Low);
        assert_eq!(of(199, Disk::Ample), Disk::Full);
        assert_eq!(of(899, Disk::Low), Disk::Low, "not before there is an eighth more");
        assert_eq!(of(900, Disk::Low), Disk::Ample);
        assert_eq!(of(900, Disk::Full), Disk::Ample);
        assert_eq!(Disk::of(0, 0, Disk::Ample), Disk::Ample, "no reserve, no refusal");
    }

    #[test]
    fn writes_need_a_majority_with_space() {
        let nodes = (1..=3).map(|id| (id, NodeAddress::default())).collect();
        let three = Members::all(&nodes);
        let too_few = |low: &[u64], lost: &[u64]| {
            too_few(&three, |id| low.contains(&id), |id| lost.contains(&id))
        };
        assert!(!too_few(&[], &[]));
        assert!(!too_few(&[], &[2, 3]), "without a quorum, but not for want of space");
        assert!(!too_few(&[3], &[]), "one full disk is no matter");
        assert!(too_few(&[3], &[1]));
        assert!(too_few(&[2, 3], &[]));
    }
}
