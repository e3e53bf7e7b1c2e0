//! What is done through `/admin`: recorded before it is begun, and again with what it came to.
//!
//! The first entry comes first: what cannot be recorded is not done. If the second cannot be written, or the
//! node dies before it is, the first stands alone and says that something may have been done.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::record::Record;
use super::table::Bearer;
use crate::error::{Error, Kind};
use crate::http::request_id::RequestId;
use crate::limits;

/// What a route tells of a request beside its path: put into the response's extensions.
#[derive(Clone)]
pub(in crate::http) struct Told(pub(in crate::http) Value);

/// A response of a route under `/admin`, good or not, that tells what the request was.
pub(in crate::http) fn told(response: impl IntoResponse, what: Value) -> Response {
    let mut response = response.into_response();
    response.extensions_mut().insert(Told(what));
    response
}

/// Whether a request is recorded: what changes something, and a backup, which takes everything away.
pub(super) fn is_recorded(method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    path.strip_prefix("/admin/").is_some_and(|rest| !reads || rest == "backup")
}

/// A request that is recorded.
pub(in crate::http) struct Action {
    record: Arc<Record>,
    /// What both entries have.
    entry: Value,
    /// `None` as long as nothing is known.
    status: Option<u16>,
    what: Option<Value>,
    is_begun: bool,
}

impl Action {
    pub(super) fn new(
        record: Arc<Record>,
        id: &RequestId,
        method: &Method,
        uri: &Uri,
        source: IpAddr,
        bearer: Option<&Bearer>,
    ) -> Self {
        let target = uri.path_and_query().map_or(uri.path(), |target| target.as_str());
        let target: String = target.chars().take(limits::RECORDED_TARGET_BYTES_MAX).collect();
        let subject = uri.path().split('/').nth(2).unwrap_or_default();
        let is_word = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let subject: String =
            subject.chars().filter(is_word).take(limits::NAME_BYTES_MAX / 2).collect();
        // `policies.put`: few, so that it can be searched for.
        let action = format!("{subject}.{}", method.as_str().to_ascii_lowercase());
        // The request's id may be a client's, and another request's too.
        let mut details = json!({"operation": Uuid::now_v7().to_string(), "request": id.text(), "target": target});
        let mut entry = json!({"type": "admin", "action": action, "ip": source});
        if let Some(Bearer { id, token, .. }) = bearer {
            entry["userId"] = json!(id);
            details["tokenName"] = json!(token.name);
        }
        entry["details"] = details;
        Self { record, entry, status: None, what: None, is_begun: false }
    }

    /// Records that it is begun, lets `response` become ready, and records what it came to.
    pub(in crate::http) async fn around(
        mut self: Box<Self>,
        response: impl Future<Output = Result<Response, Infallible>>,
    ) -> Result<Response, Infallible> {
        let mut entry = self.entry.clone();
        entry["details"]["phase"] = json!("begun");
        if let Err(error) = self.record.write(&entry).await {
            return Ok(refused(error).into_response());
        }
        self.is_begun = true;
        let mut response = response.await?;
        self.status = Some(response.status().as_u16());
        self.what = response.extensions_mut().remove().map(|Told(what)| what);
        Ok(response)
    }
}

/// What is told of an action that could not be recorded.
fn refused(error: Error) -> Error {
    match error.kind {
        // Nothing was changed is true of both.
        Kind::Unavailable | Kind::Overloaded => error,
        _ => {
            let message = format!(
                "nothing was done, since it could not be recorded in the audit log: {}",
                error.message
            );
            Error::new(Kind::Unavailable, "not_recorded", message)
        }
    }
}

/// Also if the client has hung up, and nobody waits for the answer any more.
impl Drop for Action {
    fn drop(&mut self) {
        if !self.is_begun {
            return;
        }
        let mut entry = self.entry.take();
        let details = &mut entry["details"];
        details["phase"] = json!("ended");
        // Nobody waited for the end: it may have been done, or not.
        details["status"] = json!(self.status);
        if let Some(what) = self.what.take() {
            details["what"] = what;
        }
        let record = self.record.clone();
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = record.write(&entry).await {
                tracing::warn!(%error, "what an action came to could not be recorded: {entry}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_recorded() {
        for (method, path, recorded) in [
            (Method::POST, "/admin/members", true),
            (Method::POST, "/admin/limiters/RATE_LIMITER/name/a/credit", true),
            (Method::PUT, "/admin/policies/wix", true),
            (Method::DELETE, "/admin/tokens/00", true),
            (Method::GET, "/admin/backup", true),
            (Method::HEAD, "/admin/backup", true),
            (Method::GET, "/admin/tokens", false),
            (Method::GET, "/admin/cluster", false),
            (Method::POST, "/check", false),
            (Method::POST, "/adminx", false),
        ] {
            assert_eq!(is_recorded(&method, path), recorded, "{method} {path}");
        }
    }
}
