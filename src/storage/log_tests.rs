//! Tests of the log instance.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

use super::super::files::killed;
use super::*;

fn everything_flushed() -> Flushed {
    let flushed = Flushed::default();
    flushed.raise(u64::MAX - 1);
    flushed
}

fn open(dir: &TempDir) -> LogStore {
    LogStore::open(dir.path(), everything_flushed(), 1 << 20).unwrap()
}

fn entry(index: u64) -> (u64, Vec<u8>) {
    (index, format!("entry {index}").into_bytes())
}

fn entries(range: Range<u64>) -> Vec<(u64, Vec<u8>)> {
    range.map(entry).collect()
}

fn done() -> (Done, Receiver<io::Result<()>>) {
    let (sender, receiver) = channel();
    // The test may have ended by the time that the log is closed.
    (Box::new(move |synced| drop(sender.send(synced))), receiver)
}

fn append(log: &LogStore, entries: Vec<(u64, Vec<u8>)>) -> io::Result<()> {
    let (done, synced) = done();
    log.append(entries, done)?;
    synced.recv().unwrap()
}

fn all(log: &LogStore) -> Vec<(u64, Vec<u8>)> {
    log.read(0..u64::MAX, usize::MAX).unwrap()
}

#[test]
fn what_is_appended_truncated_and_purged_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir);
    assert_eq!(log.last().unwrap(), None);
    assert_eq!(all(&log), []);
    append(&log, entries(0..10)).unwrap();
    assert_eq!(log.last().unwrap(), Some(entry(9)));
    log.truncate_from(7).unwrap();
    assert_eq!(log.last().unwrap(), Some(entry(6)));
    append(&log, vec![(7, b"another seven".to_vec())]).unwrap();
    log.purge_to(2, b"two").unwrap();
    assert!(append(&log, entries(9..10)).unwrap_err().to_string().contains("entry 9 where 8"));
    assert!(log.truncate_from(2).is_err());

    let mut expected = entries(3..7);
    expected.push((7, b"another seven".to_vec()));
    assert_eq!(all(&log), expected);
    drop(log);
    let log = open(&dir);
    assert_eq!(all(&log), expected);
    assert_eq!(log.read(0..5, usize::MAX).unwrap(), entries(3..5));
    assert_eq!(log.purged_to(), Some(2));
    assert_eq!(log.get_meta(Meta::Purged).unwrap(), Some(b"two".to_vec()));

    // A snapshot further than the log was installed.
    log.purge_to(20, b"twenty").unwrap();
    log.purge_to(4, b"four").unwrap();
    assert_eq!((all(&log), log.last().unwrap(), log.bytes_since(0)), (vec![], None, 0));
    append(&log, entries(21..23)).unwrap();
    drop(log);
    let log = open(&dir);
    assert_eq!(all(&log), entries(21..23));
    assert_eq!(log.get_meta(Meta::Purged).unwrap(), Some(b"twenty".to_vec()));
}

#[test]
fn an_empty_log_begins_anywhere_and_may_become_empty_again() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir);
    append(&log, entries(5..8)).unwrap();
    assert_eq!(all(&log), entries(5..8));
    log.truncate_from(0).unwrap();
    assert_eq!(log.last().unwrap(), None);
    append(&log, entries(1..3)).unwrap();
    drop(log);
    assert_eq!(all(&open(&dir)), entries(1..3));
}

#[test]
fn reads_end_after_the_bytes_asked_for_with_at_least_one_entry() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir);
    append(&log, (1..=10).map(|index| (index, vec![0; 100])).collect()).unwrap();
    let count = |max_bytes| log.read(2..9, max_bytes).unwrap().len();
    assert_eq!((count(0), count(100), count(101), count(300), count(1 << 20)), (1, 1, 2, 3, 7));
}

#[test]
fn votes_and_marks_survive() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir);
    assert_eq!(log.get_meta(Meta::Vote).unwrap(), None);
    let (done, synced) = done();
    log.put_meta_synced(Meta::Vote, b"for two", done).unwrap();
    synced.recv().unwrap().unwrap();
    log.put_meta(Meta::Committed, b"nine").unwrap();
    assert!(log.put_meta(Meta::Purged, b"no").is_err());
    log.close().unwrap();
    assert!(log.put_meta(Meta::Vote, b"late").unwrap_err().to_string().contains("closed"));
    drop(log);
    let log = open(&dir);
    assert_eq!(log.get_meta(Meta::Vote).unwrap(), Some(b"for two".to_vec()));
    assert_eq!(log.get_meta(Meta::Committed).unwrap(), Some(b"nine".to_vec()));
}

