//! What a node knows of its cluster: each peer's status, asked for twice a second.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::bootstrap::Grant;
use super::disk::Disk;
use super::types::NodeAddress;
use crate::clock::Clock;
use crate::codec;
use crate::limits;
use crate::peer::{Hello, Kind, Link};

/// Between two questions to a peer.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long a peer may take to say how it is.
const TIMEOUT: Duration = Duration::from_millis(500);
/// A peer that did not answer this often in a row is not there.
const MISSED_MAX: u32 = 2;

/// What a node does in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It orders the log.
    Leader,
    /// It stores and applies the log.
    Follower,
    /// It asks to be elected.
    Candidate,
    /// It follows without a vote.
    Learner,
    /// It has no data yet, or has lost it and is catching up: it has no vote.
    Joining,
    /// It has not answered.
    Unreachable,
}

/// How a node is, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its id.
    pub id: u64,
    /// What it does.
    pub role: Role,
    /// Whom it follows.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// Index of the last entry in its log.
    pub last_log: Option<u64>,
    /// Index of the last entry that it has applied.
    pub applied: Option<u64>,
    /// Whether it can serve clients.
    pub ready: bool,
    /// Whether its log is of a cluster that has had a leader.
    pub formed: bool,
    /// Its wall clock, in ms since the Unix epoch.
    pub wall_ms: u64,
    /// Whether that clock agrees with those of its peers.
    pub clock_trusted: bool,
    /// How much space its disk has left.
    pub disk: Disk,
}

impl Status {
    /// Whether nothing speaks against its leading.
    pub(super) fn is_fit(&self) -> bool {
        self.clock_trusted && self.disk == Disk::Ample
    }
}

/// What is known of one peer.
#[derive(Clone, Debug, Default)]
struct Known {
    status: Option<Status>,
    /// How far its wall clock is ahead of this node's, in ms.
    ahead_ms: i64,
    missed: u32,
}

/// The other nodes, and links to them for what is neither entries nor snapshots.
pub(super) struct Peers {
    links: BTreeMap<u64, Link>,
    known: Mutex<BTreeMap<u64, Known>>,
    nodes: usize,
    clock: Arc<dyn Clock>,
    skew_told: AtomicBool,
}

impl Peers {
    pub(super) fn new(
        cluster: &str,
        id: u64,
        members: &BTreeMap<u64, NodeAddress>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let links: BTreeMap<u64, Link> = members
            .iter()
            .filter(|(peer, _)| **peer != id)
            .map(|(peer, node)| {
                let hello = Hello::new(cluster, id, *peer);
                (*peer, Link::new(node.peer.clone(), hello, TIMEOUT * 4))
            })
            .collect();
        let known = links.keys().map(|peer| (*peer, Known::default())).collect();
        Self {
            links,
            known: Mutex::new(known),
            nodes: members.len(),
            clock,
            skew_told: AtomicBool::new(false),
        }
    }

    /// Keeps asking, for ever.
    pub(super) async fn watch(&self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.ask_all().await;
            self.tell_skew();
        }
    }

    /// Asks every peer how it is, now.
    pub(super) async fn ask_all(&self) -> Vec<Option<Status>> {
        join_all(self.links.iter().map(|(peer, link)| self.ask(*peer, link))).await
    }

    async fn ask(&self, peer: u64, link: &Link) -> Option<Status> {
        let sent_ms = self.clock.wall_ms();
        let answer = tokio::time::timeout(TIMEOUT, link.call(Kind::Status, Vec::new())).await;
        let status = answer.ok().and_then(Result::ok).and_then(|reply| {
            codec::decode::<Status>(&reply)
                .inspect_err(|error| tracing::warn!(peer, %error, "a status cannot be read"))
                .ok()
        });
        let middle_ms = sent_ms.midpoint(self.clock.wall_ms());
        let mut known = self.known();
        let known = known.entry(peer).or_default();
        match &status {
            Some(status) => {
                if known.missed >= MISSED_MAX {
                    tracing::info!(peer, "a peer answers again");
                }
                *known = Known {
                    ahead_ms: status.wall_ms.cast_signed() - middle_ms.cast_signed(),
                    status: Some(status.clone()),
                    missed: 0,
                };
            }
            None => {
                known.missed = known.missed.saturating_add(1);
                if known.missed == MISSED_MAX {
                    tracing::warn!(peer, "a peer does not answer");
                }
            }
        }
        status
    }

    /// Sends the same request to every peer.
    pub(super) async fn call_all(&self, kind: Kind, payload: &[u8]) -> Vec<io::Result<Bytes>> {
        let calls = self.links.values().map(|link| async {
            tokio::time::timeout(limits::REQUEST_TIMEOUT, link.call(kind, payload.to_vec()))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        join_all(calls).await
    }

    /// Tells the leader, whoever it is, that this node starts anew; gives its grant.
    pub(super) async fn rejoin(&self) -> Option<Grant> {
        let answers = self.call_all(Kind::Rejoin, &[]).await;
        let grants = answers.into_iter().flatten();
        let grants = grants.filter_map(|reply| codec::decode::<Option<Grant>>(&reply).ok()?);
        grants.max_by_key(|grant| grant.term)
    }

    pub(super) fn link(&self, peer: u64) -> Option<&Link> {
        self.links.get(&peer)
    }

    /// The last status of each peer that still answers.
    pub(super) fn reachable(&self) -> BTreeMap<u64, Status> {
        self.known()
            .iter()
            .filter(|(_, known)| known.missed == 0)
            .filter_map(|(peer, known)| Some((*peer, known.status.clone()?)))
            .collect()
    }

    /// Whether it is known that a majority cannot be reached from here.
    pub(super) fn quorum_is_lost(&self) -> bool {
        self.nodes - self.lost() < self.nodes / 2 + 1
    }

    /// How many peers do not answer any more.
    pub(super) fn lost(&self) -> usize {
        self.known().values().filter(|known| known.missed >= MISSED_MAX).count()
    }

    /// Whether this node's wall clock agrees with the median of the clocks that it knows. With one
    /// peer nobody can say who is wrong, so both clocks must agree; alone, a node trusts itself.
    pub(super) fn clock_is_trusted(&self) -> bool {
        let mut ahead: Vec<i64> = self
            .known()
            .values()
            .filter(|known| known.missed < MISSED_MAX && known.status.is_some())
            .map(|known| known.ahead_ms)
            .collect();
        if ahead.is_empty() {
            return self.nodes == 1;
        }
        if ahead.len() > 1 {
            ahead.push(0);
        }
        ahead.sort_unstable();
        ahead[ahead.len() / 2].unsigned_abs() <= limits::CLOCK_SKEW_MS_MAX
    }

    fn tell_skew(&self) {
        let trusted = self.clock_is_trusted();
        // An empty answer, as before the first round, says nothing of the clock.
        let judged = !self.reachable().is_empty();
        if judged && !trusted && !self.skew_told.swap(true, Ordering::Relaxed) {
            let bound_ms = limits::CLOCK_SKEW_MS_MAX;
            tracing::warn!(bound_ms, "this node's clock is far from its peers': it is not used");
        } else if trusted && self.skew_told.swap(false, Ordering::Relaxed) {
            tracing::info!("this node's clock agrees with its peers' again");
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
