//! The span of a request that is being answered, and the task in which it can be found.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::context::{SpanId, TraceId};
use crate::limits;

tokio::task_local! {
    /// Of the request that this task answers, if it has one.
    static CURRENT: Traced;
}

/// A cheap handle to the span of a request.
#[derive(Clone, Debug)]
pub struct Traced(Arc<Span>);

/// A request that is sampled.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) trace: TraceId,
    pub(super) id: SpanId,
    /// The span of another process from which the request came.
    pub(super) parent: Option<SpanId>,
    pub(super) began: Instant,
    parts: Mutex<Vec<Part>>,
}

/// A part of the time of a request.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// The node that led, as far as it was known, if a leader had to do with it.
    pub(super) leader: Option<u64>,
}

impl Traced {
    /// A span that begins now.
    pub(super) fn new(trace: TraceId, parent: Option<SpanId>) -> Self {
        let parts = Mutex::default();
        Self(Arc::new(Span { trace, id: SpanId::unique(), parent, began: Instant::now(), parts }))
    }

    /// The trace to which it belongs.
    pub fn trace(&self) -> TraceId {
        self.0.trace
    }

    /// Awaits `future`, for which this is the [`current`] span.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Adds a part. Of very many, as of a request that comes to many changes, the first are kept.
    pub fn part(&self, name: &'static str, began: Instant, ended: Instant, leader: Option<u64>) {
        let mut parts = self.0.parts();
        if parts.len() < limits::SPAN_PARTS_MAX {
            parts.push(Part { name, began, ended, leader });
        }
    }

    pub(super) fn span(&self) -> &Span {
        &self.0
    }
}

impl Span {
    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The parts so far.
    pub(super) fn take_parts(&self) -> Vec<Part> {
        std::mem::take(&mut self.parts())
    }
}

/// The span of the request that this task answers; none if it is not sampled.
pub fn current() -> Option<Traced> {
    CURRENT.try_with(Traced::clone).ok()
}

/// Awaits `future`, and adds the time that it took to the current span, if there is one.
pub async fn timed<F: Future>(name: &'static str, future: F) -> F::Output {
    let Some(traced) = current() else { return future.await };
    let began = Instant::now();
    let output = future.await;
    traced.part(name, began, Instant::now(), None);
    output
}
