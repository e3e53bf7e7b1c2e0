//! `/admin/limiters`: how a limiter stands, without a check; what is given back of its count; and which
//! ones refuse most.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};

use super::auth::told;
use super::body::Payload;
use super::idempotency::{self, KeyHeader, Scope};
use super::inspect::{find, read};
use super::objects::{not_found, object_behind};
use super::parameters::{limit, named};
use super::{Api, error, json, json_response};
use crate::bindings::{Binding, Class};
use crate::error::{Error, Result};
use crate::limits::{TOP_LIMIT_DEFAULT, TOP_LIMIT_MAX};
use crate::machine::limiter::{Cell, Window};
use crate::machine::policy::Stored;
use crate::machine::{Credit, Credited, IdempotencyKey, ObjectRef, Outcome, Policy};
use crate::query::objects::{Standing, standing};

/// `GET /admin/limiters/{binding}/…`: how a limiter stands. Nothing is counted.
///
/// The limit is the policy's of `type`, or of what stands in the name before the identifier. A cell does
/// not know which limit it was counted by, so without a policy there is none, and the window ends when
/// the last request was told.
pub(super) async fn show(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let class = Some(Class::RateLimiter);
    let (object, binding) = object_behind(3, uri.path(), &api.bindings, class)?;
    let [identifier, type_] = named(uri.query().unwrap_or_default(), ["identifier", "type"])?;
    if let Some(identifier) = &identifier {
        json::check_name("identifier", identifier)?;
    }
    if let Some(type_) = &type_ {
        json::check_name("type", type_)?;
    }
    let policies = api.proposer.policies().await?;
    let asked = object.clone();
    let (now_ms, standing) = read(&api, move |source, now_ms| {
        Ok((now_ms, standing(source, &asked, identifier.as_deref())?))
    })
    .await?;
    let Standing { name, identifier, cell } = standing;
    let window = cell.as_ref().map(Cell::window);
    let shown = Shown { binding, object: &object, name, identifier, type_, policies };
    Ok(json_response(shown.view(window, now_ms).to_string()))
}

/// `POST /admin/limiters/{binding}/…/credit`: `{"identifier","amount"}` gives back so many of the requests that
/// the window has counted, or all of them, once for an `Idempotency-Key`. Answered as [`show`] is, with what was
/// given back.
pub(super) async fn credit(
    State(api): State<Arc<Api>>,
    uri: Uri,
    header: KeyHeader,
    body: Payload,
) -> Response {
    match credited(&api, &uri, &header, body).await {
        Ok((what, response)) => told(response, what),
        Err((what, error)) => told(error, what),
    }
}

/// Gives what the record is told, as far as it is known, and the answer.
async fn credited(
    api: &Api,
    uri: &Uri,
    header: &KeyHeader,
    body: Payload,
) -> std::result::Result<(Value, Response), (Value, Error)> {
    let malformed = |error| (Value::Null, error);
    let class = Some(Class::RateLimiter);
    let (object, binding) =
        object_behind(3, uri.path(), &api.bindings, class).map_err(malformed)?;
    let [] = named(uri.query().unwrap_or_default(), []).map_err(malformed)?;
    let key = header.key(|| Scope::Object(&object), &body);
    let json::CreditBody { identifier, amount, type_ } =
        body.parse(json::credit).map_err(malformed)?;
    let mut what = json!({"identifier": identifier, "amount": amount});
    let credit = Credit { object, identifier, amount };
    match give_back(api, binding, key, credit, type_).await {
        Ok((view, replayed)) => {
            what["credited"] = view["credited"].clone();
            what["replayed"] = json!(replayed);
            Ok((what, idempotency::mark(json_response(view.to_string()), replayed)))
        }
        Err(error) => Err((what, error)),
    }
}

/// Gives what clients are shown, and whether it was carried out before.
async fn give_back(
    api: &Api,
    binding: &Binding,
    key: Option<IdempotencyKey>,
    credit: Credit,
    type_: Option<String>,
) -> Result<(Value, bool)> {
    // All that the answer needs is read before anything is changed: what fails here has changed nothing.
    let policies = api.proposer.policies().await?;
    let (object, identifier) = (credit.object.clone(), credit.identifier.clone());
    let before = read(api, move |source, _| standing(source, &object, Some(&identifier))).await?;
    let (object, identifier) = (credit.object.clone(), Some(credit.identifier.clone()));
    let is_once = key.is_some();
    let outcome = api.proposer.credit(key, credit).await?;
    let (outcome, replayed) = match is_once {
        true => idempotency::only(outcome)?,
        false => (outcome, false),
    };
    let Outcome::Credited(Credited { credited, window, now_ms }) = outcome else {
        return Err(error::unexpected(&outcome));
    };
    let shown = Shown { binding, object: &object, name: before.name, identifier, type_, policies };
    let mut view = shown.view(window, now_ms);
    view["credited"] = json!(credited);
    Ok((view, replayed))
}

