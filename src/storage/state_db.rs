//! One RocksDB instance with the machine's tables, and reading it at one moment or another.
//!
//! It never flushes by itself, see [`super::current`]: it is told to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, CompactOptions, DB,
    DBCompressionType, FlushOptions, MemtableFactory, Options, ReadOptions, SliceTransform,
    WriteBatch, WriteBufferManager, properties,
};

use super::files;
use super::observe;
use super::rocks;
use super::state::StateOptions;
use crate::machine::{Machine, Row, Table, View};
use crate::metrics::gauges;

/// The column family of the store's own rows, which are no part of the machine's state.
const RAFT: &str = "raft";
const APPLIED: &[u8] = b"applied";
const MEMBERSHIP: &[u8] = b"membership";
/// There while rows are missing that the marks say to be there.
const PARTIAL: &[u8] = b"partial";

/// Where a state stands in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The index of the last entry applied.
    pub index: Option<u64>,
    /// What the caller keeps about that entry.
    pub applied: Option<Vec<u8>>,
    /// What the caller keeps about the last membership.
    pub membership: Option<Vec<u8>>,
}

/// The memory that all states of a node share, also while one replaces another.
pub(super) struct Memory {
    cache: Cache,
    write_buffers: WriteBufferManager,
    write_buffer_bytes: usize,
}

/// The size at which RocksDB would flush a memtable by itself: the largest that it takes.
const NEVER: usize = 64 << 30;

/// An open state. Fields are dropped in this order: the instance closes before its folder goes.
pub(super) struct StateDb {
    db: DB,
    /// Made once: it is asked for with every check whose cell is not cached.
    latest: ReadOptions,
    folder: Folder,
}

/// When a flush is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// There is room.
    Later,
    /// Half of what memtables may take is taken, so that there is room while it is flushed.
    Now,
    /// All of it: nothing more should be written before a flush has ended.
    Overdue,
}

/// A write of several rows, all or nothing.
pub(super) struct Batch<'a> {
    state: &'a StateDb,
    families: [&'a ColumnFamily; Table::ALL.len()],
    batch: WriteBatch,
}

/// The folder of a state, removed once nobody has the state open if another has taken its place.
struct Folder {
    path: PathBuf,
    superseded: AtomicBool,
}

/// The memtable of cells is full with such a part of what all may hold: a flush has to sort it, for as
/// long as that takes.
const CELLS_SHARE: usize = 8;

/// From which end a scan begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

impl Memory {
    pub(super) fn new(options: &StateOptions) -> Self {
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        // Memtables are charged to the cache, so that one number bounds both. Without a bound of its
        // own (0) it begins no flush.
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(0, false, cache.clone());
        Self { cache, write_buffers, write_buffer_bytes: options.write_buffer_bytes }
    }

    /// Sets the metrics of the cache.
    pub(super) fn observe(&self) {
        let bytes = i64::try_from(self.cache.get_usage()).unwrap_or(i64::MAX);
        gauges().block_cache_bytes.set(bytes);
    }

    /// Memtables of all tables together, before they are flushed.
    pub(super) fn write_buffer_bytes(&self) -> usize {
        self.write_buffer_bytes
    }

