//! What a node finds on its disk.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tallykeep::codec;
use tallykeep::fuzzing::{self, Stored};
use tallykeep::machine::audit::EntryRecord;
use tallykeep::machine::idempotency::{KeyRecord, KeysRecord};
use tallykeep::machine::limiter::Cell;
use tallykeep::machine::policy::{PoliciesRecord, PolicyRecord};
use tallykeep::machine::session::SessionRecord;
use tallykeep::machine::token::{TokenRecord, TokensRecord};
use tallykeep::machine::{Machine, ObjectRecord, Outcome, SpacesRecord, Table, keys};

use super::store::Store;
use super::{Verdict, is_invalid_data, stable};

/// `sort (1) ‖ value`.
pub fn value(input: &[u8]) -> Verdict {
    let Some((sort, value)) = input.split_first() else { return Verdict::Refused };
    match sort {
        0 => again::<Cell>(value),
        1 => again::<ObjectRecord>(value),
        2 => again::<SessionRecord>(value),
        3 => again::<Vec<Outcome>>(value),
        4 => entry(value),
        5 => registers(value),
        6 => stored(Stored::Entry, value),
        7 => stored(Stored::Vote, value),
        8 => stored(Stored::LogId, value),
        9 => stored(Stored::Membership, value),
        10 => stored(Stored::SnapshotMeta, value),
        11 => again::<KeyRecord>(value),
        12 => again::<KeysRecord>(value),
        13 => again::<PolicyRecord>(value),
        14 => again::<PoliciesRecord>(value),
        15 => token(value),
        16 => again::<TokensRecord>(value),
        17 => again::<SpacesRecord>(value),
        _ => Verdict::Refused,
    }
}

fn again<T: Serialize + DeserializeOwned>(value: &[u8]) -> Verdict {
    stable(value, |bytes| Ok(codec::encode(&codec::decode::<T>(bytes)?)), is_invalid_data)
}

/// A token's row may have a version of its own.
fn token(value: &[u8]) -> Verdict {
    stable(value, |bytes| Ok(TokenRecord::decode(bytes)?.encode()), is_invalid_data)
}

fn stored(what: Stored, value: &[u8]) -> Verdict {
    stable(value, |bytes| fuzzing::stored(what, bytes), is_invalid_data)
}

/// An entry's row is not in the encoding of the others, and its body is any bytes.
fn entry(value: &[u8]) -> Verdict {
    match EntryRecord::decode(value) {
        Ok(record) => {
            assert_eq!(EntryRecord::decode(&record.encode()).ok(), Some(record));
            Verdict::Taken
        }
        Err(error) => {
            assert!(is_invalid_data(&error), "{error:?}");
            Verdict::Refused
        }
    }
}

/// The registers are known to the machine alone.
fn registers(value: &[u8]) -> Verdict {
    let mut store = Store::default();
    store.put(Table::Register, keys::MACHINE, value);
    match Machine::load(&store) {
        Ok(machine) => {
            assert_eq!(Machine::load(&store).ok(), Some(machine));
            Verdict::Taken
        }
        Err(error) => {
            assert!(is_invalid_data(&error), "{error:?}");
            Verdict::Refused
        }
    }
}
