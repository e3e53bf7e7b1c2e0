//! How a node without data joins: as one of a new cluster, or anew as one of an old. And how nodes
//! that were restored from a backup become a cluster.
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
//!
//! A node that was restored has data, and yet must not go on by itself: others may have been restored
//! from another backup, or may be of the cluster that the backup is of, and still run. So it asks all
//! its peers too, and takes part in nothing before:
//!
//! - If all answer that they are restored from the same backup, for the same nodes, and none has had a
//!   leader since, the one with the lowest id tells the others to begin, and begins last.
//! - If one is of a cluster with this beginning that has had a leader, the node was left behind, or it
//!   was restored once more and has forgotten what it did before: it goes the way of a node that has
//!   lost its data.
//! - If one is of any other cluster, this node stops: its data can never be part of that.
//! - If some do not answer, or were not restored, or from something else, it waits and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Inner;
use super::cluster::Status;
use super::types::{NodeAddress, Raft};
use crate::codec;
use crate::peer::Kind;

const MARKER: &str = "REJOINING";
/// There until a restored node takes part.
const FORMING_MARKER: &str = "FORMING";
/// What a restored node was restored from.
const RESTORED: &str = "RESTORED";
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
    dir: PathBuf,
    restored: Option<Restored>,
}

/// From what the data of a node was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Restored {
    /// The backup's id.
    pub backup: String,
    /// The log index with which all nodes of that backup began.
    pub index: u64,
}

