//! What an answer says, and whether it has the shape that the API promises.

use std::borrow::Cow;

use serde::Deserialize;

use super::request::{Asked, QUERY_ENTRIES};

/// What became of a request that was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// 200: a check was counted.
    Admitted { remaining: u64, reset_ms: u64 },
    /// 429: a check was over the limit.
    Refused { reset_ms: u64 },
    /// 200: an entry was logged.
    Logged { id: Cow<'a, str> },
    /// 200: a page with so many entries.
    Page { entries: usize },
    /// 503: the node could not, for now.
    Unavailable {
        /// Whether it says that nothing was changed.
        is_unchanged: bool,
    },
}

/// What an answer to a query has to fit.
pub(super) struct Expected<'a> {
    /// What the types begin with, before `-` and their numbers.
    pub(super) kind: &'a str,
    /// The first and the last millisecond asked for.
    pub(super) hour: (u64, u64),
    /// Whether the entries come from one shard, in which times are in order.
    pub(super) is_one_shard: bool,
}

/// The body of a 200 or a 429 from `/check`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    allowed: bool,
    remaining: u64,
    reset_time: u64,
    retry_after: Option<u64>,
}

/// The body of a 200 from `/log`.
#[derive(Deserialize)]
struct Logged<'a> {
    success: bool,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// The body of a 200 from `/query`.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
    count: usize,
}

#[derive(Deserialize)]
struct Entry<'a> {
    timestamp: u64,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
}

/// An RFC 9457 problem.
#[derive(Default, Deserialize)]
struct Problem<'a> {
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    detail: Option<Cow<'a, str>>,
}

/// Reads an answer to what was asked.
///
/// # Errors
/// What is wrong with it.
pub(super) fn judge<'a>(
    asked: Asked,
    expected: &Expected<'_>,
    status: u16,
    body: &'a [u8],
) -> Result<Verdict<'a>, String> {
    match (asked, status) {
        (Asked::Check { .. }, 200 | 429) => check(status, read(body)?),
        (Asked::Log, 200) => match read::<Logged<'_>>(body)? {
            Logged { success: true, id } => Ok(Verdict::Logged { id }),
            Logged { success: false, .. } => Err("a 200 that says no success".into()),
        },
        (Asked::Query { type_number }, 200) => page(type_number, expected, &read(body)?),
        (_, 503) => {
            let code = problem(body).code;
            let is_unchanged = matches!(code.as_deref(), Some("no_leader" | "overloaded"));
            Ok(Verdict::Unavailable { is_unchanged })
        }
        _ => Err(unexpected(status, body)),
    }
}

/// An answer that nobody expected, in words.
pub(super) fn unexpected(status: u16, body: &[u8]) -> String {
    match problem(body).detail {
        Some(detail) => format!("{status}: {detail}"),
        None => format!("{status}: {}", excerpt(body)),
    }
}

/// When the window of a check ends that was answered with 429: the cluster's time and the window.
pub(super) fn reset_ms(body: &[u8]) -> Result<u64, String> {
    read::<Check>(body).map(|check| check.reset_time)
}

/// The timestamp of the first entry of a page, if it has one.
pub(super) fn first_timestamp(body: &[u8]) -> Result<Option<u64>, String> {
    read::<Page<'_>>(body).map(|page| page.entries.first().map(|entry| entry.timestamp))
}

fn check(status: u16, check: Check) -> Result<Verdict<'static>, String> {
    let Check { allowed, remaining, reset_time: reset_ms, retry_after } = check;
    match (status, allowed, retry_after) {
        (200, true, None) => Ok(Verdict::Admitted { remaining, reset_ms }),
        (429, false, Some(1..)) if remaining == 0 => Ok(Verdict::Refused { reset_ms }),
        _ => Err(format!(
            "{status} with allowed {allowed}, remaining {remaining}, retryAfter {retry_after:?}"
        )),
    }
}

fn page(
    type_number: u32,
    expected: &Expected<'_>,
    page: &Page<'_>,
) -> Result<Verdict<'static>, String> {
    let Page { entries, count } = page;
    if entries.len() != *count || *count > QUERY_ENTRIES {
        return Err(format!("{} entries, count {count}, of {QUERY_ENTRIES}", entries.len()));
    }
    let kind = format!("{}-{type_number}", expected.kind);
    let (start_ms, end_ms) = expected.hour;
    for entry in entries {
        if entry.r#type != kind || !(start_ms..=end_ms).contains(&entry.timestamp) {
            return Err(format!(
                "an entry of type {:?} at {} where {kind:?} from {start_ms} to {end_ms} was asked for",
                entry.r#type, entry.timestamp
            ));
        }
    }
    if expected.is_one_shard && !entries.is_sorted_by(|a, b| a.timestamp >= b.timestamp) {
        return Err("the entries are not newest first".into());
    }
    Ok(Verdict::Page { entries: *count })
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not understood: {error}: {}", excerpt(body)))
}

