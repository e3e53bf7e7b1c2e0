//! The nodes as a client sees them: send a request to one, learn what became of it.
//!
//! A request that got no answer is either known to have changed nothing or of unknown fate. The
//! difference is the whole of [`Fault`]; whoever sends a request that is not safe to repeat must
//! look at it.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::terminal::plain;
use super::{Endpoints, Error};
use crate::limits::{CLIENT_CONNECT_TIMEOUT, CLIENT_PAUSE, CLIENT_TIMEOUT, STREAM_STALL_TIMEOUT};

/// Why a request has no answer, and what that says about its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was never sent, or the node says that it changed nothing: send it again, elsewhere.
    Unchanged(String),
    /// It may have been applied, or may still be.
    Unknown(String),
    /// It is wrong, and will be wrong again.
    Rejected(String),
}

/// The body of an answer: of a 200, or of a 429 for a refused check.
pub(super) struct Answer(Vec<u8>);

impl Answer {
    /// The body as it came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the body of an answer that is final.
    ///
    /// # Errors
    /// If it is none of this API: who answers is no node, perhaps.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.0)
            .map_err(|error| Error::Cluster(format!("the answer is not understood: {error}")))
    }

    /// Reads the body.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.0)
            .map_err(|error| Fault::Rejected(format!("the answer is not understood: {error}")))
    }
}

/// The nodes of one cluster and the connections to them.
pub(super) struct Cluster {
    http: Client,
    endpoints: Vec<Url>,
}

impl Cluster {
    /// A client of the nodes at `endpoints`, of which there is at least one.
    pub(super) fn new(endpoints: &Endpoints) -> Result<Self, Error> {
        let http = builder(endpoints)?.timeout(CLIENT_TIMEOUT).build()?;
        Ok(Self { http, endpoints: endpoints.urls.clone() })
    }

    /// The same, for answers that may take as long as they like, if only there is more of them every
    /// so often.
    pub(super) fn of_streams(endpoints: &Endpoints) -> Result<Self, Error> {
        let http = builder(endpoints)?.read_timeout(STREAM_STALL_TIMEOUT).build()?;
        Ok(Self { http, endpoints: endpoints.urls.clone() })
    }

    /// The nodes, in the order in which they were given.
    pub(super) fn endpoints(&self) -> &[Url] {
        &self.endpoints
    }

    /// Sends one request to the node `turn`, counted around, and waits for its answer.
    pub(super) async fn send<B: Serialize>(
        &self,
        turn: usize,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Answer, Fault> {
        self.send_with(turn, method, path, "", body).await
    }

    /// The same, to a path with a query string, if that is not empty.
    pub(super) async fn send_with<B: Serialize>(
        &self,
        turn: usize,
        method: Method,
        path: &str,
        query: &str,
        body: Option<&B>,
    ) -> Result<Answer, Fault> {
        let mut url = self.url(turn, path);
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        Self::answer(request).await
    }

    /// Sends a body that is JSON already to a path with a query string, as [`Cluster::send`] does.
    pub(super) async fn post(
        &self,
        turn: usize,
        path: &str,
        query: &str,
        body: Bytes,
    ) -> Result<Answer, Fault> {
        let mut url = self.url(turn, path);
        url.set_query(Some(query));
        Self::answer(self.http.post(url).body(body)).await
    }

    async fn answer(request: RequestBuilder) -> Result<Answer, Fault> {
        let response = request.send().await.map_err(transport)?;
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE);
        let is_problem = content_type.is_some_and(|value| value == "application/problem+json");
        // A body cut short is a lost answer, whatever the status before it.
        let body = response.bytes().await.map_err(transport)?.to_vec();
        match status {
            StatusCode::OK => Ok(Answer(body)),
            // Of a check. With a problem it is the token that is refused.
            StatusCode::TOO_MANY_REQUESTS if !is_problem => Ok(Answer(body)),
            _ => Err(problem(status, &body)),
        }
    }

