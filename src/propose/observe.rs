//! What is counted of changes, and what of their queue is looked at when somebody asks.

use std::sync::LazyLock;

use crate::machine::{Answer, Answered, Outcome, Placed, Refusal, next_alarm};
use crate::metrics::{IntCounter, counted, gauges};
use crate::raft::{Leadership, Node};

/// Looked up once: there is one for each check.
struct Checks {
    admitted: IntCounter,
    refused: IntCounter,
    refused_by_read: IntCounter,
}

static CHECKS: LazyLock<Checks> = LazyLock::new(|| {
    let of = |outcome| counted().checks.with_label_values(&[outcome]);
    Checks {
        admitted: of("admitted"),
        refused: of("refused"),
        refused_by_read: of("refused_by_read"),
    }
});

/// What quotas refused. There from the first look on, so that the first refusal is seen as one more.
struct Quotas {
    object_bytes: IntCounter,
    objects: IntCounter,
}

static QUOTAS: LazyLock<Quotas> = LazyLock::new(|| {
    let of = |quota| counted().quota_refusals.with_label_values(&[quota]);
    Quotas { object_bytes: of("object_bytes"), objects: of("objects") }
});

/// Counts the checks in what a request came to, and what quotas refused. What a key gives again was
/// counted before.
pub(super) fn count(outcome: &Outcome) {
    match outcome {
        Outcome::Checked(decision) => count_check(decision.allowed),
        Outcome::Refused(refusal) => count_refusal(*refusal),
        Outcome::Changed(answers) => {
            for Answered { answer, replayed } in answers {
                match (answer, replayed) {
                    (Answer::Checked(decision), false) => count_check(decision.allowed),
                    (Answer::Refused(refusal), false) => count_refusal(*refusal),
                    _ => {}
                }
            }
        }
        Outcome::Imported(placed) => {
            for one in placed {
                if let Placed::Refused(refusal) = one {
                    count_refusal(*refusal);
                }
            }
        }
        _ => {}
    }
}

fn count_refusal(refusal: Refusal) {
    match refusal {
        Refusal::ObjectFull => QUOTAS.object_bytes.inc(),
        Refusal::ObjectsFull => QUOTAS.objects.inc(),
        _ => {}
    }
}

/// Counts a check that was refused without the log.
pub(super) fn count_refusal_by_read() {
    CHECKS.refused_by_read.inc();
}

fn count_check(is_admitted: bool) {
    if is_admitted { CHECKS.admitted.inc() } else { CHECKS.refused.inc() }
}

/// Sets the gauges of this node's queue.
pub(super) fn queue(waiting: usize, bytes: usize) {
    LazyLock::force(&QUOTAS);
    gauges().queue_requests.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    gauges().queue_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
}

/// Sets the gauge of the alarms: 0 on a node that does not ring them.
pub(super) fn alarms(node: &Node, retention_ms: u64) {
    let overdue_ms = match node.leadership() {
        Leadership::Here { .. } => match next_alarm(node.state(), retention_ms) {
            Ok(alarm) => alarm.map_or(0, |at_ms| node.now_ms().saturating_sub(at_ms)),
            Err(error) => {
                tracing::error!(%error, "the alarms cannot be read");
                return;
            }
        },
        _ => 0,
    };
    gauges().alarm_overdue_seconds.set(overdue_ms as f64 / 1000.0);
}
