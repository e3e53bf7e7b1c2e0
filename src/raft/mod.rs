//! The stairs: the only room that knows openraft.
//!
//! What openraft requires of its user, and what this room adds:
//!
//! | file | required | added |
//! |---|---|---|
//! | `types.rs` | the type config | batches that stay encoded until apply |
//! | `log.rs` | log storage | the newest entries in memory |
//! | `apply.rs` | the state machine | progress that can be watched |
//! | `snapshot.rs` | a snapshot builder | transfer of checkpoint directories as files |
//! | `network.rs`, `rpc.rs` | calls, and who answers them | pipelined appends |
//! | `read.rs` | | read index for every node, a round for many readers |
//! | `bootstrap.rs` | | the first start, and a node that lost its disk |
//! | `cluster.rs` | | what is known of the peers, and of their clocks |
//!
//! Invariants: no vote before the gate is open; a proposal is appended under the term it was
//! stamped in, or not at all; an error of the storage or of apply stops the node.

mod apply;
mod bootstrap;
mod cluster;
pub mod log;
mod network;
mod read;
mod rpc;
mod snapshot;
mod types;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::{Config, ServerState, SnapshotPolicy};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

pub use apply::{Progress, StateMachine};
pub use cluster::{Role, Status};
pub use read::Reads;
pub use types::{Applied, EncodedBatch, NodeAddress, TypeConfig};

use bootstrap::Gate;
use cluster::Peers;
use rpc::Rpc;
use types::Raft;

use crate::clock::Clock;
use crate::codec;
use crate::error::{Error, Result};
use crate::machine::GroupOutcome;
use crate::peer::{Kind, Ordered, Reply};
use crate::storage::{LogStore, Snapshots, StateStore};

/// A follower that is this many entries behind its leader does not serve yet.
const READY_LAG_MAX: u64 = 1024;
/// Entries that stay in the log behind a snapshot, for followers that are a little behind.
const KEEP_ENTRIES: u64 = 512;

/// What a node needs to know to take part.
#[derive(Clone, Debug)]
pub struct RaftSettings {
    /// The cluster's name.
    pub cluster: String,
    /// This node's id.
    pub id: u64,
    /// All nodes, this one included.
    pub members: BTreeMap<u64, NodeAddress>,
    /// The node's data folder.
    pub dir: PathBuf,
    /// Between two heartbeats of a leader, in ms.
    pub heartbeat_ms: u64,
    /// A follower that hears nothing for this long asks to be elected, in ms: at least.
    pub election_min_ms: u64,
    /// In ms: at most.
    pub election_max_ms: u64,
    /// Bytes of log after which a snapshot is made, so that the log can be cut.
    pub snapshot_log_bytes: u64,
}

/// Who leads, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This node.
    Here {
        /// Its term.
        term: u64,
    },
    /// Another node.
    There(u64),
    /// Nobody is known to.
    Nowhere,
}

/// Why a batch has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// This node does not lead in that term: nothing was appended.
    NotLeader,
    /// The batch was appended, and leadership lost: it may or may not be applied.
    Unknown,
    /// Raft has stopped on this node.
    Stopped,
}

/// One node's part in the cluster. Clones share it.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    reads: Reads,
}

pub(crate) struct Inner {
    settings: RaftSettings,
    raft: Raft,
    gate: Arc<Gate>,
    peers: Peers,
    rpc: Rpc,
    log: LogStore,
    state: StateStore,
    progress: watch::Receiver<Progress>,
    clock: Arc<dyn Clock>,
    draining: AtomicBool,
}

