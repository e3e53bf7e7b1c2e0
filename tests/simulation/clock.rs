//! A node's clocks: simulated time, and how far its wall clock is off.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tallykeep::clock::Clock;
use tokio::time::Instant;

/// The true time when a simulation begins, in ms since the Unix epoch: twelve seconds before the end
/// of a day, so that entries go to more than one shard.
pub const BEGAN_MS: u64 = 1_700_006_388_000;

pub struct NodeClock {
    started: Instant,
    off_ms: AtomicI64,
}

impl NodeClock {
    /// To be made when the simulation begins.
    pub fn new() -> Self {
        Self { started: Instant::now(), off_ms: AtomicI64::new(0) }
    }

    /// Puts the wall clock `off_ms` away from the truth.
    pub fn set_off(&self, off_ms: i64) {
        self.off_ms.store(off_ms, Ordering::Relaxed);
    }
}

impl Clock for NodeClock {
    fn wall_ms(&self) -> u64 {
        true_ms(self.monotonic()).saturating_add_signed(self.off_ms.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The true time, in ms since the Unix epoch, after so much of the simulation.
pub fn true_ms(passed: Duration) -> u64 {
    BEGAN_MS + u64::try_from(passed.as_millis()).expect("a simulation is short")
}
