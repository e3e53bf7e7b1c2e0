//! Which requests have a span, and the queue in which spans wait for the exporter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::context::{Context, TraceId};
use super::export::Exporter;
use super::span::{Part, Traced};
use crate::clock;
use crate::limits;
use crate::metrics::{IntCounter, counted};
use crate::tls::Trust;

/// Where spans go, and how many of them.
#[derive(Clone, Debug)]
pub struct Export {
    /// The collector's base URL; `/v1/traces` comes behind it.
    pub endpoint: String,
    /// The CAs by whose word the collector is what it says it is.
    pub trust: Trust,
    /// The part of the requests that have a span where the client does not say so, 0 to 1.
    pub sampling_ratio: f64,
    /// The cluster's name.
    pub cluster: String,
    /// This node's id.
    pub node: u64,
}

/// A cheap handle that begins and ends spans. The default one has none.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Shared>>);

struct Shared {
    /// A trace is sampled if its low half is below this: 2^64 for all of them.
    threshold: u128,
    queue: mpsc::Sender<Finished>,
    dropped: IntCounter,
}

/// What an answered request was, beside its span.
#[derive(Debug)]
pub struct Answered {
    /// One that HTTP knows, or `_OTHER`.
    pub method: &'static str,
    /// The endpoint: a path without what clients make up.
    pub endpoint: String,
    /// The binding that it was about, and its class.
    pub binding: Option<[String; 2]>,
    /// The status of the answer.
    pub status: u16,
    /// The request's id.
    pub request_id: String,
}

/// The span of a request that was answered.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) traced: Traced,
    pub(super) parts: Vec<Part>,
    pub(super) ended: Instant,
    /// The wall clock at `ended`, since the Unix epoch.
    pub(super) ended_at: Duration,
    pub(super) answered: Answered,
}

impl Finished {
    /// How many spans it comes to: its parts are spans too.
    pub(super) fn spans(&self) -> u64 {
        1 + self.parts.len() as u64
    }
}

/// A tracer, and what takes its spans to the collector for as long as it is run.
///
/// # Errors
/// One sentence, if there is no way to the collector.
pub fn start(export: Export) -> Result<(Tracer, Exporter), String> {
    let (queue, waiting) = mpsc::channel(limits::SPANS_QUEUE_MAX);
    let exporter = Exporter::new(&export, waiting)?;
    // Exact: a power of two moves no bit of the ratio.
    let threshold = (export.sampling_ratio * 2_f64.powi(64)) as u128;
    let dropped = counted().spans.with_label_values(&["dropped"]);
    Ok((Tracer(Some(Arc::new(Shared { threshold, queue, dropped }))), exporter))
}

impl Tracer {
    /// Begins the span of a request that comes from `parent`, if it is to have one: where the client has
    /// said whether it is sampled, as it has said. The trace of a request that comes from nobody has the
    /// id `own`, or a new one.
    pub fn begin(&self, parent: Option<Context>, own: Option<TraceId>) -> Option<Traced> {
        let shared = self.0.as_ref()?;
        match parent {
            Some(Context { trace, span, is_sampled }) => {
                is_sampled.then(|| Traced::new(trace, Some(span)))
            }
            None => {
                let trace = own.unwrap_or_else(TraceId::unique);
                let is_sampled = u128::from(trace.low()) < shared.threshold;
                is_sampled.then(|| Traced::new(trace, None))
            }
        }
    }

    /// Ends the span of a request that was answered just now.
    pub fn end(&self, traced: Traced, answered: Answered) {
        let Some(shared) = &self.0 else { return };
        let ended = Instant::now();
        let (parts, ended_at) = (traced.span().take_parts(), clock::wall_at(ended));
        let finished = Finished { traced, parts, ended, ended_at, answered };
        let spans = finished.spans();
        if shared.queue.try_send(finished).is_err() {
            shared.dropped.inc_by(spans);
        }
    }
}
