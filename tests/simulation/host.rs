//! One machine of the cluster: its disk and its clock stay, the process on it comes and goes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tallykeep::machine::{Keeping, Quotas, VERSION_MAX};
use tallykeep::peer::{self, Handler};
use tallykeep::propose::{self, Proposer};
use tallykeep::raft::{Node, NodeAddress, RaftSettings};
use tallykeep::server::PeerRequests;
use tallykeep::storage::Snapshots;
use tokio::task::JoinSet;

use crate::clock::NodeClock;
use crate::disk::Disk;
use crate::life::Life;
use crate::log_disk::ProcessLog;
use crate::network::{Network, address};
use crate::planted::Forgetful;
use crate::state_disk::ProcessState;
use crate::world::{World, lock};
use crate::{clocks, leaders};

/// Nodes of the cluster in the beginning.
pub const NODES: u64 = 3;
/// Machines that may come later.
pub const SPARES: u64 = 2;
const CLUSTER: &str = "simulation";
const RETENTION_MS: u64 = 30 * 24 * 60 * 60 * 1000;
const KEEPING: Keeping = Keeping { retention_ms: 24 * 60 * 60 * 1000, answers_max: 1_000_000 };

pub struct Host {
    pub id: u64,
    pub disk: Disk,
    pub clock: Arc<NodeClock>,
    world: Arc<World>,
    network: Network,
    dir: PathBuf,
    /// Whether it belongs to the cluster, or is about to.
    is_enlisted: AtomicBool,
    state: Mutex<State>,
}

enum State {
    Down,
    Starting,
    Up(Arc<Process>),
}

/// A node of the product, as it runs.
pub struct Process {
    pub node: Node,
    pub proposer: Proposer,
    pub life: Arc<Life>,
    tasks: Mutex<Vec<JoinSet<()>>>,
}

impl Host {
    pub fn new(id: u64, world: Arc<World>, network: Network) -> Self {
        let disk = Disk::new(id, world.clone());
        let dir = world.dir.join(id.to_string());
        let (clock, state) = (Arc::new(NodeClock::new()), Mutex::new(State::Down));
        let is_enlisted = AtomicBool::new(id <= NODES);
        Self { id, disk, clock, world, network, dir, is_enlisted, state }
    }

    /// Where it would listen for clients.
    pub fn http(id: u64) -> String {
        format!("node-{id}:2")
    }

    pub fn is_enlisted(&self) -> bool {
        self.is_enlisted.load(Ordering::Relaxed)
    }

    /// From now on it may be started.
    pub fn enlist(&self) {
        self.is_enlisted.store(true, Ordering::Relaxed);
    }

    /// Ends the process, and it is not started again.
    pub fn retire(&self) {
        self.is_enlisted.store(false, Ordering::Relaxed);
        self.kill(true);
    }

    /// The process, if it is up.
    pub fn process(&self) -> Option<Arc<Process>> {
        match &*lock(&self.state) {
            State::Up(process) => Some(process.clone()),
            State::Down | State::Starting => None,
        }
    }

    /// Starts the process, unless there is one or should be none.
    pub async fn start(&self) {
        {
            let mut state = lock(&self.state);
            if !matches!(*state, State::Down) || !self.is_enlisted() {
                return;
            }
            *state = State::Starting;
        }
        self.world.note(format_args!("node {} starts", self.id));
        match self.open().await {
            Ok(process) => *lock(&self.state) = State::Up(Arc::new(process)),
            Err(error) => {
                self.world.violate("a node can start", format!("node {}: {error}", self.id));
            }
        }
    }

