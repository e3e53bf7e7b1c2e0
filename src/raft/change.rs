//! Changing who belongs to the cluster, a step at a time; each step is an entry of the log.
//!
//! A new node is added first without a vote (a learner), catches up, and is then given one: so at no
//! moment does a majority need a node that has nothing yet. Votes are given and taken by joint
//! consensus (Ongaro's dissertation, section 4.3): openraft writes the membership of both sets of
//! voters first, and then that of the new set alone. If the leader dies between the two, its
//! successor writes the second.
//!
//! A step that would leave no majority of nodes that answer is refused, unless it is said to be meant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::cluster::{Role, status_of};
use super::members::Members;
use super::node::{Inner, Leadership, Node};
use super::types::{NodeAddress, TypeConfig};
use crate::codec;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::peer;

/// A new node is given a vote when it is at most so many entries behind.
const BEHIND_MAX: u64 = 256;
/// Between two looks for a change that was left half done.
const LOOK: Duration = Duration::from_secs(1);
/// How long a new leader is waited for, before the next attempt to ask one.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a step may take: two entries of the log.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One step; its JSON is the body of `POST /admin/members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Change {
    /// A node without data, as a learner.
    Add {
        /// Its id.
        id: u64,
        /// Where it listens for clients: `host:port`.
        http: String,
        /// Where it listens for peers: `host:port`.
        peer: String,
    },
    /// A vote for a learner that has caught up.
    Promote {
        /// Its id.
        id: u64,
        /// The voter that goes in the same step.
        #[serde(default)]
        instead_of: Option<u64>,
        /// Also if no majority would be left that answers.
        #[serde(default)]
        force: bool,
    },
    /// A node goes.
    Remove {
        /// Its id.
        id: u64,
        /// Also if no majority would be left that answers.
        #[serde(default)]
        force: bool,
    },
    /// Another node leads.
    Lead {
        /// Its id.
        id: u64,
    },
}

/// What went wrong with a change, on its way between nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Refused {
    /// It does not fit what the cluster is.
    Conflict { code: Code, message: String },
    /// Try again: the leader is another, or a change is under way.
    Unavailable(String),
    /// It may or may not be carried out.
    Unknown,
}

/// Why a change does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Code {
    AlreadyMember,
    NotMember,
    NotEmpty,
    NotReached,
    NotFit,
    NotCaughtUp,
    LosesQuorum,
    TooMany,
    TooOld,
}

impl Code {
    fn word(self) -> &'static str {
        match self {
            Code::AlreadyMember => "already_member",
            Code::NotMember => "not_a_member",
            Code::NotEmpty => "node_not_empty",
            Code::NotReached => "node_not_reached",
            Code::NotFit => "node_not_fit",
            Code::NotCaughtUp => "not_caught_up",
            Code::LosesQuorum => "would_lose_quorum",
            Code::TooMany => "too_many_nodes",
            Code::TooOld => "node_too_old",
        }
    }
}

/// A node of the cluster, as the leader says after a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Whether it has a vote.
    pub voter: bool,
    /// Where it listens for clients: `host:port`.
    pub http: String,
    /// Where it listens for peers: `host:port`.
    pub peer: String,
}

/// What a step gives: all members, by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// By id.
    pub members: Vec<Member>,
}

type Step = std::result::Result<(), Refused>;

impl Change {
    /// Checks what can be told without the cluster.
    ///
    /// # Errors
    /// One sentence about the member that is wrong.
    pub fn check(&self) -> std::result::Result<(), String> {
        if let Self::Add { id, http, peer } = self {
            if *id == 0 {
                return Err("id must be at least 1".to_owned());
            }
            peer::check_address(http)?;
            peer::check_address(peer)?;
        }
        Ok(())
    }
}

fn conflict(code: Code, message: impl Into<String>) -> Refused {
    Refused::Conflict { code, message: message.into() }
}

impl Node {
    /// Has the leader, wherever it is, make one step; gives the members after it.
    ///
    /// # Errors
    /// `Conflict` if it does not fit what the cluster is; `Unavailable` if no leader could be asked in
    /// time or another change is under way, `Unknown` if the answer did not come in time.
    pub async fn change(&self, change: Change) -> Result<Changed> {
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        let mut reason = "no leader could be reached in time".to_owned();
        while Instant::now() < deadline {
            let step = match self.leadership() {
                Leadership::Here { .. } => self.inner.change(change.clone()).await,
                Leadership::There(leader) => {
                    let call = self.call(leader, peer::Kind::Change, codec::encode(&change));
                    match timeout_at(deadline, call).await {
                        Ok(Ok(reply)) => codec::decode(&reply)
                            .map_err(|error| Error::internal(error.to_string()))?,
                        Ok(Err(error)) => Err(Refused::Unavailable(error.to_string())),
                        Err(_) => Err(Refused::Unknown),
                    }
                }
                Leadership::Nowhere => Err(Refused::Unavailable(reason.clone())),
            };
            match step {
                Ok(changed) => return Ok(changed),
                Err(Refused::Conflict { code, message }) => {
                    return Err(Error::new(Kind::Conflict, code.word(), message));
                }
                Err(Refused::Unknown) => return Err(Error::unknown()),
                Err(Refused::Unavailable(message)) => reason = message,
            }
            sleep(PAUSE).await;
        }
        Err(Error::unavailable(reason))
    }
}

