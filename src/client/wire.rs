//! The bodies of the API, as far as commands send and read them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access_log::Details;

/// The body of `POST /check`.
#[derive(Serialize)]
pub(super) struct CheckBody<'a> {
    pub(super) identifier: &'a str,
    /// Without one the limit is the policy of the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) r#type: Option<&'a str>,
}

/// The limit, as `POST /check` takes it.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    pub(super) requests: u64,
    pub(super) window_ms: u64,
}

/// The body of `POST /log`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryBody<'a> {
    pub(super) id: &'a str,
    pub(super) r#type: &'a str,
    pub(super) action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<&'a str>,
    pub(super) ip: &'a str,
    pub(super) details: EntryDetails<'a>,
}

/// The line as it was logged, and the verdict on it.
#[derive(Serialize)]
pub(super) struct EntryDetails<'a> {
    #[serde(flatten)]
    pub(super) request: &'a Details,
    pub(super) allowed: bool,
}

/// The body of `POST /query`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter<'a> {
    pub(super) r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start_time: Option<u64>,
    pub(super) limit: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
}

/// A page of `POST /query`.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    pub(super) cursor: Option<String>,
}

/// An audit entry, as far as a replay looks at it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) timestamp: u64,
    /// Whatever its client gave as `id`.
    #[serde(default)]
    pub(super) client_id: Value,
}
