//! What the node's log says of requests: a line for each that met a fault, each that could not be carried out,
//! each that was slow, and each of administration that was refused.
//!
//! A line names the endpoint, never an object, an identifier or a token; the request's id leads to the rest.
//! However many there are to tell of, so many lines are written in an interval, of each sort; the next line
//! says how many were left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::error::Cause;
use super::request_id::{self, RequestId};
use crate::limits;

/// Writes them.
pub(super) struct Journal {
    /// From which duration on a request is slow.
    slow: Duration,
    /// Faults of this node: apart from what many clients can bring about.
    faulty: Budget,
    failed: Budget,
    late: Budget,
    refused: Budget,
}

/// A request that was answered.
pub(super) struct Answered<'a> {
    pub(super) method: &'a str,
    /// The endpoint: a path without what clients make up.
    pub(super) endpoint: &'a str,
    /// Empty if it is about none.
    pub(super) binding: &'a str,
    pub(super) status: StatusCode,
    pub(super) elapsed: Duration,
    pub(super) request_id: &'a str,
    /// The trace that the client says it belongs to.
    pub(super) trace_id: Option<&'a str>,
    /// What went wrong, if something did.
    pub(super) cause: Option<&'a Cause>,
}

/// A line, with the fields that all of them have.
macro_rules! write_line {
    ($level:ident, $of:expr, $left_out:expr, $($message:tt)+) => {
        tracing::$level!(
            method = $of.method,
            endpoint = $of.endpoint,
            binding = Some($of.binding).filter(|binding| !binding.is_empty()),
            status = $of.status.as_u16(),
            duration_ms = $of.elapsed.as_micros() as f64 / 1000.0,
            request_id = $of.request_id,
            trace_id = $of.trace_id,
            code = $of.cause.map(|cause| cause.code),
            left_out = Some($left_out).filter(|left_out| *left_out > 0),
            $($message)+
        )
    };
}

impl Journal {
    /// Requests that take so long are slow.
    pub(super) fn new(slow: Duration) -> Self {
        let budget = Budget::new;
        Self { slow, faulty: budget(), failed: budget(), late: budget(), refused: budget() }
    }

    /// Whether there is something to write: asked for every request.
    pub(super) fn is_notable(&self, status: StatusCode, elapsed: Duration, endpoint: &str) -> bool {
        is_failed(status, endpoint) || elapsed >= self.slow || is_refused(status, endpoint)
    }

    /// Writes what there is to write of a request.
    pub(super) fn answered(&self, answered: &Answered<'_>) {
        let Answered { status, elapsed, endpoint, cause, .. } = *answered;
        if is_failed(status, endpoint) {
            if let Some(fault) = cause.and_then(|cause| cause.fault.as_deref()) {
                let Some(left_out) = self.faulty.take() else { return };
                write_line!(error, answered, left_out, "a request failed: {fault}");
            } else {
                let Some(left_out) = self.failed.take() else { return };
                write_line!(warn, answered, left_out, "a request could not be carried out");
            }
        } else if is_refused(status, endpoint) {
            let Some(left_out) = self.refused.take() else { return };
            write_line!(warn, answered, left_out, "administration was refused");
        } else if elapsed >= self.slow {
            let Some(left_out) = self.late.take() else { return };
            write_line!(warn, answered, left_out, "a request was slow");
        }
    }
}

/// Whether a request failed. That a node is not ready is no failure of who asks again and again whether it is.
fn is_failed(status: StatusCode, endpoint: &str) -> bool {
    status.is_server_error() && endpoint != "/readyz"
}

/// Whether somebody wanted to administer who may not.
fn is_refused(status: StatusCode, endpoint: &str) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        && endpoint.starts_with("/admin")
}

/// Writes that an item of a batch met a fault; whoever answers it has no journal at hand.
pub(super) fn item_failed(code: &str, fault: &str) {
    static ITEMS: Budget = Budget::new();
    let Some(left_out) = ITEMS.take() else { return };
    let left_out = Some(left_out).filter(|left_out| *left_out > 0);
    let id = request_id::current();
    let request_id = id.as_ref().map(RequestId::text);
    tracing::error!(code, request_id, left_out, "an item of a batch failed: {fault}");
}

/// How many lines may still be written.
struct Budget(Mutex<Spent>);