impl Node {
    /// Starts Raft on what the stores hold, and everything that runs beside it.
    ///
    /// # Errors
    /// If the stores cannot be read or hold what this build does not understand.
    pub async fn start(
        settings: RaftSettings,
        clock: Arc<dyn Clock>,
        log: LogStore,
        state: StateStore,
        snapshots: Snapshots,
    ) -> io::Result<Self> {
        let has_data = log.last()?.is_some()
            || log.get_meta(crate::storage::Meta::Vote)?.is_some()
            || state.applied()?.is_some();
        let gate = Arc::new(Gate::new(&settings.dir, has_data));
        let (machine, progress) =
            StateMachine::open(state.clone(), snapshots.clone(), clock.clone())?;
        let network = network::Network::new(&settings.cluster, settings.id);
        let config = Arc::new(config(&settings)?);
        let raft = Raft::new(settings.id, config, network, log::Log::new(log.clone()), machine)
            .await
            .map_err(io::Error::other)?;
        raft.runtime_config().elect(gate.is_open() || gate.is_undecided());
        let peers = Peers::new(&settings.cluster, settings.id, &settings.members, clock.clone());
        let rpc = Rpc::new(raft.clone(), gate.clone(), snapshots);
        let draining = AtomicBool::new(false);
        let inner = Arc::new(Inner {
            settings,
            raft,
            gate,
            peers,
            rpc,
            log,
            state,
            progress,
            clock,
            draining,
        });
        let reads = Reads::new(inner.clone());
        Ok(Self { inner, reads })
    }

    /// Finds out whether this node is new, has lost its data, or goes on, and lets it vote when it
    /// may. Needs the peer listener to be up.
    ///
    /// # Errors
    /// If the data folder cannot be written or Raft has stopped.
    pub async fn join(&self) -> io::Result<()> {
        let Inner { gate, raft, peers, settings, progress, .. } = &*self.inner;
        let applied = || progress.borrow().applied;
        bootstrap::join(gate, raft, peers, settings.id, &settings.members, applied).await
    }

    /// Keeps the peers' statuses fresh and cuts the log when it has grown. Runs until dropped.
    pub async fn maintain(&self) {
        tokio::join!(self.inner.peers.watch(), self.inner.snapshot_when_due(), self.give_up_lead());
    }

