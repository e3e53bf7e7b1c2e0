//! The tables of the machine's state, and how it reads and writes them.
//!
//! Keys are made in `keys.rs`. The store gives a [`View`]; while a batch is applied an [`Overlay`]
//! lays the batch's own writes over it, so that a command sees the ones before it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

/// A table of the machine's state: an ordered map from bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// The machine's own registers; see [`super::Machine`].
    Register,
    /// Objects: `namespace ‖ id` → [`super::object::ObjectRecord`].
    Object,
    /// Limiter cells: `namespace ‖ id ‖ identifier` → [`super::limiter::Cell`].
    Cell,
    /// What is due when: see [`super::keys::alarm`]. And, of an idempotency key, what is kept until
    /// then ([`super::idempotency::KeyRecord`]): builds that know no keys open no further table, and
    /// have to open the state as long as no key has come.
    Alarm,
    /// Audit entries: `shard ‖ sequence` → [`super::audit::EntryRecord`].
    Entry,
    /// Audit index: `shard ‖ field ‖ term ‖ sequence` → nothing.
    Index,
    /// Audit shards by date: `namespace ‖ day` → the object's id.
    Day,
    /// Sessions: `session` → [`super::session::SessionRecord`].
    Session,
    /// Outcomes that a session has not confirmed: `session ‖ sequence` → outcomes.
    Answer,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 9] = [
        Table::Register,
        Table::Object,
        Table::Cell,
        Table::Alarm,
        Table::Entry,
        Table::Index,
        Table::Day,
        Table::Session,
        Table::Answer,
    ];

    /// The table's stable name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Table::Register => "register",
            Table::Object => "object",
            Table::Cell => "cell",
            Table::Alarm => "alarm",
            Table::Entry => "entry",
            Table::Index => "index",
            Table::Day => "day",
            Table::Session => "session",
            Table::Answer => "answer",
        }
    }
}

/// One write to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a row.
    Put {
        /// Where.
        table: Table,
        /// The row's key.
        key: Vec<u8>,
        /// What it holds from now on.
        value: Vec<u8>,
    },
    /// Removes a row.
    Delete {
        /// Where.
        table: Table,
        /// The row's key.
        key: Vec<u8>,
    },
    /// Removes all rows of a range of keys.
    DeleteRange {
        /// Where.
        table: Table,
        /// The first key, inclusive.
        from: Vec<u8>,
        /// The last key, exclusive.
        to: Vec<u8>,
    },
}

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What the machine reads: the state as of the entry before the one being applied.
///
/// An error is a local fault (the disk): it stops the node and is never an outcome.
pub trait View {
    /// The value of `key`, if there is such a row.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// The first `limit` rows from `from` (inclusive) to `to` (exclusive), in key order.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>>;
}

/// A [`View`] under the writes of the batch that is being applied.
pub(super) struct Overlay<'a> {
    view: &'a dyn View,
    /// By table: what each row that was written is now, `None` if it is gone.
    rows: [BTreeMap<Vec<u8>, Option<Vec<u8>>>; Table::ALL.len()],
    /// Ranges are only ever of shards that no later command of the batch can read again.
    ranges: Vec<(Table, Vec<u8>, Vec<u8>)>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(view: &'a dyn View) -> Self {
        Self { view, rows: Default::default(), ranges: Vec::new() }
    }

    fn rows(&mut self, table: Table) -> &mut BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &mut self.rows[table as usize]
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match self.rows[table as usize].get(key) {
            Some(value) => Ok(value.clone()),
            None => self.view.get(table, key),
        }
    }

    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.rows(table).insert(key, Some(value));
    }

    pub(super) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.rows(table).insert(key, None);
    }

    /// Removes a range whose rows this batch has not written and will not read.
    pub(super) fn delete_range(&mut self, table: Table, from: Vec<u8>, to: Vec<u8>) {
        self.rows(table).retain(|key, _| *key < from || *key >= to);
        self.ranges.push((table, from, to));
    }

    pub(super) fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> io::Result<Vec<Row>> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        let own = || self.rows[table as usize].range::<[u8], _>(range);
        // Each row this batch removed may hide one of the view's, so ask for that many more.
        let hidden = own().filter(|(_, value)| value.is_none()).count();
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> =
            self.view.scan(table, from, to, limit.saturating_add(hidden))?.into_iter().collect();
        for (key, value) in own() {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().take(limit).collect())
    }

    /// The batch's writes: ranges first, then rows in table and key order.
    pub(super) fn into_writes(self) -> Vec<Write> {
        let ranges =
            self.ranges.into_iter().map(|(table, from, to)| Write::DeleteRange { table, from, to });
        let rows = Table::ALL.into_iter().zip(self.rows).flat_map(|(table, rows)| {
            rows.into_iter().map(move |(key, value)| match value {
                Some(value) => Write::Put { table, key, value },
                None => Write::Delete { table, key },
            })
        });
        ranges.chain(rows).collect()
    }
}
