//! Whether a node is worth asking first.

use std::time::Duration;

use tokio::time::Instant;

/// After the first failure; doubled by each further one.
const OPEN_MIN: Duration = Duration::from_millis(500);
const OPEN_MAX: Duration = Duration::from_secs(15);

/// A node that did not answer is passed over for a while, so that not every call finds out by itself
/// that it is dead. Then one call tries it: if that fails too, the while is twice as long.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    failures: u32,
    open_until: Option<Instant>,
    failed_at: Option<Instant>,
}

impl Circuit {
    /// Whether the node is to be asked in its turn. Other nodes failing, it is asked all the same.
    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.open_until.is_none_or(|until| now >= until)
    }

    /// A call goes to the node now, and may find out for `limit` how it is: others need not.
    pub(crate) fn begin(&mut self, now: Instant, limit: Duration) {
        if self.failures > 0 {
            self.open_until = self.open_until.max(Some(now + limit));
        }
    }

    /// The node answered, be it with an error.
    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
        self.open_until = None;
    }

    /// The node could not be reached, broke off, or took too long, in an attempt that `began` then.
    pub(crate) fn fail(&mut self, began: Instant, now: Instant) {
        // A hundred calls that were under way when a node died are one failure.
        if self.failed_at.is_some_and(|failed_at| began < failed_at) {
            return;
        }
        let open = OPEN_MIN.saturating_mul(2_u32.saturating_pow(self.failures)).min(OPEN_MAX);
        self.open_until = Some(now + open);
        self.failures += 1;
        self.failed_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the circuit is open, in milliseconds.
    fn open_ms(circuit: &Circuit, now: Instant) -> u64 {
        (0..60_000)
            .find(|ms| circuit.is_closed(now + Duration::from_millis(*ms)))
            .expect("it closes within a minute")
    }

    #[test]
    fn a_failed_node_is_passed_over_for_a_while_that_doubles_up_to_15_s() {
        let mut circuit = Circuit::default();
        let mut now = Instant::now();
        assert!(circuit.is_closed(now));
        let mut whiles = Vec::new();
        for _ in 0..7 {
            circuit.fail(now, now);
            whiles.push(open_ms(&circuit, now));
            now += Duration::from_secs(20);
        }
        assert_eq!(whiles, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
        circuit.succeed();
        assert!(circuit.is_closed(now));
        circuit.fail(now, now);
        assert_eq!(open_ms(&circuit, now), 500);
    }

    #[test]
    fn attempts_that_were_under_way_are_one_failure() {
        let mut circuit = Circuit::default();
        let began = Instant::now();
        let now = began + Duration::from_millis(10);
        for _ in 0..20 {
            circuit.fail(began, now);
        }
        assert_eq!(open_ms(&circuit, now), 500);
    }

    #[test]
    fn one_call_tries_a_failed_node_and_the_others_do_not() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        circuit.begin(now, Duration::from_secs(2));
        assert!(circuit.is_closed(now), "a node that has not failed is everybody's");
        circuit.fail(now, now);
        let trial = now + Duration::from_millis(500);
        assert!(circuit.is_closed(trial));
        circuit.begin(trial, Duration::from_secs(2));
        assert_eq!(open_ms(&circuit, trial), 2_000);
    }
}
