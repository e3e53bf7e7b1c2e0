//! The state instance: the machine's tables, and where they stand in the log.
//!
//! Written without a write-ahead log, as the Raft log is one: after a crash the state is as it was
//! at some flush, with the mark of the entry it had come to, and is brought up from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use rocksdb::ReadOptions;

use super::background::Background;
use super::checkpoint;
use super::current::{Current, Known};
use super::files;
use super::flushed::Flushed;
use super::state_db::{self, Direction, Due, Marks, Memory, StateDb};
use super::state_snapshot::StateSnapshot;
use crate::machine::{Effects, Machine, Row, Table, View, Write};

/// The file that names the state in force.
const CURRENT: &str = "CURRENT_STATE";
const FIRST: u64 = 1;

/// How much memory the state may use, beside the cells that are at hand ([`crate::limits::CELLS_CACHED_MAX`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateOptions {
    /// Blocks, indexes and filters in memory; memtables are charged to it.
    pub block_cache_bytes: usize,
    /// Memtables of all tables together; half as much again is being flushed at times.
    pub write_buffer_bytes: usize,
}

/// The state of one node: a cheap handle. The state closes, after a flush, when the last handle and
/// the last snapshot are dropped.
#[derive(Clone)]
pub struct StateStore {
    state: Arc<State>,
}

/// The threads are dropped first: they end before the instance closes.
struct State {
    flusher: Background,
    compactor: Background,
    shared: Arc<Shared>,
}

/// What the threads share with the handles.
struct Shared {
    current: RwLock<Current>,
    /// Held while a state is installed; the number of the state in force.
    number: Mutex<u64>,
    flushed: Flushed,
    /// A flush waits for its turn or is under way.
    is_flushing: AtomicBool,
    /// Whether the last flush has failed. Held by the one that is under way.
    flush: Mutex<bool>,
    /// Nothing is to be flushed any more.
    is_closing: AtomicBool,
    memory: Memory,
    dir: PathBuf,
}

/// The state in `shared` is whole, see `current.rs`, for as long as this is there.
struct Whole<'a> {
    shared: &'a Shared,
    db: Arc<StateDb>,
    /// Where it stood when it had become whole.
    marks: Marks,
}

impl StateStore {
    /// Opens the state in force in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// If it cannot be opened; `InvalidData` if it is damaged, also if there are states and the
    /// file that names the one in force is not there.
    pub fn open(dir: &Path, options: StateOptions) -> io::Result<Self> {
        files::create_dirs(dir)?;
        let there = numbers(dir)?;
        let number = match files::read_if_there(&dir.join(CURRENT))? {
            Some(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.trim_end().parse().ok())
                .ok_or_else(|| {
                    let message = format!("not the number of a state; {}", files::REBUILD);
                    files::damaged(&dir.join(CURRENT), message)
                })?,
            None => {
                if !there.is_empty() {
                    let message = format!("there are states and no {CURRENT}; {}", files::REBUILD);
                    return Err(files::damaged(dir, message));
                }
                // Before the state itself: a state that is not named must be a leftover.
                set_current(dir, FIRST)?;
                FIRST
            }
        };
        // Before anything is removed: else a file that names another state would be the end of this.
        if !there.is_empty() && !there.contains(&number) {
            let message = format!("names state {number}, which is not there; {}", files::REBUILD);
            return Err(files::damaged(&dir.join(CURRENT), message));
        }
        for other in there.into_iter().filter(|other| *other != number) {
            files::remove_dir(&folder(dir, other))?;
        }
        let memory = Memory::new(&options);
        let current = Current::new(StateDb::open(&folder(dir, number), number == FIRST, &memory)?)?;
        files::sync_dir(dir)?;
        let flushed = Flushed::default();
        // What was just opened is what is on disk.
        if let Some(index) = current.marks().index {
            flushed.raise(index);
        }
        let shared = Shared {
            current: RwLock::new(current),
            number: Mutex::new(number),
            flushed,
            is_flushing: AtomicBool::new(false),
            flush: Mutex::new(false),
            is_closing: AtomicBool::new(false),
            memory,
            dir: dir.to_owned(),
        };
        let state = State {
            flusher: Background::start("state-flush")?,
            compactor: Background::start("state-space")?,
            shared: Arc::new(shared),
        };
        Ok(Self { state: Arc::new(state) })
    }

    /// How far the state on disk has come: what the log asks before it is purged.
    pub fn flushed(&self) -> Flushed {
        self.shared().flushed.clone()
    }

    fn shared(&self) -> &Shared {
        &self.state.shared
    }

