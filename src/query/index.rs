//! Equality filters: the intersection of index streams.

use std::collections::VecDeque;
use std::io;

use super::span::Span;
use super::{Order, Snapshot, inconsistent, scan};
use crate::limits;
use crate::machine::{Field, Table, keys};

/// Index rows that a stream reads where it is mostly jumped over.
const ROWS_MIN: usize = 8;

/// The sequence numbers of a shard that stand under all of some terms.
///
/// A leapfrog join: each stream in turn jumps to the furthest sequence number that another has
/// come to. Where all agree there is a match. The rarest term so decides how much is read.
pub(super) struct Intersection {
    number: u64,
    order: Order,
    streams: Vec<Stream>,
}

/// The sequence numbers under one term.
struct Stream {
    field: Field,
    term: u64,
    /// Read, but not yet passed.
    ahead: VecDeque<u64>,
    /// Rows to read at once.
    rows: usize,
}

impl Intersection {
    /// Of at least one term.
    pub fn new(number: u64, order: Order, terms: &[(Field, u64)]) -> Self {
        let streams = terms.iter().map(|&(field, term)| Stream {
            field,
            term,
            ahead: VecDeque::new(),
            rows: limits::READ_ROWS_FIRST,
        });
        Self { number, order, streams: streams.collect() }
    }

    /// The next matches, at most `limit` of them, and what is left of `span` behind them.
    ///
    /// Stops short, perhaps without a match, when about [`limits::READ_INDEX_ROWS_MAX`] rows were
    /// read. `looked_at` counts the rows.
    pub fn next(
        &mut self,
        snapshot: &dyn Snapshot,
        span: &mut Span,
        limit: usize,
        looked_at: &mut usize,
    ) -> io::Result<Vec<u64>> {
        let pause_at = *looked_at + limits::READ_INDEX_ROWS_MAX;
        let mut matches = Vec::new();
        let (mut candidate, mut agreeing) = (None, 0);
        for turn in (0..self.streams.len()).cycle() {
            let stream = &mut self.streams[turn];
            let found = stream.seek(snapshot, self.number, self.order, *span, looked_at)?;
            let Some(found) = found else {
                span.finish(self.order);
                break;
            };
            if candidate != Some(found) {
                (candidate, agreeing) = (Some(found), 0);
                span.resume(self.order, self.order.before(found));
            }
            agreeing += 1;
            if agreeing == self.streams.len() {
                matches.push(found);
                span.resume(self.order, self.order.behind(found));
                (candidate, agreeing) = (None, 0);
                if matches.len() == limit {
                    break;
                }
            }
            if *looked_at >= pause_at {
                break;
            }
        }
        Ok(matches)
    }
}

impl Stream {
    /// The first sequence number of the stream in `span`. Spans only ever shrink.
    fn seek(
        &mut self,
        snapshot: &dyn Snapshot,
        number: u64,
        order: Order,
        span: Span,
        looked_at: &mut usize,
    ) -> io::Result<Option<u64>> {
        let mut passed = 0;
        while self.ahead.front().is_some_and(|sequence| !span.contains(*sequence)) {
            self.ahead.pop_front();
            passed += 1;
        }
        if self.ahead.is_empty() {
            // Reading ahead pays where the rows are used, and costs where they are jumped over.
            self.rows = if passed > self.rows / 2 {
                (self.rows / 4).max(ROWS_MIN)
            } else {
                (self.rows * 2).min(limits::READ_INDEX_ROWS_MAX)
            };
            let (from, to) =
                span.keys(|sequence| keys::index(number, self.field, self.term, sequence));
            let rows = scan(snapshot, order, Table::Index, (&from, &to), self.rows)?;
            *looked_at += rows.len().max(1);
            for (key, _) in rows {
                let sequence =
                    keys::sequence(&key).ok_or_else(|| inconsistent("a short index key"))?;
                self.ahead.push_back(sequence);
            }
        }
        Ok(self.ahead.front().copied())
    }
}
