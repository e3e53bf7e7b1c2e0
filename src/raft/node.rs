//! One node's part in the cluster, as the other rooms see it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::metrics::RaftServerMetrics;
use openraft::type_config::alias::WatchReceiverOf;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use super::apply::{Progress, StateMachine};
use super::blocking::blocking;
use super::bootstrap::{self, Gate, Grant};
use super::cluster::Peers;
use super::crowds::Crowds;
use super::disk::Disks;
use super::members::Members;
use super::read::Reads;
use super::rpc::Rpc;
use super::status::ClusterReport;
use super::types::{EncodedBatch, Raft, TypeConfig};
use super::{RaftSettings, config, log, network};
use crate::clock::Clock;
use crate::codec;
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::{GroupOutcome, NamespaceId};
use crate::peer::{Dial, Kind, Ordered, Reply};
use crate::storage::{LogStorage, Meta, Snapshots, StateStorage};

/// How often it is looked whether Raft still runs.
const LOOK: Duration = Duration::from_millis(100);

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
    pub(super) inner: Arc<Inner>,
    reads: Reads,
}

/// What the files of this room share.
pub(crate) struct Inner {
    pub(super) settings: RaftSettings,
    pub(super) raft: Raft,
    pub(super) gate: Arc<Gate>,
    pub(super) peers: Peers,
    pub(super) disks: Arc<Disks>,
    pub(super) log: Arc<dyn LogStorage>,
    pub(super) state: Arc<dyn StateStorage>,
    pub(super) snapshots: Snapshots,
    pub(super) progress: watch::Receiver<Progress>,
    token_changes: watch::Receiver<u64>,
    crowds: Arc<Crowds>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) draining: AtomicBool,
    /// Held by the one change of the members that is under way here.
    pub(super) changing: tokio::sync::Mutex<()>,
    rpc: Rpc,
    server: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
}

impl Node {
    /// Starts Raft on what the stores hold, and everything that runs beside it. `dial` makes its
    /// connections to the other nodes.
    ///
    /// # Errors
    /// If the stores cannot be read or hold what this build does not understand.
    pub async fn start(
        settings: RaftSettings,
        clock: Arc<dyn Clock>,
        dial: Arc<dyn Dial>,
        log: Arc<dyn LogStorage>,
        state: Arc<dyn StateStorage>,
        snapshots: Snapshots,
    ) -> io::Result<Self> {
        let has_data = log.last()?.is_some()
            || log.get_meta(Meta::Vote)?.is_some()
            || state.marks()?.index.is_some();
        let gate = Arc::new(Gate::new(&settings.dir, has_data)?);
        let version_max = settings.version_max;
        let (machine, progress) =
            StateMachine::open(state.clone(), snapshots.clone(), clock.clone(), version_max)?;
        let (token_changes, crowds) = (machine.token_changes(), machine.crowds());
        let network = network::Network::new(&settings.cluster, settings.id, dial.clone());
        let config = Arc::new(config(&settings)?);
        let raft = Raft::new(settings.id, config, network, log::Log::new(log.clone()), machine)
            .await
            .map_err(io::Error::other)?;
        raft.runtime_config().elect(gate.may_elect());
        // What the log says is followed from the first look on.
        let members = Members::all(&settings.members);
        let peers = Peers::new(&settings.cluster, settings.id, &members, clock.clone(), dial);
        let disks = Arc::new(Disks::default());
        let rpc = Rpc::new(raft.clone(), gate.clone(), disks.clone(), snapshots.clone());
        let draining = AtomicBool::new(false);
        let server = raft.server_metrics();
        let inner = Arc::new(Inner {
            settings,
            raft,
            gate,
            peers,
            disks,
            log,
            state,
            snapshots,
            progress,
            token_changes,
            crowds,
            clock,
            draining,
            changing: tokio::sync::Mutex::default(),
            rpc,
            server,
        });
        let reads = Reads::new(inner.clone());
        Ok(Self { inner, reads })
    }

    /// Finds out whether this node is new, was restored, has lost its data, or goes on, and lets it
    /// vote when it may. Needs the peer listener to be up.
    ///
    /// # Errors
    /// If the data folder cannot be written, Raft has stopped, or the node was restored into a cluster
    /// of other data.
    pub async fn join(&self) -> io::Result<()> {
        bootstrap::join(&self.inner).await
    }

