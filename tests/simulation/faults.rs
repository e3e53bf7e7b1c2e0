//! The faults of a run, chosen by its seed, and their end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::host::Host;
use crate::membership::{self, Plan};
use crate::network::Network;
use crate::world::{World, lock};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// What goes wrong in a run.
pub struct Faults {
    world: Arc<World>,
    hosts: Arc<Vec<Host>>,
    network: Network,
    rng: StdRng,
    /// What ends the faults that last.
    ends: JoinSet<()>,
    /// What stops and starts processes: never left half done.
    starts: JoinSet<()>,
    changes: JoinSet<()>,
    has_changed: bool,
    /// Whose clock is wrong: one at a time, so that a majority is right.
    wrong_clock: Arc<Mutex<Option<u64>>>,
}

impl Faults {
    pub fn new(world: Arc<World>, hosts: Arc<Vec<Host>>, network: Network) -> Self {
        let mut rng = world.fork_rng();
        for host in &*hosts {
            host.clock.set_off(rng.random_range(-200..=200));
        }
        Self {
            world,
            hosts,
            network,
            rng,
            ends: JoinSet::new(),
            starts: JoinSet::new(),
            changes: JoinSet::new(),
            has_changed: false,
            wrong_clock: Arc::default(),
        }
    }

    /// Has faults happen for as long as the plan says, and then mends everything. True if the members
    /// may have changed.
    pub async fn run(mut self) -> bool {
        let until = self.world.now() + self.world.plan.faulty;
        while self.world.now() < until {
            self.sleep(50, self.world.plan.calm_ms_max).await;
            match self.rng.random_range(0..100) {
                0..22 => self.kill(),
                22..26 => self.kill_all(),
                26..32 => self.restart(),
                32..44 => self.isolate(),
                44..56 => self.cut_one_way(),
                56..62 => self.cut_pair(),
                62..70 => self.slow_network(),
                70..78 => self.reset_connections(),
                78..86 => self.wrong_clock(),
                86..92 => self.slow_disk(),
                92..96 => self.change_members(),
                _ => self.wipe(),
            }
        }
        self.ends.shutdown().await;
        self.changes.shutdown().await;
        while self.starts.join_next().await.is_some() {}
        self.network.mend_all();
        for host in &*self.hosts {
            host.clock.set_off(0);
            host.disk.slow_down(0);
            host.start().await;
        }
        self.world.note(format_args!("everything is mended"));
        self.has_changed
    }

    async fn sleep(&mut self, from_ms: u64, to_ms: u64) {
        sleep(self.some_ms(from_ms, to_ms)).await;
    }

