//! What objects there are, and what each one holds: for operators, not for programs in a hurry.
//!
//! An object's row tells its name, if a client ever used it, and how much it holds, but not the cells of
//! a limiter: those are a table of their own, in which the newest stand in memory alone and nothing
//! lies in order ([`super::Source::with_cells`] and [`super::Source::whole`] tell what that costs).
//! Nearly all limiters are those of `/check`, with one cell whose identifier is part of the name. So the
//! few cells that a name may stand for are asked for by their keys. Where these are not all that the
//! object has, the whole table has to be read in order, which only a look at this one object does: its
//! bytes are told by its row, but not when its alarm rings.
//!
//! Objects lie in the order of their ids, and names are not in any order, so a list by prefix looks at
//! every object; a page looks at a bounded number of them.

mod cells;
mod cursor;
mod limiter;
mod list;
mod show;

#[cfg(test)]
mod tests;

use std::io;

use super::Snapshot;
use crate::codec;
use crate::machine::{ObjectId, ObjectRecord, ObjectRef, ObjectState, Table, keys};

pub use cursor::Cursor;
pub use limiter::{Standing, standing};
pub use list::{Counted, List, Listed, count, list};
pub use show::{Shown, show};

/// What an object holds, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Keys of its storage: identifiers of a limiter, entries of a shard.
    pub keys: u64,
    /// What they take ([`crate::machine::quota`]); none if that is not known.
    pub bytes: Option<u64>,
    /// When its alarm rings, in ms since the Unix epoch; none if that is not known.
    pub alarm_ms: Option<u64>,
}

/// The row of an object.
fn record(snapshot: &dyn Snapshot, object: &ObjectRef) -> io::Result<Option<ObjectRecord>> {
    let value = snapshot.get(Table::Object, &keys::object(object))?;
    value.map(|value| codec::decode(&value)).transpose()
}

/// What a record tells without its cells; an alarm of a shard rings once its oldest entry is as old as
/// `retention_ms`, or later if that was expired when it was imported.
fn sizes(record: &ObjectRecord, retention_ms: u64) -> Sizes {
    match &record.state {
        ObjectState::Limiter { cells } => Sizes { keys: *cells, bytes: None, alarm_ms: None },
        ObjectState::Measured(limiter) => {
            Sizes { keys: limiter.cells, bytes: limiter.bytes_if_known(), alarm_ms: None }
        }
        ObjectState::Shard(shard) => Sizes {
            keys: shard.entries(),
            bytes: Some(shard.bytes_taken()),
            alarm_ms: Some(shard.first_ms.saturating_add(retention_ms)),
        },
    }
}

/// The id in the key of an object's row.
fn id(key: &[u8]) -> io::Result<ObjectId> {
    let id = key.last_chunk::<16>().filter(|_| key.len() == keys::OBJECT_BYTES);
    id.map(|id| ObjectId(*id)).ok_or_else(|| super::inconsistent("a short object key"))
}
