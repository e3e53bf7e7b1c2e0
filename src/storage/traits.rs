//! What Raft asks of a node's disk. RocksDB is behind it in a node, memory in a simulation.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::log::{LogStore, Meta};
use super::state::StateStore;
use super::state_db::Marks;
use super::sync::Done;
use crate::machine::{Effects, Machine, View};
use crate::query::Snapshot;

/// A log whose writes can be read at once, and are on disk, in their order, when it says so: see
/// [`LogStore`], whose methods these are.
pub trait LogStorage: Send + Sync + 'static {
    /// See [`LogStore::append`].
    ///
    /// # Errors
    /// As there.
    fn append(&self, entries: Vec<(u64, Vec<u8>)>, done: Done) -> io::Result<()>;
    /// See [`LogStore::read`].
    ///
    /// # Errors
    /// As there.
    fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>>;
    /// See [`LogStore::last`].
    ///
    /// # Errors
    /// As there.
    fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>>;
    /// See [`LogStore::truncate_from`].
    ///
    /// # Errors
    /// As there.
    fn truncate_from(&self, index: u64) -> io::Result<()>;
    /// See [`LogStore::purge_to`].
    ///
    /// # Errors
    /// As there.
    fn purge_to(&self, index: u64, mark: &[u8]) -> io::Result<()>;
    /// See [`LogStore::put_meta`].
    ///
    /// # Errors
    /// As there.
    fn put_meta(&self, meta: Meta, bytes: &[u8]) -> io::Result<()>;
    /// See [`LogStore::put_meta_synced`].
    ///
    /// # Errors
    /// As there.
    fn put_meta_synced(&self, meta: Meta, bytes: &[u8], done: Done) -> io::Result<()>;
    /// See [`LogStore::get_meta`].
    ///
    /// # Errors
    /// As there.
    fn get_meta(&self, meta: Meta) -> io::Result<Option<Vec<u8>>>;
    /// See [`LogStore::purged_to`].
    fn purged_to(&self) -> Option<u64>;
    /// See [`LogStore::sync`].
    ///
    /// # Errors
    /// As there.
    fn sync(&self, done: Done) -> io::Result<()>;
    /// See [`LogStore::bytes_since`].
    fn bytes_since(&self, index: u64) -> u64;
    /// See [`LogStore::close`].
    ///
    /// # Errors
    /// As there.
    fn close(&self) -> io::Result<()>;
    /// See [`LogStore::observe`]. What is kept in memory has nothing to tell.
    ///
    /// # Errors
    /// As there.
    fn observe(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The machine's tables with where they stand in the log, on disk since the last flush: see
/// [`StateStore`], whose methods these are.
pub trait StateStorage: View + Send + Sync + 'static {
    /// See [`StateStore::commit`].
    ///
    /// # Errors
    /// As there.
    fn commit(
        &self,
        effects: Effects,
        index: u64,
        applied: Vec<u8>,
        membership: Option<Vec<u8>>,
    ) -> io::Result<()>;
    /// See [`StateStore::marks`].
    ///
    /// # Errors
    /// If the state cannot be read.
    fn marks(&self) -> io::Result<Marks>;
    /// See [`StateStore::audit_snapshot`].
    fn audit_snapshot(&self) -> Box<dyn Snapshot>;
    /// See [`StateStore::snapshot_with`]. What keeps nothing back has all in every snapshot.
    fn snapshot_with(&self, cells: Vec<Vec<u8>>) -> Box<dyn Snapshot> {
        drop(cells);
        self.audit_snapshot()
    }
    /// See [`StateStore::snapshot`].
    ///
    /// # Errors
    /// As there.
    fn whole_snapshot(&self) -> io::Result<Box<dyn Snapshot>> {
        Ok(self.audit_snapshot())
    }
    /// SHA-256 over all rows, see [`super::StateSnapshot::content_hash`], and where they stand.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn content_hash(&self) -> io::Result<(Marks, [u8; 32])>;
    /// See [`StateStore::flush`].
    ///
    /// # Errors
    /// As there.
    fn flush(&self) -> io::Result<()>;
    /// See [`StateStore::checkpoint`].
    ///
    /// # Errors
    /// As there.
    fn checkpoint(&self, into: &Path) -> io::Result<Marks>;
    /// See [`StateStore::machine_at`].
    ///
    /// # Errors
    /// As there.
    fn machine_at(&self, checkpoint: &Path) -> io::Result<Machine>;
    /// See [`StateStore::install`].
    ///
    /// # Errors
    /// As there.
    fn install(&self, verified: &Path) -> io::Result<()>;
    /// See [`StateStore::observe`]. What is kept in memory has nothing to tell.
    ///
    /// # Errors
    /// As there.
    fn observe(&self) -> io::Result<()> {
        Ok(())
    }
}

impl LogStorage for LogStore {
    fn append(&self, entries: Vec<(u64, Vec<u8>)>, done: Done) -> io::Result<()> {
        self.append(entries, done)
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        self.read(range, max_bytes)
    }

    fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        self.last()
    }

    fn truncate_from(&self, index: u64) -> io::Result<()> {
        self.truncate_from(index)
    }

    fn purge_to(&self, index: u64, mark: &[u8]) -> io::Result<()> {
        self.purge_to(index, mark)
    }

    fn put_meta(&self, meta: Meta, bytes: &[u8]) -> io::Result<()> {
        self.put_meta(meta, bytes)
    }

    fn put_meta_synced(&self, meta: Meta, bytes: &[u8], done: Done) -> io::Result<()> {
        self.put_meta_synced(meta, bytes, done)
    }

    fn get_meta(&self, meta: Meta) -> io::Result<Option<Vec<u8>>> {
        self.get_meta(meta)
    }

    fn purged_to(&self) -> Option<u64> {
        self.purged_to()
    }

    fn sync(&self, done: Done) -> io::Result<()> {
        self.sync(done)
    }

    fn bytes_since(&self, index: u64) -> u64 {
        self.bytes_since(index)
    }

    fn close(&self) -> io::Result<()> {
        self.close()
    }

    fn observe(&self) -> io::Result<()> {
        self.observe()
    }
}

impl StateStorage for StateStore {
    fn commit(
        &self,
        effects: Effects,
        index: u64,
        applied: Vec<u8>,
        membership: Option<Vec<u8>>,
    ) -> io::Result<()> {
        self.commit(effects, index, applied, membership)
    }

    fn marks(&self) -> io::Result<Marks> {
        Ok(self.marks())
    }

    fn audit_snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(self.audit_snapshot())
    }

    fn snapshot_with(&self, cells: Vec<Vec<u8>>) -> Box<dyn Snapshot> {
        Box::new(self.snapshot_with(cells))
    }

    fn whole_snapshot(&self) -> io::Result<Box<dyn Snapshot>> {
        Ok(Box::new(self.snapshot()?))
    }

    fn content_hash(&self) -> io::Result<(Marks, [u8; 32])> {
        let snapshot = self.snapshot()?;
        Ok((snapshot.marks()?, snapshot.content_hash()?))
    }

    fn flush(&self) -> io::Result<()> {
        self.flush()
    }

    fn checkpoint(&self, into: &Path) -> io::Result<Marks> {
        self.checkpoint(into)
    }

    fn machine_at(&self, checkpoint: &Path) -> io::Result<Machine> {
        self.machine_at(checkpoint)
    }

    fn install(&self, verified: &Path) -> io::Result<()> {
        self.install(verified)
    }

    fn observe(&self) -> io::Result<()> {
        self.observe()
    }
}