struct Spent {
    /// When the first line of the interval was written.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Budget {
    const fn new() -> Self {
        Self(Mutex::new(Spent { since: None, lines: 0, left_out: 0 }))
    }

    /// If a line may be written, how many were left out before it.
    fn take(&self) -> Option<u64> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Option<u64> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over =
            |since| now.saturating_duration_since(since) >= limits::REQUEST_LINES_INTERVAL;
        if spent.since.is_none_or(is_over) {
            (spent.since, spent.lines) = (Some(now), 0);
        }
        if spent.lines == limits::REQUEST_LINES_MAX {
            spent.left_out += 1;
            return None;
        }
        spent.lines += 1;
        Some(std::mem::take(&mut spent.left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// What was logged, as JSON.
    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<u8>>>);

    impl Write for Logged {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Logged {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Logged {
        /// The lines that `write` writes.
        fn lines(write: impl FnOnce()) -> Vec<Value> {
            let logged = Self::default();
            let lines = tracing_subscriber::fmt().json().with_writer(logged.clone()).finish();
            tracing::subscriber::with_default(lines, write);
            let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn answered(status: u16, elapsed_ms: u64, endpoint: &str) -> Answered<'_> {
        Answered {
            method: "POST",
            endpoint,
            binding: "",
            status: StatusCode::from_u16(status).unwrap(),
            elapsed: Duration::from_millis(elapsed_ms),
            request_id: "r",
            trace_id: None,
            cause: None,
        }
    }

    #[test]
    fn what_is_told_of_is_told_with_what_leads_to_it() {
        let journal = Journal::new(Duration::from_millis(100));
        let fault = Cause { code: "internal", fault: Some("the disk".to_owned()) };
        let busy = Cause { code: "overloaded", fault: None };
        let forbidden = Cause { code: "scope_missing", fault: None };
        let lines = Logged::lines(|| {
            for quiet in
                [(200, 99, "/check"), (429, 0, "/check"), (401, 0, "/check"), (503, 0, "/readyz")]
            {
                let (status, elapsed_ms, endpoint) = quiet;
                let answered = answered(status, elapsed_ms, endpoint);
                assert!(!journal.is_notable(answered.status, answered.elapsed, endpoint));
                journal.answered(&answered);
            }
            for told in [
                Answered { cause: Some(&fault), binding: "B", ..answered(500, 1, "/query") },
                Answered { cause: Some(&busy), trace_id: Some("t"), ..answered(503, 1, "/check") },
                Answered { cause: Some(&forbidden), ..answered(403, 1, "/admin/members") },
                answered(200, 100, "/export"),
            ] {
                assert!(journal.is_notable(told.status, told.elapsed, told.endpoint));
                journal.answered(&told);
            }
        });
        let told = |line: &Value| {
            let fields = &line["fields"];
            let text = |name: &str| fields[name].as_str().unwrap_or("-").to_owned();
            let names = ["method", "endpoint", "binding", "code", "request_id", "trace_id"];
            let texts = [&names.map(text)[..], &[text("message")]].concat();
            let level = line["level"].as_str().unwrap();
            format!("{level} {} {} {}", fields["status"], fields["duration_ms"], texts.join(" "))
        };
        let told: Vec<String> = lines.iter().map(told).collect();
        assert_eq!(
            told,
            [
                "ERROR 500 1.0 POST /query B internal r - a request failed: the disk",
                "WARN 503 1.0 POST /check - overloaded r t a request could not be carried out",
                "WARN 403 1.0 POST /admin/members - scope_missing r - administration was refused",
                "WARN 200 100.0 POST /export - - r - a request was slow",
            ]
        );
    }

    #[test]
    fn a_flood_comes_to_few_lines_and_says_how_many_there_were() {
        let budget = Budget::new();
        let begin = Instant::now();
        for _ in 0..limits::REQUEST_LINES_MAX {
            assert_eq!(budget.take_at(begin), Some(0));
        }
        for _ in 0..1_000 {
            assert_eq!(budget.take_at(begin + Duration::from_secs(1)), None);
        }
        assert_eq!(budget.take_at(begin + limits::REQUEST_LINES_INTERVAL), Some(1_000));
        assert_eq!(budget.take_at(begin + limits::REQUEST_LINES_INTERVAL), Some(0));
    }
}