    /// Returns once Raft has stopped on this node, with the reason.
    pub async fn stopped(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "Raft has stopped".to_owned();
            }
        }
    }

    /// This node's id.
    pub fn id(&self) -> u64 {
        self.inner.settings.id
    }

    /// Linearizable reads.
    pub fn reads(&self) -> Reads {
        self.reads.clone()
    }

    /// The newest state that is applied here, for the alarms; reads for clients go by
    /// [`Node::reads`].
    pub fn state(&self) -> &StateStore {
        &self.inner.state
    }

    /// How far this node has applied the log.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.progress.clone()
    }

    /// Who leads.
    pub fn leadership(&self) -> Leadership {
        self.inner.leadership()
    }

    /// Returns once the leadership is not what it `was`.
    pub async fn leadership_other_than(&self, was: Leadership) {
        let mut metrics = self.inner.raft.server_metrics();
        while self.leadership() == was {
            if metrics.changed().await.is_err() {
                // Raft has stopped, and nothing will change any more.
                return std::future::pending().await;
            }
        }
    }

    /// Whether this node's wall clock may be used to stamp.
    pub fn clock_is_trusted(&self) -> bool {
        self.inner.peers.clock_is_trusted()
    }

    /// Whether any peer has said how it is, or there is none.
    pub fn clock_is_judged(&self) -> bool {
        self.inner.settings.members.len() == 1 || !self.inner.peers.reachable().is_empty()
    }

    /// `Unavailable` if it is known that no majority can be reached from here.
    ///
    /// # Errors
    /// See above.
    pub fn check_quorum(&self) -> Result<()> {
        self.inner.check_quorum()
    }

    /// Proposes a batch under `term`. The batch is in openraft's queue, behind those proposed
    /// before, when the first future gives the second, which gives an outcome per group.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(
        &self,
        term: u64,
        batch: Vec<u8>,
    ) -> std::result::Result<
        impl Future<Output = std::result::Result<Vec<GroupOutcome>, ProposeError>> + Send + use<>,
        ProposeError,
    > {
        let (responder, done) = ProgressResponder::complete_only();
        let batch = EncodedBatch(Bytes::from(batch));
        let write = self.inner.raft.write(batch).with_leader(term).responder(responder);
        write.await.map_err(|_| ProposeError::Stopped)?;
        Ok(async move {
            match done.await {
                Ok(Ok(written)) => Ok(written.data.0),
                Ok(Err(ClientWriteError::LogEntryDiscarded(_))) => Err(ProposeError::Unknown),
                Ok(Err(_)) => Err(ProposeError::NotLeader),
                Err(_) => Err(ProposeError::Unknown),
            }
        })
    }

    /// Sends a request to a peer over the link for what is neither entries nor snapshots.
    ///
    /// # Errors
    /// See [`crate::peer::Link::call`]; `NotFound` if there is no such node.
    pub async fn call(&self, peer: u64, kind: Kind, payload: Vec<u8>) -> io::Result<Bytes> {
        let link = self.inner.peers.link(peer).ok_or(io::ErrorKind::NotFound)?;
        link.call(kind, payload).await
    }

    /// Answers a peer's request that is Raft's.
    ///
    /// # Errors
    /// What is sent back to the peer as text.
    pub async fn answer(&self, from: u64, kind: Kind, payload: &[u8]) -> io::Result<Vec<u8>> {
        let inner = &self.inner;
        match kind {
            Kind::Status => Ok(codec::encode(&inner.status())),
            Kind::ReadIndex => Ok(codec::encode(&inner.read_index_as_leader().await?)),
            Kind::Bootstrap => {
                inner.gate.accept_first(&inner.raft, codec::decode(payload)?).await?;
                Ok(Vec::new())
            }
            Kind::Rejoin => Ok(codec::encode(&inner.allow_rejoin(from).await?)),
            _ => inner.rpc.call(from, kind, payload).await,
        }
    }

    /// Answers the appends of one peer's connection.
    pub async fn answer_appends(
        &self,
        requests: mpsc::Receiver<Ordered>,
        replies: mpsc::Sender<Reply>,
    ) {
        self.inner.rpc.appends(requests, replies).await;
    }

    /// Whether this node can serve clients now.
    ///
    /// # Errors
    /// One sentence why it cannot.
    pub fn ready(&self) -> std::result::Result<(), String> {
        self.inner.ready()
    }

    /// What this node knows of its cluster.
    pub async fn report(&self) -> ClusterReport {
        self.inner.report().await
    }

    /// SHA-256 over every row of the state, in hexadecimal, and the index up to which the log is
    /// applied in it: equal on all nodes at equal index. Reads everything.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub async fn content_hash(&self) -> Result<(u64, String)> {
        let state = self.inner.state.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            let snapshot = state.snapshot();
            let index = snapshot.marks()?.index;
            let hash = snapshot.content_hash()?;
            io::Result::Ok((index.unwrap_or(0), hex::encode(hash)))
        });
        hashed
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| Error::internal(error.to_string()))
    }

    /// From now on [`Node::ready`] says that this node stops.
    pub fn start_draining(&self) {
        self.inner.draining.store(true, Ordering::Release);
    }

    /// Gives leadership to another node, if this one has it. Returns once it has not, or after
    /// `patience`.
    pub async fn hand_over(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while matches!(self.leadership(), Leadership::Here { .. }) && Instant::now() < deadline {
            let Some(to) = self.inner.successor() else { return };
            tracing::info!(to, "handing leadership over");
            if self.inner.raft.trigger().transfer_leader(to).await.is_err() {
                return;
            }
            let mut metrics = self.inner.raft.metrics();
            let moved = async {
                while metrics.borrow_watched().current_leader != Some(to) {
                    if metrics.changed().await.is_err() {
                        return;
                    }
                }
            };
            // Not every transfer succeeds: the successor may be behind, or just gone.
            let _ = timeout(Duration::from_millis(500), moved).await;
        }
    }

    /// Stops Raft and brings what is in memory to disk.
    ///
    /// # Errors
    /// If the state cannot be flushed; the log is complete all the same.
    pub async fn shutdown(&self) -> io::Result<()> {
        // It may have stopped by itself.
        let _ = self.inner.raft.shutdown().await;
        let inner = self.inner.clone();
        let flushed = tokio::task::spawn_blocking(move || {
            inner.state.flush()?;
            inner.log.close()
        });
        flushed.await.map_err(io::Error::other)?
    }

    /// A leader whose clock is not trusted lets another lead, if one can.
    async fn give_up_lead(&self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            let leads = matches!(self.leadership(), Leadership::Here { .. });
            if leads && self.clock_is_judged() && !self.clock_is_trusted() {
                self.hand_over(Duration::from_secs(1)).await;
            }
        }
    }
}

