//! How far the log was on disk, kept beside it: so that a log that has lost something is known from one
//! that was torn.
//!
//! What is behind the last sync may be torn by a crash, and recovery ends before the first record of
//! the write-ahead log that is not whole. Damage to a record that *was* synced would end it just so,
//! and a node would have forgotten what it has acknowledged. Hence this mark: the sequence number that
//! RocksDB had given to its last write when a sync began that has succeeded. A log that comes back
//! with a lower one is damaged.
//!
//! The mark is written after each sync and not synced itself: a power cut may bring back an older one,
//! which is true too.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::files;

const NAME: &str = "SYNCED";
const NUMBER_BYTES: usize = size_of::<u64>();
const MARK_BYTES: usize = NUMBER_BYTES + size_of::<u32>();

/// The mark of one log.
pub(super) struct Synced {
    path: PathBuf,
    file: File,
}

impl Synced {
    /// The mark of the log in `dir`, which came back with its writes up to `sequence`.
    ///
    /// # Errors
    /// `InvalidData` if more than that was on disk before; or if the mark cannot be read or written.
    pub(super) fn open(dir: &Path, sequence: u64) -> io::Result<Self> {
        let path = dir.join(NAME);
        match files::read_if_there(&path)?.as_deref().map(number) {
            None => {}
            Some(Some(synced)) if synced <= sequence => {}
            Some(Some(synced)) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{synced} writes were on disk, and {sequence} are left"),
                ));
            }
            // It is torn, or was damaged itself: it says nothing about the log.
            Some(None) => tracing::warn!(path = %path.display(), "an unreadable mark is made anew"),
        }
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| files::fault("open", &path, error))?;
        let synced = Self { path, file };
        synced.note(sequence)?;
        Ok(synced)
    }

    /// Notes that the writes up to `sequence` are on disk.
    ///
    /// # Errors
    /// If the mark cannot be written.
    pub(super) fn note(&self, sequence: u64) -> io::Result<()> {
        let mut mark = [0; MARK_BYTES];
        let number = sequence.to_le_bytes();
        mark[..NUMBER_BYTES].copy_from_slice(&number);
        mark[NUMBER_BYTES..].copy_from_slice(&crc32fast::hash(&number).to_le_bytes());
        let written = self.file.write_all_at(&mark, 0);
        written.map_err(|error| files::fault("write", &self.path, error))
    }
}

/// The number that a mark holds, if it is whole.
fn number(mark: &[u8]) -> Option<u64> {
    let (number, crc) = mark.split_first_chunk::<NUMBER_BYTES>()?;
    (crc == crc32fast::hash(number).to_le_bytes()).then_some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_comes_back_with_less_is_damaged() {
        let dir = tempfile::TempDir::new().unwrap();
        let synced = Synced::open(dir.path(), 3).unwrap();
        synced.note(7).unwrap();
        drop(synced);
        let error = Synced::open(dir.path(), 6).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("7 writes were on disk, and 6 are left"), "{error}");
        Synced::open(dir.path(), 7).unwrap();
        // More than was noted: the node ended between a sync and its mark.
        Synced::open(dir.path(), 9).unwrap();
        assert!(Synced::open(dir.path(), 8).is_err());
    }

    #[test]
    fn a_torn_mark_says_nothing() {
        let dir = tempfile::TempDir::new().unwrap();
        Synced::open(dir.path(), 5).unwrap();
        for torn in [&b""[..], &[5, 0, 0], &[5; MARK_BYTES]] {
            std::fs::write(dir.path().join(NAME), torn).unwrap();
            Synced::open(dir.path(), 2).unwrap();
        }
        assert!(Synced::open(dir.path(), 1).is_err(), "it was made anew");
    }
}
