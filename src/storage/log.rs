//! The log instance: Raft's entries, its vote, and how far it is committed and purged.
//!
//! A write is readable at once and durable when the sync thread says so. An entry's key is its
//! index, big-endian; every value ends with a CRC-32 over its key and its bytes.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, DB, DBCompressionType, DBRecoveryMode, FlushOptions,
    Options, ReadOptions, WriteBatch,
};

use super::background::Background;
use super::files;
use super::flushed::Flushed;
use super::observe;
use super::rocks;
use super::sizes::Sizes;
use super::sync::{Done, Syncer};
use super::synced::Synced;
use super::wal;
use crate::limits;
use crate::metrics::counted;

const ENTRIES: &str = "entries";
const META: &str = "meta";
const CRC_BYTES: usize = 4;

/// What is kept beside the entries, one value each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    /// The vote. It must be durable before it is answered: [`LogStore::put_meta_synced`].
    Vote,
    /// How far the log is known to be committed. It may be lost and needs no sync of its own.
    Committed,
    /// The last entry purged. Only [`LogStore::purge_to`] writes it.
    Purged,
}

impl Meta {
    fn key(self) -> &'static [u8] {
        match self {
            Meta::Vote => b"vote",
            Meta::Committed => b"committed",
            Meta::Purged => b"purged",
        }
    }
}

/// The log of one node: a cheap handle. The log closes when the last handle is dropped.
#[derive(Clone)]
pub struct LogStore {
    log: Arc<Log>,
}

/// Fields are dropped in this order: the threads end before the instance closes.
struct Log {
    syncer: Syncer,
    background: Background,
    bounds: Mutex<Bounds>,
    flushed: Flushed,
    path: PathBuf,
    db: Arc<DB>,
}

/// Which entries there are. The lock is held over every write of entries and while a reader opens
/// its iterator, which from then on sees the entries as of that moment: so a reader never takes a
/// purge or a truncation for a hole.
struct Bounds {
    /// The first entry, if there is one: it follows the last purged.
    first: u64,
    /// The entry that the next append begins with. Equal to `first` if there are no entries.
    next: u64,
    /// Whether anything was ever purged. If not, an empty log may begin anywhere.
    purged: bool,
    sizes: Sizes,
}

impl LogStore {
    /// Opens the log in `dir`, or makes an empty one. `flushed` tells how far it may be purged, and
    /// `purge_bytes` how much is appended, as a rule, from one purge to the next.
    ///
    /// # Errors
    /// If the log cannot be read or is damaged: `InvalidData` then, which names the entry.
    pub fn open(dir: &Path, flushed: Flushed, purge_bytes: u64) -> io::Result<Self> {
        Self::open_with(dir, flushed, purge_bytes, sync)
    }

    fn open_with(
        dir: &Path,
        flushed: Flushed,
        purge_bytes: u64,
        mut sync: impl FnMut(&DB) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        files::create_dirs(dir)?;
        let most = limits::LOG_WRITE_BUFFER_BYTES_MAX / 2;
        let purge_bytes = usize::try_from(purge_bytes).map_or(most, |bytes| bytes.min(most));
        let (instance, families) = options(2 * purge_bytes);
        let db = DB::open_cf_with_opts(&instance, dir, families)
            .map_err(|error| rocks::fault("open the log in", dir, &error))?;
        let bounds = Bounds::read(&db, dir)?;
        let synced = Synced::open(dir, db.latest_sequence_number()).map_err(|error| {
            if error.kind() != io::ErrorKind::InvalidData {
                return error;
            }
            let lost = format!("the write-ahead log is damaged from entry {} on", bounds.next);
            damaged(dir, format!("{lost}: {error}"))
        })?;
        // Somewhat more, for what comes while a purge is on its way.
        let families = [ENTRIES, META].map(|name| rocks::family(&db, name));
        wal::lengthen(&db, &families, purge_bytes + purge_bytes / 8)?;
        let db = Arc::new(db);
        let syncer = Syncer::start({
            let db = db.clone();
            move || {
                // Named first, and so let go of first when the thread ends.
                let db = &*db;
                let sequence = db.latest_sequence_number();
                let timer = counted().sync_seconds.start_timer();
                sync(db)?;
                timer.observe_duration();
                synced.note(sequence)
            }
        })?;
        let log = Log {
            syncer,
            background: Background::start("log-space")?,
            bounds: Mutex::new(bounds),
            flushed,
            path: dir.to_owned(),
            db,
        };
        Ok(Self { log: Arc::new(log) })
    }

