//! What is left when a majority of the nodes is gone for good: one survivor goes on alone.
//!
//! Its log gets one more entry, a membership of itself alone, in a term of its own. When the node is
//! started it elects itself, and commits everything that its log holds, whether or not a majority had
//! it. What the lost majority had acknowledged without this node is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::storage::RaftLogStorage;
use openraft::{Membership, RaftLogReader};
use tokio::sync::oneshot;

use super::apply::decode_applied;
use super::bootstrap;
use super::log::Log;
use super::types::{Entry, LogId, NodeAddress, Vote};
use crate::codec;
use crate::storage::{LogStore, StateStore};

/// What a stopped node has. Of several survivors the one with the greatest term, and of those the one
/// with the greatest index, has all that the others have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// The term of its last entry.
    pub term: u64,
    /// The index of its last entry.
    pub index: u64,
}

/// What the node with these stores has.
///
/// # Errors
/// If it cannot be read, has nothing, or has lost its data before and not yet got all of it back.
pub async fn holdings(dir: &Path, log: &LogStore, state: &StateStore) -> io::Result<Holdings> {
    let last = last(dir, log, state).await?;
    Ok(Holdings { term: last.leader_id.term, index: last.index })
}

/// Makes the node with these stores a cluster of itself, where it listens at `node`.
///
/// # Errors
/// As [`holdings`], or if it cannot be written.
pub async fn forget_others(
    dir: &Path,
    log: &LogStore,
    state: &StateStore,
    id: u64,
    node: NodeAddress,
) -> io::Result<()> {
    let last = last(dir, log, state).await?;
    let mut raft_log = Log::new(Arc::new(log.clone()));
    let vote = raft_log.read_vote().await?;
    let term = last.leader_id.term.max(vote.map_or(0, |vote| vote.leader_id.term)) + 1;
    // First: a vote alone changes nothing, and no entry may be of a later term than the vote.
    raft_log.save_vote(&Vote::new(term, id)).await?;
    let nodes = BTreeMap::from([(id, node)]);
    let membership = Membership::new(vec![BTreeSet::from([id])], nodes);
    let alone = Entry::new_membership(
        LogId::new_term_index(term, last.index + 1),
        membership.map_err(io::Error::other)?,
    );
    let (done, synced) = oneshot::channel();
    let done = Box::new(move |result| {
        // The receiver waits below.
        let _ = done.send(result);
    });
    log.append(vec![(last.index + 1, codec::encode(&alone))], done)?;
    synced.await.map_err(io::Error::other)?
}

async fn last(dir: &Path, log: &LogStore, state: &StateStore) -> io::Result<LogId> {
    if bootstrap::is_rejoining(dir) {
        return Err(io::Error::other(
            "this node has lost its data before, and has not got all of it back",
        ));
    }
    let logged = Log::new(Arc::new(log.clone())).get_log_state().await?.last_log_id;
    logged.max(decode_applied(state)?).ok_or_else(|| io::Error::other("this node has no data"))
}
