//! The composition root: opens the stores, starts Raft and the queues, binds both listeners, and
//! takes all of it down again so that no request fails on account of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::bindings::Bindings;
use crate::clock::SystemClock;
use crate::codec;
use crate::config::{self, Settings};
use crate::deleted;
use crate::descriptors;
use crate::http::{self, Api, Connections, Telemetry};
use crate::limits;
use crate::listener;
use crate::machine::{Quotas, SetPolicy};
use crate::peer::{self, Dial, Handler, Kind, Ordered, Reply, Tcp, TlsDial, TlsListener};
use crate::propose::{self, ForwardReply, Leader, SubmitError};
use crate::raft::{Node, NodeAddress, RaftSettings, Stores};
use crate::storage::{LogStore, Restoring, Snapshots, StateOptions, StateStore};
use crate::tls::{self, Clients, Contents, Peers, Watched};
use crate::trace::{Exporter, Tracer};

/// How long a stopping node tries to give leadership away.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(1000);
/// How long a stopping node goes on as before, so that who looks at `/readyz` sends nobody here.
const NOTICE: Duration = Duration::from_millis(300);

/// Why a node stopped, other than because it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The settings name a file that cannot be used.
    #[error("{0}")]
    Settings(#[from] crate::config::SettingsError),
    /// Anybody could have connected to this node and read and changed what it keeps.
    #[error(
        "this node would listen for {whom} at {address} without {lacks}, where not only this machine can \
         connect. Configure it (a certificate in [tls.{whom}], clients' tokens in [auth]: see \
         docs/operating.md), have it listen on 127.0.0.1, or let it with --insecure"
    )]
    Exposed {
        /// Clients or peers.
        whom: &'static str,
        /// `host:port`
        address: String,
        /// TLS, tokens, or both.
        lacks: &'static str,
    },
    /// A certificate cannot be used.
    #[error("the certificate for {whom}: {source}")]
    Tls {
        /// Clients or peers.
        whom: &'static str,
        /// Why.
        source: tls::Error,
    },
    /// Spans cannot be exported.
    #[error("[telemetry]: {0}")]
    Telemetry(String),
    /// A listener could not be bound.
    #[error("cannot listen for {whom} on {address}: {source}")]
    Listen {
        /// Clients or peers.
        whom: &'static str,
        /// `host:port`
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error("the data in {path}: {source}")]
    Data {
        /// The data folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A migration takes a class away of which there are objects.
    #[error("{path}: {left}")]
    DeletedClass {
        /// The `wrangler` file.
        path: String,
        /// What there is, and how to go on.
        left: String,
    },
    /// Raft stopped: a fault of the disk, or an entry that this build does not understand.
    #[error("this node stopped: {0}")]
    Stopped(String),
}

