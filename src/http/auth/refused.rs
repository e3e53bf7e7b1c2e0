//! Refused logins, counted and recorded: one entry for each source and minute, however many come.
//!
//! So a flood of them is seen, and fills no disk. What could not be recorded is counted on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::record::Record;
use super::table::{Bearer, Unknown};
use crate::limits;

/// What came from one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    missing: u64,
    invalid: u64,
    expired: u64,
    /// Of a token that is good, but not for this.
    forbidden: u64,
    /// The id and the name of the last token among the forbidden ones.
    bearer: Option<(String, String)>,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.invalid += other.invalid;
        self.expired += other.expired;
        self.forbidden += other.forbidden;
        self.bearer = other.bearer.or(self.bearer.take());
    }

    /// The audit entry.
    fn entry(&self, source: Option<IpAddr>) -> Value {
        let Self { missing, invalid, expired, forbidden, bearer } = self;
        let count = missing + invalid + expired + forbidden;
        let mut details = json!({"count": count, "missing": missing, "invalid": invalid,
            "expired": expired, "forbidden": forbidden});
        let mut entry = json!({"type": "login", "action": "refused"});
        if let Some((id, name)) = bearer {
            entry["userId"] = json!(id);
            details["tokenName"] = json!(name);
        }
        match source {
            Some(ip) => entry["ip"] = json!(ip),
            None => details["sources"] = json!("further ones"),
        }
        entry["details"] = details;
        entry
    }
}

/// What has come since it was recorded last.
#[derive(Default)]
struct Seen {
    sources: HashMap<IpAddr, Counts>,
    /// Of those for which there was no room.
    others: Counts,
}

impl Seen {
    fn add(&mut self, source: Option<IpAddr>, counts: Counts) {
        let is_room = self.sources.len() < limits::REFUSED_LOGINS_SOURCES_MAX;
        match source.filter(|ip| is_room || self.sources.contains_key(ip)) {
            Some(ip) => self.sources.entry(ip).or_default().add(counts),
            None => self.others.add(counts),
        }
    }

    fn take(&mut self) -> Vec<(Option<IpAddr>, Counts)> {
        let Self { sources, others } = std::mem::take(self);
        let others = Some((None, others)).filter(|(_, counts)| *counts != Counts::default());
        sources.into_iter().map(|(ip, counts)| (Some(ip), counts)).chain(others).collect()
    }
}

/// The refused logins of a node.
#[derive(Default)]
pub(super) struct Refused {
    seen: Mutex<Seen>,
    some: Notify,
}

impl Refused {
    /// Counts a request without a good token.
    pub(super) fn login(&self, source: IpAddr, why: Unknown) {
        let mut counts = Counts::default();
        match why {
            Unknown::Missing => counts.missing = 1,
            Unknown::Invalid => counts.invalid = 1,
            Unknown::Expired => counts.expired = 1,
        }
        self.count(Some(source), counts);
    }

    /// Counts a request that its token is not good for.
    pub(super) fn request(&self, source: IpAddr, bearer: &Bearer) {
        let bearer = Some((bearer.id.clone(), bearer.token.name.clone()));
        self.count(Some(source), Counts { forbidden: 1, bearer, ..Counts::default() });
    }

    fn count(&self, source: Option<IpAddr>, counts: Counts) {
        self.seen().add(source, counts);
        self.some.notify_one();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records them, for as long as the node runs.
    pub(super) async fn record(&self, record: &Record) {
        loop {
            self.some.notified().await;
            sleep(limits::REFUSED_LOGINS_LINGER).await;
            let seen = self.seen().take();
            for (source, counts) in seen {
                let written = record.write(&counts.entry(source)).await;
                if let Err(error) = written {
                    tracing::warn!(%error, "refused logins cannot be recorded yet");
                    self.count(source, counts);
                }
            }
            sleep(limits::REFUSED_LOGINS_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(last).unwrap()])
    }

    #[test]
    fn a_flood_comes_to_few_entries_and_nothing_is_lost() {
        let refused = Refused::default();
        for number in 0..1000 {
            refused.login(ip(number % 100), Unknown::Invalid);
            refused.login(ip(0), Unknown::Missing);
        }
        let seen = refused.seen().take();
        assert_eq!(seen.len(), limits::REFUSED_LOGINS_SOURCES_MAX + 1);
        let sum = |of: fn(&Counts) -> u64| seen.iter().map(|(_, counts)| of(counts)).sum::<u64>();
        assert_eq!((sum(|one| one.missing), sum(|one| one.invalid)), (1000, 1000));
        let first = seen.iter().find(|(source, _)| *source == Some(ip(0))).unwrap();
        assert_eq!((first.1.missing, first.1.invalid), (1000, 10));
        assert!(refused.seen().take().is_empty());
        // What is put back is counted with what came meanwhile.
        refused.login(ip(0), Unknown::Expired);
        for (source, counts) in seen {
            refused.count(source, counts);
        }
        let again = refused.seen().take();
        let first = again.iter().find(|(source, _)| *source == Some(ip(0))).unwrap();
        assert_eq!((first.1.missing, first.1.expired), (1000, 1));
    }

    #[test]
    fn an_entry_says_how_many_and_from_where() {
        let bearer = Some(("00ff".to_owned(), "ci".to_owned()));
        let counts = Counts { invalid: 2, forbidden: 1, bearer, ..Counts::default() };
        let expected = json!({"type": "login", "action": "refused", "userId": "00ff",
            "ip": "10.0.0.7", "details": {"count": 3, "missing": 0, "invalid": 2, "expired": 0,
            "forbidden": 1, "tokenName": "ci"}});
        assert_eq!(counts.entry(Some(ip(7))), expected);
        let entry = Counts { missing: 1, ..Counts::default() }.entry(None);
        assert!(entry.get("ip").is_none() && entry.get("userId").is_none(), "{entry}");
    }
}
