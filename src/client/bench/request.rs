//! Requests, as the bytes that go onto the wire.

use std::fmt::Arguments;
use std::io::Write;

use chrono::{DateTime, NaiveDate, TimeDelta};
use rand::Rng;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;

use super::keys::Keys;
use super::mix::{Mix, Operation};

/// Text of which the details of entries are pieces: random, as nothing that repeats tells what an
/// entry costs on disk; long, so that entries beside each other differ.
const TEXT_BYTES: usize = 1024 * 1024;
/// Bytes of `{"text":""}`.
pub(super) const DETAILS_BYTES_MIN: usize = 11;
/// Entries that a query asks for.
pub(super) const QUERY_ENTRIES: usize = 100;
/// The time that a query spans.
const HOUR_MS: u64 = 60 * 60 * 1000;
/// The actions of entries.
const ACTIONS: [&str; 4] = ["create", "read", "update", "delete"];

/// What a request asked, as far as its answer has to fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A check of the identifier of this number.
    Check { number: u64 },
    /// An entry to be logged.
    Log,
    /// A page of the entries of this type's number.
    Query { type_number: u32 },
}

impl Asked {
    /// The operation.
    pub(super) fn operation(self) -> Operation {
        match self {
            Self::Check { .. } => Operation::Check,
            Self::Log => Operation::Log,
            Self::Query { .. } => Operation::Query,
        }
    }
}

/// What requests are about.
pub(super) struct Subject {
    pub(super) mix: Mix,
    /// The identifiers that checks are of, and that entries name as their users.
    pub(super) keys: Keys,
    /// Begins every identifier. Prefix and types stand in JSON as they are.
    pub(super) prefix: String,
    /// The limiters' type; that of an entry is this, `-`, and a number below `types`.
    pub(super) kind: String,
    pub(super) limit: u64,
    pub(super) window_ms: u64,
    pub(super) types: u32,
    /// Bytes of an entry's details, at least [`DETAILS_BYTES_MIN`].
    pub(super) details_bytes: usize,
    /// Audit shards; with one, the root's own routes are used.
    pub(super) days: u32,
    /// The cluster's time when the run begins, in ms since the Unix epoch.
    pub(super) now_ms: u64,
    /// The last millisecond of the hour that queries span.
    pub(super) hour_end_ms: u64,
}

/// Makes requests, one after the other.
pub(super) struct Composer {
    subject: Subject,
    rng: StdRng,
    text: String,
    /// The paths of an audit shard: for one shard the root's; else one for each day.
    shards: Vec<String>,
    /// Entries made, which go to the shards in turn.
    entries: usize,
    body: Vec<u8>,
}

impl Composer {
    /// Makes requests about a subject, by chance.
    pub(super) fn new(subject: Subject, mut rng: StdRng) -> Self {
        let bytes = if subject.mix.has(Operation::Log) { TEXT_BYTES } else { 0 };
        let text = Alphanumeric.sample_string(&mut rng, bytes + subject.details_bytes);
        let shards = shards(subject.days, subject.now_ms);
        Self { subject, rng, text, shards, entries: 0, body: Vec::new() }
    }

    /// The first and the last millisecond of the hour that queries span.
    pub(super) fn hour(&self) -> (u64, u64) {
        let end_ms = self.subject.hour_end_ms;
        (end_ms.saturating_sub(HOUR_MS - 1), end_ms)
    }

    /// Makes `request` the next request, to the node of which `headers` say what [`frame`] needs.
    pub(super) fn compose(&mut self, headers: &str, request: &mut Vec<u8>) -> Asked {
        self.body.clear();
        let (asked, shard, route) = match self.subject.mix.choose(&mut self.rng) {
            Operation::Check => (self.check(), "", "check"),
            Operation::Log => {
                let shard = self.entries % self.shards.len();
                (self.entry(), self.shards[shard].as_str(), "log")
            }
            Operation::Query => {
                let shard = self.rng.random_range(0..self.shards.len());
                (self.query(), self.shards[shard].as_str(), "query")
            }
        };
        frame(request, headers, &[shard, "/", route], &self.body);
        asked
    }