impl Inner {
    /// Makes one step, if this node leads.
    pub(super) async fn change(&self, change: Change) -> std::result::Result<Changed, Refused> {
        let Leadership::Here { .. } = self.leadership() else {
            return Err(Refused::Unavailable("this node does not lead".to_owned()));
        };
        let Ok(_changing) = self.changing.try_lock() else {
            return Err(Refused::Unavailable("another change is under way".to_owned()));
        };
        match change {
            Change::Add { id, http, peer } => self.add(id, NodeAddress { http, peer }).await,
            Change::Promote { id, instead_of, force } => self.promote(id, instead_of, force).await,
            Change::Remove { id, force } => self.remove(id, force).await,
            Change::Lead { id } => self.lead(id).await,
        }?;
        let members = self.members();
        let member = |(id, at): (&u64, &NodeAddress)| Member {
            id: *id,
            voter: members.is_voter(*id),
            http: at.http.clone(),
            peer: at.peer.clone(),
        };
        Ok(Changed { members: members.nodes.iter().map(member).collect() })
    }

    async fn add(&self, id: u64, node: NodeAddress) -> Step {
        let members = self.members();
        if members.nodes.get(&id) == Some(&node) {
            // The step was made, and its answer lost.
            return Ok(());
        }
        let taken = members
            .nodes
            .iter()
            .find(|(other, at)| **other == id || at.http == node.http || at.peer == node.peer);
        if let Some((other, at)) = taken {
            let message = format!("node {other} at {} is a member", at.peer);
            return Err(conflict(Code::AlreadyMember, message));
        }
        if members.nodes.len() >= limits::NODES_MAX {
            let message = format!("a cluster has at most {} nodes", limits::NODES_MAX);
            return Err(conflict(Code::TooMany, message));
        }
        let link = self.peers.link_to(id, &node);
        let Some(status) = status_of(&link).await else {
            let message = format!("node {id} does not answer at {}: start it first", node.peer);
            return Err(conflict(Code::NotReached, message));
        };
        if status.role != Role::Joining {
            let message = format!("node {id} at {} has data of its own", node.peer);
            return Err(conflict(Code::NotEmpty, message));
        }
        let version = self.progress.borrow().version;
        if status.version_max < version {
            let most = status.version_max;
            let message = format!(
                "the log may hold commands of version {version}, and node {id} knows them up to {most}"
            );
            return Err(conflict(Code::TooOld, message));
        }
        tracing::info!(id, http = node.http, peer = node.peer, "adding a node");
        self.write(ChangeMembers::AddNodes(BTreeMap::from([(id, node)]))).await
    }

    async fn promote(&self, id: u64, instead_of: Option<u64>, force: bool) -> Step {
        let mut members = self.members();
        if members.is_voter(id) && instead_of.is_none_or(|other| !members.is_voter(other)) {
            return Ok(());
        }
        self.must_be_member(id)?;
        let behind = self.behind(id);
        if behind.is_none_or(|behind| behind > BEHIND_MAX) {
            let message = match behind {
                Some(behind) => format!("node {id} is {behind} entries behind"),
                None => format!("node {id} has not answered yet"),
            };
            return Err(conflict(Code::NotCaughtUp, message));
        }
        if let Some(other) = instead_of {
            self.give_way(other).await?;
        }
        for voters in &mut members.voters {
            voters.insert(id);
            voters.retain(|voter| Some(*voter) != instead_of);
        }
        self.must_have_quorum(&members, force).await?;
        tracing::info!(id, ?instead_of, "giving a vote");
        let mut changes = vec![ChangeMembers::AddVoterIds(BTreeSet::from([id]))];
        changes.extend(instead_of.map(|other| ChangeMembers::RemoveVoters([other].into())));
        self.write(ChangeMembers::Batch(changes)).await
    }

