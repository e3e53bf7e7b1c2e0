//! Tests of the state instance, its snapshots and its checkpoints.

use tempfile::TempDir;

use super::super::checkpoint::{read_manifest, verify, write_manifest};
use super::super::snapshots::Snapshots;
use super::*;
use crate::limits;
use crate::query::Snapshot;

const OPTIONS: StateOptions =
    StateOptions { block_cache_bytes: 16 << 20, write_buffer_bytes: 8 << 20 };

fn open(dir: &Path) -> StateStore {
    StateStore::open(dir, OPTIONS).unwrap()
}

fn put(table: Table, key: &str, value: &str) -> Write {
    Write::Put { table, key: key.into(), value: value.into() }
}

fn effects(writes: impl IntoIterator<Item = Write>) -> Effects {
    Effects { writes: writes.into_iter().collect(), ..Effects::default() }
}

/// Commits entry `index`, which counts itself in two tables.
fn commit(state: &StateStore, index: u64) {
    let value = index.to_string();
    let writes =
        [put(Table::Cell, "count", &value), put(Table::Entry, &format!("{index:04}"), "e")];
    let mark = format!("entry {index}");
    state.commit(effects(writes), index, mark.into_bytes(), None).unwrap();
}

/// Checks that the state is the one after some entry, and tells which.
fn consistent(state: &impl View, marks: &Marks) -> Option<u64> {
    let count = state.get(Table::Cell, b"count").unwrap();
    let entries = state.scan(Table::Entry, b"", b"9999", usize::MAX).unwrap();
    let index = marks.index;
    assert_eq!(count.map(|count| String::from_utf8(count).unwrap().parse().unwrap()), index);
    assert_eq!(entries.len() as u64, index.unwrap_or(0));
    assert_eq!(marks.applied, index.map(|index| format!("entry {index}").into_bytes()));
    index
}

fn content_hash(state: &StateStore) -> [u8; 32] {
    state.snapshot().unwrap().content_hash().unwrap()
}

fn keys(rows: Vec<Row>) -> Vec<String> {
    rows.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

/// What a node finds after it was killed. Files must not come and go while they are copied.
fn killed(state: &StateStore, dir: &Path) -> TempDir {
    while state.shared().is_flushing.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    let idle = rocksdb::WaitForCompactOptions::default();
    state.shared().read().db().db().wait_for_compact(&idle).unwrap();
    files::killed(dir)
}

#[test]
fn a_kill_leaves_the_state_of_the_last_flush_and_a_close_flushes() {
    let dir = TempDir::new().unwrap();
    let state = open(dir.path());
    assert_eq!(state.marks(), Marks::default());
    assert_eq!(consistent(&open(killed(&state, dir.path()).path()), &Marks::default()), None);
    (1..=5).for_each(|index| commit(&state, index));
    state.commit(effects([]), 5, b"entry 5".to_vec(), Some(b"three nodes".to_vec())).unwrap();
    assert!(!state.flushed().covers(1));
    state.flush().unwrap();
    assert!(state.flushed().covers(5) && !state.flushed().covers(6));
    (6..=9).for_each(|index| commit(&state, index));
    assert_eq!(consistent(&state, &state.marks()), Some(9));

    let copy = killed(&state, dir.path());
    let after = open(copy.path());
    assert_eq!(consistent(&after, &after.marks()), Some(5));
    assert_eq!(after.marks().membership, Some(b"three nodes".to_vec()));
    assert!(after.flushed().covers(5) && !after.flushed().covers(6));

    drop(state);
    let state = open(dir.path());
    assert_eq!(consistent(&state, &state.marks()), Some(9));
}

#[test]
fn a_damaged_name_of_the_state_in_force_removes_nothing() {
    let dir = TempDir::new().unwrap();
    let state = open(dir.path());
    commit(&state, 1);
    drop(state);
    let name = dir.path().join(CURRENT);
    for damaged in ["", "3\n", "11\n", "q\n", "1"] {
        fs::write(&name, damaged).unwrap();
        match StateStore::open(dir.path(), OPTIONS) {
            // A line end is missed by nobody.
            Ok(state) => assert_eq!((damaged, state.marks().index), ("1", Some(1))),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}"),
        }
    }
    // Nor is an empty state made beside one that another name is for.
    fs::rename(folder(dir.path(), 1), folder(dir.path(), 3)).unwrap();
    fs::write(&name, "1\n").unwrap();
    assert!(StateStore::open(dir.path(), OPTIONS).is_err());
    fs::write(&name, "3\n").unwrap();
    let state = open(dir.path());
    assert_eq!(consistent(&state, &state.marks()), Some(1));
}

