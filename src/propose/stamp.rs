//! What the leader stamps: the time of each batch, and the ids of entries.
//!
//! A stamp is the cluster's clock, see `raft/clock.rs`, counted on from the leader's own last stamps:
//! those that are under way are not applied yet.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rand::Rng;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::machine::{
    Append, Change, Draft, Keeping, Namespace, NamespaceId, ObjectRef, Once, Request, ShardRef,
    Stamped, StampedChange,
};
use crate::raft::Node;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a new leader waits for its peers' clocks, if its own is far ahead of the log.
const JUDGE_TIMEOUT: Duration = Duration::from_millis(500);

/// Stamps requests: the only place where time and randomness enter the log.
#[derive(Default)]
pub(super) struct Stamper {
    term: u64,
    at_ms: u64,
    /// The last stamp that the wall clock gave, and when, by the monotonic clock: stamps advance
    /// from there. Not from the last stamp, or each would lose a fraction of a millisecond.
    base: (u64, Duration),
    /// Entries stamped with `at_ms` so far.
    counter: u32,
    /// The shard by date of the day that was stamped last.
    day: Option<(NamespaceId, u32, ObjectRef)>,
    /// This node's settings for idempotency keys.
    keeping: Keeping,
    /// This node's retention of audit entries, in ms.
    retention_ms: u64,
}

impl Stamper {
    pub(super) fn new(keeping: Keeping, retention_ms: u64) -> Self {
        Self { keeping, retention_ms, ..Self::default() }
    }

    /// Begins a batch of the leader of `term`; gives its time.
    pub(super) async fn begin(&mut self, node: &Node, term: u64) -> u64 {
        let at_ms = if self.term == term {
            let (base_ms, base_at) = self.base;
            let now = node.monotonic();
            let passed = now.saturating_sub(base_at).as_millis();
            let expected_ms = base_ms + u64::try_from(passed).unwrap_or(u64::MAX);
            let at_ms = node.follow_clock(expected_ms);
            if at_ms != expected_ms {
                self.base = (at_ms, now);
            }
            at_ms
        } else {
            let waiting = Instant::now();
            while node.clock_is_far_ahead()
                && !node.clock_is_judged()
                && waiting.elapsed() < JUDGE_TIMEOUT
            {
                sleep(Duration::from_millis(5)).await;
            }
            // A millisecond of its own, so that ids go on sorting behind those of the last leader.
            let at_ms = node.now_ms().max(node.progress().borrow().now_ms + 1);
            self.base = (at_ms, node.monotonic());
            at_ms
        };
        if at_ms != self.at_ms {
            self.counter = 0;
        }
        self.term = term;
        self.at_ms = at_ms;
        at_ms
    }

