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
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::limits;
use crate::machine::{
    Change, Check, Decision, IdempotencyKey, ObjectRef, PolicyCheck, Request, View, idempotency,
    limiter, policy,
};
use crate::raft::Node;
use crate::trace;

/// A check, by where its limit comes from.
pub enum AnyCheck {
    /// From the request itself.
    Own(Check),
    /// From what is stored for a type.
    ByPolicy(PolicyCheck),
}

impl AnyCheck {
    /// What is counted.
    pub(super) fn cell(&self) -> (&ObjectRef, &str) {
        match self {
            Self::Own(Check { object, identifier, .. })
            | Self::ByPolicy(PolicyCheck { object, identifier, .. }) => (object, identifier),
        }
    }

    fn refusal(&self, view: &dyn View, now_ms: u64) -> io::Result<Option<Decision>> {
        match self {
            Self::Own(check) => limiter::refusal(view, now_ms, check.into()),
            Self::ByPolicy(check) => policy::refusal(view, now_ms, check),
        }
    }
}

impl From<Check> for AnyCheck {
    fn from(check: Check) -> Self {
        Self::Own(check)
    }
}

impl From<AnyCheck> for Request {
    fn from(check: AnyCheck) -> Self {
        match check {
            AnyCheck::Own(check) => Self::Check(check),
            AnyCheck::ByPolicy(check) => Self::CheckByPolicy(check),
        }
    }
}

impl From<AnyCheck> for Change {
    fn from(check: AnyCheck) -> Self {
        match check {
            AnyCheck::Own(check) => Self::Check(check),
            AnyCheck::ByPolicy(check) => Self::CheckByPolicy(check),
        }
    }
}

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
    pub(super) fn guess(&self, check: &AnyCheck) -> Guess {
        self.guesses.of(check)
    }

    /// The refusal of `check`, if it is one that writes nothing; `None` if it has to be proposed, and
    /// so if something is kept under its `key`.
    ///
    /// # Errors
    /// As [`crate::raft::Reads::barrier`]: nothing was changed.
    pub(super) async fn decide(
        &self,
        guess: Guess,
        check: &AnyCheck,
        key: Option<&IdempotencyKey>,
        deadline: Instant,
    ) -> Result<Option<Decision>> {
        if !self.guesses.is_refused(guess) {
            return Ok(None);
        }
        let now_ms = trace::timed("read", self.node.reads().barrier(deadline)).await?;
        let internal = |error: io::Error| Error::internal(error.to_string());
        let state = self.node.state();
        let decision = check.refusal(state, now_ms).map_err(internal)?;
        if decision.is_none() {
            self.guesses.forget(guess);
            return Ok(None);
        }
        // Behind the limiter: the check under this key that has just filled it is seen.
        if let Some(key) = key
            && idempotency::is_kept(state, now_ms, key).map_err(internal)?
        {
            return Ok(None);
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

/// The cells that are believed to be full: sets of a few places, one hash each. In a full set the
/// newest takes the place of another.
struct Guesses {
    hasher: RandomState,
    sets: Box<[[AtomicU64; PLACES]]>,
}

/// Places of a set. In a single place each, two cells in a hundred would push each other out again
/// and again, long before the table is full.
const PLACES: usize = 4;

impl Guesses {
    fn new(cells: usize) -> Self {
        let sets = (0..cells.div_ceil(PLACES)).map(|_| Default::default()).collect();
        Self { hasher: RandomState::new(), sets }
    }

    fn of(&self, check: &AnyCheck) -> Guess {
        let (object, identifier) = check.cell();
        Guess(self.hasher.hash_one((object.id, identifier)).max(1))
    }

    fn is_refused(&self, guess: Guess) -> bool {
        self.set(guess).iter().any(|place| place.load(Ordering::Relaxed) == guess.0)
    }

    fn remember(&self, guess: Guess) {
        let set = self.set(guess);
        if self.is_refused(guess) {
            return;
        }
        let free = set.iter().find(|place| place.load(Ordering::Relaxed) == 0);
        // The high bits choose, for the low ones are the same in one set.
        let other = &set[(guess.0 >> 62) as usize % PLACES];
        free.unwrap_or(other).store(guess.0, Ordering::Relaxed);
    }

    fn forget(&self, guess: Guess) {
        for place in self.set(guess) {
            // Only what is meant: the place may be another cell's by now.
            let relaxed = Ordering::Relaxed;
            let _ = place.compare_exchange(guess.0, 0, relaxed, relaxed);
        }
    }

    fn set(&self, guess: Guess) -> &[AtomicU64; PLACES] {
        let set = guess.0 % self.sets.len() as u64;
        &self.sets[usize::try_from(set).expect("less than a length")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Namespace;

    fn check(identifier: &str) -> AnyCheck {
        AnyCheck::Own(Check {
            object: Namespace::new("n").object("limiter"),
            identifier: identifier.to_owned(),
            requests: 1,
            window_ms: 1000,
        })
    }

    #[test]
    fn guesses_are_bounded_and_each_is_its_own() {
        let guesses = Guesses::new(PLACES);
        let all: Vec<_> =
            (0..100).map(|number| guesses.of(&check(&format!("user-{number}")))).collect();
        let refused = || all.iter().filter(|guess| guesses.is_refused(**guess)).count();
        for (number, guess) in all.iter().enumerate() {
            guesses.remember(*guess);
            guesses.remember(*guess);
            assert!(guesses.is_refused(*guess));
            assert_eq!(refused(), (number + 1).min(PLACES));
        }
        guesses.forget(all[99]);
        assert_eq!(refused(), PLACES - 1, "only what is meant is forgotten");
        assert!(!guesses.is_refused(all[99]));
    }
}
