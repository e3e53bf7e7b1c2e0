//! The objects of a namespace, a page at a time.

use std::io;

use super::super::{Snapshot, Source};
use super::cursor::{Cursor, Of};
use super::{Sizes, cells, id, sizes};
use crate::error::{Error, Result};
use crate::machine::{NamespaceId, ObjectId, ObjectRecord, ObjectRef, Table, keys};
use crate::{codec, limits};

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// By their ids.
    pub objects: Vec<Listed>,
    /// There when there may be more. A page may be short, or empty, and still have one: only its absence
    /// is the end.
    pub cursor: Option<Cursor>,
}

/// An object of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: ObjectId,
    /// Its name, if a client ever used it.
    pub name: Option<String>,
    /// What it holds.
    pub sizes: Sizes,
}

/// How many objects a namespace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Objects.
    pub objects: u64,
    /// What they take, if all tell without their cells.
    pub bytes: Option<u64>,
}

/// The first `limit` objects of `namespace` whose names begin with `prefix`, or those that `cursor` has
/// left. One whose name is not known is of the empty prefix alone.
///
/// An object that is there from the first page to the last is in exactly one of them.
///
/// # Errors
/// `bad_cursor` if the cursor is one of another list, `Internal` if the store cannot be read.
pub fn list(
    source: &dyn Source,
    namespace: NamespaceId,
    prefix: &str,
    limit: usize,
    cursor: Option<&Cursor>,
    retention_ms: u64,
) -> Result<List> {
    let of = Of::Objects(namespace, prefix);
    let last = cursor.map(|cursor| cursor.last(of)).transpose()?;
    let (found, position) = find(&*source.with_cells(Vec::new()), namespace, prefix, limit, last)
        .map_err(Error::unreadable)?;
    let cursor = position.map(|last| Cursor::new(of, last));
    let objects = measure(source, found, retention_ms).map_err(Error::unreadable)?;
    Ok(List { objects, cursor })
}

/// How many objects `namespace` has, if not more than `limit`.
///
/// # Errors
/// If the store cannot be read.
pub fn count(
    snapshot: &dyn Snapshot,
    namespace: NamespaceId,
    limit: usize,
) -> io::Result<Option<Counted>> {
    let (from, to) = keys::objects(namespace);
    let rows = snapshot.scan(Table::Object, &from, &to, limit + 1)?;
    if rows.len() > limit {
        return Ok(None);
    }
    let mut counted = Counted { objects: rows.len() as u64, bytes: Some(0) };
    for (_, value) in rows {
        let bytes = sizes(&codec::decode(&value)?, 0).bytes;
        counted.bytes = counted.bytes.zip(bytes).map(|(sum, bytes)| sum + bytes);
    }
    Ok(Some(counted))
}

/// An object that was found, with the name under which its cells are looked for.
struct Found {
    key: Vec<u8>,
    name: Option<String>,
}

/// The objects of a page, and where the next one begins.
fn find(
    snapshot: &dyn Snapshot,
    namespace: NamespaceId,
    prefix: &str,
    limit: usize,
    last: Option<&[u8]>,
) -> io::Result<(Vec<Found>, Option<Vec<u8>>)> {
    let (first, to) = keys::objects(namespace);
    // Whatever a cursor says, never before what the list is of.
    let mut from = last.map(behind).unwrap_or_default().max(first);
    let (mut found, mut looked_at): (Vec<Found>, _) = (Vec::new(), 0);
    loop {
        let rows = snapshot.scan(Table::Object, &from, &to, limits::READ_OBJECTS)?;
        let is_last = rows.len() < limits::READ_OBJECTS;
        looked_at += rows.len();
        for (key, value) in rows {
            from = behind(&key);
            let name = codec::decode::<ObjectRecord>(&value)?.name;
            if !name.as_deref().unwrap_or_default().starts_with(prefix) {
                continue;
            }
            if found.len() == limit {
                // One more is there, so the last of this page is not the last of all.
                let position = found.last().map(|found| found.key.clone());
                return Ok((found, position));
            }
            found.push(Found { key, name });
        }
        if is_last {
            return Ok((found, None));
        }
        if looked_at >= limits::OBJECT_ROWS_MAX {
            from.pop();
            return Ok((found, Some(from)));
        }
    }
}

/// What the objects that were found hold, all at one moment; those that are gone by then are left out.
fn measure(source: &dyn Source, found: Vec<Found>, retention_ms: u64) -> io::Result<Vec<Listed>> {
    let wanted =
        found.iter().filter_map(|found| Some((reference(&found.key)?, found.name.as_ref()?)));
    let wanted = wanted.flat_map(|(object, name)| cells::keys_by_name(&object, name)).collect();
    let snapshot = source.with_cells(wanted);
    let rows: Vec<_> = found.iter().map(|found| found.key.clone()).collect();
    let records = snapshot.get_each(Table::Object, &rows, false)?;
    let mut listed = Vec::with_capacity(found.len());
    for (found, value) in found.into_iter().zip(records) {
        let Some(value) = value else { continue };
        let record: ObjectRecord = codec::decode(&value)?;
        let mut sizes = sizes(&record, retention_ms);
        if record.state.limiter().is_some()
            && let Some((object, name)) = reference(&found.key).zip(found.name.as_deref())
        {
            let cells = cells::by_name(&*snapshot, &object, name)?;
            if cells.len() as u64 == sizes.keys {
                sizes = cells::sizes(&cells);
            }
        }
        listed.push(Listed { id: id(&found.key)?, name: record.name, sizes });
    }
    Ok(listed)
}

/// The object of a row's key.
fn reference(key: &[u8]) -> Option<ObjectRef> {
    let (namespace, id) = key.split_first_chunk::<8>()?;
    let id = ObjectId(id.try_into().ok()?);
    Some(ObjectRef { namespace: NamespaceId(*namespace), id, name: None })
}

/// The key that comes right behind `key`.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
