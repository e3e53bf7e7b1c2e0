//! Turns new commands on: while this node leads, it looks whether every node of the cluster takes part
//! in more versions than the log may hold, and raises that.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::leader::Leader;
use crate::machine::{Group, GroupOutcome, Outcome, Request};
use crate::raft::{Leadership, Node};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Runs for as long as the node.
pub(super) async fn run(node: Node, leader: Leader) {
    loop {
        sleep(LOOK).await;
        if !matches!(node.leadership(), Leadership::Here { .. }) {
            continue;
        }
        let Some(version) = node.common_version() else { continue };
        if version <= node.progress().borrow().version {
            continue;
        }
        let raise = vec![Request::Raise { version }];
        let group = Group::outside_session(Arc::new(raise));
        // If it came to nothing, or nobody knows, the next look sees.
        if let Ok(GroupOutcome::Done(outcomes)) = leader.submit(group).await
            && let Some(Outcome::Raised { version }) = outcomes.first()
        {
            tracing::info!(version, "all nodes know these commands: they may be used from now on");
        }
    }
}
