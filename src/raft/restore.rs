//! The first start of a cluster from a backup, as far as a node prepares for it by itself.
//!
//! The state of a backup is put in a node without a log. It then stands where a node stands that has
//! taken a snapshot and cut its log there: at one entry that is applied, committed and purged. What
//! makes that safe:
//!
//! - All nodes that are restored from one file, with one list of nodes, begin at the same entry with
//!   the same state and the same membership, as if they had all applied it.
//! - They begin in a term of their own, [`TERMS`] after the backup's. Whatever its old cluster has
//!   come to since, a node of that one has an earlier last term, and is elected by none of these; and
//!   as each begins with its own vote in that term, nobody leads in it.
//! - No node takes part before all of them have been seen to be of the same backup: see
//!   [`super::bootstrap`], where that is decided. Until then it gives no vote and follows nobody.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use openraft::Membership;
use openraft::storage::{RaftLogStorage, RaftSnapshotBuilder};

use super::apply::decode_applied;
use super::bootstrap::Restored;
use super::log::Log;
use super::snapshot::Builder;
use super::types::{LogId, NodeAddress, StoredMembership, Vote};
use crate::archive::Contents;
use crate::codec;
use crate::machine::{Effects, Machine};
use crate::storage::{LogStore, Snapshots, StateStore};

/// Terms between a backup and a cluster that begins with it: more elections than the old cluster may
/// have held since, of which there is one in half a second at most.
const TERMS: u64 = 1_000_000_000;

/// What a node has on its disk.
pub type Stores = (LogStore, StateStore, Snapshots);

/// Makes of the stores in `dir`, whose state is that of the backup `id` with these `contents`, those of
/// node `node` in a new cluster of `members`.
///
/// # Errors
/// `InvalidData` if the state is not what the contents say; or if something cannot be written.
pub async fn begin_restored(
    dir: &Path,
    (log, state, snapshots): &Stores,
    id: String,
    contents: &Contents,
    node: u64,
    members: BTreeMap<u64, NodeAddress>,
) -> io::Result<()> {
    check(state, contents)?;
    let term = contents.term.checked_add(TERMS).ok_or_else(|| invalid("a term past all terms"))?;
    let start = LogId::new_term_index(term, contents.applied);
    let voters = vec![members.keys().copied().collect()];
    let membership = Membership::new(voters, members).map_err(io::Error::other)?;
    let membership = codec::encode(&StoredMembership::new(Some(start), membership));
    let mark = codec::encode(&start);
    state.commit(Effects::default(), start.index, mark, Some(membership))?;
    state.flush()?;
    let mut raft_log = Log::new(Arc::new(log.clone()));
    raft_log.save_vote(&Vote::new(term, node)).await?;
    raft_log.purge(start).await?;
    // In the place of the one that came with the backup, which has the old nodes.
    Builder::new(Arc::new(state.clone()), snapshots.clone()).build_snapshot().await?;
    Restored { backup: id, index: start.index }.begin(dir)
}

/// Whether the state is the one that the backup says to be of.
fn check(state: &StateStore, contents: &Contents) -> io::Result<()> {
    let applied = decode_applied(state)?.ok_or_else(|| invalid("a backup without a state"))?;
    let machine = Machine::load(state)?;
    let found = (applied.leader_id.term, applied.index, hex::encode(machine.hash()));
    if found != (contents.term, contents.applied, contents.state_hash.clone()) {
        return Err(invalid("the state in the backup is not the one that it says to hold"));
    }
    Ok(())
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