/// Runs one node until `shutdown` resolves, then stops it gracefully.
///
/// # Errors
/// If the node cannot start, or stops by itself.
pub async fn run(
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let Checked { bindings, policies, quotas, secrets, tracer, exporter } = Checked::of(&settings)?;
    let gone = bindings.gone().to_vec();
    let connections = Connections {
        most: descriptors::raise(),
        most_per_address: settings.connections_per_address_max,
    };
    // Bound first: a port that is taken is the likeliest mistake, and the cheapest to find.
    let clients = listen("clients", settings.http()).await?;
    let peers = listen("peers", settings.peer()).await?;

    let clock = Arc::new(SystemClock::new());
    let dial: Arc<dyn Dial> = match &secrets.peers {
        Some(peers) => Arc::new(TlsDial(peers.clone())),
        None => Arc::new(Tcp),
    };
    let node =
        open(&settings, clock.clone(), dial).await.map_err(|source| data(&settings, source))?;
    // Before anybody is answered, and by what is here; once more when this node has caught up.
    let left = deleted::left(node.state(), &gone).map_err(|source| data(&settings, source))?;
    if let Some(left) = left {
        node.shutdown().await.map_err(|source| data(&settings, source))?;
        return Err(deleted_class(&settings, left));
    }
    let keeping = settings.idempotency.keeping();
    let proposals = propose::start(&node, settings.retention_ms, keeping, policies, quotas);

    let answers = Arc::new(PeerRequests { node: node.clone(), leader: proposals.leader });
    let (cluster, id) = (settings.cluster.clone(), settings.id);
    let mut background = tokio::task::JoinSet::new();
    match secrets.peers.clone() {
        Some(tls) => {
            background.spawn(peer::listen(TlsListener::new(peers, tls), cluster, id, answers))
        }
        None => background.spawn(peer::listen(peers, cluster, id, answers)),
    };
    let certificates: Vec<Arc<dyn Watched>> =
        secrets.watched.iter().map(|(one, _)| one.clone()).collect();
    if !secrets.watched.is_empty() {
        background.spawn(tls::watch(secrets.watched, clock));
    }
    let maintained = node.clone();
    background.spawn(async move { maintained.maintain().await });
    let joining = node.clone();
    let mut joined = tokio::spawn(async move { joining.join().await });

    let operators = settings.auth.as_ref().map(|auth| auth.operator_sha256.as_slice());
    let api = Api::new(proposals.proposer, node.clone(), bindings, certificates, operators);
    let guard = api.guard.clone();
    background.spawn(async move { guard.watch().await });
    let telemetry = Telemetry { tracer, slow_request: settings.telemetry.slow_request() };
    let mut exporting = tokio::task::JoinSet::new();
    if let Some(exporter) = exporter {
        exporting.spawn(exporter.run());
    }
    let (stop, stopping) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let shutdown = async {
            // Dropped or sent: both mean that it is time.
            let _ = stopping.await;
        };
        http::serve(clients, secrets.clients, connections, api, telemetry, shutdown).await;
    });
    tracing::info!(id = node.id(), http = settings.http(), peer = settings.peer(), "serving");

    let mut is_joined = false;
    let mut is_looked = gone.is_empty();
    let mut looked = pin!(deleted::left_after_catching_up(&node, &gone));
    let mut shutdown = pin!(shutdown);
    let failure = loop {
        tokio::select! {
            () = &mut shutdown => break None,
            reason = node.stopped() => break Some(ServeError::Stopped(reason)),
            result = &mut joined, if !is_joined => {
                is_joined = true;
                if let Err(error) = result.map_err(io::Error::other).flatten() {
                    break Some(data(&settings, error));
                }
            }
            left = &mut looked, if !is_looked => {
                is_looked = true;
                match left {
                    Ok(None) => {}
                    Ok(Some(left)) => break Some(deleted_class(&settings, left)),
                    Err(error) => break Some(data(&settings, error)),
                }
            }
        }
    };

    if failure.is_none() {
        tracing::info!("stopping: handing over and finishing what is under way");
        node.start_draining();
        tokio::join!(node.hand_over(HAND_OVER_TIMEOUT), sleep(NOTICE));
    }
    drop(stop);
    if let Err(error) = serving.await {
        tracing::error!(%error, "the client listener failed");
    }
    // Whoever made spans is gone: what is left of them may still go.
    let _ = timeout(limits::SPANS_FLUSH_TIMEOUT, exporting.join_next()).await;
    joined.abort();
    background.shutdown().await;
    let flushed = node.shutdown().await;
    match failure {
        Some(failure) => Err(failure),
        None => flushed.map_err(|source| data(&settings, source)),
    }
}

/// Looks at all that the settings say and name, as [`run`] does first. Binds nothing, and touches no data.
///
/// Gives the certificates that the node would show.
///
/// # Errors
/// If [`run`] would not start.
pub fn check(settings: &Settings) -> Result<Vec<Arc<dyn Watched>>, ServeError> {
    let watched = Checked::of(settings)?.secrets.watched;
    Ok(watched.into_iter().map(|(certificate, _)| certificate).collect())
}

/// What the settings name, read and found good.
struct Checked {
    bindings: Bindings,
    policies: Vec<SetPolicy>,
    quotas: Quotas,
    secrets: Secrets,
    tracer: Tracer,
    exporter: Option<Exporter>,
}

impl Checked {
    fn of(settings: &Settings) -> Result<Self, ServeError> {
        let bindings = settings.bindings()?;
        check_exposed(settings)?;
        let (policies, quotas) = (settings.seeds(&bindings)?, settings.quotas(&bindings)?);
        let secrets = Secrets::load(settings)?;
        let traces = settings.traces().map_err(ServeError::Telemetry)?;
        let (tracer, exporter) = match traces {
            Some((tracer, exporter)) => (tracer, Some(exporter)),
            None => (Tracer::default(), None),
        };
        Ok(Self { bindings, policies, quotas, secrets, tracer, exporter })
    }
}

fn deleted_class(settings: &Settings, left: String) -> ServeError {
    let path = settings.wrangler.as_ref().map_or(String::new(), |path| path.display().to_string());
    ServeError::DeletedClass { path, left }
}

fn data(settings: &Settings, source: io::Error) -> ServeError {
    ServeError::Data { path: settings.data.display().to_string(), source }
}

/// Refuses to be open to everybody, or warns if it is so wanted.
fn check_exposed(settings: &Settings) -> Result<(), ServeError> {
    for config::Exposed { whom, address, lacks } in settings.exposed() {
        if !settings.insecure {
            return Err(ServeError::Exposed { whom, address: address.to_owned(), lacks });
        }
        tracing::warn!(address, "insecure: {whom} can connect from other machines without {lacks}");
    }
    Ok(())
}

/// The certificates of the two listeners.
struct Secrets {
    peers: Option<Arc<Peers>>,
    clients: Option<Arc<Clients>>,
    /// All of them, with what they were made of.
    watched: Vec<(Arc<dyn Watched>, Contents)>,
}

