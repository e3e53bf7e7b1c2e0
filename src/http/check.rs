//! `POST /check` and `POST /reset`.

use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};

use super::body::Payload;
use super::idempotency::{self, KeyHeader, Scope};
use super::objects::Limiter;
use super::{Api, error, json, json_response, tail};
use crate::bindings::Binding;
use crate::error::{Error, Kind, Result};
use crate::machine::{
    Change, Check, Decision, IdempotencyKey, ObjectRef, Outcome, PolicyCheck, Refusal, Request,
    Reset,
};
use crate::propose::AnyCheck;

/// `X-RateLimit-Limit`: the limit that was applied.
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// `X-RateLimit-Remaining`: requests that the window still admits.
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// `X-RateLimit-Reset`: when the window ends, as JavaScript's `toISOString` writes it.
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// `POST /check`: the limiter is the one of the body's `type` and `identifier`. Without a `config` the
/// limit is the policy of the `type`.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    header: KeyHeader,
    body: Payload,
) -> Result<Response> {
    let binding = binding(&api)?;
    let key = header.key(|| Scope::Root(binding.namespace.id(), "/check"), &body);
    let body = body.parse(json::check)?;
    let object = limiter(binding, body.type_.as_deref(), &body.identifier);
    decide(&api, key, object, body).await
}

/// `POST /do/{binding}/…/check`: the limiter is the path's, whatever the body's `type`, which only says
/// whose policy is applied where there is no `config`.
pub(super) async fn check_object(
    State(api): State<Arc<Api>>,
    Limiter(object): Limiter,
    header: KeyHeader,
    body: Payload,
) -> Result<Response> {
    let key = header.key(|| Scope::Object(&object), &body);
    decide(&api, key, object, body.parse(json::check)?).await
}

/// `POST /reset`: the limiter is the one of the body's `type` and `identifier`.
pub(super) async fn reset(
    State(api): State<Arc<Api>>,
    header: KeyHeader,
    body: Payload,
) -> Result<Response> {
    let binding = binding(&api)?;
    let key = header.key(|| Scope::Root(binding.namespace.id(), "/reset"), &body);
    let body = body.parse(json::reset)?;
    let object = limiter(binding, body.type_.as_deref(), &body.identifier);
    forget(&api, key, object, body).await
}

/// `POST /do/{binding}/…/reset`: the limiter is the path's, whatever the body's `type`.
pub(super) async fn reset_object(
    State(api): State<Arc<Api>>,
    Limiter(object): Limiter,
    header: KeyHeader,
    body: Payload,
) -> Result<Response> {
    let key = header.key(|| Scope::Object(&object), &body);
    forget(&api, key, object, body.parse(json::reset)?).await
}

/// The binding whose limiters the root's routes ask.
pub(super) fn binding(api: &Api) -> Result<&Binding> {
    api.bindings.limiter().ok_or_else(|| {
        Error::new(Kind::NotFound, "not_found", "no binding of the class RateLimiter")
    })
}

/// Guide, "Naming Strategies": the limiter is named `type:identifier`, or by the identifier alone.
pub(super) fn limiter(binding: &Binding, type_: Option<&str>, identifier: &str) -> ObjectRef {
    match type_ {
        Some(type_) => binding.namespace.object(&format!("{type_}:{identifier}")),
        None => binding.namespace.object(identifier),
    }
}

async fn decide(
    api: &Api,
    key: Option<IdempotencyKey>,
    object: ObjectRef,
    body: json::CheckBody,
) -> Result<Response> {
    let subject = api.tail.subject(&object, &body.identifier);
    Ok(tail::about(subject, decided(api, key, object, body).await.into_response()))
}

async fn decided(
    api: &Api,
    key: Option<IdempotencyKey>,
    object: ObjectRef,
    body: json::CheckBody,
) -> Result<Response> {
    let check = any_check(object, body);
    let type_ = match &check {
        AnyCheck::Own(_) => None,
        AnyCheck::ByPolicy(check) => Some(check.type_.clone()),
    };
    let (outcome, replayed) = match key {
        None => (api.proposer.check(check).await?, false),
        Some(key) => idempotency::only(api.proposer.check_once(check, key).await?)?,
    };
    match outcome {
        Outcome::Checked(decision) => Ok(idempotency::mark(answer(&decision)?, replayed)),
        Outcome::Refused(Refusal::NoPolicy) => Err(no_policy(&type_.unwrap_or_default())),
        other => Err(error::unexpected(&other)),
    }
}

/// The check that a body asks for.
pub(super) fn any_check(object: ObjectRef, body: json::CheckBody) -> AnyCheck {
    let json::CheckBody { identifier, type_, config } = body;
    match config {
        Some(json::Config { requests, window_ms }) => {
            AnyCheck::Own(Check { object, identifier, requests, window_ms })
        }
        None => {
            // A body without a config has a type, or it is none.
            let type_ = type_.unwrap_or_default();
            AnyCheck::ByPolicy(PolicyCheck { object, identifier, type_ })
        }
    }
}

