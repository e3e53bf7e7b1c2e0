//! How a node without data joins: as one of a new cluster, or anew as one of an old.
//!
//! A node that finds no data does not know whether it is new or has lost its disk, and must not
//! vote before it does: a vote that it gave and forgot could elect two leaders, and an entry that
//! it acknowledged and lost must not be voted away. So it asks *all* its peers:
//!
//! - If one has a log of a cluster that once had a leader, this node has lost its data (or missed
//!   the start). It follows, without voting, until it has all that the leader had when it came; a
//!   marker file keeps that over restarts.
//! - If all answer and none has, the node with the lowest id gives all of them the same first
//!   membership, then takes it itself. A second cluster cannot form: any leader needs a majority
//!   of that one membership.
//! - If some do not answer, it waits. Only the very first start needs all nodes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::cluster::Peers;
use super::types::{NodeAddress, Raft};
use crate::codec;
use crate::peer::Kind;

const MARKER: &str = "REJOINING";
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(100);

/// What a node may do yet.
#[derive(Debug)]
pub(super) struct Gate {
    state: AtomicU8,
    marker: PathBuf,
}

const UNDECIDED: u8 = 0;
const REJOINING: u8 = 1;
const OPEN: u8 = 2;

impl Gate {
    /// The gate of a node whose data folder is `dir`, and has data or not.
    pub(super) fn new(dir: &Path, has_data: bool) -> Self {
        let marker = dir.join(MARKER);
        let state = match (marker.exists(), has_data) {
            (true, _) => REJOINING,
            (false, true) => OPEN,
            (false, false) => UNDECIDED,
        };
        Self { state: AtomicU8::new(state), marker }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    pub(super) fn is_undecided(&self) -> bool {
        self.state.load(Ordering::Acquire) == UNDECIDED
    }

    pub(super) fn check_may_vote(&self) -> io::Result<()> {
        if self.is_open() { Ok(()) } else { Err(io::Error::other("this node may not vote yet")) }
    }

    pub(super) fn check_may_follow(&self) -> io::Result<()> {
        if self.is_undecided() {
            return Err(io::Error::other("this node does not know yet whether it is new"));
        }
        Ok(())
    }

    fn open(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.state.store(OPEN, Ordering::Release);
        Ok(())
    }

    fn rejoin(&self) -> io::Result<()> {
        // Synced before the first entry is accepted, so that a crash cannot make this node forget
        // that it has forgotten.
        std::fs::File::create(&self.marker)?.sync_all()?;
        if let Some(dir) = self.marker.parent() {
            std::fs::File::open(dir)?.sync_all()?;
        }
        self.state.store(REJOINING, Ordering::Release);
        Ok(())
    }

    /// Accepts the first membership from the node that starts the cluster.
    pub(super) async fn accept_first(
        &self,
        raft: &Raft,
        members: BTreeMap<u64, NodeAddress>,
    ) -> io::Result<()> {
        if !self.is_undecided() {
            return Ok(());
        }
        initialize(raft, members).await?;
        self.open()
    }
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
pub(super) async fn join(
    gate: &Gate,
    raft: &Raft,
    peers: &Peers,
    id: u64,
    members: &BTreeMap<u64, NodeAddress>,
    applied: impl Fn() -> Option<u64>,
) -> io::Result<()> {
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
            if accepted.iter().all(Result::is_ok) {
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
    // Rejoining: the leader must know that what it believes this node to have is gone.
    raft.runtime_config().elect(false);
    let caught_up = loop {
        if let Some(last) = peers.rejoin().await {
            break last;
        }
        tokio::time::sleep(PAUSE).await;
    };
    while applied().is_none_or(|applied| applied < caught_up) {
        tokio::time::sleep(PAUSE).await;
    }
    gate.open()?;
    raft.runtime_config().elect(true);
    tracing::info!(id, applied = caught_up, "this node has caught up and votes again");
    Ok(())
}