    async fn remove(&self, id: u64, force: bool) -> Step {
        let mut members = self.members();
        if !members.nodes.contains_key(&id) {
            return Ok(());
        }
        if !members.is_voter(id) {
            tracing::info!(id, "removing a node that has no vote");
            return self.write(ChangeMembers::RemoveNodes([id].into())).await;
        }
        for voters in &mut members.voters {
            voters.remove(&id);
            if voters.is_empty() {
                return Err(conflict(Code::LosesQuorum, format!("node {id} is the last voter")));
            }
        }
        self.must_have_quorum(&members, force).await?;
        self.give_way(id).await?;
        tracing::info!(id, "removing a node");
        self.write(ChangeMembers::RemoveVoters([id].into())).await
    }

    async fn lead(&self, id: u64) -> Step {
        if id == self.settings.id {
            return Ok(());
        }
        self.must_be_member(id)?;
        if !self.members().is_voter(id) {
            return Err(conflict(Code::NotMember, format!("node {id} has no vote")));
        }
        match self.peers.reachable().get(&id) {
            None => return Err(conflict(Code::NotReached, format!("node {id} does not answer"))),
            Some(status) if !status.is_fit() => {
                // It would give leadership away again.
                let message = format!("node {id} has no trusted clock or no space on its disk");
                return Err(conflict(Code::NotFit, message));
            }
            Some(_) => {}
        }
        let was = self.leadership();
        let asked = self.raft.trigger().transfer_leader(id).await;
        asked.map_err(|error| Refused::Unavailable(error.to_string()))?;
        let moved = timeout(TIMEOUT, self.leadership_other_than(was)).await;
        moved.map_err(|_| Refused::Unavailable(format!("node {id} did not take over in time")))
    }

    /// If this node is the one that goes, another is to lead first, and to be asked again.
    async fn give_way(&self, going: u64) -> Step {
        if going != self.settings.id {
            return Ok(());
        }
        self.hand_over(TIMEOUT, false).await;
        Err(Refused::Unavailable("another node is to lead first".to_owned()))
    }

    fn must_be_member(&self, id: u64) -> Step {
        if self.members().nodes.contains_key(&id) {
            return Ok(());
        }
        Err(conflict(Code::NotMember, format!("node {id} is not a member")))
    }

    /// By what the peers say now: one that died a moment ago must not be counted on.
    async fn must_have_quorum(&self, members: &Members, force: bool) -> Step {
        self.peers.ask_all().await;
        let reachable = self.peers.reachable();
        let is_out = |id| id != self.settings.id && !reachable.contains_key(&id);
        if force || members.has_quorum(is_out) {
            return Ok(());
        }
        let message = "no majority of the nodes that would be left answers";
        Err(conflict(Code::LosesQuorum, message))
    }

    /// How many entries `id` is behind this leader, if it follows.
    fn behind(&self, id: u64) -> Option<u64> {
        let reachable = self.peers.reachable();
        let applied = reachable.get(&id)?.applied?;
        let last = self.raft.metrics().borrow_watched().last_log_index?;
        // A node that is still joining has not stored all that it must before it votes.
        (reachable.get(&id)?.role == Role::Learner).then(|| last.saturating_sub(applied))
    }

    async fn write(&self, change: ChangeMembers<u64, NodeAddress>) -> Step {
        // A node that goes is not kept as a learner.
        let written = timeout(TIMEOUT, self.raft.change_membership(change, false)).await;
        match written {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(error))) => Err(refusal(error)),
            Ok(Err(RaftError::Fatal(error))) => Err(Refused::Unavailable(error.to_string())),
            Err(_) => Err(Refused::Unknown),
        }
    }

    /// Finishes what another leader has left half done, for a cluster of two sets of voters needs
    /// both; and tells when this node itself is gone.
    pub(super) async fn watch_members(&self) {
        let (mut seen, mut told) = (None, false);
        loop {
            sleep(LOOK).await;
            let is_removed = self.gate.is_open() && self.is_removed();
            if is_removed && !told {
                tracing::warn!("this node has been removed from its cluster: it can be stopped");
            }
            told = is_removed;
            let members = self.members();
            let leads = matches!(self.leadership(), Leadership::Here { .. });
            if !leads || !members.is_joint() {
                seen = None;
                continue;
            }
            // Seen twice: else it may be one that is just being made.
            if seen.replace(members.clone()).as_ref() == Some(&members)
                && let Ok(_changing) = self.changing.try_lock()
            {
                tracing::info!("finishing a change of the members");
                let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
                if let Err(refused) = self.write(nothing).await {
                    tracing::warn!(?refused, "the change of the members stays half done for now");
                }
            }
        }
    }
}

fn refusal(error: ClientWriteError<TypeConfig>) -> Refused {
    match error {
        ClientWriteError::LogEntryDiscarded(_) => Refused::Unknown,
        ClientWriteError::ForwardToLeader(_) => {
            Refused::Unavailable("this node does not lead any more".to_owned())
        }
        other => Refused::Unavailable(other.to_string()),
    }
}
