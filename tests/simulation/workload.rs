//! The limiters and entries that clients ask for.

use bytes::Bytes;
use tallykeep::machine::{
    Check, Credit, Draft, Field, Namespace, ObjectRef, Request, Reset, ShardRef, Terms, audit,
};
use tallykeep::query::Scope;

/// Far from being reached.
pub const COUNT_LIMIT: u64 = 1_000_000_000;
/// No window of such a limiter ends before the simulation does.
const LONG_MS: u64 = 24 * 60 * 60 * 1000;

pub const COUNTERS: u64 = 2;
pub const LIMITERS: u64 = 6;
pub const CONTENDED: u64 = 4;
/// What a credit gives back: more than some of the limiters count.
pub const CREDITED: u64 = 2;

/// The limit and the window, in ms, of a limiter that nobody resets: half of them are long.
pub fn limited(key: u64) -> (u64, u64) {
    match key {
        0 => (5, LONG_MS),
        1 => (40, LONG_MS),
        2 => (2, 3_000),
        3 => (5, 700),
        4 => (3, 150),
        _ => (1, 20_000),
    }
}

/// The limit of a limiter that is reset and credited.
pub fn contended(key: u64) -> u64 {
    key + 1
}

fn object(name: &str, key: u64) -> ObjectRef {
    Namespace::new("simulation-RateLimiter").object(&format!("{name}:{key}"))
}

fn check(name: &str, key: u64, requests: u64, window_ms: u64) -> Check {
    let object = object(name, key);
    Check { object, identifier: format!("client-{key}"), requests, window_ms }
}

pub fn count_check(key: u64) -> Check {
    check("counter", key, COUNT_LIMIT, LONG_MS)
}

pub fn limited_check(key: u64) -> Check {
    let (requests, window_ms) = limited(key);
    check("limited", key, requests, window_ms)
}

pub fn contended_check(key: u64) -> Check {
    check("contended", key, contended(key), LONG_MS)
}

pub fn reset(key: u64) -> Request {
    let Check { object, identifier, .. } = contended_check(key);
    Request::Reset(Reset { object, identifier })
}

pub fn credit(key: u64) -> Credit {
    let Check { object, identifier, .. } = contended_check(key);
    Credit { object, identifier, amount: CREDITED }
}

fn audit_namespace() -> Namespace {
    Namespace::new("simulation-AuditLogger")
}

/// The `action` of an entry.
pub fn action(number: u64) -> String {
    format!("action-{number}")
}

/// The number in an entry's body.
pub fn number_in(body: &[u8]) -> Option<u64> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body["action"].as_str()?.strip_prefix("action-")?.parse().ok()
}

pub fn log(number: u64) -> Request {
    let namespace = audit_namespace();
    let mut terms = Terms::default();
    terms[Field::Type as usize] = Some(audit::term("simulated"));
    terms[Field::Action as usize] = Some(audit::term(&action(number)));
    let members = format!(r#""type":"simulated","action":"{}","details":{{}}"#, action(number));
    let shard = ShardRef::Day { namespace: namespace.id(), key: *namespace.key() };
    Request::Log(Draft { shard, terms, members: Bytes::from(members) })
}

/// All entries.
pub fn all_entries() -> Scope {
    Scope::Namespace(audit_namespace().id())
}
