//! The book of one run: what was asked, what was answered, and what of that is wrong.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indicatif::ProgressBar;

use super::answer::{Expected, Verdict, judge};
use super::connection::{Answer, Broken};
use super::grants::Grants;
use super::ids::Ids;
use super::mix::{Mix, Operation};
use super::pace::Turn;
use super::request::Asked;
use super::summary::{OperationSummary, Operations};
use crate::client::summary::Latencies;

/// Complaints about single answers that are printed; the rest is counted.
const COMPLAINTS_MAX: u64 = 10;
/// Answers between two looks for windows that have ended.
const SETTLE_EVERY: u64 = 10_000;

/// What a connection does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes on.
    Send,
    /// It goes on after a while: the node said that it could not.
    Pause,
    /// It is of no further use.
    Reconnect,
}

/// What became of one operation's requests.
struct Account {
    requests: u64,
    admitted: u64,
    refused: u64,
    entries: u64,
    unavailable: u64,
    lost: u64,
    wrong: u64,
    latencies: Latencies,
}

/// See the module's documentation.
pub(super) struct Book<'a> {
    /// By [`Operation`].
    accounts: [Account; Operation::ALL.len()],
    grants: Grants,
    ids: Ids,
    /// Begins every identifier.
    prefix: &'a str,
    expected: Expected<'a>,
    /// All that is wrong, in the warm-up and at the end too.
    wrong: u64,
    answers: u64,
    /// When the last answer that counts came.
    last: Option<Instant>,
    /// Requests that count and are done with, for whoever looks on.
    done: &'a AtomicU64,
    bar: &'a ProgressBar,
}

impl<'a> Book<'a> {
    /// An empty one.
    pub(super) fn new(
        grants: Grants,
        prefix: &'a str,
        expected: Expected<'a>,
        done: &'a AtomicU64,
        bar: &'a ProgressBar,
    ) -> Self {
        let account = || Account {
            requests: 0,
            admitted: 0,
            refused: 0,
            entries: 0,
            unavailable: 0,
            lost: 0,
            wrong: 0,
            latencies: Latencies::new(),
        };
        Self {
            accounts: [account(), account(), account()],
            grants,
            ids: Ids::new(Instant::now()),
            prefix,
            expected,
            wrong: 0,
            answers: 0,
            last: None,
            done,
            bar,
        }
    }

    /// Enters what became of a request.
    pub(super) fn enter(
        &mut self,
        turn: Turn,
        asked: Asked,
        answer: Result<Answer<'_>, Broken>,
    ) -> Next {
        let now = Instant::now();
        let next = match &answer {
            Ok(Answer { is_last: false, status, .. }) if *status == 503 => Next::Pause,
            Ok(Answer { is_last: false, .. }) => Next::Send,
            _ => Next::Reconnect,
        };
        let verdict = match answer {
            Ok(answer) => judge(asked, &self.expected, answer.status, answer.body).map(Some),
            Err(Broken::Lost(_) | Broken::TimedOut) => Ok(None),
            Err(malformed @ Broken::Malformed(_)) => Err(malformed.to_string()),
        };
        let checked = match &verdict {
            Ok(verdict) => self.compare(asked, verdict.as_ref(), now),
            Err(wrong) => Err(wrong.clone()),
        };
        if let Err(wrong) = &checked {
            self.complain(asked, wrong);
        }
        if turn.is_counted {
            self.count(
                turn,
                asked.operation(),
                verdict.ok().flatten().as_ref(),
                checked.is_ok(),
                now,
            );
        }
        self.answers += 1;
        if self.answers.is_multiple_of(SETTLE_EVERY) {
            for (number, wrong) in self.grants.settle(now) {
                self.complain(Asked::Check { number }, &wrong);
            }
        }
        next
    }

