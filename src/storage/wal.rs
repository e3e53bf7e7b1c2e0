//! Write-ahead logs of their full length from the first sync on.
//!
//! A sync of a file that has grown writes the file system's journal as well, and the commit of the
//! journal waits for what else is being written. A sync of blocks that were written before is the
//! data alone. RocksDB writes its write-ahead logs over old ones ("recycles" them), but only over
//! those that it has made since it was opened: so at the opening two are made, of the length that
//! they will have, and from then on they take turns.

use std::io;

use rocksdb::{ColumnFamily, DB, FlushOptions, WriteBatch};

use super::rocks;

/// The one that is written, and the one that is flushed meanwhile.
pub(super) const RECYCLED: usize = 2;
/// What is written at once. No more than an entry or so: file systems keep what came in one piece as one
/// large folio in memory, and then walk all its blocks for each small write into it.
const PIECE_BYTES: usize = 16 * 1024;
/// No row of this key is ever there: its deletion gives a flush something to do.
const NOTHING: &[u8] = b"nothing";

/// Makes [`RECYCLED`] write-ahead logs of at least `bytes` and has the first of them take over from
/// the log that `db` was opened with. `families` are all families of `db`.
///
/// # Errors
/// If they cannot be written.
pub(super) fn lengthen(db: &DB, families: &[&ColumnFamily], bytes: usize) -> io::Result<()> {
    let failed = |error| rocks::fault("lengthen the write-ahead logs of", db.path(), &error);
    let blank = vec![0; PIECE_BYTES.min(bytes)];
    for _ in 0..RECYCLED {
        for _ in 0..bytes.div_ceil(PIECE_BYTES) {
            let mut batch = WriteBatch::default();
            batch.put_log_data(&blank);
            db.write(batch).map_err(failed)?;
            db.flush_wal(false).map_err(failed)?;
        }
        let mut batch = WriteBatch::default();
        batch.delete_cf(families[0], NOTHING);
        db.write(batch).map_err(failed)?;
        db.flush_wal(true).map_err(failed)?;
        // Ends this log: it is of no more use, and so the next but one is written over it.
        db.flush_cfs_opt(&families.iter().collect::<Vec<_>>(), &FlushOptions::default())
            .map_err(failed)?;
    }
    Ok(())
}
