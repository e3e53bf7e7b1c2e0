//! What must be true of the tables after every batch; the tests of the machine ask after each.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::EntryRecord;
use super::idempotency::KeyRecord;
use super::keys::{self, Alarm};
use super::limiter::Cell;
use super::memory::Memory;
use super::policy::{self, PoliciesRecord};
use super::quota::{self, Space};
use super::table::View;
use super::token::{self, TokensRecord};
use super::{Field, Machine, Measured, NamespaceId, ObjectRecord, ObjectState, Shard, Table};
use crate::codec;
use crate::limits;

/// Panics unless the tables are sound, and hold everything that the machine knows.
pub(super) fn assert_sound(machine: &Machine, rows: &Memory) {
    assert_eq!(Machine::load(rows).unwrap(), *machine, "the tables hold the whole machine");
    let (limiters, shards) = objects(rows);
    assert_cells(rows, &limiters);
    let from_ms = machine.registers.windows_from_ms;
    let mut windows = alarms(rows, Alarm::Window).into_iter();
    assert!(
        windows.all(|key| keys::split_alarm(&key).unwrap().0 >= from_ms),
        "a tick begins to look at the first alarm or before"
    );
    assert_shards(rows, &shards);
    assert_keys(machine, rows);
    assert_policies(rows);
    assert_tokens(machine, rows);
    assert_spaces(rows);
}

type Limiters = BTreeMap<Vec<u8>, Measured>;
type Shards = BTreeMap<Vec<u8>, Shard>;

fn objects(rows: &Memory) -> (Limiters, Shards) {
    let (mut limiters, mut shards) = (Limiters::new(), Shards::new());
    for (key, value) in rows.table(Table::Object) {
        let state = codec::decode::<ObjectRecord>(value).unwrap().state;
        if let Some(limiter) = state.limiter() {
            limiters.insert(key.to_vec(), limiter);
        } else if let ObjectState::Shard(shard) = state {
            shards.insert(key.to_vec(), shard);
        }
    }
    (limiters, shards)
}

/// A cell has one alarm and an alarm one cell; a limiter has a row while it has cells, and its size is
/// that of the identifiers whose alarms say so.
fn assert_cells(rows: &Memory, limiters: &Limiters) {
    let mut counted = Limiters::new();
    let mut expected = BTreeSet::new();
    for (key, value) in rows.table(Table::Cell) {
        let cell: Cell = codec::decode(value).unwrap();
        assert!(cell.window_start_ms < cell.ends_ms, "a window has a length");
        assert!(cell.alarm_ms <= cell.ends_ms, "a window's end is not missed");
        let alarm = keys::alarm(Alarm::Window, cell.alarm_ms, key);
        let limiter = counted.entry(key[..keys::OBJECT_BYTES].to_vec()).or_default();
        limiter.cells += 1;
        match rows.get(Table::Alarm, &alarm).unwrap().as_deref() {
            Some([]) => {}
            Some([1]) => {
                limiter.measured += 1;
                limiter.identifier_bytes += (key.len() - keys::OBJECT_BYTES) as u64;
            }
            other => panic!("a window's alarm has {other:?}"),
        }
        expected.insert(alarm);
    }
    assert_eq!(alarms(rows, Alarm::Window), expected, "a cell has one alarm, an alarm one cell");
    assert_eq!(counted, *limiters, "a limiter has a row while it has cells, and measures them");
}

/// A shard's entries are dense and in the order of time; everything about them is in their row.
fn assert_shards(rows: &Memory, shards: &Shards) {
    let mut entries: BTreeMap<u64, Vec<(u64, EntryRecord)>> = BTreeMap::new();
    for (key, value) in rows.table(Table::Entry) {
        let shard = u64::from_be_bytes(*key.first_chunk().unwrap());
        let entry = (keys::sequence(key).unwrap(), EntryRecord::decode(value).unwrap());
        entries.entry(shard).or_default().push(entry);
    }
    let (mut oldest, mut index, mut days) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    for (object, shard) in shards {
        let entries = entries.remove(&shard.number).expect("a shard has entries");
        let sequences: Vec<u64> = entries.iter().map(|(sequence, _)| *sequence).collect();
        let dense: Vec<u64> = (shard.first_sequence..shard.next_sequence).collect();
        assert_eq!(sequences, dense, "sequence numbers are dense");
        assert!(entries.is_sorted_by_key(|(_, entry)| entry.at_ms), "times never decrease");
        assert_eq!(shard.first_ms, entries[0].1.at_ms);
        assert_eq!(shard.last_ms, entries.last().unwrap().1.at_ms);
        let bytes: usize = entries.iter().map(|(_, entry)| entry.body.len()).sum();
        assert_eq!(shard.bytes, bytes as u64);
        for (sequence, entry) in &entries {
            for (field, term) in Field::ALL.into_iter().zip(entry.terms) {
                index.extend(term.map(|term| keys::index(shard.number, field, term, *sequence)));
            }
        }
        oldest.insert(object.clone(), shard.first_ms);
        if let Some(day) = shard.day {
            let (namespace, id) = object.split_first_chunk::<8>().unwrap();
            days.insert(keys::day(super::NamespaceId(*namespace), day), id.to_vec());
        }
    }
    assert!(entries.is_empty(), "entries without a shard: {entries:?}");
    for alarm in alarms(rows, Alarm::Shard) {
        let (at_ms, object) = keys::split_alarm(&alarm).unwrap();
        let first_ms = oldest.remove(object).expect("an alarm has one shard, a shard one alarm");
        assert!(first_ms <= at_ms, "no alarm is before the oldest entry");
    }
    assert!(oldest.is_empty(), "shards without an alarm: {oldest:?}");
    let found: BTreeSet<Vec<u8>> = rows.table(Table::Index).map(|(key, _)| key.to_vec()).collect();
    assert_eq!(found, index, "the index is of the entries");
    let found: BTreeMap<Vec<u8>, Vec<u8>> =
        rows.table(Table::Day).map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert_eq!(found, days, "the days are those of the shards");
}