    /// Compares an answer with those before it.
    fn compare(
        &mut self,
        asked: Asked,
        verdict: Option<&Verdict<'_>>,
        now: Instant,
    ) -> Result<(), String> {
        match (asked, verdict) {
            (Asked::Check { number }, Some(Verdict::Admitted { remaining, reset_ms })) => {
                return self.grants.admitted(number, *remaining, *reset_ms, now);
            }
            (Asked::Check { number }, Some(Verdict::Refused { reset_ms })) => {
                self.grants.refused(number, *reset_ms, now);
            }
            (
                Asked::Check { number },
                None | Some(Verdict::Unavailable { is_unchanged: false }),
            ) => {
                self.grants.lost(number);
            }
            (_, Some(Verdict::Logged { id })) => return self.ids.add(id, now),
            _ => {}
        }
        Ok(())
    }

    /// Counts a request, and the latency of its answer if that is a good one.
    fn count(
        &mut self,
        turn: Turn,
        operation: Operation,
        verdict: Option<&Verdict<'_>>,
        is_right: bool,
        now: Instant,
    ) {
        let account = &mut self.accounts[operation as usize];
        account.requests += 1;
        self.last = Some(now);
        self.done.fetch_add(1, Ordering::Relaxed);
        match verdict {
            _ if !is_right => account.wrong += 1,
            None => account.lost += 1,
            Some(Verdict::Unavailable { .. }) => account.unavailable += 1,
            Some(answered) => {
                account.latencies.record(now.saturating_duration_since(turn.intended));
                match answered {
                    Verdict::Admitted { .. } => account.admitted += 1,
                    Verdict::Refused { .. } => account.refused += 1,
                    Verdict::Page { entries } => account.entries += *entries as u64,
                    Verdict::Logged { .. } | Verdict::Unavailable { .. } => {}
                }
            }
        }
    }

    /// Tells that something is wrong, if not too often.
    fn complain(&mut self, asked: Asked, wrong: &str) {
        self.wrong += 1;
        if self.wrong <= COMPLAINTS_MAX {
            let prefix = self.prefix;
            self.bar.suspend(|| match asked {
                Asked::Check { number } => eprintln!("wrong: check of {prefix}{number}: {wrong}"),
                _ => eprintln!("wrong: {}: {wrong}", asked.operation().name()),
            });
        }
    }

    /// Takes the last look at what was granted, when all answers are there.
    pub(super) fn close(&mut self) {
        for (number, wrong) in self.grants.finish() {
            self.complain(Asked::Check { number }, &wrong);
        }
    }

