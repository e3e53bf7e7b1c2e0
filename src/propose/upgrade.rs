//! Turns new commands on: while this node leads, it looks whether every node of the cluster takes part
//! in more versions than the log may hold, and raises that. With the version that has policies come
//! those of this node's settings, if the cluster never had one; with the version that has quotas those of
//! its settings, whenever others are in force.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::leader::Leader;
use crate::machine::{
    Group, GroupOutcome, Outcome, Quotas, Request, SetPolicy, VERSION_POLICIES, VERSION_QUOTAS,
    policy, quota,
};
use crate::raft::{Leadership, Node};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Runs for as long as the node. `policies` and `quotas` are those of its settings.
pub(super) async fn run(node: Node, leader: Leader, policies: Vec<SetPolicy>, quotas: Quotas) {
    loop {
        sleep(LOOK).await;
        if !matches!(node.leadership(), Leadership::Here { .. }) {
            continue;
        }
        let requests = due(&node, &policies, &quotas);
        if requests.is_empty() {
            continue;
        }
        let group = Group::outside_session(Arc::new(requests));
        // If it came to nothing, or nobody knows, the next look sees.
        if let Ok(GroupOutcome::Done(outcomes)) = leader.submit(group).await {
            outcomes.iter().for_each(tell);
        }
    }
}

/// What has to be proposed. In one group: who sees the version raised finds the policies.
fn due(node: &Node, policies: &[SetPolicy], quotas: &Quotas) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut version = node.progress().borrow().version;
    if let Some(common) = node.common_version().filter(|common| *common > version) {
        requests.push(Request::Raise { version: common });
        version = common;
    }
    // A state that cannot be read ends the node elsewhere.
    let is_seeded = || policy::is_seeded(node.state()).unwrap_or(true);
    if version >= VERSION_POLICIES && !policies.is_empty() && !is_seeded() {
        requests.push(Request::SeedPolicies(policies.to_vec()));
    }
    let is_in_force =
        || quota::spaces(node.state()).map_or(true, |spaces| spaces.quotas() == *quotas);
    if version >= VERSION_QUOTAS && !is_in_force() {
        // The last of its group: `raft/apply.rs` looks for it there.
        requests.push(Request::SetQuotas(quotas.clone()));
    }
    requests
}

fn tell(outcome: &Outcome) {
    match outcome {
        Outcome::Raised { version } => {
            tracing::info!(version, "all nodes know these commands: they may be used from now on");
        }
        Outcome::PoliciesSeeded { policies: 1.. } => {
            tracing::info!("the policies of the configuration are stored");
        }
        Outcome::QuotasSet => {
            tracing::info!("the quotas of this node's configuration are in force")
        }
        _ => {}
    }
}
