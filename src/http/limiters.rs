//! `/admin/limiters`: how a limiter stands, without a check; and which ones refuse most.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};

use super::inspect::{find, read};
use super::objects::{not_found, object_behind};
use super::parameters::{limit, named};
use super::{Api, json, json_response};
use crate::bindings::{Binding, Class};
use crate::error::Result;
use crate::limits::{TOP_LIMIT_DEFAULT, TOP_LIMIT_MAX};
use crate::machine::Policy;
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
    let id = binding.namespace.hex(object.id);
    let policies = api.proposer.policies().await?;
    let (now_ms, standing) = read(&api, move |source, now_ms| {
        Ok((now_ms, standing(source, &object, identifier.as_deref())?))
    })
    .await?;
    let type_ = type_.or_else(|| type_of(&standing));
    let namespace = binding.namespace.id();
    let policy = policies
        .iter()
        .find(|stored| stored.namespace == namespace && Some(&stored.type_) == type_.as_ref())
        .map(|stored| stored.record.policy);
    let mut view = view(&standing, policy, now_ms);
    view["binding"] = json!(binding.name);
    view["id"] = json!(id);
    view["type"] = json!(type_);
    Ok(json_response(view.to_string()))
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

/// `type` of the name `type:identifier`.
fn type_of(standing: &Standing) -> Option<String> {
    let (name, identifier) = (standing.name.as_deref()?, standing.identifier.as_deref()?);
    Some(name.strip_suffix(identifier)?.strip_suffix(':')?.to_owned())
}

fn view(standing: &Standing, policy: Option<Policy>, now_ms: u64) -> Value {
    let Standing { name, identifier, cell } = standing;
    let window_ms = policy.map(|policy| policy.window_ms);
    let open = cell.filter(|cell| cell.is_open(now_ms, window_ms.unwrap_or(u64::MAX)));
    let count = open.map_or(0, |open| open.count);
    let reset_ms = open.map(|open| match window_ms {
        Some(window_ms) => open.window_start_ms.saturating_add(window_ms),
        None => open.ends_ms,
    });
    json!({
        "name": name,
        "identifier": identifier,
        "count": count,
        "windowStart": open.map(|open| open.window_start_ms),
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
    use crate::machine::limiter::Cell;

    const CELL: Cell = Cell { count: 3, window_start_ms: 1_000, ends_ms: 3_000, alarm_ms: 2_000 };

    fn standing(name: &str, identifier: &str) -> Standing {
        let (name, identifier) = (Some(name.to_owned()), Some(identifier.to_owned()));
        Standing { name, identifier, cell: Some(CELL) }
    }

    #[test]
    fn a_policy_says_when_the_window_ends_and_what_is_left() {
        let standing = standing("wix:u", "u");
        let policy = |requests, window_ms| Some(Policy { requests, window_ms });
        let numbers = |policy, now_ms| {
            let view = view(&standing, policy, now_ms);
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
        let type_ = |name, identifier| type_of(&standing(name, identifier));
        assert_eq!(type_("wix:u", "u").as_deref(), Some("wix"));
        assert_eq!(type_("a:b:::1", "::1").as_deref(), Some("a:b"));
        assert_eq!(type_("u", "u"), None);
        assert_eq!(type_("shared", "u"), None);
    }
}