/// `GET /admin/limiters/top`: those that have refused most on this node, about.
pub(super) async fn top(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let [binding, most] = named(uri.query().unwrap_or_default(), ["binding", "limit"])?;
    let binding = binding.map(|name| limiters(&api, &name)).transpose()?;
    let most = limit(most.as_deref(), TOP_LIMIT_DEFAULT, TOP_LIMIT_MAX)?;
    let (since_ms, top) = api.proposer.top(binding.map(|binding| binding.namespace.id()), most);
    let views = top.iter().filter_map(|one| {
        let mut bindings = api.bindings.iter();
        let binding = bindings.find(|binding| binding.namespace.id() == one.object.namespace)?;
        Some(json!({
            "binding": binding.name,
            "name": one.object.name,
            "id": binding.namespace.hex(one.object.id),
            "identifier": one.identifier,
            "refused": one.refused,
            "refusedMin": one.refused_min,
        }))
    });
    let views: Vec<Value> = views.collect();
    let node = api.cluster.id();
    let view = json!({"node": node, "sinceTime": since_ms, "limiters": views});
    Ok(json_response(view.to_string()))
}

/// The binding of this name, if it is one of limiters.
fn limiters<'a>(api: &'a Api, name: &str) -> Result<&'a Binding> {
    let binding = find(api, name)?;
    match binding.class {
        Class::RateLimiter => Ok(binding),
        class => {
            let class = class.name();
            Err(not_found(format!("{name} binds the class {class}, which has no limiters")))
        }
    }
}

/// Of which identifier of which limiter something is shown.
struct Shown<'a> {
    binding: &'a Binding,
    object: &'a ObjectRef,
    name: Option<String>,
    identifier: Option<String>,
    /// Whose policy is the limit, if the client has said so.
    type_: Option<String>,
    policies: Vec<Stored>,
}

impl Shown<'_> {
    fn view(self, window: Option<Window>, now_ms: u64) -> Value {
        let Self { binding, object, name, identifier, type_, policies } = self;
        let type_ = type_.or_else(|| type_of(name.as_deref()?, identifier.as_deref()?));
        let namespace = binding.namespace.id();
        let policy = policies
            .iter()
            .find(|stored| stored.namespace == namespace && Some(&stored.type_) == type_.as_ref())
            .map(|stored| stored.record.policy);
        let mut view = numbers(window, policy, now_ms);
        view["binding"] = json!(binding.name);
        view["name"] = json!(name);
        view["id"] = json!(binding.namespace.hex(object.id));
        view["identifier"] = json!(identifier);
        view["type"] = json!(type_);
        view
    }
}

/// `type` of the name `type:identifier`.
fn type_of(name: &str, identifier: &str) -> Option<String> {
    Some(name.strip_suffix(identifier)?.strip_suffix(':')?.to_owned())
}

fn numbers(window: Option<Window>, policy: Option<Policy>, now_ms: u64) -> Value {
    let window_ms = policy.map(|policy| policy.window_ms);
    let open = window.filter(|window| window.is_open(now_ms, window_ms.unwrap_or(u64::MAX)));
    let count = open.map_or(0, |open| open.count);
    let reset_ms = open.map(|open| match window_ms {
        Some(window_ms) => open.start_ms.saturating_add(window_ms),
        None => open.ends_ms,
    });
    json!({
        "count": count,
        "windowStart": open.map(|open| open.start_ms),
        "resetTime": reset_ms,
        "windowMs": window_ms,
        "limit": policy.map(|policy| policy.requests),
        "remaining": policy.map(|policy| policy.requests.saturating_sub(count)),
        "now": now_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_when_the_window_ends_and_what_is_left() {
        let window = Window { count: 3, start_ms: 1_000, ends_ms: 3_000 };
        let policy = |requests, window_ms| Some(Policy { requests, window_ms });
        let numbers = |policy, now_ms| {
            let view = numbers(Some(window), policy, now_ms);
            ["count", "resetTime", "remaining"].map(|name| view[name].as_u64())
        };
        assert_eq!(numbers(None, 2_999), [Some(3), Some(3_000), None]);
        assert_eq!(numbers(None, 3_000), [Some(0), None, None]);
        assert_eq!(numbers(policy(5, 1_000), 1_999), [Some(3), Some(2_000), Some(2)]);
        assert_eq!(numbers(policy(5, 1_000), 2_000), [Some(0), None, Some(5)]);
        assert_eq!(numbers(policy(2, 1_000), 1_000), [Some(3), Some(2_000), Some(0)]);
    }

    #[test]
    fn a_type_is_what_stands_before_the_identifier() {
        assert_eq!(type_of("wix:u", "u").as_deref(), Some("wix"));
        assert_eq!(type_of("a:b:::1", "::1").as_deref(), Some("a:b"));
        assert_eq!(type_of("u", "u"), None);
        assert_eq!(type_of("shared", "u"), None);
    }
}
