//! openraft's log storage over ours: what openraft calls a log id, an entry or a vote is bytes
//! below, and an entry that was appended lately is not read back from there.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, TryStreamExt, stream};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::codec;
use crate::limits;
use crate::storage::{LogStorage, Meta};

/// Entries kept in memory: enough for followers that keep up, and for apply.
const RECENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The log of one node. Clones share it.
#[derive(Clone)]
pub struct Log {
    store: Arc<dyn LogStorage>,
    recent: Arc<Mutex<Recent>>,
    /// From which index on it is kept again how far the log is committed.
    committed_due: u64,
}

/// The newest entries, dense up to the last one.
#[derive(Default)]
struct Recent {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, entry: Entry, bytes: usize) {
        let dense = self.entries.back().is_none_or(|(last, _)| last.index() + 1 == entry.index());
        if !dense {
            self.clear();
        }
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
        while self.bytes > RECENT_BYTES_MAX && self.entries.len() > 1 {
            if let Some((_, bytes)) = self.entries.pop_front() {
                self.bytes -= bytes;
            }
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// The entries of `from..to` within `max_bytes`, at least one; `None` unless all of the first
    /// ones are here.
    fn read(&self, from: u64, to: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.0.index();
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let count = usize::try_from(to.checked_sub(from)?).ok()?;
        let mut bytes = 0;
        let entries: Vec<Entry> = self
            .entries
            .iter()
            .skip(skip)
            .take(count)
            .enumerate()
            .take_while(|(position, (_, size))| {
                bytes += size;
                *position == 0 || bytes <= max_bytes
            })
            .map(|(_, (entry, _))| entry.clone())
            .collect();
        (!entries.is_empty()).then_some(entries)
    }
}

impl Log {
    /// The log in `store`.
    pub fn new(store: Arc<dyn LogStorage>) -> Self {
        Self { store, recent: Arc::default(), committed_due: 0 }
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        // A panic while it was held cannot have left it half changed in a way that matters more
        // than a missing entry, which is then read from the store.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        if from >= to {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.recent().read(from, to, max_bytes) {
            return Ok(entries);
        }
        let rows = self.store.read(from..to, max_bytes)?;
        rows.into_iter().map(|(_, bytes)| codec::decode(&bytes)).collect()
    }

    fn meta<T: serde::de::DeserializeOwned>(&self, meta: Meta) -> io::Result<Option<T>> {
        self.store.get_meta(meta)?.map(|bytes| codec::decode(&bytes)).transpose()
    }
}

/// A range of indexes, from inclusive to exclusive.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = bounds(&range);
        let mut entries: Vec<Entry> = Vec::new();
        // Memory may hold the first ones alone, or the store give a part at a time.
        loop {
            let next = entries.last().map_or(from, |last| last.index() + 1);
            let more = self.read(next, to, usize::MAX)?;
            if more.is_empty() {
                return Ok(entries);
            }
            entries.extend(more);
        }
    }

    /// What is to be applied is read a piece at a time: after a restart it may be the whole log.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let log = self.clone();
        let pieces = stream::try_unfold(from, move |next| {
            let piece = log.read(next, to, limits::APPEND_BYTES_MAX);
            std::future::ready(piece.map(|piece| {
                let last = piece.last()?.index();
                Some((stream::iter(piece.into_iter().map(Ok)), last + 1))
            }))
        });
        pieces.try_flatten()
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let entries = self.read(start, end, limits::APPEND_BYTES_MAX)?;
        // What was purged since openraft looked cannot be sent; nothing is a heartbeat to it.
        let whole = entries.first().is_some_and(|first| first.index() == start);
        Ok(if whole { entries } else { Vec::new() })
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.meta(Meta::Vote)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let last_purged_log_id: Option<LogId> = self.meta(Meta::Purged)?;
        let last = self.store.last()?.map(|(_, bytes)| codec::decode::<Entry>(&bytes));
        let last_log_id = match last.transpose()? {
            Some(entry) => Some(entry.log_id()),
            None => last_purged_log_id,
        };
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, synced) = oneshot::channel();
        let done = Box::new(move |result| {
            // The receiver is gone only if openraft is being shut down.
            let _ = done.send(result);
        });
        self.store.put_meta_synced(Meta::Vote, &codec::encode(vote), done)?;
        synced.await.map_err(|_| io::Error::other("the sync thread ended"))?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // An older mark is as true as a newer one, so not every one is kept, and none is synced.
        let Some(committed) = committed.filter(|id| id.index >= self.committed_due) else {
            return Ok(());
        };
        self.committed_due = committed.index + limits::COMMITTED_KEPT_EVERY;
        self.store.put_meta(Meta::Committed, &codec::encode(&committed))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.meta(Meta::Committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let rows: Vec<(u64, Vec<u8>)> =
            entries.iter().map(|entry| (entry.index(), codec::encode(entry))).collect();
        let sizes: Vec<usize> = rows.iter().map(|(_, bytes)| bytes.len()).collect();
        self.store.append(rows, Box::new(move |result| callback.io_completed(result)))?;
        let mut recent = self.recent();
        for (entry, bytes) in entries.into_iter().zip(sizes) {
            recent.push(entry, bytes);
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.recent().clear();
        self.store.truncate_from(last.map_or(0, |last| last.index + 1))
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.recent().clear();
        self.store.purge_to(log_id.index, &codec::encode(&log_id))
    }
}
