//! A node's simulated disk: what is on it, what is only written yet, and what a crash leaves.
//!
//! The log is one ordered stream of writes, as in `storage/log.rs`: a sync makes durable all that was
//! written before it began. The state is on disk as of its last flush, or a later commit. A crash
//! keeps what was durable and, of what was written since, a part from the front: any, as the system
//! may have written it back or not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tallykeep::machine::{Effects, Table, Write};
use tallykeep::storage::{Done, Marks};

use crate::world::{World, lock};

/// A disk. It outlives the processes that use it. Clones share it.
#[derive(Clone)]
pub struct Disk {
    pub(super) node: u64,
    pub(super) world: Arc<World>,
    pub(super) log: Arc<Mutex<LogDisk>>,
    pub(super) state: Arc<Mutex<StateDisk>>,
    rng: Arc<Mutex<StdRng>>,
}

/// What the log holds.
#[derive(Clone, Default)]
pub(super) struct LogImage {
    pub(super) entries: BTreeMap<u64, Vec<u8>>,
    pub(super) metas: BTreeMap<&'static str, Vec<u8>>,
    /// The last entry purged, and its mark.
    pub(super) purged: Option<(u64, Vec<u8>)>,
}

/// One write to the log.
#[derive(Clone)]
pub(super) enum LogWrite {
    Append(u64, Vec<u8>),
    Truncate(u64),
    Purge(u64, Vec<u8>),
    Meta(&'static str, Vec<u8>),
}

impl LogImage {
    pub(super) fn make(&mut self, write: LogWrite) {
        match write {
            LogWrite::Append(index, entry) => {
                self.entries.insert(index, entry);
            }
            LogWrite::Truncate(index) => {
                self.entries.split_off(&index);
            }
            LogWrite::Purge(index, mark) => {
                self.entries = self.entries.split_off(&(index + 1));
                self.purged = Some((index, mark));
            }
            LogWrite::Meta(meta, bytes) => {
                self.metas.insert(meta, bytes);
            }
        }
    }
}

/// The log: as it reads, as it is on disk, and what is between.
#[derive(Default)]
pub(super) struct LogDisk {
    pub(super) read: LogImage,
    durable: LogImage,
    written: VecDeque<LogWrite>,
    /// What is called after the next sync.
    waiting: Vec<Done>,
    is_syncing: bool,
    slow_ms: u64,
    crashes: u64,
}

impl LogDisk {
    pub(super) fn write(&mut self, write: LogWrite) {
        self.read.make(write.clone());
        self.written.push_back(write);
    }

    fn keep(&mut self, writes: usize) {
        for write in self.written.drain(..writes) {
            self.durable.make(write);
        }
    }
}

/// What the state holds: rows by table, and where it stands.
#[derive(Clone, Default)]
pub(super) struct StateImage {
    pub(super) tables: [BTreeMap<Vec<u8>, Vec<u8>>; Table::ALL.len()],
    pub(super) marks: Marks,
}

/// One commit to the state.
#[derive(Clone)]
pub(super) struct Commit {
    pub(super) effects: Effects,
    pub(super) index: u64,
    pub(super) applied: Vec<u8>,
    pub(super) membership: Option<Vec<u8>>,
}

impl StateImage {
    pub(super) fn make(&mut self, commit: &Commit) {
        for write in &commit.effects.writes {
            match write {
                Write::Put { table, key, value } => {
                    self.tables[*table as usize].insert(key.clone(), value.clone());
                }
                Write::Delete { table, key } => {
                    self.tables[*table as usize].remove(key);
                }
                Write::DeleteRange { table, from, to } => {
                    self.tables[*table as usize].retain(|key, _| key < from || key >= to);
                }
            }
        }
        self.marks.index = Some(commit.index);
        self.marks.applied = Some(commit.applied.clone());
        if let Some(membership) = &commit.membership {
            self.marks.membership = Some(membership.clone());
        }
    }
}

/// The state: as it reads, as it is on disk, and the commits between.
#[derive(Default)]
pub(super) struct StateDisk {
    /// Shared with who reads as of one moment.
    pub(super) read: Arc<StateImage>,
    pub(super) durable: StateImage,
    pub(super) written: VecDeque<Commit>,
}

impl StateDisk {
    pub(super) fn keep(&mut self, commits: usize) {
        for commit in self.written.drain(..commits) {
            self.durable.make(&commit);
        }
    }
}

impl Disk {
    pub fn new(node: u64, world: Arc<World>) -> Self {
        let rng = Arc::new(Mutex::new(world.fork_rng()));
        Self { node, world, log: Arc::default(), state: Arc::default(), rng }
    }

