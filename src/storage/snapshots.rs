//! The snapshots of a node: complete checkpoints, made here or received.
//!
//! What is under way is in `incoming/`; only what is complete, verified and synced is renamed to
//! `snapshots/<n>`. A higher number is newer. At most the newest is kept, and older ones for as
//! long as somebody still sends or installs them. A checkpoint that is made for a backup stays in
//! `incoming/`, and goes with it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::checkpoint::{self, Manifest};
use super::files;

const COMPLETE: &str = "snapshots";
const INCOMING: &str = "incoming";

/// The snapshots of one node: a cheap handle.
#[derive(Clone)]
pub struct Snapshots {
    shared: Arc<Shared>,
}

struct Shared {
    complete: PathBuf,
    incoming: PathBuf,
    /// Makes the names in `incoming/`.
    begun: AtomicU64,
    newest: Mutex<Newest>,
}

struct Newest {
    snapshot: Option<SnapshotDir>,
    /// The number of the next snapshot.
    next: u64,
}

/// A complete snapshot: a cheap handle. The folder is removed once a newer snapshot has taken its
/// place and the last handle is dropped.
#[derive(Clone, Debug)]
pub struct SnapshotDir {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    number: u64,
    path: PathBuf,
    manifest: Manifest,
    superseded: AtomicBool,
}

/// A snapshot that is being received. Dropped before it is finished, it is removed.
pub struct Incoming {
    snapshots: Snapshots,
    draft: Draft,
    manifest: Manifest,
    /// The file that was written last: pieces mostly follow one another.
    open: Option<(String, File)>,
}

/// A checkpoint of the moment, which is no snapshot of the node: removed when it is dropped.
pub struct Passing {
    draft: Draft,
}

/// A folder in `incoming/`, removed when it is dropped; by then it was renamed if it is of use.
struct Draft {
    path: PathBuf,
}

impl Snapshots {
    /// Opens the snapshots in the data folder `data`, and removes what was left incomplete.
    ///
    /// # Errors
    /// If the folders cannot be read or written.
    pub fn open(data: &Path) -> io::Result<Self> {
        let (complete, incoming) = (data.join(COMPLETE), data.join(INCOMING));
        files::create_dirs(&complete)?;
        files::remove_dir(&incoming)?;
        files::create_dirs(&incoming)?;
        files::sync_dir(data)?;
        let mut numbers: Vec<u64> =
            files::names(&complete)?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let next = numbers.last().map_or(1, |last| last + 1);
        let mut snapshot = None;
        for number in numbers.into_iter().rev() {
            let path = complete.join(number.to_string());
            match checkpoint::read_manifest(&path) {
                Ok(manifest) if snapshot.is_none() => {
                    snapshot = Some(SnapshotDir::new(number, path, manifest));
                    continue;
                }
                // It was complete once. The state has what it held, so it is not missed.
                Err(error) if snapshot.is_none() => {
                    tracing::warn!(%error, "a damaged snapshot is removed");
                }
                // An older one. It may be half gone: the node ended while it was being removed.
                _ => {}
            }
            files::remove_dir(&path)?;
        }
        let newest = Mutex::new(Newest { snapshot, next });
        let shared = Shared { complete, incoming, begun: AtomicU64::new(0), newest };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The newest complete snapshot, if there is any.
    pub fn newest(&self) -> Option<SnapshotDir> {
        self.newest_lock().snapshot.clone()
    }

    /// Makes a snapshot. `write` makes the folder that it is given, with all files in it synced
    /// (as [`super::StateStore::checkpoint`] does), and returns what is to be kept as its meta.
    ///
    /// # Errors
    /// What `write` fails with, or if the snapshot cannot be completed.
    pub fn build(
        &self,
        write: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
    ) -> io::Result<SnapshotDir> {
        let draft = self.draft();
        let meta = write(&draft.path)?;
        let earlier = self.newest();
        let earlier = earlier.as_ref().map(|earlier| (earlier.path(), earlier.manifest()));
        let manifest = checkpoint::write_manifest(&draft.path, meta, earlier)?;
        self.complete(draft, manifest)
    }

    /// Makes a checkpoint that is not kept, beside the newest snapshot; `write` makes the folder that
    /// it is given, and what it returns is returned.
    ///
    /// # Errors
    /// What `write` fails with.
    pub fn pass<T>(&self, write: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<(Passing, T)> {
        let passing = Passing { draft: self.draft() };
        let written = write(&passing.draft.path)?;
        Ok((passing, written))
    }

    /// Begins to receive the snapshot that `manifest` describes.
    ///
    /// # Errors
    /// `InvalidData` if the manifest is none, see [`Manifest::check`]; or if the folder cannot be
    /// made.
    pub fn receive(&self, manifest: Manifest) -> io::Result<Incoming> {
        manifest.check()?;
        let draft = self.draft();
        files::create_dirs(&draft.path)?;
        for file in &manifest.files {
            // Also those that are empty, of which no piece will come.
            let path = draft.path.join(&file.name);
            File::create(&path).map_err(|error| files::fault("create", &path, error))?;
        }
        Ok(Incoming { snapshots: self.clone(), draft, manifest, open: None })
    }

    fn draft(&self) -> Draft {
        let number = self.shared.begun.fetch_add(1, Ordering::Relaxed);
        Draft { path: self.shared.incoming.join(number.to_string()) }
    }

    /// Gives a draft, whose files and names are synced, its place as the newest snapshot.
    fn complete(&self, draft: Draft, manifest: Manifest) -> io::Result<SnapshotDir> {
        let mut newest = self.newest_lock();
        let path = self.shared.complete.join(newest.next.to_string());
        files::rename_synced(&draft.path, &path, &self.shared.complete)?;
        let snapshot = SnapshotDir::new(newest.next, path, manifest);
        newest.next += 1;
        if let Some(old) = newest.snapshot.replace(snapshot.clone()) {
            old.folder.superseded.store(true, Ordering::Release);
        }
        Ok(snapshot)
    }

    fn newest_lock(&self) -> MutexGuard<'_, Newest> {
        self.shared.newest.lock().expect("no holder panics")
    }
}

impl SnapshotDir {
    fn new(number: u64, path: PathBuf, manifest: Manifest) -> Self {
        let superseded = AtomicBool::new(false);
        Self { folder: Arc::new(Folder { number, path, manifest, superseded }) }
    }

