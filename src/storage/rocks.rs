//! What the two RocksDB instances have in common: their errors and their basic options.

use std::io;
use std::path::Path;

use rocksdb::{ColumnFamily, DB, ErrorKind, LogLevel, Options};

use super::files;

/// RocksDB's error as an IO error that names the instance and what was attempted.
pub(super) fn fault(attempt: &str, path: &Path, error: &rocksdb::Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::Corruption => io::ErrorKind::InvalidData,
        _ if error.as_ref().contains("No space left") => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    let mut message = format!("cannot {attempt} {}: {error}", path.display());
    if kind == io::ErrorKind::InvalidData {
        message = format!("{message}; {}", files::REBUILD);
    }
    io::Error::new(kind, message)
}

/// A column family that was opened with the instance.
pub(super) fn family<'a>(db: &'a DB, name: &str) -> &'a ColumnFamily {
    db.cf_handle(name).expect("every column family is opened with its instance")
}

/// `options` of an instance with what both have.
pub(super) fn options(mut options: Options) -> Options {
    options.create_missing_column_families(true);
    // All column families reach the disk together. The state needs it, having no write-ahead log;
    // in the log it lets go of a write-ahead log as soon as the entries in it are flushed, where
    // the rarely flushed family beside them would hold on to it.
    options.set_atomic_flush(true);
    // One flush and one compaction: the cores are for serving.
    options.set_max_background_jobs(2);
    // Old memtables and files are let go of in the background, not by the reader who held them.
    options.set_avoid_unnecessary_blocking_io(true);
    // What a flush or a compaction writes goes to the disk as it is written, not all at its end, when
    // the log's syncs would wait behind it.
    options.set_bytes_per_sync(1024 * 1024);
    // RocksDB's own diary, bounded.
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(1024 * 1024);
    options.set_stats_dump_period_sec(0);
    options
}