    /// Appends entries, which must follow the last. They can be read when this returns; `done` is
    /// called on the sync thread when they are on disk.
    ///
    /// # Errors
    /// If the entries do not follow the last (`InvalidInput`) or cannot be written. `done` is then
    /// not called.
    pub fn append(
        &self,
        entries: impl IntoIterator<Item = (u64, Vec<u8>)>,
        done: Done,
    ) -> io::Result<()> {
        let log = &*self.log;
        let mut batch = WriteBatch::default();
        let mut range = None;
        let mut bytes = 0;
        for (index, entry) in entries {
            let (_, next) = range.get_or_insert((index, index));
            if index != *next {
                return Err(log.misplaced(index, *next));
            }
            *next += 1;
            let key = index.to_be_bytes();
            let value = seal(&key, entry);
            bytes += value.len() as u64;
            batch.put_cf(log.entries(), key, value);
        }
        counted().log_bytes.inc_by(bytes);
        let mut bounds = log.bounds();
        if let Some((first, next)) = range {
            if bounds.first == bounds.next && !bounds.purged {
                bounds.restart(first);
            }
            if first != bounds.next {
                return Err(log.misplaced(first, bounds.next));
            }
            log.write(batch)?;
            bounds.next = next;
            bounds.sizes.append(next, bytes);
        }
        log.syncer.submit(done)
    }