    /// When the last answer that counts came, if one did.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last
    }

    /// All that is wrong.
    pub(super) fn wrong(&self) -> u64 {
        self.wrong
    }

    /// What the identifiers' accounts came to.
    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The operations of a mix, over so many seconds.
    pub(super) fn operations(&self, mix: Mix, seconds: f64) -> Operations {
        let summary = |operation: Operation| {
            let account = &self.accounts[operation as usize];
            let latencies = &account.latencies;
            mix.has(operation).then(|| OperationSummary {
                requests: account.requests,
                answered: latencies.len(),
                admitted: (operation == Operation::Check).then_some(account.admitted),
                refused: (operation == Operation::Check).then_some(account.refused),
                entries: (operation == Operation::Query).then_some(account.entries),
                errors: account.unavailable + account.lost + account.wrong,
                unavailable: account.unavailable,
                lost: account.lost,
                wrong: account.wrong,
                rate_per_s: if seconds > 0.0 { latencies.len() as f64 / seconds } else { 0.0 },
                p50_ms: latencies.quantile_ms(0.5),
                p90_ms: latencies.quantile_ms(0.9),
                p99_ms: latencies.quantile_ms(0.99),
                p99_9_ms: latencies.quantile_ms(0.999),
                max_ms: latencies.max_ms(),
            })
        };
        Operations {
            check: summary(Operation::Check),
            log: summary(Operation::Log),
            query: summary(Operation::Query),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMITTED: &str = r#"{"allowed":true,"remaining":4,"resetTime":9}"#;
    const REFUSED: &str = r#"{"allowed":false,"remaining":0,"resetTime":9,"retryAfter":1}"#;
    const LOGGED: &str = r#"{"success":true,"id":"01a208b0-f3da-7000-8000-d7a1c3587c45"}"#;

    /// Whether a request counts, what it asked, and its answer, if that was not lost.
    type Entry<'a> = (bool, Asked, Option<(u16, &'a str)>);

    /// Enters answers, and gives what the book says at its end: wrong in all, and the operations.
    fn entered(answers: &[Entry<'_>]) -> (u64, Operations) {
        let (done, bar) = (AtomicU64::new(0), ProgressBar::hidden());
        let expected = Expected { kind: "bench", hour: (0, 9), is_one_shard: false };
        let mut book = Book::new(Grants::new(5, true), "user-", expected, &done, &bar);
        for (is_counted, asked, answer) in answers {
            let turn = Turn { intended: Instant::now(), is_counted: *is_counted };
            let answer = answer
                .map(|(status, body)| Answer { status, body: body.as_bytes(), is_last: false })
                .ok_or(Broken::TimedOut);
            let next = match &answer {
                Ok(answer) if answer.status == 503 => Next::Pause,
                Ok(_) => Next::Send,
                Err(_) => Next::Reconnect,
            };
            assert_eq!(book.enter(turn, *asked, answer), next);
        }
        book.close();
        let mix = "check=1,log=1".parse().unwrap();
        let counted = answers.iter().filter(|(is_counted, ..)| *is_counted).count();
        assert_eq!(done.load(Ordering::Relaxed), counted as u64);
        (book.wrong(), book.operations(mix, 2.0))
    }

    #[test]
    fn a_good_run() {
        let check = |number| (true, Asked::Check { number }, Some((200, ADMITTED)));
        let lost = (true, Asked::Check { number: 7 }, None);
        let (wrong, operations) = entered(&[
            (false, Asked::Check { number: 7 }, Some((200, ADMITTED))),
            check(0),
            check(1),
            // The three that were counted without an answer.
            lost,
            lost,
            lost,
            (true, Asked::Check { number: 7 }, Some((200, &ADMITTED.replace('4', "0")))),
            (true, Asked::Check { number: 7 }, Some((429, REFUSED))),
            (true, Asked::Log, Some((503, r#"{"code":"no_leader"}"#))),
            (true, Asked::Log, Some((200, LOGGED))),
        ]);
        assert_eq!(wrong, 0);
        let check = operations.check.unwrap();
        assert_eq!((check.requests, check.answered, check.lost, check.errors), (7, 4, 3, 3));
        assert_eq!((check.admitted, check.refused), (Some(3), Some(1)));
        assert_eq!(check.rate_per_s, 2.0);
        let log = operations.log.unwrap();
        assert_eq!((log.requests, log.answered, log.unavailable, log.wrong), (2, 1, 1, 0));
        assert!(operations.query.is_none());
    }

    #[test]
    fn planted_faults_are_found() {
        let over = ADMITTED.replace('4', "5");
        let (check, log) = (Asked::Check { number: 0 }, Asked::Log);
        let (admitted, logged) = (Some((200, ADMITTED)), Some((200, LOGGED)));
        for (name, answers, in_requests) in [
            ("a double grant", vec![(true, check, admitted), (true, check, admitted)], 1),
            ("one in the warm-up", vec![(false, check, admitted), (true, check, admitted)], 1),
            ("over the limit", vec![(true, check, Some((200, over.as_str())))], 1),
            ("refused too early", vec![(true, check, Some((429, REFUSED)))], 0),
            ("a duplicate id", vec![(true, log, logged), (true, log, logged)], 1),
            ("a fault of the node", vec![(true, log, Some((500, "")))], 1),
        ] {
            let (wrong, operations) = entered(&answers);
            assert_eq!(wrong, 1, "{name}");
            let counted = operations.check.unwrap().wrong + operations.log.unwrap().wrong;
            assert_eq!(counted, in_requests, "{name}");
        }
    }
}
