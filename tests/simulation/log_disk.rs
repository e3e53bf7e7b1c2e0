//! The log of one process on its node's simulated disk. What it refuses, `storage/log.rs` refuses.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use tallykeep::storage::{Done, Flushed, LogStorage, Meta};

use crate::disk::{Disk, LogDisk, LogWrite};
use crate::life::Life;
use crate::world::lock;

/// See [`LogStorage`].
pub struct ProcessLog {
    disk: Disk,
    life: Arc<Life>,
    flushed: Flushed,
}

impl ProcessLog {
    /// The log on `disk`; `flushed` tells how far it may be purged.
    pub fn open(disk: Disk, life: Arc<Life>, flushed: Flushed) -> Self {
        Self { disk, life, flushed }
    }

    fn write(&self, write: LogWrite) -> io::Result<()> {
        self.life.check()?;
        lock(&self.disk.log).write(write);
        Ok(())
    }

    fn log(&self) -> std::sync::MutexGuard<'_, LogDisk> {
        lock(&self.disk.log)
    }
}

/// The index that the next append must have; none if any may come.
fn next(log: &LogDisk) -> Option<u64> {
    let behind_last = log.read.entries.last_key_value().map(|(last, _)| last + 1);
    behind_last.or(log.read.purged.as_ref().map(|(purged, _)| purged + 1))
}

fn name(meta: Meta) -> &'static str {
    match meta {
        Meta::Vote => "vote",
        Meta::Committed => "committed",
        Meta::Purged => "purged",
    }
}

fn misplaced(index: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("entry {index} may not come here"))
}

impl LogStorage for ProcessLog {
    fn append(&self, entries: Vec<(u64, Vec<u8>)>, done: Done) -> io::Result<()> {
        self.life.check()?;
        for (index, entry) in entries {
            if next(&self.log()).is_some_and(|next| next != index) {
                return Err(misplaced(index));
            }
            self.write(LogWrite::Append(index, entry))?;
        }
        self.disk.sync(done);
        Ok(())
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        self.life.check()?;
        let log = self.log();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        if range.is_empty() {
            return Ok(entries);
        }
        for (index, entry) in log.read.entries.range(range) {
            bytes += entry.len();
            entries.push((*index, entry.clone()));
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(entries)
    }

    fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        self.life.check()?;
        let log = self.log();
        Ok(log.read.entries.last_key_value().map(|(index, entry)| (*index, entry.clone())))
    }

    fn truncate_from(&self, index: u64) -> io::Result<()> {
        if self.purged_to().is_some_and(|purged| index <= purged) {
            return Err(misplaced(index));
        }
        self.write(LogWrite::Truncate(index))
    }

    fn purge_to(&self, index: u64, mark: &[u8]) -> io::Result<()> {
        if !self.flushed.covers(index) {
            return Err(misplaced(index));
        }
        if self.purged_to().is_some_and(|purged| index <= purged) {
            return Ok(());
        }
        self.write(LogWrite::Purge(index, mark.to_vec()))?;
        self.disk.sync(Box::new(|_| ()));
        Ok(())
    }

    fn put_meta(&self, meta: Meta, bytes: &[u8]) -> io::Result<()> {
        self.write(LogWrite::Meta(name(meta), bytes.to_vec()))
    }

    fn put_meta_synced(&self, meta: Meta, bytes: &[u8], done: Done) -> io::Result<()> {
        self.put_meta(meta, bytes)?;
        self.disk.sync(done);
        Ok(())
    }

    fn get_meta(&self, meta: Meta) -> io::Result<Option<Vec<u8>>> {
        self.life.check()?;
        let log = self.log();
        Ok(match meta {
            Meta::Purged => log.read.purged.as_ref().map(|(_, mark)| mark.clone()),
            Meta::Vote | Meta::Committed => log.read.metas.get(name(meta)).cloned(),
        })
    }

    fn purged_to(&self) -> Option<u64> {
        self.log().read.purged.as_ref().map(|(index, _)| *index)
    }

    fn sync(&self, done: Done) -> io::Result<()> {
        self.life.check()?;
        self.disk.sync(done);
        Ok(())
    }

    fn bytes_since(&self, index: u64) -> u64 {
        let log = self.log();
        log.read.entries.range(index..).map(|(_, entry)| entry.len() as u64).sum()
    }

    fn close(&self) -> io::Result<()> {
        self.life.check()?;
        self.disk.sync_all();
        Ok(())
    }
}
