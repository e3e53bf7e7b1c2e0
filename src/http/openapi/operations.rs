//! What is said of each route.

use serde_json::{Value, json};
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::Type;
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{ContentBuilder, Required, ResponseBuilder};

use super::parameters::{idempotency_key, in_query};
use super::place::{Description, Names};
use super::responses::{integer_header, json as json_answer, problem, text_header};
use super::schema::{Part, bytes, integer, named, one_of_values, string};
use crate::bindings::Class;
use crate::limits::{NAME_BYTES_MAX, TIME_MS_MAX};

const LIMITS: &str = "rate limits";
const LOG: &str = "audit log";
pub(super) const OPERATORS: &str = "operators";

/// A route that takes JSON, and answers `statuses` if it cannot do what it is for.
pub(super) fn post(
    tag: &str,
    summary: &str,
    schema: &str,
    example: Value,
    statuses: &[u16],
) -> OperationBuilder {
    let content = ContentBuilder::new().schema(Some(named(schema))).example(Some(example)).build();
    let body = RequestBodyBuilder::new()
        .content("application/json", content)
        .description(Some("JSON, whatever its `Content-Type` says."))
        .required(Some(Required::True))
        .build();
    let all = [&[400, 413, 500, 503], statuses].concat();
    answering(tag, summary, &all).request_body(Some(body))
}

pub(super) fn answering(tag: &str, summary: &str, statuses: &[u16]) -> OperationBuilder {
    let operation = OperationBuilder::new().tag(tag).summary(Some(summary));
    statuses.iter().fold(operation, |operation, status| {
        operation.response(status.to_string(), problem(*status))
    })
}

/// A POST that changes something, once for each `Idempotency-Key`.
pub(super) fn change(tag: &str, summary: &str, schema: &str, example: Value) -> OperationBuilder {
    post(tag, summary, schema, example, &[422, 507]).parameter(idempotency_key())
}

pub(super) fn ok(operation: OperationBuilder, answer: ResponseBuilder) -> OperationBuilder {
    operation.response("200", answer)
}

pub(super) fn replayed(answer: ResponseBuilder) -> ResponseBuilder {
    let told = "`true` if the request was carried out before, and this is its answer.";
    answer.header("Idempotency-Replayed", text_header(told))
}

fn counted(answer: ResponseBuilder) -> ResponseBuilder {
    answer
        .header("X-RateLimit-Limit", integer_header("The limit that was applied.", 0))
        .header("X-RateLimit-Remaining", integer_header("What the window still admits.", 0))
        .header("X-RateLimit-Reset", text_header("When the window ends, as RFC 3339 writes it."))
}

fn a_check() -> Value {
    json!({"identifier": "user-123", "type": "wix", "config": {"requests": 100, "windowMs": 60000}})
}

fn an_entry() -> Value {
    json!({"type": "wix_request", "action": "api_call", "userId": "user-123", "ip": "1.2.3.4",
        "details": {"path": "/api/wix/content"}})
}

const ID: &str = "01a208b0-f3da-7000-8000-d7a1c3587c45";

pub(super) fn a_logged_entry() -> Value {
    let mut entry = an_entry();
    entry["id"] = json!(ID);
    entry["timestamp"] = json!(1_795_442_144_218_u64);
    entry
}

pub(in crate::http) fn check(_: &Names) -> Description {
    let allowed = json!({"allowed": true, "remaining": 99, "resetTime": 1_795_442_204_083_u64});
    let denied = json!({"allowed": false, "remaining": 0, "resetTime": 1_795_442_204_083_u64,
        "retryAfter": 60});
    let operation = change(LIMITS, "Count a request against a limit", "Check", a_check())
        .description(Some(
            "At the root the limiter is the object named `type:identifier`, or `identifier` where \
             there is no `type`; in a path it is the path's. A window begins with its first admitted \
             request. A refused check counts nothing, and is not kept under its `Idempotency-Key`.",
        ))
        .response("200", counted(replayed(json_answer("Admitted.", "Allowed", allowed))))
        .response(
            "429",
            counted(json_answer("The limit is reached.", "Denied", denied))
                .header("Retry-After", integer_header("Seconds to wait.", 1)),
        );
    Description { class: Some(Class::RateLimiter), id: "check", operation }
}