#[test]
fn tables_that_fill_up_by_themselves_reach_the_disk_together() {
    let dir = TempDir::new().unwrap();
    let options = StateOptions { write_buffer_bytes: 1 << 20, ..OPTIONS };
    let state = StateStore::open(dir.path(), options).unwrap();
    let long = "long ".repeat(2000);
    for index in 1..=500 {
        let count = index.to_string();
        let row = format!("{index:04}");
        let writes = [put(Table::Cell, "count", &count), put(Table::Entry, &row, &long)];
        let mark = format!("entry {index}");
        state.commit(effects(writes), index, mark.into_bytes(), None).unwrap();
    }
    let copy = killed(&state, dir.path());
    let after = open(copy.path());
    let index = consistent(&after, &after.marks());
    assert!(index.is_some(), "nothing was flushed");
}

#[test]
fn memtables_that_are_far_too_full_are_flushed_whole() {
    // As little memory as may be set, and as much in it as there can be: cells that are held back, whose
    // names are long, and entries that come as fast as they can.
    let dir = TempDir::new().unwrap();
    let options = StateOptions { write_buffer_bytes: 1 << 20, ..OPTIONS };
    let state = StateStore::open(dir.path(), options).unwrap();
    let name = |cell: u64| format!("{cell:0256}");
    let body = "e".repeat(64 * 1024);
    let per_entry = 1000;
    for index in 1..=60 {
        let cells = (0..per_entry).map(|cell| index % 2 * 30_000 + index * 500 + cell);
        let writes = cells.map(|cell| put(Table::Cell, &name(cell), &index.to_string()));
        let entry = put(Table::Entry, &format!("{index:04}"), &body);
        let writes = writes.chain([entry, put(Table::Register, "newest", &index.to_string())]);
        state.commit(effects(writes), index, index.to_be_bytes().to_vec(), None).unwrap();
        if index % 10 > 0 {
            continue;
        }
        let after = StateStore::open(killed(&state, dir.path()).path(), options).unwrap();
        let last = after.marks().index.unwrap_or(0);
        let newest = (last > 0).then(|| last.to_string().into_bytes());
        assert_eq!(after.get(Table::Register, b"newest").unwrap(), newest);
        assert_eq!(after.scan(Table::Entry, b"", b"9", 999).unwrap().len() as u64, last);
        let mut expected = std::collections::BTreeMap::new();
        for index in 1..=last {
            let cells = (0..per_entry).map(|cell| index % 2 * 30_000 + index * 500 + cell);
            expected.extend(cells.map(|cell| (name(cell), index.to_string())));
        }
        let rows = after.scan(Table::Cell, b"", b"9", usize::MAX).unwrap();
        assert_eq!(rows.len(), expected.len(), "after entry {last}");
        for (key, value) in rows {
            let key = String::from_utf8(key).unwrap();
            assert_eq!(expected[&key].as_bytes(), value, "cell {key} after entry {last}");
        }
    }
}

#[test]
fn a_state_that_lacks_rows_is_refused() {
    let dir = TempDir::new().unwrap();
    let state = open(dir.path());
    commit(&state, 1);
    state.flush().unwrap();
    commit(&state, 2);
    // As RocksDB might do by itself.
    state.shared().read().db().flush().unwrap();
    let copy = killed(&state, dir.path());
    let error = StateStore::open(copy.path(), OPTIONS).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("the state of no entry"), "{error}");
    // Nothing is wrong once it is whole again.
    state.flush().unwrap();
    let after = open(killed(&state, dir.path()).path());
    assert_eq!(consistent(&after, &after.marks()), Some(2));
}