    /// Sends a JSON body to a path, given by its segments as they are before they are encoded, with an
    /// `Idempotency-Key` if there is one, and waits so long for the answer.
    pub(super) async fn call(
        &self,
        turn: usize,
        path: &[String],
        key: Option<&str>,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, Fault> {
        let url = self.url_of(turn, path);
        let mut request = self.http.post(url).header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        Self::answer(request.body(body).timeout(timeout)).await
    }

    /// Asks the node `turn` for an answer whose body is yet to be read; the path as in
    /// [`Cluster::call`].
    pub(super) async fn open(
        &self,
        turn: usize,
        path: &[String],
        query: &[(&str, String)],
    ) -> Result<Response, Fault> {
        let mut url = self.url_of(turn, path);
        url.query_pairs_mut().extend_pairs(query);
        self.streamed(url).await
    }

    /// Asks the node `turn` for an answer whose body is yet to be read.
    pub(super) async fn stream(&self, turn: usize, path: &str) -> Result<Response, Fault> {
        self.streamed(self.url(turn, path)).await
    }

    async fn streamed(&self, url: Url) -> Result<Response, Fault> {
        let sent = self.http.get(url).send().await;
        let response = sent.map_err(transport)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => {
                let body = response.bytes().await.map_err(transport)?;
                Err(problem(status, &body))
            }
        }
    }

    fn url(&self, turn: usize, path: &str) -> Url {
        let mut url = self.endpoints[turn % self.endpoints.len()].clone();
        url.set_path(path);
        url
    }

    fn url_of(&self, turn: usize, path: &[String]) -> Url {
        let mut url = self.url(turn, "");
        url.path_segments_mut().expect("an endpoint is a base of paths").clear().extend(path);
        url
    }

    /// Asks a question that changes nothing, at one node after the other, until one answers or
    /// `patience` is over.
    ///
    /// # Errors
    /// The last fault, in words; a [`Fault::Rejected`] at once.
    pub(super) async fn ask<B: Serialize, T: DeserializeOwned>(
        &self,
        first: usize,
        path: &str,
        body: &B,
        patience: Duration,
    ) -> Result<T, String> {
        let mut turns = Turns::new(self, first, patience);
        loop {
            let asked = self.send(turns.turn(), Method::POST, path, Some(body)).await;
            let why = match asked.and_then(|answer| answer.json()) {
                Ok(answer) => return Ok(answer),
                Err(Fault::Rejected(why)) => return Err(format!("{path}: {why}")),
                Err(Fault::Unchanged(why) | Fault::Unknown(why)) => why,
            };
            if !turns.failed(why).await {
                return Err(turns.gave_up(&format!("{path}: no answer in time")).to_string());
            }
        }
    }
}