impl Restored {
    fn read(dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(dir.join(RESTORED)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let message = format!("{}: {error}", dir.join(RESTORED).display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the node with the data folder `dir` begin so. Nobody must have started it before.
    pub(super) fn begin(&self, dir: &Path) -> io::Result<()> {
        let mut file = File::create(dir.join(RESTORED))?;
        serde_json::to_writer(&file, self).map_err(io::Error::other)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        create(dir, FORMING_MARKER)
    }
}

/// Makes a marker, durably.
fn create(dir: &Path, marker: &str) -> io::Result<()> {
    File::create(dir.join(marker))?.sync_all()?;
    File::open(dir)?.sync_all()
}

/// The node has no data, and does not know why.
const UNDECIDED: u8 = 0;
/// The node has lost its data, and no leader has granted it to rejoin.
const REJOINING: u8 = 1;
/// A leader has; the node follows without a vote.
const CATCHING_UP: u8 = 2;
/// The node takes part in full.
const OPEN: u8 = 3;
/// The node was restored from a backup, and the others have not been seen to be so too.
const FORMING: u8 = 4;

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
    ///
    /// # Errors
    /// If it was restored, and from what cannot be read.
    pub(super) fn new(dir: &Path, has_data: bool) -> io::Result<Self> {
        let state = if is_rejoining(dir) {
            REJOINING
        } else if dir.join(FORMING_MARKER).exists() {
            FORMING
        } else if has_data {
            OPEN
        } else {
            UNDECIDED
        };
        Ok(Self {
            state: AtomicU8::new(state),
            term: AtomicU64::new(0),
            dir: dir.to_owned(),
            restored: Restored::read(dir)?,
        })
    }

    /// From what the node's data was restored, if it was.
    pub(super) fn restored(&self) -> Option<&Restored> {
        self.restored.as_ref()
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

    pub(super) fn is_forming(&self) -> bool {
        self.state.load(Ordering::Acquire) == FORMING
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
        let mut removed = false;
        for marker in [FORMING_MARKER, MARKER] {
            match std::fs::remove_file(self.dir.join(marker)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(_) => {}
                Ok(()) => removed = true,
            }
        }
        if removed {
            File::open(&self.dir)?.sync_all()?;
        }
        self.state.store(OPEN, Ordering::Release);
        Ok(())
    }

    /// Decides that this node has lost its data, or some, unless it has been decided otherwise
    /// meanwhile.
    fn rejoin(&self) -> io::Result<()> {
        // Synced before the first entry is accepted, so that a crash cannot make this node forget
        // that it has forgotten.
        create(&self.dir, MARKER)?;
        let decided = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            [UNDECIDED, FORMING].contains(&state).then_some(REJOINING)
        });
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

/// Lets a restored node begin, as the node that starts the cluster tells it.
pub(super) fn accept_beginning(inner: &Inner, beginning: &Beginning) -> io::Result<()> {
    let gate = &inner.gate;
    let own = gate.restored().map(|restored| &restored.backup);
    if own != Some(&beginning.backup) || inner.members().nodes != beginning.members {
        return Err(io::Error::other("this node was not restored from that, or for other nodes"));
    }
    match gate.state.load(Ordering::Acquire) {
        FORMING => gate.open(),
        OPEN => Ok(()),
        _ => Err(io::Error::other("this node has fallen behind its cluster")),
    }
}

/// What the node that starts a restored cluster tells the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beginning {
    /// The id of the backup from which all nodes were restored.
    pub backup: String,
    /// All nodes.
    pub members: BTreeMap<u64, NodeAddress>,
}

/// What a restored node does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Wait, for this reason.
    Wait(String),
    /// Begin: all nodes are as this one.
    Begin,
    /// Follow the cluster, which has begun without it.
    Rejoin,
    /// Stop, for this reason.
    Stop(String),
}

impl Beginning {
    /// By what all the others answered.
    fn next(&self, answers: &[Option<Status>]) -> Next {
        let answered = || answers.iter().flatten();
        let is_same = |status: &Status| status.restored.as_ref() == Some(&self.backup);
        if let Some(other) = answered().find(|status| status.formed && !is_same(status)) {
            return Next::Stop(format!(
                "this node was restored from a backup, and node {} has data that is not of it; a \
                 backup is restored on all nodes of a cluster, or on none: if this node alone has \
                 lost its data, empty its data folder and start it, and it gets all from the others",
                other.id
            ));
        }
        if answered().any(|status| status.formed) {
            return Next::Rejoin;
        }
        let wait = |status: &Status| {
            let id = status.id;
            if status.restored.is_none() {
                Some(format!("node {id} has not been restored"))
            } else if !is_same(status) {
                Some(format!("node {id} was restored from another backup"))
            } else if status.members != self.members {
                Some(format!("node {id} was restored with another list of nodes"))
            } else {
                None
            }
        };
        let mut reasons: Vec<String> = answered().filter_map(wait).collect();
        if answers.contains(&None) {
            reasons.push("not all nodes answer".to_owned());
        }
        if reasons.is_empty() { Next::Begin } else { Next::Wait(reasons.join(", ")) }
    }
}

/// Takes a restored node to where it takes part, or has to catch up with those that do.
async fn form(inner: &Inner) -> io::Result<()> {
    let Inner { gate, peers, .. } = inner;
    let id = inner.settings.id;
    let restored = gate.restored().ok_or_else(|| io::Error::other("restored from nothing"))?;
    let mut told = None;
    while gate.is_forming() {
        let answers = peers.ask_all().await;
        let members = inner.members().nodes;
        let is_lowest = members.keys().min() == Some(&id);
        let beginning = Beginning { backup: restored.backup.clone(), members };
        let why = match beginning.next(&answers) {
            Next::Stop(why) => return Err(io::Error::other(why)),
            Next::Rejoin => {
                tracing::warn!(id, "the restored cluster has begun without this node");
                return gate.rejoin();
            }
            Next::Begin if is_lowest => {
                let begun = peers.call_all(Kind::Begin, &codec::encode(&beginning)).await;
                match begun.into_iter().find_map(Result::err) {
                    Some(error) => Some(format!("a node does not begin: {error}")),
                    None => {
                        gate.open()?;
                        let members = beginning.members.len();
                        tracing::info!(id, members, "started a restored cluster");
                        return Ok(());
                    }
                }
            }
            // The one with the lowest id tells this one.
            Next::Begin => None,
            Next::Wait(why) => Some(why),
        };
        if why.is_some() && why != told {
            tracing::warn!(id, why, "waiting for all nodes to be restored from one backup");
            told = why;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Takes a node that is undecided, restored or rejoining to where it may vote. Returns at once for any
/// other.
///
/// # Errors
/// If a marker cannot be kept, Raft has stopped, or a restored node's cluster is another one.
pub(super) async fn join(inner: &Inner) -> io::Result<()> {
    if inner.gate.is_forming() {
        form(inner).await?;
    }
    let Inner { gate, raft, peers, .. } = inner;
    let (id, members) = (inner.settings.id, &inner.settings.members);
    let lowest = members.keys().min() == Some(&id);
    // What stands in the way, each told once.
    let mut told = BTreeSet::new();
    while gate.is_undecided() {
        let answers = peers.ask_all().await;
        if answers.iter().flatten().any(|status| status.formed) {
            tracing::warn!(id, "this node has no data but its cluster has: it starts anew");
            gate.rejoin()?;
            break;
        }
        let restored = answers.iter().flatten().find(|status| status.restored.is_some());
        if let Some(Status { id: other, .. }) = restored.filter(|_| told.insert("restored")) {
            tracing::warn!(id, other, "a node was restored from a backup, and this one was not");
        }
        let all = answers.iter().all(Option::is_some);
        if all && lowest && restored.is_none() {
            let first = codec::encode(members);
            let accepted = peers.call_all(Kind::Bootstrap, &first).await;
            let refused = accepted.iter().find_map(|answer| answer.as_ref().err());
            if let Some(error) = refused.filter(|_| told.insert("refused")) {
                tracing::warn!(%error, "a node does not take the cluster's first list of nodes");
            }
            if refused.is_none() {
                initialize(raft, members.clone()).await?;
                gate.open()?;
                tracing::info!(id, members = members.len(), "started a new cluster");
                return Ok(());
            }
        }
        if !all && told.insert("silent") {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::cluster::Role;
    use crate::raft::disk::Disk;

    fn nodes(ids: &[u64]) -> BTreeMap<u64, NodeAddress> {
        ids.iter().map(|id| (*id, NodeAddress::default())).collect()
    }

    fn status(id: u64, restored: Option<&str>, formed: bool) -> Option<Status> {
        Some(Status {
            id,
            role: Role::Joining,
            leader: None,
            term: 0,
            last_log: None,
            applied: None,
            ready: false,
            formed,
            wall_ms: 0,
            clock_trusted: true,
            disk: Disk::Ample,
            members: nodes(&[1, 2, 3]),
            version_max: 3,
            restored: restored.map(str::to_owned),
        })
    }

    fn next(answers: [Option<Status>; 2]) -> Next {
        Beginning { backup: "a".to_owned(), members: nodes(&[1, 2, 3]) }.next(&answers)
    }

    #[test]
    fn a_restored_cluster_begins_when_all_are_of_one_backup_and_one_list() {
        let same = |id| status(id, Some("a"), false);
        assert_eq!(next([same(2), same(3)]), Next::Begin);
        let waits = |answers: [Option<Status>; 2], why: &str| {
            assert_eq!(next(answers), Next::Wait(why.to_owned()));
        };
        waits([same(2), None], "not all nodes answer");
        waits([same(2), status(3, None, false)], "node 3 has not been restored");
        let other = status(3, Some("b"), false);
        waits([None, other], "node 3 was restored from another backup, not all nodes answer");
        let mut listed = status(3, Some("a"), false).unwrap();
        listed.members = nodes(&[1, 3]);
        waits([same(2), Some(listed)], "node 3 was restored with another list of nodes");
    }

    #[test]
    fn a_cluster_that_has_begun_is_followed_if_it_began_with_this_backup() {
        let begun = |id| status(id, Some("a"), true);
        assert_eq!(next([begun(2), status(3, Some("a"), false)]), Next::Rejoin);
        assert_eq!(next([None, begun(3)]), Next::Rejoin);
        for other in [status(3, None, true), status(3, Some("b"), true)] {
            let Next::Stop(why) = next([begun(2), other]) else { panic!("it must stop") };
            assert!(why.contains("node 3 has data that is not of it"), "{why}");
        }
    }

    #[test]
    fn a_restored_node_takes_part_in_nothing_until_its_gate_is_opened() {
        let dir = tempfile::TempDir::new().unwrap();
        let restored = Restored { backup: "a".to_owned(), index: 7 };
        restored.begin(dir.path()).unwrap();
        let gate = Gate::new(dir.path(), true).unwrap();
        assert_eq!(gate.restored(), Some(&restored));
        assert!(gate.is_forming() && !gate.is_open() && !gate.may_elect());
        assert!(gate.check_may_vote().is_err());
        assert!(gate.check_may_follow(u64::MAX).is_err());
        // It has to catch up, also after a restart, and until it has.
        gate.rejoin().unwrap();
        let gate = Gate::new(dir.path(), true).unwrap();
        assert!(!gate.is_forming() && !gate.is_open());
        gate.open().unwrap();
        for gate in [gate, Gate::new(dir.path(), true).unwrap()] {
            assert!(gate.is_open() && gate.may_elect());
            assert_eq!(gate.restored(), Some(&restored));
        }
    }
}
