//! How many bytes of log there are, between any two indexes, roughly and in little memory.

use std::collections::VecDeque;

/// A mark is set after about this many bytes; between marks entries count as equally long.
const GRAIN_BYTES: u64 = 64 * 1024;

/// Running totals of the log's bytes at some of its indexes.
#[derive(Debug)]
pub(super) struct Sizes {
    /// At least one; ascending in both fields.
    marks: VecDeque<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    index: u64,
    /// Bytes of the entries before `index`, counted from an arbitrary origin.
    before: u64,
}

impl Sizes {
    /// Entries from `first` to `next` (exclusive) that have `bytes` together.
    pub(super) fn new(first: u64, next: u64, bytes: u64) -> Self {
        let mut marks = VecDeque::from([Mark { index: first, before: 0 }]);
        if next > first {
            marks.push_back(Mark { index: next, before: bytes });
        }
        Self { marks }
    }

    /// Adds entries up to `next` (exclusive) that have `bytes` together.
    pub(super) fn append(&mut self, next: u64, bytes: u64) {
        let last = self.last();
        // The last mark moves on until it is a grain away from the one before it.
        if self.marks.len() > 1
            && last.before - self.marks[self.marks.len() - 2].before < GRAIN_BYTES
        {
            self.marks.pop_back();
        }
        self.marks.push_back(Mark { index: next, before: last.before + bytes });
    }

    /// Removes the entries from `index` on.
    pub(super) fn truncate(&mut self, index: u64) {
        let before = self.before(index);
        self.marks.retain(|mark| mark.index < index);
        self.marks.push_back(Mark { index, before });
    }

    /// Removes the entries before `index`, which may be behind the last.
    pub(super) fn purge(&mut self, index: u64) {
        let before = self.before(index);
        self.marks.retain(|mark| mark.index > index);
        self.marks.push_front(Mark { index, before });
    }

    /// Bytes of the entries from `index` on.
    pub(super) fn since(&self, index: u64) -> u64 {
        self.last().before - self.before(index)
    }

    fn last(&self) -> Mark {
        *self.marks.back().expect("there is always a mark")
    }

    fn before(&self, index: u64) -> u64 {
        let behind = self.marks.partition_point(|mark| mark.index <= index);
        if behind == 0 {
            return self.marks[0].before;
        }
        let low = self.marks[behind - 1];
        let Some(high) = self.marks.get(behind) else { return low.before };
        let share = u128::from(high.before - low.before) * u128::from(index - low.index)
            / u128::from(high.index - low.index);
        low.before + u64::try_from(share).expect("a part of a u64")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_follow_appends_truncations_and_purges() {
        let mut sizes = Sizes::new(1, 1, 0);
        assert_eq!((sizes.since(0), sizes.since(9)), (0, 0));
        for index in 1..=1000 {
            sizes.append(index + 1, 1000);
        }
        assert_eq!(sizes.since(0), 1_000_000);
        assert_eq!(sizes.since(501), 500_000);
        assert!(sizes.marks.len() < 20, "{} marks", sizes.marks.len());
        sizes.truncate(901);
        assert_eq!(sizes.since(0), 900_000);
        sizes.purge(101);
        assert_eq!((sizes.since(0), sizes.since(501)), (800_000, 400_000));
        sizes.append(902, 7);
        assert_eq!((sizes.since(0), sizes.since(902)), (800_007, 0));
        assert!(sizes.since(901).abs_diff(7) < GRAIN_BYTES);
        sizes.purge(5000);
        assert_eq!((sizes.since(0), sizes.since(5000)), (0, 0));
        sizes.append(5001, 3);
        assert_eq!(sizes.since(0), 3);
    }
}
