//! Reading the audit log: pages for `/query`, a walk for `/export`, rows for CSV; and, in `objects/`, what
//! objects there are and what each one holds.
//!
//! Everything here is a pure function of a [`Snapshot`]: no async, no clock, no store. A query runs
//! over *shards* in the order of their days, and in each shard over *sequence numbers*. Times
//! never decrease with the sequence inside a shard, so a time range is a range of sequence numbers
//! (`span.rs`); equality filters are intersections of index streams, which list sequence numbers
//! too (`index.rs`). So a position in the log is a sequence number and never a time, and a cursor
//! neither skips nor repeats an entry, also within one millisecond and while the log grows.
//!
//! Memory is constant: rows are read in chunks that adapt to their size.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::float_arithmetic)]

mod csv;
mod cursor;
mod filter;
mod index;
pub mod objects;
mod opaque;
mod page;
mod reader;
mod shards;
mod span;
mod walk;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

use std::io;

use crate::machine::{Row, Table, View};

pub use csv::Csv;
pub use cursor::Cursor;
pub use filter::{Filter, Order, Scope};
pub use page::{Page, page};
pub use walk::Walk;

/// A consistent state to read from: a [`View`] that can also be read backwards.
pub trait Snapshot: View + Send + Sync {
    /// The last `limit` rows from `from` (inclusive) to `to` (exclusive), in descending key order.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scan_back(&self, table: Table, from: &[u8], to: &[u8], limit: usize)
    -> io::Result<Vec<Row>>;

    /// The values of `keys`, which ascend; none for a key that is not there. `near` says that there
    /// are few rows between them, so that it pays to read those along.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn get_each(
        &self,
        table: Table,
        keys: &[Vec<u8>],
        near: bool,
    ) -> io::Result<Vec<Option<Vec<u8>>>>;
}

/// Where snapshots of the state come from.
pub trait Source: Send + Sync + 'static {
    /// The state as it is now, but for the cells that are not among `keys`: it costs next to nothing.
    fn with_cells(&self, keys: Vec<Vec<u8>>) -> Box<dyn Snapshot>;

    /// The state as it is now. The store may have to write for it what it has held back.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn whole(&self) -> io::Result<Box<dyn Snapshot>>;
}

/// The first `limit` rows from `from` (inclusive) to `to` (exclusive), as `order` reads them.
fn scan(
    snapshot: &dyn Snapshot,
    order: Order,
    table: Table,
    (from, to): (&[u8], &[u8]),
    limit: usize,
) -> io::Result<Vec<Row>> {
    match order {
        Order::Asc => snapshot.scan(table, from, to, limit),
        Order::Desc => snapshot.scan_back(table, from, to, limit),
    }
}

/// The state contradicts itself: a fault of the store, not of the query.
fn inconsistent(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}
