//! The state instance: the machine's tables, and where they stand in the log.
//!
//! Written without a write-ahead log, as the Raft log is one: after a crash the state is as it was
//! at some flush, with the mark of the entry it had come to, and is brought up from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use rocksdb::ReadOptions;

use super::background::Background;
use super::cells::Cells;
use super::checkpoint;
use super::files;
use super::flushed::Flushed;
use super::state_db::{self, Direction, Marks, Memory, StateDb};
use super::state_snapshot::StateSnapshot;
use crate::machine::{Effects, Machine, Row, Table, View, Write};

/// The file that names the state in force.
const CURRENT: &str = "CURRENT_STATE";
const FIRST: u64 = 1;

/// How much memory the state may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateOptions {
    /// Blocks, indexes and filters in memory; memtables are charged to it.
    pub block_cache_bytes: usize,
    /// Memtables of all tables together, before they are flushed.
    pub write_buffer_bytes: usize,
}

/// The state of one node: a cheap handle. The state closes, after a flush, when the last handle and
/// the last snapshot are dropped.
#[derive(Clone)]
pub struct StateStore {
    state: Arc<State>,
}

/// `background` is dropped first: it ends before the instance closes.
struct State {
    background: Background,
    current: RwLock<Arc<StateDb>>,
    cells: Cells,
    /// Held while a state is installed; the number of the state in force.
    number: Mutex<u64>,
    flushed: Flushed,
    memory: Memory,
    dir: PathBuf,
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
        let state = StateDb::open(&folder(dir, number), number == FIRST, &memory)?;
        files::sync_dir(dir)?;
        let flushed = Flushed::default();
        // What was just opened is what is on disk.
        if let Some(index) = state.marks(ReadOptions::default())?.index {
            flushed.raise(index);
        }
        let state = State {
            background: Background::start("state-space")?,
            current: RwLock::new(Arc::new(state)),
            cells: Cells::default(),
            number: Mutex::new(number),
            flushed,
            memory,
            dir: dir.to_owned(),
        };
        Ok(Self { state: Arc::new(state) })
    }

    /// How far the state on disk has come: what the log asks before it is purged.
    pub fn flushed(&self) -> Flushed {
        self.state.flushed.clone()
    }

    /// Writes the effects of the entries up to `index`, together with the marks of that entry:
    /// `applied` and, if it has changed, `membership`. It can be read at once, and is on disk after
    /// a flush; a crash before leaves none of it or all.
    ///
    /// # Errors
    /// If the state cannot be written: the node must stop.
    pub fn commit(
        &self,
        effects: &Effects,
        index: u64,
        applied: &[u8],
        membership: Option<&[u8]>,
    ) -> io::Result<()> {
        let state = self.state.current();
        state.write(&effects.writes, index, applied, membership)?;
        self.state.cells.note(&effects.writes);
        for write in &effects.writes {
            // Whole shards: worth a compaction.
            if let Write::DeleteRange { table: table @ (Table::Entry | Table::Index), from, to } =
                write
            {
                self.state.reclaim(&state, *table, from, to);
            }
        }
        Ok(())
    }

    /// What was kept with the last entry applied.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn applied(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.marks()?.applied)
    }

    /// What was kept about the last membership.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn membership(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.marks()?.membership)
    }

    /// Where the state stands in the log.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn marks(&self) -> io::Result<Marks> {
        self.state.current().marks(ReadOptions::default())
    }

    /// The state as it is now, to read from while writes go on.
    pub fn snapshot(&self) -> StateSnapshot {
        StateSnapshot::new(self.state.current())
    }

    /// SHA-256 over all rows as they are now, see [`StateSnapshot::content_hash`].
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn content_hash(&self) -> io::Result<[u8; 32]> {
        self.snapshot().content_hash()
    }

    /// Brings to the disk all that was committed before. It takes as long as the disk does.
    ///
    /// # Errors
    /// If the state cannot be written.
    pub fn flush(&self) -> io::Result<()> {
        let state = self.state.current();
        let index = state.marks(ReadOptions::default())?.index;
        state.flush()?;
        if let Some(index) = index {
            self.state.flushed.raise(index);
        }
        Ok(())
    }

    /// Flushes, and makes a checkpoint in the folder `into`, which must not be there: hard links to
    /// the tables' files and small copies. Writes go on meanwhile; where the checkpoint stands is
    /// returned.
    ///
    /// # Errors
    /// If the checkpoint cannot be made; `into` may then be there in part.
    pub fn checkpoint(&self, into: &Path) -> io::Result<Marks> {
        let marks = self.state.current().checkpoint(into)?;
        if let Some(index) = marks.index {
            self.state.flushed.raise(index);
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
        let state = &*self.state;
        let mut number = state.number.lock().expect("no holder panics");
        let path = folder(&state.dir, *number + 1);
        files::remove_dir(&path)?;
        let (installed, marks) = match state.prepare(verified, &path) {
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
        set_current(&state.dir, *number)?;
        let old = {
            let mut current = state.current.write().expect("no holder panics");
            state.cells.clear();
            std::mem::replace(&mut *current, Arc::new(installed))
        };
        old.supersede();
        if let Some(index) = marks.index {
            state.flushed.raise(index);
        }
        Ok(())
    }
}

impl State {
    fn current(&self) -> Arc<StateDb> {
        self.current.read().expect("no holder panics").clone()
    }

    /// Builds the state in `path` from a checkpoint, opens it and makes it durable.
    fn prepare(&self, verified: &Path, path: &Path) -> io::Result<(StateDb, Marks)> {
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
        let state = StateDb::open(path, false, &self.memory)?;
        files::sync_dir(path)?;
        files::sync_dir(&self.dir)?;
        let marks = state.marks(ReadOptions::default())?;
        let next = marks.index.map_or(0, |index| index + 1);
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
        Ok((state, marks))
    }

    fn reclaim(&self, state: &Arc<StateDb>, table: Table, from: &[u8], to: &[u8]) {
        // A state that was replaced meanwhile has no use for it.
        let (state, from, to) = (Arc::downgrade(state), from.to_vec(), to.to_vec());
        self.background.jobs().offer(move || {
            if let Some(state) = state.upgrade() {
                state.compact(table, &from, &to);
            }
        });
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Else the background would have to finish a compaction first.
        self.current().stop();
    }
}

impl View for StateStore {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if table == Table::Cell
            && let Some(cell) = self.state.cells.get(key)
        {
            return Ok(cell);
        }
        self.state.current().latest(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
        let options = ReadOptions::default();
        self.state.current().scan(table, (from, to), limit, Direction::Ascending, options)
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
