//! A node's files, altered: what opens is what was there, and everything else is refused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::mpsc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tallykeep::machine::{Effects, Table, View, Write};
use tallykeep::storage::{Flushed, LogStore, Meta, Snapshots, StateOptions, StateStore};
use tempfile::TempDir;

/// Data folders that are damaged, always the same ones.
const FOLDERS: u64 = 60;
const ENTRIES: u64 = 24;
/// The log is purged up to here.
const PURGED: u64 = 5;
const OPTIONS: StateOptions =
    StateOptions { block_cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20 };
const LOG_BYTES: u64 = 1 << 16;

/// A data folder of a node that was stopped.
static DATA: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    let state = StateStore::open(&dir.path().join("state"), OPTIONS).unwrap();
    let log = LogStore::open(&dir.path().join("log"), state.flushed(), LOG_BYTES).unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    for index in 0..ENTRIES {
        log.append([(index, entry(index))], Box::new(|_| {})).unwrap();
        let writes = vec![put("count", index), put(&format!("row {index:02}"), index)];
        state
            .commit(
                Effects { writes, ..Effects::default() },
                index,
                index.to_be_bytes().to_vec(),
                None,
            )
            .unwrap();
        if index == PURGED {
            snapshots
                .build(|path| state.checkpoint(path).map(|_| b"of this test".to_vec()))
                .unwrap();
        }
    }
    log.put_meta(Meta::Vote, b"a vote").unwrap();
    state.flush().unwrap();
    log.purge_to(PURGED, b"purged").unwrap();
    synced(&log);
    log.close().unwrap();
    drop((log, state, snapshots));
    dir
});

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index} ").repeat(20).into()
}

fn put(key: &str, value: u64) -> Write {
    Write::Put { table: Table::Cell, key: key.into(), value: value.to_be_bytes().to_vec() }
}

fn synced(log: &LogStore) {
    let (done, told) = mpsc::channel();
    log.sync(Box::new(move |result| done.send(result).expect("the test waits"))).unwrap();
    told.recv().expect("the sync thread lives").unwrap();
}

/// The files in a folder and in those in it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A copy of the folder with up to three changes in one of its files; tells of which kind.
fn damaged(random: &mut StdRng) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let source = DATA.path();
    for file in files(source) {
        let to = dir.path().join(file.strip_prefix(source).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
    let files = files(dir.path());
    // RocksDB's diaries are read by nobody.
    let candidates: Vec<_> = files
        .iter()
        .filter(|path| !path.ends_with("LOG") && path.metadata().unwrap().len() > 0)
        .collect();
    let file = candidates.choose(random).expect("a file");
    let mut bytes = fs::read(file).unwrap();
    // A file may be mostly the space that was set aside for it.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
    let mut told = String::new();
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..used.min(bytes.len()).max(1));
        match random.random_range(0..3) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at..].iter_mut().take(64).for_each(|byte| *byte = 0),
            _ => bytes.truncate(at),
        }
        told += &format!("{at} ");
    }
    fs::write(file, bytes).unwrap();
    let name = file.strip_prefix(dir.path()).unwrap().display().to_string();
    (dir, format!("{name} changed at {told}"))
}

/// Opens the log, and reads all of it; gives an error or everything that was on disk.
fn read_log(dir: &Path, what: &str) -> io::Result<()> {
    let flushed = Flushed::default();
    flushed.raise(ENTRIES);
    let log = LogStore::open(&dir.join("log"), flushed, LOG_BYTES)?;
    let purged = log.purged_to();
    let entries = log.read(0..u64::MAX, usize::MAX)?;
    let vote = log.get_meta(Meta::Vote)?;
    let mark = log.get_meta(Meta::Purged)?;
    let expected: Vec<_> = (PURGED + 1..ENTRIES).map(|index| (index, entry(index))).collect();
    assert_eq!(purged, Some(PURGED), "{what}");
    assert_eq!(entries, expected, "{what}: entries are gone or altered, and nobody says so");
    assert_eq!(vote.as_deref(), Some(&b"a vote"[..]), "{what}: a vote is forgotten");
    assert_eq!(mark.as_deref(), Some(&b"purged"[..]), "{what}");
    Ok(())
}

/// Opens the state, and reads all of it; gives an error or the state after some one entry.
fn read_state(dir: &Path, what: &str) -> io::Result<()> {
    let state = StateStore::open(&dir.join("state"), OPTIONS)?;
    let marks = state.marks();
    let mut expected = Vec::new();
    // The log has no more what is before this: without it the node could not go on from its state.
    assert!(marks.index >= Some(PURGED), "{what}: the state has forgotten what the log has");
    if let Some(index) = marks.index {
        assert!(index < ENTRIES, "{what}: {index}");
        expected.push((b"count".to_vec(), index.to_be_bytes().to_vec()));
        expected.extend(
            (0..=index)
                .map(|row| (format!("row {row:02}").into_bytes(), row.to_be_bytes().to_vec())),
        );
    }
    let rows = state.scan(Table::Cell, &[], &[0xff], usize::MAX)?;
    assert_eq!(rows, expected, "{what}: the state of no entry");
    Ok(())
}

/// Opens the snapshots; gives an error, or the one that was there, or none.
fn read_snapshots(dir: &Path, what: &str) -> io::Result<()> {
    if let Some(snapshot) = Snapshots::open(dir)?.newest() {
        assert_eq!(snapshot.meta(), b"of this test", "{what}");
        snapshot.manifest().check().expect("it was checked");
    }
    Ok(())
}

#[test]
fn damaged_files_are_refused_or_read_as_they_were() {
    let (mut refused, mut read) = (0, 0);
    for number in 0..FOLDERS {
        let (dir, what) = damaged(&mut StdRng::seed_from_u64(number));
        let what = format!("folder {number}, {what}");
        for result in [
            read_log(dir.path(), &what),
            read_state(dir.path(), &what),
            read_snapshots(dir.path(), &what),
        ] {
            match result {
                Ok(()) => read += 1,
                Err(error) => {
                    assert!(!error.to_string().is_empty(), "{what}");
                    refused += 1;
                }
            }
        }
    }
    // Both happen, or the damage is none.
    assert!(refused > 0 && read > 0, "{refused} refused, {read} read");
}
