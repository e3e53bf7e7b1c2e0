//! `POST /log` and `POST /query`. The export is in [`super::export`].

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use uuid::Uuid;

use super::body::Payload;
use super::idempotency::{self, KeyHeader, Scope as KeyScope};
use super::objects::Shard;
use super::{Api, error, json, json_response};
use crate::bindings::Binding;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::machine::{Change, Draft, IdempotencyKey, Outcome, Request, ShardRef};
use crate::query::{Cursor, Page, Scope, page};

/// `POST /log`: into the shard of the day on which the leader stamps the entry.
///
/// The key's scope is not that shard: sent again after midnight, the entry is the same.
pub(super) async fn log(
    State(api): State<Arc<Api>>,
    header: KeyHeader,
    body: Payload,
) -> Result<Response> {
    let binding = binding(&api)?;
    let key = header.key(|| KeyScope::Root(binding.namespace.id(), "/log"), &body);
    append(&api, key, draft(today(binding), body.parse(json::entry)?)).await
}

/// `POST /do/{binding}/…/log`: into the path's shard.
pub(super) async fn log_object(
    State(api): State<Arc<Api>>,
    Shard { object, key }: Shard,
    header: KeyHeader,
    body: Payload,
) -> Result<Response> {
    api.guard.record.check_foreign(&object)?;
    let once = header.key(|| KeyScope::Object(&object), &body);
    append(&api, once, draft(ShardRef::Object { object, key }, body.parse(json::entry)?)).await
}

/// `POST /query`: over all shards that the time range touches.
pub(super) async fn query(State(api): State<Arc<Api>>, body: Payload) -> Result<Response> {
    let scope = Scope::Namespace(binding(&api)?.namespace.id());
    read(&api, scope, body.parse(json::query)?).await
}

/// `POST /do/{binding}/…/query`: within the path's shard.
pub(super) async fn query_object(
    State(api): State<Arc<Api>>,
    Shard { object, .. }: Shard,
    body: Payload,
) -> Result<Response> {
    read(&api, Scope::Object(object), body.parse(json::query)?).await
}

/// The binding whose log the root's routes keep.
pub(super) fn binding(api: &Api) -> Result<&Binding> {
    api.bindings.audit().ok_or_else(|| {
        Error::new(Kind::NotFound, "not_found", "no binding of the class AuditLogger")
    })
}

/// The shard of the day on which the leader stamps an entry.
pub(super) fn today(binding: &Binding) -> ShardRef {
    let namespace = &binding.namespace;
    ShardRef::Day { namespace: namespace.id(), key: *namespace.key() }
}

/// An entry for `shard`.
pub(super) fn draft(shard: ShardRef, entry: json::LogEntry) -> Draft {
    Draft { shard, terms: entry.terms, members: entry.members }
}

async fn append(api: &Api, key: Option<IdempotencyKey>, draft: Draft) -> Result<Response> {
    let (outcome, replayed) = match key {
        None => (api.proposer.propose(Request::Log(draft)).await?, false),
        Some(_) => idempotency::only(api.proposer.change(key, vec![Change::Log(draft)]).await?)?,
    };
    match outcome {
        Outcome::Logged { id } => {
            let response = json_response(format!("{{{}}}", members(id)));
            Ok(idempotency::mark(response, replayed))
        }
        other => Err(error::unexpected(&other)),
    }
}

/// The members of the answer to an entry.
pub(super) fn members(id: [u8; 16]) -> String {
    format!(r#""success":true,"id":"{}""#, Uuid::from_bytes(id).hyphenated())
}

async fn read(api: &Api, scope: Scope, body: json::QueryBody) -> Result<Response> {
    let json::QueryBody { filter, limit, cursor } = body;
    let cursor = cursor.map(|text| Cursor::parse(&text, &scope, &filter)).transpose()?;
    // A page may be large, so only so many are made at once.
    let _turn = timeout(limits::REQUEST_TIMEOUT, api.queries.acquire())
        .await
        .map_err(|_| Error::overloaded("too many queries are being read"))?
        .expect("the semaphore is never closed");
    let snapshot = api.reads.snapshot().await?;
    let page = spawn_blocking(move || page(&*snapshot, &scope, &filter, limit, cursor.as_ref()))
        .await
        .map_err(|error| Error::internal(format!("a query's task did not end: {error}")))?
        .map_err(|error| Error::internal(format!("the log could not be read: {error}")))?;
    Ok(page_response(&page))
}

/// `{"entries":[…],"count":n,"cursor":"…"}`: the entries' bytes as they were logged.
fn page_response(page: &Page) -> Response {
    let bytes: usize = page.entries.iter().map(|entry| entry.len() + 1).sum();
    let mut body = Vec::with_capacity(bytes + 64);
    body.extend_from_slice(br#"{"entries":["#);
    for (index, entry) in page.entries.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(entry);
    }
    body.extend_from_slice(format!(r#"],"count":{}"#, page.entries.len()).as_bytes());
    if let Some(cursor) = &page.cursor {
        let cursor = serde_json::to_string(cursor).expect("a string is JSON");
        body.extend_from_slice(format!(r#","cursor":{cursor}"#).as_bytes());
    }
    body.push(b'}');
    json_response(body)
}

#[cfg(test)]
mod tests {
    use super::super::tests::text;
    use super::*;

    #[tokio::test]
    async fn a_page_is_the_entries_their_number_and_perhaps_a_cursor() {
        let entries = [r#"{"id":"a"}"#, r#"{"id":"b"}"#].map(Into::into).into();
        let more = Page { entries, cursor: Some("next".into()) };
        let body = r#"{"entries":[{"id":"a"},{"id":"b"}],"count":2,"cursor":"next"}"#;
        assert_eq!(text(page_response(&more)).await, body);
        let empty = Page { entries: vec![], cursor: None };
        assert_eq!(text(page_response(&empty)).await, r#"{"entries":[],"count":0}"#);
    }
}