fn config(settings: &RaftSettings) -> io::Result<Config> {
    let config = Config {
        cluster_name: settings.cluster.clone(),
        heartbeat_interval: settings.heartbeat_ms,
        election_timeout_min: settings.election_min_ms,
        election_timeout_max: settings.election_max_ms,
        enable_pre_vote: Some(true),
        // A restarted node reads its committed mark, so this would be sound; but a leader that was
        // gone has to prove itself like any other.
        enable_leader_restore: Some(false),
        broadcast_submitted_on_append: Some(true),
        install_snapshot_timeout: network::INSTALL_TIMEOUT.as_millis() as u64,
        // Only a follower whose entries are purged gets a snapshot; see `snapshot_when_due`.
        replication_lag_threshold: u64::MAX / 2,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: KEEP_ENTRIES,
        backoff: "20ms 40ms 80ms ...200ms".to_owned(),
        ..Config::default()
    };
    config.validate().map_err(io::Error::other)
}

impl Inner {
    fn leadership(&self) -> Leadership {
        match self.raft.as_leader() {
            Ok(leader) => Leadership::Here { term: leader.term() },
            Err(forward) => match forward.leader_id {
                Some(leader) if leader != self.settings.id => Leadership::There(leader),
                _ => Leadership::Nowhere,
            },
        }
    }

    fn check_quorum(&self) -> Result<()> {
        if self.peers.quorum_is_lost() {
            return Err(Error::unavailable("a majority of the nodes cannot be reached"));
        }
        Ok(())
    }

    fn role(&self, state: ServerState) -> Role {
        match state {
            _ if !self.gate.is_open() => Role::Rejoining,
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner | ServerState::Shutdown => Role::Learner,
        }
    }

    fn status(&self) -> Status {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        Status {
            id: self.settings.id,
            role: self.role(metrics.state),
            leader: metrics.current_leader,
            term: metrics.current_term,
            last_log: metrics.last_log_index,
            applied: self.progress.borrow().applied,
            ready: self.ready().is_ok(),
            // Index 0 is the first membership, which any node may hold before there is a leader.
            formed: metrics.last_log_index > Some(0),
            wall_ms: self.clock.wall_ms(),
        }
    }

    fn ready(&self) -> std::result::Result<(), String> {
        if self.draining.load(Ordering::Acquire) {
            return Err("this node is stopping".to_owned());
        }
        if !self.gate.is_open() {
            return Err("this node is joining its cluster".to_owned());
        }
        self.check_quorum().map_err(|error| error.message)?;
        let progress = *self.progress.borrow();
        match self.leadership() {
            Leadership::Nowhere => Err("no leader is known".to_owned()),
            Leadership::Here { term } if progress.term < term => {
                Err("this node leads and is still applying what came before".to_owned())
            }
            Leadership::Here { .. } => Ok(()),
            Leadership::There(leader) => {
                let reachable = self.peers.reachable();
                let Some(status) = reachable.get(&leader) else {
                    return Err(format!("the leader, node {leader}, has not answered yet"));
                };
                if progress.applied.unwrap_or(0) + READY_LAG_MAX < status.applied.unwrap_or(0) {
                    return Err(format!("this node is behind the leader, node {leader}"));
                }
                Ok(())
            }
        }
    }

