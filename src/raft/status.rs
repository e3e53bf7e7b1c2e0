//! Whether a node can serve, and what operators are told of the cluster.

use std::sync::atomic::Ordering;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use serde::Serialize;

use super::cluster::{Role, Status};
use super::disk::Disk;
use super::node::{Inner, Leadership, Node};

/// A follower that is this many entries behind its leader does not serve yet.
const READY_LAG_MAX: u64 = 1024;

impl Node {
    /// The newest version of commands that all nodes of the cluster take part in; `None` if one has not
    /// said.
    pub fn common_version(&self) -> Option<u8> {
        let inner = &self.inner;
        let reachable = inner.peers.reachable();
        let versions = inner.members().nodes.into_keys().map(|id| match id {
            id if id == inner.settings.id => Some(inner.settings.version_max),
            id => reachable.get(&id).map(|status| status.version_max),
        });
        versions.collect::<Option<Vec<u8>>>()?.into_iter().min()
    }

    /// Whether a node of the cluster is known that does not take part in commands of `version`: this one,
    /// or one that has said so.
    pub fn is_held_below(&self, version: u8) -> bool {
        let inner = &self.inner;
        let reachable = inner.peers.reachable();
        let holds = |id: &u64| reachable.get(id).is_some_and(|status| status.version_max < version);
        inner.settings.version_max < version || inner.members().nodes.keys().any(holds)
    }
}

impl Inner {
    /// Whether this node has been removed from its cluster.
    pub(super) fn is_removed(&self) -> bool {
        let term = self.raft.metrics().borrow_watched().current_term;
        !self.members().nodes.contains_key(&self.settings.id) || self.peers.is_removed(term)
    }

    fn role(&self, state: ServerState) -> Role {
        match state {
            _ if !self.gate.is_open() => Role::Joining,
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner | ServerState::Shutdown => Role::Learner,
        }
    }

    pub(super) fn status(&self) -> Status {
        // Each value by itself: two looks at one watch channel at a time, with a writer waiting
        // between them, would wait for each other for ever.
        let applied = self.progress.borrow().applied;
        let ready = self.ready().is_ok();
        // What cannot be read is no reason to take this node for a new one.
        let formed = self.is_formed().unwrap_or(true);
        let clock_trusted = self.peers.clock_is_trusted();
        let metrics = self.raft.metrics().borrow_watched().clone();
        Status {
            id: self.settings.id,
            role: self.role(metrics.state),
            leader: metrics.current_leader,
            term: metrics.current_term,
            last_log: metrics.last_log_index,
            applied,
            ready,
            formed,
            wall_ms: self.clock.wall_ms(),
            clock_trusted,
            disk: self.disks.own(),
            members: self.members().nodes,
            version_max: self.settings.version_max,
            restored: self.gate.restored().map(|restored| restored.backup.clone()),
        }
    }

    pub(super) fn ready(&self) -> std::result::Result<(), String> {
        if self.draining.load(Ordering::Acquire) {
            return Err("this node is stopping".to_owned());
        }
        if self.gate.is_forming() {
            return Err("this node waits for all others to be restored from its backup".to_owned());
        }
        if !self.gate.is_open() {
            return Err("this node is joining its cluster".to_owned());
        }
        if self.is_removed() {
            return Err("this node is not a member of its cluster any more".to_owned());
        }
        self.check_quorum().map_err(|error| error.message)?;
        let progress = *self.progress.borrow();
        match self.leadership() {
            Leadership::Nowhere => Err("no leader is known".to_owned()),
            Leadership::Here { term } if progress.term < term => {
                Err("this node leads and is still applying what came before".to_owned())
            }
            Leadership::Here { .. } => Ok(()),
            Leadership::There(leader) => {
                let reachable = self.peers.reachable();
                let Some(status) = reachable.get(&leader) else {
                    return Err(format!("the leader, node {leader}, has not answered yet"));
                };
                if progress.applied.unwrap_or(0) + READY_LAG_MAX < status.applied.unwrap_or(0) {
                    return Err(format!("this node is behind the leader, node {leader}"));
                }
                Ok(())
            }
        }
    }

    pub(super) async fn report(&self) -> ClusterReport {
        let own = self.status();
        let answers = self.peers.ask_all().await;
        let of = |id: u64| {
            let answers = answers.iter().flatten().chain([&own]);
            answers.into_iter().find(|status| status.id == id).cloned()
        };
        let members = self.members();
        let nodes = members.nodes.iter().map(|(id, node)| {
            let status = of(*id);
            NodeReport {
                id: *id,
                http: node.http.clone(),
                peer: node.peer.clone(),
                role: status.as_ref().map_or(Role::Unreachable, |status| status.role),
                voter: members.is_voter(*id),
                last_log: status.as_ref().and_then(|status| status.last_log),
                applied: status.as_ref().and_then(|status| status.applied),
                ready: status.as_ref().is_some_and(|status| status.ready),
                disk: status.as_ref().map(|status| status.disk),
                version_max: status.as_ref().map(|status| status.version_max),
            }
        });
        let progress = *self.progress.borrow();
        ClusterReport {
            id: own.id,
            leader: own.leader,
            term: own.term,
            version: progress.version,
            nodes: nodes.collect(),
            state_hash: StateHash {
                applied: progress.applied.unwrap_or(0),
                hash: hex::encode(progress.hash),
            },
        }
    }
}

/// `GET /admin/cluster`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReport {
    /// The node that answers.
    pub id: u64,
    /// The leader, if it knows one.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// Up to which version the log may hold commands, see [`crate::machine::VERSION_MAX`].
    pub version: u8,
    /// All nodes.
    pub nodes: Vec<NodeReport>,
    /// How far it has applied the log, and the hash of that: equal on all nodes at equal index.
    pub state_hash: StateHash,
}

/// One node in a [`ClusterReport`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Its id.
    pub id: u64,
    /// Where it listens for clients.
    pub http: String,
    /// Where it listens for peers.
    pub peer: String,
    /// What it does.
    pub role: Role,
    /// Whether it has a vote.
    pub voter: bool,
    /// Index of the last entry in its log; null if it did not answer.
    pub last_log: Option<u64>,
    /// Index of the last entry that it has applied; null if it did not answer.
    pub applied: Option<u64>,
    /// Whether it can serve clients.
    pub ready: bool,
    /// How much space its disk has left; null if it did not answer.
    pub disk: Option<Disk>,
    /// The newest version of commands that it takes part in; null if it did not answer.
    pub version_max: Option<u8>,
}

/// See [`crate::machine::Machine::hash`].
#[derive(Clone, Debug, Serialize)]
pub struct StateHash {
    /// Index of the last applied entry.
    pub applied: u64,
    /// In hexadecimal.
    pub hash: String,
}
