//! Rate limits: what is asked, and what is decided.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// 2^53-1.
const REQUESTS_MAX: u64 = (1 << 53) - 1;
/// 400 days.
const WINDOW_MS_MAX: u64 = 400 * 24 * 60 * 60 * 1000;

/// How many requests in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// 0 to 2^53-1; 0 admits none.
    pub requests: u64,
    /// 1 to 34,560,000,000 (400 days).
    pub window_ms: u64,
}

impl Limit {
    pub(crate) fn validate(self) -> Result<()> {
        if self.requests > REQUESTS_MAX {
            let message = format!("requests must be an integer from 0 to {REQUESTS_MAX}");
            return Err(Error::argument(message));
        }
        if !(1..=WINDOW_MS_MAX).contains(&self.window_ms) {
            let message = format!("window_ms must be an integer from 1 to {WINDOW_MS_MAX}");
            return Err(Error::argument(message));
        }
        Ok(())
    }
}

/// The answer of `POST /check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Whether the request is within the limit.
    pub allowed: bool,
    /// Requests that the window still admits.
    pub remaining: u64,
    /// When the window ends, in milliseconds since the Unix epoch.
    #[serde(rename = "resetTime")]
    pub reset_time_ms: u64,
    /// Whole seconds until then, at least 1; `None` if allowed.
    #[serde(rename = "retryAfter")]
    pub retry_after_s: Option<u64>,
}