fn builder(endpoints: &Endpoints) -> Result<ClientBuilder, Error> {
    let mut headers = HeaderMap::new();
    if let Some(authorization) = endpoints.authorization()? {
        let mut value = HeaderValue::try_from(authorization)
            .map_err(|_| Error::Rejected("the token cannot stand in a header".into()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(Client::builder()
        .default_headers(headers)
        // It would be somebody else's doing, and the token is not theirs.
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(endpoints.trust()?.for_reqwest())
        .connect_timeout(CLIENT_CONNECT_TIMEOUT)
        // A proxy between would lose the difference that `Fault` is about.
        .no_proxy()
        // And so would a retry made unseen.
        .retry(reqwest::retry::never()))
}

/// Whose turn it is to be asked: every node in order, with a pause after each round.
pub(super) struct Turns {
    turn: usize,
    tried: usize,
    deadline: Instant,
    /// Each node, and why it was of no use when it was asked last.
    nodes: Vec<(String, Option<String>)>,
}

impl Turns {
    /// Begins at the node `first`, counted around; ends when `patience` is over.
    pub(super) fn new(cluster: &Cluster, first: usize, patience: Duration) -> Self {
        let deadline = Instant::now() + patience;
        let nodes = cluster.endpoints.iter().map(|url| (origin(url).to_owned(), None)).collect();
        Self { turn: first, tried: 0, deadline, nodes }
    }

    /// The node to ask.
    pub(super) fn turn(&self) -> usize {
        self.turn
    }

    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The node whose turn it was is of no use, for this reason: goes on to the next. False when there
    /// is no time left.
    pub(super) async fn failed(&mut self, why: String) -> bool {
        let nodes = self.nodes.len();
        self.nodes[self.turn % nodes].1 = Some(why);
        self.turn += 1;
        self.tried += 1;
        if self.tried.is_multiple_of(nodes) {
            sleep(CLIENT_PAUSE).await;
        }
        !self.left().is_zero()
    }

    /// Has so much time from now on.
    pub(super) fn renew(&mut self, patience: Duration) {
        self.deadline = Instant::now() + patience;
    }

    /// The error of whoever gives up: what it is about, what each node said, and where to look.
    pub(super) fn gave_up(&self, what: &str) -> Error {
        let mut message = format!("{what}:");
        for (node, said) in &self.nodes {
            let said = said.as_deref().unwrap_or("was not asked");
            message.push_str(&format!("\n  {node}  {said}"));
        }
        message.push_str(
            "\nThe nodes are named by --endpoint or TALLYKEEP_ENDPOINT; `tallykeep status` shows how \
             they are, `tallykeep serve` starts one.",
        );
        Error::Cluster(message)
    }
}

/// An endpoint as it was given: without a path.
pub(super) fn origin(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// All that a transport error says.
pub(super) fn reasons(error: &reqwest::Error) -> String {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        why = format!("{why}: {inner}");
        source = inner.source();
    }
    why
}

/// What a transport error says about the request.
fn transport(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let why = reasons(&error);
    if error.is_connect() {
        Fault::Unchanged(why)
    } else if error.is_builder() {
        Fault::Rejected(why)
    } else {
        Fault::Unknown(why)
    }
}

/// What an error answer says about the request. Only the codes that promise it mean that
/// nothing was changed; any other 5xx leaves the fate open.
fn problem(status: StatusCode, body: &[u8]) -> Fault {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default();
    let mut why = match problem["detail"].as_str() {
        Some(detail) => format!("{status}: {} [{}]", plain(detail), plain(code)),
        None => status.to_string(),
    };
    // The node's log has a line of it; what was wrong with a request says its detail.
    if let (true, Some(id)) = (status.is_server_error(), problem["requestId"].as_str()) {
        why.push_str(&format!(" (request {})", plain(id)));
    }
    match (status, code) {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded" | "no_leader" | "not_recorded" | "not_yet_supported",
        ) => Fault::Unchanged(why),
        // Each node counts for itself, and in a second there is room again.
        (StatusCode::TOO_MANY_REQUESTS, "token_rate_limited") => Fault::Unchanged(why),
        (StatusCode::INSUFFICIENT_STORAGE, "insufficient_storage" | "idempotency_keys_full") => {
            Fault::Unchanged(why)
        }
        // Every node would say so, until there is room in the object.
        (StatusCode::INSUFFICIENT_STORAGE, "object_full" | "objects_full") => Fault::Rejected(why),
        _ if status.is_server_error() => Fault::Unknown(why),
        _ => Fault::Rejected(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_promise_means_that_nothing_was_changed() {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let fault = problem(unavailable, br#"{"code":"no_leader","detail":"none"}"#);
        assert_eq!(fault, Fault::Unchanged("503 Service Unavailable: none [no_leader]".into()));
        let fault = problem(unavailable, br#"{"code":"overloaded"}"#);
        assert!(matches!(fault, Fault::Unchanged(_)));
        let full = br#"{"code":"insufficient_storage"}"#;
        assert!(matches!(problem(StatusCode::INSUFFICIENT_STORAGE, full), Fault::Unchanged(_)));
        for full in [&br#"{"code":"object_full"}"#[..], br#"{"code":"objects_full"}"#] {
            assert!(matches!(problem(StatusCode::INSUFFICIENT_STORAGE, full), Fault::Rejected(_)));
        }
        let told = br#"{"code":"internal","detail":"none","requestId":"r-1"}"#;
        let fault = problem(StatusCode::INTERNAL_SERVER_ERROR, told);
        let said = "500 Internal Server Error: none [internal] (request r-1)";
        assert_eq!(fault, Fault::Unknown(said.into()));
        let hostile = problem(StatusCode::BAD_REQUEST, br#"{"code":"c","detail":"\u001b[2J"}"#);
        assert_eq!(hostile, Fault::Rejected("400 Bad Request: \\u{1b}[2J [c]".into()));
        for body in [&br#"{"code":"unknown_outcome"}"#[..], b"", b"<html>"] {
            assert!(matches!(problem(unavailable, body), Fault::Unknown(_)));
        }
        assert!(matches!(problem(StatusCode::INTERNAL_SERVER_ERROR, b""), Fault::Unknown(_)));
        assert!(matches!(problem(StatusCode::BAD_REQUEST, b""), Fault::Rejected(_)));
    }
}
