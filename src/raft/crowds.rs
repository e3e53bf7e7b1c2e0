//! Objects that are near their quotas: each is told of in the log once, and counted for the metrics.
//!
//! Of this process alone, and of what was written lately: what is full and left alone is nobody's trouble.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::limits;
use crate::machine::{Crowded, NamespaceId, ObjectId};

/// What was crowded when it was last written.
#[derive(Default)]
pub(super) struct Crowds {
    seen: Mutex<BTreeMap<(NamespaceId, Option<ObjectId>), Seen>>,
}

struct Seen {
    /// When it was written, or refused, in ms since the Unix epoch.
    at_ms: u64,
    /// Whether it was told of as refused.
    is_refused: bool,
}

impl Crowds {
    /// Takes note of what a batch of `now_ms` has found crowded.
    pub(super) fn note(&self, now_ms: u64, crowded: &[Crowded]) {
        if crowded.is_empty() {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= limits::CROWDED_OBJECTS_MAX {
            seen.retain(|_, seen| seen.is_of_now(now_ms));
        }
        for one in crowded {
            let key = (one.namespace, one.object);
            let before = seen.get(&key).filter(|seen| seen.is_of_now(now_ms));
            let (is_known, was_refused) =
                (before.is_some(), before.is_some_and(|before| before.is_refused));
            if !is_known && seen.len() >= limits::CROWDED_OBJECTS_MAX {
                continue;
            }
            if !is_known || (one.is_refused && !was_refused) {
                tell(one);
            }
            let is_refused = was_refused || one.is_refused;
            seen.insert(key, Seen { at_ms: now_ms, is_refused });
        }
    }

    /// Forgets all: other quotas are in force. What is crowded by those is told of when it is written again.
    pub(super) fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many objects of each namespace are crowded.
    pub(super) fn count(&self, now_ms: u64) -> BTreeMap<NamespaceId, u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, seen| seen.is_of_now(now_ms));
        let mut counts = BTreeMap::new();
        for (namespace, _) in seen.keys().filter(|(_, object)| object.is_some()) {
            *counts.entry(*namespace).or_default() += 1;
        }
        counts
    }
}

impl Seen {
    fn is_of_now(&self, now_ms: u64) -> bool {
        now_ms < self.at_ms.saturating_add(limits::CROWDED_FOR_MS)
    }
}

fn tell(crowded: &Crowded) {
    let Crowded { namespace, object, name, used, most, is_refused } = crowded;
    let namespace = hex::encode(namespace.0);
    let Some(id) = object else {
        let what = match is_refused {
            true => "a binding has as many objects as it may: new ones are refused",
            false => "a binding has nearly as many objects as it may",
        };
        let namespace = namespace.as_str();
        tracing::warn!(namespace, objects = used, objects_max = most, "{what}");
        return;
    };
    let (namespace, id, name) = (namespace.as_str(), hex::encode(id.0), name.as_deref());
    let what = match is_refused {
        true => "an object has reached its quota: what would make it larger is refused",
        false => "an object has nearly reached its quota",
    };
    let id = id.as_str();
    tracing::warn!(namespace, id, name, bytes = used, bytes_max = most, "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowded(object: u64) -> Crowded {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&object.to_be_bytes());
        Crowded {
            namespace: NamespaceId([1; 8]),
            object: Some(ObjectId(id)),
            name: None,
            used: 8,
            most: 10,
            is_refused: false,
        }
    }

    #[test]
    fn objects_are_crowded_for_a_while_and_bounded() {
        let crowds = Crowds::default();
        let count = |now_ms| crowds.count(now_ms).get(&NamespaceId([1; 8])).copied().unwrap_or(0);
        assert_eq!(count(0), 0);
        crowds.note(5, &[crowded(1), crowded(2), Crowded { object: None, ..crowded(0) }]);
        crowds.note(9, &[Crowded { is_refused: true, ..crowded(2) }]);
        assert_eq!(count(9), 2);
        assert_eq!(count(5 + limits::CROWDED_FOR_MS), 1);
        assert_eq!(count(9 + limits::CROWDED_FOR_MS), 0);
        let many: Vec<_> = (0..limits::CROWDED_OBJECTS_MAX as u64 + 9).map(crowded).collect();
        crowds.note(10, &many);
        assert_eq!(count(10), limits::CROWDED_OBJECTS_MAX as u64);
        // Those of long ago make room.
        let later_ms = 10 + limits::CROWDED_FOR_MS;
        crowds.note(later_ms, &[crowded(u64::MAX)]);
        assert_eq!(count(later_ms), 1);
        crowds.forget();
        assert_eq!(count(later_ms), 0);
    }
}
