//! Audit shards: appending entries and removing those past their retention.
//!
//! Invariants:
//! - Sequence numbers of a shard are dense, and times never decrease with them, so a time range is
//!   a sequence range.
//! - An entry's body is stored as the log carried it; of it nothing is read but, by an import, the id.
//! - A shard has a row, and exactly one alarm row, exactly while it has entries. The alarm is at its
//!   oldest entry's time, or later if expired entries were imported ([`super::import`]). It holds that
//!   time and not when it is due, so that a change of the retention needs no rewrite: an entry is due
//!   when `time + retention <= now`.

use std::io;

use sha2::{Digest, Sha256};

use super::command::{Append, Field, Terms};
use super::keys::{self, Alarm};
use super::object::{ObjectRecord, ObjectRef, ObjectState, Shard};
use super::outcome::{Answer, Refusal, Ticked};
use super::quota::{KEY_BYTES, Spaces};
use super::table::{Overlay, Table};
use crate::codec;
use crate::limits;

/// Bytes of an entry's row before its body: its time, and its terms.
pub const ENTRY_HEADER_BYTES: usize = 8 + Field::ALL.len() * 9;

/// The hash under which a field's value is indexed: the first 8 bytes of its SHA-256.
pub fn term(value: &str) -> u64 {
    u64::from_be_bytes(*Sha256::digest(value.as_bytes()).first_chunk().expect("32 bytes"))
}

/// A row of [`Table::Entry`]: `ms (8, big-endian) ‖ 4 × (has (1) ‖ term (8)) ‖ body`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRecord<'a> {
    /// The entry's timestamp, in ms since the Unix epoch.
    pub at_ms: u64,
    /// The hashes under which it is indexed.
    pub terms: Terms,
    /// The entry's JSON object.
    pub body: &'a [u8],
}

impl<'a> EntryRecord<'a> {
    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(ENTRY_HEADER_BYTES + self.body.len());
        value.extend_from_slice(&self.at_ms.to_be_bytes());
        for term in self.terms {
            value.push(u8::from(term.is_some()));
            value.extend_from_slice(&term.unwrap_or(0).to_be_bytes());
        }
        value.extend_from_slice(self.body);
        value
    }

    /// Reads a row's value.
    ///
    /// # Errors
    /// `InvalidData` if it is shorter than its header, or has another mark than 0 or 1.
    pub fn decode(value: &'a [u8]) -> io::Result<Self> {
        let (header, body) = value
            .split_first_chunk::<ENTRY_HEADER_BYTES>()
            .ok_or_else(|| damaged("an entry shorter than its header"))?;
        let (ms, hashes) = header.split_first_chunk::<8>().expect("a header starts with the time");
        let mut terms = Terms::default();
        for (term, bytes) in terms.iter_mut().zip(hashes.as_chunks::<9>().0) {
            let (has, hash) = bytes.split_first_chunk::<1>().expect("9 bytes");
            let hash = hash.first_chunk::<8>().expect("8 bytes");
            *term = match has[0] {
                0 => None,
                1 => Some(u64::from_be_bytes(*hash)),
                _ => return Err(damaged("an entry's header")),
            };
        }
        Ok(Self { at_ms: u64::from_be_bytes(*ms), terms, body })
    }
}

/// Appends one entry at `now_ms`; `shards` is the number of shards ever made, and may grow.
pub(super) fn append(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    now_ms: u64,
    shards: &mut u64,
    append: &Append,
) -> io::Result<Answer> {
    let known = read(rows, &append.object)?;
    if let Some(refusal) = refusal(spaces, &append.object, known.as_ref(), &append.body) {
        return Ok(Answer::Refused(refusal));
    }
    let mut record = match known {
        Some(record) => record,
        None => open(rows, now_ms, now_ms, shards, &append.object),
    };
    let entry = EntryRecord { at_ms: now_ms, terms: append.terms, body: &append.body };
    if !add(rows, spaces, &mut record, &append.object, append.day, entry) {
        return Ok(Answer::Refused(Refusal::OtherClass));
    }
    Ok(Answer::Logged { id: append.id })
}

/// Why an entry with this body cannot go into an object that is `known`, if it is there.
pub(super) fn refusal(
    spaces: &mut Spaces,
    object: &ObjectRef,
    known: Option<&ObjectRecord>,
    body: &[u8],
) -> Option<Refusal> {
    let before = match known.map(|record| &record.state) {
        None => None,
        Some(ObjectState::Shard(shard)) => Some(shard.bytes_taken()),
        Some(_) => return Some(Refusal::OtherClass),
    };
    let after = before.unwrap_or(0).saturating_add(KEY_BYTES + body.len() as u64);
    spaces.refusal(object, before, after)
}