    /// Keeps the peers' statuses fresh, watches the disk, and cuts the log when it has grown. Runs
    /// until dropped.
    pub async fn maintain(&self) {
        tokio::join!(
            self.inner.peers.watch(|| self.inner.acquaintances()),
            self.inner.watch_members(),
            self.inner.compact_when_due(),
            self.inner.keep_unfit_from_leading(),
            self.inner.watch_disk(),
        );
    }

    /// Returns once Raft has stopped on this node, with the reason.
    pub async fn stopped(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            // A Raft that panicked tells nothing more.
            if let Some(Err(_)) = metrics.changed().now_or_never() {
                return "Raft has ended without a reason; it may have panicked".to_owned();
            }
            // Looked at now and then: the metrics change with every entry, several times, and a
            // thread that waits for each change is woken and put to sleep more often than any other.
            sleep(LOOK).await;
        }
    }

    /// This node's id.
    pub fn id(&self) -> u64 {
        self.inner.settings.id
    }

    /// Linearizable reads.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The newest state that is applied here, for the alarms; reads for clients go by
    /// [`Node::reads`].
    pub fn state(&self) -> &dyn StateStorage {
        &*self.inner.state
    }

    /// How many objects of each namespace were written here in the last hour and are near their quotas.
    pub fn crowded(&self) -> BTreeMap<NamespaceId, u64> {
        self.inner.crowds.count(self.now_ms())
    }

    /// How far this node has applied the log.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.progress.clone()
    }

    /// How often an API token was stored or revoked, as far as this node has applied the log.
    pub fn token_changes(&self) -> watch::Receiver<u64> {
        self.inner.token_changes.clone()
    }

    /// Who leads.
    pub fn leadership(&self) -> Leadership {
        self.inner.leadership()
    }

    /// Returns once the leadership is not what it `was`.
    pub async fn leadership_other_than(&self, was: Leadership) {
        self.inner.leadership_other_than(was).await;
    }

    /// `Unavailable` if it is known that no majority can be reached from here.
    ///
    /// # Errors
    /// See above.
    pub fn check_quorum(&self) -> Result<()> {
        self.inner.check_quorum()
    }

    /// `StorageFull` if there is no majority of nodes with space for what clients write.
    ///
    /// # Errors
    /// See above.
    pub fn check_disks(&self) -> Result<()> {
        self.inner.check_disks()
    }

    /// Proposes a batch under `term`; gives an outcome per group once it is applied here.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(
        &self,
        term: u64,
        batch: Vec<u8>,
    ) -> std::result::Result<Vec<GroupOutcome>, ProposeError> {
        let (responder, done) = ProgressResponder::complete_only();
        let batch = EncodedBatch(Bytes::from(batch));
        let write = self.inner.raft.write(batch).with_leader(term).responder(responder);
        write.await.map_err(|_| ProposeError::Stopped)?;
        match done.await {
            Ok(Ok(written)) => Ok(written.data.0),
            Ok(Err(ClientWriteError::LogEntryDiscarded(_))) => Err(ProposeError::Unknown),
            Ok(Err(_)) => Err(ProposeError::NotLeader),
            Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// Sends a request to a peer over the link for what is neither entries nor snapshots.
    ///
    /// # Errors
    /// See [`crate::peer::Link::call`]; `NotFound` if there is no such node.
    pub async fn call(&self, peer: u64, kind: Kind, payload: Vec<u8>) -> io::Result<Bytes> {
        let peers = &self.inner.peers;
        let link = peers.link(peer).or_else(|| {
            // It was added a moment ago.
            peers.follow(&self.inner.members());
            peers.link(peer)
        });
        let link = link.ok_or(io::ErrorKind::NotFound)?;
        link.call(kind, payload).await
    }

    /// Answers a peer's request that is Raft's.
    ///
    /// # Errors
    /// What is sent back to the peer as text.
    pub async fn answer(&self, from: u64, kind: Kind, payload: &[u8]) -> io::Result<Vec<u8>> {
        let inner = &self.inner;
        match kind {
            Kind::Status => Ok(inner.status().to_wire()),
            Kind::ReadIndex => {
                let was = self.leadership();
                let Leadership::Here { .. } = was else {
                    return Err(io::Error::other("this node does not lead"));
                };
                // In one round with the readers of this node and of the others. Only while it leads:
                // else its round would ask the new leader, whose own may be asking here.
                let point = self.reads.point(Instant::now() + limits::REQUEST_TIMEOUT);
                tokio::select! {
                    point = point => Ok(codec::encode(&point.map_err(io::Error::other)?)),
                    () = self.leadership_other_than(was) => {
                        Err(io::Error::other("this node does not lead any more"))
                    }
                }
            }
            Kind::Bootstrap => {
                bootstrap::accept_first(inner, codec::decode(payload)?).await?;
                Ok(Vec::new())
            }
            Kind::Begin => {
                bootstrap::accept_beginning(inner, &codec::decode(payload)?)?;
                Ok(Vec::new())
            }
            Kind::Rejoin => {
                let version_max = codec::decode(payload)?;
                Ok(codec::encode(&inner.allow_rejoin(from, version_max).await?))
            }
            Kind::Change => Ok(codec::encode(&inner.change(codec::decode(payload)?).await)),
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
        blocking(move || state.content_hash())
            .await
            .map(|(marks, hash)| (marks.index.unwrap_or(0), hex::encode(hash)))
            .map_err(|error| Error::internal(error.to_string()))
    }
}

impl Inner {
    /// Read from the same channel that [`Self::leadership_other_than`] waits on: openraft publishes
    /// on several, one after the other.
    pub(super) fn leadership(&self) -> Leadership {
        let server = self.server.borrow_watched();
        let vote = &server.vote;
        let is_own = vote.committed && vote.leader_id.voted_for == self.settings.id;
        match (server.state, server.current_leader) {
            (ServerState::Leader, _) if is_own => Leadership::Here { term: vote.leader_id.term },
            (_, Some(leader)) if leader != self.settings.id => Leadership::There(leader),
            _ => Leadership::Nowhere,
        }
    }

    pub(super) async fn leadership_other_than(&self, was: Leadership) {
        let mut server = self.server.clone();
        while self.leadership() == was {
            if server.changed().await.is_err() {
                // Raft has stopped, and nothing will change any more.
                return std::future::pending().await;
            }
        }
    }

    pub(super) fn check_quorum(&self) -> Result<()> {
        if self.peers.quorum_is_lost() {
            return Err(Error::unavailable("a majority of the nodes cannot be reached"));
        }
        Ok(())
    }

    /// Whether this node's log is of a cluster that has had a leader. By what is on disk: openraft's
    /// metrics are empty for a moment after a start.
    pub(super) fn is_formed(&self) -> io::Result<bool> {
        // Index 0 is the first membership, which any node may hold before there is a leader; and a
        // restored node begins with more.
        let first = self.gate.restored().map_or(0, |restored| restored.index);
        let applied = self.progress.borrow().applied;
        let last = self.log.last()?.map(|(index, _)| index);
        Ok(last.max(applied).max(self.log.purged_to()) > Some(first))
    }

    /// Returns once everything in the log is synced.
    pub(super) async fn sync_log(&self) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        let done = Box::new(move |result| {
            // The receiver waits below, unless the node is being stopped.
            let _ = done.send(result);
        });
        self.log.sync(done)?;
        synced.await.map_err(io::Error::other)?
    }

    /// Lets the log of node `from` be shorter than it was known to be, if this node leads, which it
    /// proves by a round with a majority first: `from` refuses appends, so is not of it.
    async fn allow_rejoin(&self, from: u64, version_max: u8) -> io::Result<Option<Grant>> {
        let Leadership::Here { term } = self.leadership() else { return Ok(None) };
        if self.members().forbids_return(from) {
            return Ok(None);
        }
        let version = self.progress.borrow().version;
        if version_max < version {
            tracing::warn!(
                node = from,
                version_max,
                version,
                "a node does not know all commands in use"
            );
            return Ok(None);
        }
        let committed = self.read_index_as_leader().await?;
        let allowed = self.raft.trigger().allow_next_revert(&from, true).await;
        allowed.map_err(io::Error::other)?.map_err(io::Error::other)?;
        tracing::warn!(node = from, "a node without data starts anew");
        Ok(Some(Grant { term, committed }))
    }
}
