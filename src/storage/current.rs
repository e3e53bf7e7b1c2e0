//! The state in force: its RocksDB instance, and before it the rows that are written again and again.
//!
//! RocksDB keeps every version of a row until a flush sorts them and throws all but the last away.
//! A cell has a new version with every check that it admits, and a few small tables have one with
//! every log entry. So of these the newest alone is kept, here, and RocksDB gets it when it has to:
//! *write-back*, in the words of caches.
//!
//! What is on disk must be the state after some one entry, so RocksDB must not flush while it lacks
//! rows. Its own bounds are out of reach, and to close it is not to flush it. Who has it flush, or calls
//! what does, first makes the state *whole*: from then on every write goes to RocksDB with the marks of
//! its entry, what was held back follows piece by piece, and when nothing is left RocksDB has the state
//! after each entry, until the last of those who want it so is done.
//!
//! Should RocksDB flush all the same, as it may to recover from an error of the disk, then a row says
//! that the state is *partial*, and who opens it refuses it.

use std::io;
use std::sync::Arc;

use rocksdb::ReadOptions;

use super::cells::Cells;
use super::resident::Resident;
use super::state_db::{Batch, Direction, Due, Marks, StateDb};
use crate::limits;
use crate::machine::{Effects, Row, Table, Write};

/// See the top of the file.
pub(super) struct Current {
    db: Arc<StateDb>,
    cells: Cells,
    /// By place, see [`resident`].
    residents: [Resident; RESIDENTS.len()],
    marks: Marks,
    /// RocksDB has these, and no row that says that it lacks rows.
    is_marked: bool,
    /// RocksDB has that row.
    is_partial: bool,
    /// So many want the state whole.
    whole: usize,
    /// Bytes and commits since it was looked whether a flush is due.
    unlooked: (usize, u32),
    /// A write has failed, so nobody knows what RocksDB has: it must not reach the disk.
    is_broken: bool,
}

/// The tables that are wholly in memory.
const RESIDENTS: [Table; 3] = [Table::Register, Table::Session, Table::Answer];

/// Where a table is in [`RESIDENTS`].
fn resident(table: Table) -> Option<usize> {
    RESIDENTS.iter().position(|resident| *resident == table)
}

/// Whether RocksDB may lack rows of `table`.
pub(super) fn is_held_back(table: Table) -> bool {
    table == Table::Cell || resident(table).is_some()
}

/// What is known of a row without asking RocksDB.
pub(super) enum Known {
    /// Its value, or that there is none.
    Row(Option<Vec<u8>>),
    /// Nothing: ask this instance.
    Ask(Arc<StateDb>),
}

/// Memtables are looked at once in so many commits, and with so large a part of what they may take.
const LOOK_COMMITS: u32 = 32;
const LOOK_PART: usize = 16;