    async fn report(&self) -> ClusterReport {
        let own = self.status();
        let answers = self.peers.ask_all().await;
        let of = |id: u64| {
            let answers = answers.iter().flatten().chain([&own]);
            answers.into_iter().find(|status| status.id == id).cloned()
        };
        let nodes = self.settings.members.iter().map(|(id, node)| {
            let status = of(*id);
            NodeReport {
                id: *id,
                http: node.http.clone(),
                peer: node.peer.clone(),
                role: status.as_ref().map_or(Role::Unreachable, |status| status.role),
                last_log: status.as_ref().and_then(|status| status.last_log),
                applied: status.as_ref().and_then(|status| status.applied),
                ready: status.as_ref().is_some_and(|status| status.ready),
            }
        });
        let progress = *self.progress.borrow();
        ClusterReport {
            id: own.id,
            leader: own.leader,
            term: own.term,
            nodes: nodes.collect(),
            state_hash: StateHash {
                applied: progress.applied.unwrap_or(0),
                hash: hex::encode(progress.hash),
            },
        }
    }

    /// The peer that is best placed to lead next.
    fn successor(&self) -> Option<u64> {
        let reachable = self.peers.reachable();
        let able = reachable.values().filter(|status| status.role == Role::Follower);
        able.max_by_key(|status| status.last_log).map(|status| status.id)
    }

    /// Lets the log of node `from` be shorter than it was known to be; gives the last index that
    /// the node has to apply before it votes, or none if this node does not lead.
    async fn allow_rejoin(&self, from: u64) -> io::Result<Option<u64>> {
        if !matches!(self.leadership(), Leadership::Here { .. }) {
            return Ok(None);
        }
        let allowed = self.raft.trigger().allow_next_revert(&from, true).await;
        allowed.map_err(io::Error::other)?.map_err(io::Error::other)?;
        tracing::warn!(node = from, "a node has lost its data and starts anew");
        Ok(self.raft.metrics().borrow_watched().last_log_index)
    }

    /// Makes a snapshot whenever the log has grown by `snapshot_log_bytes`, so that openraft can
    /// purge what it covers. By bytes and not by entries: an entry may hold one command or a
    /// thousand.
    async fn snapshot_when_due(&self) {
        let mut from = self.log.bytes();
        loop {
            sleep(Duration::from_secs(1)).await;
            let bytes = self.log.bytes();
            from = from.min(bytes);
            if bytes - from >= self.settings.snapshot_log_bytes {
                from = bytes;
                if self.raft.trigger().snapshot().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// `GET /admin/cluster`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReport {
    /// The node that answers.
    pub id: u64,
    /// The leader, if it knows one.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// All nodes.
    pub nodes: Vec<NodeReport>,
    /// How far it has applied the log, and the hash of that: equal on all nodes at equal index.
    pub state_hash: StateHash,
}

/// One node in a [`ClusterReport`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Its id.
    pub id: u64,
    /// Where it listens for clients.
    pub http: String,
    /// Where it listens for peers.
    pub peer: String,
    /// What it does.
    pub role: Role,
    /// Index of the last entry in its log; null if it did not answer.
    pub last_log: Option<u64>,
    /// Index of the last entry that it has applied; null if it did not answer.
    pub applied: Option<u64>,
    /// Whether it can serve clients.
    pub ready: bool,
}

/// See [`crate::machine::Machine::hash`].
#[derive(Clone, Debug, Serialize)]
pub struct StateHash {
    /// Index of the last applied entry.
    pub applied: u64,
    /// In hexadecimal.
    pub hash: String,
}
