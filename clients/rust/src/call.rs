//! One call, and as many attempts at the nodes as its time allows.
//!
//! Any node takes any request. What cannot be reached, breaks off or takes too long is asked of the
//! next node at once, with the same bytes and the same `Idempotency-Key`, so that the cluster counts
//! it once. What the cluster answers below 500 is the answer, but for the 429 of a token that asks a
//! node too often: another may have room.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep_until, timeout};

use crate::circuit::Circuit;
use crate::error::{Error, ErrorKind, Result, reason};
use crate::retry_after::retry_after;

/// Pause before a node that failed is asked again by the same call; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How much of a 5xx is read, for its message.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// How much longer than its call a key is remembered: more than a node takes to carry a request out or
/// give up on it (5 s), and than clocks differ by.
const KEY_TTL_MARGIN_S: u64 = 60;
/// Of a 5xx, those that another node may do better. 507 and the like are the whole cluster's.
const ELSEWHERE_STATUSES: [u16; 3] = [500, 502, 504];
/// Codes of 5xx that are about the `Idempotency-Key` and not about the request, which was not carried
/// out: as many keys are kept as may be, or a rolling upgrade is not over yet.
const KEY_CODES: [&str; 2] = ["idempotency_keys_full", "not_yet_supported"];
/// A 429 with this code is no refused check: the token asks this node too often, and nothing was
/// changed. Each node counts for itself, and has room again within a second.
const TOO_OFTEN_CODE: &str = "token_rate_limited";

/// What a client is made with, and nothing in it that is wrong.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Without a slash at the end.
    pub(crate) endpoints: Vec<String>,
    pub(crate) token: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) attempt_timeout: Duration,
}

/// A request that can be sent any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// With the query.
    pub(crate) path: String,
    pub(crate) body: Option<Bytes>,
    /// The value of `Idempotency-Key`, a string of RFC 9651.
    pub(crate) key: Option<String>,
    /// Whether `key` was made here, and not by the caller.
    pub(crate) has_own_key: bool,
    /// Whether a 200 is given to the caller with its body unread.
    pub(crate) is_streamed: bool,
}

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    /// In the place of the body, if that is the caller's to read.
    pub(crate) stream: Option<reqwest::Response>,
    retry_after: Option<Duration>,
    /// As the node calls it: its log has a line of each request that failed there.
    request_id: Option<String>,
}

struct Node {
    endpoint: String,
    circuit: Mutex<Circuit>,
}

impl Node {
    /// Circuits are changed in a moment, and never left halfway: a panic elsewhere spoils none.
    fn circuit(&self) -> std::sync::MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A node, as one call sees it.
struct Candidate<'a> {
    node: &'a Node,
    attempts: u32,
    /// Not to be asked before. None: not again.
    not_before: Option<Instant>,
}

/// Why an attempt is not the answer.
struct Failure {
    error: Error,
    sort: Sort,
}

enum Sort {
    /// There is no answer.
    Broken,
    /// The node may be asked again after so long.
    Later(Duration),
    /// Another node may be asked.
    Elsewhere,
    /// No node need be asked.
    Final,
}

/// The calls of one client.
pub(crate) struct Calls {
    settings: Settings,
    http: reqwest::Client,
    nodes: Vec<Node>,
    /// Whose turn it is to be asked first.
    turn: AtomicUsize,
}

