//! Spans as OTLP has them, in its JSON form: `ExportTraceServiceRequest` of the OpenTelemetry protocol 1.x
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>).
//!
//! There ids are hexadecimal digits, 64-bit integers texts, and enumerations numbers. Attributes are named
//! as OpenTelemetry's conventions for HTTP servers name them; `url.path`, which they ask for, is left out,
//! since it holds names of objects and identifiers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::context::SpanId;
use super::tracer::Finished;

/// `SPAN_KIND_INTERNAL` and `SPAN_KIND_SERVER`.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;
/// `flags`: the trace is sampled; it is known whether the parent is another process's; it is.
const SAMPLED: u32 = 0x001;
const ORIGIN_KNOWN: u32 = 0x100;
const FROM_AFAR: u32 = 0x200;

/// Of which process the spans are.
pub(super) fn resource(cluster: &str, node: u64) -> Value {
    json!({"attributes": [
        text("service.name", "tallykeep"),
        text("service.namespace", cluster),
        text("service.instance.id", &node.to_string()),
        text("service.version", env!("CARGO_PKG_VERSION")),
    ]})
}

/// The body of a request to the collector.
pub(super) fn body(resource: &Value, batch: &[Finished]) -> Vec<u8> {
    let spans: Vec<Value> = batch.iter().flat_map(spans).collect();
    let scope = json!({"name": "tallykeep", "version": env!("CARGO_PKG_VERSION")});
    let scoped = json!([{"scope": scope, "spans": spans}]);
    let body = json!({"resourceSpans": [{"resource": resource, "scopeSpans": scoped}]});
    serde_json::to_vec(&body).expect("a value is JSON")
}

/// A request's span, and those of its parts.
fn spans(finished: &Finished) -> Vec<Value> {
    let Finished { traced, parts, ended, ended_at, answered } = finished;
    let span = traced.span();
    let at = |moment: Instant| nanoseconds(*ended_at, ended.saturating_duration_since(moment));
    let trace = span.trace.to_string();
    let one = |id: SpanId, name: &str, kind: u8, began: Instant, ended: Instant| {
        json!({
            "traceId": trace, "spanId": id.to_string(), "name": name, "kind": kind,
            "startTimeUnixNano": at(began), "endTimeUnixNano": at(ended),
        })
    };

    let name = format!("{} {}", answered.method, answered.endpoint);
    let mut whole = one(span.id, &name, SERVER, span.began, *ended);
    let mut flags = SAMPLED | ORIGIN_KNOWN;
    if let Some(parent) = span.parent {
        whole["parentSpanId"] = json!(parent.to_string());
        flags |= FROM_AFAR;
    }
    whole["flags"] = json!(flags);
    let mut attributes = vec![
        text("http.request.method", answered.method),
        text("http.route", &answered.endpoint),
        integer("http.response.status_code", answered.status.into()),
        text("tallykeep.request_id", &answered.request_id),
    ];
    if let Some([binding, class]) = &answered.binding {
        attributes.push(text("tallykeep.binding", binding));
        attributes.push(text("tallykeep.class", class));
    }
    if answered.status >= 500 {
        attributes.push(text("error.type", &answered.status.to_string()));
        whole["status"] = json!({"code": ERROR});
    }
    whole["attributes"] = json!(attributes);

    let mut spans = vec![whole];
    for part in parts {
        let mut of = one(SpanId::unique(), part.name, INTERNAL, part.began, part.ended);
        of["parentSpanId"] = json!(span.id.to_string());
        of["flags"] = json!(SAMPLED | ORIGIN_KNOWN);
        if let Some(leader) = part.leader {
            of["attributes"] = json!([integer("tallykeep.leader_id", leader)]);
        }
        spans.push(of);
    }
    spans
}

/// The wall clock so long before `at`.
fn nanoseconds(at: Duration, before: Duration) -> String {
    at.saturating_sub(before).as_nanos().to_string()
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn integer(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}
