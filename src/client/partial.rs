//! Files that have their names only once they are whole and on the disk.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Refuses to replace a file unasked.
///
/// # Errors
/// `AlreadyExists`.
pub(super) fn check_free(file: &Path, force: bool) -> io::Result<()> {
    if !force && file.symlink_metadata().is_ok() {
        let message = "it is there already; --force replaces it";
        return Err(io::Error::new(ErrorKind::AlreadyExists, message));
    }
    Ok(())
}

/// A file that has not its name yet. Dropped before it has, it is removed.
pub(super) struct Partial {
    pub(super) file: File,
    path: PathBuf,
    wanted: PathBuf,
}

impl Partial {
    /// Creates `wanted`.partial, empty.
    ///
    /// # Errors
    /// If it cannot be written, or somebody else writes it.
    pub(super) fn create(wanted: &Path) -> io::Result<Self> {
        let mut path = wanted.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        // What another has left is of no use; but one that is under way is not to be disturbed.
        let options = File::options().write(true).create(true).truncate(false).open(&path);
        let file = options.map_err(named)?;
        file.try_lock().map_err(|_| named(io::Error::other("another run writes it")))?;
        file.set_len(0).map_err(named)?;
        Ok(Self { file, path, wanted: wanted.to_owned() })
    }

    /// Gives the file, which is synced, its name.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn finish(self) -> io::Result<()> {
        fs::rename(&self.path, &self.wanted)?;
        let folder = self.wanted.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is not there if it has got its name.
        let _ = fs::remove_file(&self.path);
    }
}
