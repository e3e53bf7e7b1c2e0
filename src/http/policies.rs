//! `/admin/policies`: the limits that are stored for types, for checks that bring none.
//!
//! A policy is of a type of a binding: of the one that the query string names (`?binding=NAME`), or of the
//! one that the root's `/check` uses. A name or a type is percent-encoded.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::auth::told;
use super::body::Payload;
use super::objects::percent_decode;
use super::{Api, check, error, json as read, json_response};
use crate::bindings::{Binding, Class};
use crate::error::{Error, Kind, Result};
use crate::machine::policy::Stored;
use crate::machine::{Outcome, Policy, SetPolicy};

/// A policy as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    /// Null if no binding has its namespace.
    binding: Option<&'a str>,
    r#type: &'a str,
    requests: u64,
    window_ms: u64,
    /// Since when it is in force, in ms since the Unix epoch.
    updated_time: u64,
}

/// `GET /admin/policies`: `{"policies":[{"binding","type","requests","windowMs","updatedTime"},…]}`, of all
/// bindings.
pub(super) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let wanted = binding_named(&uri)?.map(|name| find(&api, &name)).transpose()?;
    let stored = api.proposer.policies().await?;
    let stored = stored
        .iter()
        .filter(|stored| wanted.is_none_or(|binding| binding.namespace.id() == stored.namespace));
    let views: Vec<String> = stored.map(|stored| view(&api, stored)).collect();
    Ok(json_response(format!(r#"{{"policies":[{}]}}"#, views.join(","))))
}

/// `GET /admin/policies/{type}`.
pub(super) async fn show(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let (binding, type_) = target(&api, &uri)?;
    let stored = api.proposer.policies().await?;
    let stored = stored
        .iter()
        .find(|stored| stored.namespace == binding.namespace.id() && stored.type_ == type_);
    let stored = stored.ok_or_else(|| {
        let message = format!("no policy is stored for the type {type_:?} of {}", binding.name);
        Error::new(Kind::NotFound, "not_found", message)
    })?;
    Ok(json_response(view(&api, stored)))
}

/// `PUT /admin/policies/{type}`: `{"requests":100,"windowMs":60000}`. Checks without a limit go by it from
/// the answer on, on every node.
pub(super) async fn put(State(api): State<Arc<Api>>, uri: Uri, body: Payload) -> Result<Response> {
    let read::Config { requests, window_ms } = body.parse(read::policy)?;
    let set = set(&api, &uri, Some(Policy { requests, window_ms })).await;
    let response = set.map(|_| json_response(br#"{"success":true}"#.as_slice()));
    Ok(told(response, json!({"requests": requests, "windowMs": window_ms})))
}

/// `DELETE /admin/policies/{type}`: `{"success":true,"existed":true}`, `false` if there was none.
pub(super) async fn delete(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let existed = set(&api, &uri, None).await?;
    Ok(json_response(format!(r#"{{"success":true,"existed":{existed}}}"#)))
}

/// Stores or removes; gives whether there was one before.
async fn set(api: &Api, uri: &Uri, policy: Option<Policy>) -> Result<bool> {
    let (binding, type_) = target(api, uri)?;
    let set = SetPolicy { namespace: binding.namespace.id(), type_, policy };
    match api.proposer.set_policy(set).await? {
        Outcome::PolicySet { existed } => Ok(existed),
        other => Err(error::unexpected(&other)),
    }
}

/// The binding and the type that a request is about.
fn target<'a>(api: &'a Api, uri: &Uri) -> Result<(&'a Binding, String)> {
    let type_ = uri.path().rsplit('/').next().unwrap_or_default();
    let type_ = percent_decode(type_, "the type")?;
    read::check_name("type", &type_)?;
    let binding = match binding_named(uri)? {
        Some(name) => find(api, &name)?,
        None => check::binding(api)?,
    };
    Ok((binding, type_))
}

fn find<'a>(api: &'a Api, name: &str) -> Result<&'a Binding> {
    let binding = api.bindings.get(name).filter(|binding| binding.class == Class::RateLimiter);
    binding.ok_or_else(|| {
        let message = format!("there is no binding {name:?} of the class RateLimiter");
        Error::new(Kind::NotFound, "not_found", message)
    })
}

/// The binding that the query string names. A parameter that is unknown, or there twice, is refused.
fn binding_named(uri: &Uri) -> Result<Option<String>> {
    let mut named = None;
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let invalid = |rule: &str| Error::invalid("invalid_parameter", format!("{name} {rule}"));
        if name != "binding" {
            return Err(invalid("is no parameter of /admin/policies; binding is"));
        }
        if named.replace(percent_decode(value, "the binding's name")?).is_some() {
            return Err(invalid("is there twice"));
        }
    }
    Ok(named)
}

fn view(api: &Api, Stored { namespace, type_, record }: &Stored) -> String {
    let binding = api.bindings.iter().find(|binding| binding.namespace.id() == *namespace);
    let Policy { requests, window_ms } = record.policy;
    let view = View {
        binding: binding.map(|binding| binding.name.as_str()),
        r#type: type_,
        requests,
        window_ms,
        updated_time: record.updated_ms,
    };
    serde_json::to_string(&view).expect("a policy is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_named_once_or_not_at_all() {
        let named = |text: &str| binding_named(&text.parse().unwrap());
        assert_eq!(named("/admin/policies").unwrap(), None);
        assert_eq!(named("/admin/policies?").unwrap(), None);
        assert_eq!(named("/admin/policies/a?binding=A%2FB").unwrap().unwrap(), "A/B");
        for text in ["/a?bindin=A", "/a?binding=A&binding=A", "/a?binding=A&x"] {
            assert_eq!(named(text).unwrap_err().code, "invalid_parameter", "{text}");
        }
        assert_eq!(named("/a?binding=%zz").unwrap_err().code, "invalid_encoding");
    }
}
