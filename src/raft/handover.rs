//! Who leads next, and how a node stops.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::blocking::blocking;
use super::cluster::Role;
use super::disk::Disk;
use super::node::{Inner, Leadership, Node};

/// How long one attempt to hand leadership over may take: the successor may be behind, or just gone.
const ATTEMPT: Duration = Duration::from_millis(250);

impl Node {
    /// From now on [`Node::ready`] says that this node stops.
    pub fn start_draining(&self) {
        self.inner.draining.store(true, Ordering::Release);
    }

    /// Gives leadership to another node, if this one has it. Returns once it has not, or after
    /// `patience`.
    pub async fn hand_over(&self, patience: Duration) {
        self.inner.hand_over(patience, false).await;
    }

    /// Stops Raft and brings what is in memory to disk.
    ///
    /// # Errors
    /// If the state cannot be flushed; the log is complete all the same.
    pub async fn shutdown(&self) -> io::Result<()> {
        // It may have stopped by itself.
        let _ = self.inner.raft.shutdown().await;
        let inner = self.inner.clone();
        blocking(move || {
            inner.state.flush()?;
            inner.log.close()
        })
        .await
    }
}

impl Inner {
    /// `to_fit`: only to a node that nothing speaks against.
    pub(super) async fn hand_over(&self, patience: Duration, to_fit: bool) {
        let deadline = Instant::now() + patience;
        loop {
            let was = self.leadership();
            let Leadership::Here { .. } = was else { return };
            let Some(to) = self.successor(to_fit) else { return };
            tracing::info!(to, "handing leadership over");
            if self.raft.trigger().transfer_leader(to).await.is_err() {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let moved = timeout(ATTEMPT.min(left), self.leadership_other_than(was)).await;
            if moved.is_ok() || Instant::now() >= deadline {
                return;
            }
        }
    }

    /// The peer that is best placed to lead next.
    fn successor(&self, fit: bool) -> Option<u64> {
        let reachable = self.peers.reachable();
        let able = reachable
            .values()
            .filter(|status| status.role == Role::Follower && (status.is_fit() || !fit));
        able.max_by_key(|status| status.last_log).map(|status| status.id)
    }

    /// A node whose clock is not trusted, or whose disk is not ample, does not lead while another can.
    pub(super) async fn keep_unfit_from_leading(&self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            let another = self.peers.reachable().values().any(|status| {
                status.is_fit() && matches!(status.role, Role::Follower | Role::Leader)
            });
            let is_fit = self.peers.clock_is_trusted() && self.disks.own() == Disk::Ample;
            let yields = another && !is_fit;
            self.raft.runtime_config().elect(!yields && self.gate.may_elect());
            if yields {
                self.hand_over(Duration::from_secs(1), true).await;
            }
        }
    }
}
