//! When requests are to be sent, which of them count, and when a run ends: pure arithmetic.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::limits::BENCH_GRACE;

/// What ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The time after the warm-up.
    After(Duration),
    /// The number of requests; then there is no warm-up.
    Requests(u64),
}

/// The plan of one run. Times are counted from its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Requests per second that are due, evenly; none: each connection sends when it is free.
    pub(super) rate: Option<NonZeroU64>,
    /// Requests whose intended start lies in this time are not counted.
    pub(super) warm_up: Duration,
    /// What ends the run.
    pub(super) end: End,
}

impl Plan {
    /// When the request `index`, from 0, is due; none in a closed loop.
    pub(super) fn due(&self, index: u64) -> Option<Duration> {
        let nanos = u128::from(index) * NANOS_PER_S / u128::from(self.rate?.get());
        // Saturates after 584 years.
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// How many requests are due by a time, that time included.
    pub(super) fn due_by(&self, elapsed: Duration) -> Option<u64> {
        let rate = u128::from(self.rate?.get());
        // The last index with `index * second / rate <= elapsed`, in whole nanoseconds.
        let last = ((elapsed.as_nanos() + 1) * rate - 1) / NANOS_PER_S;
        Some(u64::try_from(last).map_or(u64::MAX, |last| last.saturating_add(1)).min(self.total()))
    }

    /// How many requests there are in all, warm-up included; the most that there can be where only
    /// time ends the run.
    pub(super) fn total(&self) -> u64 {
        match (self.end, self.rate) {
            (End::Requests(requests), _) => requests,
            (End::After(_), None) => u64::MAX,
            (End::After(duration), Some(rate)) => before(self.warm_up + duration, rate),
        }
    }

    /// Whether a run that has sent `sent` requests sends no more.
    pub(super) fn is_over(&self, sent: u64, elapsed: Duration) -> bool {
        let late = match (self.end, self.rate) {
            (End::After(duration), None) => elapsed >= self.warm_up + duration,
            // What was due just before the end is not held back by the end.
            (End::After(duration), Some(_)) => elapsed >= self.warm_up + duration + BENCH_GRACE,
            (End::Requests(_), _) => false,
        };
        late || sent >= self.total()
    }

    /// Of the requests that count, how many were never sent by a run that sent `sent`; none where
    /// it was never said how many there would be.
    pub(super) fn unsent(&self, sent: u64) -> u64 {
        match (self.end, self.rate) {
            (End::After(_), None) => 0,
            (End::After(_), Some(rate)) => self.total() - sent.max(before(self.warm_up, rate)),
            (End::Requests(requests), _) => requests - sent,
        }
    }
}

const NANOS_PER_S: u128 = 1_000_000_000;

/// How many requests are due before a time.
fn before(time: Duration, rate: NonZeroU64) -> u64 {
    let count = (time.as_nanos() * u128::from(rate.get())).div_ceil(NANOS_PER_S);
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(rate: u64, warm_up: Duration, end: End) -> Plan {
        Plan { rate: NonZeroU64::new(rate), warm_up, end }
    }

    #[test]
    fn requests_are_due_evenly() {
        let plan = open(4, Duration::ZERO, End::Requests(10));
        let due: Vec<_> = (0..4).map(|index| plan.due(index).unwrap().as_millis()).collect();
        assert_eq!(due, [0, 250, 500, 750]);
        let by = |ms| plan.due_by(Duration::from_millis(ms));
        assert_eq!([by(0), by(249), by(250), by(251)], [Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(by(60_000), Some(10), "and no more than there are");
    }

    #[test]
    fn a_schedule_ends_with_its_time() {
        let (warm_up, duration) = (Duration::from_millis(500), Duration::from_secs(2));
        let plan = open(10, warm_up, End::After(duration));
        // At 0, 100, … 2,400 ms.
        assert_eq!(plan.total(), 25);
        assert!(!plan.is_over(24, Duration::from_millis(2_500)));
        assert!(plan.is_over(25, Duration::from_millis(2_400)));
        assert!(plan.is_over(3, Duration::from_millis(2_500) + BENCH_GRACE));
        // Five of them are due in the warm-up.
        assert_eq!([plan.unsent(25), plan.unsent(20), plan.unsent(2)], [0, 5, 20]);
    }

    #[test]
    fn a_closed_loop_has_no_schedule() {
        let plan = Plan { rate: None, warm_up: Duration::ZERO, end: End::Requests(3) };
        assert_eq!((plan.due(1), plan.due_by(Duration::from_secs(1))), (None, None));
        assert!(!plan.is_over(2, Duration::from_secs(9)) && plan.is_over(3, Duration::ZERO));
        assert_eq!((plan.unsent(1), plan.unsent(3)), (2, 0));
        let plan = Plan { end: End::After(Duration::from_secs(1)), ..plan };
        assert!(!plan.is_over(u64::MAX - 1, Duration::from_millis(999)));
        assert!(plan.is_over(0, Duration::from_secs(1)));
        assert_eq!(plan.unsent(5), 0);
    }

    proptest! {
        /// Up to where the time saturates: 2^34 s are 544 years.
        #[test]
        fn a_request_is_due_when_its_time_has_come(rate in 1..2_000_000u64, index in 0..1u64 << 34) {
            let plan = open(rate, Duration::ZERO, End::Requests(u64::MAX));
            let due = plan.due(index).unwrap();
            prop_assert!(plan.due_by(due).unwrap() > index);
            if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                prop_assert!(plan.due_by(before).unwrap() <= index);
            }
        }
    }
}
