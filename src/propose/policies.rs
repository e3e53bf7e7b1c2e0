//! What operators ask of the policies.

use tokio::time::Instant;

use super::Proposer;
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::policy::{self, Stored};
use crate::machine::{Outcome, Request, SetPolicy, VERSION_POLICIES};

impl Proposer {
    /// Stores or removes a policy. Comes to [`Outcome::PolicySet`] or, if there is no room for it, to
    /// [`Outcome::Refused`].
    ///
    /// # Errors
    /// As [`Proposer::change`].
    pub async fn set_policy(&self, set: SetPolicy) -> Result<Outcome> {
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        self.wait_for(VERSION_POLICIES, deadline).await?;
        self.propose_by(Request::SetPolicy(set), deadline).await
    }

    /// All policies, by namespace and type: a linearizable read.
    ///
    /// # Errors
    /// As [`crate::raft::Reads::barrier`].
    pub async fn policies(&self) -> Result<Vec<Stored>> {
        self.node.reads().barrier(Instant::now() + limits::REQUEST_TIMEOUT).await?;
        policy::list(self.node.state()).map_err(|error| Error::internal(error.to_string()))
    }
}
