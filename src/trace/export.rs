//! Takes spans to the collector: OTLP over HTTP, in batches, outside of every request.
//!
//! What the collector does not take for the time being is sent again, with growing pauses, for
//! [`limits::SPANS_PATIENCE`]; meanwhile the queue fills, and what finds it full is dropped. The log tells
//! of it when it begins and when it is over.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::otlp;
use super::tracer::{Export, Finished};
use crate::limits;
use crate::metrics::counted;

/// What comes behind the collector's base URL, as OTLP has it.
const PATH: [&str; 2] = ["v1", "traces"];

/// Whether spans can be sent to an endpoint, by its text alone.
///
/// # Errors
/// One sentence, if not.
pub fn check_endpoint(endpoint: &str) -> Result<(), String> {
    url(endpoint).map(drop)
}

fn url(endpoint: &str) -> Result<Url, String> {
    let wrong = |why: &str| format!("the collector's URL {endpoint:?} {why}");
    let mut url = Url::parse(endpoint).map_err(|error| wrong(&format!("is none: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // It would be shown wherever settings are.
        return Err(wrong("must not have a user or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must end with its path"));
    }
    {
        let mut segments = url.path_segments_mut().map_err(|()| wrong("has no host"))?;
        segments.pop_if_empty().extend(PATH);
    }
    Ok(url)
}

/// Takes spans out of the queue for as long as it runs.
pub struct Exporter {
    queue: mpsc::Receiver<Finished>,
    client: Client,
    url: Url,
    resource: Value,
    /// Whether the log was told that spans are not taken.
    is_failing: bool,
}

/// Why a batch was not taken.
enum Refusal {
    /// It will not be, however often it is sent.
    Final(String),
    /// It may be taken later; if the collector has said when, not before.
    Later(String, Option<Duration>),
}

/// The members of the collector's answer that are looked at.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reply {
    partial_success: Option<PartialSuccess>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PartialSuccess {
    /// A 64-bit integer, and so a text; some collectors write a number.
    rejected_spans: Value,
    error_message: String,
}

impl PartialSuccess {
    fn rejected(&self) -> u64 {
        let text = || self.rejected_spans.as_str()?.parse().ok();
        self.rejected_spans.as_u64().or_else(text).unwrap_or_default()
    }
}

impl Exporter {
    pub(super) fn new(export: &Export, queue: mpsc::Receiver<Finished>) -> Result<Self, String> {
        let client = Client::builder()
            .tls_backend_preconfigured(export.trust.for_reqwest())
            .connect_timeout(limits::CLIENT_CONNECT_TIMEOUT)
            .timeout(limits::SPANS_EXPORT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| format!("no client for the collector: {}", reasons(&error)))?;
        let resource = otlp::resource(&export.cluster, export.node);
        Ok(Self { queue, client, url: url(&export.endpoint)?, resource, is_failing: false })
    }

    /// Exports what comes, until no tracer is left, and then what has come.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while self.queue.recv_many(&mut batch, limits::SPANS_BATCH_MAX).await > 0 {
            // A few more, so that few requests are not as many exports.
            let until = Instant::now() + limits::SPANS_LINGER;
            while batch.len() < limits::SPANS_BATCH_MAX {
                let room = limits::SPANS_BATCH_MAX - batch.len();
                match timeout_at(until, self.queue.recv_many(&mut batch, room)).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            self.deliver(&batch).await;
            batch.clear();
        }
    }

    async fn deliver(&mut self, batch: &[Finished]) {
        let spans: u64 = batch.iter().map(Finished::spans).sum();
        let body = Bytes::from(otlp::body(&self.resource, batch));
        let until = Instant::now() + limits::SPANS_PATIENCE;
        let mut pause = limits::SPANS_PAUSE_MIN;
        let rejected = loop {
            match self.send(body.clone()).await {
                Ok(Reply { partial_success: Some(partial) }) if partial.rejected() > 0 => {
                    let (count, why) = (partial.rejected(), partial.error_message.escape_debug());
                    self.refused(&format!("of {spans} it refuses {count}: {why}"));
                    break count.min(spans);
                }
                Ok(_) => {
                    self.taken();
                    break 0;
                }
                Err(Refusal::Final(why)) => {
                    self.refused(&why);
                    break spans;
                }
                Err(Refusal::Later(why, after)) => {
                    self.refused(&why);
                    let wait = after.unwrap_or_default().clamp(pause, limits::SPANS_PATIENCE);
                    let next = Instant::now() + wait;
                    if next >= until || self.queue.is_closed() {
                        break spans;
                    }
                    sleep_until(next).await;
                    pause = (pause * 2).min(limits::SPANS_PAUSE_MAX);
                }
            }
        };
        let came_to = |what| counted().spans.with_label_values(&[what]);
        came_to("exported").inc_by(spans - rejected);
        came_to("failed").inc_by(rejected);
    }

    /// Sends a batch once.
    async fn send(&self, body: Bytes) -> Result<Reply, Refusal> {
        let request = self.client.post(self.url.clone());
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let response = request
            .send()
            .await
            .map_err(|error| Refusal::Later(reasons(&error.without_url()), None))?;
        let status = response.status();
        if status.is_success() {
            return Ok(reply(response).await);
        }
        let why = format!("it answers {status}");
        // Those that OTLP has sent again; the others will not become better.
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let after = response.headers().get(RETRY_AFTER);
                let after_s = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                Refusal::Later(why, after_s.map(Duration::from_secs))
            }
            _ => Refusal::Final(why),
        })
    }

    fn refused(&mut self, why: &str) {
        if !self.is_failing {
            let collector = self.url.as_str();
            tracing::warn!(collector, "the collector does not take spans: {why}");
        }
        self.is_failing = true;
    }

    fn taken(&mut self) {
        if self.is_failing {
            tracing::info!("the collector takes spans again");
        }
        self.is_failing = false;
    }
}

/// What the collector says of a batch that it took. An answer that is not understood, or is too long, says
/// by its status that it took all.
async fn reply(mut response: Response) -> Reply {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > limits::SPANS_REPLY_BYTES_MAX {
            return Reply::default();
        }
    }
    serde_json::from_slice(&body).unwrap_or_default()
}

/// An error and what is behind it, in one line.
fn reasons(error: &dyn Error) -> String {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        why = format!("{why}: {inner}");
        source = inner.source();
    }
    why
}
