//! The nodes as their clients see them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use reqwest::header::HeaderMap;
use reqwest::{Body, Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tallykeep::tls::Trust;

/// Longer than any request may take inside the cluster.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection may be idle and be used again.
const IDLE: Duration = Duration::from_millis(100);

/// Sends requests to nodes, by their ids.
#[derive(Clone)]
pub struct Api {
    client: Client,
    urls: Vec<String>,
    token: Option<String>,
}

impl Api {
    /// A client of the nodes at `urls`, the first of which has the id 1.
    pub fn new(urls: Vec<String>) -> Self {
        Self::trusting(&Trust::nobody(), urls)
    }

    /// The same, for nodes that may speak TLS.
    pub fn trusting(trust: &Trust, urls: Vec<String>) -> Self {
        let client = Client::builder()
            .tls_backend_preconfigured(trust.for_reqwest())
            .timeout(TIMEOUT)
            .no_proxy()
            // A node that stops closes idle connections, and whoever sends on one at that moment cannot
            // know what became of it: HTTP/1.1 leaves that to clients. Before it closes them it
            // answers for longer than this, and so sees each connection in use again or given up.
            .pool_idle_timeout(IDLE)
            // A retry made unseen would hide what the tests are about.
            .retry(reqwest::retry::never())
            .build()
            .expect("an HTTP client");
        Self { client, urls, token: None }
    }

    /// The same client with this API token, or with none.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// The ids of the nodes.
    pub fn ids(&self) -> std::ops::RangeInclusive<u64> {
        1..=self.urls.len() as u64
    }

    /// `http://host:port` of a node.
    pub fn url(&self, id: u64) -> &str {
        &self.urls[usize::try_from(id).expect("a small id") - 1]
    }

    /// A request to a node, to be completed and sent by [`Answer::of`].
    pub fn request(&self, method: Method, id: u64, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url(id)));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// GET, or why there is no answer.
    pub async fn try_get(&self, id: u64, path: &str) -> reqwest::Result<Answer> {
        Answer::of(self.request(Method::GET, id, path)).await
    }

    /// POST, or why there is no answer.
    pub async fn try_post(
        &self,
        id: u64,
        path: &str,
        body: impl Into<Body>,
    ) -> reqwest::Result<Answer> {
        Answer::of(self.request(Method::POST, id, path).body(body)).await
    }

    /// GET.
    pub async fn get(&self, id: u64, path: &str) -> Answer {
        self.try_get(id, path).await.unwrap_or_else(|error| panic!("GET {path} at {id}: {error:?}"))
    }

    /// POST.
    pub async fn post(&self, id: u64, path: &str, body: impl Into<Body>) -> Answer {
        self.try_post(id, path, body)
            .await
            .unwrap_or_else(|error| panic!("POST {path} at {id}: {error:?}"))
    }

    /// `POST /check`.
    pub async fn check(&self, id: u64, identifier: &str, requests: u64, window_ms: u64) -> Answer {
        self.post(id, "/check", check_body(identifier, requests, window_ms)).await
    }

    /// `POST /log`; gives the entry's id.
    pub async fn log(&self, id: u64, body: impl Into<Body>) -> String {
        self.log_at(id, "/log", body).await
    }

    /// `POST` of an entry to a path; gives the entry's id.
    pub async fn log_at(&self, id: u64, path: &str, body: impl Into<Body>) -> String {
        let answer = self.post(id, path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// `POST /query`.
    pub async fn query(&self, id: u64, body: &Value) -> Value {
        self.query_at(id, "/query", body).await
    }

    /// `POST` of a query to a path.
    pub async fn query_at(&self, id: u64, path: &str, body: &Value) -> Value {
        let answer = self.post(id, path, body.to_string()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        answer.json()
    }
}

/// The body of a check.
pub fn check_body(identifier: &str, requests: u64, window_ms: u64) -> String {
    let config = json!({"requests": requests, "windowMs": window_ms});
    json!({"identifier": identifier, "config": config}).to_string()
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends a request and reads all of its answer.
    pub async fn of(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// The body's text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("an answer is UTF-8")
    }

    /// The body's value.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is ASCII"))
    }

    /// Asserts that this is a problem (RFC 9457) of `status` and `code`; gives its `detail`.
    pub fn problem(&self, status: u16, code: &str) -> String {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{text}");
        assert_eq!(problem["code"], code, "{text}");
        assert!(problem["type"].is_string(), "{text}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{text}");
        assert_eq!(problem["error"], problem["title"], "{text}");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(!detail.is_empty(), "{text}");
        let retry_after = self.header("retry-after");
        let waits = matches!(status, 429 | 503);
        assert_eq!(retry_after.parse::<u32>().is_ok(), waits, "{text} {retry_after:?}");
        detail.to_owned()
    }

    /// Asserts that this is, byte for byte, the answer to a check that was admitted under `limit`,
    /// with `remaining` left; gives the `resetTime`.
    pub fn admitted(&self, limit: u64, remaining: u64) -> u64 {
        let text = self.text();
        assert_eq!(self.status, 200, "{text}");
        let reset_ms = self.json()["resetTime"].as_u64().expect("a resetTime");
        let expected =
            format!(r#"{{"allowed":true,"remaining":{remaining},"resetTime":{reset_ms}}}"#);
        assert_eq!(text, expected);
        assert!(!self.headers.contains_key("retry-after"));
        self.limit_headers(limit, remaining, reset_ms);
        reset_ms
    }

    /// Asserts that this is, byte for byte, the answer to a check that was refused under `limit`;
    /// gives the `resetTime` and the seconds to wait.
    pub fn refused(&self, limit: u64) -> (u64, u64) {
        let text = self.text();
        assert_eq!(self.status, 429, "{text}");
        let body = self.json();
        let reset_ms = body["resetTime"].as_u64().expect("a resetTime");
        let seconds = body["retryAfter"].as_u64().expect("a retryAfter");
        let expected = format!(
            r#"{{"allowed":false,"remaining":0,"resetTime":{reset_ms},"retryAfter":{seconds}}}"#
        );
        assert_eq!(text, expected);
        assert_eq!(self.header("retry-after"), seconds.to_string());
        self.limit_headers(limit, 0, reset_ms);
        (reset_ms, seconds)
    }

    fn limit_headers(&self, limit: u64, remaining: u64, reset_ms: u64) {
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("content-length"), self.body.len().to_string());
        assert_eq!(self.header("x-ratelimit-limit"), limit.to_string());
        assert_eq!(self.header("x-ratelimit-remaining"), remaining.to_string());
        assert_eq!(self.header("x-ratelimit-reset"), iso(reset_ms));
    }
}

/// `2021-10-18T12:00:00.000Z`, as `Date.toISOString` writes it.
pub fn iso(ms: u64) -> String {
    DateTime::from_timestamp_millis(i64::try_from(ms).expect("a time"))
        .expect("a time of the calendar")
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// This machine's time, in ms since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the end of time")
}