    /// Writes the effects of the entries up to `index`, together with the marks of that entry:
    /// `applied` and, if it has changed, `membership`. It can be read at once, and is on disk after
    /// a flush; a crash before leaves none of it or all.
    ///
    /// # Errors
    /// If the state cannot be written: the node must stop.
    pub fn commit(
        &self,
        effects: Effects,
        index: u64,
        applied: Vec<u8>,
        membership: Option<Vec<u8>>,
    ) -> io::Result<()> {
        let shared = self.shared();
        // Whole shards: worth a compaction.
        let is_reclaimed = |write: &Write| match write {
            Write::DeleteRange { table, from, to } => Some((*table, from.clone(), to.clone())),
            _ => None,
        };
        let reclaimed: Vec<_> = effects.writes.iter().filter_map(is_reclaimed).collect();
        let due = {
            let mut current = shared.write();
            let membership = membership.or_else(|| current.marks().membership.clone());
            let marks = Marks { index: Some(index), applied: Some(applied), membership };
            current.commit(effects, marks)?;
            current.due(shared.memory.write_buffer_bytes())?
        };
        match due {
            Due::Later => {}
            Due::Now => self.state.flush_soon(),
            // The disk does not keep up.
            Due::Overdue => shared.flush()?,
        }
        for (table, from, to) in reclaimed {
            self.state.reclaim(table, from, to);
        }
        Ok(())
    }

    /// Where the state stands in the log.
    pub fn marks(&self) -> Marks {
        self.shared().read().marks().clone()
    }

    /// The audit log as it is now, to read from while writes go on: entries, what finds them, and
    /// their objects. Other tables cannot be read from it.
    pub fn audit_snapshot(&self) -> StateSnapshot {
        StateSnapshot::of_audit(self.shared().read().db().clone())
    }

    /// The same, and those of the cells under `keys`: of one moment with the rest. Unlike
    /// [`Self::snapshot`] it has nothing written.
    pub fn snapshot_with(&self, keys: Vec<Vec<u8>>) -> StateSnapshot {
        let current = self.shared().read();
        let held = keys.into_iter().map(|key| {
            let held = current.cell(&key);
            (key, held)
        });
        let held = held.collect();
        // Still under the lock: nothing is committed between.
        StateSnapshot::of_cells(current.db().clone(), held)
    }

    /// The whole state as it is now, to read from while writes go on.
    ///
    /// # Errors
    /// If the state cannot be written: what was held back in memory has to be.
    pub fn snapshot(&self) -> io::Result<StateSnapshot> {
        let whole = self.shared().whole()?;
        Ok(StateSnapshot::new(whole.db.clone()))
    }

    /// Sets the metrics of the instance, its tables and its cache.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn observe(&self) -> io::Result<()> {
        let db = self.shared().read().db().clone();
        self.shared().memory.observe();
        db.observe()
    }

    /// Brings to the disk all that was committed before. It takes as long as the disk does.
    ///
    /// # Errors
    /// If the state cannot be written.
    pub fn flush(&self) -> io::Result<()> {
        self.shared().flush()
    }

    /// Flushes, and makes a checkpoint in the folder `into`, which must not be there: hard links to
    /// the tables' files and small copies. Writes go on meanwhile; where the checkpoint stands is
    /// returned.
    ///
    /// # Errors
    /// If the checkpoint cannot be made; `into` may then be there in part.
    pub fn checkpoint(&self, into: &Path) -> io::Result<Marks> {
        let whole = self.shared().whole()?;
        let marks = whole.flushing(|db| db.checkpoint(into))?;
        if let Some(index) = marks.index {
            self.shared().flushed.raise(index);
        }
        Ok(marks)
    }

    /// The machine as it is in a checkpoint that was made here.
    ///
    /// # Errors
    /// If the checkpoint cannot be read.
    pub fn machine_at(&self, checkpoint: &Path) -> io::Result<Machine> {
        state_db::machine_at(checkpoint)
    }

    /// Puts the checkpoint in `verified` in the place of the state. Its manifest must have been
    /// verified; it is left as it is. Who reads from the old state goes on reading from it. A crash
    /// at any point leaves the old state or the new.
    ///
    /// Nothing may be committed meanwhile.
    ///
    /// # Errors
    /// If the checkpoint cannot be opened, or is behind what is flushed here (`InvalidInput`): the
    /// log may be purged to there. The old state is then still in force.
    pub fn install(&self, verified: &Path) -> io::Result<()> {
        let shared = self.shared();
        let mut number = shared.number.lock().expect("no holder panics");
        let path = folder(&shared.dir, *number + 1);
        files::remove_dir(&path)?;
        let installed = match shared.prepare(verified, &path) {
            Ok(prepared) => prepared,
            Err(error) => {
                // What is left of it goes at the next attempt or start; the error is what matters.
                let _ = files::remove_dir(&path);
                return Err(error);
            }
        };
        // If this fails, either may be in force on disk. So from here on the folder stays, and its
        // number is taken.
        *number += 1;
        set_current(&shared.dir, *number)?;
        let index = installed.marks().index;
        // Let go of behind the lock: it may be the last handle, and closing takes its time.
        let old = shared.write().replace(installed);
        old.db().supersede();
        if let Some(index) = index {
            shared.flushed.raise(index);
        }
        Ok(())
    }
}

impl State {
    /// Has the state flushed by its thread, unless it is about to be.
    fn flush_soon(&self) {
        if self.shared.is_flushing.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = self.shared.clone();
        let is_accepted = self.flusher.jobs().offer(move || {
            if !shared.is_closing.load(Ordering::Acquire)
                && let Err(error) = shared.flush()
            {
                // It is tried again; writing stops if that is too late.
                tracing::error!(%error, "the state could not be flushed");
            }
            shared.is_flushing.store(false, Ordering::Release);
        });
        if !is_accepted {
            self.shared.is_flushing.store(false, Ordering::Release);
        }
    }

