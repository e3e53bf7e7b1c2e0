//! Importing: entries are taken over with their ids and times, into the shards of their own days.
//!
//! A shard is in the order of time, and its sequence numbers are dense, so an entry can only go behind
//! the last one: by its time and, within a millisecond, by its id, which is how live entries stand too.
//! Whoever imports sends the entries of a day in that order. What is not behind the last is looked up at
//! its place, so that sending entries twice changes nothing.
//!
//! Invariants:
//! - An imported entry's time is before the machine's clock, so that live ones go on behind it.
//! - An entry is added once: either it is behind the last, or found, or refused.
//! - Behind an entry for which its object has no room nothing is added to that object by the same import, so
//!   that it can be sent again when there is room.

use std::collections::BTreeMap;
use std::io;

use super::audit::{self, EntryRecord};
use super::command::{Import, ImportedEntry};
use super::keys::{self, Alarm};
use super::object::{ObjectRef, ObjectState, Shard};
use super::outcome::{Placed, Refusal};
use super::quota::Spaces;
use super::table::{Overlay, Table};

/// By what the entries of a shard are in order: the time in ms, and the id as it is written.
type Place<'a> = (u64, Option<&'a [u8]>);

/// Places entries in their order; `shards` is the number of shards ever made, and may grow.
pub(super) fn import(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    now_ms: u64,
    shards: &mut u64,
    retention_ms: u64,
    import: &Import,
) -> io::Result<Vec<Placed>> {
    let mut expected = None;
    let mut full = BTreeMap::new();
    let placed = import.entries.iter().map(|entry| {
        let known = audit::read(rows, &entry.object)?;
        if let Some(record) = &known {
            let ObjectState::Shard(shard) = &record.state else {
                return Ok(Placed::Refused(Refusal::OtherClass));
            };
            if let Some(placed) = standing(rows, shard, entry, &mut expected)? {
                return Ok(placed);
            }
        }
        let refusal = refusal(now_ms, retention_ms, import.keep_expired, entry.at_ms);
        if let Some(refusal) = refusal {
            return Ok(Placed::Refused(refusal));
        }
        let object = (entry.object.namespace, entry.object.id);
        let refusal = full.get(&object).copied();
        let refusal =
            refusal.or_else(|| audit::refusal(spaces, &entry.object, known.as_ref(), &entry.body));
        if let Some(refusal) = refusal {
            // A smaller one behind it would have room, and leave it without a place for good.
            full.insert(object, refusal);
            return Ok(Placed::Refused(refusal));
        }
        let mut record = match known {
            Some(record) => record,
            None => audit::open(rows, now_ms, entry.at_ms, shards, &entry.object),
        };
        if is_expired(now_ms, retention_ms, entry.at_ms)
            && let ObjectState::Shard(shard) = &record.state
        {
            hold(rows, now_ms, &entry.object, shard)?;
        }
        let ImportedEntry { object, day, at_ms, terms, body } = entry;
        let entry = EntryRecord { at_ms: *at_ms, terms: *terms, body };
        assert!(audit::add(rows, spaces, &mut record, object, Some(*day), entry), "it is a shard");
        Ok(Placed::Added)
    });
    placed.collect()
}

/// Why an entry of `at_ms` that is not there is not taken at `now_ms`, wherever it would stand.
pub fn refusal(now_ms: u64, retention_ms: u64, keep_expired: bool, at_ms: u64) -> Option<Refusal> {
    if at_ms >= now_ms {
        Some(Refusal::ImportFuture)
    } else if !keep_expired && is_expired(now_ms, retention_ms, at_ms) {
        Some(Refusal::ImportExpired)
    } else {
        None
    }
}

/// The id with which the body of an entry begins: `{"id":"…"`.
pub fn id(body: &[u8]) -> Option<&[u8]> {
    let text = body.strip_prefix(br#"{"id":""#)?;
    Some(&text[..text.iter().position(|byte| *byte == b'"')?])
}

fn is_expired(now_ms: u64, retention_ms: u64, at_ms: u64) -> bool {
    at_ms.saturating_add(retention_ms) <= now_ms
}

/// Puts a shard's alarm from its oldest entry's time, if it is there, to now: its expired entries are
/// due one retention later.
fn hold(rows: &mut Overlay, now_ms: u64, object: &ObjectRef, shard: &Shard) -> io::Result<()> {
    let object = keys::object(object);
    let alarm = keys::alarm(Alarm::Shard, shard.first_ms, &object);
    if rows.get(Table::Alarm, &alarm)?.is_some() {
        rows.delete(Table::Alarm, alarm);
        rows.put(Table::Alarm, keys::alarm(Alarm::Shard, now_ms, &object), Vec::new());
    }
    Ok(())
}

/// What an entry that is not behind the shard's last comes to; `None` if it is behind.
///
/// `expected` is the shard and the number behind the entry that was found last: entries that are sent
/// again come in the order in which they stand there.
fn standing(
    rows: &Overlay,
    shard: &Shard,
    entry: &ImportedEntry,
    expected: &mut Option<(u64, u64)>,
) -> io::Result<Option<Placed>> {
    if entry.at_ms > shard.last_ms {
        return Ok(None);
    }
    let wanted = (entry.at_ms, id(&entry.body));
    let read = |sequence| {
        let value = rows.get(Table::Entry, &keys::entry(shard.number, sequence))?;
        value.ok_or_else(|| audit::damaged("a shard without one of its entries"))
    };
    if place(&read(shard.next_sequence - 1)?)? < wanted {
        return Ok(None);
    }
    let is_within = |sequence: &u64| (shard.first_sequence..shard.next_sequence).contains(sequence);
    let guess = expected.filter(|(number, _)| *number == shard.number).map(|(_, at)| at);
    let mut found = None;
    if let Some(sequence) = guess.filter(is_within) {
        let value = read(sequence)?;
        found = (place(&value)? == wanted).then_some((sequence, value));
    }
    let (sequence, value) = match found {
        Some(found) => found,
        None => {
            // The last is not before it, so there is a first that is not.
            let (mut low, mut high) = (shard.first_sequence, shard.next_sequence - 1);
            while low < high {
                let middle = low + (high - low) / 2;
                if place(&read(middle)?)? < wanted {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            (low, read(low)?)
        }
    };
    if place(&value)? != wanted {
        return Ok(Some(Placed::Refused(Refusal::ImportOrder)));
    }
    *expected = Some((shard.number, sequence + 1));
    Ok(Some(match EntryRecord::decode(&value)?.body == &entry.body[..] {
        true => Placed::Present,
        false => Placed::Refused(Refusal::ImportConflict),
    }))
}

/// The place of an entry's row.
fn place(value: &[u8]) -> io::Result<Place<'_>> {
    let EntryRecord { at_ms, body, .. } = EntryRecord::decode(value)?;
    Ok((at_ms, id(body)))
}