impl Calls {
    pub(crate) fn new(settings: Settings, http: reqwest::Client, turn: usize) -> Self {
        let node = |endpoint: &String| Node {
            endpoint: endpoint.clone(),
            circuit: Mutex::new(Circuit::default()),
        };
        let nodes = settings.endpoints.iter().map(node).collect();
        Self { settings, http, nodes, turn: AtomicUsize::new(turn) }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Makes a call.
    ///
    /// # Errors
    /// [`ErrorKind::NoAnswer`] and [`ErrorKind::Server`]; [`ErrorKind::Request`] if the token asks
    /// every node too often.
    pub(crate) async fn call(&self, request: &Request) -> Result<Answer> {
        let deadline = Instant::now() + self.settings.timeout;
        let mut candidates = self.candidates();
        // If all were found dead a moment ago, each is tried once and no more: callers that fail
        // open should not each wait for the deadline.
        let now = Instant::now();
        let is_hopeless = candidates.iter().all(|one| !one.node.circuit().is_closed(now));
        let mut last = None;
        loop {
            // The first of those that may be asked soonest.
            let soonest = candidates
                .iter_mut()
                .filter_map(|one| one.not_before.map(|not_before| (not_before, one)))
                .min_by_key(|(not_before, _)| *not_before)
                .filter(|(not_before, _)| *not_before < deadline && Instant::now() < deadline);
            let Some((not_before, candidate)) = soonest else {
                return Err(last.unwrap_or_else(|| self.late()));
            };
            if not_before > Instant::now() {
                sleep_until(not_before).await;
            }
            let Failure { error, sort } =
                match self.attempt(candidate.node, request, deadline).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => failure,
                };
            let is_about_key = error.code().is_some_and(|code| KEY_CODES.contains(&code));
            if last.is_none() && request.has_own_key && is_about_key {
                return self.without_key(candidate.node, request, deadline).await;
            }
            candidate.attempts += 1;
            candidate.not_before = match sort {
                Sort::Final => return Err(error),
                Sort::Elsewhere => None,
                Sort::Broken if is_hopeless => None,
                Sort::Broken => Some(Instant::now() + pause(candidate.attempts)),
                Sort::Later(after) => Some(Instant::now() + after.max(pause(candidate.attempts))),
            };
            last = Some(error);
        }
    }

    /// One attempt without a key, for a call of which nothing was carried out yet: better than none.
    /// It is not repeated, for that might count twice.
    async fn without_key(
        &self,
        node: &Node,
        request: &Request,
        deadline: Instant,
    ) -> Result<Answer> {
        let bare = Request { key: None, has_own_key: false, ..request.clone() };
        self.attempt(node, &bare, deadline).await.map_err(|failure| failure.error)
    }

    /// All nodes, in the order in which one call asks them first.
    fn candidates(&self) -> Vec<Candidate<'_>> {
        let count = self.nodes.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let now = Instant::now();
        let in_turn = (0..count).map(|index| &self.nodes[(turn + index) % count]);
        let (closed, open): (Vec<_>, Vec<_>) =
            in_turn.partition(|node| node.circuit().is_closed(now));
        let candidate = |node| Candidate { node, attempts: 0, not_before: Some(now) };
        closed.into_iter().chain(open).map(candidate).collect()
    }

    async fn attempt(
        &self,
        node: &Node,
        request: &Request,
        deadline: Instant,
    ) -> std::result::Result<Answer, Failure> {
        let began = Instant::now();
        let left = (deadline - began).max(Duration::from_millis(1));
        let is_alone = self.nodes.len() == 1;
        let limit = if is_alone { left } else { left.min(self.settings.attempt_timeout) };
        node.circuit().begin(began, limit);
        let exchanged = timeout(limit, self.exchange(node, request)).await;
        let message =
            |why: &str| format!("tallykeep at {} cannot be reached: {why}", node.endpoint);
        let error = match exchanged {
            Ok(Ok(answer)) => {
                node.circuit().succeed();
                return if is_refusal(&answer) { Err(refusal(node, &answer)) } else { Ok(answer) };
            }
            Ok(Err(error)) => {
                Error::new(ErrorKind::NoAnswer, message(&reason(&error))).with_source(error)
            }
            Err(late) => {
                let why = format!("no answer within {} ms", limit.as_millis());
                Error::new(ErrorKind::NoAnswer, message(&why)).with_source(late)
            }
        };
        node.circuit().fail(began, Instant::now());
        Err(Failure { error, sort: Sort::Broken })
    }

    async fn exchange(&self, node: &Node, request: &Request) -> reqwest::Result<Answer> {
        let url = format!("{}{}", node.endpoint, request.path);
        let mut sent = self.http.request(request.method.clone(), url);
        if let Some(body) = &request.body {
            sent = sent.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(key) = &request.key {
            // The cluster need not remember a call's own key for the day that it would: it is sent until
            // the deadline, and never again.
            let key = match request.has_own_key {
                true => format!("{key};ttl={}", ttl_s(self.settings.timeout)),
                false => key.clone(),
            };
            sent = sent.header("Idempotency-Key", key);
        }
        if let Some(token) = &self.settings.token {
            sent = sent.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let mut response = sent.send().await?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after(value, SystemTime::now()));
        let request_id = response.headers().get("x-request-id");
        let request_id = request_id.and_then(|id| Some(id.to_str().ok()?.to_owned()));
        if request.is_streamed && status == 200 {
            let (body, stream) = (Bytes::new(), Some(response));
            return Ok(Answer { status, body, stream, retry_after, request_id });
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if status >= 500 && body.len() >= PROBLEM_BYTES_MAX {
                break;
            }
        }
        Ok(Answer { status, body: body.freeze(), stream: None, retry_after, request_id })
    }

    fn late(&self) -> Error {
        let timeout_ms = self.settings.timeout.as_millis();
        Error::new(
            ErrorKind::NoAnswer,
            format!("no tallykeep node answered within {timeout_ms} ms"),
        )
    }
}

