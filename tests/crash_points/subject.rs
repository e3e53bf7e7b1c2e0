//! What goes from point to point, and what is asked of every node that has ended at one.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::point::Point;

const SIGKILL: i32 = 9;

/// Nodes of which one ends at each point.
pub trait Subject {
    /// Has the node end at a point, starts it again and checks it; whether the point was reached. If
    /// not, the node was stopped in the end, and checked all the same.
    async fn check(&mut self, point: &Point) -> bool;
}

/// Whether a node was killed at its point, and not stopped.
pub fn is_killed(status: ExitStatus) -> bool {
    let is_killed = status.signal() == Some(SIGKILL);
    assert!(is_killed || status.code() == Some(0), "the node ended with {status}");
    is_killed
}

/// Asserts that a node's log tells neither of an error nor of damage.
pub fn is_well(log: &str) {
    let words = [" ERROR ", "panicked", "damaged"];
    let bad = log.lines().find(|line| words.iter().any(|word| line.contains(word)));
    assert!(bad.is_none(), "the node told of an error: {bad:?}");
}
