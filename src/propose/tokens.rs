//! What operators ask of the API tokens.

use tokio::time::Instant;

use super::Proposer;
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::{NewToken, Outcome, Request, StoredToken, TokenId, VERSION_TOKENS, token};

impl Proposer {
    /// Stores a token. Comes to [`Outcome::TokenCreated`] or, if its name or id is taken or there is no room
    /// for it, to [`Outcome::Refused`].
    ///
    /// # Errors
    /// As [`Proposer::change`].
    pub async fn create_token(&self, new: NewToken) -> Result<Outcome> {
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        self.wait_for(VERSION_TOKENS, deadline).await?;
        self.propose_by(Request::CreateToken(new), deadline).await
    }

    /// Removes a token. Comes to [`Outcome::TokenRevoked`]. It needs no room on the disks: a secret that got
    /// out can be taken back also where they are full.
    ///
    /// # Errors
    /// As [`Proposer::change`], but not `StorageFull`.
    pub async fn revoke_token(&self, id: TokenId) -> Result<Outcome> {
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        self.wait_for(VERSION_TOKENS, deadline).await?;
        self.send_anyhow(Request::RevokeToken { id }, deadline).await
    }

    /// All tokens, by id: a linearizable read.
    ///
    /// # Errors
    /// As [`crate::raft::Reads::barrier`].
    pub async fn tokens(&self) -> Result<Vec<StoredToken>> {
        self.node.reads().barrier(Instant::now() + limits::REQUEST_TIMEOUT).await?;
        token::list(self.node.state()).map_err(|error| Error::internal(error.to_string()))
    }
}