/// What an object holds, if it is there.
pub(super) fn read(rows: &Overlay, object: &ObjectRef) -> io::Result<Option<ObjectRecord>> {
    let value = rows.get(Table::Object, &keys::object(object))?;
    value.map(|value| codec::decode(&value)).transpose()
}

/// A new shard for its first entry, which is of `first_ms`.
pub(super) fn open(
    rows: &mut Overlay,
    now_ms: u64,
    first_ms: u64,
    shards: &mut u64,
    object: &ObjectRef,
) -> ObjectRecord {
    *shards += 1;
    let alarm = keys::alarm(Alarm::Shard, first_ms, &keys::object(object));
    rows.put(Table::Alarm, alarm, Vec::new());
    ObjectRecord {
        name: None,
        created_ms: now_ms,
        state: ObjectState::Shard(Shard {
            number: *shards,
            day: None,
            first_sequence: 0,
            next_sequence: 0,
            first_ms,
            last_ms: first_ms,
            bytes: 0,
        }),
    }
}

/// Puts an entry, which is not of an earlier time than the last, behind it; `false` if the object
/// holds no shard.
pub(super) fn add(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    record: &mut ObjectRecord,
    object: &ObjectRef,
    day: Option<u32>,
    entry: EntryRecord<'_>,
) -> bool {
    let ObjectState::Shard(shard) = &mut record.state else { return false };
    // A shard by date may have been made by its name or its id, before anyone came by the day.
    if shard.day.is_none()
        && let Some(day) = day
    {
        shard.day = Some(day);
        rows.put(Table::Day, keys::day(object.namespace, day), object.id.0.to_vec());
    }
    if record.name.is_none() {
        record.name.clone_from(&object.name);
    }
    // It has a row once it has entries.
    let before = (shard.entries() > 0).then(|| shard.bytes_taken());
    let sequence = shard.next_sequence;
    for (field, term) in Field::ALL.into_iter().zip(entry.terms) {
        if let Some(term) = term {
            let key = keys::index(shard.number, field, term, sequence);
            rows.put(Table::Index, key, Vec::new());
        }
    }
    rows.put(Table::Entry, keys::entry(shard.number, sequence), entry.encode());
    shard.next_sequence += 1;
    shard.last_ms = entry.at_ms;
    shard.bytes += entry.body.len() as u64;
    let (key, after) = (keys::object(object), shard.bytes_taken());
    spaces.resize(&key, before, Some(after));
    spaces.grown(object, before, after);
    rows.put(Table::Object, key, codec::encode(record));
    true
}

/// Removes what is past its retention, within the bounds of one tick.
pub(super) fn tick(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    now_ms: u64,
    retention_ms: u64,
    done: &mut Ticked,
) -> io::Result<()> {
    let Some(cutoff_ms) = now_ms.checked_sub(retention_ms) else { return Ok(()) };
    let (from, to) = keys::alarms_between(Alarm::Shard, 0, cutoff_ms);
    let due = rows.scan(Table::Alarm, &from, &to, limits::TICK_SHARDS_MAX)?;
    done.more |= due.len() == limits::TICK_SHARDS_MAX;
    let mut budget = limits::TICK_ENTRIES_MAX;
    for (alarm, _) in due {
        if budget == 0 {
            done.more = true;
            break;
        }
        let (_, object) = keys::split_alarm(&alarm).ok_or_else(|| damaged("an alarm's key"))?;
        let value = rows.get(Table::Object, object)?.ok_or_else(|| damaged("a due shard"))?;
        let mut record = codec::decode::<ObjectRecord>(&value)?;
        let ObjectState::Shard(shard) = &mut record.state else {
            return Err(damaged("a shard's alarm for a limiter"));
        };
        rows.delete(Table::Alarm, alarm.clone());
        let before = shard.bytes_taken();
        if shard.last_ms <= cutoff_ms {
            remove(rows, object, shard);
            spaces.resize(object, Some(before), None);
            done.shards += 1;
            continue;
        }
        let removed = trim(rows, shard, cutoff_ms, budget)?;
        budget -= removed;
        done.entries += removed as u64;
        done.more |= budget == 0;
        spaces.resize(object, Some(before), Some(shard.bytes_taken()));
        rows.put(Table::Alarm, keys::alarm(Alarm::Shard, shard.first_ms, object), Vec::new());
        rows.put(Table::Object, object.to_vec(), codec::encode(&record));
    }
    Ok(())
}

