//! Ranges of sequence numbers in one shard.

use std::io;

use super::{Filter, Order, Snapshot, inconsistent};
use crate::machine::audit::EntryRecord;
use crate::machine::{Shard, Table, keys};

/// The sequence numbers from `low` (inclusive) to `high` (exclusive); `low <= high`.
///
/// A span shrinks from the side at which it is read, so what is left is a span again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    low: u64,
    high: u64,
}

impl Span {
    /// The entries of a shard that are within a filter's time range.
    ///
    /// Found by bisection: about 20 rows of a million are read for each end of the range.
    pub fn within(snapshot: &dyn Snapshot, shard: &Shard, filter: &Filter) -> io::Result<Self> {
        if shard.first_sequence > shard.next_sequence {
            return Err(inconsistent(format!("shard {} ends before it starts", shard.number)));
        }
        let mut span = Self { low: shard.first_sequence, high: shard.next_sequence };
        if let Some(start) = filter.start_ms.filter(|start| *start > shard.first_ms) {
            span.low = span.first_where(snapshot, shard.number, |at_ms| at_ms >= start)?;
        }
        if let Some(end) = filter.end_ms.filter(|end| *end < shard.last_ms) {
            span.high = span.first_where(snapshot, shard.number, |at_ms| at_ms > end)?;
        }
        Ok(span)
    }

    /// The span of one sequence number that an entry has.
    pub fn of(sequence: u64) -> Self {
        Self { low: sequence, high: sequence + 1 }
    }

    /// The first `limit` sequence numbers, as `order` reads them.
    pub fn head(self, order: Order, limit: usize) -> Self {
        let Self { low, high } = self;
        let length = self.len().min(limit as u64);
        match order {
            Order::Asc => Self { low, high: low + length },
            Order::Desc => Self { low: high - length, high },
        }
    }

    /// The least span that holds sequence numbers which are in order.
    pub fn around(sequences: &[u64]) -> Option<Self> {
        let (first, last) = (*sequences.first()?, *sequences.last()?);
        Some(Self { low: first.min(last), high: first.max(last) + 1 })
    }

    /// How many sequence numbers there are.
    pub fn len(self) -> u64 {
        self.high - self.low
    }

    /// Whether nothing is left.
    pub fn is_empty(self) -> bool {
        self.low == self.high
    }

    /// Whether `sequence` is left.
    pub fn contains(self, sequence: u64) -> bool {
        (self.low..self.high).contains(&sequence)
    }

    /// The keys of the span's rows, from (inclusive) and to (exclusive).
    pub fn keys(self, key: impl Fn(u64) -> Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        (key(self.low), key(self.high))
    }

    /// Where reading in `order` has come to.
    pub fn boundary(self, order: Order) -> u64 {
        match order {
            Order::Asc => self.low,
            Order::Desc => self.high,
        }
    }

    /// Goes on, in `order`, from a boundary. A boundary outside the span is its nearer end.
    pub fn resume(&mut self, order: Order, boundary: u64) {
        let boundary = boundary.clamp(self.low, self.high);
        match order {
            Order::Asc => self.low = boundary,
            Order::Desc => self.high = boundary,
        }
    }

    /// Leaves nothing.
    pub fn finish(&mut self, order: Order) {
        match order {
            Order::Asc => self.low = self.high,
            Order::Desc => self.high = self.low,
        }
    }

    /// The first sequence number whose entry's time passes, or `high`.
    fn first_where(
        self,
        snapshot: &dyn Snapshot,
        number: u64,
        passes: impl Fn(u64) -> bool,
    ) -> io::Result<u64> {
        let Self { mut low, mut high } = self;
        while low < high {
            let middle = low + (high - low) / 2;
            let value = snapshot
                .get(Table::Entry, &keys::entry(number, middle))?
                .ok_or_else(|| missing(number, Self::of(middle)))?;
            if passes(EntryRecord::decode(&value)?.at_ms) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }
}

/// Sequence numbers are dense: where an entry of a span is not there, the store has lost it.
pub(super) fn missing(number: u64, Span { low, high }: Span) -> io::Error {
    inconsistent(format!("of shard {number}, an entry from {low} up to {high} is missing"))
}
