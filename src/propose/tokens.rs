//! What operators ask of the API tokens.

use tokio::time::Instant;

use super::Proposer;
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::{
    LimitedToken, NewToken, Outcome, Request, StoredToken, TokenId, VERSION_CREDITS,
    VERSION_TOKENS, token,
};

impl Proposer {
    /// Stores a token, that may ask only so often if that is said. Comes to [`Outcome::TokenCreated`] or, if
    /// its name or id is taken or there is no room for it, to [`Outcome::Refused`].
    ///
    /// # Errors
    /// As [`Proposer::change`].
    pub async fn create_token(
        &self,
        new: NewToken,
        requests_per_second: Option<u32>,
    ) -> Result<Outcome> {
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        let (version, request) = match requests_per_second {
            None => (VERSION_TOKENS, Request::CreateToken(new)),
            Some(requests_per_second) => {
                let limited = LimitedToken { new, requests_per_second };
                (VERSION_CREDITS, Request::CreateLimitedToken(limited))
            }
        };
        self.wait_for(version, deadline).await?;
        self.propose_by(request, deadline).await
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
