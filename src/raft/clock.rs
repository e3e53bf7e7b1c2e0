//! The cluster's clock, as one node knows it.
//!
//! The clock never goes back, never freezes, and does not follow a jump. It is the later of this
//! node's wall clock and the last stamp that was applied here, advanced by the monotonic time that
//! has passed since. So a leader whose wall clock is behind that of its predecessor goes on at the
//! right pace instead of waiting. A wall clock that is more than [`limits::CLOCK_STEP_MS_MAX`]
//! ahead is followed only if the peers' clocks agree with it: then the cluster has been down, or
//! was wrong; otherwise the wall clock has jumped.

use std::time::Duration;

use super::node::{Inner, Node};
use crate::limits;

impl Node {
    /// The time now, at least; in ms since the Unix epoch. Does not go beyond what the log allows.
    pub fn now_ms(&self) -> u64 {
        self.inner.now_ms()
    }

    /// The later of `expected_ms` and this node's wall clock, unless that is a jump.
    pub fn follow_clock(&self, expected_ms: u64) -> u64 {
        self.inner.follow_clock(expected_ms)
    }

    /// The time since some fixed moment.
    pub fn monotonic(&self) -> Duration {
        self.inner.clock.monotonic()
    }

    /// Whether the wall clock is so far ahead of the log that it is followed only with the peers'
    /// agreement.
    pub fn clock_is_far_ahead(&self) -> bool {
        let expected_ms = self.inner.expected_ms();
        self.inner.clock.wall_ms().saturating_sub(expected_ms) > limits::CLOCK_STEP_MS_MAX
    }

    /// Whether any peer has said how it is, or there is none.
    pub fn clock_is_judged(&self) -> bool {
        self.inner.peers.clock_is_judged()
    }

    /// Whether the log is empty and this node's wall clock, which would be the first stamp, is not
    /// known to be right. The clock never goes back, so the first one counts.
    pub fn clock_must_wait_for_peers(&self) -> bool {
        self.inner.progress.borrow().now_ms == 0 && !self.inner.peers.clock_is_trusted()
    }
}

impl Inner {
    pub(super) fn now_ms(&self) -> u64 {
        if self.progress.borrow().now_ms == 0 {
            return self.clock.wall_ms();
        }
        self.follow_clock(self.expected_ms())
    }

    fn follow_clock(&self, expected_ms: u64) -> u64 {
        follow(expected_ms, self.clock.wall_ms(), || self.peers.clock_is_trusted())
    }

    /// The last stamp, advanced by the time that has passed since it was applied here.
    fn expected_ms(&self) -> u64 {
        let progress = *self.progress.borrow();
        let passed = self.clock.monotonic().saturating_sub(progress.seen);
        progress.now_ms + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }
}

fn follow(expected_ms: u64, wall_ms: u64, is_trusted: impl FnOnce() -> bool) -> u64 {
    let ahead_ms = wall_ms.saturating_sub(expected_ms);
    if ahead_ms > limits::CLOCK_STEP_MS_MAX && !is_trusted() {
        return expected_ms;
    }
    expected_ms.max(wall_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_not_followed_and_a_slow_clock_does_not_freeze() {
        let no = || false;
        assert_eq!(follow(10_000, 10_900, no), 10_900, "an ordinary difference is followed");
        assert_eq!(follow(10_000, 7_200_000, no), 10_000, "a jump is not");
        assert_eq!(follow(10_000, 7_200_000, || true), 7_200_000, "unless the peers agree");
        assert_eq!(follow(10_000, 3_000, no), 10_000, "a clock behind goes on from the last stamp");
    }
}
