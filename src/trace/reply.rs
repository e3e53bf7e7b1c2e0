//! What the collector answers to a batch, as OTLP over HTTP has it.

use std::time::{Duration, Instant};

use chrono::DateTime;
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::clock;
use crate::limits;

/// Why a batch was not taken.
pub(super) enum Refusal {
    /// It will not be, however often it is sent.
    Final(String),
    /// It may be taken later; if the collector has said when, it is to be sent nothing for so long.
    Later(String, Option<Duration>),
}

/// The members of the collector's answer that are looked at.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Reply {
    pub(super) partial_success: Option<PartialSuccess>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PartialSuccess {
    /// A 64-bit integer, and so a text; some collectors write a number.
    rejected_spans: Value,
    pub(super) error_message: String,
}

impl PartialSuccess {
    pub(super) fn rejected(&self) -> u64 {
        let text = || self.rejected_spans.as_str()?.parse().ok();
        self.rejected_spans.as_u64().or_else(text).unwrap_or_default()
    }
}

/// What a response says of the batch that it is the answer to.
pub(super) async fn read(response: Response) -> Result<Reply, Refusal> {
    let status = response.status();
    if status.is_success() {
        return Ok(taken(response).await);
    }
    let why = format!("it answers {status}");
    // Those that OTLP has sent again; the others will not become better.
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let said = response.headers().get(RETRY_AFTER);
            let said = said.and_then(|value| value.to_str().ok());
            let now = clock::wall_at(Instant::now());
            Refusal::Later(why, said.and_then(|value| retry_after(value, now)))
        }
        _ => Refusal::Final(why),
    })
}

/// What the collector says of a batch that it took. An answer that is not understood, or is too long, says
/// by its status that it took all.
async fn taken(mut response: Response) -> Reply {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > limits::SPANS_REPLY_BYTES_MAX {
            return Reply::default();
        }
    }
    serde_json::from_slice(&body).unwrap_or_default()
}

/// How long `Retry-After` asks to wait when it is `now`, since the Unix epoch: a number of seconds, or a date
/// (RFC 9110, 10.2.3). Of dates the form that HTTP has senders write is read, which is RFC 2822's too; what
/// is neither says nothing.
fn retry_after(value: &str, now: Duration) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    let date = Duration::from_secs(date.timestamp().try_into().ok()?);
    Some(date.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = Duration::from_secs(784_111_777);
        for (value, said_s) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("18446744073709551615", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 31 Feb 1994 08:49:37 GMT", None),
            ("Wed, 01 Jan 1969 00:00:00 GMT", None),
        ] {
            assert_eq!(retry_after(value, now), said_s.map(Duration::from_secs), "{value:?}");
        }
    }
}
