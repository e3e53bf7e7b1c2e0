//! What operators ask of quotas.

use tokio::time::Instant;

use super::Proposer;
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::{SpacesRecord, quota};

impl Proposer {
    /// What namespaces hold, and may hold: a linearizable read.
    ///
    /// # Errors
    /// As [`crate::raft::Reads::barrier`].
    pub async fn spaces(&self) -> Result<SpacesRecord> {
        self.node.reads().barrier(Instant::now() + limits::REQUEST_TIMEOUT).await?;
        quota::spaces(self.node.state()).map_err(Error::unreadable)
    }
}
