//! The one table from what went wrong to what the client is told.
//!
//! Every error is RFC 9457 problem details. Its `type` is `about:blank`, so its `title` is the
//! status's own phrase, as the RFC asks; programs compare `code`. `error` repeats the title for
//! the guide's clients, which read that member.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::request_id::{self, RequestId};
use super::{Api, journal, objects};
use crate::error::{Error, Kind};
use crate::limits;
use crate::machine::{Outcome, Refusal};

/// The code of a body that is not taken whole.
pub(super) const BODY_TOO_LARGE: &str = "body_too_large";
/// Seconds after which a client may try again what was refused for the time being.
const RETRY_AFTER_SECONDS: &str = "1";

/// The status of each kind of error. That of a refused check is not one of them: it is an answer.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::TooOften => StatusCode::TOO_MANY_REQUESTS,
        Kind::Overloaded | Kind::Unavailable | Kind::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        Kind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// RFC 9457, in the order in which the members are written.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    error: &'a str,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// What went wrong, kept with an answer for the node's log.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    /// As the problem has it.
    pub(super) code: &'static str,
    /// Of a fault inside, what it was.
    pub(super) fault: Option<String>,
}

/// The JSON of a problem, of the whole request of this id or of a part of one.
fn problem(status: StatusCode, code: &str, detail: &str, of: Option<&RequestId>) -> Vec<u8> {
    let title = status.canonical_reason().expect("every status used here has a phrase");
    let problem = Problem {
        r#type: "about:blank",
        title,
        status: status.as_u16(),
        detail,
        code,
        error: title,
        request_id: of.map(RequestId::text),
    };
    serde_json::to_vec(&problem).expect("strings and numbers are JSON")
}

fn respond(status: StatusCode, code: &'static str, detail: &str) -> Response {
    let body = problem(status, code, detail, request_id::current().as_ref());
    let mut response = Response::new(Body::from(body));
    response.extensions_mut().insert(Cause { code, fault: None });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = respond(status(self.kind), self.code, &self.message);
        if self.kind == Kind::Internal {
            let cause = Cause { code: self.code, fault: Some(self.message) };
            response.extensions_mut().insert(cause);
        }
        if self.code == BODY_TOO_LARGE {
            // What is left of the body may still be on its way.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The problem of one item of a batch.
pub(super) fn of_item(error: &Error) -> Vec<u8> {
    if error.kind == Kind::Internal {
        journal::item_failed(error.code, &error.message);
    }
    problem(status(error.kind), error.code, &error.message, None)
}

/// The answer to a path that no route has.
pub(super) async fn no_route(uri: Uri) -> Error {
    Error::new(Kind::NotFound, "not_found", format!("there is no route {}", uri.path()))
}

/// The answer to a method that a route does not take; the router adds `Allow`. An object that has no
/// such route has it for no method.
pub(super) async fn no_method(State(api): State<Arc<Api>>, method: Method, uri: Uri) -> Response {
    if let Err(error) = objects::check_route(uri.path(), &api.bindings) {
        return error.into_response();
    }
    let detail = format!("{} does not take {method}", uri.path());
    respond(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &detail)
}

/// The answer, on the wire, to a connection that is one too many, of all or of its address. There is no
/// request yet that a router could answer.
pub(super) fn too_many_connections(is_of_address: bool) -> Vec<u8> {
    let (status, id) = (StatusCode::SERVICE_UNAVAILABLE, RequestId::new());
    let detail = match is_of_address {
        false => "this node has as many connections as it takes",
        true => "this node has as many connections as it takes from this address",
    };
    let body = problem(status, "overloaded", detail, Some(&id));
    on_the_wire(status, &format!("{RETRY_AFTER}: {RETRY_AFTER_SECONDS}\r\n"), &id, body)
}

/// The answer, on the wire, to a connection that begins in the clear where TLS is spoken.
pub(super) fn not_tls() -> Vec<u8> {
    let (status, id) = (StatusCode::BAD_REQUEST, RequestId::new());
    let detail = "this node speaks TLS here: its URL begins with https://";
    on_the_wire(status, "", &id, problem(status, "not_tls", detail, Some(&id)))
}

fn on_the_wire(status: StatusCode, headers: &str, id: &RequestId, body: Vec<u8>) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{CONTENT_TYPE}: application/problem+json\r\n{headers}\
         {}: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        request_id::HEADER,
        id.text(),
        body.len(),
    );
    [head.into_bytes(), body].concat()
}

/// The error of an outcome that is not what the command was for.
pub(super) fn unexpected(outcome: &Outcome) -> Error {
    match outcome {
        Outcome::Refused(Refusal::OtherClass) => {
            Error::invalid("other_class", "the object holds the state of another class")
        }
        Outcome::Refused(Refusal::KeyReused) => Error::new(
            Kind::KeyReused,
            "idempotency_key_reused",
            "the idempotency key was used for another request; nothing was changed",
        ),
        Outcome::Refused(Refusal::KeysFull) => Error::new(
            Kind::StorageFull,
            "idempotency_keys_full",
            "as many answers of idempotency keys are kept as idempotency.answers_max allows; \
             nothing was changed",
        ),
        Outcome::Refused(Refusal::ImportOrder) => Error::new(
            Kind::Conflict,
            "import_order",
            "the shard of the entry's day has later entries, and not this one: entries of a day are \
             imported in the order of their times and ids, before others are logged on that day",
        ),
        Outcome::Refused(Refusal::ImportConflict) => Error::new(
            Kind::Conflict,
            "import_conflict",
            "an entry of this id and time is there, and is another",
        ),
        Outcome::Refused(Refusal::ImportExpired) => {
            Error::invalid("import_expired", "the entry is as old as the retention of the log")
        }
        Outcome::Refused(Refusal::ImportFuture) => {
            Error::invalid("import_future", "the entry's time is not over, by the cluster's clock")
        }
        Outcome::Refused(Refusal::PoliciesFull) => Error::new(
            Kind::Conflict,
            "policies_full",
            format!("{} policies are stored, and there is no room for more", limits::POLICIES_MAX),
        ),
        Outcome::Refused(Refusal::TokenExists) => Error::new(
            Kind::Conflict,
            "token_exists",
            "a token of this name is in force: revoke it first, or take another name",
        ),
        Outcome::Refused(Refusal::TokensFull) => Error::new(
            Kind::Conflict,
            "tokens_full",
            format!("{} tokens are stored, and there is no room for more", limits::TOKENS_MAX),
        ),
        Outcome::Refused(Refusal::ObjectFull) => Error::new(
            Kind::StorageFull,
            "object_full",
            "the object would take more than quotas.object_bytes_max of its binding; nothing was \
             changed, and what it holds goes on",
        ),
        Outcome::Refused(Refusal::ObjectsFull) => Error::new(
            Kind::StorageFull,
            "objects_full",
            "the binding has as many objects as its quotas.objects_max allows, and this is a new one; \
             nothing was changed, and those that are there go on",
        ),
        _ => Error::internal(format!("a command came to {outcome:?}")),
    }
}