/// Removes a shard all of whose entries are due.
fn remove(rows: &mut Overlay, object: &[u8], shard: &Shard) {
    let (from, to) = keys::entries(shard.number);
    rows.delete_range(Table::Entry, from.clone(), to.clone());
    rows.delete_range(Table::Index, from, to);
    if let Some(day) = shard.day {
        let namespace = object.first_chunk().expect("an object's key starts with its namespace");
        rows.delete(Table::Day, keys::day(super::NamespaceId(*namespace), day));
    }
    rows.delete(Table::Object, object.to_vec());
}

/// Removes at most `budget` of a shard's oldest entries, those up to `cutoff_ms`.
///
/// The shard has a later entry, so it never becomes empty.
fn trim(rows: &mut Overlay, shard: &mut Shard, cutoff_ms: u64, budget: usize) -> io::Result<usize> {
    let (_, to) = keys::entries(shard.number);
    let mut removed = 0;
    loop {
        let from = keys::entry(shard.number, shard.first_sequence);
        let next = rows.scan(Table::Entry, &from, &to, limits::TICK_READ_ENTRIES)?;
        if next.is_empty() {
            return Err(damaged("a shard without its last entry"));
        }
        for (key, value) in next {
            let entry = EntryRecord::decode(&value)?;
            shard.first_ms = entry.at_ms;
            if entry.at_ms > cutoff_ms || removed == budget {
                return Ok(removed);
            }
            let sequence = keys::sequence(&key).ok_or_else(|| damaged("an entry's key"))?;
            for (field, term) in Field::ALL.into_iter().zip(entry.terms) {
                if let Some(term) = term {
                    let key = keys::index(shard.number, field, term, sequence);
                    rows.delete(Table::Index, key);
                }
            }
            shard.bytes -= entry.body.len() as u64;
            shard.first_sequence = sequence + 1;
            rows.delete(Table::Entry, key);
            removed += 1;
        }
    }
}

pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the state is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use super::super::memory::Memory;
    use super::super::*;
    use super::*;

    #[test]
    fn an_entry_record_has_the_documented_bytes() {
        let terms = [Some(1), None, Some(u64::MAX), None];
        let record = EntryRecord { at_ms: 258, terms, body: b"{}" };
        let value = record.encode();
        assert_eq!(
            hex::encode(&value),
            "0000000000000102\
             010000000000000001000000000000000000\
             01ffffffffffffffff000000000000000000\
             7b7d"
        );
        assert_eq!(EntryRecord::decode(&value).unwrap(), record);
        assert!(EntryRecord::decode(&value[..ENTRY_HEADER_BYTES - 1]).is_err());
        assert!(EntryRecord::decode(&[2; ENTRY_HEADER_BYTES]).is_err());
    }

    /// A view that counts the entries that are read.
    struct Counting<'a> {
        rows: &'a Memory,
        entries: Cell<usize>,
    }

    impl View for Counting<'_> {
        fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
            self.rows.get(table, key)
        }

        fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
            let rows = self.rows.scan(table, from, to, limit)?;
            if table == Table::Entry {
                self.entries.set(self.entries.get() + rows.len());
            }
            Ok(rows)
        }
    }

    /// A body may have hundreds of kilobytes, and in a log that is as old as its retention a tick
    /// comes with nearly every entry.
    #[test]
    fn a_tick_reads_few_entries_beyond_those_that_are_due() {
        let mut rows = Memory::default();
        let mut machine = Machine::load(&rows).unwrap();
        let append = Command::Append(Append {
            object: Namespace::new("test-Object").object("log"),
            day: None,
            id: [0; 16],
            terms: Terms::default(),
            body: bytes::Bytes::from_static(b"{}"),
        });
        let group = |session, sequence, commands| Group {
            session,
            sequence,
            answered_below: 0,
            commands: Arc::new(commands),
        };
        for (at_ms, group) in [
            (1, group(0, 0, vec![Command::OpenSession { node: 1 }])),
            (1, group(1, 1, vec![append.clone()])),
            (2, group(1, 2, vec![append; limits::TICK_ENTRIES_MAX])),
        ] {
            let batch = Batch { at_ms, groups: vec![group] };
            let (_, effects) = machine.apply(&rows, &batch).unwrap();
            rows.make(&effects);
        }
        let view = Counting { rows: &rows, entries: Cell::new(0) };
        let tick = group(0, 0, vec![Command::Tick(Tick { retention_ms: 10 })]);
        let batch = Batch { at_ms: 11, groups: vec![tick] };
        let (outcomes, _) = machine.apply(&view, &batch).unwrap();
        let ticked = Ticked { entries: 1, ..Ticked::default() };
        assert_eq!(outcomes, [GroupOutcome::Done(vec![Outcome::Ticked(ticked)])]);
        assert!(
            view.entries.get() <= limits::TICK_READ_ENTRIES,
            "{} entries were read",
            view.entries.get()
        );
    }
}