    /// Its number here: a later snapshot has a higher one.
    pub fn number(&self) -> u64 {
        self.folder.number
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.folder.manifest
    }

    /// What its maker keeps about it.
    pub fn meta(&self) -> &[u8] {
        &self.folder.manifest.meta
    }

    /// Bytes of the files that no other folder has: what making it has copied. The others are hard
    /// links to the state's files, until the state has no use for them any more.
    ///
    /// # Errors
    /// If a file cannot be looked at.
    pub fn copied_bytes(&self) -> io::Result<u64> {
        let mut copied = 0;
        for file in &self.manifest().files {
            let path = self.path().join(&file.name);
            let found = fs::metadata(&path).map_err(|error| files::fault("read", &path, error))?;
            if found.nlink() == 1 {
                copied += file.bytes;
            }
        }
        Ok(copied)
    }

    /// Reads at most `bytes` of the file `name` from `offset` on: none at its end.
    ///
    /// # Errors
    /// `NotFound` if the manifest lists no such file; or if it cannot be read.
    pub fn read(&self, name: &str, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let path = self.path().join(name);
        let failed = |error| files::fault("read", &path, error);
        let file = self.manifest().file(name).ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::NotFound, "not in the manifest"))
        })?;
        let left = file.bytes.saturating_sub(offset);
        let mut piece = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(bytes)];
        File::open(&path)
            .and_then(|file| file.read_exact_at(&mut piece, offset))
            .map_err(failed)?;
        Ok(piece)
    }
}

impl Passing {
    /// The names of its files, in order, and their lengths.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn files(&self) -> io::Result<Vec<(String, u64)>> {
        let lengths = files::names(&self.draft.path)?.into_iter().map(|name| {
            let path = self.draft.path.join(&name);
            let found = fs::metadata(&path).map_err(|error| files::fault("read", &path, error))?;
            Ok((name, found.len()))
        });
        lengths.collect()
    }

    /// Opens one of its files, to be read.
    ///
    /// # Errors
    /// If there is no such file, or it cannot be opened.
    pub fn open(&self, name: &str) -> io::Result<File> {
        let path = self.draft.path.join(name);
        File::open(&path).map_err(|error| files::fault("read", &path, error))
    }
}