    /// Makes each sync slower by up to `ms`.
    pub fn slow_down(&self, ms: u64) {
        lock(&self.log).slow_ms = ms;
    }

    /// The process ends, in whatever way: what was not synced is lost in part.
    pub fn crash(&self) {
        let mut rng = lock(&self.rng);
        let mut log = lock(&self.log);
        let kept = rng.random_range(0..=log.written.len());
        let lost = log.written.len() - kept;
        log.keep(kept);
        log.read = log.durable.clone();
        log.written.clear();
        log.is_syncing = false;
        log.crashes += 1;
        // Dropped only when nobody holds the disk any more.
        let waiting = std::mem::take(&mut log.waiting);
        drop(log);
        let mut state = lock(&self.state);
        let commits = rng.random_range(0..=state.written.len());
        state.keep(commits);
        state.written.clear();
        state.read = Arc::new(state.durable.clone());
        let index = state.durable.marks.index;
        drop((state, rng));
        self.world.note(format_args!(
            "disk {}: {kept} writes kept, {lost} lost, state at {index:?}",
            self.node
        ));
        drop(waiting);
    }

    /// Everything on it is lost.
    pub fn wipe(&self) {
        let mut log = lock(&self.log);
        *log = LogDisk { crashes: log.crashes, ..LogDisk::default() };
        *lock(&self.state) = StateDisk::default();
    }

    /// All that was written is on disk: the process has closed it.
    pub(super) fn sync_all(&self) {
        let mut log = lock(&self.log);
        let writes = log.written.len();
        log.keep(writes);
        log.crashes += 1;
        log.is_syncing = false;
        let waiting = std::mem::take(&mut log.waiting);
        drop(log);
        waiting.into_iter().for_each(|done| done(Ok(())));
    }

    /// Has `done` called when all that was written so far is on disk.
    pub(super) fn sync(&self, done: Done) {
        if self.world.planted.acknowledges_before_sync {
            // The planted bug: what a disk does that says it has, and has not.
            done(Ok(()));
            self.begin_sync(Box::new(|_| ()));
        } else {
            self.begin_sync(done);
        }
    }

    fn begin_sync(&self, done: Done) {
        let mut log = lock(&self.log);
        log.waiting.push(done);
        if !std::mem::replace(&mut log.is_syncing, true) {
            tokio::spawn(self.clone().syncs());
        }
    }

    async fn syncs(self) {
        loop {
            let (waiting, writes, slow_ms, crashes) = {
                let mut log = lock(&self.log);
                (std::mem::take(&mut log.waiting), log.written.len(), log.slow_ms, log.crashes)
            };
            let ms = {
                let mut rng = lock(&self.rng);
                rng.random_range(0..=self.world.plan.sync_ms_max) + rng.random_range(0..=slow_ms)
            };
            tokio::time::sleep(Duration::from_millis(ms)).await;
            let mut log = lock(&self.log);
            if log.crashes != crashes {
                // Whose sync this was is gone.
                return;
            }
            log.keep(writes);
            let is_last = log.waiting.is_empty();
            log.is_syncing = !is_last;
            drop(log);
            self.world.note(format_args!("disk {}: {writes} writes synced", self.node));
            waiting.into_iter().for_each(|done| done(Ok(())));
            if is_last {
                return;
            }
        }
    }
}