    fn check(&mut self) -> Asked {
        let Self { subject, rng, body, .. } = self;
        let number = subject.keys.next(rng);
        let Subject { kind, prefix, limit, window_ms, .. } = subject;
        check(body, kind, format_args!("{prefix}{number}"), *limit, *window_ms);
        Asked::Check { number }
    }

    fn entry(&mut self) -> Asked {
        let Self { subject, rng, text, body, .. } = self;
        let Subject { kind, prefix, .. } = subject;
        let (type_number, action) =
            (rng.random_range(0..subject.types), ACTIONS[rng.random_range(0..ACTIONS.len())]);
        let user = subject.keys.next(rng);
        let [_, a, b, c] = (user as u32).to_be_bytes();
        let bytes = subject.details_bytes - DETAILS_BYTES_MIN;
        let from = rng.random_range(0..=text.len() - bytes);
        let text = &text[from..from + bytes];
        write(
            body,
            format_args!(
                "{{\"type\":\"{kind}-{type_number}\",\"action\":\"{action}\",\
                 \"userId\":\"{prefix}{user}\",\"ip\":\"10.{a}.{b}.{c}\",\
                 \"details\":{{\"text\":\"{text}\"}}}}"
            ),
        );
        self.entries += 1;
        Asked::Log
    }

    fn query(&mut self) -> Asked {
        let (start_ms, end_ms) = self.hour();
        let Self { subject, rng, body, .. } = self;
        let type_number = rng.random_range(0..subject.types);
        let kind = &subject.kind;
        write(
            body,
            format_args!(
                "{{\"type\":\"{kind}-{type_number}\",\"startTime\":{start_ms},\
                 \"endTime\":{end_ms},\"limit\":{QUERY_ENTRIES}}}"
            ),
        );
        Asked::Query { type_number }
    }
}

/// Writes the body of a check.
pub(super) fn check(
    body: &mut Vec<u8>,
    kind: &str,
    identifier: Arguments<'_>,
    limit: u64,
    window_ms: u64,
) {
    write(
        body,
        format_args!(
            "{{\"identifier\":\"{identifier}\",\
             \"config\":{{\"requests\":{limit},\"windowMs\":{window_ms}}},\"type\":\"{kind}\"}}"
        ),
    );
}

/// The headers of every request to the node `host`, with what `Authorization` says if there is a token.
pub(super) fn headers(host: &str, authorization: Option<&str>) -> String {
    let authorization =
        authorization.map_or(String::new(), |value| format!("authorization: {value}\r\n"));
    format!("host: {host}\r\n{authorization}")
}

/// Makes `request` a `POST` of `body` with these [`headers`]; the path is given in pieces.
pub(super) fn frame(request: &mut Vec<u8>, headers: &str, path: &[&str], body: &[u8]) {
    request.clear();
    request.extend_from_slice(b"POST ");
    for piece in path {
        request.extend_from_slice(piece.as_bytes());
    }
    request.extend_from_slice(b" HTTP/1.1\r\n");
    request.extend_from_slice(headers.as_bytes());
    request.extend_from_slice(b"content-type: application/json\r\ncontent-length: ");
    write(request, format_args!("{}\r\n\r\n", body.len()));
    request.extend_from_slice(body);
}

fn write(bytes: &mut Vec<u8>, text: Arguments<'_>) {
    bytes.write_fmt(text).expect("a Vec takes every write");
}