    fn families(&self) -> Vec<(&'static str, Options)> {
        let tables = |block_bytes| {
            let mut tables = BlockBasedOptions::default();
            tables.set_block_cache(&self.cache);
            tables.set_block_size(block_bytes);
            tables.set_bloom_filter(10.0, false);
            tables.set_whole_key_filtering(true);
            // Indexes and filters count against the cache, so memory does not grow with the rows. In
            // pieces, of which a read needs one: whole, a file's filter is as large as a megabyte,
            // and with more files than the cache holds filters of, each read would read one.
            tables.set_cache_index_and_filter_blocks(true);
            tables.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            tables.set_partition_filters(true);
            tables.set_metadata_block_size(4 * 1024);
            tables.set_pin_top_level_index_and_filter(true);
            tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
            tables
        };

        let mut family = Options::default();
        family.set_block_based_table_factory(&tables(8 * 1024));
        family.set_write_buffer_size(NEVER);
        // Memory is counted as it is allocated, in blocks of this size in every table: with blocks
        // of the default size, a few rows in each would look like full memtables and be flushed.
        family.set_arena_block_size((self.write_buffer_bytes / 256).max(4096));
        family.set_compression_type(DBCompressionType::Lz4);
        family.set_bottommost_compression_type(DBCompressionType::Zstd);
        // Rows that are read one by one: small blocks, and such as are quickly unpacked.
        let mut points = family.clone();
        points.set_block_based_table_factory(&tables(4 * 1024));
        points.set_bottommost_compression_type(DBCompressionType::Lz4);
        // The filter of a memtable is allocated whole with the memtable, so only these tables, which
        // are asked for keys that may be missing, have one.
        points.set_memtable_whole_key_filtering(true);
        // By that size, of which 2 % of what a memtable really holds is this part.
        let part = 0.02 * self.write_buffer_bytes as f64 / NEVER as f64;
        points.set_memtable_prefix_bloom_ratio(part);

        // Cells are never read in order while serving. In a sorted memtable each write would search
        // among all of them; here it goes to the few of its own bucket, that of the whole key.
        let mut cells = points.clone();
        cells.set_prefix_extractor(SliceTransform::create_noop());
        // Eight bytes each, which are part of the memtable: one for about ten rows.
        let bucket_count = (self.write_buffer_bytes / CELLS_SHARE / 1024).max(1);
        cells.set_memtable_factory(MemtableFactory::HashLinkList { bucket_count });

        let tables = Table::ALL.into_iter().map(|table| match table {
            Table::Cell => (table.name(), cells.clone()),
            Table::Object => (table.name(), points.clone()),
            _ => (table.name(), family.clone()),
        });
        tables.chain([(RAFT, family.clone())]).collect()
    }
}

impl StateDb {
    /// Opens the state in `path`; `create` makes an empty one if there is none.
    pub(super) fn open(path: &Path, create: bool, memory: &Memory) -> io::Result<Self> {
        // To close it must not be to flush it: see `current.rs`. There is no method for this one.
        let options =
            Options::default().get_options_from_string("avoid_flush_during_shutdown=true");
        let options = options.map_err(|error| rocks::fault("open the state in", path, &error))?;
        let mut options = rocks::options(options);
        options.create_if_missing(create);
        // There is one writer, and a memtable of buckets takes no more.
        options.set_allow_concurrent_memtable_write(false);
        options.set_write_buffer_manager(&memory.write_buffers);
        let db = DB::open_cf_with_opts(&options, path, memory.families())
            .map_err(|error| rocks::fault("open the state in", path, &error))?;
        let folder = Folder { path: path.to_owned(), superseded: AtomicBool::new(false) };
        Ok(Self { db, latest: ReadOptions::default(), folder })
    }

    pub(super) fn db(&self) -> &DB {
        &self.db
    }

    fn table(&self, table: Table) -> &ColumnFamily {
        rocks::family(&self.db, table.name())
    }

    fn raft(&self) -> &ColumnFamily {
        rocks::family(&self.db, RAFT)
    }

    /// A row, as of the moment that `options` name.
    pub(super) fn get(
        &self,
        table: Table,
        key: &[u8],
        options: &ReadOptions,
    ) -> io::Result<Option<Vec<u8>>> {
        let value = self.db.get_pinned_cf_opt(self.table(table), key, options);
        Ok(value.map_err(|error| self.fault("read the state in", &error))?.map(|row| row.to_vec()))
    }

    /// A row as it is now.
    pub(super) fn latest(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.get(table, key, &self.latest)
    }

