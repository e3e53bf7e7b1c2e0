//! The only wall clock of the program, as a component that is handed to whoever needs one.
//!
//! The machine has no clock at all: its time is a field of the replicated batch.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A wall clock and a monotonic one.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, in ms since the Unix epoch.
    fn wall_ms(&self) -> u64;
    /// The time since some fixed moment; it never goes back and does not know of the wall clock.
    fn monotonic(&self) -> Duration;
}

/// The wall clock at `moment`, since the Unix epoch, as far as the two clocks have run alike since then.
pub fn wall_at(moment: Instant) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(moment.elapsed())
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The monotonic clock starts at zero here.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
