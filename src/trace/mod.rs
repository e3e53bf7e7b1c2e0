//! Tracing: which request is which, and where the time of a request went.
//!
//! Ids are those of W3C Trace Context. A request that is sampled has a span ([`Traced`]), to which the
//! places that it passes through add parts. When it is answered its span goes into a queue of fixed
//! length, and from there to a collector, by OTLP over HTTP ([`Exporter`]). No request waits for the
//! collector: what finds the queue full is dropped, and counted. Where nothing is exported a request
//! costs a comparison at its begin, and a look into its task wherever a part would be added.
//!
//! Known by `http`, which begins and ends spans, and by `propose`, which adds parts. Decision 0036 says
//! why it is as it is.

mod context;
mod export;
mod otlp;
mod outage;
mod reply;
mod span;
#[cfg(test)]
mod tests;
mod tracer;

pub use context::{Context, SpanId, TraceId};
pub use export::{Exporter, check_endpoint, is_secure};
pub use span::{Traced, current, timed};
pub use tracer::{Answered, Export, Tracer, start};
