//! How much space the disk of the data folder has left.

use std::io;
use std::path::Path;

/// Bytes that may still be written to the file system of `dir` by a process without privileges.
///
/// # Errors
/// If there is no such folder.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_on_a_disk_and_nowhere_is_an_error() {
        let dir = tempfile::TempDir::new().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        let nowhere = free_bytes(&dir.path().join("nowhere")).unwrap_err();
        assert_eq!(nowhere.kind(), io::ErrorKind::NotFound);
    }
}
