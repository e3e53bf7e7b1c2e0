//! Checks that are over their limit, answered without a log entry.
//!
//! A refused check writes nothing, so it needs no place in the log: after a linearizable read
//! ([`Reads::barrier`]) the state here holds everything that was acknowledged anywhere before the
//! check came, a `/reset` included, and the machine says by it what it would say in the log.
//!
//! Which checks to try so is only guessed, by what was refused here before. A wrong guess costs a
//! round with the leader, or a log entry; it never changes an answer. So an admitted check pays one
//! look into a table and no round.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::limits;
use crate::machine::{Check, Decision, limiter};
use crate::raft::Node;

/// Answers refused checks on one node.
pub(super) struct Refusals {
    node: Node,
    guesses: Guesses,
}

impl Refusals {
    pub(super) fn new(node: Node) -> Self {
        Self { node, guesses: Guesses::new(limits::REFUSALS_REMEMBERED) }
    }

    /// Where it is remembered whether checks like this one are refused.
    pub(super) fn guess(&self, check: &Check) -> Guess {
        self.guesses.of(check)
    }

    /// The refusal of `check`, if it is one that writes nothing; `None` if it has to be proposed.
    ///
    /// # Errors
    /// As [`crate::raft::Reads::barrier`]: nothing was changed.
    pub(super) async fn decide(
        &self,
        guess: Guess,
        check: &Check,
        deadline: Instant,
    ) -> Result<Option<Decision>> {
        if !self.guesses.is_refused(guess) {
            return Ok(None);
        }
        let now_ms = self.node.reads().barrier(deadline).await?;
        let decision = limiter::refusal(self.node.state(), now_ms, check)
            .map_err(|error| Error::internal(error.to_string()))?;
        if decision.is_none() {
            self.guesses.forget(guess);
        }
        Ok(decision)
    }

    /// Takes note of a decision that was made in the log.
    pub(super) fn learn(&self, guess: Guess, decision: &Decision) {
        if decision.remaining == 0 {
            self.guesses.remember(guess);
        }
    }
}

/// The hash of a limiter's cell; never 0, which is the empty place.
#[derive(Clone, Copy)]
pub(super) struct Guess(u64);

/// The cells that are believed to be full: a fixed number of places, one hash each. Two cells of one
/// place push each other out.
struct Guesses {
    hasher: RandomState,
    places: Box<[AtomicU64]>,
}

impl Guesses {
    fn new(places: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            places: (0..places).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn of(&self, check: &Check) -> Guess {
        Guess(self.hasher.hash_one((check.object.id, &check.identifier)).max(1))
    }

    fn is_refused(&self, guess: Guess) -> bool {
        self.place(guess).load(Ordering::Relaxed) == guess.0
    }

    fn remember(&self, guess: Guess) {
        self.place(guess).store(guess.0, Ordering::Relaxed);
    }

    fn forget(&self, guess: Guess) {
        // Only what is meant: the place may be another cell's by now.
        let _ =
            self.place(guess).compare_exchange(guess.0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn place(&self, guess: Guess) -> &AtomicU64 {
        let place = guess.0 % self.places.len() as u64;
        &self.places[usize::try_from(place).expect("less than a length")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Namespace;

    fn check(identifier: &str) -> Check {
        Check {
            object: Namespace::new("n").object("limiter"),
            identifier: identifier.to_owned(),
            requests: 1,
            window_ms: 1000,
        }
    }

    #[test]
    fn guesses_are_bounded_and_each_is_its_own() {
        let guesses = Guesses::new(1);
        let (a, b) = (guesses.of(&check("a")), guesses.of(&check("b")));
        assert!(!guesses.is_refused(a));
        guesses.remember(a);
        assert!(guesses.is_refused(a) && !guesses.is_refused(b));
        guesses.remember(b);
        assert!(guesses.is_refused(b) && !guesses.is_refused(a));
        guesses.forget(a);
        assert!(guesses.is_refused(b), "only what is meant is forgotten");
        guesses.forget(b);
        assert!(!guesses.is_refused(b));
    }
}
