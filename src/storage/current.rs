//! The state in force: its RocksDB instance, and before it the rows that are written again and again.
//!
//! RocksDB keeps every version of a row until a flush sorts them and throws all but the last away.
//! A cell has a new version with every check that it admits, and a few small tables have one with
//! every log entry. So of these the newest alone is kept, here, and RocksDB gets it when it has to:
//! *write-back*, in the words of caches.
//!
//! What is on disk must be the state after some one entry, so RocksDB must not flush while it lacks
//! rows. It never does by itself. Who has it flush, or calls what does, first makes the state *whole*:
//! from then on every write goes to RocksDB with the marks of its entry, what was held back follows
//! piece by piece, and when nothing is left RocksDB has the state after each entry, until the last of
//! those who want it so is done.

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
    /// So many want the state whole.
    whole: usize,
    /// Commits until it is looked again whether a flush is due.
    until_look: u32,
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

/// Memtables are looked at once in so many commits.
const LOOK_EVERY: u32 = 32;

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
        let (db, cells) = (Arc::new(db), Cells::default());
        Ok(Self { db, cells, residents, marks, whole: 0, until_look: 0, is_broken: false })
    }

    pub(super) fn db(&self) -> &Arc<StateDb> {
        &self.db
    }

    pub(super) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Puts `other` in the place of the state, and gives the instance that it was in.
    pub(super) fn replace(&mut self, other: Self) -> Arc<StateDb> {
        // Who wants the state whole still does, and has all of the new one.
        let whole = self.whole;
        let old = std::mem::replace(self, other);
        self.whole = whole;
        old.db.clone()
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
            let Self { db, cells, residents, marks, whole, .. } = current;
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
            if !is_dirty {
                write_back(residents, &mut batch)?;
                batch.mark(marks);
            }
            batch.write()
        })
    }

    /// Whether a flush is due, by the memtables. It is looked at them now and then.
    pub(super) fn is_due(&mut self, write_buffer_bytes: usize) -> io::Result<Due> {
        if self.until_look > 0 {
            self.until_look -= 1;
            return Ok(Due::Later);
        }
        self.until_look = LOOK_EVERY;
        self.db.is_due(write_buffer_bytes)
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
            let Self { db, cells, residents, marks, .. } = current;
            let mut batch = db.batch();
            let more = cells.write_back(limits::WRITE_BACK_CELLS, &mut cell_of(&mut batch))?;
            if !more {
                write_back(residents, &mut batch)?;
                batch.mark(marks);
            }
            batch.write()?;
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