impl Incoming {
    /// What is being received.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The checksum of the file `name`, for whoever knows it only once all of it has come.
    pub fn set_checksum(&mut self, name: &str, crc32: u32) {
        if let Some(file) = self.manifest.files.iter_mut().find(|file| file.name == name) {
            file.crc32 = crc32;
        }
    }

    /// Writes a piece of the file `name` at `offset`. A piece may come twice.
    ///
    /// # Errors
    /// `InvalidData` if the manifest lists no such file or it is shorter; or if the piece cannot be
    /// written.
    pub fn write(&mut self, name: &str, offset: u64, piece: &[u8]) -> io::Result<()> {
        let path = self.draft.path.join(name);
        let end = offset.checked_add(piece.len() as u64);
        let fits =
            self.manifest.file(name).is_some_and(|file| end.is_some_and(|end| end <= file.bytes));
        if !fits {
            let message = format!("{} bytes at {offset} are not of the manifest", piece.len());
            return Err(files::damaged(&path, message));
        }
        let failed = |error| files::fault("write", &path, error);
        let file = match &mut self.open {
            Some((open, file)) if open == name => file,
            open => {
                let file = File::options().write(true).open(&path).map_err(failed)?;
                &mut open.insert((name.to_owned(), file)).1
            }
        };
        file.write_all_at(piece, offset).map_err(failed)
    }