impl Current {
    pub(super) fn new(db: StateDb) -> io::Result<Self> {
        let marks = db.marks(ReadOptions::default())?;
        let mut residents = RESIDENTS.map(|_| Resident::default());
        for (table, resident) in RESIDENTS.into_iter().zip(&mut residents) {
            let mut rows = Vec::new();
            let (all, options) = ((&[][..], None), ReadOptions::default());
            db.each(table, all, Direction::Ascending, options, |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                true
            })?;
            *resident = Resident::new(rows);
        }
        Ok(Self {
            db: Arc::new(db),
            cells: Cells::default(),
            residents,
            marks,
            is_marked: true,
            is_partial: false,
            whole: 0,
            unlooked: (0, 0),
            is_broken: false,
        })
    }

    pub(super) fn db(&self) -> &Arc<StateDb> {
        &self.db
    }

    pub(super) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Puts `other` in the place of the state, and gives it back.
    pub(super) fn replace(&mut self, other: Self) -> Self {
        let old = std::mem::replace(self, other);
        // Who wants the state whole still does, and has all of the new one.
        self.whole = old.whole;
        old
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Known {
        if let Some(place) = resident(table) {
            return Known::Row(self.residents[place].get(key));
        }
        match (table == Table::Cell).then(|| self.cells.get(key)).flatten() {
            Some(row) => Known::Row(row),
            None => Known::Ask(self.db.clone()),
        }
    }

    /// What was last written under the key of a cell; `None` if RocksDB has it as it is.
    pub(super) fn cell(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.cells.get(key)
    }

    /// The rows of a range, if the table is wholly in memory.
    pub(super) fn scan(
        &self,
        table: Table,
        (from, to): (&[u8], &[u8]),
        limit: usize,
    ) -> Option<Vec<Row>> {
        Some(self.residents[resident(table)?].scan(from, to, limit))
    }

    /// Makes `effects` part of the state, which then stands at `marks`, or leaves it broken.
    pub(super) fn commit(&mut self, effects: Effects, marks: Marks) -> io::Result<()> {
        self.unbroken(|current| {
            current.marks = marks;
            let Self {
                db, cells, residents, marks, is_marked, is_partial, whole, unlooked, ..
            } = current;
            let is_dirty = *whole == 0;
            let mut batch = db.batch();
            for write in effects.writes {
                let (table, key, value) = match write {
                    Write::Put { table, key, value } => (table, key, Some(value)),
                    Write::Delete { table, key } => (table, key, None),
                    Write::DeleteRange { table, .. } if is_held_back(table) => {
                        let message = "rows that are held back go one by one";
                        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
                    }
                    Write::DeleteRange { table, from, to } => {
                        batch.remove_range(table, &from, &to);
                        continue;
                    }
                };
                if let Some(place) = resident(table) {
                    residents[place].put(key, value);
                } else if table == Table::Cell {
                    let through = (!is_dirty).then(|| (key.clone(), value.clone()));
                    cells.put(key, value, is_dirty, &mut cell_of(&mut batch))?;
                    // Behind what was written back, which may be the row as it was before.
                    if let Some((key, value)) = through {
                        batch.set(table, &key, value.as_deref());
                    }
                } else {
                    batch.set(table, &key, value.as_deref());
                }
            }
            if is_dirty {
                *is_marked = false;
                if !std::mem::replace(is_partial, true) {
                    batch.mark_partial(true);
                }
            } else if *is_partial {
                // What is held back follows, and the marks with the last of it.
                *is_marked = false;
            } else {
                write_back(residents, &mut batch)?;
                batch.mark(marks);
                *is_marked = true;
            }
            unlooked.0 += batch.bytes();
            unlooked.1 += 1;
            batch.write()
        })
    }

    /// When a flush is due, if memtables may take so many bytes. It is looked at them now and then.
    pub(super) fn due(&mut self, write_buffer_bytes: usize) -> io::Result<Due> {
        let (bytes, commits) = self.unlooked;
        if commits < LOOK_COMMITS && bytes < write_buffer_bytes / LOOK_PART {
            return Ok(Due::Later);
        }
        self.unlooked = (0, 0);
        self.db.due(write_buffer_bytes)
    }

    /// From now on what is written is written to RocksDB. What was held back follows with
    /// [`Self::write_back`].
    pub(super) fn want_whole(&mut self) {
        self.whole += 1;
    }

    /// The opposite of [`Self::want_whole`].
    pub(super) fn want_no_longer(&mut self) {
        self.whole -= 1;
        if self.whole == 0 {
            self.cells.may_be_dirty();
        }
    }

    /// Writes a piece of what was held back; `false` once the state is whole.
    pub(super) fn write_back(&mut self) -> io::Result<bool> {
        self.unbroken(|current| {
            let Self { db, cells, residents, marks, is_marked, is_partial, unlooked, .. } = current;
            let mut batch = db.batch();
            let more = cells.write_back(limits::WRITE_BACK_CELLS, &mut cell_of(&mut batch))?;
            if !more && !*is_marked {
                write_back(residents, &mut batch)?;
                batch.mark(marks);
                if *is_partial {
                    batch.mark_partial(false);
                }
            }
            unlooked.0 += batch.bytes();
            batch.write()?;
            if !more {
                (*is_marked, *is_partial) = (true, false);
            }
            Ok(more)
        })
    }

    /// Does what writes, unless a write has failed before.
    fn unbroken<T>(&mut self, write: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        if self.is_broken {
            return Err(io::Error::other("a write to the state has failed before"));
        }
        // Until it is known to be otherwise; also if it panics.
        self.is_broken = true;
        let written = write(self)?;
        self.is_broken = false;
        Ok(written)
    }
}

/// Takes cells that are written back.
fn cell_of(batch: &mut Batch<'_>) -> impl FnMut(&[u8], Option<&[u8]>) -> io::Result<()> {
    |key, value| {
        batch.set(Table::Cell, key, value);
        Ok(())
    }
}

fn write_back(residents: &mut [Resident], batch: &mut Batch<'_>) -> io::Result<()> {
    for (table, resident) in RESIDENTS.into_iter().zip(residents) {
        resident.write_back(&mut |key: &[u8], value: Option<&[u8]>| {
            batch.set(table, key, value);
            Ok(())
        })?;
    }
    Ok(())
}
