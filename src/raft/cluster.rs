//! What a node knows of its cluster: each peer's status, asked for twice a second.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::bootstrap::Grant;
use super::disk::Disk;
use super::members::Members;
use super::types::NodeAddress;
use crate::clock::Clock;
use crate::codec;
use crate::limits;
use crate::machine::VERSION_MIN;
use crate::peer::{Dial, Hello, Kind, Link};

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
    /// Which nodes belong to the cluster, by its log.
    #[serde(default)]
    pub members: BTreeMap<u64, NodeAddress>,
    /// The newest version of commands that it takes part in.
    #[serde(default = "version_min")]
    pub version_max: u8,
    /// The id of the backup that its data was restored from, if it was.
    #[serde(default)]
    pub restored: Option<String>,
}

/// What a build takes part in that does not say it.
fn version_min() -> u8 {
    VERSION_MIN
}

impl Status {
    /// JSON and not bincode, so that builds that know more members of it, or fewer, read each other's.
    pub(super) fn to_wire(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a status is JSON")
    }

    /// # Errors
    /// `InvalidData` if it is not a status.
    pub(super) fn from_wire(bytes: &[u8]) -> io::Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Whether nothing speaks against its leading.
    pub(super) fn is_fit(&self) -> bool {
        self.clock_trusted && self.disk == Disk::Ample
    }
}

/// One peer: a link to it, and what is known of it.
#[derive(Debug)]
struct Peer {
    address: String,
    link: Link,
    status: Option<Status>,
    /// When it said so, by this node's monotonic clock.
    at: Duration,
    missed: u32,
}

impl Peer {
    /// How far its wall clock is ahead of this node's now, in ms: by what it said, and the monotonic time
    /// since. A difference taken when it said so would not show that this node's clock has jumped.
    fn ahead_ms(&self, wall_ms: u64, now: Duration) -> Option<i64> {
        let said_ms = self.status.as_ref()?.wall_ms;
        let since_ms = u64::try_from(now.saturating_sub(self.at).as_millis()).ok()?;
        Some(said_ms.saturating_add(since_ms).cast_signed() - wall_ms.cast_signed())
    }
}

/// The other nodes, and links to them for what is neither entries nor snapshots.
pub(super) struct Peers {
    cluster: String,
    id: u64,
    peers: Mutex<BTreeMap<u64, Peer>>,
    members: Mutex<Members>,
    /// Looked at by every request.
    quorum_lost: AtomicBool,
    clock: Arc<dyn Clock>,
    dial: Arc<dyn Dial>,
    skew_told: AtomicBool,
}

impl Peers {
    pub(super) fn new(
        cluster: &str,
        id: u64,
        members: &Members,
        clock: Arc<dyn Clock>,
        dial: Arc<dyn Dial>,
    ) -> Self {
        let peers = Self {
            cluster: cluster.to_owned(),
            id,
            peers: Mutex::default(),
            members: Mutex::new(members.clone()),
            quorum_lost: AtomicBool::new(false),
            clock,
            dial,
            skew_told: AtomicBool::new(false),
        };
        peers.follow(members);
        peers
    }

    /// A link to the node that should be at `node`, to be dropped after use.
    pub(super) fn link_to(&self, id: u64, node: &NodeAddress) -> Link {
        let hello = Hello::new(&self.cluster, self.id, id);
        Link::new(self.dial.clone(), node.peer.clone(), hello, TIMEOUT * 4)
    }

    /// Has a link to each of `members`, and to nobody else.
    pub(super) fn follow(&self, members: &Members) {
        let mut peers = self.peers();
        peers
            .retain(|id, peer| members.nodes.get(id).is_some_and(|node| node.peer == peer.address));
        for (id, node) in members.nodes.iter().filter(|(id, _)| **id != self.id) {
            peers.entry(*id).or_insert_with(|| Peer {
                address: node.peer.clone(),
                link: self.link_to(*id, node),
                status: None,
                at: Duration::ZERO,
                missed: 0,
            });
        }
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members.clone();
    }

