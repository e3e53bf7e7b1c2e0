//! Who belongs to the cluster, by the newest membership in this node's log.
//!
//! Before there is one it is what the settings say. While a change is under way two sets of voters
//! count, and a decision needs a majority of each: Ongaro's dissertation, section 4.3.

use std::collections::{BTreeMap, BTreeSet};

use openraft::async_runtime::watch::WatchReceiver;

use super::node::Inner;
use super::types::{NodeAddress, StoredMembership};

/// The nodes of a cluster, and those of them that vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) nodes: BTreeMap<u64, NodeAddress>,
    /// The voters; while they are being changed, the old and the new ones.
    pub(super) voters: Vec<BTreeSet<u64>>,
}

impl Members {
    /// A cluster in which every node votes.
    pub(super) fn all(nodes: &BTreeMap<u64, NodeAddress>) -> Self {
        Self { nodes: nodes.clone(), voters: vec![nodes.keys().copied().collect()] }
    }

    fn of(membership: &StoredMembership) -> Option<Self> {
        let nodes: BTreeMap<u64, NodeAddress> =
            membership.nodes().map(|(id, node)| (*id, node.clone())).collect();
        let voters = membership.get_joint_config().clone();
        (!nodes.is_empty()).then_some(Self { nodes, voters })
    }

    pub(super) fn is_voter(&self, id: u64) -> bool {
        self.voters.iter().any(|voters| voters.contains(&id))
    }

    /// Whether node `id`, having lost its data, cannot come back under this id: among more than three
    /// voters there may be a candidate that had its forgotten vote and that no leader has seen
    /// (decision 0011). Nor can one that was never added.
    pub(super) fn forbids_return(&self, id: u64) -> bool {
        !self.nodes.contains_key(&id)
            || self.voters.iter().any(|voters| voters.len() > 3 && voters.contains(&id))
    }

    /// Whether the voters are being changed.
    pub(super) fn is_joint(&self) -> bool {
        self.voters.len() > 1
    }

    /// Whether a majority, of both sets if there are two, is left without the nodes that `is_out`
    /// tells.
    pub(super) fn has_quorum(&self, is_out: impl Fn(u64) -> bool) -> bool {
        self.voters.iter().all(|voters| {
            let left = voters.iter().filter(|id| !is_out(**id)).count();
            left > voters.len() / 2
        })
    }
}

impl Inner {
    /// The newest membership in this node's log, committed or not.
    pub(super) fn members(&self) -> Members {
        self.logged().unwrap_or_else(|| Members::all(&self.settings.members))
    }

    /// Whom this node asks how they are. Without a log it knows only its settings, which may be older
    /// than the cluster, and the leader one that was added since: so it asks those too of whom the
    /// others say that they belong to it.
    pub(super) fn acquaintances(&self) -> Members {
        self.logged().unwrap_or_else(|| {
            let mut members = Members::all(&self.settings.members);
            for status in self.peers.reachable().into_values().filter(|status| status.formed) {
                for (id, node) in status.members {
                    members.nodes.entry(id).or_insert(node);
                }
            }
            members
        })
    }

    fn logged(&self) -> Option<Members> {
        let server = self.raft.server_metrics();
        let membership = server.borrow_watched().membership_config.clone();
        Members::of(&membership)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_a_majority_of_each_set_of_voters() {
        let nodes = (1..=5).map(|id| (id, NodeAddress::default())).collect();
        let with = |voters: &[&[u64]]| Members {
            voters: voters.iter().map(|set| set.iter().copied().collect()).collect(),
            ..Members::all(&nodes)
        };
        let three = with(&[&[1, 2, 3]]);
        assert!(three.has_quorum(|id| id == 3));
        assert!(three.has_quorum(|id| id > 3), "who does not vote does not count");
        assert!(!three.has_quorum(|id| id >= 2));
        let joint = with(&[&[1, 2, 3], &[2, 3, 4, 5]]);
        assert!(joint.is_joint() && joint.is_voter(5) && joint.is_voter(1));
        assert!(joint.has_quorum(|id| id == 1 || id == 4));
        assert!(!joint.has_quorum(|id| id >= 4), "two of four are no majority");
        assert!(!joint.has_quorum(|id| id <= 2), "nor is one of three");
        assert!(!three.forbids_return(3) && !three.forbids_return(4), "4 is a learner");
        assert!(three.forbids_return(6), "6 was never added");
        assert!(joint.forbids_return(4), "one of four voters");
        assert!(with(&[&[1]]).has_quorum(|_| false));
        assert!(!with(&[&[1]]).has_quorum(|_| true));
    }
}