/// Why a check without a limit cannot be decided.
pub(super) fn no_policy(type_: &str) -> Error {
    let message = format!(
        "no policy is stored for the type {type_:?}: send a config, or store one with \
         PUT /admin/policies"
    );
    Error::invalid("no_policy", message)
}

async fn forget(
    api: &Api,
    key: Option<IdempotencyKey>,
    object: ObjectRef,
    body: json::ResetBody,
) -> Result<Response> {
    let subject = api.tail.subject(&object, &body.identifier);
    let reset = Reset { object, identifier: body.identifier };
    Ok(tail::about(subject, forgotten(api, key, reset).await.into_response()))
}

async fn forgotten(api: &Api, key: Option<IdempotencyKey>, reset: Reset) -> Result<Response> {
    let (outcome, replayed) = match key {
        None => (api.proposer.propose(Request::Reset(reset)).await?, false),
        Some(_) => {
            let changes = vec![Change::Reset(reset)];
            idempotency::only(api.proposer.change(key, changes).await?)?
        }
    };
    match outcome {
        Outcome::Reset => {
            let response = json_response(br#"{"success":true}"#.as_slice());
            Ok(idempotency::mark(response, replayed))
        }
        other => Err(error::unexpected(&other)),
    }
}

/// The answer to a check, written by hand: this is the hot path.
fn answer(decision: &Decision) -> Result<Response> {
    let Decision { limit, remaining, reset_ms, .. } = *decision;
    let mut body = Vec::with_capacity(112);
    body.push(b'{');
    let retry_after = members(&mut body, decision);
    body.push(b'}');

    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(LIMIT, limit.into());
    headers.insert(REMAINING, remaining.into());
    headers.insert(RESET, iso(reset_ms)?);
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    }
    Ok(response)
}

/// Appends the members of the answer to a check; gives the seconds after which a refused client may
/// try again.
pub(super) fn members(body: &mut Vec<u8>, decision: &Decision) -> Option<u64> {
    let Decision { allowed, remaining, reset_ms, now_ms, .. } = *decision;
    write!(body, r#""allowed":{allowed},"remaining":{remaining},"resetTime":{reset_ms}"#)
        .expect("a Vec takes every write");
    if allowed {
        return None;
    }
    // A window that ends in the very next moment is still a second to a client.
    let seconds = reset_ms.saturating_sub(now_ms).div_ceil(1000).max(1);
    write!(body, r#","retryAfter":{seconds}"#).expect("a Vec takes every write");
    Some(seconds)
}

/// `2021-10-18T12:00:00.000Z`.
fn iso(ms: u64) -> Result<HeaderValue> {
    i64::try_from(ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
        .and_then(|text| HeaderValue::try_from(text).ok())
        .ok_or_else(|| Error::internal(format!("no calendar has the time {ms} ms")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{header, text};
    use super::*;

    const ALLOWED: Decision = Decision {
        allowed: true,
        limit: 100,
        remaining: 95,
        reset_ms: 1_634_567_890_000,
        now_ms: 1_634_567_845_001,
    };

    #[tokio::test]
    async fn an_allowed_check_is_answered_as_the_guide_does() {
        let response = answer(&ALLOWED).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), "application/json");
        assert_eq!(header(&response, "x-ratelimit-limit"), "100");
        assert_eq!(header(&response, "x-ratelimit-remaining"), "95");
        assert_eq!(header(&response, "x-ratelimit-reset"), "2021-10-18T14:38:10.000Z");
        assert!(!response.headers().contains_key("retry-after"));
        let body = r#"{"allowed":true,"remaining":95,"resetTime":1634567890000}"#;
        assert_eq!(text(response).await, body);
    }

    #[tokio::test]
    async fn a_refused_check_is_a_429_with_whole_seconds_rounded_up() {
        let refused = Decision { allowed: false, remaining: 0, ..ALLOWED };
        let response = answer(&refused).unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(header(&response, "x-ratelimit-limit"), "100");
        assert_eq!(header(&response, "x-ratelimit-remaining"), "0");
        assert_eq!(header(&response, "x-ratelimit-reset"), "2021-10-18T14:38:10.000Z");
        assert_eq!(header(&response, "retry-after"), "45");
        let body = r#"{"allowed":false,"remaining":0,"resetTime":1634567890000,"retryAfter":45}"#;
        assert_eq!(text(response).await, body);
    }

    #[test]
    fn a_client_is_never_told_to_wait_less_than_a_second() {
        for now_ms in [ALLOWED.reset_ms - 1, ALLOWED.reset_ms, ALLOWED.reset_ms + 5_000] {
            let refused = Decision { allowed: false, now_ms, ..ALLOWED };
            assert_eq!(header(&answer(&refused).unwrap(), "retry-after"), "1");
        }
    }
}
