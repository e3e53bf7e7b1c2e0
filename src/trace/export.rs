//! Takes spans to the collector: OTLP over HTTP, in batches, outside of every request.
//!
//! What the collector does not take for the time being is sent again, with growing pauses, for
//! [`limits::SPANS_PATIENCE`]. If it says when it may be asked again, it is not asked before, be it with this
//! batch or with the next. Meanwhile the queue fills, and what finds it full is dropped. The log tells of it
//! when it begins and when it is over.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::otlp;
use super::outage::{Outage, beginning};
use super::reply::{self, Refusal, Reply};
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

/// Whether spans go to an endpoint by TLS, so that it has to prove what it is.
pub fn is_secure(endpoint: &str) -> bool {
    url(endpoint).is_ok_and(|url| url.scheme() == "https")
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
    resource: Arc<Value>,
    /// The collector has said that it is to be sent nothing before this.
    not_before: Instant,
    outage: Outage,
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
        Ok(Self {
            queue,
            client,
            url: url(&export.endpoint)?,
            resource: Arc::new(otlp::resource(&export.cluster, export.node)),
            not_before: Instant::now(),
            outage: Outage::default(),
        })
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
            self.deliver(std::mem::take(&mut batch)).await;
        }
    }

    async fn deliver(&mut self, batch: Vec<Finished>) {
        let spans: u64 = batch.iter().map(Finished::spans).sum();
        let failed = self.send_until_taken(batch, spans).await;
        let came_to = |what| counted().spans.with_label_values(&[what]);
        came_to("exported").inc_by(spans - failed);
        came_to("failed").inc_by(failed);
    }

    /// Sends a batch until it is taken, or will not be; gives how many of its spans were not.
    async fn send_until_taken(&mut self, batch: Vec<Finished>, spans: u64) -> u64 {
        if self.queue.is_closed() && Instant::now() < self.not_before {
            // The node stops, and will be gone by then.
            return spans;
        }
        sleep_until(self.not_before).await;
        let resource = self.resource.clone();
        // Of a full batch it takes tens of milliseconds, for which connections would wait on a worker.
        let body = match spawn_blocking(move || otlp::body(&resource, &batch)).await {
            Ok(body) => Bytes::from(body),
            Err(error) => {
                self.refused(&format!("they were not made ready: {error}"));
                return spans;
            }
        };
        let until = Instant::now() + limits::SPANS_PATIENCE;
        let mut pause = limits::SPANS_PAUSE_MIN;
        loop {
            match self.send(body.clone()).await {
                Ok(Reply { partial_success: Some(partial) }) if partial.rejected() > 0 => {
                    let (count, why) = (partial.rejected(), partial.error_message.escape_debug());
                    self.refused(&format!("of {spans} it refuses {count}: {why}"));
                    return count.min(spans);
                }
                Ok(_) => {
                    self.taken();
                    return 0;
                }
                Err(Refusal::Final(why)) => {
                    self.refused(&why);
                    return spans;
                }
                Err(Refusal::Later(why, said)) => {
                    self.refused(&why);
                    let now = Instant::now();
                    if let Some(wait) = said {
                        self.not_before = now + wait.min(limits::SPANS_RETRY_AFTER_MAX);
                    }
                    let next = self.not_before.max(now + pause);
                    if next >= until || self.queue.is_closed() {
                        return spans;
                    }
                    sleep_until(next).await;
                    pause = (pause * 2).min(limits::SPANS_PAUSE_MAX);
                }
            }
        }
    }

    /// Sends a batch once.
    async fn send(&self, body: Bytes) -> Result<Reply, Refusal> {
        let request = self.client.post(self.url.clone());
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        match request.send().await {
            Ok(response) => reply::read(response).await,
            Err(error) => Err(Refusal::Later(reasons(&error.without_url()), None)),
        }
    }

    fn refused(&mut self, why: &str) {
        if self.outage.begins() {
            let (collector, why) = (self.url.as_str(), beginning(why));
            tracing::warn!(collector, "the collector does not take spans: {why}");
        }
    }

    fn taken(&mut self) {
        if self.outage.ends() {
            tracing::info!("the collector takes spans again");
        }
    }
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
