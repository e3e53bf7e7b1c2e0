//! The record of what was done with this cluster, and who was refused: an audit log of its own.
//!
//! It is the object [`RECORD`] of the binding whose log the root's routes keep. Nodes alone write to it;
//! who may read entries reads it as any other object's. Without such a binding the node's log has it alone.
//! No quota refuses its entries: whoever could fill it could keep operators out.

use serde_json::Value;

use crate::bindings::{Bindings, RECORD};
use crate::error::{Error, Kind, Result};
use crate::http::{audit, error, json};
use crate::machine::{ObjectRef, Outcome, ShardRef};
use crate::propose::Proposer;

/// Writes the record.
pub(in crate::http) struct Record {
    proposer: Proposer,
    shard: Option<(ObjectRef, [u8; 32])>,
}

impl Record {
    pub(super) fn new(proposer: Proposer, bindings: &Bindings) -> Self {
        let shard = bindings
            .audit()
            .map(|binding| (binding.namespace.object(RECORD), *binding.namespace.key()));
        Self { proposer, shard }
    }

    /// Writes an entry, given as a client would send it.
    ///
    /// # Errors
    /// As [`Proposer::record`].
    pub(super) async fn write(&self, entry: &Value) -> Result<()> {
        tracing::info!(target: "tallykeep::record", "{entry}");
        let Some((object, key)) = &self.shard else { return Ok(()) };
        let entry = json::entry(&serde_json::to_vec(entry).expect("a value is JSON"))?;
        let shard = ShardRef::Object { object: object.clone(), key: *key };
        match self.proposer.record(audit::draft(shard, entry)).await? {
            Outcome::Logged { .. } => Ok(()),
            other => Err(error::unexpected(&other)),
        }
    }

    /// Keeps clients from writing to the record themselves, whatever their tokens.
    ///
    /// # Errors
    /// [`Kind::Forbidden`] if `object` is the record.
    pub(in crate::http) fn check_foreign(&self, object: &ObjectRef) -> Result<()> {
        let is_own = |own: &ObjectRef| own.namespace == object.namespace && own.id == object.id;
        if self.shard.as_ref().is_some_and(|(own, _)| is_own(own)) {
            let message = format!("{RECORD} is written by the nodes alone");
            return Err(Error::new(Kind::Forbidden, "reserved_object", message));
        }
        Ok(())
    }
}
