//! `/admin/tokens`: API tokens, made, listed and revoked.
//!
//! A token's secret is made here, on the node that is asked, and is in this one answer alone: through the log
//! goes its hash.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::told;
use super::body::Payload;
use super::{Api, error, json as read, json_response};
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::{NewToken, Outcome, Scopes, StoredToken, Token, TokenId};
use crate::secret::{self, Secret};

/// What a token is to be. All but the name and the scopes may be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    bindings: Vec<String>,
    #[serde(default)]
    name_prefixes: Vec<String>,
    /// How long it is to last.
    #[serde(default)]
    ttl_ms: Option<u64>,
    /// How often it is to ask each node, at most.
    #[serde(default)]
    requests_per_second: Option<u32>,
}

/// A token as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    id: String,
    name: &'a str,
    scopes: Vec<&'static str>,
    bindings: &'a [String],
    name_prefixes: &'a [String],
    /// In ms since the Unix epoch.
    created_time: u64,
    /// In ms since the Unix epoch; null if it has no end.
    expires_time: Option<u64>,
    /// Of each node; null if it may ask as often as it likes.
    requests_per_second: Option<u32>,
}

/// `GET /admin/tokens`: `{"tokens":[{"id","name","scopes",…},…]}`, those included that are over.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response> {
    let stored = api.proposer.tokens().await?;
    let views: Vec<Value> = stored
        .iter()
        .map(|StoredToken { id, record }| {
            view(*id, &record.token, record.created_ms, record.requests_per_second)
        })
        .collect();
    Ok(json_response(json!({"tokens": views}).to_string()))
}

/// `POST /admin/tokens`: the token, with its secret as `token`, which nobody is told again.
pub(super) async fn create(State(api): State<Arc<Api>>, body: Payload) -> Response {
    match make(&api, body).await {
        Ok((view, secret)) => {
            let mut answer = view.clone();
            answer["token"] = json!(secret.text());
            let mut response = json_response(answer.to_string());
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            told(response, view)
        }
        Err((what, error)) => told(error, what),
    }
}

/// Gives what the token is, and its secret; or what is known of it, and why there is none.
async fn make(api: &Api, body: Payload) -> std::result::Result<(Value, Secret), (Value, Error)> {
    let now_ms = api.cluster.now_ms();
    let wanted = body.parse(parse).map_err(|error| (Value::Null, error))?;
    let rate = wanted.requests_per_second;
    let token = token(api, wanted, now_ms).map_err(|error| (Value::Null, error))?;
    let id = secret::new_id().map_err(|error| (Value::Null, randomness(&error)))?;
    let what = |created_ms| view(TokenId(id), &token, created_ms, rate);
    let secret =
        Secret::generate(&hex::encode(id)).map_err(|error| (what(now_ms), randomness(&error)))?;
    let token = Token { sha256: secret.sha256(), ..token.clone() };
    let new = NewToken { id: TokenId(id), token };
    match api.proposer.create_token(new, rate).await {
        Ok(Outcome::TokenCreated { created_ms }) => {
            // For whoever uses it here at once. If it cannot be, the secret is told all the same: there is
            // no second time.
            let _ = api.guard.refresh().await;
            Ok((what(created_ms), secret))
        }
        Ok(other) => Err((what(now_ms), error::unexpected(&other))),
        Err(error) => Err((what(now_ms), error)),
    }
}

/// `DELETE /admin/tokens/{id}`: `{"success":true,"existed":true}`, `false` if there was none. It is refused
/// here from the answer on, and on every other node as soon as that has applied it.
pub(super) async fn revoke(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let id = uri.path().rsplit('/').next().unwrap_or_default();
    let mut bytes = [0; 8];
    hex::decode_to_slice(id, &mut bytes)
        .map_err(|_| invalid("a token's id is 16 hexadecimal digits"))?;
    match api.proposer.revoke_token(TokenId(bytes)).await? {
        Outcome::TokenRevoked { existed } => {
            api.guard.refresh().await?;
            Ok(json_response(format!(r#"{{"success":true,"existed":{existed}}}"#)))
        }
        other => Err(error::unexpected(&other)),
    }
}

fn parse(body: &[u8]) -> Result<Wanted> {
    // An array of the members' values would be read too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid("a token to be made is a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))
}

/// The token that is wanted, but for its secret.
fn token(api: &Api, wanted: Wanted, now_ms: u64) -> Result<Token> {
    let Wanted { name, scopes: names, bindings, name_prefixes, ttl_ms, requests_per_second } =
        wanted;
    read::check_name("name", &name)?;
    let mut scopes = Scopes::default();
    for name in &names {
        let known = Scopes::NAMES.into_iter().find(|(known, _)| known == name);
        let (_, scope) = known.ok_or_else(|| {
            let known = Scopes::NAMES.map(|(name, _)| name).join(", ");
            invalid(format!("there is no scope {name:?}; there are {known}"))
        })?;
        scopes = scopes.and(scope);
    }
    if names.is_empty() {
        return Err(invalid("scopes must name at least one"));
    }
    for (member, texts) in [("bindings", &bindings), ("namePrefixes", &name_prefixes)] {
        if texts.len() > limits::TOKEN_PLACES_MAX {
            let most = limits::TOKEN_PLACES_MAX;
            return Err(invalid(format!("{member} must be at most {most}")));
        }
    }
    if let Some(unknown) = bindings.iter().find(|name| api.bindings.get(name).is_none()) {
        return Err(invalid(format!("there is no binding {unknown:?}")));
    }
    let is_prefix = |text: &String| (1..=limits::OBJECT_NAME_BYTES_MAX).contains(&text.len());
    if !name_prefixes.iter().all(is_prefix) {
        let most = limits::OBJECT_NAME_BYTES_MAX;
        return Err(invalid(format!("a prefix must have 1 to {most} bytes")));
    }
    if ttl_ms.is_some_and(|ttl_ms| !(1..=limits::TOKEN_TTL_MS_MAX).contains(&ttl_ms)) {
        let most = limits::TOKEN_TTL_MS_MAX;
        return Err(invalid(format!("ttlMs must be an integer from 1 to {most}")));
    }
    let rates = 1..=limits::TOKEN_REQUESTS_PER_SECOND_MAX;
    if requests_per_second.is_some_and(|rate| !rates.contains(&rate)) {
        let most = limits::TOKEN_REQUESTS_PER_SECOND_MAX;
        return Err(invalid(format!("requestsPerSecond must be an integer from 1 to {most}")));
    }
    let expires_ms = ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms));
    Ok(Token { name, scopes, bindings, name_prefixes, expires_ms, sha256: [0; 32] })
}

fn view(id: TokenId, token: &Token, created_ms: u64, requests_per_second: Option<u32>) -> Value {
    let view = View {
        id: hex::encode(id.0),
        name: &token.name,
        scopes: token.scopes.names().collect(),
        bindings: &token.bindings,
        name_prefixes: &token.name_prefixes,
        created_time: created_ms,
        expires_time: token.expires_ms,
        requests_per_second,
    };
    serde_json::to_value(view).expect("a token is JSON")
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("invalid_token", message)
}

fn randomness(error: &io::Error) -> Error {
    Error::internal(format!("the system gives no randomness: {error}"))
}