    /// Calls `each` with the rows from `from` (inclusive) to `to` (exclusive), as of the moment
    /// that `options` name, until it returns false. No `to` is the end of the table.
    pub(super) fn each(
        &self,
        table: Table,
        (from, to): (&[u8], Option<&[u8]>),
        direction: Direction,
        mut options: ReadOptions,
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> io::Result<()> {
        // Rows come in their order also where the memtable keeps none.
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(from);
        if let Some(to) = to {
            if from >= to {
                return Ok(());
            }
            options.set_iterate_upper_bound(to);
        }
        let mut rows = self.db.raw_iterator_cf_opt(self.table(table), options);
        match direction {
            Direction::Ascending => rows.seek_to_first(),
            Direction::Descending => rows.seek_to_last(),
        }
        while let Some((key, value)) = rows.item() {
            if !each(key, value) {
                return Ok(());
            }
            match direction {
                Direction::Ascending => rows.next(),
                Direction::Descending => rows.prev(),
            }
        }
        rows.status().map_err(|error| self.fault("read the state in", &error))
    }

    /// At most `limit` rows of a range, as of the moment that `options` name.
    pub(super) fn scan(
        &self,
        table: Table,
        (from, to): (&[u8], &[u8]),
        limit: usize,
        direction: Direction,
        options: ReadOptions,
    ) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        if limit > 0 {
            self.each(table, (from, Some(to)), direction, options, |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                rows.len() < limit
            })?;
        }
        Ok(rows)
    }

    /// The values of `keys`, which ascend, as of the moment that `options` name: by one iterator, for
    /// which the next key is as a rule in the block that it has, or in one near by.
    pub(super) fn get_each(
        &self,
        table: Table,
        keys: &[Vec<u8>],
        mut options: ReadOptions,
    ) -> io::Result<Vec<Option<Vec<u8>>>> {
        options.set_total_order_seek(true);
        let mut rows = self.db.raw_iterator_cf_opt(self.table(table), options);
        let values = keys.iter().map(|wanted| {
            rows.seek(wanted);
            match rows.item() {
                Some((key, value)) => Ok((key == &wanted[..]).then(|| value.to_vec())),
                None => rows.status().map(|()| None),
            }
        });
        let values: Result<_, _> = values.collect();
        values.map_err(|error| self.fault("read the state in", &error))
    }

    /// Where the state stands, as of the moment that `options` name.
    pub(super) fn marks(&self, options: ReadOptions) -> io::Result<Marks> {
        let mut marks = Marks::default();
        // One iterator, so that both rows are of one moment.
        let mut rows = self.db.raw_iterator_cf_opt(self.raft(), options);
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            match key {
                APPLIED => {
                    let (index, applied) = value.split_first_chunk().ok_or_else(|| {
                        files::damaged(&self.folder.path, "the applied mark is too short")
                    })?;
                    marks.index = Some(u64::from_be_bytes(*index));
                    marks.applied = Some(applied.to_vec());
                }
                MEMBERSHIP => marks.membership = Some(value.to_vec()),
                PARTIAL => {
                    let message = format!("it is the state of no entry; {}", files::REBUILD);
                    return Err(files::damaged(&self.folder.path, message));
                }
                _ => return Err(files::damaged(&self.folder.path, "a mark of unknown name")),
            }
            rows.next();
        }
        rows.status().map_err(|error| self.fault("read the state in", &error))?;
        Ok(marks)
    }

    /// Sets the metrics of the instance and of its tables.
    pub(super) fn observe(&self) -> io::Result<()> {
        let tables = Table::ALL.map(|table| self.table(table));
        observe::instance("state", &self.db, &[&tables[..], &[self.raft()]].concat())?;
        for (table, family) in Table::ALL.into_iter().zip(tables) {
            observe::table(table.name(), &self.db, family)?;
        }
        Ok(())
    }

    /// Begins a write of several rows.
    pub(super) fn batch(&self) -> Batch<'_> {
        let families = Table::ALL.map(|table| self.table(table));
        Batch { state: self, families, batch: WriteBatch::default() }
    }

    /// When a flush is due, if memtables may take so many bytes.
    pub(super) fn due(&self, write_buffer_bytes: usize) -> io::Result<Due> {
        let bytes = |family| {
            let bytes =
                self.db.property_int_value_cf(family, properties::CUR_SIZE_ACTIVE_MEM_TABLE);
            bytes.map_err(|error| self.fault("read the state in", &error))
        };
        let bound = write_buffer_bytes as u64;
        let cells = bytes(self.table(Table::Cell))?.unwrap_or(0);
        let mut all = bytes(self.raft())?.unwrap_or(0) + cells;
        for table in Table::ALL.into_iter().filter(|table| *table != Table::Cell) {
            all += bytes(self.table(table))?.unwrap_or(0);
        }
        Ok(if all >= bound {
            Due::Overdue
        } else if all >= bound / 2 || cells >= bound / CELLS_SHARE as u64 {
            Due::Now
        } else {
            Due::Later
        })
    }

    /// Brings all tables to the disk, as of one moment.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut families: Vec<_> = Table::ALL.into_iter().map(|table| self.table(table)).collect();
        families.push(self.raft());
        let families: Vec<_> = families.iter().collect();
        self.db
            .flush_cfs_opt(&families, &FlushOptions::default())
            .map_err(|error| self.fault("flush the state in", &error))
    }

    /// Makes a checkpoint in `into`, which must not be there, and tells where it stands: writes go
    /// on meanwhile, so that is to be read from the checkpoint itself.
    pub(super) fn checkpoint(&self, into: &Path) -> io::Result<Marks> {
        let failed = |error| self.fault("make a checkpoint of the state in", &error);
        Checkpoint::new(&self.db).and_then(|of| of.create_checkpoint(into)).map_err(failed)?;
        look_into(into, &[RAFT], |checkpoint| checkpoint.marks(ReadOptions::default()))
    }

    /// Gives back the disk space of a range that was deleted.
    ///
    /// By a compaction, which reads the deleted rows once more, and not by dropping files, which
    /// would not: the files hold what an open snapshot may still read, and the deletion itself may
    /// be in one of them while older rows that it hides are in another.
    pub(super) fn compact(&self, table: Table, from: &[u8], to: &[u8]) {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        self.db.compact_range_cf_opt(self.table(table), Some(from), Some(to), &options);
    }

    /// Ends compactions. Nothing may be written after this.
    pub(super) fn stop(&self) {
        self.db.cancel_all_background_work(true);
    }

    /// Has the folder removed when the state is closed by the last who has it open.
    pub(super) fn supersede(&self) {
        self.folder.superseded.store(true, Ordering::Release);
    }

    fn fault(&self, attempt: &str, error: &rocksdb::Error) -> io::Error {
        rocks::fault(attempt, &self.folder.path, error)
    }
}

