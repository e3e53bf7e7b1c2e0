//! How often a token may ask this node: so many requests a second, and as many at once.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A): one number, the time by which all that was taken
//! is paid off at the rate. A request that would put it off further than a second's worth is refused, and
//! puts off nothing. So a token that asks too often still has its rate.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

const SECOND_NS: u64 = 1_000_000_000;

/// What a token has taken.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    /// Between two requests at the rate, in ns.
    interval_ns: u64,
    /// How far ahead of the rate the token may be, in ns: a second, but for rounding.
    burst_ns: u64,
    /// When all that was taken is paid off, in ns since `began`.
    paid_ns: AtomicU64,
}

impl Pace {
    /// Nothing taken yet, of at least one request a second.
    pub(super) fn new(requests_per_second: u32) -> Self {
        let rate = u64::from(requests_per_second).clamp(1, SECOND_NS);
        let interval_ns = SECOND_NS / rate;
        let (began, paid_ns) = (Instant::now(), AtomicU64::new(0));
        Self { began, interval_ns, burst_ns: interval_ns * rate, paid_ns }
    }

    /// Takes one request at `now`, if there is one left. When there is none, there is one within a second.
    pub(super) fn take(&self, now: Instant) -> bool {
        let now_ns = now.saturating_duration_since(self.began).as_nanos();
        let now_ns = u64::try_from(now_ns).unwrap_or(u64::MAX);
        let after = |paid_ns: u64| {
            let after_ns = paid_ns.max(now_ns).saturating_add(self.interval_ns);
            (after_ns - now_ns <= self.burst_ns).then_some(after_ns)
        };
        self.paid_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many of `tries` are taken at `now`.
    fn taken(pace: &Pace, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| pace.take(now)).count()
    }

    #[tokio::test]
    async fn a_second_s_worth_at_once_and_then_the_rate() {
        for rate in [1, 3, 50, 999, 1_000_000] {
            let pace = Pace::new(rate);
            let began = pace.began;
            let rate = usize::try_from(rate).unwrap();
            assert_eq!(taken(&pace, began, rate + 10), rate);
            // Who was refused has put nothing off.
            let later = began + Duration::from_secs(1);
            assert_eq!(taken(&pace, later, rate + 10), rate, "{rate}");
            // After a long time too there is a second's worth and no more.
            let later = later + Duration::from_secs(3600);
            assert_eq!(taken(&pace, later, rate + 10), rate, "{rate}");
        }
        let pace = Pace::new(10);
        assert_eq!(taken(&pace, pace.began, 99), 10);
        for tenth in 1..20 {
            let then = pace.began + Duration::from_millis(100 * tenth);
            assert_eq!(taken(&pace, then - Duration::from_millis(1), 9), 0);
            assert_eq!(taken(&pace, then, 9), 1);
        }
    }

    #[tokio::test]
    async fn threads_share_what_there_is() {
        let pace = Pace::new(1000);
        let now = pace.began;
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| taken(&pace, now, 1000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 1000);
    }
}