    /// Sets the metrics of the instance.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn observe(&self) -> io::Result<()> {
        let db = &*self.log.db;
        observe::instance("log", db, &[ENTRIES, META].map(|name| rocks::family(db, name)))
    }

    /// The entries in `range`, ascending: those of them that there are, ending early with the one
    /// that makes it `max_bytes` or more, and so at least one if there is one.
    ///
    /// # Errors
    /// If the log cannot be read; `InvalidData`, naming the index, for a damaged or missing entry.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let log = &*self.log;
        log.syncer.check()?;
        let (wanted, mut rows) = {
            let bounds = log.bounds();
            let wanted = range.start.max(bounds.first)..range.end.min(bounds.next);
            if wanted.is_empty() {
                return Ok(Vec::new());
            }
            let mut options = ReadOptions::default();
            options.set_iterate_upper_bound(wanted.end.to_be_bytes());
            (wanted, log.db.raw_iterator_cf_opt(log.entries(), options))
        };
        rows.seek(wanted.start.to_be_bytes());
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for index in wanted {
            let Some((key, value)) = rows.item() else {
                rows.status().map_err(|error| log.fault("read the log in", &error))?;
                return Err(log.damaged(format!("entry {index} is missing")));
            };
            if key != index.to_be_bytes() {
                return Err(log.damaged(format!("entry {index} is missing")));
            }
            let entry = log.entry(index, value.to_vec())?;
            bytes += entry.len();
            entries.push((index, entry));
            if bytes >= max_bytes {
                break;
            }
            rows.next();
        }
        Ok(entries)
    }

    /// The last entry, if there is any that is not purged.
    ///
    /// # Errors
    /// As [`LogStore::read`].
    pub fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let range = {
            let bounds = self.log.bounds();
            bounds.next.max(bounds.first + 1) - 1..bounds.next
        };
        Ok(self.read(range, 0)?.pop())
    }

    /// Removes the entries from `index` on. There is no sync: whatever is appended after this and
    /// synced, takes it along.
    ///
    /// # Errors
    /// If `index` is already purged (`InvalidInput`), or the log cannot be written.
    pub fn truncate_from(&self, index: u64) -> io::Result<()> {
        let log = &*self.log;
        log.syncer.check()?;
        let mut bounds = log.bounds();
        if bounds.purged && index < bounds.first {
            return Err(log.misplaced(index, bounds.first));
        }
        let index = index.max(bounds.first);
        if index < bounds.next {
            let mut batch = WriteBatch::default();
            batch.delete_range_cf(log.entries(), index.to_be_bytes(), bounds.next.to_be_bytes());
            log.write(batch)?;
            bounds.next = index;
            bounds.sizes.truncate(index);
        }
        Ok(())
    }

    /// Forgets the entries up to and including `index`, which may be behind the last, and keeps
    /// `mark` as [`Meta::Purged`] in the same write. The space in memory and on disk follows later.
    ///
    /// # Errors
    /// `InvalidInput` if the state on disk lacks one of them, see [`Flushed`]; or if the log cannot
    /// be written.
    pub fn purge_to(&self, index: u64, mark: &[u8]) -> io::Result<()> {
        let log = &*self.log;
        log.syncer.check()?;
        log.flushed.allow_purge(index)?;
        let mut bounds = log.bounds();
        let first = index + 1;
        if bounds.purged && first <= bounds.first {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(log.entries(), 0u64.to_be_bytes(), first.to_be_bytes());
        let purged = [&index.to_be_bytes()[..], mark].concat();
        batch.put_cf(log.meta(), Meta::Purged.key(), seal(Meta::Purged.key(), purged));
        log.write(batch)?;
        bounds.first = first;
        bounds.next = bounds.next.max(first);
        bounds.purged = true;
        bounds.sizes.purge(first);
        drop(bounds);
        // Files go at once and for good, so only after the purge itself is on disk: else a crash
        // could leave a log whose first entries are missing.
        let (db, jobs) = (self.log.db.clone(), self.log.background.jobs());
        log.syncer.submit(Box::new(move |synced| {
            if synced.is_ok() {
                jobs.offer(move || let_go_to(&db, index));
            }
        }))
    }

    /// Keeps `bytes` under `meta`, with whatever sync comes next.
    ///
    /// # Errors
    /// If the log cannot be written, or `meta` is [`Meta::Purged`] (`InvalidInput`).
    pub fn put_meta(&self, meta: Meta, bytes: &[u8]) -> io::Result<()> {
        if meta == Meta::Purged {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the mark of the purged entries is written by a purge alone",
            ));
        }
        let log = &*self.log;
        log.syncer.check()?;
        let mut batch = WriteBatch::default();
        batch.put_cf(log.meta(), meta.key(), seal(meta.key(), bytes.to_vec()));
        log.write(batch)
    }

    /// Keeps `bytes` under `meta`; `done` is called on the sync thread when they are on disk.
    ///
    /// # Errors
    /// As [`LogStore::put_meta`]; `done` is then not called.
    pub fn put_meta_synced(&self, meta: Meta, bytes: &[u8], done: Done) -> io::Result<()> {
        self.put_meta(meta, bytes)?;
        self.log.syncer.submit(done)
    }

    /// What is kept under `meta`.
    ///
    /// # Errors
    /// If the log cannot be read, or the value is damaged (`InvalidData`).
    pub fn get_meta(&self, meta: Meta) -> io::Result<Option<Vec<u8>>> {
        self.log.syncer.check()?;
        let value = get_meta(&self.log.db, &self.log.path, meta)?;
        Ok(match meta {
            Meta::Purged => value.map(|mut purged| purged.split_off(size_of::<u64>())),
            Meta::Vote | Meta::Committed => value,
        })
    }

    /// The last entry that was purged, if any was.
    pub fn purged_to(&self) -> Option<u64> {
        let bounds = self.log.bounds();
        bounds.purged.then(|| bounds.first - 1)
    }

    /// Calls `done` on the sync thread when all that was written before is on disk.
    ///
    /// # Errors
    /// If the log has failed or is closed; `done` is then not called.
    pub fn sync(&self, done: Done) -> io::Result<()> {
        self.log.syncer.submit(done)
    }

    /// Bytes of the entries from `index` on, roughly.
    pub fn bytes_since(&self, index: u64) -> u64 {
        self.log.bounds().sizes.since(index)
    }

    /// Makes all that was written durable and ends the sync thread: every later call fails.
    ///
    /// # Errors
    /// If the log has failed, now or before.
    pub fn close(&self) -> io::Result<()> {
        self.log.syncer.stop()
    }
}

