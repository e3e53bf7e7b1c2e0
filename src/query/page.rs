//! One page of `/query`.

use std::io;

use bytes::Bytes;

use super::Snapshot;
use super::cursor::Cursor;
use super::filter::{Filter, Scope};
use super::walk::Walk;
use crate::limits;

/// A part of what a query wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries' JSON objects, in the order of the query.
    pub entries: Vec<Bytes>,
    /// There when there may be more; to be sent with the same query. A page may be short, or
    /// empty, and still have one: only its absence is the end.
    pub cursor: Option<String>,
}

/// How much one page may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Bytes of entries; one entry is always given.
    pub bytes: usize,
    /// Rows looked at, up to the end of a chunk.
    pub rows: usize,
}

/// The first `limit` entries that a filter wants, or that `cursor` has left.
///
/// The page ends earlier at [`limits::QUERY_BYTES_MAX`] or [`limits::QUERY_ROWS_MAX`]. With a limit
/// of 0 it is empty and has no cursor.
///
/// Entries that come in while pages are read stand behind the last one in ascending order. In
/// descending order they do not appear: they are newer than what is left.
///
/// # Errors
/// If the store cannot be read or contradicts itself.
pub fn page(
    snapshot: &dyn Snapshot,
    scope: &Scope,
    filter: &Filter,
    limit: usize,
    cursor: Option<&Cursor>,
) -> io::Result<Page> {
    let budget = Budget { bytes: limits::QUERY_BYTES_MAX, rows: limits::QUERY_ROWS_MAX };
    page_within(snapshot, scope, filter, limit, cursor, budget)
}

/// [`page`] with a budget of one's own.
pub(super) fn page_within(
    snapshot: &dyn Snapshot,
    scope: &Scope,
    filter: &Filter,
    limit: usize,
    cursor: Option<&Cursor>,
    budget: Budget,
) -> io::Result<Page> {
    let mut entries = Vec::new();
    if limit == 0 {
        return Ok(Page { entries, cursor: None });
    }
    let mut bytes = 0;
    let mut walk = Walk::starting_at(scope, filter.clone(), cursor);
    let position = 'walk: loop {
        let Some(matches) = walk.next_matches(snapshot)? else { break None };
        for found in matches {
            bytes += found.body.len();
            // One entry more than fits is read, so that the last page is known to be the last.
            if entries.len() == limit || (bytes > budget.bytes && !entries.is_empty()) {
                break 'walk walk.position_before(&found);
            }
            entries.push(found.body);
        }
        if walk.looked_at() >= budget.rows {
            break walk.position();
        }
    };
    let cursor = position.map(|position| Cursor::new(scope, filter, position).to_text());
    Ok(Page { entries, cursor })
}