/// What stands before `/log` and `/query`: nothing for one shard; the shards of so many days, the
/// last of which is that of `now_ms`.
fn shards(days: u32, now_ms: u64) -> Vec<String> {
    if days <= 1 {
        return vec![String::new()];
    }
    let today = i64::try_from(now_ms).ok().and_then(DateTime::from_timestamp_millis);
    let today = today.map_or(NaiveDate::MIN, |time| time.date_naive());
    (0..days)
        .rev()
        .filter_map(|back| today.checked_sub_signed(TimeDelta::days(back.into())))
        .map(|day| format!("/do/AUDIT_LOGGER/name/{}", day.format("%Y-%m-%d")))
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde_json::{Value, json};

    use super::super::keys::Distribution;
    use super::*;

    /// 2024-03-01T12:00:00Z.
    const NOW_MS: u64 = 1_709_294_400_000;

    fn composer(mix: &str, days: u32) -> Composer {
        let subject = Subject {
            mix: mix.parse().unwrap(),
            keys: Keys::new(Distribution::Sequential, 1_000_000, 0.0).unwrap(),
            prefix: "user-".into(),
            kind: "bench".into(),
            limit: 7,
            window_ms: 60_000,
            types: 20,
            details_bytes: 300,
            days,
            now_ms: NOW_MS,
            hour_end_ms: NOW_MS,
        };
        Composer::new(subject, StdRng::seed_from_u64(1))
    }

    /// What was asked, the head's lines and the body of the next request.
    fn next(composer: &mut Composer) -> (Asked, Vec<String>, String) {
        let mut request = b"left over".to_vec();
        let asked = composer.compose(&headers("127.0.0.1:7001", None), &mut request);
        let text = String::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head: Vec<_> = head.split("\r\n").map(String::from).collect();
        assert_eq!(head[1], "host: 127.0.0.1:7001");
        assert_eq!(head[3], format!("content-length: {}", body.len()));
        (asked, head, body.to_owned())
    }

    #[test]
    fn a_token_is_sent_with_every_request() {
        let mut request = Vec::new();
        frame(&mut request, &headers("h:1", Some("Bearer tk_a_b")), &["/check"], b"{}");
        let text = String::from_utf8(request).unwrap();
        let head = "POST /check HTTP/1.1\r\nhost: h:1\r\nauthorization: Bearer tk_a_b\r\n";
        assert!(text.starts_with(head) && text.ends_with("content-length: 2\r\n\r\n{}"), "{text}");
    }

    #[test]
    fn checks() {
        let mut composer = composer("check=1", 1);
        next(&mut composer);
        let (asked, head, body) = next(&mut composer);
        assert_eq!(asked, Asked::Check { number: 1 });
        assert_eq!(head[0], "POST /check HTTP/1.1");
        let expected = json!({
            "identifier": "user-1", "type": "bench",
            "config": {"requests": 7, "windowMs": 60_000}
        });
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn entries_go_to_the_days_in_turn_and_have_details_of_their_size() {
        let mut composer = composer("log=1", 3);
        for day in ["2024-02-28", "2024-02-29", "2024-03-01", "2024-02-28"] {
            let (asked, head, body) = next(&mut composer);
            assert_eq!(asked, Asked::Log);
            assert_eq!(head[0], format!("POST /do/AUDIT_LOGGER/name/{day}/log HTTP/1.1"));
            let entry: Value = serde_json::from_str(&body).unwrap();
            assert!(entry["type"].as_str().unwrap().starts_with("bench-"));
            assert_eq!(entry["details"].to_string().len(), 300);
        }
    }

    #[test]
    fn queries_ask_for_one_type_and_one_hour() {
        let mut composer = composer("query=1", 1);
        let (asked, head, body) = next(&mut composer);
        assert_eq!(head[0], "POST /query HTTP/1.1");
        let Asked::Query { type_number } = asked else { panic!("{asked:?}") };
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["type"], format!("bench-{type_number}"));
        assert_eq!(
            body["endTime"].as_u64().unwrap() - body["startTime"].as_u64().unwrap(),
            3_599_999
        );
        assert_eq!(body["limit"], 100);
    }
}