#[test]
fn an_append_is_readable_at_once_and_done_only_when_it_survives_a_kill() {
    let dir = TempDir::new().unwrap();
    let (permit, permits) = channel::<()>();
    let log = LogStore::open_with(dir.path(), everything_flushed(), 1 << 20, move |db| {
        // An error once the test is over: then the log only closes.
        let _ = permits.recv();
        sync(db)
    })
    .unwrap();
    // Dropped before the log, however the test ends: else closing the log would wait for it.
    let permit = permit;
    let (first, first_synced) = done();
    log.append(entries(1..3), first).unwrap();
    assert_eq!(all(&log), entries(1..3));
    assert_eq!(all(&open(&killed(dir.path()))), [], "nothing is on disk yet");
    assert!(first_synced.try_recv().is_err());
    permit.send(()).unwrap();
    first_synced.recv().unwrap().unwrap();
    assert_eq!(all(&open(&killed(dir.path()))), entries(1..3));
}

#[test]
fn after_a_failed_sync_nothing_is_accepted() {
    let dir = TempDir::new().unwrap();
    let failing = Arc::new(AtomicBool::new(false));
    let log = LogStore::open_with(dir.path(), everything_flushed(), 1 << 20, {
        let failing = failing.clone();
        move |db| {
            if failing.load(Ordering::SeqCst) {
                return Err(io::Error::other("the disk is gone"));
            }
            sync(db)
        }
    })
    .unwrap();
    append(&log, entries(1..2)).unwrap();
    failing.store(true, Ordering::SeqCst);
    append(&log, entries(2..3)).unwrap_err();
    failing.store(false, Ordering::SeqCst);
    for refusal in [
        append(&log, entries(3..4)),
        log.put_meta(Meta::Vote, b"vote"),
        log.truncate_from(1),
        log.purge_to(1, b"one"),
        log.read(1..2, 100).map(drop),
        log.close(),
    ] {
        let refusal = refusal.unwrap_err().to_string();
        assert!(refusal.contains("failed before: the disk is gone"), "{refusal}");
    }
}

#[test]
fn damage_and_holes_are_found_and_name_the_entry() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir);
    append(&log, entries(1..6)).unwrap();
    let raw = &log.log;
    // Entry 2's value in the place of entry 3.
    let other = raw.db.get_cf(raw.entries(), 2u64.to_be_bytes()).unwrap().unwrap();
    raw.db.put_cf(raw.entries(), 3u64.to_be_bytes(), other).unwrap();
    assert_eq!(log.read(1..3, 1000).unwrap(), entries(1..3));
    let error = log.read(1..6, 1000).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("entry 3 has a wrong checksum"), "{error}");
    raw.db.delete_cf(raw.entries(), 4u64.to_be_bytes()).unwrap();
    let error = log.read(4..6, 1000).unwrap_err();
    assert!(error.to_string().contains("entry 4 is missing"), "{error}");

    log.purge_to(3, b"three").unwrap();
    drop(log);
    let error = LogStore::open(dir.path(), Flushed::default(), 1 << 20).err().unwrap();
    assert!(error.to_string().contains("entry 4 is missing"), "{error}");
}

/// What `change` does to the newest write-ahead log of `dir`, from amidst the bytes of an entry that is
/// `byte` all over.
fn change_newest(dir: &TempDir, byte: u8, change: impl FnOnce(&mut Vec<u8>, usize)) {
    let names = files::names(dir.path()).unwrap();
    let newest = names.into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    let path = dir.path().join(newest);
    let mut bytes = std::fs::read(&path).unwrap();
    let amidst = bytes.windows(1000).rposition(|bytes| bytes == [byte; 1000]).unwrap();
    change(&mut bytes, amidst);
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn a_torn_end_is_cut_and_what_was_synced_stays() {
    let dir = TempDir::new().unwrap();
    let last = Arc::new(AtomicBool::new(false));
    let log = LogStore::open_with(dir.path(), everything_flushed(), 1 << 20, {
        let last = last.clone();
        move |db| {
            sync(db)?;
            // It reached the file, and the power went before anybody was told.
            if last.load(Ordering::SeqCst) { Err(io::Error::other("no power")) } else { Ok(()) }
        }
    })
    .unwrap();
    append(&log, entries(1..4)).unwrap();
    last.store(true, Ordering::SeqCst);
    // Nothing that was in the file before looks like it.
    append(&log, vec![(4, vec![4; 5000])]).unwrap_err();
    let torn = killed(dir.path());
    change_newest(&torn, 4, |bytes, amidst| bytes.truncate(amidst));
    assert_eq!(all(&open(&torn)), entries(1..4));
}

#[test]
fn damage_to_what_was_synced_is_not_taken_for_a_torn_end() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir);
    append(&log, entries(1..4)).unwrap();
    append(&log, vec![(4, vec![4; 5000])]).unwrap();
    append(&log, entries(5..7)).unwrap();
    let changes: [fn(&mut Vec<u8>, usize); 2] =
        [|bytes, amidst| bytes[amidst] ^= 1, |bytes, amidst| bytes.truncate(amidst)];
    for change in changes {
        let damaged = killed(dir.path());
        change_newest(&damaged, 4, change);
        let error = LogStore::open(damaged.path(), everything_flushed(), 1 << 20).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let message = error.to_string();
        assert!(message.contains("damaged from entry 4 on"), "{message}");
        assert!(message.contains(&damaged.path().display().to_string()), "{message}");
        assert!(message.contains("to rebuild this node"), "{message}");
    }
    assert_eq!(open(&killed(dir.path())).last().unwrap(), Some(entry(6)));
}

