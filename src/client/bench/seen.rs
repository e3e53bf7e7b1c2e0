//! A set of integers that come nearly in order, downwards: exact, and small as long as they do.
//!
//! It is kept as ranges. `remaining` of one window counts down, and answers overtake each other by
//! no more than what is under way at once, so the values form one range, which is kept in place,
//! and now and then a few more, which are kept apart until the gaps between are filled.

use std::collections::BTreeMap;

/// The integers that were seen. Ranges are half-open, `low..high`, and never touch each other.
#[derive(Debug, Default)]
pub(super) struct Seen {
    low: u64,
    high: u64,
    /// Further ranges, by their lower ends.
    #[expect(clippy::box_collection, reason = "there are millions of these, and nearly all none")]
    apart: Option<Box<BTreeMap<u64, u64>>>,
}

impl Seen {
    /// Adds a value below `u64::MAX`; false if it was there.
    pub(super) fn insert(&mut self, value: u64) -> bool {
        if self.low == self.high {
            (self.low, self.high) = (value, value + 1);
            return true;
        }
        if (self.low..self.high).contains(&value) {
            return false;
        }
        if value + 1 != self.low && value != self.high {
            return insert(self.apart.get_or_insert_default(), value);
        }
        if let Some(apart) = &mut self.apart {
            // The value touches the first range, and may touch one of the others, which does not.
            insert(apart, value);
            let (low, high) = range_of(apart, value);
            apart.remove(&low);
            (self.low, self.high) = (self.low.min(low), self.high.max(high));
            if apart.is_empty() {
                self.apart = None;
            }
        } else {
            (self.low, self.high) = (self.low.min(value), self.high.max(value + 1));
        }
        true
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        let apart = self.apart.iter().flat_map(|apart| apart.iter());
        apart.map(|(low, high)| high - low).sum::<u64>() + self.high - self.low
    }

    /// The least and the greatest.
    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        if self.low == self.high {
            return None;
        }
        let apart = self.apart.as_ref();
        let low = apart.and_then(|apart| apart.first_key_value()).map_or(u64::MAX, |(low, _)| *low);
        let high = apart.and_then(|apart| apart.last_key_value()).map_or(0, |(_, high)| *high);
        Some((self.low.min(low), self.high.max(high) - 1))
    }
}

/// Adds a value to ranges, joining those that it touches; false if it was there.
fn insert(ranges: &mut BTreeMap<u64, u64>, value: u64) -> bool {
    let (mut low, mut high) = (value, value + 1);
    if let Some((&before, &end)) = ranges.range(..=value).next_back() {
        if value < end {
            return false;
        }
        if value == end {
            low = before;
        }
    }
    if let Some(end) = ranges.remove(&high) {
        high = end;
    }
    ranges.insert(low, high);
    true
}

/// The range that a value lies in.
fn range_of(ranges: &BTreeMap<u64, u64>, value: u64) -> (u64, u64) {
    let range = ranges.range(..=value).next_back().expect("the value was just added");
    (*range.0, *range.1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(values in prop::collection::vec(0..40u64, 0..80)) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            for value in values {
                prop_assert_eq!(seen.insert(value), model.insert(value), "{}", value);
                prop_assert_eq!(seen.len(), model.len() as u64);
                let ends = model.first().zip(model.last()).map(|(low, high)| (*low, *high));
                prop_assert_eq!(seen.ends(), ends);
                // The ranges are as few as can be, so that memory is bounded by the gaps.
                let gaps = model.iter().filter(|value| !model.contains(&(*value + 1))).count();
                let ranges = 1 + seen.apart.as_ref().map_or(0, |apart| apart.len());
                prop_assert_eq!(ranges, gaps);
            }
        }
    }

    #[test]
    fn values_that_count_down_need_one_range() {
        let mut seen = Seen::default();
        // Each pair the wrong way round.
        for value in (0..1_000).rev() {
            assert!(seen.insert(value ^ 1));
        }
        assert!(seen.apart.is_none());
        assert_eq!((seen.len(), seen.ends()), (1_000, Some((0, 999))));
    }
}
