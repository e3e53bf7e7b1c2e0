//! The walk through everything that a query wants, from its first entry to its last.

use std::io;

use bytes::Bytes;

use super::Snapshot;
use super::cursor::{Cursor, Position};
use super::filter::{Filter, Order, Scope};
use super::reader::{Match, Reader};
use super::shards::Shards;
use crate::machine::Field;

/// Streams all entries that a filter wants, in constant memory. Each call must be given the same
/// snapshot, so that what is walked through does not change.
pub struct Walk {
    filter: Filter,
    terms: Vec<(Field, u64)>,
    shards: Shards,
    /// Where to start, in the shard of the same day.
    start: Option<Position>,
    current: Option<Current>,
    looked_at: usize,
}

/// The shard that is being read, or was read last.
struct Current {
    day: Option<u32>,
    number: u64,
    reader: Reader,
}

impl Walk {
    /// A walk through all of `scope`.
    pub fn new(scope: &Scope, filter: Filter) -> Self {
        Self::starting_at(scope, filter, None)
    }

    /// A walk through what `cursor` has left.
    pub(super) fn starting_at(scope: &Scope, filter: Filter, cursor: Option<&Cursor>) -> Self {
        let start = cursor.map(|cursor| cursor.position);
        let shards = Shards::new(scope, filter.order, start.as_ref());
        let terms = filter.terms();
        Self { filter, terms, shards, start, current: None, looked_at: 0 }
    }

    /// The bodies of the next entries: perhaps none, where much was looked at in vain, and mostly
    /// about [`crate::limits::EXPORT_CHUNK_BYTES`]. `None` at the end.
    ///
    /// # Errors
    /// If the store cannot be read or contradicts itself. Then what was given is not everything.
    pub fn next_chunk(&mut self, snapshot: &dyn Snapshot) -> io::Result<Option<Vec<Bytes>>> {
        let matches = self.next_matches(snapshot)?;
        Ok(matches.map(|matches| matches.into_iter().map(|found| found.body).collect()))
    }

    /// Like [`Self::next_chunk`]. All matches of a chunk are of one shard.
    pub(super) fn next_matches(
        &mut self,
        snapshot: &dyn Snapshot,
    ) -> io::Result<Option<Vec<Match>>> {
        loop {
            if let Some(current) = &mut self.current {
                let reader = &mut current.reader;
                let matches = reader.next(snapshot, &self.filter, &mut self.looked_at)?;
                if matches.is_some() {
                    return Ok(matches);
                }
            }
            if !self.enter_next_shard(snapshot)? {
                return Ok(None);
            }
        }
    }

    /// Rows of entries and indexes that were read.
    pub(super) fn looked_at(&self) -> usize {
        self.looked_at
    }

    /// The position before an entry of the current shard.
    pub(super) fn position_before(&self, found: &Match) -> Option<Position> {
        let current = self.current.as_ref()?;
        Some(current.position(self.filter.order.before(found.sequence)))
    }

    /// The position behind what was looked at.
    pub(super) fn position(&self) -> Option<Position> {
        let current = self.current.as_ref()?;
        Some(current.position(current.reader.boundary()))
    }

    fn enter_next_shard(&mut self, snapshot: &dyn Snapshot) -> io::Result<bool> {
        while let Some((day, shard)) = self.shards.next(snapshot, &self.filter)? {
            let start = self.start.filter(|start| start.day == day);
            // The shard of the cursor has been removed, and this is a later one in its place:
            // newer than all that the walk had left. Numbers are never used again.
            let is_newer = start.is_some_and(|start| shard.number > start.shard);
            if is_newer && self.filter.order == Order::Desc {
                continue;
            }
            let mut reader = Reader::new(snapshot, &shard, &self.filter, &self.terms)?;
            if let Some(start) = start.filter(|start| start.shard == shard.number) {
                reader.resume(start.boundary);
            }
            self.current = Some(Current { day, number: shard.number, reader });
            return Ok(true);
        }
        Ok(false)
    }
}

impl Current {
    fn position(&self, boundary: u64) -> Position {
        Position { day: self.day, shard: self.number, boundary }
    }
}
