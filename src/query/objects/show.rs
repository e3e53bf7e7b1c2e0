//! What one object holds, as the guide's objects would have it in their storage.

use std::io;

use bytes::{Buf, Bytes};

use super::super::{Snapshot, Source, inconsistent};
use super::cells::{self, Cells};
use super::cursor::{Cursor, Of};
use super::{Sizes, record, sizes};
use crate::error::{Error, Result};
use crate::machine::audit::{ENTRY_HEADER_BYTES, EntryRecord};
use crate::machine::{Measured, ObjectRecord, ObjectRef, ObjectState, Shard, Table, import, keys};
use crate::{codec, limits};

/// Keys and their values.
pub type Storage = Vec<(String, Bytes)>;

/// An object, and a part of its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name, if a client ever used it.
    pub name: Option<String>,
    /// What it holds.
    pub sizes: Sizes,
    /// Keys and values, which are JSON: `ratelimit:{identifier}` in the order of the identifiers, or
    /// `log:{timestamp}:{id}` in the order of the log.
    pub storage: Storage,
    /// There when there is more.
    pub cursor: Option<Cursor>,
}

/// An object with the first `limit` keys of its storage, or those that `cursor` has left; `None` if there
/// is no such object. A page ends sooner at [`limits::QUERY_BYTES_MAX`].
///
/// # Errors
/// `bad_cursor` if the cursor is one of another object, `Internal` if the store cannot be read.
pub fn show(
    source: &dyn Source,
    object: &ObjectRef,
    limit: usize,
    cursor: Option<&Cursor>,
    retention_ms: u64,
) -> Result<Option<Shown>> {
    let of = Of::Storage(object.namespace, object.id);
    let last = cursor.map(|cursor| cursor.last(of)).transpose()?;
    let shown = read(source, object, limit, last, retention_ms).map_err(Error::unreadable)?;
    Ok(shown.map(|(record, page)| {
        let Page { sizes, storage, last } = page;
        Shown { name: record.name, sizes, storage, cursor: last.map(|last| Cursor::new(of, last)) }
    }))
}

struct Page {
    sizes: Sizes,
    storage: Storage,
    /// Where the next one begins, if there is one.
    last: Option<Vec<u8>>,
}

fn read(
    source: &dyn Source,
    object: &ObjectRef,
    limit: usize,
    last: Option<&[u8]>,
    retention_ms: u64,
) -> io::Result<Option<(ObjectRecord, Page)>> {
    let Some(before) = record(&*source.with_cells(Vec::new()), object)? else { return Ok(None) };
    let name = before.name.or_else(|| object.name.clone()).unwrap_or_default();
    let snapshot = source.with_cells(cells::keys_by_name(object, &name));
    let Some(record) = record(&*snapshot, object)? else { return Ok(None) };
    let page = match &record.state {
        ObjectState::Shard(shard) => {
            let sizes = sizes(&record, retention_ms);
            let (storage, last) = entries(&*snapshot, shard, limit, last)?;
            Page { sizes, storage, last }
        }
        ObjectState::Limiter { cells } | ObjectState::Measured(Measured { cells, .. }) => {
            let known = cells::by_name(&*snapshot, object, &name)?;
            if known.len() as u64 == *cells {
                identifiers(cells::sizes(&known), known, limit, last)
            } else {
                drop(snapshot);
                return whole(source, object, limit, last);
            }
        }
    };
    Ok(Some((record, page)))
}

/// The same of a limiter that has other identifiers than its name tells.
fn whole(
    source: &dyn Source,
    object: &ObjectRef,
    limit: usize,
    last: Option<&[u8]>,
) -> io::Result<Option<(ObjectRecord, Page)>> {
    let snapshot = source.whole()?;
    let Some(record) = record(&*snapshot, object)? else { return Ok(None) };
    let sizes = sizes(&record, 0);
    let is_small = sizes.keys <= limits::OBJECT_CELLS_MAX;
    let first = last.filter(|_| !is_small).map_or_else(Vec::new, |last| [last, &[0]].concat());
    let from = [&keys::object(object)[..], &first].concat();
    // No byte of UTF-8 is so large.
    let to = [&keys::object(object)[..], &[0xff]].concat();
    let most = if is_small { limits::OBJECT_CELLS_MAX as usize } else { limit + 1 };
    let mut cells = Cells::new();
    for (key, value) in snapshot.scan(Table::Cell, &from, &to, most)? {
        let identifier = String::from_utf8(key[keys::OBJECT_BYTES..].to_vec());
        let identifier = identifier.map_err(|_| inconsistent("an identifier that is no text"))?;
        cells.push((identifier, codec::decode(&value)?));
    }
    let sizes = if is_small { cells::sizes(&cells) } else { sizes };
    Ok(Some((record, identifiers(sizes, cells, limit, last))))
}

fn identifiers(sizes: Sizes, mut cells: Cells, limit: usize, last: Option<&[u8]>) -> Page {
    if let Some(last) = last {
        cells.retain(|(identifier, _)| identifier.as_bytes() > last);
    }
    let has_more = cells.len() > limit;
    cells.truncate(limit);
    let last = cells.last().filter(|_| has_more).map(|(last, _)| last.clone().into_bytes());
    let storage = cells
        .iter()
        .map(|(identifier, cell)| (format!("ratelimit:{identifier}"), cells::value(cell).into()));
    Page { sizes, storage: storage.collect(), last }
}

/// Entries of a shard, and where the next page begins.
fn entries(
    snapshot: &dyn Snapshot,
    shard: &Shard,
    limit: usize,
    last: Option<&[u8]>,
) -> io::Result<(Storage, Option<Vec<u8>>)> {
    let mut next = shard.first_sequence;
    if let Some(last) = last.and_then(|last| last.first_chunk::<8>()) {
        next = next.max(u64::from_be_bytes(*last).saturating_add(1));
    }
    let (_, to) = keys::entries(shard.number);
    let (mut storage, mut bytes) = (Vec::new(), 0);
    while storage.len() < limit && bytes < limits::QUERY_BYTES_MAX {
        let wanted = limits::READ_ROWS_FIRST.min(limit - storage.len());
        let rows = snapshot.scan(Table::Entry, &keys::entry(shard.number, next), &to, wanted)?;
        let count = rows.len();
        for (key, value) in rows {
            next = keys::sequence(&key).ok_or_else(|| inconsistent("a short entry key"))? + 1;
            let EntryRecord { at_ms, body, .. } = EntryRecord::decode(&value)?;
            let id = import::id(body).ok_or_else(|| inconsistent("an entry without an id"))?;
            let key = format!("log:{at_ms}:{}", String::from_utf8_lossy(id));
            let mut value = Bytes::from(value);
            value.advance(ENTRY_HEADER_BYTES);
            bytes += value.len();
            storage.push((key, value));
        }
        if count < wanted {
            break;
        }
    }
    let last = (next < shard.next_sequence).then(|| (next - 1).to_be_bytes().to_vec());
    Ok((storage, last))
}
