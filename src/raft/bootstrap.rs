//! How a node without data joins: as one of a new cluster, or anew as one of an old.
//!
//! A node that finds no data does not know whether it is new or has lost its disk, and must not
//! vote before it does: a vote that it gave and forgot could elect two leaders, and an entry that
//! it acknowledged and lost must not be voted away. So it asks *all* its peers:
//!
//! - If one has a log of a cluster that once had a leader, this node has lost its data (or missed
//!   the start). It then takes nothing from anyone before a leader has granted it to rejoin, and a
//!   leader grants that only after a round with a majority, to which this node cannot belong: so a
//!   leader of the past cannot make a majority of itself and a node that has forgotten. From there
//!   on it follows that leader or a later one, without voting, until it has applied what was
//!   committed when it came. A marker file keeps all this over restarts.
//! - If all answer and none has, the node with the lowest id gives all of them the same first
//!   membership, then takes it itself. A second cluster cannot form: any leader needs a majority
//!   of that one membership.
//! - If some do not answer, it waits. Only the very first start needs all nodes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Inner;
use super::types::{NodeAddress, Raft};
use crate::codec;
use crate::peer::Kind;

const MARKER: &str = "REJOINING";
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(100);
/// After so many rounds without a leader's grant it is told what may be missing.
const TELL_AFTER: u32 = 50;

/// What a node may do yet.
#[derive(Debug)]
pub(super) struct Gate {
    state: AtomicU8,
    /// While catching up, leaders of earlier terms than this are refused.
    term: AtomicU64,
    marker: PathBuf,
}

/// The node has no data, and does not know why.
const UNDECIDED: u8 = 0;
/// The node has lost its data, and no leader has granted it to rejoin.
const REJOINING: u8 = 1;
/// A leader has; the node follows without a vote.
const CATCHING_UP: u8 = 2;
/// The node takes part in full.
const OPEN: u8 = 3;

/// Whether the node with this data folder has lost its data and not yet got all of it back.
pub(super) fn is_rejoining(dir: &Path) -> bool {
    dir.join(MARKER).exists()
}

/// A leader's grant to a node that has lost its data.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Grant {
    /// The leader's term.
    pub term: u64,
    /// The node may vote once it has applied this.
    pub committed: u64,
}

impl Gate {
    /// The gate of a node whose data folder is `dir`, and has data or not.
    pub(super) fn new(dir: &Path, has_data: bool) -> Self {
        let marker = dir.join(MARKER);
        let state = match (marker.exists(), has_data) {
            (true, _) => REJOINING,
            (false, true) => OPEN,
            (false, false) => UNDECIDED,
        };
        Self { state: AtomicU8::new(state), term: AtomicU64::new(0), marker }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    /// Whether this node may stand for election. One that is undecided is of no cluster yet, and
    /// one that is given its first membership stands at once.
    pub(super) fn may_elect(&self) -> bool {
        self.is_open() || self.is_undecided()
    }

    fn is_undecided(&self) -> bool {
        self.state.load(Ordering::Acquire) == UNDECIDED
    }

    pub(super) fn check_may_vote(&self) -> io::Result<()> {
        if self.is_open() { Ok(()) } else { Err(io::Error::other("this node may not vote yet")) }
    }

    /// Whether this node may take entries or a snapshot of the leader of `term`.
    pub(super) fn check_may_follow(&self, term: u64) -> io::Result<()> {
        match self.state.load(Ordering::Acquire) {
            OPEN => Ok(()),
            CATCHING_UP if term >= self.term.load(Ordering::Acquire) => Ok(()),
            CATCHING_UP => Err(io::Error::other("a leader of the past")),
            _ => Err(io::Error::other("this node does not know yet where it stands")),
        }
    }

    fn grant(&self, grant: Grant) {
        self.term.store(grant.term, Ordering::Release);
        self.state.store(CATCHING_UP, Ordering::Release);
    }

    fn open(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
            Ok(()) => self.sync_dir()?,
        }
        self.state.store(OPEN, Ordering::Release);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.marker.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
    }

