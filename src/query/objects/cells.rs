//! The cells of a limiter, and how they are shown.

use std::io;

use super::super::Snapshot;
use super::Sizes;
use crate::codec;
use crate::limits;
use crate::machine::limiter::Cell;
use crate::machine::quota::KEY_BYTES;
use crate::machine::{ObjectRef, Table, keys};

/// Cells with their identifiers, in the order of these.
pub(super) type Cells = Vec<(String, Cell)>;

/// The identifiers for which `/check` uses the object of this name: the guide names it `type:identifier`,
/// or by the identifier alone, and both parts may have colons in them.
pub(super) fn identifiers(name: &str) -> impl Iterator<Item = &str> {
    let behind_colons = name.match_indices(':').map(move |(at, _)| &name[at + 1..]);
    std::iter::once(name).chain(behind_colons).take(limits::OBJECT_IDENTIFIERS_MAX)
}

/// The keys of the cells that an object of this name may have.
pub(super) fn keys_by_name(object: &ObjectRef, name: &str) -> Vec<Vec<u8>> {
    identifiers(name).map(|identifier| keys::cell(object, identifier)).collect()
}

/// The cells of those that [`keys_by_name`] names which are there.
pub(super) fn by_name(
    snapshot: &dyn Snapshot,
    object: &ObjectRef,
    name: &str,
) -> io::Result<Cells> {
    let mut cells = Cells::new();
    for identifier in identifiers(name) {
        if let Some(cell) = cell(snapshot, object, identifier)? {
            cells.push((identifier.to_owned(), cell));
        }
    }
    cells.sort_by(|(one, _), (other, _)| one.cmp(other));
    cells.dedup_by(|(one, _), (other, _)| one == other);
    Ok(cells)
}

/// The cell of an identifier.
pub(super) fn cell(
    snapshot: &dyn Snapshot,
    object: &ObjectRef,
    identifier: &str,
) -> io::Result<Option<Cell>> {
    let value = snapshot.get(Table::Cell, &keys::cell(object, identifier))?;
    value.map(|value| codec::decode(&value)).transpose()
}

/// What these cells, which are all of an object, take.
pub(super) fn sizes(cells: &[(String, Cell)]) -> Sizes {
    Sizes {
        keys: cells.len() as u64,
        bytes: Some(cells.iter().map(|(id, _)| KEY_BYTES + id.len() as u64).sum()),
        alarm_ms: cells.iter().map(|(_, cell)| cell.alarm_ms).min(),
    }
}

/// Guide, "Storage Structure": `{count, windowStart}`.
pub(super) fn value(cell: &Cell) -> String {
    let Cell { count, window_start_ms, .. } = cell;
    format!(r#"{{"count":{count},"windowStart":{window_start_ms}}}"#)
}