    /// Keeps asking, for ever; `members` gives who belongs to the cluster.
    pub(super) async fn watch(&self, members: impl Fn() -> Members) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.follow(&members());
            self.ask_all().await;
            self.tell_skew();
        }
    }

    /// Asks every peer how it is, now.
    pub(super) async fn ask_all(&self) -> Vec<Option<Status>> {
        let asked = self.links().into_iter().map(|(peer, link)| self.ask(peer, link));
        let answers = join_all(asked).await;
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lost = !members.has_quorum(|id| self.is_lost(id));
        self.quorum_lost.store(lost, Ordering::Relaxed);
        answers
    }

    async fn ask(&self, peer: u64, link: Link) -> Option<Status> {
        let sent = self.clock.monotonic();
        let status = status_of(&link).await;
        let middle = (sent + self.clock.monotonic()) / 2;
        let mut peers = self.peers();
        // It may have been removed meanwhile.
        let known = peers.get_mut(&peer)?;
        match &status {
            Some(status) => {
                if known.missed >= MISSED_MAX {
                    tracing::info!(peer, "a peer answers again");
                }
                known.at = middle;
                known.status = Some(status.clone());
                known.missed = 0;
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
        let calls = self.links().into_values().map(|link| async move {
            tokio::time::timeout(limits::REQUEST_TIMEOUT, link.call(kind, payload.to_vec()))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        join_all(calls).await
    }

    /// Tells the leader, whoever it is, that this node starts anew, and up to which version it knows
    /// commands; gives its grant.
    pub(super) async fn rejoin(&self, version_max: u8) -> Option<Grant> {
        let answers = self.call_all(Kind::Rejoin, &codec::encode(&version_max)).await;
        let grants = answers.into_iter().flatten();
        let grants = grants.filter_map(|reply| codec::decode::<Option<Grant>>(&reply).ok()?);
        grants.max_by_key(|grant| grant.term)
    }

    pub(super) fn link(&self, peer: u64) -> Option<Link> {
        self.peers().get(&peer).map(|peer| peer.link.clone())
    }

    fn links(&self) -> BTreeMap<u64, Link> {
        self.peers().iter().map(|(id, peer)| (*id, peer.link.clone())).collect()
    }

    /// The last status of each peer that still answers.
    pub(super) fn reachable(&self) -> BTreeMap<u64, Status> {
        self.peers()
            .iter()
            .filter(|(_, known)| known.missed == 0)
            .filter_map(|(peer, known)| Some((*peer, known.status.clone()?)))
            .collect()
    }

    /// Whether it is known that a majority cannot be reached from here.
    pub(super) fn quorum_is_lost(&self) -> bool {
        self.quorum_lost.load(Ordering::Relaxed)
    }

    /// Whether a node does not answer any more.
    pub(super) fn is_lost(&self, id: u64) -> bool {
        self.peers().get(&id).is_some_and(|peer| peer.missed >= MISSED_MAX)
    }

    /// Whether a leader, of this term or a later one, does not count this node as a member: a node
    /// that goes is often not sent the entry that says so.
    pub(super) fn is_removed(&self, term: u64) -> bool {
        self.reachable().values().any(|status| {
            status.role == Role::Leader
                && status.term >= term
                && !status.members.contains_key(&self.id)
        })
    }

    /// Whether this node's wall clock agrees with the median of the clocks that it knows. With one
    /// peer nobody can say who is wrong, so both clocks must agree; alone, a node trusts itself.
    pub(super) fn clock_is_trusted(&self) -> bool {
        let peers = self.peers();
        let (wall_ms, now) = (self.clock.wall_ms(), self.clock.monotonic());
        let answering = peers.values().filter(|peer| peer.missed < MISSED_MAX);
        let mut ahead: Vec<i64> =
            answering.filter_map(|peer| peer.ahead_ms(wall_ms, now)).collect();
        if ahead.is_empty() {
            return peers.is_empty();
        }
        if ahead.len() > 1 {
            ahead.push(0);
        }
        ahead.sort_unstable();
        ahead[ahead.len() / 2].unsigned_abs() <= limits::CLOCK_SKEW_MS_MAX
    }

    /// Whether any peer has said how it is, or there is none.
    pub(super) fn clock_is_judged(&self) -> bool {
        let peers = self.peers();
        peers.is_empty() || peers.values().any(|peer| peer.missed == 0 && peer.status.is_some())
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

    fn peers(&self) -> MutexGuard<'_, BTreeMap<u64, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the node behind `link` is, if it says so in time.
pub(super) async fn status_of(link: &Link) -> Option<Status> {
    let answer = tokio::time::timeout(TIMEOUT, link.call(Kind::Status, Vec::new())).await;
    let reply = answer.ok()?.ok()?;
    Status::from_wire(&reply)
        .inspect_err(|error| tracing::warn!(%error, "a status cannot be read"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::peer::Tcp;

    /// Both clocks, in ms.
    #[derive(Default)]
    struct Hands {
        wall_ms: AtomicU64,
        monotonic_ms: AtomicU64,
    }

    impl Clock for Hands {
        fn wall_ms(&self) -> u64 {
            self.wall_ms.load(Ordering::Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.monotonic_ms.load(Ordering::Relaxed))
        }
    }

    fn status(id: u64, wall_ms: u64) -> Status {
        Status {
            id,
            role: Role::Follower,
            leader: None,
            term: 1,
            last_log: None,
            applied: None,
            ready: true,
            formed: true,
            wall_ms,
            clock_trusted: true,
            disk: Disk::Ample,
            members: BTreeMap::new(),
            version_max: VERSION_MIN,
            restored: None,
        }
    }

    #[tokio::test]
    async fn a_clock_that_jumps_is_not_trusted_from_that_moment_on() {
        const HOUR_MS: u64 = 3_600_000;
        let nodes = (1..=3).map(|id| (id, NodeAddress::default())).collect();
        let hands = Arc::new(Hands::default());
        hands.wall_ms.store(10 * HOUR_MS, Ordering::Relaxed);
        let peers = Peers::new("test", 1, &Members::all(&nodes), hands.clone(), Arc::new(Tcp));
        assert!(!peers.clock_is_trusted(), "nobody has said anything yet");
        for (id, peer) in peers.peers().iter_mut() {
            peer.status = Some(status(*id, 10 * HOUR_MS + 1000));
        }
        assert!(peers.clock_is_trusted());
        // Time passes, and the peers have said nothing new.
        hands.monotonic_ms.store(60_000, Ordering::Relaxed);
        hands.wall_ms.store(10 * HOUR_MS + 60_000, Ordering::Relaxed);
        assert!(peers.clock_is_trusted());
        for jumped_ms in [11 * HOUR_MS, 9 * HOUR_MS] {
            hands.wall_ms.store(jumped_ms, Ordering::Relaxed);
            assert!(!peers.clock_is_trusted());
        }
        hands.wall_ms.store(10 * HOUR_MS + 60_000, Ordering::Relaxed);
        assert!(peers.clock_is_trusted());
    }
}
