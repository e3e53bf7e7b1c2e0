//! Whether an id was given to two entries.
//!
//! An id is a UUIDv7 (RFC 9562, section 5.7): it begins with the millisecond in which its entry was
//! stamped. Two entries with the same id would have been stamped in the same millisecond, so their
//! answers come within the time that a client waits for one. Only ids that came in that time are
//! kept, in two generations of it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::limits::{BENCH_IDS_MAX, CLIENT_TIMEOUT};

/// How long a generation takes ids. A little longer than a client waits.
const GENERATION: Duration = CLIENT_TIMEOUT.saturating_mul(2);

/// The ids that came lately.
pub(super) struct Ids {
    young: HashSet<u128>,
    old: HashSet<u128>,
    /// When the young ones began.
    began: Instant,
}

impl Ids {
    /// None yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), began: now }
    }

    /// Adds the id of an entry.
    ///
    /// # Errors
    /// It is no UUIDv7, or was given to another entry.
    pub(super) fn add(&mut self, text: &str, now: Instant) -> Result<(), String> {
        // Memory is bounded, whatever the rate: then fewer seconds are looked back.
        if now.duration_since(self.began) > GENERATION || self.young.len() >= BENCH_IDS_MAX {
            self.old = std::mem::take(&mut self.young);
            self.began = now;
        }
        let id = Uuid::try_parse(text).map_err(|error| format!("the id {text:?}: {error}"))?;
        if id.get_version_num() != 7 {
            return Err(format!("the id {text} is of version {}, not 7", id.get_version_num()));
        }
        if self.old.contains(&id.as_u128()) || !self.young.insert(id.as_u128()) {
            return Err(format!("the id {text} was given to two entries"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_is_found_for_as_long_as_it_can_come() {
        let began = Instant::now();
        let mut ids = Ids::new(began);
        let id = Uuid::now_v7().to_string();
        ids.add(&id, began).unwrap();
        assert!(ids.add(&id, began).unwrap_err().contains("two entries"));
        // By then the generation has changed.
        ids.add(&Uuid::now_v7().to_string(), began + GENERATION * 2).unwrap();
        assert!(ids.add(&id, began + GENERATION * 2).is_err());
        // And by then twice: it is forgotten, which bounds the memory.
        ids.add(&Uuid::now_v7().to_string(), began + GENERATION * 4).unwrap();
        ids.add(&id, began + GENERATION * 4).unwrap();
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        let now = Instant::now();
        let mut ids = Ids::new(now);
        assert!(ids.add("1", now).is_err());
        assert!(ids.add("9f0c1d1c-0f0e-4b63-8f3e-1e5f5f5f5f5f", now).is_err());
    }
}
