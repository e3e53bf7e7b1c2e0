//! Invariant: no two nodes lead in one term.

use std::collections::BTreeMap;
use std::sync::Arc;

use tallykeep::raft::{Leadership, Node};

use crate::world::{World, lock};

/// By term: who led in it.
#[derive(Default)]
pub struct Leaders {
    terms: BTreeMap<u64, u64>,
}

impl Leaders {
    fn note(&mut self, node: u64, term: u64) -> Result<(), String> {
        let leader = *self.terms.entry(term).or_insert(node);
        if leader == node {
            return Ok(());
        }
        Err(format!("nodes {leader} and {node} both lead in term {term}"))
    }

    /// Terms that had a leader.
    pub fn terms(&self) -> usize {
        self.terms.len()
    }
}

/// Watches whether a node leads, for as long as it runs.
pub async fn watch(world: Arc<World>, node: Node) {
    loop {
        let leadership = node.leadership();
        if let Leadership::Here { term } = leadership {
            world.note(format_args!("node {} leads in term {term}", node.id()));
            let noted = lock(&world.leaders).note(node.id(), term);
            if let Err(what) = noted {
                world.violate("no two leaders in a term", what);
            }
        }
        node.leadership_other_than(leadership).await;
    }
}