#[test]
fn some_rows_in_every_table_do_not_count_as_full_memtables() {
    let dir = TempDir::new().unwrap();
    let state = open(dir.path());
    let kilobyte = "k".repeat(1000);
    for index in 1..=20 {
        let rows = Table::ALL.map(|table| put(table, &index.to_string(), &kilobyte));
        state.commit(effects(rows), index, b"".to_vec(), None).unwrap();
    }
    let after = open(killed(&state, dir.path()).path());
    assert_eq!(after.marks().index, None, "flushed after 180 of 8192 kilobytes");
}

#[test]
fn scans_keep_order_bounds_and_limits_in_both_directions() {
    let dir = TempDir::new().unwrap();
    let state = open(dir.path());
    let rows = ["b", "d", "a", "c", "e"].map(|key| put(Table::Index, key, ""));
    state.commit(effects(rows), 1, b"".to_vec(), None).unwrap();
    state.flush().unwrap();
    state
        .commit(
            effects([
                Write::DeleteRange { table: Table::Index, from: b"a".into(), to: b"b".into() },
                put(Table::Index, "bb", ""),
                Write::Delete { table: Table::Index, key: b"d".into() },
                put(Table::Object, "c", "another table"),
            ]),
            2,
            Vec::new(),
            None,
        )
        .unwrap();
    let snapshot = state.snapshot().unwrap();
    let up = |from: &str, to: &str, limit| {
        let rows = snapshot.scan(Table::Index, from.as_bytes(), to.as_bytes(), limit).unwrap();
        let latest = state.scan(Table::Index, from.as_bytes(), to.as_bytes(), limit).unwrap();
        assert_eq!(rows, latest);
        keys(rows)
    };
    let down = |from: &str, to: &str, limit| {
        keys(snapshot.scan_back(Table::Index, from.as_bytes(), to.as_bytes(), limit).unwrap())
    };
    assert_eq!(up("", "z", 10), ["b", "bb", "c", "e"]);
    assert_eq!(down("", "z", 10), ["e", "c", "bb", "b"]);
    assert_eq!(up("b", "e", 2), ["b", "bb"]);
    assert_eq!(down("b", "e", 2), ["c", "bb"]);
    assert_eq!(up("bb", "bb", 9), [""; 0]);
    assert_eq!(down("e", "b", 9), [""; 0]);
    assert_eq!(up("", "z", 0), [""; 0]);
    assert_eq!(state.get(Table::Index, b"d").unwrap(), None);
    assert_eq!(state.get(Table::Object, b"c").unwrap(), Some(b"another table".to_vec()));
}

#[test]
fn a_snapshot_stays_as_it_is() {
    let dir = TempDir::new().unwrap();
    let state = open(dir.path());
    (1..=3).for_each(|index| commit(&state, index));
    let snapshot = state.snapshot().unwrap();
    let hash = snapshot.content_hash().unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..50 {
                let marks = snapshot.marks().unwrap();
                assert_eq!(consistent(&snapshot, &marks), Some(3));
            }
        });
        (4..=50).for_each(|index| commit(&state, index));
        reader.join().unwrap();
    });
    // Nor does giving disk space back take anything from it.
    let all = Write::DeleteRange { table: Table::Entry, from: b"0".into(), to: b"9".into() };
    state.commit(effects([all]), 51, b"".to_vec(), None).unwrap();
    state.shared().read().db().compact(Table::Entry, b"0", b"9");
    assert_eq!(state.scan(Table::Entry, b"", b"9", 9).unwrap(), []);
    assert_eq!(consistent(&snapshot, &snapshot.marks().unwrap()), Some(3));
    assert_eq!(snapshot.content_hash().unwrap(), hash);
    assert_ne!(content_hash(&state), hash);
    drop(state);
    assert_eq!(snapshot.content_hash().unwrap(), hash);
}