impl Log {
    fn bounds(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().expect("no holder panics")
    }

    fn entries(&self) -> &ColumnFamily {
        rocks::family(&self.db, ENTRIES)
    }

    fn meta(&self) -> &ColumnFamily {
        rocks::family(&self.db, META)
    }

    /// Writes to memory and to the buffer of the write-ahead log. A failure is the last.
    fn write(&self, batch: WriteBatch) -> io::Result<()> {
        self.syncer.check()?;
        self.db.write(batch).map_err(|error| {
            let error = self.fault("write to the log in", &error);
            self.syncer.fail(&error);
            error
        })
    }

    fn entry(&self, index: u64, value: Vec<u8>) -> io::Result<Vec<u8>> {
        unseal(&index.to_be_bytes(), value)
            .ok_or_else(|| self.damaged(format!("entry {index} has a wrong checksum")))
    }

    fn fault(&self, attempt: &str, error: &rocksdb::Error) -> io::Error {
        rocks::fault(attempt, &self.path, error)
    }

    fn damaged(&self, message: String) -> io::Error {
        damaged(&self.path, message)
    }

    fn misplaced(&self, index: u64, expected: u64) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{}: entry {index} where {expected} must come", self.path.display()),
        )
    }
}

impl Bounds {
    /// Finds the first and the last entry. Those between are checked when they are read.
    fn read(db: &DB, path: &Path) -> io::Result<Self> {
        let failed = |error| rocks::fault("read the log in", path, &error);
        let purged = match get_meta(db, path, Meta::Purged)? {
            None => None,
            Some(mark) => {
                let index = mark
                    .first_chunk()
                    .ok_or_else(|| damaged(path, "the mark of the purged is too short"))?;
                Some(u64::from_be_bytes(*index))
            }
        };
        let least = purged.map_or(0, |purged| purged + 1);
        let mut empty = Self {
            first: least,
            next: least,
            purged: purged.is_some(),
            sizes: Sizes::new(least, least, 0),
        };

        let family = rocks::family(db, ENTRIES);
        let mut rows = db.raw_iterator_cf(family);
        let index = |item: Option<(&[u8], &[u8])>| -> io::Result<Option<u64>> {
            let Some((key, value)) = item else { return Ok(None) };
            let number =
                <[u8; 8]>::try_from(key).map_err(|_| damaged(path, "a key that is no entry's"))?;
            let number = u64::from_be_bytes(number);
            match unseal(key, value.to_vec()) {
                Some(_) => Ok(Some(number)),
                None => Err(damaged(path, format!("entry {number} has a wrong checksum"))),
            }
        };
        // Files that were dropped may have held the marks of older purges: what is before the
        // first entry is no entry, whether a row is there or not.
        rows.seek(least.to_be_bytes());
        let first = index(rows.item())?;
        rows.status().map_err(failed)?;
        let Some(first) = first else { return Ok(empty) };
        if purged.is_some() && first != least {
            return Err(damaged(path, format!("entry {least} is missing")));
        }
        rows.seek_to_last();
        let last = index(rows.item())?;
        rows.status().map_err(failed)?;
        let next = last.map_or(first, |last| last + 1);
        let (from, to) = (first.to_be_bytes(), next.to_be_bytes());
        let range = rocksdb::Range::new(&from, &to);
        let bytes = db.get_approximate_sizes_cf(family, &[range]).iter().sum();
        empty.first = first;
        empty.next = next;
        empty.sizes = Sizes::new(first, next, bytes);
        Ok(empty)
    }

    /// Lets an empty log begin at `first`.
    fn restart(&mut self, first: u64) {
        self.first = first;
        self.next = first;
        self.sizes = Sizes::new(first, first, 0);
    }
}

/// An `InvalidData` about the log in `path`, and what is to be done about it.
fn damaged(path: &Path, message: impl std::fmt::Display) -> io::Error {
    files::damaged(path, format!("{message}; {}", files::REBUILD))
}