pub(in crate::http) fn check_batch(_: &Names) -> Description {
    let body = json!({"checks": [a_check(), a_check()]});
    let answer = json!({"results": [
        {"status": 200, "allowed": true, "remaining": 0, "resetTime": 1_795_442_205_311_u64},
        {"status": 429, "allowed": false, "remaining": 0, "resetTime": 1_795_442_205_311_u64,
            "retryAfter": 60},
    ]});
    let operation = change(LIMITS, "Many checks, in order", "CheckBatch", body);
    let operation = ok(operation, json_answer("Each in its place.", "CheckResults", answer));
    Description { class: Some(Class::RateLimiter), id: "checkBatch", operation }
}

pub(in crate::http) fn reset(_: &Names) -> Description {
    let body = json!({"identifier": "user-123", "type": "wix"});
    let answer = json_answer("Forgotten.", "Done", json!({"success": true}));
    let operation = ok(change(LIMITS, "Forget a count", "Reset", body), replayed(answer));
    Description { class: Some(Class::RateLimiter), id: "reset", operation }
}

pub(in crate::http) fn log(_: &Names) -> Description {
    let answer = json!({"success": true, "id": ID});
    let answer = replayed(json_answer("Logged.", "Logged", answer));
    let operation = ok(change(LOG, "Log an entry", "LogEntry", an_entry()), answer);
    Description { class: Some(Class::AuditLogger), id: "log", operation }
}

pub(in crate::http) fn log_batch(_: &Names) -> Description {
    let body = json!({"entries": [an_entry()]});
    let answer = json!({"results": [{"status": 200, "success": true, "id": ID}]});
    let answer = json_answer("Each in its place.", "LogResults", answer);
    let operation = ok(change(LOG, "Many entries, in order", "LogBatch", body), answer);
    Description { class: Some(Class::AuditLogger), id: "logBatch", operation }
}

pub(in crate::http) fn query(_: &Names) -> Description {
    let body = json!({"type": "wix_request", "limit": 100});
    let answer = json!({"entries": [a_logged_entry()], "count": 1});
    let answer = json_answer("A page.", "Page", answer);
    let operation = ok(post(LOG, "Read entries, page by page", "Query", body, &[]), answer);
    Description { class: Some(Class::AuditLogger), id: "query", operation }
}

pub(in crate::http) fn export(_: &Names) -> Description {
    let time = |what| integer(what, 0, Some(TIME_MS_MAX));
    let text = |what| bytes(what, 0, NAME_BYTES_MAX);
    let parameters = [
        in_query("format", one_of_values(Type::String, ["json", "ndjson", "csv"])),
        in_query(
            "csvEscape",
            one_of_values(Type::String, ["none"]).description(Some(
                "Cells of CSV that a spreadsheet would run get an apostrophe, unless this says `none`.",
            )),
        ),
        in_query("order", one_of_values(Type::String, ["desc", "asc"])),
        in_query("startTime", time("From this time on, in ms since the Unix epoch.")),
        in_query("endTime", time("Up to this time, in ms; not before `startTime`.")),
        in_query("type", text("Entries of this `type`.")),
        in_query("action", text("Entries of this `action`.")),
        in_query("userId", text("Entries of this `userId`.")),
        in_query("ip", text("Entries of this `ip`.")),
    ];
    let lines = |type_: &str| {
        let schema: Part = string(&format!("{type_}, an entry a line.")).into();
        ContentBuilder::new().schema(Some(schema)).build()
    };
    let json = json!({"entries": [a_logged_entry()], "count": 1});
    let answer = json_answer("The whole of it, streamed.", "Export", json)
        .content("application/x-ndjson", lines("NDJSON"))
        .content("text/csv", lines("CSV (RFC 4180) with a header"))
        .header("Content-Disposition", text_header("`attachment`, and a file's name."))
        .header("X-Csv-Escape", text_header("With CSV: `apostrophe-v1` or `none`."));
    let operation = answering(LOG, "Read all entries of a time", &[400, 500, 503])
        .description(Some(
            "A response that breaks off without its last chunk is not whole. Compressed with gzip for \
             clients that accept it.",
        ))
        .parameters(Some(parameters))
        .response("200", answer);
    Description { class: Some(Class::AuditLogger), id: "export", operation }
}

/// The groups of routes.
pub(super) fn tags() -> Vec<Tag> {
    let tag = |name, description: &str| {
        TagBuilder::new().name(name).description(Some(description)).build()
    };
    vec![
        tag(LIMITS, "Objects of the class `RateLimiter`."),
        tag(LOG, "Objects of the class `AuditLogger`: shards of a log, a day each at the root."),
        tag(OPERATORS, "For those who run the nodes, and their probes."),
    ]
}
