//! Rings the alarms: while this node leads, it proposes a tick whenever something is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::leader::Leader;
use crate::limits;
use crate::machine::{Group, GroupOutcome, Outcome, Request, Tick, next_alarm};
use crate::metrics::counted;
use crate::raft::{Leadership, Node};

/// At most this long until the alarms are looked at again: a command may set an earlier one.
const LOOK: Duration = Duration::from_millis(500);
/// Between two ticks, unless the first had more to do: under load something is due at any moment, and
/// a tick for each window would cost as much as the checks. No answer depends on when ticks run.
const GATHER: Duration = Duration::from_millis(100);

/// Runs for as long as the node.
pub(super) async fn run(node: Node, leader: Leader, retention_ms: u64) {
    // Sessions have no alarm row; whoever leads looks at them a few times in their life.
    let session_ms = limits::SESSION_TTL_MS / 4;
    let mut next_session_ms = node.now_ms() + session_ms;
    loop {
        if !matches!(node.leadership(), Leadership::Here { .. }) {
            sleep(LOOK).await;
            continue;
        }
        let due = match next_alarm(node.state(), retention_ms) {
            Ok(alarm) => alarm.map_or(next_session_ms, |at_ms| at_ms.min(next_session_ms)),
            Err(error) => {
                tracing::error!(%error, "the alarms cannot be read");
                sleep(LOOK).await;
                continue;
            }
        };
        let now_ms = node.now_ms();
        if now_ms < due {
            sleep(LOOK.min(Duration::from_millis(due - now_ms))).await;
            continue;
        }
        counted().alarm_lateness.observe((now_ms - due) as f64 / 1000.0);
        if now_ms >= next_session_ms {
            next_session_ms = now_ms + session_ms;
        }
        let tick = vec![Request::Tick(Tick { retention_ms })];
        let group = Group::outside_session(Arc::new(tick));
        match leader.submit(group).await {
            Ok(GroupOutcome::Done(outcomes)) => {
                if let Some(Outcome::Ticked(done)) = outcomes.first() {
                    tracing::debug!(?done, "ticked");
                    if !done.more {
                        sleep(GATHER).await;
                    }
                }
            }
            // What is due stays due: the next look sees it again.
            _ => sleep(LOOK).await,
        }
    }
}
