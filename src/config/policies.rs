//! `[[policies]]`: the limits that a new cluster begins with, for checks that bring none.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{check, span_ms};
use crate::bindings::{Bindings, Class};
use crate::limits;
use crate::machine::{Policy, SetPolicy};

/// One policy. They are stored when the cluster has never had one, and after that changed with
/// `tallykeep policy` alone: the leader's settings count, and only once.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// The binding of the limiters that it is for; without one, the binding that `/check` uses.
    pub binding: Option<String>,
    /// The type, as in `/check`.
    pub r#type: String,
    /// Requests that one window admits.
    pub requests: u64,
    /// Length of a window, in ms. In the file a span of time: `window = "60s"`.
    #[serde(rename = "window", deserialize_with = "span_ms")]
    pub window_ms: u64,
}

impl PolicySettings {
    /// The guide's `RATE_LIMITS`, under the types by which its code asks for them.
    pub(super) fn guide() -> Vec<Self> {
        let policy = |type_: &str, requests| Self {
            binding: None,
            r#type: type_.to_owned(),
            requests,
            window_ms: 60_000,
        };
        vec![policy("wix", 100), policy("gamma", 50)]
    }
}

/// Checks the bounds of each.
pub(super) fn validate(policies: &[PolicySettings]) -> Result<(), String> {
    check(policies.len() as u64 <= limits::POLICIES_MAX, || {
        format!("[[policies]] must be at most {}", limits::POLICIES_MAX)
    })?;
    let mut seen = BTreeSet::new();
    for PolicySettings { binding, r#type, requests, window_ms } in policies {
        let name = 1..=limits::NAME_BYTES_MAX;
        check(name.contains(&r#type.len()) && !r#type.contains(char::is_control), || {
            let most = limits::NAME_BYTES_MAX;
            format!("[[policies]] type must have 1 to {most} bytes and no control characters")
        })?;
        check(*requests <= limits::REQUESTS_MAX, || {
            format!("[[policies]] {type:?}: requests must be at most {}", limits::REQUESTS_MAX)
        })?;
        let window = limits::WINDOW_MS_MIN..=limits::WINDOW_MS_MAX;
        check(window.contains(window_ms), || {
            format!("[[policies]] {type:?}: window must be from 1ms to 400days")
        })?;
        check(seen.insert((binding, r#type)), || format!("[[policies]] {type:?} is there twice"))?;
    }
    Ok(())
}

/// The policies with the namespaces of their bindings.
pub(super) fn resolve(
    policies: &[PolicySettings],
    bindings: &Bindings,
) -> Result<Vec<SetPolicy>, String> {
    let resolve = |PolicySettings { binding, r#type, requests, window_ms }: &PolicySettings| {
        let found = match binding {
            Some(name) => bindings.get(name).filter(|one| one.class == Class::RateLimiter),
            None => bindings.limiter(),
        };
        let namespace = found.map(|binding| binding.namespace.id()).ok_or_else(|| {
            let which = binding.as_deref().map_or(String::new(), |name| format!(" {name}"));
            format!("[[policies]] {type:?}: there is no binding{which} of the class RateLimiter")
        })?;
        let policy = Some(Policy { requests: *requests, window_ms: *window_ms });
        Ok(SetPolicy { namespace, type_: r#type.clone(), policy })
    };
    policies.iter().map(resolve).collect()
}