#[test]
fn purging_waits_for_the_state() {
    let dir = TempDir::new().unwrap();
    let flushed = Flushed::default();
    let log = LogStore::open(dir.path(), flushed.clone(), 1 << 20).unwrap();
    append(&log, entries(1..10)).unwrap();
    assert_eq!(log.purge_to(5, b"five").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    flushed.raise(5);
    log.purge_to(5, b"five").unwrap();
    log.purge_to(6, b"six").unwrap_err();
    assert_eq!(all(&log), entries(6..10));
}

#[test]
fn purging_gives_disk_space_back_and_restarts_know_the_size() {
    let dir = TempDir::new().unwrap();
    // Small memtables, so that the log has been flushed, compacted and recycled many times.
    let open = || LogStore::open_with(dir.path(), everything_flushed(), 64 << 10, sync).unwrap();
    let log = open();
    let long = |index: u64| (index, [&index.to_be_bytes()[..], &[7; 10_000]].concat());
    for start in (1..=1000).step_by(10) {
        append(&log, (start..start + 10).map(long).collect()).unwrap();
    }
    let bytes = log.bytes_since(0);
    assert_eq!(bytes, 1000 * 10_012);
    drop(log);

    let log = open();
    assert!(log.bytes_since(0).abs_diff(bytes) < bytes / 10, "{} of {bytes}", log.bytes_since(0));
    assert_eq!(all(&log), (1..=1000).map(long).collect::<Vec<_>>());
    log.purge_to(989, b"nearly all").unwrap();
    assert!(log.bytes_since(0) < bytes / 50);
    // Closing waits for the files to be deleted.
    drop(log);
    let log = open();
    assert_eq!(all(&log), (990..=1000).map(long).collect::<Vec<_>>());
    drop(log);
    let tables = files::names(dir.path()).unwrap().into_iter().filter(|name| name.ends_with("sst"));
    let left: u64 = tables.map(|name| dir.path().join(name).metadata().unwrap().len()).sum();
    assert!(left < bytes / 4, "{left} of {bytes} bytes are left");
}

#[test]
fn a_handle_may_be_dropped_last_on_the_sync_thread() {
    let dir = TempDir::new().unwrap();
    let (running, ended) = channel::<()>();
    let log = LogStore::open_with(dir.path(), everything_flushed(), 1 << 20, move |db| {
        let _held = &running;
        sync(db)
    })
    .unwrap();
    let (dropped, other_dropped) = channel();
    let held = log.clone();
    log.append(
        entries(1..2),
        Box::new(move |synced| {
            other_dropped.recv().expect("the other handle is dropped before");
            synced.unwrap();
            drop(held);
        }),
    )
    .unwrap();
    // What waits behind it has a job for the other thread.
    log.purge_to(0, b"zero").unwrap();
    drop(log);
    dropped.send(()).unwrap();
    // The sync thread has ended, and with it the instance is closed.
    ended.recv().unwrap_err();
    assert_eq!(all(&open(&dir)), entries(1..2));
}

#[test]
fn a_log_is_written_over_blocks_that_were_written_before() {
    let dir = TempDir::new().unwrap();
    let bytes = 256 * 1024;
    let log = LogStore::open(dir.path(), everything_flushed(), bytes).unwrap();
    let lengths = || -> Vec<u64> {
        let names = files::names(dir.path()).unwrap();
        let logs = names.iter().filter(|name| name.ends_with(".log"));
        logs.map(|name| dir.path().join(name).metadata().unwrap().len()).collect()
    };
    let before = lengths();
    assert_eq!(before.len(), wal::RECYCLED);
    assert!(before.iter().all(|length| *length > bytes), "{before:?}");
    append(&log, vec![(1, vec![1; 256 * 1024])]).unwrap();
    assert_eq!(lengths(), before);
}

#[test]
fn what_is_purged_in_time_is_written_once() {
    let dir = TempDir::new().unwrap();
    let bytes = 256 * 1024;
    let log = LogStore::open(dir.path(), everything_flushed(), bytes).unwrap();
    let long = |index| (index, vec![7; 1024]);
    append(&log, (1..257).map(long).collect()).unwrap();
    log.purge_to(250, b"mark").unwrap();
    // Closing waits for what is purged to be let go of.
    drop(log);
    let tables = files::names(dir.path()).unwrap().into_iter().filter(|name| name.ends_with("sst"));
    let written: u64 = tables.map(|name| dir.path().join(name).metadata().unwrap().len()).sum();
    assert!(written < bytes / 4, "{written} bytes of tables");
    assert_eq!(all(&open(&dir)), (251..257).map(long).collect::<Vec<_>>());
}