/// An idempotency key has one alarm and an alarm one key; something is kept, and it is counted.
fn assert_keys(machine: &Machine, rows: &Memory) {
    let mut expected = BTreeSet::new();
    let mut answers = 0;
    let (from, _) = keys::all_kept();
    for (row, value) in rows.table(Table::Alarm).filter(|(row, _)| row[0] >= from[0]) {
        let id = keys::split_kept(row).expect("nothing stands behind what keys keep");
        let record: KeyRecord = codec::decode(value).unwrap();
        assert!(record.answers.iter().any(Option::is_some), "a key keeps something");
        let mut kept = record.answers.iter().flatten();
        assert!(kept.all(|answer| answer.has_changed()), "no refusal is kept");
        expected.insert(keys::alarm(Alarm::Key, record.expires_ms, &id));
        answers += record.answers.len() as u64;
    }
    assert_eq!(alarms(rows, Alarm::Key), expected, "a key has one alarm, an alarm one key");
    assert_eq!(machine.keys.answers, answers, "the room of all keys");
    let from_ms = machine.keys.from_ms;
    assert!(
        expected.iter().all(|key| keys::split_alarm(key).unwrap().0 >= from_ms),
        "one looks for keys that are due from the first of them on"
    );
}

/// Policies are counted, and each change of one has a number of its own.
fn assert_policies(rows: &Memory) {
    let register = rows.table(Table::Register).find(|(key, _)| *key == keys::POLICIES);
    let PoliciesRecord { policies, changes } =
        register.map(|(_, value)| codec::decode(value).unwrap()).unwrap_or_default();
    let stored = policy::list(rows).unwrap();
    assert_eq!(stored.len() as u64, policies, "the policies are counted");
    assert!(policies <= limits::POLICIES_MAX, "they are bounded");
    let revisions: BTreeSet<u64> = stored.iter().map(|stored| stored.record.revision).collect();
    assert_eq!(revisions.len(), stored.len(), "a revision is of one change");
    assert!(revisions.iter().all(|revision| (1..=changes).contains(revision)));
}

/// Tokens are counted, and those that are in force have names of their own.
fn assert_tokens(machine: &Machine, rows: &Memory) {
    let TokensRecord { tokens, changes } = machine.tokens;
    let stored = token::list(rows).unwrap();
    assert_eq!(stored.len() as u64, tokens, "the tokens are counted");
    assert!(tokens <= limits::TOKENS_MAX && tokens <= changes, "they are bounded");
    let live = stored.iter().filter(|one| !one.record.token.is_over(machine.now_ms()));
    let names: Vec<&String> = live.map(|one| &one.record.token.name).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "a name is of one token");
}

/// The sums are of the objects that are counted.
fn assert_spaces(rows: &Memory) {
    let stored = quota::spaces(rows).unwrap();
    let mut spaces: BTreeMap<NamespaceId, Space> = BTreeMap::new();
    for (key, value) in rows.table(Table::Object) {
        if stored.uncounted_from.as_ref().is_some_and(|from| key >= &from[..]) {
            break;
        }
        let namespace = NamespaceId(*key.first_chunk().unwrap());
        let space = spaces.entry(namespace).or_default();
        space.objects += 1;
        space.bytes += codec::decode::<ObjectRecord>(value).unwrap().state.bytes();
    }
    for (namespace, space) in &stored.spaces {
        let counted = spaces.remove(namespace).unwrap_or_default();
        assert_eq!(Space { quota: None, ..*space }, counted, "the sums of {namespace:?}");
    }
    assert!(spaces.is_empty(), "objects that are in no sum: {spaces:?}");
}

fn alarms(rows: &Memory, kind: Alarm) -> BTreeSet<Vec<u8>> {
    let keys = rows.table(Table::Alarm).map(|(key, _)| key.to_vec());
    keys.filter(|key| key[0] == kind as u8).collect()
}
