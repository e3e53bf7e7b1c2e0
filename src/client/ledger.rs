//! What one identifier's limiter has counted, kept by a client that may lose answers.
//!
//! `POST /check` is not safe to repeat: when an answer is lost, the check may have been counted,
//! and sending it again may count it twice. But `remaining` tells how many checks the limiter has
//! counted, so what was counted without an answer shows in the next answer. Such an admission is
//! *unclaimed*, and belongs to the next line of the identifier that needs one. Each line gets one
//! verdict, and the limiter counts no more than its limit, so the verdicts are those of a run that
//! loses no answer: a line is refused only when the limit is counted, and by then every counted
//! admission has been claimed.
//!
//! It holds when the identifier's window has no other user and at most one check of the identifier
//! waits for its answer. Lost checks may be counted at any later time. A window that already held
//! counts before the run is told from lost answers as long as none was lost on the first check.

/// The verdict on one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Within the limit.
    Admitted,
    /// Over the limit.
    Refused,
}

/// An answer of `POST /check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    /// Whether this check was counted.
    pub(super) allowed: bool,
    /// Checks that the window still admits.
    pub(super) remaining: u64,
    /// When the window ends, in ms since the Unix epoch: it names the window.
    pub(super) reset_time: u64,
}

/// One identifier's account.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Checks that a window admits.
    limit: u64,
    /// `resetTime` of the window that the account is about, once one was seen.
    window: Option<u64>,
    /// Checks that the window is known to have counted.
    counted: u64,
    /// Lost answers of which it is not known that their check was counted.
    unknown: u64,
    /// Counted checks whose answer was lost and that no line has claimed.
    unclaimed: u64,
    /// Lost answers whose check showed to have been counted, ever.
    found: u64,
    /// Counted checks that are not of this run.
    foreign: u64,
}

impl Ledger {
    /// An account with nothing in it, for a limiter that admits `limit` checks in a window.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, window: None, counted: 0, unknown: 0, unclaimed: 0, found: 0, foreign: 0 }
    }

    /// Takes an admission whose answer was lost, if there is one: the line need not be sent.
    pub(super) fn claim(&mut self) -> bool {
        let some = self.unclaimed > 0;
        self.unclaimed = self.unclaimed.saturating_sub(1);
        some
    }

    /// The answer to a check was lost.
    pub(super) fn lose(&mut self) {
        self.unknown += 1;
    }

    /// Takes in an answer and gives the verdict on the line that waited for it.
    pub(super) fn answer(&mut self, check: Check) -> Verdict {
        if self.window != Some(check.reset_time) {
            self.window = Some(check.reset_time);
            self.counted = 0;
            self.unclaimed = 0;
        }
        let count = self.limit.saturating_sub(check.remaining);
        let unexplained = count.saturating_sub(self.counted + u64::from(check.allowed));
        let lost = unexplained.min(self.unknown);
        self.unknown -= lost;
        self.unclaimed += lost;
        self.found += lost;
        self.foreign += unexplained - lost;
        self.counted = count;
        if check.allowed || self.claim() { Verdict::Admitted } else { Verdict::Refused }
    }

    /// Lost answers whose check showed to have been counted.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// Counted checks that are not of this run: an earlier run's, or another client's.
    pub(super) fn foreign(&self) -> u64 {
        self.foreign
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens to one sending of a check.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        /// Counted and answered.
        Answered,
        /// Lost on the way there.
        NeverApplied,
        /// Counted; the answer is lost.
        AnswerLost,
        /// The answer is lost, and the check is applied only after so many further sendings.
        AppliedLate(usize),
    }

    /// A fixed window, as the guide describes it.
    struct Server {
        limit: u64,
        count: u64,
        /// For each late check, the sendings still to come before it is applied.
        late: Vec<usize>,
    }

    impl Server {
        fn apply(&mut self) -> Check {
            let allowed = self.count < self.limit;
            self.count += u64::from(allowed);
            Check { allowed, remaining: self.limit - self.count, reset_time: 1 }
        }

        fn send(&mut self, fate: Fate) -> Option<Check> {
            for sendings in std::mem::take(&mut self.late) {
                match sendings.checked_sub(1) {
                    Some(sendings) => self.late.push(sendings),
                    None => drop(self.apply()),
                }
            }
            match fate {
                Fate::Answered => Some(self.apply()),
                Fate::NeverApplied => None,
                Fate::AnswerLost => {
                    self.apply();
                    None
                }
                Fate::AppliedLate(sendings) => {
                    self.late.push(sendings);
                    None
                }
            }
        }
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            4 => Just(Fate::Answered),
            1 => Just(Fate::NeverApplied),
            2 => Just(Fate::AnswerLost),
            2 => (0..12usize).prop_map(Fate::AppliedLate),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn lost_answers_change_no_verdict(
            limit in 0..12u64,
            lines in 0..24usize,
            fates in prop::collection::vec(fate(), 0..60),
        ) {
            let mut server = Server { limit, count: 0, late: Vec::new() };
            let mut ledger = Ledger::new(limit);
            let mut fates = fates.into_iter();
            for line in 0..lines {
                let verdict = loop {
                    if ledger.claim() {
                        break Verdict::Admitted;
                    }
                    match server.send(fates.next().unwrap_or(Fate::Answered)) {
                        Some(check) => break ledger.answer(check),
                        None => ledger.lose(),
                    }
                };
                let expected =
                    if (line as u64) < limit { Verdict::Admitted } else { Verdict::Refused };
                prop_assert_eq!(verdict, expected, "line {}", line);
            }
            prop_assert_eq!(ledger.foreign(), 0);
        }
    }

    #[test]
    fn counts_of_an_earlier_run_are_not_claimed() {
        let mut ledger = Ledger::new(10);
        let first = Check { allowed: true, remaining: 5, reset_time: 1 };
        assert_eq!(ledger.answer(first), Verdict::Admitted);
        assert_eq!(ledger.foreign(), 4);
        assert!(!ledger.claim());

        let mut ledger = Ledger::new(10);
        let full = Check { allowed: false, remaining: 0, reset_time: 1 };
        assert_eq!(ledger.answer(full), Verdict::Refused);
        assert_eq!(ledger.foreign(), 10);
    }

    #[test]
    fn a_new_window_is_counted_anew() {
        let mut ledger = Ledger::new(2);
        let check = |allowed, remaining, reset_time| Check { allowed, remaining, reset_time };
        assert_eq!(ledger.answer(check(true, 1, 1)), Verdict::Admitted);
        assert_eq!(ledger.answer(check(true, 0, 1)), Verdict::Admitted);
        assert_eq!(ledger.answer(check(false, 0, 1)), Verdict::Refused);
        assert_eq!(ledger.answer(check(true, 1, 2)), Verdict::Admitted);
        assert_eq!(ledger.foreign(), 0);
    }
}
