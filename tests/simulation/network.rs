//! The simulated network: which way is cut, how slow each is, and who listens.
//!
//! It behaves as TCP does: a connection keeps its order, another may overtake it; what is sent into a
//! cut arrives when the cut is over, unless the connection is broken or given up before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Ready, ready};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::Rng;
use rand::rngs::StdRng;
use tallykeep::peer::{Accept, Caller, Connection, Dial};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::life::Life;
use crate::pipe::{End, Pipe};
use crate::world::{World, lock};

/// The network. Clones share it.
#[derive(Clone)]
pub struct Network {
    pub(super) wires: Arc<Mutex<Wires>>,
    pub(super) world: Arc<World>,
}

/// A connection's number, and which of its two ways.
pub type PipeId = (u64, bool);

pub(super) struct Wires {
    rng: StdRng,
    /// Both ways of every connection that somebody still holds.
    pub(super) pipes: BTreeMap<PipeId, Pipe>,
    connections: u64,
    listeners: BTreeMap<u64, mpsc::UnboundedSender<End>>,
    /// Machines without power: nothing answers there, not even with a refusal.
    dark: BTreeSet<u64>,
    /// From one node to another: nothing gets through.
    pub(super) cut: BTreeSet<(u64, u64)>,
    /// From one node to another: each piece takes up to so many ms longer.
    slow_ms: BTreeMap<(u64, u64), u64>,
}

impl Wires {
    /// How long a piece takes from one node to another.
    pub(super) fn delay(&mut self, from: u64, to: u64) -> Duration {
        let usual = [0, 0, 0, 0, 1, 1, 1, 2, 3, 5][self.rng.random_range(0..10)];
        let slow = self.slow_ms.get(&(from, to)).copied().unwrap_or(0);
        Duration::from_millis(usual + self.rng.random_range(0..=slow))
    }

    fn is_dark(&self, from: u64, to: u64) -> bool {
        self.cut.contains(&(from, to))
            || self.cut.contains(&(to, from))
            || self.dark.contains(&to)
            || self.dark.contains(&from)
    }

    fn wake(&mut self) {
        self.pipes.values_mut().for_each(Pipe::wake);
    }
}

/// The address at which a node takes its peers' connections.
pub fn address(node: u64) -> String {
    format!("node-{node}:1")
}

impl Network {
    pub fn new(world: Arc<World>) -> Self {
        let wires = Wires {
            rng: world.fork_rng(),
            pipes: BTreeMap::new(),
            connections: 0,
            listeners: BTreeMap::new(),
            dark: BTreeSet::new(),
            cut: BTreeSet::new(),
            slow_ms: BTreeMap::new(),
        };
        Self { wires: Arc::new(Mutex::new(wires)), world }
    }

    /// What a process on `node` dials with.
    pub fn dialer(&self, node: u64, life: Arc<Life>) -> Dialer {
        Dialer { network: self.clone(), node, life }
    }

    /// Listens on `node`. Whoever still believes in a connection from before a power cut learns now
    /// that it is gone.
    pub fn listen(&self, node: u64, life: Arc<Life>) -> Listener {
        let (connections, taken) = mpsc::unbounded_channel();
        let mut wires = lock(&self.wires);
        wires.listeners.insert(node, connections);
        wires.dark.remove(&node);
        for pipe in wires.pipes.values_mut().filter(|pipe| pipe.is_silent) {
            if pipe.from == node || pipe.to == node {
                pipe.break_off();
            }
        }
        Listener { taken, life }
    }

    /// Ends the process on `node`: its connections end, or fall silent if the power is gone.
    pub fn kill(&self, node: u64, without_power: bool) {
        let mut wires = lock(&self.wires);
        wires.listeners.remove(&node);
        if without_power {
            wires.dark.insert(node);
        }
        for pipe in wires.pipes.values_mut() {
            if pipe.from == node || pipe.to == node {
                pipe.end_at(node, without_power);
            }
        }
    }

    /// Lets nothing through `from` one node `to` another.
    pub fn cut(&self, from: u64, to: u64) {
        lock(&self.wires).cut.insert((from, to));
    }

    /// Makes everything between two nodes slower by up to `ms`.
    pub fn slow_down(&self, from: u64, to: u64, ms: u64) {
        lock(&self.wires).slow_ms.insert((from, to), ms);
    }

    pub fn mend(&self, from: u64, to: u64) {
        let mut wires = lock(&self.wires);
        wires.cut.remove(&(from, to));
        wires.slow_ms.remove(&(from, to));
        wires.wake();
    }

    pub fn mend_all(&self) {
        let mut wires = lock(&self.wires);
        wires.cut.clear();
        wires.slow_ms.clear();
        wires.wake();
    }

    /// Breaks one connection, with what is under way on it. Gives its number, if there is any.
    pub fn reset_one(&self) -> Option<u64> {
        let mut wires = lock(&self.wires);
        let all: BTreeSet<u64> = wires.pipes.keys().map(|(connection, _)| *connection).collect();
        let chosen = wires.rng.random_range(0..all.len().max(1));
        let connection = *all.iter().nth(chosen)?;
        for way in [false, true] {
            if let Some(pipe) = wires.pipes.get_mut(&(connection, way)) {
                pipe.break_off();
            }
        }
        Some(connection)
    }

    fn connect(&self, from: (u64, &Arc<Life>), to: u64) -> io::Result<End> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let mut wires = lock(&self.wires);
        let listener = wires.listeners.get(&to).ok_or_else(refused)?.clone();
        wires.connections += 1;
        let connection = wires.connections;
        wires.pipes.insert((connection, false), Pipe::new(from.0, to));
        wires.pipes.insert((connection, true), Pipe::new(to, from.0));
        drop(wires);
        let there = End::new(self.clone(), (connection, false), (connection, true));
        listener.send(there).map_err(|_| refused())?;
        let here = End::new(self.clone(), (connection, true), (connection, false));
        Ok(here.of(from.1.clone()))
    }
}

/// Makes the connections of one process.
pub struct Dialer {
    network: Network,
    node: u64,
    life: Arc<Life>,
}

impl Dial for Dialer {
    fn dial(&self, _: u64, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let (network, from, life) = (self.network.clone(), self.node, self.life.clone());
        let to =
            address.strip_prefix("node-").and_then(|rest| rest.split(':').next()?.parse().ok());
        Box::pin(async move {
            let to: u64 = to.ok_or(io::ErrorKind::InvalidInput)?;
            let there = lock(&network.wires).delay(from, to);
            sleep(there).await;
            life.check()?;
            if lock(&network.wires).is_dark(from, to) {
                // Neither a connection nor a refusal comes: who dials has a time limit.
                return std::future::pending().await;
            }
            let connection = network.connect((from, &life), to)?;
            let back = lock(&network.wires).delay(to, from);
            sleep(back).await;
            Ok(Box::new(connection) as Box<dyn Connection>)
        })
    }
}

/// Takes the connections to one process.
pub struct Listener {
    taken: mpsc::UnboundedReceiver<End>,
    life: Arc<Life>,
}

impl Accept for Listener {
    type Connection = End;
    type Arrival = Ready<io::Result<(End, Caller)>>;

    async fn accept(&mut self) -> io::Result<Self::Arrival> {
        match self.taken.recv().await {
            Some(end) => Ok(ready(Ok((end.of(self.life.clone()), Caller::Unproved)))),
            // The process was killed, and another may listen in its place.
            None => std::future::pending().await,
        }
    }
}

/// What is on its way: when it arrives, and its bytes.
pub(super) type Pieces = VecDeque<(Instant, Vec<u8>)>;