#[test]
fn deleted_shards_give_their_disk_space_back() {
    let dir = TempDir::new().unwrap();
    let state = open(dir.path());
    let mut random = 1u64;
    let mut row = |key: u64| {
        // Not compressible.
        let value: Vec<u8> = (0..125)
            .flat_map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random ^ (random >> 32)).to_le_bytes()
            })
            .collect();
        Write::Put { table: Table::Entry, key: key.to_be_bytes().to_vec(), value }
    };
    state.commit(effects((0..2000).map(&mut row)), 1, b"".to_vec(), None).unwrap();
    state.flush().unwrap();
    let on_disk = || {
        let state = state.shared().read();
        state.db().db().live_files().unwrap().iter().map(|file| file.size).sum::<usize>()
    };
    let before = on_disk();
    assert!(before > 2_000_000, "{before}");
    let (from, to) = (0u64.to_be_bytes().to_vec(), 1900u64.to_be_bytes().to_vec());
    let most = Write::DeleteRange { table: Table::Entry, from, to };
    state.commit(effects([most]), 2, b"".to_vec(), None).unwrap();
    // The background does one job after the other.
    let (done, waiting) = std::sync::mpsc::channel();
    state.state.compactor.jobs().offer(move || done.send(()).expect("the test listens"));
    waiting.recv().unwrap();
    let after = on_disk();
    assert!(after < before / 10, "{after} of {before} bytes are left");
    assert_eq!(state.scan(Table::Entry, &[], &[0xFF], usize::MAX).unwrap().len(), 100);
}

#[test]
fn the_hash_tells_states_apart_and_nothing_else() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (one, two) = (open(one.path()), open(two.path()));
    let empty = content_hash(&one);
    let rows =
        || [put(Table::Cell, "a", "1"), put(Table::Cell, "b", "2"), put(Table::Day, "c", "")];
    one.commit(effects(rows()), 1, b"one".to_vec(), Some(b"a membership".to_vec())).unwrap();
    for (index, row) in (7..).zip(rows().into_iter().rev()) {
        two.commit(effects([row]), index, b"two".to_vec(), None).unwrap();
        two.flush().unwrap();
    }
    let hash = content_hash(&one);
    assert_eq!(hash, content_hash(&two));
    assert_ne!(hash, empty);
    for (table, key, value) in
        [(Table::Cell, "a", "2"), (Table::Cell, "ab", ""), (Table::Object, "a", "1")]
    {
        let other = TempDir::new().unwrap();
        let other = open(other.path());
        let rows = [put(table, key, value), put(Table::Cell, "b", "2"), put(Table::Day, "c", "")];
        other.commit(effects(rows), 1, b"one".to_vec(), None).unwrap();
        assert_ne!(content_hash(&other), hash, "{table:?} {key} {value}");
    }
}

#[test]
fn a_checkpoint_installed_elsewhere_is_the_same_state() {
    let (there, here) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let source = open(&there.path().join("state"));
    (1..=20).for_each(|index| commit(&source, index));
    let snapshots = Snapshots::open(there.path()).unwrap();
    let mut marks = Marks::default();
    let built = snapshots
        .build(|into| {
            marks = source.checkpoint(into)?;
            Ok(b"the snapshot".to_vec())
        })
        .unwrap();
    assert_eq!((marks.index, &marks), (Some(20), &source.marks()));
    assert!(source.flushed().covers(20));
    verify(built.path(), built.manifest()).unwrap();
    let hash = content_hash(&source);

    let target = open(here.path());
    (1..=3).for_each(|index| commit(&target, index));
    let before = target.snapshot().unwrap();
    target.install(built.path()).unwrap();
    assert_eq!(consistent(&target, &target.marks()), Some(20));
    assert_eq!(content_hash(&target), hash);
    assert!(target.flushed().covers(20));
    // Who was reading goes on; the old state goes with the last reader.
    assert_eq!(consistent(&before, &before.marks().unwrap()), Some(3));
    assert_eq!(numbers(here.path()).unwrap().len(), 2);
    drop(before);
    assert_eq!(numbers(here.path()).unwrap(), [2]);

    // The state goes on by itself, and the checkpoint stays as it was.
    (21..=30).for_each(|index| commit(&target, index));
    target.flush().unwrap();
    verify(built.path(), built.manifest()).unwrap();
    assert!(target.install(built.path()).unwrap_err().to_string().contains("entry 21"));
    assert_eq!(consistent(&target, &target.marks()), Some(30));
    drop(target);
    let target = open(here.path());
    assert_eq!(consistent(&target, &target.marks()), Some(30));
    assert_eq!(numbers(here.path()).unwrap(), [2]);
}

