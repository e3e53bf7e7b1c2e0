//! A data folder into which a backup is being put: it is no node's before that is complete.
//!
//! The file `RESTORING` is there first and goes last. While it is there a node does not start on the
//! folder, whatever else is in it, and a restore may begin anew: so one that ended in its midst
//! leaves nothing that could be taken for a node's data. All this is done in the folder itself, and
//! not beside it with a rename at the end, because the folder may be where a disk is mounted.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::files;

const MARKER: &str = "RESTORING";
/// In the topmost folder of some file systems, and nobody's.
const LOST_AND_FOUND: &str = "lost+found";

/// A data folder that is being restored. Dropped before it is finished, it is emptied again.
pub struct Restoring {
    dir: PathBuf,
    /// Locked: a second restore has to keep away.
    marker: File,
    /// Whether the folder was not there before.
    is_new: bool,
    is_finished: bool,
}

impl Restoring {
    /// Begins in `dir`, which is made if it is not there, and must otherwise be empty or what another
    /// restore has left.
    ///
    /// # Errors
    /// `AlreadyExists` if there is data in it, and nothing was touched; `WouldBlock` if another
    /// restore is under way there; or if the folder cannot be written.
    pub fn begin(dir: &Path) -> io::Result<Self> {
        let is_new = !dir.exists();
        files::create_dirs(dir)?;
        if is_new && let Some(parent) = dir.parent().filter(|parent| parent.is_dir()) {
            files::sync_dir(parent)?;
        }
        let names = names(dir)?;
        if !names.is_empty() && !names.iter().any(|name| name == MARKER) {
            let message = format!(
                "{} is not empty: a backup is put in an empty data folder, of a node that is new",
                dir.display()
            );
            return Err(io::Error::new(ErrorKind::AlreadyExists, message));
        }
        let path = dir.join(MARKER);
        let marker = File::create(&path).map_err(|error| files::fault("create", &path, error))?;
        marker.try_lock().map_err(|_| {
            let message = format!("another restore is under way in {}", dir.display());
            io::Error::new(ErrorKind::WouldBlock, message)
        })?;
        files::sync_file(&path)?;
        files::sync_dir(dir)?;
        let restoring = Self { dir: dir.to_owned(), marker, is_new, is_finished: false };
        restoring.empty()?;
        Ok(restoring)
    }

    /// Gives the folder to its node. All that is in it must be synced.
    ///
    /// # Errors
    /// If the folder cannot be written: whether a node starts on it is then not known.
    pub fn finish(mut self) -> io::Result<()> {
        files::sync_dir(&self.dir)?;
        // From here on it may be a node's, and is not to be emptied.
        self.is_finished = true;
        self.remove_marker()
    }

    /// Refuses a data folder in which a restore has ended in its midst.
    ///
    /// # Errors
    /// `InvalidData`, with what to do.
    pub fn refuse(dir: &Path) -> io::Result<()> {
        if dir.join(MARKER).exists() {
            return Err(files::damaged(
                dir,
                "a backup was being restored here and that did not come to its end: restore it again",
            ));
        }
        Ok(())
    }

    /// Removes everything but the marker.
    fn empty(&self) -> io::Result<()> {
        for name in names(&self.dir)?.iter().filter(|name| *name != MARKER) {
            let path = self.dir.join(name);
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|error| files::fault("remove", &path, error))?;
        }
        files::sync_dir(&self.dir)
    }

    fn remove_marker(&self) -> io::Result<()> {
        let path = self.dir.join(MARKER);
        fs::remove_file(&path).map_err(|error| files::fault("remove", &path, error))?;
        files::sync_dir(&self.dir)
    }

    fn undo(&self) -> io::Result<()> {
        self.empty()?;
        self.remove_marker()?;
        if self.is_new { fs::remove_dir(&self.dir) } else { Ok(()) }
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = self.undo()
        {
            let path = self.dir.display();
            tracing::warn!(%error, %path, "what was restored in part stays until the next restore");
        }
        // Let go of last.
        let _ = self.marker.unlock();
    }
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = files::names(dir)?;
    names.retain(|name| name != LOST_AND_FOUND);
    Ok(names)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_folder_is_nobodys_until_the_restore_is_finished() {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("data");
        Restoring::refuse(&dir).unwrap();
        let restoring = Restoring::begin(&dir).unwrap();
        fs::create_dir(dir.join("state")).unwrap();
        let refused = Restoring::refuse(&dir).unwrap_err();
        assert!(refused.to_string().contains("restore it again"), "{refused}");
        let second = Restoring::begin(&dir).err().unwrap();
        assert_eq!(second.kind(), ErrorKind::WouldBlock);
        restoring.finish().unwrap();
        Restoring::refuse(&dir).unwrap();
        assert_eq!(files::names(&dir).unwrap(), ["state"]);
    }

    #[test]
    fn what_is_given_up_is_as_it_was() {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("data");
        let restoring = Restoring::begin(&dir).unwrap();
        fs::create_dir(dir.join("state")).unwrap();
        drop(restoring);
        assert!(!dir.exists());
        fs::create_dir_all(dir.join(LOST_AND_FOUND)).unwrap();
        drop(Restoring::begin(&dir).unwrap());
        assert_eq!(files::names(&dir).unwrap(), [LOST_AND_FOUND]);
    }

    #[test]
    fn data_is_refused_and_what_a_dead_restore_has_left_is_not() {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("state/1")).unwrap();
        fs::write(dir.path().join("REJOINING"), b"").unwrap();
        let refused = Restoring::begin(dir.path()).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
        assert_eq!(files::names(dir.path()).unwrap(), ["REJOINING", "state"]);
        fs::write(dir.path().join(MARKER), b"").unwrap();
        let restoring = Restoring::begin(dir.path()).unwrap();
        assert_eq!(files::names(dir.path()).unwrap(), [MARKER]);
        restoring.finish().unwrap();
    }
}
