//! `POST /check/batch` and `POST /log/batch`: many checks or entries in one request.
//!
//! Each item is read as the body of a single request, and answered in its place with the status and
//! the members that a single one gets. All items that can be carried out are one command, so they are
//! carried out together, in their order, or none of them is: a 503, or a 507 for want of disk space, is the
//! answer to the whole. What a quota refuses is one item's own 507.
//! With an `Idempotency-Key` each item is carried out once for the key and its place.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::body::Payload;
use super::idempotency::{KeyHeader, Scope};
use super::objects::Shard;
use super::{Api, audit, check, error, json, json_response};
use crate::error::{Error, Result};
use crate::machine::{Answer, Answered, Change, IdempotencyKey, Outcome, Refusal, ShardRef};

/// `POST /check/batch`: `{"checks":[{"identifier","type"?,"config"?},…]}`.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    header: KeyHeader,
    body: Payload,
) -> Result<Response> {
    let binding = check::binding(&api)?;
    let key = header.key(|| Scope::Root(binding.namespace.id(), "/check/batch"), &body);
    let items = body.parse(|body| {
        let items = json::batch(body, "checks")?.into_iter().map(|item| {
            let body = json::check(item)?;
            let object = check::limiter(binding, body.type_.as_deref(), &body.identifier);
            Ok(check::any_check(object, body).into())
        });
        Ok(items.collect())
    })?;
    carry_out(&api, key, items).await
}

/// `POST /log/batch`: `{"entries":[{"type","action",…},…]}`, into the shard of the day.
pub(super) async fn log(
    State(api): State<Arc<Api>>,
    header: KeyHeader,
    body: Payload,
) -> Result<Response> {
    let binding = audit::binding(&api)?;
    let key = header.key(|| Scope::Root(binding.namespace.id(), "/log/batch"), &body);
    let items = body.parse(|body| entries(body, &audit::today(binding)))?;
    carry_out(&api, key, items).await
}

/// `POST /do/{binding}/…/log/batch`: the same, into the path's shard.
pub(super) async fn log_object(
    State(api): State<Arc<Api>>,
    Shard { object, key }: Shard,
    header: KeyHeader,
    body: Payload,
) -> Result<Response> {
    api.guard.record.check_foreign(&object)?;
    let once = header.key(|| Scope::Object(&object), &body);
    let items = body.parse(|body| entries(body, &ShardRef::Object { object, key }))?;
    carry_out(&api, once, items).await
}

fn entries(body: &[u8], shard: &ShardRef) -> Result<Vec<Result<Change>>> {
    let items = json::batch(body, "entries")?.into_iter();
    let items = items.map(|item| Ok(Change::Log(audit::draft(shard.clone(), json::entry(item)?))));
    Ok(items.collect())
}

/// Carries out the items that are none of the client's mistakes, and answers all of them.
async fn carry_out(
    api: &Api,
    key: Option<IdempotencyKey>,
    items: Vec<Result<Change>>,
) -> Result<Response> {
    let mut changes = Vec::with_capacity(items.len());
    let mut mistakes = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Ok(change) => {
                changes.push(change);
                mistakes.push(None);
            }
            Err(mistake) => mistakes.push(Some(mistake)),
        }
    }
    let types: Vec<_> = changes.iter().map(policy_of).collect();
    let count = changes.len();
    let answered = match count {
        0 => Vec::new(),
        _ => match api.proposer.change(key, changes).await? {
            Outcome::Changed(answered) if answered.len() == count => answered,
            other => return Err(error::unexpected(&other)),
        },
    };
    Ok(json_response(results(mistakes, types.into_iter().zip(answered))))
}

/// The type whose policy a change goes by.
fn policy_of(change: &Change) -> Option<String> {
    match change {
        Change::CheckByPolicy(check) => Some(check.type_.clone()),
        _ => None,
    }
}