#[test]
fn a_flipped_byte_in_a_checkpoint_is_found() {
    let dir = TempDir::new().unwrap();
    let state = open(&dir.path().join("state"));
    (1..=20).for_each(|index| commit(&state, index));
    let checkpoint = dir.path().join("checkpoint");
    state.checkpoint(&checkpoint).unwrap();
    let manifest = write_manifest(&checkpoint, Vec::new(), None).unwrap();
    verify(&checkpoint, &manifest).unwrap();
    let table = manifest.files.iter().find(|file| file.name.ends_with(".sst")).unwrap();
    let path = checkpoint.join(&table.name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 0x40;
    // Not through the hard link: the state's own file is left alone.
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let error = verify(&checkpoint, &read_manifest(&checkpoint).unwrap()).unwrap_err();
    assert!(error.to_string().contains(&table.name), "{error}");
}

#[test]
fn checkpoints_are_whole_while_writes_go_on() {
    let dir = TempDir::new().unwrap();
    let state = open(&dir.path().join("state"));
    commit(&state, 1);
    std::thread::scope(|scope| {
        let (ended, ends) = std::sync::mpsc::channel::<()>();
        let writer = scope.spawn({
            let state = &state;
            move || {
                let running = || ends.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty);
                (2..5000).take_while(|_| running()).for_each(|index| commit(state, index));
            }
        });
        for number in 0..5 {
            let least = state.marks().index;
            let into = dir.path().join(format!("checkpoint {number}"));
            let marks = state.checkpoint(&into).unwrap();
            assert!(marks.index >= least);
            write_manifest(&into, Vec::new(), None).unwrap();
            let other = open(&dir.path().join(format!("other {number}")));
            other.install(&into).unwrap();
            assert_eq!(other.marks(), marks);
            assert_eq!(consistent(&other, &marks), marks.index);
        }
        drop(ended);
        writer.join().unwrap();
    });
}

#[test]
fn a_crash_during_an_installation_leaves_the_old_state_or_the_new() {
    let (there, here) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let source = open(&there.path().join("state"));
    (1..=20).for_each(|index| commit(&source, index));
    let checkpoint = there.path().join("checkpoint");
    source.checkpoint(&checkpoint).unwrap();
    write_manifest(&checkpoint, Vec::new(), None).unwrap();
    let target = open(here.path());
    (1..=3).for_each(|index| commit(&target, index));
    target.flush().unwrap();

    // Before the name is replaced: all of the new state is there, and it is not in force.
    let prepared = target.shared().prepare(&checkpoint, &folder(here.path(), 2)).unwrap();
    let copy = killed(&target, here.path());
    let after = open(copy.path());
    assert_eq!(consistent(&after, &after.marks()), Some(3));
    assert_eq!(numbers(copy.path()).unwrap(), [1]);
    drop((after, prepared));

    // After it: the old one is still there too.
    let reading = target.snapshot().unwrap();
    target.install(&checkpoint).unwrap();
    let copy = killed(&target, here.path());
    let after = open(copy.path());
    assert_eq!(consistent(&after, &after.marks()), Some(20));
    assert_eq!(numbers(copy.path()).unwrap(), [2]);
    drop((reading, after));

    fs::remove_file(copy.path().join(CURRENT)).unwrap();
    let error = StateStore::open(copy.path(), OPTIONS).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}

