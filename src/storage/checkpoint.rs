//! A checkpoint's manifest: which files it has, so that it can be sent and checked.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use crate::codec;
use crate::limits;

/// The manifest's file, beside the files that it lists.
const MANIFEST: &str = "CHECKPOINT";
const NAME_BYTES_MAX: usize = 255;

/// What a checkpoint consists of. Stored beside its files behind a CRC-32, and sent before them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the caller keeps about the checkpoint.
    pub meta: Vec<u8>,
    /// Every file, by name, ascending.
    pub files: Vec<FileEntry>,
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// A plain file name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The CRC-32 of all its bytes.
    pub crc32: u32,
}

impl Manifest {
    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// The file of that name.
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        let found = self.files.binary_search_by(|file| file.name.as_str().cmp(name)).ok()?;
        self.files.get(found)
    }

    /// Refuses names that are not plain, that come twice, and more files than any state has: a
    /// manifest may come from another machine.
    ///
    /// # Errors
    /// `InvalidData`.
    pub fn check(&self) -> io::Result<()> {
        let invalid = |message| Err(io::Error::new(io::ErrorKind::InvalidData, message));
        if self.files.len() > limits::SNAPSHOT_FILES_MAX {
            return invalid(format!("a checkpoint of {} files", self.files.len()));
        }
        for file in &self.files {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let fits = (1..=NAME_BYTES_MAX).contains(&file.name.len());
            if !fits || !file.name.bytes().all(plain) || file.name.starts_with('.') {
                return invalid(format!("a checkpoint's file named {:?}", file.name));
            }
            if file.name == MANIFEST {
                return invalid("a checkpoint's manifest that lists itself".to_owned());
            }
        }
        if !self.files.is_sorted_by(|a, b| a.name < b.name) {
            return invalid("a checkpoint's files that are not in order".to_owned());
        }
        Ok(())
    }
}

/// Makes the manifest of the files in `dir`, and writes it beside them, durably.
///
/// Every file is read once for its checksum, save those that are the same file (a hard link) as in
/// the checkpoint `earlier`: a table's file never changes, so most of a large state was read before.
///
/// # Errors
/// If the files cannot be read or the manifest cannot be written.
pub(super) fn write_manifest(
    dir: &Path,
    meta: Vec<u8>,
    earlier: Option<(&Path, &Manifest)>,
) -> io::Result<Manifest> {
    let mut manifest = Manifest { meta, files: Vec::new() };
    for name in files::names(dir)?.into_iter().filter(|name| name != MANIFEST) {
        let known = earlier.and_then(|(earlier, known)| {
            let known = known.file(&name)?;
            same_file(&dir.join(&name), &earlier.join(&name)).then_some((known.bytes, known.crc32))
        });
        let (bytes, crc32) = match known {
            Some(known) => known,
            None => files::checksum(&dir.join(&name))?,
        };
        manifest.files.push(FileEntry { name, bytes, crc32 });
    }
    manifest.check()?;
    store_manifest(dir, &manifest)?;
    Ok(manifest)
}

/// Writes a manifest and makes it durable, and with it the names of the files in `dir`.
pub(super) fn store_manifest(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut bytes = codec::encode(manifest);
    let crc = crc32fast::hash(&bytes).to_le_bytes();
    bytes.extend_from_slice(&crc);
    files::write_synced(&dir.join(MANIFEST), &bytes)?;
    files::sync_dir(dir)
}

/// Reads the manifest in `dir`.
///
/// # Errors
/// If there is none (`NotFound`), or it is damaged (`InvalidData`).
pub(super) fn read_manifest(dir: &Path) -> io::Result<Manifest> {
    let path = dir.join(MANIFEST);
    let bytes = fs::read(&path).map_err(|error| files::fault("read", &path, error))?;
    let manifest = match bytes.split_last_chunk() {
        Some((body, crc)) if crc32fast::hash(body).to_le_bytes() == *crc => {
            codec::decode::<Manifest>(body).map_err(|error| files::damaged(&path, error))?
        }
        _ => return Err(files::damaged(&path, "a wrong checksum")),
    };
    manifest.check().map_err(|error| files::damaged(&path, error))?;
    Ok(manifest)
}

