//! Reading what is wanted from one shard, chunk by chunk.

use std::io;

use bytes::{Buf, Bytes};

use super::index::Intersection;
use super::span::{Span, missing};
use super::{Filter, Order, Snapshot, inconsistent};
use crate::limits;
use crate::machine::audit::{ENTRY_HEADER_BYTES, EntryRecord};
use crate::machine::{Field, Row, Shard, Table, keys};

/// An entry that is wanted.
pub(super) struct Match {
    /// Its sequence number.
    pub sequence: u64,
    /// Its JSON object.
    pub body: Bytes,
}

/// What is left to read of one shard.
pub(super) struct Reader {
    number: u64,
    order: Order,
    span: Span,
    /// Where there are equality filters.
    intersection: Option<Intersection>,
    /// Entry rows to read at once, so that they make about [`limits::EXPORT_CHUNK_BYTES`].
    rows: usize,
}

impl Reader {
    /// Reads the entries of `shard` that are within the filter's times and under all `terms`.
    pub fn new(
        snapshot: &dyn Snapshot,
        shard: &Shard,
        filter: &Filter,
        terms: &[(Field, u64)],
    ) -> io::Result<Self> {
        let (number, order) = (shard.number, filter.order);
        let intersection = (!terms.is_empty()).then(|| Intersection::new(number, order, terms));
        let span = Span::within(snapshot, shard, filter)?;
        Ok(Self { number, order, span, intersection, rows: limits::READ_ROWS_FIRST })
    }

    /// Where reading has come to.
    pub fn boundary(&self) -> u64 {
        self.span.boundary(self.order)
    }

    /// Goes on from a boundary.
    pub fn resume(&mut self, boundary: u64) {
        self.span.resume(self.order, boundary);
    }

    /// The next matches, perhaps none; `None` at the end. `looked_at` counts the rows read.
    pub fn next(
        &mut self,
        snapshot: &dyn Snapshot,
        filter: &Filter,
        looked_at: &mut usize,
    ) -> io::Result<Option<Vec<Match>>> {
        if self.span.is_empty() {
            return Ok(None);
        }
        let Some(intersection) = &mut self.intersection else {
            let matches = self.read_span(snapshot, self.span, self.rows, looked_at)?;
            if let Some(last) = matches.last() {
                self.span.resume(self.order, self.order.behind(last.sequence));
            }
            return Ok(Some(matches));
        };
        let sequences = intersection.next(snapshot, &mut self.span, self.rows, looked_at)?;
        let mut accepted = Vec::with_capacity(sequences.len());
        for found in self.read_each(snapshot, &sequences, looked_at)? {
            if filter.accepts(&found.body)? {
                accepted.push(found);
            }
        }
        Ok(Some(accepted))
    }

    /// The first `limit` entries of a span.
    fn read_span(
        &mut self,
        snapshot: &dyn Snapshot,
        span: Span,
        limit: usize,
        looked_at: &mut usize,
    ) -> io::Result<Vec<Match>> {
        let head = span.head(self.order, limit);
        let (from, to) = head.keys(|sequence| keys::entry(self.number, sequence));
        // Forwards also where the newest come first: that is how disks are read ahead.
        let mut rows = snapshot.scan(Table::Entry, &from, &to, limit)?;
        if rows.len() as u64 != head.len() {
            return Err(missing(self.number, head));
        }
        if self.order == Order::Desc {
            rows.reverse();
        }
        self.read_rows(rows, looked_at)
    }

    /// The entries with these sequence numbers, which are in order.
    fn read_each(
        &mut self,
        snapshot: &dyn Snapshot,
        sequences: &[u64],
        looked_at: &mut usize,
    ) -> io::Result<Vec<Match>> {
        let Some(span) = Span::around(sequences) else { return Ok(Vec::new()) };
        // A row costs more by its key than as a neighbour, so a gap here and there is read too.
        let most = 2 * sequences.len();
        if span.len() <= most as u64 {
            let mut matches = self.read_span(snapshot, span, most, looked_at)?;
            let mut wanted = sequences.iter().peekable();
            matches.retain(|found| wanted.next_if_eq(&&found.sequence).is_some());
            return Ok(matches);
        }
        let mut ascending = sequences.to_vec();
        ascending.sort_unstable();
        let wanted: Vec<_> =
            ascending.iter().map(|sequence| keys::entry(self.number, *sequence)).collect();
        let near = span.len() / (sequences.len() as u64) < limits::READ_ALONG_ROWS_MAX;
        let values = snapshot.get_each(Table::Entry, &wanted, near)?;
        let found = ascending.iter().zip(wanted).zip(values);
        let rows = found.map(|((sequence, key), value)| {
            let value = value.ok_or_else(|| missing(self.number, Span::of(*sequence)))?;
            Ok((key, value))
        });
        let mut rows = rows.collect::<io::Result<Vec<Row>>>()?;
        if self.order == Order::Desc {
            rows.reverse();
        }
        self.read_rows(rows, looked_at)
    }

    fn read_rows(&mut self, rows: Vec<Row>, looked_at: &mut usize) -> io::Result<Vec<Match>> {
        let bytes: usize = rows.iter().map(|(_, value)| value.len()).sum();
        *looked_at += rows.len();
        if let Some(average) = bytes.checked_div(rows.len()) {
            let most = (self.rows * 2).min(limits::READ_ROWS_MAX);
            self.rows = (limits::EXPORT_CHUNK_BYTES / average.max(1)).clamp(1, most);
        }
        rows.into_iter().map(Match::of).collect()
    }
}

impl Match {
    fn of((key, value): Row) -> io::Result<Self> {
        let sequence = keys::sequence(&key).ok_or_else(|| inconsistent("a short entry key"))?;
        EntryRecord::decode(&value)?;
        let mut body = Bytes::from(value);
        body.advance(ENTRY_HEADER_BYTES);
        Ok(Self { sequence, body })
    }
}