#[test]
fn what_was_held_back_is_in_a_checkpoint_as_of_its_entry() {
    const CELLS: u64 = 3 * limits::WRITE_BACK_CELLS as u64;
    let dir = TempDir::new().unwrap();
    let state = open(&dir.path().join("state"));
    let cell = |index: u64| format!("{:05}", index % CELLS);
    // Every cell is written again and again, and goes now and then.
    let write = |index: u64| match index % 7 {
        0 => Write::Delete { table: Table::Cell, key: cell(index).into() },
        _ => put(Table::Cell, &cell(index), &index.to_string()),
    };
    let commit = |index: u64| {
        let writes = [write(index), put(Table::Register, "newest", &index.to_string())];
        state.commit(effects(writes), index, index.to_be_bytes().to_vec(), None).unwrap();
    };
    (1..=CELLS).for_each(commit);
    std::thread::scope(|scope| {
        let (ended, ends) = std::sync::mpsc::channel::<()>();
        let writer = scope.spawn(move || {
            let running = || ends.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty);
            (CELLS + 1..200_000).take_while(|_| running()).for_each(commit);
        });
        for number in 0..5 {
            let into = dir.path().join(format!("checkpoint {number}"));
            let marks = state.checkpoint(&into).unwrap();
            write_manifest(&into, Vec::new(), None).unwrap();
            let other = open(&dir.path().join(format!("other {number}")));
            other.install(&into).unwrap();
            let last = marks.index.unwrap();
            assert_eq!(other.marks(), marks);
            let newest = other.get(Table::Register, b"newest").unwrap();
            assert_eq!(newest, Some(last.to_string().into_bytes()));
            for index in last - CELLS + 1..=last {
                let row = other.get(Table::Cell, cell(index).as_bytes()).unwrap();
                let expected = (index % 7 != 0).then(|| index.to_string().into_bytes());
                assert_eq!(row, expected, "cell {} of entry {index}", cell(index));
            }
        }
        drop(ended);
        writer.join().unwrap();
    });
    // A killed node has what the last checkpoint flushed, and none of what came later.
    let index = state.marks().index.unwrap() + 1;
    commit(index);
    let after = open(killed(&state, &dir.path().join("state")).path());
    assert!(after.marks().index < Some(index));
    assert!(state.audit_snapshot().get(Table::Cell, b"00001").is_err());
    assert!(state.snapshot_with(vec![b"0".to_vec()]).get(Table::Cell, b"00001").is_err());
}

/// Cells, wherever they stand, and the other tables are of one moment while entries are committed, and
/// stay as they were.
#[test]
fn a_snapshot_with_cells_is_of_one_moment() {
    let dir = TempDir::new().unwrap();
    let state = open(dir.path());
    let commit = |index: u64| {
        let value = index.to_string();
        let cell = match index % 3 {
            0 => Write::Delete { table: Table::Cell, key: b"hot".into() },
            _ => put(Table::Cell, "hot", &value),
        };
        let writes = [cell, put(Table::Object, "newest", &value)];
        state.commit(effects(writes), index, Vec::new(), None).unwrap();
    };
    state.commit(effects([put(Table::Cell, "cold", "c")]), 1, Vec::new(), None).unwrap();
    state.flush().unwrap();
    commit(2);
    let take =
        || state.snapshot_with(["hot", "cold", "none"].map(|key| key.as_bytes().to_vec()).into());
    let look = |snapshot: &StateSnapshot| {
        let newest = snapshot.get(Table::Object, b"newest").unwrap();
        let index: u64 = String::from_utf8(newest.unwrap()).unwrap().parse().unwrap();
        let hot = (!index.is_multiple_of(3)).then(|| index.to_string().into_bytes());
        assert_eq!(snapshot.get(Table::Cell, b"hot").unwrap(), hot);
        assert_eq!(snapshot.get(Table::Cell, b"cold").unwrap(), Some(b"c".to_vec()));
        assert_eq!(snapshot.get(Table::Cell, b"none").unwrap(), None);
        assert!(snapshot.get(Table::Cell, b"other").is_err(), "it was not asked for");
        assert!(snapshot.scan(Table::Cell, b"", b"z", 1).is_err(), "it is not whole");
        index
    };
    let first = take();
    std::thread::scope(|scope| {
        let (ended, ends) = std::sync::mpsc::channel::<()>();
        let writer = scope.spawn(move || {
            let running = || ends.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty);
            (3..).take_while(|_| running()).for_each(commit);
        });
        let mut last = 0;
        for number in 0..2_000 {
            let index = look(&take());
            assert!(index >= last);
            last = index;
            if number % 500 == 0 {
                state.flush().unwrap();
            }
        }
        drop(ended);
        writer.join().unwrap();
    });
    assert_eq!(look(&first), 2);
}
