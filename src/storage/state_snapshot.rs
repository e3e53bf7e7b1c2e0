//! The state as of one moment, to read from for as long as one likes.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rocksdb::{ReadOptions, Snapshot as RocksSnapshot};
use sha2::{Digest, Sha256};

use super::current::is_held_back;
use super::state_db::{Direction, Marks, StateDb};
use crate::limits;
use crate::machine::{Row, Table, View};
use crate::query::Snapshot;

/// A consistent state that stays as it is while writes go on, and even while another state is
/// installed in its place. It holds disk space back, so it should not live for hours.
pub struct StateSnapshot {
    /// Borrows from `state`, and stands before it: fields are dropped in order.
    snapshot: RocksSnapshot<'static>,
    state: Arc<StateDb>,
    readable: Readable,
}

/// What may be read.
enum Readable {
    /// Every table.
    All,
    /// The tables that RocksDB always has as they are, and these cells: what of each was held back at
    /// the moment of the snapshot, or nothing.
    With(HashMap<Vec<u8>, Held>),
}

/// What was held back of a row, if something was: its value, or that there is none.
pub(super) type Held = Option<Option<Vec<u8>>>;

impl StateSnapshot {
    /// Of a state that is whole.
    pub(super) fn new(state: Arc<StateDb>) -> Self {
        Self::with(state, Readable::All)
    }

    /// Of the audit log in a state that need not be whole.
    pub(super) fn of_audit(state: Arc<StateDb>) -> Self {
        Self::of_cells(state, HashMap::new())
    }

    /// Of the audit log and of some cells in a state that need not be whole. Nothing may be committed
    /// between the look at `cells` and this.
    pub(super) fn of_cells(state: Arc<StateDb>, cells: HashMap<Vec<u8>, Held>) -> Self {
        Self::with(state, Readable::With(cells))
    }

    #[expect(unsafe_code, reason = "the snapshot and what it borrows from live in one value")]
    fn with(state: Arc<StateDb>, readable: Readable) -> Self {
        // SAFETY: the reference is to what the `Arc` owns, which neither moves nor goes while the
        // `Arc` is there. The `Arc` is kept beside the only thing made from the reference, is never
        // replaced, and is dropped after it. Nothing hands out either field or the lifetime: all
        // methods borrow from `self`.
        let borrowed: &'static StateDb = unsafe { &*Arc::as_ptr(&state) };
        Self { snapshot: borrowed.db().snapshot(), state, readable }
    }

    fn check(&self, table: Table) -> io::Result<()> {
        if is_held_back(table) { self.check_whole() } else { Ok(()) }
    }

    fn check_whole(&self) -> io::Result<()> {
        match self.readable {
            Readable::All => Ok(()),
            Readable::With(_) => Err(unsupported()),
        }
    }

    /// Where this state stands in the log.
    ///
    /// # Errors
    /// If the store cannot be read, or this is of the audit log alone.
    pub fn marks(&self) -> io::Result<Marks> {
        self.check_whole()?;
        self.state.marks(self.options())
    }

    /// SHA-256 over all rows of all tables, in order. Equal states have equal hashes, whatever the
    /// files look like; the marks of where the state stands are not part of it.
    ///
    /// Each table is its name, its rows, and a zero byte; a row is a one byte, its key and its
    /// value; names, keys and values are led by their lengths (8 bytes, big-endian).
    ///
    /// # Errors
    /// If the store cannot be read, or this is of the audit log alone.
    pub fn content_hash(&self) -> io::Result<[u8; 32]> {
        self.check_whole()?;
        let mut hash = Sha256::new();
        for table in Table::ALL {
            add(&mut hash, table.name().as_bytes());
            let mut options = self.options();
            // All rows once: they should not displace from the cache what is read often.
            options.fill_cache(false);
            self.state.each(table, (&[], None), Direction::Ascending, options, |key, value| {
                hash.update([1]);
                add(&mut hash, key);
                add(&mut hash, value);
                true
            })?;
            hash.update([0]);
        }
        Ok(hash.finalize().into())
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl View for StateSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match &self.readable {
            Readable::With(cells) if table == Table::Cell => {
                if let Some(row) = cells.get(key).ok_or_else(unsupported)? {
                    return Ok(row.clone());
                }
            }
            _ => self.check(table)?,
        }
        self.state.get(table, key, &self.options())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
        self.check(table)?;
        let mut options = self.options();
        if limit >= limits::READ_ROWS_FIRST {
            options.set_readahead_size(limits::READ_AHEAD_BYTES);
        }
        self.state.scan(table, (from, to), limit, Direction::Ascending, options)
    }
}

impl Snapshot for StateSnapshot {
    fn scan_back(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> io::Result<Vec<Row>> {
        self.check(table)?;
        self.state.scan(table, (from, to), limit, Direction::Descending, self.options())
    }

    fn get_each(
        &self,
        table: Table,
        keys: &[Vec<u8>],
        near: bool,
    ) -> io::Result<Vec<Option<Vec<u8>>>> {
        self.check(table)?;
        let mut options = self.options();
        if near {
            options.set_readahead_size(limits::READ_AHEAD_BYTES);
        }
        self.state.get_each(table, keys, options)
    }
}

fn unsupported() -> io::Error {
    let message = "a snapshot of the audit log has no more than that, and the cells that it is for";
    io::Error::new(io::ErrorKind::Unsupported, message)
}

/// Adds `bytes` behind their length.
fn add(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