    /// The command that a request becomes in the batch that was begun.
    pub(super) fn stamp<'a>(&mut self, request: &'a Request) -> Stamped<'a> {
        match request {
            Request::OpenSession { node } => Stamped::OpenSession { node: *node },
            Request::Check(check) => Stamped::Check(check),
            Request::Reset(reset) => Stamped::Reset(reset),
            Request::Log(draft) => Stamped::Append(self.append(draft)),
            Request::Tick(tick) => Stamped::Tick(tick),
            Request::Raise { version } => Stamped::Raise { version: *version },
            Request::Changes { key, changes } => Stamped::Changes {
                once: key.map(|key| Once { key, keeping: self.keeping }),
                changes: changes.iter().map(|change| self.change(change)).collect(),
            },
            Request::Import(import) => Stamped::Import { retention_ms: self.retention_ms, import },
            Request::CheckByPolicy(check) => Stamped::CheckByPolicy(check),
            Request::SetPolicy(set) => Stamped::SetPolicy(set),
            Request::SeedPolicies(policies) => Stamped::SeedPolicies { policies },
            Request::CreateToken(new) => Stamped::CreateToken(new),
            Request::RevokeToken { id } => Stamped::RevokeToken { id: *id },
            Request::Credit(credit) => Stamped::Credit(credit),
            Request::CreateLimitedToken(limited) => Stamped::CreateLimitedToken(limited),
            Request::SetQuotas(quotas) => Stamped::SetQuotas { quotas },
        }
    }

    fn change<'a>(&mut self, change: &'a Change) -> StampedChange<'a> {
        match change {
            Change::Check(check) => StampedChange::Check(check),
            Change::Reset(reset) => StampedChange::Reset(reset),
            Change::Log(draft) => StampedChange::Log(self.append(draft)),
            Change::CheckByPolicy(check) => StampedChange::CheckByPolicy(check),
            Change::Credit(credit) => StampedChange::Credit(credit),
        }
    }

    fn append(&mut self, draft: &Draft) -> Append {
        let id = self.id();
        let (object, day) = match &draft.shard {
            ShardRef::Day { namespace, key } => {
                let (object, day) = self.today(*namespace, key);
                (object, Some(day))
            }
            ShardRef::Object { object, key } => match &object.name {
                Some(name) => (object.clone(), named_day(name)),
                // By its id alone: the guide's client makes the id of the day's name by itself.
                None => match self.today(object.namespace, key) {
                    (today, day) if today.id == object.id => (today, Some(day)),
                    _ => (object.clone(), None),
                },
            },
        };
        Append { object, day, id, terms: draft.terms, body: body(id, self.at_ms, &draft.members) }
    }

    /// The shard of the day of the stamp, and the day.
    fn today(&mut self, namespace: NamespaceId, key: &[u8; 32]) -> (ObjectRef, u32) {
        let day = day_of(self.at_ms);
        match &self.day {
            Some((of, on, object)) if (*of, *on) == (namespace, day) => (object.clone(), day),
            _ => {
                let object = Namespace::from_key(*key).object(&day_name(day));
                self.day = Some((namespace, day, object.clone()));
                (object, day)
            }
        }
    }

    /// A UUIDv7 (RFC 9562, section 6.2, method 1): ms ‖ a counter of 26 bits ‖ 48 random bits.
    fn id(&mut self) -> [u8; 16] {
        let counter = self.counter;
        self.counter += 1;
        let mut tail = [0; 10];
        let high = u16::try_from((counter >> 14) & 0xfff).expect("12 bits");
        let low = u16::try_from(counter & 0x3fff).expect("14 bits");
        tail[..2].copy_from_slice(&high.to_be_bytes());
        tail[2..4].copy_from_slice(&low.to_be_bytes());
        rand::rng().fill(&mut tail[4..]);
        *uuid::Builder::from_unix_timestamp_millis(self.at_ms, &tail).as_uuid().as_bytes()
    }
}

/// The shard by date of the UTC day of `at_ms`, in ms since the Unix epoch, and the day.
pub fn shard_of(namespace: &Namespace, at_ms: u64) -> (ObjectRef, u32) {
    let day = day_of(at_ms);
    (namespace.object(&day_name(day)), day)
}

/// The UTC day of `at_ms`, in days since the Unix epoch.
fn day_of(at_ms: u64) -> u32 {
    u32::try_from(at_ms / DAY_MS).unwrap_or(u32::MAX)
}

/// The name of the shard of `day`, in days since the Unix epoch: `2024-01-15`.
fn day_name(day: u32) -> String {
    let date = chrono::DateTime::from_timestamp_millis((u64::from(day) * DAY_MS).cast_signed());
    date.map_or_else(|| "out-of-range".to_owned(), |date| date.format("%Y-%m-%d").to_string())
}

/// The day that a shard's name is, if it is one as [`day_name`] writes it.
fn named_day(name: &str) -> Option<u32> {
    let date = chrono::NaiveDate::parse_from_str(name, "%Y-%m-%d").ok()?;
    let day = u32::try_from(date.signed_duration_since(chrono::NaiveDate::default()).num_days());
    day.ok().filter(|day| day_name(*day) == name)
}

/// The bytes of an entry: made here, once, and never again.
fn body(id: [u8; 16], at_ms: u64, members: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(members.len() + 80);
    let head = format!("{{\"id\":\"{}\",\"timestamp\":{at_ms},", Uuid::from_bytes(id));
    body.put_slice(head.as_bytes());
    body.put_slice(members);
    body.put_u8(b'}');
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_in_which_they_are_made() {
        let mut stamper = Stamper { at_ms: 1_700_000_000_000, ..Stamper::default() };
        let mut ids: Vec<[u8; 16]> = (0..40_000).map(|_| stamper.id()).collect();
        stamper.at_ms += 1;
        stamper.counter = 0;
        ids.push(stamper.id());
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| Uuid::from_bytes(*id).get_version_num() == 7));
    }

    #[test]
    fn days_have_the_names_of_the_guide() {
        assert_eq!(day_name(19_737), "2024-01-15");
        assert_eq!(day_name(0), "1970-01-01");
        assert_eq!(named_day("2024-01-15"), Some(19_737));
        for name in ["2024-1-15", "2024-02-30", " 2024-01-15", "1969-12-31", "tenant", ""] {
            assert_eq!(named_day(name), None, "{name:?}");
        }
    }
}