    /// Verifies what was received, makes it durable and gives it its place as the newest snapshot.
    ///
    /// # Errors
    /// `InvalidData`, naming the file, if a file is not as the manifest says; or if the disk fails.
    pub fn finish(self) -> io::Result<SnapshotDir> {
        for file in &self.manifest.files {
            files::sync_file(&self.draft.path.join(&file.name))?;
        }
        checkpoint::verify(&self.draft.path, &self.manifest)?;
        checkpoint::store_manifest(&self.draft.path, &self.manifest)?;
        self.snapshots.complete(self.draft, self.manifest)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = files::remove_dir(&self.path) {
            tracing::warn!(%error, "an incomplete snapshot stays until the next start");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if *self.superseded.get_mut()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            let path = self.path.display();
            tracing::warn!(%error, %path, "an old snapshot stays until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn build(snapshots: &Snapshots, text: &str) -> SnapshotDir {
        let write = |path: &Path| {
            files::create_dirs(path)?;
            files::write_synced(&path.join("empty"), b"")?;
            files::write_synced(&path.join("text"), text.as_bytes())?;
            Ok(text.as_bytes().to_vec())
        };
        snapshots.build(write).unwrap()
    }

    #[test]
    fn the_newest_stays_and_older_ones_go_with_their_last_handle() {
        let data = TempDir::new().unwrap();
        let snapshots = Snapshots::open(data.path()).unwrap();
        assert!(snapshots.newest().is_none());
        let first = build(&snapshots, "first");
        let sending = first.clone();
        let second = build(&snapshots, "second");
        assert!(second.number() > first.number());
        drop(first);
        assert_eq!(sending.read("text", 0, 100).unwrap(), b"first");
        let path = sending.path().to_owned();
        drop(sending);
        assert!(!path.exists());
        drop((second, snapshots));

        let snapshots = Snapshots::open(data.path()).unwrap();
        let newest = snapshots.newest().unwrap();
        assert_eq!(newest.meta(), b"second");
        assert_eq!(newest.number(), 2);
        checkpoint::verify(newest.path(), newest.manifest()).unwrap();
    }

    #[test]
    fn a_checkpoint_in_passing_leaves_the_newest_snapshot_and_nothing_of_itself() {
        let data = TempDir::new().unwrap();
        let snapshots = Snapshots::open(data.path()).unwrap();
        let newest = build(&snapshots, "first");
        let write = |path: &Path| {
            files::create_dirs(path)?;
            files::write_synced(&path.join("text"), b"passing")?;
            Ok(path.to_owned())
        };
        let (passing, path) = snapshots.pass(write).unwrap();
        assert_eq!(passing.files().unwrap(), [("text".to_owned(), 7)]);
        assert_eq!(io::read_to_string(passing.open("text").unwrap()).unwrap(), "passing");
        passing.open("other").unwrap_err();
        drop(passing);
        assert!(!path.exists());
        assert_eq!(snapshots.newest().unwrap().path(), newest.path());
        let failed = snapshots.pass(|path| {
            files::create_dirs(path)?;
            Err::<(), _>(io::Error::other("disk"))
        });
        assert_eq!(failed.err().unwrap().to_string(), "disk");
        assert_eq!(files::names(&data.path().join(INCOMING)).unwrap(), [""; 0]);
    }

    #[test]
    fn a_file_that_the_state_has_too_is_not_copied() {
        let data = TempDir::new().unwrap();
        let snapshots = Snapshots::open(data.path()).unwrap();
        let snapshot = build(&snapshots, "first");
        assert_eq!(snapshot.copied_bytes().unwrap(), 5);
        fs::hard_link(snapshot.path().join("text"), data.path().join("text")).unwrap();
        assert_eq!(snapshot.copied_bytes().unwrap(), 0);
    }

    #[test]
    fn a_start_removes_what_is_incomplete_damaged_or_old() {
        let data = TempDir::new().unwrap();
        let snapshots = Snapshots::open(data.path()).unwrap();
        let held = build(&snapshots, "first");
        build(&snapshots, "second");
        let damaged = build(&snapshots, "third");
        // As if killed while one was being received and others were still held.
        let incoming = snapshots.receive(damaged.manifest().clone()).unwrap();
        fs::write(damaged.path().join("CHECKPOINT"), b"nonsense").unwrap();
        std::mem::forget((held, snapshots, incoming));
        fs::create_dir(data.path().join(COMPLETE).join("2")).unwrap();
        let second = data.path().join(COMPLETE).join("2");
        files::write_synced(&second.join("text"), b"second").unwrap();
        checkpoint::write_manifest(&second, b"second".to_vec(), None).unwrap();

        let snapshots = Snapshots::open(data.path()).unwrap();
        assert_eq!(snapshots.newest().unwrap().meta(), b"second");
        assert_eq!(files::names(&data.path().join(COMPLETE)).unwrap(), ["2"]);
        assert_eq!(files::names(&data.path().join(INCOMING)).unwrap(), [""; 0]);
        assert_eq!(build(&snapshots, "fourth").number(), 4);
    }

    #[test]
    fn a_snapshot_received_in_pieces_is_the_one_that_was_sent() {
        let (there, here) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let sent = build(&Snapshots::open(there.path()).unwrap(), "some words to send");
        let snapshots = Snapshots::open(here.path()).unwrap();
        let mut incoming = snapshots.receive(sent.manifest().clone()).unwrap();
        for file in &sent.manifest().files {
            let mut offset = 0;
            loop {
                let piece = sent.read(&file.name, offset, 5).unwrap();
                if piece.is_empty() {
                    break;
                }
                incoming.write(&file.name, offset, &piece).unwrap();
                offset += piece.len() as u64;
            }
        }
        assert!(snapshots.newest().is_none());
        let received = incoming.finish().unwrap();
        assert_eq!(received.manifest(), sent.manifest());
        assert_eq!(snapshots.newest().unwrap().path(), received.path());
    }

    #[test]
    fn pieces_outside_the_manifest_and_wrong_bytes_are_refused() {
        let (there, here) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let sent = build(&Snapshots::open(there.path()).unwrap(), "words");
        let snapshots = Snapshots::open(here.path()).unwrap();
        let mut incoming = snapshots.receive(sent.manifest().clone()).unwrap();
        for (name, offset) in [("../text", 0), ("other", 0), ("text", 1), ("text", u64::MAX)] {
            let error = incoming.write(name, offset, b"words").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name} {offset}");
        }
        incoming.write("text", 0, b"swords".split_at(1).1).unwrap();
        incoming.write("text", 0, b"W").unwrap();
        let error = incoming.finish().unwrap_err();
        assert!(error.to_string().contains("text: a wrong checksum"), "{error}");
        assert!(snapshots.newest().is_none());
        assert_eq!(files::names(&here.path().join(INCOMING)).unwrap(), [""; 0]);
        sent.read("nothing", 0, 1).unwrap_err();
    }
}
