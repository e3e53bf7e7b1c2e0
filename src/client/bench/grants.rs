//! Whether limiters count right, as far as their answers tell.
//!
//! An admitted check is told what `remaining` is after it. So in one window of one identifier, with
//! one limit, no two admitted checks may be told the same value: that would be one grant given
//! twice, and since the values lie below the limit, it is also the only way to admit more than the
//! limit. That is seen at once.
//!
//! When a window can have no more answers, a second look is taken. The least value says how many
//! checks were counted; and if a check was refused, the whole limit was. Each of them is a value
//! that was seen, or a check whose answer was lost; more means that something was counted that
//! nobody asked for, or refused that should have been admitted. This holds where no other client
//! checks the same identifiers: an identifier that was used before has its first value below
//! `limit - 1`, and is told apart by that.
//!
//! Windows are named by their `resetTime`. Answers of a window may come after the first of the
//! next, by as long as a client waits for an answer; until then its values are kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::seen::Seen;
use crate::limits::{BENCH_KEYS_TRACKED_MAX, CLIENT_TIMEOUT};

/// A window that has ended can have no more answers after this time.
const RETIRED: Duration = CLIENT_TIMEOUT.saturating_mul(2);

/// What is known of one window.
#[derive(Debug, Default)]
struct Window {
    /// `resetTime`; 0 as long as there was no answer.
    reset_ms: u64,
    /// `remaining` of each admitted check.
    seen: Seen,
    was_refused: bool,
}

/// The accounts of all identifiers.
pub(super) struct Grants {
    limit: u64,
    /// Whether nobody can have used the identifiers before.
    is_exclusive: bool,
    /// The newest window of each identifier, by its number.
    current: Vec<Window>,
    /// Windows before those, by number and `resetTime`.
    retired: BTreeMap<(u64, u64), Window>,
    /// When each of them was retired, in order.
    retirements: VecDeque<(Instant, (u64, u64))>,
    /// Checks whose answer was lost and that were not yet needed to explain a count, by number.
    lost: BTreeMap<u64, u64>,
    /// Windows that had counts before the run.
    counted_before: u64,
    /// Answers about identifiers beyond those that are kept account of.
    untracked: u64,
}

impl Grants {
    /// Accounts of limiters with this limit.
    pub(super) fn new(limit: u64, is_exclusive: bool) -> Self {
        Self {
            limit,
            is_exclusive,
            current: Vec::new(),
            retired: BTreeMap::new(),
            retirements: VecDeque::new(),
            lost: BTreeMap::new(),
            counted_before: 0,
            untracked: 0,
        }
    }