    fn reclaim(&self, table: Table, from: Vec<u8>, to: Vec<u8>) {
        let shared = self.shared.clone();
        self.compactor.jobs().offer(move || match shared.whole() {
            // It flushes what is in memory of the range.
            Ok(whole) => whole.db.compact(table, &from, &to),
            Err(error) => tracing::warn!(%error, "what removed entries take is not given back yet"),
        });
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().expect("no holder panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Current> {
        self.current.write().expect("no holder panics")
    }

    /// Makes the state whole. Commits go on meanwhile, between the pieces.
    fn whole(&self) -> io::Result<Whole<'_>> {
        self.write().want_whole();
        // Wanted no longer when this goes, however that comes.
        let mut whole = {
            let current = self.read();
            Whole { shared: self, db: current.db().clone(), marks: Marks::default() }
        };
        loop {
            let mut current = self.write();
            let began = Instant::now();
            if !current.write_back()? {
                whole.db = current.db().clone();
                whole.marks = current.marks().clone();
                return Ok(whole);
            }
            drop(current);
            // Locks are not fair: whoever waits for this one needs time to wake up and take it.
            std::thread::sleep(began.elapsed());
        }
    }

    fn flush(&self) -> io::Result<()> {
        let whole = self.whole()?;
        whole.flushing(StateDb::flush)?;
        if let Some(index) = whole.marks.index {
            self.flushed.raise(index);
        }
        Ok(())
    }

    /// Builds the state in `path` from a checkpoint, opens it and makes it durable.
    fn prepare(&self, verified: &Path, path: &Path) -> io::Result<Current> {
        files::create_dirs(path)?;
        for file in &checkpoint::read_manifest(verified)?.files {
            let (from, to) = (verified.join(&file.name), path.join(&file.name));
            // Tables are never written again and may be shared. The rest is small, and is the
            // instance's own to append to.
            let shared = file.name.ends_with(".sst") && fs::hard_link(&from, &to).is_ok();
            if !shared {
                fs::copy(&from, &to).map_err(|error| files::fault("copy to", &to, error))?;
                files::sync_file(&to)?;
            }
        }
        files::sync_dir(path)?;
        let state = Current::new(StateDb::open(path, false, &self.memory)?)?;
        files::sync_dir(path)?;
        files::sync_dir(&self.dir)?;
        let next = state.marks().index.map_or(0, |index| index + 1);
        if next < self.flushed.next() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{}: this checkpoint ends before entry {next}, the state here is on disk up \
                     to {}",
                    verified.display(),
                    self.flushed.next()
                ),
            ));
        }
        Ok(state)
    }
}

impl Whole<'_> {
    /// Does what flushes. If that fails RocksDB tries again by itself, at any time, so the state then
    /// stays whole until it has succeeded.
    fn flushing<T>(&self, flush: impl FnOnce(&StateDb) -> io::Result<T>) -> io::Result<T> {
        let mut has_failed = self.shared.flush.lock().unwrap_or_else(PoisonError::into_inner);
        let done = flush(&self.db);
        match (std::mem::replace(&mut *has_failed, done.is_err()), &done) {
            (false, Err(_)) => self.shared.write().want_whole(),
            (true, Ok(_)) => self.shared.write().want_no_longer(),
            _ => {}
        }
        done
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        self.shared.write().want_no_longer();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.shared.is_closing.store(true, Ordering::Release);
        if self.shared.current.is_poisoned() {
            // What a panic has left in the midst of a write must not reach the disk.
            return;
        }
        let flushed = self.shared.whole().and_then(|whole| {
            whole.flushing(StateDb::flush)?;
            // Else the compactor would have to finish a compaction first.
            whole.db.stop();
            Ok(())
        });
        if let Err(error) = flushed {
            tracing::error!(%error, "the state on disk stays as it was at its last flush");
        }
    }
}

impl View for StateStore {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let known = self.shared().read().get(table, key);
        match known {
            Known::Row(row) => Ok(row),
            Known::Ask(db) => db.latest(table, key),
        }
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
        if table == Table::Cell {
            return self.snapshot()?.scan(table, from, to, limit);
        }
        let db = {
            let current = self.shared().read();
            if let Some(rows) = current.scan(table, (from, to), limit) {
                return Ok(rows);
            }
            current.db().clone()
        };
        db.scan(table, (from, to), limit, Direction::Ascending, ReadOptions::default())
    }
}

fn folder(dir: &Path, number: u64) -> PathBuf {
    dir.join(number.to_string())
}

fn set_current(dir: &Path, number: u64) -> io::Result<()> {
    files::replace(dir, CURRENT, format!("{number}\n").as_bytes())
}

/// The numbers of the states that have a folder.
fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    Ok(files::names(dir)?.iter().filter_map(|name| name.parse().ok()).collect())
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