impl Batch<'_> {
    /// Sets a row or, without a value, removes it.
    pub(super) fn set(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        let family = self.families[table as usize];
        match value {
            Some(value) => self.batch.put_cf(family, key, value),
            None => self.batch.delete_cf(family, key),
        }
    }

    /// Removes the rows from `from` (inclusive) to `to` (exclusive).
    pub(super) fn remove_range(&mut self, table: Table, from: &[u8], to: &[u8]) {
        self.batch.delete_range_cf(self.families[table as usize], from, to);
    }

    /// How many bytes are written.
    pub(super) fn bytes(&self) -> usize {
        self.batch.size_in_bytes()
    }

    /// Says whether rows are missing.
    pub(super) fn mark_partial(&mut self, is_partial: bool) {
        match is_partial {
            true => self.batch.put_cf(self.state.raft(), PARTIAL, []),
            false => self.batch.delete_cf(self.state.raft(), PARTIAL),
        }
    }

    /// Sets where the state stands.
    pub(super) fn mark(&mut self, marks: &Marks) {
        if let (Some(index), Some(applied)) = (marks.index, &marks.applied) {
            let applied = [&index.to_be_bytes()[..], applied].concat();
            self.batch.put_cf(self.state.raft(), APPLIED, applied);
        }
        if let Some(membership) = &marks.membership {
            self.batch.put_cf(self.state.raft(), MEMBERSHIP, membership);
        }
    }

    /// Writes it to memory. It is on disk after the next flush.
    pub(super) fn write(self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let written = self.state.db.write_without_wal(self.batch);
        written.map_err(|error| self.state.fault("write to the state in", &error))
    }
}

/// The machine in a checkpoint.
pub(super) fn machine_at(checkpoint: &Path) -> io::Result<Machine> {
    struct Tables<'a>(&'a StateDb);

    impl View for Tables<'_> {
        fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
            self.0.latest(table, key)
        }

        fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
            self.0.scan(table, (from, to), limit, Direction::Ascending, ReadOptions::default())
        }
    }

    // Those that a machine is loaded from.
    let tables = [Table::Register, Table::Session, Table::Answer].map(Table::name);
    look_into(checkpoint, &tables, |checkpoint| Machine::load(&Tables(checkpoint)))
}

/// Reads from a checkpoint, and leaves it as it is.
fn look_into<T>(
    checkpoint: &Path,
    families: &[&str],
    look: impl FnOnce(&StateDb) -> io::Result<T>,
) -> io::Result<T> {
    let db = DB::open_cf_for_read_only(&Options::default(), checkpoint, families, false)
        .map_err(|error| rocks::fault("open the checkpoint in", checkpoint, &error))?;
    let folder = Folder { path: checkpoint.to_owned(), superseded: AtomicBool::new(false) };
    let db = StateDb { db, latest: ReadOptions::default(), folder };
    let seen = look(&db)?;
    drop(db);
    // What opening it left behind: RocksDB's diary, no part of the checkpoint.
    for name in files::names(checkpoint)?.iter().filter(|name| name.starts_with("LOG")) {
        let path = checkpoint.join(name);
        std::fs::remove_file(&path).map_err(|error| files::fault("remove", &path, error))?;
    }
    Ok(seen)
}

impl Drop for Folder {
    fn drop(&mut self) {
        if *self.superseded.get_mut()
            && let Err(error) = files::remove_dir(&self.path)
        {
            tracing::warn!(%error, "the folder of a replaced state stays until the next start");
        }
    }
}