/// Makes durable all that was written before.
fn sync(db: &DB) -> io::Result<()> {
    db.flush_wal(true).map_err(|error| rocks::fault("sync the log in", db.path(), &error))
}

fn get_meta(db: &DB, path: &Path, meta: Meta) -> io::Result<Option<Vec<u8>>> {
    let value = db
        .get_cf(rocks::family(db, META), meta.key())
        .map_err(|error| rocks::fault("read the log in", path, &error))?;
    let Some(value) = value else { return Ok(None) };
    unseal(meta.key(), value)
        .map(Some)
        .ok_or_else(|| damaged(path, format!("{meta:?} has a wrong checksum")))
}

/// Gives back what the entries up to `index`, which are purged, take: drops the files that hold no
/// others, and flushes the memtable, which writes the few entries that are left, and with it lets go
/// of the write-ahead log.
fn let_go_to(db: &DB, index: u64) {
    // Both ends are inclusive here.
    let (from, to) = (0u64.to_be_bytes(), index.to_be_bytes());
    let families = [ENTRIES, META].map(|name| rocks::family(db, name));
    let done = db
        .delete_file_in_range_cf(families[0], from, to)
        .and_then(|()| db.flush_cfs_opt(&families.each_ref(), &FlushOptions::default()));
    if let Err(error) = done {
        tracing::warn!(%error, "what purged entries take could not be given back");
    }
}

/// `bytes` with a checksum over `key` and them.
fn seal(key: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = checksum(key, &bytes);
    bytes.extend_from_slice(&crc);
    bytes
}

/// What was sealed under `key`, or `None` if it is not that.
fn unseal(key: &[u8], mut value: Vec<u8>) -> Option<Vec<u8>> {
    let crc = value.split_off(value.len().checked_sub(CRC_BYTES)?);
    (crc == checksum(key, &value)).then_some(value)
}

fn checksum(key: &[u8], bytes: &[u8]) -> [u8; CRC_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(bytes);
    crc.finalize().to_le_bytes()
}

/// The options of the instance, and of its column families.
fn options(write_buffer_bytes: usize) -> (Options, [(&'static str, Options); 2]) {
    let mut instance = rocks::options(Options::default());
    instance.create_if_missing(true);
    // A write goes to a buffer; the sync thread writes the buffer to the file and syncs it.
    instance.set_manual_wal_flush(true);
    // A write-ahead log written over an old one keeps its length and its blocks, so that a sync
    // writes data and no metadata.
    instance.set_recycle_log_file_num(wal::RECYCLED);
    // What is behind the last sync may be torn. It was never acknowledged, so recovery ends before
    // the first record that is not whole. The absolute mode would refuse a log torn by every power
    // cut; the modes that skip records would leave holes. Damage to a synced record of the newest
    // write-ahead log looks like a torn end, too: that it is none is told by `Synced`.
    instance.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // A write-ahead log that was closed in full and is now missing or shorter is an error.
    instance.set_track_and_verify_wals_in_manifest(true);

    let mut tables = BlockBasedOptions::default();
    // What is replicated is read from the memtable; files are read by restarts and laggards.
    tables.set_block_cache(&Cache::new_lru_cache(limits::LOG_CACHE_BYTES));
    tables.set_block_size(64 * 1024);

    let mut entries = Options::default();
    entries.set_block_based_table_factory(&tables);
    // Twice what is appended between two purges, so that it is a purge that has the memtable flushed,
    // when nearly all in it need not be written any more: entries go to the disk once.
    entries.set_write_buffer_size(write_buffer_bytes);
    // Two levels: what is flushed, and one run of what has waited longer. In the lower there is never
    // the mark of a deletion that something below still needs, so its files may be dropped whole.
    entries.set_num_levels(2);
    entries.set_level_zero_file_num_compaction_trigger(2);
    entries.set_target_file_size_base(write_buffer_bytes as u64);
    entries.set_compression_type(DBCompressionType::None);

    let mut meta = Options::default();
    meta.set_block_based_table_factory(&tables);
    // All memtables are flushed together: this one, too, is to wait for a purge.
    meta.set_write_buffer_size(write_buffer_bytes);
    (instance, [(ENTRIES, entries), (META, meta)])
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
