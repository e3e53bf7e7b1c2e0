//! What of a node merely is, set in the metrics when somebody asks for them.

use openraft::async_runtime::watch::WatchReceiver;

use super::blocking::blocking;
use super::cluster::Role;
use super::node::{Inner, Node};
use crate::error::{Error, Result};
use crate::metrics::gauges;
use crate::storage::free_bytes;

const ROLES: [(Role, &str); 5] = [
    (Role::Leader, "leader"),
    (Role::Follower, "follower"),
    (Role::Candidate, "candidate"),
    (Role::Learner, "learner"),
    (Role::Joining, "joining"),
];

impl Node {
    /// Sets the gauges of Raft, of the peers, of the disk and of the stores.
    ///
    /// # Errors
    /// If the disk or a store cannot be read.
    pub async fn observe(&self) -> Result<()> {
        self.inner.observe_raft();
        self.inner.observe_peers();
        let (dir, log, state) =
            (self.inner.settings.dir.clone(), self.inner.log.clone(), self.inner.state.clone());
        let free = blocking(move || {
            log.observe()?;
            state.observe()?;
            free_bytes(&dir)
        });
        let free = free.await.map_err(|error| Error::internal(error.to_string()))?;
        gauges().disk_free_bytes.set(number(Some(free)));
        gauges().disk_reserve_bytes.set(number(Some(self.inner.settings.disk_reserve_bytes)));
        Ok(())
    }
}

impl Inner {
    fn observe_raft(&self) {
        let (gauges, status) = (gauges(), self.status());
        let metrics = self.raft.metrics().borrow_watched().clone();
        gauges.ready.set(i64::from(status.ready));
        gauges.raft_term.set(number(Some(status.term)));
        for (role, name) in ROLES {
            gauges.raft_role.with_label_values(&[name]).set(i64::from(role == status.role));
        }
        gauges.raft_leader.set(number(status.leader));
        gauges.raft_last_log.set(number(status.last_log));
        gauges.raft_applied.set(number(status.applied));
        gauges.raft_snapshot.set(number(metrics.snapshot.map(|id| id.index)));
        gauges.raft_purged.set(number(metrics.purged.map(|id| id.index)));
        gauges.command_version.set(i64::from(self.progress.borrow().version));
        // A node that does not lead any more knows nothing of how far others are.
        gauges.raft_lag_entries.reset();
        let last = status.last_log.unwrap_or(0);
        for (node, matching) in metrics.replication.into_iter().flatten() {
            if node != self.settings.id {
                let lag = last.saturating_sub(matching.map_or(0, |id| id.index));
                let lag_of = gauges.raft_lag_entries.with_label_values(&[&node.to_string()]);
                lag_of.set(number(Some(lag)));
            }
        }
    }

    fn observe_peers(&self) {
        let reachable = self.peers.reachable();
        let gauge = &gauges().peer_reachable;
        // Until somebody has said how late it is, nothing speaks against this node's clock.
        let is_trusted = reachable.is_empty() || self.peers.clock_is_trusted();
        gauges().clock_trusted.set(i64::from(is_trusted));
        // Members that were removed are not told of for ever.
        gauge.reset();
        for node in self.members().nodes.into_keys().filter(|node| *node != self.settings.id) {
            let is_reachable = reachable.contains_key(&node);
            gauge.with_label_values(&[&node.to_string()]).set(i64::from(is_reachable));
        }
    }
}

/// A gauge's value; 0 for what is not there.
fn number(value: Option<u64>) -> i64 {
    i64::try_from(value.unwrap_or(0)).unwrap_or(i64::MAX)
}