    /// Takes in that a check was admitted.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn admitted(
        &mut self,
        number: u64,
        remaining: u64,
        reset_ms: u64,
        now: Instant,
    ) -> Result<(), String> {
        let limit = self.limit;
        if remaining >= limit {
            return Err(format!("admitted with {remaining} remaining of a limit of {limit}"));
        }
        let is_new =
            self.window(number, reset_ms, now).is_none_or(|window| window.seen.insert(remaining));
        is_new.then_some(()).ok_or_else(|| {
            format!(
                "granted twice: {remaining} remaining of {limit} in the window until {reset_ms}"
            )
        })
    }

    /// Takes in that a check was refused.
    pub(super) fn refused(&mut self, number: u64, reset_ms: u64, now: Instant) {
        // A limit of nothing begins no window.
        if self.limit > 0
            && let Some(window) = self.window(number, reset_ms, now)
        {
            window.was_refused = true;
        }
    }

    /// Takes in that the answer of a check was lost: it may have been counted.
    pub(super) fn lost(&mut self, number: u64) {
        *self.lost.entry(number).or_default() += 1;
    }

    /// The windows that ended long ago and were wrong, by what their identifier's number is and
    /// what is wrong.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<(u64, String)> {
        let mut wrong = Vec::new();
        while let Some((_, name)) =
            self.retirements.pop_front_if(|(since, _)| now.duration_since(*since) > RETIRED)
        {
            if let Some(window) = self.retired.remove(&name) {
                wrong.extend(self.close(name.0, &window).map(|why| (name.0, why)));
            }
        }
        wrong
    }

    /// All other windows that were wrong, when no more answers come.
    pub(super) fn finish(&mut self) -> Vec<(u64, String)> {
        let retired = std::mem::take(&mut self.retired);
        let retired = retired.into_iter().map(|((number, _), window)| (number, window));
        let current = (0..).zip(std::mem::take(&mut self.current));
        self.retirements.clear();
        retired
            .chain(current)
            .filter_map(|(number, window)| Some((number, self.close(number, &window)?)))
            .collect()
    }

    /// Windows that had counts before the run, of those that are closed.
    pub(super) fn counted_before(&self) -> u64 {
        self.counted_before
    }

    /// Answers that could not be compared with others, for the memory that it would take.
    pub(super) fn untracked(&self) -> u64 {
        self.untracked
    }

    /// The window of an identifier that ends at a time; none if no account is kept.
    fn window(&mut self, number: u64, reset_ms: u64, now: Instant) -> Option<&mut Window> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if index >= BENCH_KEYS_TRACKED_MAX {
            self.untracked += 1;
            return None;
        }
        if index >= self.current.len() {
            self.current.resize_with(index + 1, Window::default);
        }
        let current = &mut self.current[index];
        if reset_ms < current.reset_ms {
            let name = (number, reset_ms);
            return Some(self.retired.entry(name).or_insert_with(|| {
                self.retirements.push_back((now, name));
                Window { reset_ms, ..Window::default() }
            }));
        }
        if reset_ms > current.reset_ms {
            let before = std::mem::replace(current, Window { reset_ms, ..Window::default() });
            if before.reset_ms > 0 {
                let name = (number, before.reset_ms);
                self.retired.insert(name, before);
                self.retirements.push_back((now, name));
            }
        }
        Some(&mut self.current[index])
    }

    /// Looks at a window that can have no more answers; says what is wrong with it.
    fn close(&mut self, number: u64, window: &Window) -> Option<String> {
        let (low, high) = match window.seen.ends() {
            Some((least, greatest)) => (least, greatest + 1),
            None => (self.limit, 0),
        };
        let counted = if window.was_refused { self.limit } else { self.limit - low };
        let mut unexplained = counted - window.seen.len();
        if let Some(lost) = self.lost.get_mut(&number) {
            let explained = unexplained.min(*lost);
            *lost -= explained;
            unexplained -= explained;
        }
        if !self.is_exclusive && unexplained > 0 && counted > 0 {
            let before = unexplained.min(self.limit - high);
            self.counted_before += u64::from(before > 0);
            unexplained -= before;
        }
        (unexplained > 0).then(|| {
            format!(
                "{counted} of {} counted in the window until {}, of which {unexplained} were \
                 never granted to anybody",
                self.limit, window.reset_ms
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 5;

    fn grants() -> (Grants, Instant) {
        (Grants::new(LIMIT, true), Instant::now())
    }

    /// Takes in admitted checks of identifier 0, which are all right by themselves.
    fn admit(grants: &mut Grants, reset_ms: u64, now: Instant, remaining: &[u64]) {
        for value in remaining {
            grants.admitted(0, *value, reset_ms, now).unwrap();
        }
    }

    #[test]
    fn a_limiter_that_counts_right() {
        let (mut grants, now) = grants();
        // Out of order, over two windows; and an answer of the first that comes late.
        admit(&mut grants, 100, now, &[3, 4, 0, 2]);
        admit(&mut grants, 200, now, &[4]);
        admit(&mut grants, 100, now, &[1]);
        grants.refused(0, 100, now);
        assert_eq!(grants.settle(now + RETIRED), []);
        assert_eq!(grants.finish(), []);
    }

    #[test]
    fn a_double_grant_is_found() {
        let (mut grants, now) = grants();
        admit(&mut grants, 100, now, &[4, 3, 2]);
        let wrong = grants.admitted(0, 3, 100, now).unwrap_err();
        assert!(wrong.starts_with("granted twice: 3 remaining of 5"), "{wrong}");
        // Other windows and other identifiers have their own.
        grants.admitted(0, 3, 200, now).unwrap();
        grants.admitted(1, 3, 100, now).unwrap();
        // Also when the window has ended meanwhile.
        assert!(grants.admitted(0, 2, 100, now).is_err());
    }

    #[test]
    fn more_than_the_limit_is_found() {
        let (mut grants, now) = grants();
        admit(&mut grants, 100, now, &[4, 3, 2, 1, 0]);
        for value in 0..LIMIT + 2 {
            assert!(grants.admitted(0, value, 100, now).is_err(), "{value}");
        }
        let mut none = Grants::new(0, true);
        assert!(none.admitted(0, 0, 100, now).is_err());
        none.refused(0, 100, now);
        assert_eq!(none.finish(), []);
    }

    #[test]
    fn a_count_that_nobody_was_granted_is_found() {
        for (values, refused) in [(&[4, 2][..], false), (&[3], false), (&[4], true), (&[], true)] {
            let (mut grants, now) = grants();
            admit(&mut grants, 100, now, values);
            if refused {
                grants.refused(0, 100, now);
            }
            assert_eq!(grants.finish().len(), 1, "{values:?} {refused}");
        }
    }

    #[test]
    fn it_is_found_in_windows_that_ended_too() {
        let (mut grants, now) = grants();
        admit(&mut grants, 100, now, &[4, 2]);
        admit(&mut grants, 200, now, &[4]);
        assert_eq!(grants.settle(now + RETIRED), [], "an answer may come yet");
        let wrong = grants.settle(now + RETIRED + Duration::from_millis(1));
        let why =
            "3 of 5 counted in the window until 100, of which 1 were never granted to anybody";
        assert_eq!(wrong, [(0, why.to_owned())]);
        assert_eq!(grants.finish(), []);
    }

    #[test]
    fn a_lost_answer_explains_one_count() {
        let (mut grants, now) = grants();
        admit(&mut grants, 100, now, &[4, 2]);
        grants.lost(0);
        assert_eq!(grants.finish(), []);

        let (mut grants, now) = self::grants();
        admit(&mut grants, 100, now, &[4, 1]);
        grants.lost(0);
        grants.lost(1);
        assert_eq!(grants.finish().len(), 1);
    }

    #[test]
    fn counts_before_the_run_are_told_apart() {
        let now = Instant::now();
        let mut grants = Grants::new(LIMIT, false);
        admit(&mut grants, 100, now, &[2, 1, 0]);
        grants.refused(0, 100, now);
        // Full before.
        grants.refused(1, 100, now);
        // Not used before.
        grants.admitted(2, 4, 100, now).unwrap();
        // Used before; and then something was counted in between.
        grants.admitted(3, 3, 100, now).unwrap();
        grants.admitted(3, 1, 100, now).unwrap();
        let wrong = grants.finish();
        assert_eq!(wrong.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3]);
        assert_eq!(grants.counted_before(), 3);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut grants, now) = grants();
        for _ in 0..2 {
            grants.admitted(BENCH_KEYS_TRACKED_MAX as u64, 4, 100, now).unwrap();
        }
        assert_eq!(grants.untracked(), 2);
        assert!(grants.current.is_empty());
    }
}
