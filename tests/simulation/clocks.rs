//! Invariant: the cluster's clock never goes back, never freezes, and does not follow a jump.

use std::sync::Arc;
use std::time::Duration;

use tallykeep::raft::Node;

use crate::clock::true_ms;
use crate::history::{Ask, Call, History, Told};
use crate::world::World;

/// Wall clocks are right, or off by hours. So a cluster's clock is ahead by no more than what a leader
/// may follow on its own, and what a clock that is trusted may be off.
const AHEAD_MS_MAX: u64 = 1_500;
/// When all wall clocks are right again, so is the cluster's: so far.
const OFF_MS_MAX: u64 = 1_500;

/// Watches the clock of the machine on one node, for as long as it runs.
pub async fn watch(world: Arc<World>, node: Node) {
    let mut progress = node.progress();
    let mut before = *progress.borrow();
    loop {
        if progress.changed().await.is_err() {
            return;
        }
        let now = *progress.borrow_and_update();
        if now.now_ms < before.now_ms || now.applied < before.applied {
            let (id, before, now) = (node.id(), before.now_ms, now.now_ms);
            world.violate("the clock never goes back", format!("node {id}: {before}, then {now}"));
        }
        let ahead_ms = now.now_ms.saturating_sub(true_ms(world.now()));
        if ahead_ms > AHEAD_MS_MAX {
            let what = format!("node {}: the machine's clock is {ahead_ms} ms ahead", node.id());
            world.violate("the clock follows no jump", what);
        }
        before = now;
    }
}

/// The time at which a check was admitted is not before that of one that had ended before it began.
///
/// # Errors
/// If one was.
pub fn check_order(history: &History) -> Result<(), String> {
    let admitted = history.calls.iter().filter_map(|call| match (&call.ask, &call.told) {
        (Ask::Count { .. }, Told::Decided(decision)) => Some((call, decision.now_ms)),
        _ => None,
    });
    let admitted: Vec<(&Call, u64)> = admitted.collect();
    let mut ended: Vec<(u64, u64)> =
        admitted.iter().filter_map(|(call, now_ms)| Some((call.told_at?, *now_ms))).collect();
    ended.sort_unstable();
    let (mut ended, mut latest) = (ended.into_iter().peekable(), 0);
    for (call, now_ms) in admitted {
        while let Some((_, now_ms)) = ended.next_if(|(told_at, _)| *told_at < call.asked_at) {
            latest = latest.max(now_ms);
        }
        if now_ms < latest {
            return Err(format!("admitted at {now_ms}, after one at {latest} had ended: {call}"));
        }
    }
    Ok(())
}

/// Two times that the cluster told, and when: the clock went on between them, and is right.
///
/// # Errors
/// If it froze, or is off although every wall clock is right.
pub fn check_goes_on(first: (Duration, u64), last: (Duration, u64)) -> Result<(), String> {
    let passed_ms = u64::try_from((last.0 - first.0).as_millis()).expect("a simulation is short");
    let moved_ms = last.1.saturating_sub(first.1);
    if moved_ms + OFF_MS_MAX < passed_ms {
        return Err(format!("the clock moved {moved_ms} ms in {passed_ms} ms"));
    }
    let off_ms = last.1.abs_diff(true_ms(last.0));
    if off_ms > OFF_MS_MAX {
        return Err(format!("the clock is {off_ms} ms off although all wall clocks are right"));
    }
    Ok(())
}