    async fn open(&self) -> io::Result<Process> {
        fs::create_dir_all(&self.dir)?;
        let (life, world) = (Arc::new(Life::new()), &self.world);
        let state = ProcessState::open(self.disk.clone(), life.clone());
        let log = ProcessLog::open(self.disk.clone(), life.clone(), state.flushed());
        let snapshots = Snapshots::open(&self.dir)?;
        let dialer = Arc::new(self.network.dialer(self.id, life.clone()));
        let listener = self.network.listen(self.id, life.clone());
        let (clock, log, state) = (self.clock.clone(), Arc::new(log), Arc::new(state));
        let node = Node::start(self.settings(), clock, dialer, log, state, snapshots).await?;
        let proposals = propose::start(&node, RETENTION_MS, KEEPING, Vec::new(), Quotas::new());

        let requests = PeerRequests { node: node.clone(), leader: proposals.leader };
        let handler: Arc<dyn Handler> = match world.planted.forgets_sessions {
            true => Arc::new(Forgetful { requests, opened: AtomicU64::new(0) }),
            false => Arc::new(requests),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(peer::listen(listener, CLUSTER.to_owned(), self.id, handler));
        let maintained = node.clone();
        tasks.spawn(async move { maintained.maintain().await });
        tasks.spawn(join(world.clone(), node.clone()));
        tasks.spawn(must_go_on(world.clone(), node.clone()));
        tasks.spawn(leaders::watch(world.clone(), node.clone()));
        tasks.spawn(clocks::watch(world.clone(), node.clone()));
        let tasks = Mutex::new(vec![tasks, proposals.tasks]);
        Ok(Process { node, proposer: proposals.proposer, life, tasks })
    }

    fn settings(&self) -> RaftSettings {
        let node = |id| (id, NodeAddress { http: Self::http(id), peer: address(id) });
        // One that comes later lists itself too.
        let listed = (1..=NODES).chain((self.id > NODES).then_some(self.id));
        RaftSettings {
            cluster: CLUSTER.to_owned(),
            id: self.id,
            members: listed.map(node).collect::<BTreeMap<_, _>>(),
            dir: self.dir.clone(),
            heartbeat_ms: 50,
            election_min_ms: 300,
            election_max_ms: 600,
            snapshot_log_bytes: self.world.plan.snapshot_log_bytes,
            disk_reserve_bytes: 0,
            version_max: VERSION_MAX,
        }
    }

    /// Ends the process as `kill -9` does, or a power cut. False if there is none.
    pub fn kill(&self, without_power: bool) -> bool {
        let Some(process) = self.take() else { return false };
        process.life.end();
        self.network.kill(self.id, without_power);
        self.disk.crash();
        process.end_tasks();
        let node = process.node.clone();
        // What is left of it ends by itself: its disk and its network are gone.
        tokio::spawn(async move { node.shutdown().await.err() });
        true
    }

    /// Ends the process as SIGTERM does. False if there is none.
    pub async fn stop(&self) -> bool {
        let Some(process) = self.process() else { return false };
        process.node.start_draining();
        process.node.hand_over(Duration::from_secs(1)).await;
        // It may have been killed meanwhile.
        let Some(process) = self.take() else { return false };
        process.end_tasks();
        let stopped = process.node.shutdown().await;
        process.life.end();
        self.network.kill(self.id, false);
        if let Err(error) = stopped {
            self.world.violate("a node can stop", format!("node {}: {error}", self.id));
        }
        true
    }

    /// Loses everything that it has on disk. To be called while the process is down.
    pub fn wipe(&self) -> io::Result<()> {
        self.disk.wipe();
        fs::remove_dir_all(&self.dir)
    }

    fn take(&self) -> Option<Arc<Process>> {
        let mut state = lock(&self.state);
        let State::Up(process) = &*state else { return None };
        let process = process.clone();
        *state = State::Down;
        Some(process)
    }
}

impl Process {
    fn end_tasks(&self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        drop(tasks);
    }
}

async fn join(world: Arc<World>, node: Node) {
    if let Err(error) = node.join().await {
        world.violate("a node can join", format!("node {}: {error}", node.id()));
    }
}

/// Nothing that a network or a crash does may stop a node.
async fn must_go_on(world: Arc<World>, node: Node) {
    let why = node.stopped().await;
    world.violate("a node goes on", format!("node {}: {why}", node.id()));
}