    fn some_ms(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(from_ms..=to_ms))
    }

    /// The positions of the hosts that belong to the cluster.
    fn enlisted(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|position| self.hosts[*position].is_enlisted()).collect()
    }

    /// The position of one of them.
    fn some_host(&mut self) -> usize {
        let enlisted = self.enlisted();
        enlisted[self.rng.random_range(0..enlisted.len())]
    }

    fn two_hosts(&mut self) -> (u64, u64) {
        let enlisted = self.enlisted();
        let from = self.rng.random_range(0..enlisted.len());
        let to = (from + self.rng.random_range(1..enlisted.len())) % enlisted.len();
        (self.hosts[enlisted[from]].id, self.hosts[enlisted[to]].id)
    }

    /// Whether all nodes are ready, and the cluster is as it was in the beginning.
    fn is_well(&self) -> bool {
        let is_ready =
            |host: &Host| host.process().is_some_and(|process| process.node.ready().is_ok());
        !self.has_changed && self.hosts.iter().filter(|host| host.is_enlisted()).all(is_ready)
    }

    fn start_after(&mut self, position: usize, pause: Duration) {
        let hosts = self.hosts.clone();
        self.starts.spawn(async move {
            sleep(pause).await;
            hosts[position].start().await;
        });
    }

    fn kill(&mut self) {
        let (position, without_power) = (self.some_host(), self.rng.random());
        let pause = self.some_ms(0, 4_000);
        let id = self.hosts[position].id;
        let kind = if without_power { "power cut" } else { "kill" };
        self.world.fault(kind, format_args!("node {id}, back after {pause:?}"));
        self.hosts[position].kill(without_power);
        self.start_after(position, pause);
    }

    fn kill_all(&mut self) {
        self.world.fault("all killed", format_args!("at once"));
        let without_power = self.rng.random();
        for position in self.enlisted() {
            self.hosts[position].kill(without_power);
            let pause = self.some_ms(0, 2_000);
            self.start_after(position, pause);
        }
    }

    fn restart(&mut self) {
        let position = self.some_host();
        self.world.fault("restart", format_args!("node {}", self.hosts[position].id));
        let hosts = self.hosts.clone();
        self.starts.spawn(async move {
            if hosts[position].stop().await {
                hosts[position].start().await;
            }
        });
    }

    fn isolate(&mut self) {
        let position = self.some_host();
        let (id, lasts) = (self.hosts[position].id, self.some_ms(200, 6_000));
        self.world.fault("isolation", format_args!("node {id} for {lasts:?}"));
        let others: Vec<u64> =
            self.hosts.iter().map(|host| host.id).filter(|other| *other != id).collect();
        let ways = others.iter().flat_map(|other| [(id, *other), (*other, id)]).collect();
        self.cut(ways, lasts);
    }

    fn cut_one_way(&mut self) {
        let ((from, to), lasts) = (self.two_hosts(), self.some_ms(200, 5_000));
        self.world.fault("one-way cut", format_args!("{from} to {to} for {lasts:?}"));
        self.cut(vec![(from, to)], lasts);
    }

    fn cut_pair(&mut self) {
        let ((from, to), lasts) = (self.two_hosts(), self.some_ms(200, 5_000));
        self.world.fault("two-way cut", format_args!("{from} and {to} for {lasts:?}"));
        self.cut(vec![(from, to), (to, from)], lasts);
    }

    fn cut(&mut self, ways: Vec<(u64, u64)>, lasts: Duration) {
        ways.iter().for_each(|(from, to)| self.network.cut(*from, *to));
        self.mend_after(ways, lasts);
    }

    fn mend_after(&mut self, ways: Vec<(u64, u64)>, lasts: Duration) {
        let network = self.network.clone();
        self.ends.spawn(async move {
            sleep(lasts).await;
            ways.iter().for_each(|(from, to)| network.mend(*from, *to));
        });
    }

    fn slow_network(&mut self) {
        let ((from, to), lasts) = (self.two_hosts(), self.some_ms(200, 5_000));
        let ms = self.rng.random_range(10..=400);
        self.world.fault("slow network", format_args!("{from} to {to}, {ms} ms, for {lasts:?}"));
        self.network.slow_down(from, to, ms);
        self.mend_after(vec![(from, to)], lasts);
    }

    fn reset_connections(&mut self) {
        for _ in 0..self.rng.random_range(1..=6) {
            if let Some(connection) = self.network.reset_one() {
                self.world.fault("reset", format_args!("connection {connection}"));
            }
        }
    }

    fn wrong_clock(&mut self) {
        let position = self.some_host();
        let hours = self.rng.random_range(1..=5) * if self.rng.random() { 1 } else { -1 };
        let lasts = self.some_ms(100, 8_000);
        let mut wrong = lock(&self.wrong_clock);
        if wrong.is_some() {
            return;
        }
        *wrong = Some(self.hosts[position].id);
        drop(wrong);
        let id = self.hosts[position].id;
        self.world.fault("clock jump", format_args!("node {id} by {hours} h for {lasts:?}"));
        self.hosts[position].clock.set_off(hours * HOUR_MS);
        let (hosts, wrong) = (self.hosts.clone(), self.wrong_clock.clone());
        self.ends.spawn(async move {
            sleep(lasts).await;
            hosts[position].clock.set_off(0);
            *lock(&wrong) = None;
        });
    }

    fn slow_disk(&mut self) {
        let (position, lasts) = (self.some_host(), self.some_ms(300, 5_000));
        let ms = self.rng.random_range(20..=600);
        let id = self.hosts[position].id;
        self.world.fault("slow disk", format_args!("node {id}, {ms} ms, for {lasts:?}"));
        self.hosts[position].disk.slow_down(ms);
        let hosts = self.hosts.clone();
        self.ends.spawn(async move {
            sleep(lasts).await;
            hosts[position].disk.slow_down(0);
        });
    }

    /// Machines come and go, once in a run.
    fn change_members(&mut self) {
        if !self.is_well() {
            return;
        }
        self.has_changed = true;
        let spares = [self.hosts.len() - 2, self.hosts.len() - 1];
        let going = self.some_host();
        let another = (going + 1) % (self.hosts.len() - 2);
        let plan = match self.rng.random_range(0..3) {
            0 => Plan::GrowAndShrink { coming: spares, going: [going, another] },
            kind => Plan::Replace { going, coming: spares[0], is_dead: kind == 1 },
        };
        let (world, hosts, rng) = (self.world.clone(), self.hosts.clone(), self.world.fork_rng());
        self.changes.spawn(membership::carry_out(world, hosts, rng, plan));
    }

    /// A node loses its disk. Only while all are well: what two disks lose is lost.
    fn wipe(&mut self) {
        if !self.is_well() {
            return;
        }
        let position = self.some_host();
        let pause = self.some_ms(0, 2_000);
        let host = &self.hosts[position];
        self.world.fault("lost disk", format_args!("node {}, back after {pause:?}", host.id));
        host.kill(self.rng.random());
        if let Err(error) = host.wipe() {
            self.world.violate("the simulation has a disk", error.to_string());
        }
        self.start_after(position, pause);
    }
}
