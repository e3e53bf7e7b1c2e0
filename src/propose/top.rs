//! Which limiters refuse most, on one node: a sketch of bounded size.
//!
//! Space-saving (Metwally, Agrawal, El Abbadi 2005): a limiter that is not remembered takes the place of
//! the one that has refused least, and its count as a possible error. So what refuses much is always
//! there, and its true count between two numbers. Limiters go by their hashes into small sets, each a
//! sketch of its own behind a lock of its own, so that a refusal costs a hash and a look at a few numbers.
//!
//! Counts are of this period and the one before: what was refused last week is of no use to anyone.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use crate::limits;
use crate::machine::{Change, NamespaceId, ObjectRef};

/// Limiters of one set.
const SET: usize = 8;

/// See the top of the file.
pub(super) struct Top {
    sets: Vec<Mutex<Set>>,
    hashes: RandomState,
}

#[derive(Default)]
struct Set {
    /// Since the Unix epoch.
    period: u64,
    slots: Vec<Slot>,
}

struct Slot {
    hash: u64,
    object: ObjectRef,
    identifier: String,
    now: Tally,
    before: Tally,
}

/// Refusals of a period.
#[derive(Clone, Copy, Default)]
struct Tally {
    count: u64,
    /// So many of them may be another's.
    error: u64,
}

/// A limiter that has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The limiter.
    pub object: ObjectRef,
    /// Whose requests.
    pub identifier: String,
    /// How many, at most.
    pub refused: u64,
    /// How many, at least.
    pub refused_min: u64,
}

impl Default for Top {
    fn default() -> Self {
        let sets = (0..limits::TOP_LIMITERS / SET).map(|_| Mutex::default()).collect();
        Self { sets, hashes: RandomState::default() }
    }
}

impl Top {
    /// Counts a refusal at `now_ms` by the cluster's clock.
    pub(super) fn refused(&self, object: &ObjectRef, identifier: &str, now_ms: u64) {
        let hash = self.hashes.hash_one((object.id, identifier));
        let mut set = lock(&self.sets[hash as usize % self.sets.len()]);
        set.turn_to(now_ms / limits::TOP_PERIOD_MS);
        if let Some(slot) = set.slots.iter_mut().find(|slot| slot.hash == hash) {
            slot.now.count += 1;
            return;
        }
        let slot = |now, before| Slot {
            hash,
            object: object.clone(),
            identifier: identifier.to_owned(),
            now,
            before,
        };
        if set.slots.len() < SET {
            set.slots.push(slot(Tally { count: 1, error: 0 }, Tally::default()));
            return;
        }
        let least = set.slots.iter_mut().min_by_key(|slot| slot.refused());
        let least = least.expect("a set that is full is not empty");
        let (now, before) = (least.now.count, least.before.count);
        *least = slot(Tally { count: now + 1, error: now }, Tally { count: before, error: before });
    }

    /// Those that have refused most, of one namespace or of all; and since when, in ms.
    pub(super) fn list(
        &self,
        namespace: Option<NamespaceId>,
        limit: usize,
        now_ms: u64,
    ) -> (u64, Vec<Refused>) {
        let period = now_ms / limits::TOP_PERIOD_MS;
        let mut all = Vec::new();
        for set in &self.sets {
            let mut set = lock(set);
            set.turn_to(period);
            let wanted = set
                .slots
                .iter()
                .filter(|slot| namespace.is_none_or(|of| of == slot.object.namespace));
            all.extend(wanted.map(|slot| Refused {
                object: slot.object.clone(),
                identifier: slot.identifier.clone(),
                refused: slot.refused(),
                refused_min: slot.refused() - slot.now.error - slot.before.error,
            }));
        }
        all.sort_by(|one, other| {
            let key = |of: &Refused| (of.refused, of.refused_min);
            key(other).cmp(&key(one)).then_with(|| one.identifier.cmp(&other.identifier))
        });
        all.truncate(limit);
        (period.saturating_sub(1) * limits::TOP_PERIOD_MS, all)
    }
}

impl Set {
    /// Goes on to a later period; the clock may be a little behind on this node, and is never turned back.
    fn turn_to(&mut self, period: u64) {
        if period <= self.period {
            return;
        }
        let is_next = period == self.period + 1;
        for slot in &mut self.slots {
            slot.before = if is_next { slot.now } else { Tally::default() };
            slot.now = Tally::default();
        }
        self.slots.retain(|slot| slot.refused() > 0);
        self.period = period;
    }
}

impl Slot {
    fn refused(&self) -> u64 {
        self.now.count + self.before.count
    }
}

/// What a change counts, if it is a check.
pub(super) fn cell(change: &Change) -> Option<(&ObjectRef, &str)> {
    match change {
        Change::Check(check) => Some((&check.object, &check.identifier)),
        Change::CheckByPolicy(check) => Some((&check.object, &check.identifier)),
        _ => None,
    }
}

/// Numbers that a panic has left half counted are still numbers.
fn lock(set: &Mutex<Set>) -> MutexGuard<'_, Set> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Namespace;

    fn object(namespace: &str, name: &str) -> ObjectRef {
        Namespace::new(namespace).object(name)
    }

    /// More limiters than there is room for, a few of which refuse much: these come first, and their
    /// true counts are between the two numbers.
    #[test]
    fn who_refuses_much_is_found_among_many() {
        let top = Top::default();
        let heavy = 10;
        for round in 0..500_u64 {
            for number in 0..heavy {
                // The first refuses most.
                if round % (number + 1) == 0 {
                    top.refused(&object("a", &format!("heavy {number}")), "it", 1_000);
                }
            }
            for number in 0..20 {
                let name = format!("light {round} {number}");
                top.refused(&object("a", &name), "it", 1_000);
            }
        }
        let (since_ms, found) = top.list(None, heavy as usize, 1_000);
        assert_eq!(since_ms, 0);
        assert_eq!(found.len(), heavy as usize);
        for number in 0..heavy {
            let name = Some(format!("heavy {number}"));
            let one = found.iter().find(|one| one.object.name == name).expect("among the first");
            let truth = 500_u64.div_ceil(number + 1);
            assert!((one.refused_min..=one.refused).contains(&truth), "{number}: {one:?}");
        }
        assert!(found.is_sorted_by(|one, other| one.refused >= other.refused));
    }

    #[test]
    fn counts_are_of_this_period_and_the_one_before() {
        let top = Top::default();
        let period = limits::TOP_PERIOD_MS;
        let counts = |now_ms| {
            let (_, found) = top.list(None, 9, now_ms);
            found.into_iter().map(|one| (one.identifier, one.refused)).collect::<Vec<_>>()
        };
        let (one, other) = (object("a", "x"), object("b", "x"));
        (0..3).for_each(|_| top.refused(&one, "i", period));
        (0..2).for_each(|_| top.refused(&other, "j", 2 * period));
        let pair = |name: &str, count| (name.to_owned(), count);
        assert_eq!(counts(2 * period), [pair("i", 3), pair("j", 2)]);
        // A clock that is behind turns nothing back.
        top.refused(&one, "i", period);
        assert_eq!(counts(2 * period), [pair("i", 4), pair("j", 2)]);
        let (since_ms, of_one) = top.list(Some(one.namespace), 9, 2 * period);
        assert_eq!((since_ms, of_one.len()), (period, 1));
        assert_eq!(counts(3 * period), [pair("j", 2), pair("i", 1)]);
        assert_eq!(counts(5 * period), []);
    }
}