    /// Decides that this node has lost its data, unless it has been decided otherwise meanwhile.
    fn rejoin(&self) -> io::Result<()> {
        // Synced before the first entry is accepted, so that a crash cannot make this node forget
        // that it has forgotten.
        std::fs::File::create(&self.marker)?.sync_all()?;
        self.sync_dir()?;
        let decided =
            self.state.compare_exchange(UNDECIDED, REJOINING, Ordering::AcqRel, Ordering::Acquire);
        if decided == Err(OPEN) {
            // This node was made part of a new cluster while it asked the others.
            return self.open();
        }
        Ok(())
    }
}

/// Accepts the first membership from the node that starts the cluster.
pub(super) async fn accept_first(
    inner: &Inner,
    members: BTreeMap<u64, NodeAddress>,
) -> io::Result<()> {
    // A new node whose list names a few nodes of an old cluster must not make a cluster of itself
    // and one of those that has just lost its data.
    if members != inner.settings.members {
        return Err(io::Error::other("its configuration lists other nodes"));
    }
    match inner.gate.state.load(Ordering::Acquire) {
        UNDECIDED => {}
        OPEN if !inner.is_formed()? => return Ok(()),
        _ => return Err(io::Error::other("this node knows of a cluster already")),
    }
    initialize(&inner.raft, members).await?;
    inner.gate.open()
}

async fn initialize(raft: &Raft, members: BTreeMap<u64, NodeAddress>) -> io::Result<()> {
    if raft.is_initialized().await.map_err(io::Error::other)? {
        return Ok(());
    }
    raft.initialize(members).await.map_err(io::Error::other)
}

/// Takes an undecided or rejoining node to where it may vote. Returns at once for any other.
///
/// # Errors
/// If the marker cannot be kept or Raft has stopped.
pub(super) async fn join(inner: &Inner) -> io::Result<()> {
    let Inner { gate, raft, peers, .. } = inner;
    let (id, members) = (inner.settings.id, &inner.settings.members);
    let lowest = members.keys().min() == Some(&id);
    let mut told = false;
    while gate.is_undecided() {
        let answers = peers.ask_all().await;
        if answers.iter().flatten().any(|status| status.formed) {
            tracing::warn!(id, "this node has no data but its cluster has: it starts anew");
            gate.rejoin()?;
            break;
        }
        let all = answers.iter().all(Option::is_some);
        if all && lowest {
            let first = codec::encode(members);
            let accepted = peers.call_all(Kind::Bootstrap, &first).await;
            let refused = accepted.iter().find_map(|answer| answer.as_ref().err());
            if let Some(error) = refused.filter(|_| !told) {
                told = true;
                tracing::warn!(%error, "a node does not take the cluster's first list of nodes");
            }
            if refused.is_none() {
                initialize(raft, members.clone()).await?;
                gate.open()?;
                tracing::info!(id, members = members.len(), "started a new cluster");
                return Ok(());
            }
        }
        if !all && !told {
            told = true;
            tracing::info!(id, "waiting for all nodes: the first start of a cluster needs them");
        }
        tokio::time::sleep(PAUSE).await;
    }
    if gate.is_open() {
        return Ok(());
    }
    // The leader must know that what it believes this node to have is gone, before this node
    // answers an append: openraft takes the first one that it rejects for what is still there.
    let mut asked = 0;
    let grant = loop {
        if let Some(grant) = peers.rejoin(inner.settings.version_max).await {
            break grant;
        }
        asked += 1;
        if asked == TELL_AFTER {
            tracing::warn!(
                id,
                "no leader lets this node join: a new node has to be added (tallykeep members add), \
                 and among more than three voters one that lost its data comes back under a new id"
            );
        }
        tokio::time::sleep(PAUSE).await;
    };
    tracing::info!(id, term = grant.term, committed = grant.committed, "granted to rejoin");
    gate.grant(grant);
    let mut progress = inner.progress.clone();
    progress
        .wait_for(|progress| progress.applied >= Some(grant.committed))
        .await
        .map_err(io::Error::other)?;
    // What is applied is committed by the others; only what is synced here may be voted with.
    inner.sync_log().await?;
    gate.open()?;
    tracing::info!(id, applied = grant.committed, "this node has caught up and votes again");
    Ok(())
}