/// `{"results":[…]}`: in the place of each item its mistake or, in turn, what was answered, with the type
/// whose policy it went by.
fn results(
    mistakes: Vec<Option<Error>>,
    mut answered: impl Iterator<Item = (Option<String>, Answered)>,
) -> Vec<u8> {
    let mut body = Vec::with_capacity(16 + 96 * mistakes.len());
    body.extend_from_slice(br#"{"results":["#);
    for (place, mistake) in mistakes.into_iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        match mistake {
            Some(mistake) => body.extend_from_slice(&error::of_item(&mistake)),
            None => {
                let (type_, answered) = answered.next().expect("an answer to each item");
                result(&mut body, type_.as_deref(), answered);
            }
        }
    }
    body.extend_from_slice(b"]}");
    body
}

/// `{"status":200,…,"replayed":true}`, or a problem, which has its status among its members.
fn result(body: &mut Vec<u8>, type_: Option<&str>, Answered { answer, replayed }: Answered) {
    match answer {
        Answer::Checked(decision) => {
            let status: &[u8] = if decision.allowed { b"200" } else { b"429" };
            body.extend_from_slice(br#"{"status":"#);
            body.extend_from_slice(status);
            body.push(b',');
            check::members(body, &decision);
        }
        Answer::Logged { id } => {
            body.extend_from_slice(br#"{"status":200,"#);
            body.extend_from_slice(audit::members(id).as_bytes());
        }
        Answer::Refused(Refusal::NoPolicy) => {
            let mistake = check::no_policy(type_.unwrap_or_default());
            return body.extend_from_slice(&error::of_item(&mistake));
        }
        other @ (Answer::Reset | Answer::Refused(_) | Answer::Credited(_)) => {
            let mistake = error::unexpected(&other.into());
            return body.extend_from_slice(&error::of_item(&mistake));
        }
    }
    if replayed {
        body.extend_from_slice(br#","replayed":true"#);
    }
    body.push(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::machine::Decision;

    #[test]
    fn each_item_is_answered_in_its_place() {
        let decision =
            Decision { allowed: true, limit: 2, remaining: 1, reset_ms: 5_000, now_ms: 1_000 };
        let refused = Decision { allowed: false, remaining: 0, ..decision };
        let answers = [
            (Answer::Checked(decision), true),
            (Answer::Checked(refused), false),
            (Answer::Logged { id: [0x11; 16] }, false),
            (Answer::Refused(Refusal::OtherClass), false),
            (Answer::Refused(Refusal::NoPolicy), false),
            (Answer::Refused(Refusal::ObjectFull), false),
        ];
        let answered = answers.map(|(answer, replayed)| Answered { answer, replayed });
        let mistake = Error::invalid("invalid_field", "type must be a string");
        let mistakes = vec![None, None, Some(mistake), None, None, None, None];
        let types = [None, None, None, None, Some("wix".to_owned()), None];
        let body = results(mistakes, types.into_iter().zip(answered));
        let problem = |code: &str, detail: &str| {
            json!({"type": "about:blank", "title": "Bad Request", "status": 400,
                "detail": detail, "code": code, "error": "Bad Request"})
        };
        let mut full = problem("object_full", "");
        full["status"] = json!(507);
        for member in ["title", "error"] {
            full[member] = json!("Insufficient Storage");
        }
        let outcome = Outcome::Refused(Refusal::ObjectFull);
        full["detail"] = json!(error::unexpected(&outcome).message);
        let expected = json!({"results": [
            {"status": 200, "allowed": true, "remaining": 1, "resetTime": 5000, "replayed": true},
            {"status": 429, "allowed": false, "remaining": 0, "resetTime": 5000, "retryAfter": 4},
            problem("invalid_field", "type must be a string"),
            {"status": 200, "success": true, "id": "11111111-1111-1111-1111-111111111111"},
            problem("other_class", "the object holds the state of another class"),
            problem("no_policy", &check::no_policy("wix").message),
            full,
        ]});
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }
}
