//! What clients asked, when, and what they were told.

use std::fmt;
use std::time::Duration;

use tallykeep::machine::{Credited, Decision};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A check that is always admitted: its `remaining` is its place among all of `key`.
    Count { key: u64 },
    /// A check against a small limit that nobody resets.
    Limited { key: u64 },
    /// A check against a small limit, of a long window.
    Contended { key: u64 },
    /// Forgets what was counted of such a limiter.
    Reset { key: u64 },
    /// Gives back some of it.
    Credit { key: u64 },
    /// An audit entry of its own number.
    Log { number: u64 },
    /// How often `key` was counted.
    ReadCount { key: u64 },
    /// Whether an entry is there that was acknowledged before.
    ReadLog { number: u64 },
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Decided(Decision),
    Reset,
    Credited(Credited),
    Logged,
    Count(u64),
    Found(bool),
    /// Nothing was changed, says the node.
    Unchanged(&'static str),
    /// It may have been carried out or not, or still may be.
    Unknown,
}

/// A request and its answer. `asked_at` and `told_at` are places in the order of all such events, by
/// which one request is known to have ended before another began.
#[derive(Clone)]
pub struct Call {
    pub client: u64,
    pub node: u64,
    pub ask: Ask,
    pub asked: Duration,
    pub asked_at: u64,
    pub told: Told,
    /// None while it is under way.
    pub told_at: Option<u64>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, node, ask, asked, asked_at, told, told_at } = self;
        let told_at = told_at.map_or_else(String::new, |at| format!(", told as event {at}"));
        write!(
            f,
            "client {client} at node {node} after {} ms: {ask:?} (event {asked_at}{told_at}) came to \
             {told:?}",
            asked.as_millis()
        )
    }
}

/// All requests, in the order in which they were asked.
#[derive(Default)]
pub struct History {
    pub calls: Vec<Call>,
    events: u64,
    logged: Vec<u64>,
}

impl History {
    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Begins a request; gives its position.
    pub fn ask(&mut self, client: u64, node: u64, ask: Ask, asked: Duration) -> usize {
        let asked_at = self.event();
        let told = Told::Unknown;
        self.calls.push(Call { client, node, ask, asked, asked_at, told, told_at: None });
        self.calls.len() - 1
    }

    /// Ends it.
    pub fn tell(&mut self, position: usize, told: Told) {
        let event = self.event();
        let call = &mut self.calls[position];
        // What is not known to have ended has not.
        call.told_at = (told != Told::Unknown).then_some(event);
        call.told = told;
        if let (Ask::Log { number }, Told::Logged) = (&call.ask, &call.told) {
            self.logged.push(*number);
        }
    }

    /// A number for the next entry.
    pub fn next_number(&self) -> u64 {
        self.calls.len() as u64
    }

    /// The acknowledged entries.
    pub fn logged(&self) -> &[u64] {
        &self.logged
    }
}