impl Secrets {
    fn load(settings: &Settings) -> Result<Self, ServeError> {
        let refused = |whom| move |source| ServeError::Tls { whom, source };
        let mut secrets = Self { peers: None, clients: None, watched: Vec::new() };
        if let Some(files) = settings.tls.peers.clone() {
            let (peers, contents) = Peers::load(files.into(), &settings.cluster, settings.id)
                .map_err(refused("peers"))?;
            let peers = Arc::new(peers);
            secrets.watched.push((peers.clone(), contents));
            secrets.peers = Some(peers);
        }
        if let Some(files) = settings.tls.clients.clone() {
            let (clients, contents) = Clients::load(files.into()).map_err(refused("clients"))?;
            let clients = Arc::new(clients);
            secrets.watched.push((clients.clone(), contents));
            secrets.clients = Some(clients);
        }
        Ok(secrets)
    }
}

async fn listen(whom: &'static str, address: &str) -> Result<TcpListener, ServeError> {
    listener::listen(address).await.map_err(|source| ServeError::Listen {
        whom,
        address: address.to_owned(),
        source,
    })
}

async fn open(
    settings: &Settings,
    clock: Arc<SystemClock>,
    dial: Arc<dyn Dial>,
) -> io::Result<Node> {
    let (log, state, snapshots) = open_stores(settings).await?;
    let raft = RaftSettings {
        cluster: settings.cluster.clone(),
        id: settings.id,
        members: members(settings),
        dir: settings.data.clone(),
        heartbeat_ms: settings.raft.heartbeat_ms,
        election_min_ms: settings.raft.election_min_ms,
        election_max_ms: settings.raft.election_max_ms,
        snapshot_log_bytes: settings.snapshot_log_bytes,
        disk_reserve_bytes: settings.storage.disk_reserve_bytes,
        version_max: settings.version_max,
    };
    Node::start(raft, clock, dial, Arc::new(log), Arc::new(state), snapshots).await
}

/// The nodes that the settings list.
pub(crate) fn members(settings: &Settings) -> BTreeMap<u64, NodeAddress> {
    let node =
        |node: &config::Node| NodeAddress { http: node.http.clone(), peer: node.peer.clone() };
    settings.nodes.iter().map(|listed| (listed.id, node(listed))).collect()
}

/// Opens what a node has on its disk; nobody else can meanwhile.
///
/// # Errors
/// If it cannot be opened, or is no node's, since a backup was restored there in part.
pub(crate) async fn open_stores(settings: &Settings) -> io::Result<Stores> {
    Restoring::refuse(&settings.data)?;
    open_any_stores(settings).await
}

/// As [`open_stores`], also while a backup is being restored there.
pub(crate) async fn open_any_stores(settings: &Settings) -> io::Result<Stores> {
    let dir = settings.data.clone();
    let options = StateOptions {
        block_cache_bytes: settings.storage.block_cache_bytes,
        write_buffer_bytes: settings.storage.write_buffer_bytes,
    };
    let purge_bytes = settings.snapshot_log_bytes;
    let open = move || {
        std::fs::create_dir_all(&dir)?;
        let state = StateStore::open(&dir.join("state"), options)?;
        let log = LogStore::open(&dir.join("log"), state.flushed(), purge_bytes)?;
        Ok((log, state, Snapshots::open(&dir)?))
    };
    tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
}

/// Answers what other nodes ask: Raft's requests, and groups for the leader.
pub struct PeerRequests {
    /// For Raft's requests.
    pub node: Node,
    /// For the groups.
    pub leader: Leader,
}

impl Handler for PeerRequests {
    fn call(
        &self,
        from: u64,
        kind: Kind,
        payload: Bytes,
    ) -> BoxFuture<'static, io::Result<Vec<u8>>> {
        let (node, leader) = (self.node.clone(), self.leader.clone());
        Box::pin(async move {
            if kind != Kind::Forward {
                return node.answer(from, kind, &payload).await;
            }
            // In a log entry that is too large for a frame it would never reach the followers.
            if payload.len() > limits::FORWARD_BYTES_MAX {
                return Err(io::Error::other("a group larger than any node makes"));
            }
            // No caller waits for longer; its place on the connection is for others.
            let submitted = leader.submit(codec::decode(&payload)?);
            let reply = match timeout(limits::REQUEST_TIMEOUT, submitted).await {
                Ok(Ok(outcome)) => ForwardReply::Decided(outcome),
                Ok(Err(error)) => ForwardReply::Refused(error),
                Err(_) => ForwardReply::Refused(SubmitError::Unknown),
            };
            Ok(codec::encode(&reply))
        })
    }

    fn appends(
        &self,
        requests: mpsc::Receiver<Ordered>,
        replies: mpsc::Sender<Reply>,
    ) -> BoxFuture<'static, ()> {
        let node = self.node.clone();
        Box::pin(async move { node.answer_appends(requests, replies).await })
    }
}