fn problem(body: &[u8]) -> Problem<'_> {
    serde_json::from_slice(body).unwrap_or_default()
}

/// The beginning of a body.
fn excerpt(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&body[..body.len().min(200)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Asked = Asked::Check { number: 3 };
    const QUERY: Asked = Asked::Query { type_number: 3 };

    fn judged(asked: Asked, status: u16, body: &str) -> Result<Verdict<'_>, String> {
        let expected = Expected { kind: "bench", hour: (10, 20), is_one_shard: true };
        judge(asked, &expected, status, body.as_bytes())
    }

    #[test]
    fn checks() {
        let admitted = r#"{"allowed":true,"remaining":95,"resetTime":9}"#;
        let refused = r#"{"allowed":false,"remaining":0,"resetTime":9,"retryAfter":45}"#;
        let verdict = Verdict::Admitted { remaining: 95, reset_ms: 9 };
        assert_eq!(judged(CHECK, 200, admitted), Ok(verdict));
        assert_eq!(judged(CHECK, 429, refused), Ok(Verdict::Refused { reset_ms: 9 }));
        for (status, body) in [
            (429, admitted),
            (200, refused),
            (201, admitted),
            (200, "{}"),
            (200, r#"{"allowed":true,"remaining":-1,"resetTime":9}"#),
            (429, r#"{"allowed":false,"remaining":0,"resetTime":9}"#),
            (429, r#"{"allowed":false,"remaining":0,"resetTime":9,"retryAfter":0}"#),
            (429, r#"{"allowed":false,"remaining":1,"resetTime":9,"retryAfter":1}"#),
        ] {
            assert!(judged(CHECK, status, body).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn entries() {
        let logged = judged(Asked::Log, 200, r#"{"success":true,"id":"x"}"#);
        assert_eq!(logged, Ok(Verdict::Logged { id: "x".into() }));
        assert!(judged(Asked::Log, 200, r#"{"success":false,"id":"x"}"#).is_err());
        assert!(judged(Asked::Log, 200, r#"{"success":true}"#).is_err());
        // Only a check may be refused.
        assert!(judged(Asked::Log, 429, "{}").is_err());
    }

    #[test]
    fn pages() {
        let page = |entries: &[(&str, u64)], count| {
            let entries: Vec<_> = entries
                .iter()
                .map(|(kind, at)| format!(r#"{{"id":"a","timestamp":{at},"type":"{kind}"}}"#))
                .collect();
            format!(r#"{{"entries":[{}],"count":{count},"cursor":"c"}}"#, entries.join(","))
        };
        let good = page(&[("bench-3", 20), ("bench-3", 10), ("bench-3", 10)], 3);
        assert_eq!(judged(QUERY, 200, &good), Ok(Verdict::Page { entries: 3 }));
        for wrong in [
            page(&[("bench-3", 20)], 2),
            page(&[("bench-4", 20)], 1),
            page(&[("bench-3", 21)], 1),
            page(&[("bench-3", 9)], 1),
            page(&[("bench-3", 10), ("bench-3", 11)], 2),
            page(&[("bench-3", 10); QUERY_ENTRIES + 1], QUERY_ENTRIES + 1),
        ] {
            assert!(judged(QUERY, 200, &wrong).is_err(), "{wrong}");
        }
        assert_eq!(first_timestamp(good.as_bytes()), Ok(Some(20)));
        assert_eq!(first_timestamp(page(&[], 0).as_bytes()), Ok(None));
    }

    #[test]
    fn a_503_says_what_it_changed() {
        for (body, is_unchanged) in [
            (r#"{"code":"no_leader"}"#, true),
            (r#"{"code":"overloaded","detail":"the queue is full"}"#, true),
            (r#"{"code":"unknown_outcome"}"#, false),
            ("", false),
        ] {
            assert_eq!(
                judged(CHECK, 503, body),
                Ok(Verdict::Unavailable { is_unchanged }),
                "{body}"
            );
        }
        let wrong = judged(CHECK, 500, r#"{"detail":"it broke"}"#);
        assert_eq!(wrong, Err("500: it broke".into()));
    }
}
