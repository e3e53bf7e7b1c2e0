//! Small helpers over files and folders that make a change durable, or say which path failed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// `error` with what was attempted and on which path.
pub(super) fn fault(attempt: &str, path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {attempt} {}: {error}", path.display()))
}

/// What to do about damage to what a node holds.
pub(super) const REBUILD: &str = "to rebuild this node from its peers end it, remove its data folder \
    and start it again, while a majority of the others runs";

/// An `InvalidData` about `path`.
pub(super) fn damaged(path: &Path, message: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {message}", path.display()))
}

pub(super) fn create_dirs(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path).map_err(|error| fault("create the folder", path, error))
}

/// Makes the names in a folder durable: a new or renamed file may vanish in a power cut before.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| fault("sync the folder", path, error))
}

/// Makes a file's contents durable.
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| fault("sync", path, error))
}

/// Writes a file and makes its contents durable. Its name is not, until its folder is synced.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| fault("write", path, error))
}

/// Moves `from` to `to`, which is in the folder `parent`, durably.
pub(super) fn rename_synced(from: &Path, to: &Path, parent: &Path) -> io::Result<()> {
    fs::rename(from, to).map_err(|error| fault("rename to", to, error))?;
    sync_dir(parent)
}

/// Replaces the file `name` in `dir`: after a crash it has either the old contents or the new.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let next = dir.join(format!("{name}.next"));
    write_synced(&next, bytes)?;
    rename_synced(&next, &dir.join(name), dir)
}

/// Reads a file whole, or `None` if there is none.
pub(super) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault("read", path, error)),
    }
}

/// Removes a folder with all that is in it, if it is there.
pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(fault("remove the folder", path, error))
        }
        _ => Ok(()),
    }
}

/// The names in a folder, sorted.
pub(super) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let failed = |error| fault("list the folder", dir, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        names.push(name.into_string().map_err(|name| damaged(dir, format!("a name {name:?}")))?);
    }
    names.sort_unstable();
    Ok(names)
}

/// The length of a file and the CRC-32 of all its bytes.
pub(super) fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let sum = || {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 256 * 1024];
        let (mut bytes, mut crc) = (0, crc32fast::Hasher::new());
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((bytes, crc.finalize())),
                read => {
                    crc.update(&buffer[..read]);
                    bytes += read as u64;
                }
            }
        }
    };
    sum().map_err(|error| fault("read", path, error))
}

/// What a node finds after it was killed: the files as they are while it still runs.
#[cfg(test)]
pub(super) fn killed(dir: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        for name in names(from).expect("a folder") {
            let (from, to) = (from.join(&name), to.join(&name));
            if from.is_dir() {
                fs::create_dir(&to).expect("a new name");
                copy(&from, &to);
            } else if let Err(error) = fs::copy(&from, to) {
                // RocksDB deletes in the background what it no longer needs.
                assert_eq!(error.kind(), io::ErrorKind::NotFound, "{}", from.display());
            }
        }
    }
    let to = tempfile::TempDir::new().expect("a temporary folder");
    copy(dir, to.path());
    to
}