/// For how long a call's own key may be sent again.
fn ttl_s(timeout: Duration) -> u64 {
    timeout.as_millis().div_ceil(1000) as u64 + KEY_TTL_MARGIN_S
}

/// Whether an answer is none to the call, so that another node may be asked.
fn is_refusal(answer: &Answer) -> bool {
    match answer.status {
        429 => problem(answer).1.is_some_and(|code| code == TOO_OFTEN_CODE),
        status => status >= 500,
    }
}

/// What a 5xx, or a 429 of [`TOO_OFTEN_CODE`], means for the call.
fn refusal(node: &Node, answer: &Answer) -> Failure {
    let status = answer.status;
    let (detail, code) = problem(answer);
    let mut message = format!("tallykeep at {} answered {status}: {detail}", node.endpoint);
    if let Some(id) = &answer.request_id {
        // The node's log has a line with it of each 5xx.
        message.push_str(&format!(" (request {id})"));
    }
    let is_elsewhere = ELSEWHERE_STATUSES.contains(&status);
    let is_later = matches!(status, 429 | 503);
    let kind = if status >= 500 { ErrorKind::Server } else { ErrorKind::Request };
    let error = Error::new(kind, message)
        .with_answer(status, code)
        .with_retryable(is_later || is_elsewhere);
    let sort = match status {
        _ if is_later => Sort::Later(answer.retry_after.unwrap_or_default()),
        _ if is_elsewhere => Sort::Elsewhere,
        _ => Sort::Final,
    };
    Failure { error, sort }
}

/// The `detail` and the `code` of a problem (RFC 9457); a proxy's answer has none, and is told by the
/// phrase of its status.
pub(crate) fn problem(answer: &Answer) -> (String, Option<String>) {
    let members: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| members.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let phrase = || {
        StatusCode::from_u16(answer.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("no reason")
            .to_owned()
    };
    (text("detail").unwrap_or_else(phrase), text("code"))
}

/// A failed node's pause, with half of it by chance, so that many callers do not come back at once.
fn pause(attempts: u32) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(attempts - 1)).min(PAUSE_MAX);
    whole.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calls_own_key_is_to_be_remembered_for_its_time_and_a_minute() {
        for (timeout_ms, expected_s) in [(1, 61), (5_000, 65), (5_001, 66)] {
            assert_eq!(ttl_s(Duration::from_millis(timeout_ms)), expected_s);
        }
    }

    #[test]
    fn pauses_double_up_to_a_second() {
        for (attempts, most_ms) in [(1, 50), (2, 100), (3, 200), (5, 800), (6, 1_000), (99, 1_000)]
        {
            for _ in 0..100 {
                let pause = pause(attempts);
                let most = Duration::from_millis(most_ms);
                assert!(pause >= most / 2 && pause <= most, "{attempts}: {pause:?}");
            }
        }
    }
}