/// Checks that `dir` holds the files of `manifest`, whole and unaltered, and no others: RocksDB
/// might read those too.
///
/// # Errors
/// If a file cannot be read; `InvalidData`, naming the file, if it is not as listed.
pub(super) fn verify(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    manifest.check()?;
    let names = files::names(dir)?;
    if let Some(other) =
        names.iter().find(|name| *name != MANIFEST && manifest.file(name).is_none())
    {
        return Err(files::damaged(&dir.join(other), "not in the manifest"));
    }
    for file in &manifest.files {
        let path = dir.join(&file.name);
        let (bytes, crc32) = files::checksum(&path)?;
        if bytes != file.bytes {
            let message = format!("{bytes} bytes, the manifest says {}", file.bytes);
            return Err(files::damaged(&path, message));
        }
        if crc32 != file.crc32 {
            return Err(files::damaged(&path, "a wrong checksum"));
        }
    }
    Ok(())
}

/// Whether both paths are one file.
fn same_file(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    identity(a).is_some_and(|a| Some(a) == identity(b))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn folder() -> TempDir {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("000012.sst"), vec![7; 300_000]).unwrap();
        fs::write(dir.path().join("CURRENT"), b"MANIFEST-000005\n").unwrap();
        dir
    }

    fn refusal(result: io::Result<()>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        error.to_string()
    }

    #[test]
    fn a_manifest_describes_its_folder() {
        let dir = folder();
        assert_eq!(read_manifest(dir.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
        let written = write_manifest(dir.path(), b"meta".to_vec(), None).unwrap();
        assert_eq!(read_manifest(dir.path()).unwrap(), written);
        assert_eq!((written.files.len(), written.bytes()), (2, 300_016));
        verify(dir.path(), &written).unwrap();
    }

    #[test]
    fn every_alteration_is_found() {
        let dir = folder();
        let manifest = write_manifest(dir.path(), Vec::new(), None).unwrap();
        let table = dir.path().join("000012.sst");
        let check = || refusal(verify(dir.path(), &manifest));

        let mut bytes = fs::read(&table).unwrap();
        bytes[299_999] ^= 1;
        fs::write(&table, &bytes).unwrap();
        assert!(check().contains("000012.sst: a wrong checksum"));
        fs::write(&table, &bytes[..299_999]).unwrap();
        assert!(check().contains("299999 bytes"));
        fs::remove_file(&table).unwrap();
        assert!(verify(dir.path(), &manifest).is_err());
        bytes[299_999] ^= 1;
        fs::write(&table, &bytes).unwrap();
        verify(dir.path(), &manifest).unwrap();
        fs::write(dir.path().join("000013.log"), b"").unwrap();
        assert!(check().contains("000013.log: not in the manifest"));

        let path = dir.path().join(MANIFEST);
        let mut bytes = fs::read(&path).unwrap();
        bytes[5] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(refusal(read_manifest(dir.path()).map(drop)).contains("a wrong checksum"));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "..", ".hidden", "a/b", "a\\b", "/etc/passwd", "a\0", MANIFEST] {
            let file = FileEntry { name: name.to_owned(), bytes: 0, crc32: 0 };
            let manifest = Manifest { meta: Vec::new(), files: vec![file] };
            refusal(manifest.check());
        }
        let file = FileEntry { name: "twice".to_owned(), bytes: 0, crc32: 0 };
        refusal(Manifest { meta: Vec::new(), files: vec![file.clone(), file] }.check());
    }

    #[test]
    fn a_checksum_is_taken_over_only_from_the_same_file() {
        let (earlier, dir) = (folder(), TempDir::new().unwrap());
        let mut known = write_manifest(earlier.path(), Vec::new(), None).unwrap();
        known.files.iter_mut().for_each(|file| file.crc32 = 42);
        let table = "000012.sst";
        fs::hard_link(earlier.path().join(table), dir.path().join(table)).unwrap();
        fs::copy(earlier.path().join("CURRENT"), dir.path().join("CURRENT")).unwrap();
        let earlier = Some((earlier.path(), &known));
        let manifest = write_manifest(dir.path(), Vec::new(), earlier).unwrap();
        assert_eq!(manifest.file(table).unwrap().crc32, 42);
        assert_ne!(manifest.file("CURRENT").unwrap().crc32, 42);
    }
}
