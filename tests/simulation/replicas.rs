//! Invariant: replicas are equal at equal index. Every commit of every node is compared with the
//! first one at its index, whoever made it, whether for the first time or again after a crash.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use tallykeep::machine::Write;

use crate::disk::Commit;

/// By index: a hash of the entry's effects and its log id, and which node committed it first.
#[derive(Default)]
pub struct Replicas {
    commits: BTreeMap<u64, (u64, u64)>,
}

impl Replicas {
    /// Notes a commit of `node`.
    ///
    /// # Errors
    /// If another was made at this index before.
    pub(super) fn note(&mut self, node: u64, commit: &Commit) -> Result<(), String> {
        let hash = digest(commit);
        let (first, by) = *self.commits.entry(commit.index).or_insert((hash, node));
        if first == hash {
            return Ok(());
        }
        let (index, writes) = (commit.index, commit.effects.writes.len());
        Err(format!("node {node} commits {writes} writes at {index} that differ from node {by}'s"))
    }

    /// Entries that were committed by anybody.
    pub fn entries(&self) -> usize {
        self.commits.len()
    }
}

fn digest(commit: &Commit) -> u64 {
    let mut hash = DefaultHasher::new();
    (commit.index, &commit.applied, &commit.membership).hash(&mut hash);
    for write in &commit.effects.writes {
        match write {
            Write::Put { table, key, value } => (0, *table as u8, key, value).hash(&mut hash),
            Write::Delete { table, key } => (1, *table as u8, key).hash(&mut hash),
            Write::DeleteRange { table, from, to } => (2, *table as u8, from, to).hash(&mut hash),
        }
    }
    hash.finish()
}
