//! What one client has sent to one node and was told, over all lives of that node.
//!
//! A client sends one request after another, so after each answer it knows what must hold: an entry
//! that was acknowledged is there, and a limiter's count is one of a few, as many as requests of
//! unknown fate allow. An answer that contradicts this fails the test at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::cluster::{Answer, Api, check_body};

/// The node of a cluster of one.
const NODE: u64 = 1;
/// Longer than any test.
const WINDOW_MS: u64 = 24 * 60 * 60 * 1000;
/// Limits of the limiters: one is soon reached, one never.
const LIMITS: [u64; 3] = [3, 40, 1_000_000];
/// Of this many requests to limiters one is a reset.
const RESET_EVERY: usize = 23;
/// Fills the log, so that it is soon cut.
const FILLING_BYTES: usize = 700;

/// What the clients of a load tell each other.
#[derive(Default)]
pub struct Desk {
    /// Requests that were answered.
    pub answered: AtomicUsize,
    /// Set when they are to end.
    pub closed: AtomicBool,
}

/// What one client knows.
#[derive(Clone)]
pub struct Book {
    /// The type of its entries, and the start of its limiters' identifiers.
    name: String,
    /// By the number of the entry: its id, or none if its fate is unknown.
    entries: Vec<Option<String>>,
    /// What each limiter may have admitted since its last reset.
    counts: [BTreeSet<u64>; LIMITS.len()],
    turns: usize,
}

/// An answer, or whether the request may have been carried out without one.
enum Fate {
    Answered(Answer),
    Unchanged,
    Unknown,
}

impl Book {
    /// Of a client that has sent nothing.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            entries: Vec::new(),
            counts: std::array::from_fn(|_| BTreeSet::from([0])),
            turns: 0,
        }
    }

    /// Sends an entry and a request to a limiter in turn, until the desk is closed or a request gets
    /// no answer.
    pub async fn send(&mut self, api: &Api, desk: &Desk) {
        while !desk.closed.load(Ordering::Relaxed) {
            if !self.log(api).await || !self.limit(api).await {
                return;
            }
            desk.answered.fetch_add(2, Ordering::Relaxed);
        }
    }

    /// Compares what the node now says with all that it was sent, after one request more of each
    /// kind.
    pub async fn verify(&mut self, api: &Api) {
        for _ in 0..LIMITS.len() {
            assert!(self.log(api).await && self.limit(api).await, "the node serves again");
        }
        let path = format!("/export?format=ndjson&order=asc&type={}", self.name);
        let export = Answer::of(api.request(Method::GET, NODE, &path)).await.expect("an export");
        let text = export.text();
        let mut found = BTreeMap::<usize, Vec<String>>::new();
        let (mut last_id, mut last_ms) = (String::new(), 0);
        for line in text.lines() {
            let entry: Value = serde_json::from_str(line).expect("a line is an entry");
            let id = entry["id"].as_str().expect("an id").to_owned();
            let at_ms = entry["timestamp"].as_u64().expect("a timestamp");
            assert!(last_id < id && last_ms <= at_ms, "{id} after {last_id}");
            let number = entry["details"]["number"].as_u64().expect("a number");
            let number = usize::try_from(number).expect("a small number");
            assert_eq!(entry["details"]["filling"], filling(number), "the bytes of {number}");
            found.entry(number).or_default().push(id.clone());
            (last_id, last_ms) = (id, at_ms);
        }
        for (number, sent) in self.entries.iter().enumerate() {
            let ids = found.remove(&number).unwrap_or_default();
            match sent {
                Some(id) => assert_eq!(
                    ids,
                    std::slice::from_ref(id),
                    "entry {number} of {}, which was acknowledged",
                    self.entries.len()
                ),
                None => assert!(ids.len() <= 1, "entry {number} is there twice: {ids:?}"),
            }
        }
        assert!(found.is_empty(), "entries that nobody sent: {found:?}");
        let ids: Vec<_> = self.entries.iter().flatten().collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "ids in the order of the requests");
    }

    /// Logs an entry; whether it was acknowledged.
    async fn log(&mut self, api: &Api) -> bool {
        let number = self.entries.len();
        let details = json!({"number": number, "filling": filling(number)});
        let body = json!({"type": self.name, "action": "entry", "details": details});
        let fate = post(api, "/log", body.to_string()).await;
        if let Fate::Answered(answer) = &fate {
            assert_eq!(answer.status, 200, "{}", answer.text());
            let id = answer.json()["id"].as_str().expect("an id").to_owned();
            self.entries.push(Some(id));
            return true;
        }
        // Of those that were not carried out none may be there, and nobody sends their number again.
        if matches!(fate, Fate::Unknown) {
            self.entries.push(None);
        }
        false
    }

    /// Checks or resets the limiter whose turn it is; whether there was an answer.
    async fn limit(&mut self, api: &Api) -> bool {
        self.turns += 1;
        let (position, is_reset) =
            (self.turns % LIMITS.len(), self.turns.is_multiple_of(RESET_EVERY));
        let (limit, counts) = (LIMITS[position], &mut self.counts[position]);
        let identifier = format!("{}-{position}", self.name);
        let fate = if is_reset {
            post(api, "/reset", json!({"identifier": identifier}).to_string()).await
        } else {
            post(api, "/check", check_body(&identifier, limit, WINDOW_MS)).await
        };
        let count = match (fate, is_reset) {
            (Fate::Unchanged, _) => return false,
            (Fate::Unknown, true) => {
                counts.insert(0);
                return false;
            }
            (Fate::Unknown, false) => {
                let more: Vec<u64> = counts.iter().map(|count| (count + 1).min(limit)).collect();
                counts.extend(more);
                return false;
            }
            (Fate::Answered(answer), true) => {
                assert_eq!(answer.status, 200, "{}", answer.text());
                0
            }
            (Fate::Answered(answer), false) if answer.status == 200 => {
                let remaining = answer.json()["remaining"].as_u64().expect("a remaining");
                let count = limit - remaining;
                assert!(
                    counts.contains(&(count - 1)),
                    "{identifier}: {remaining} of {limit} are left, and there were {counts:?}"
                );
                count
            }
            (Fate::Answered(answer), false) => {
                assert_eq!(answer.status, 429, "{}", answer.text());
                assert!(counts.contains(&limit), "{identifier} refused after {counts:?}");
                limit
            }
        };
        *counts = BTreeSet::from([count]);
        true
    }
}

/// Text that is another for each entry.
fn filling(number: usize) -> String {
    let word = format!("{number:x}.");
    word.repeat(FILLING_BYTES / word.len())
}

async fn post(api: &Api, path: &str, body: String) -> Fate {
    match api.try_post(NODE, path, body).await {
        Ok(answer) if answer.status == 503 => {
            match answer.json()["code"].as_str() {
                // The node says that it has not begun.
                Some("no_leader" | "overloaded") => Fate::Unchanged,
                _ => Fate::Unknown,
            }
        }
        Ok(answer) => Fate::Answered(answer),
        Err(error) if error.is_connect() => Fate::Unchanged,
        Err(_) => Fate::Unknown,
    }
}
