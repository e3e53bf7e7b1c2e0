//! Sends entries to `/admin/import`, a batch at a time, and counts what became of them.

use bytes::Bytes;
use indicatif::ProgressBar;
use serde::Deserialize;

use super::rows::{Entry, Row};
use crate::client::Error;
use crate::client::cluster::{Cluster, Fault, Turns};
use crate::client::replay::COMPLAINTS_MAX;
use crate::limits::IMPORT_PATIENCE;

/// What became of the rows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Rows.
    pub(super) read: u64,
    /// Of these, those that are no entries, by themselves.
    pub(super) malformed: u64,
    /// Rows that are no entries, or not to the cluster.
    pub(super) bad: u64,
    /// Entries that are in the log now.
    pub(super) imported: u64,
    /// Entries that were there, by this run too if an answer was lost.
    pub(super) present: u64,
    /// Entries that are as old as the retention, and were left out.
    pub(super) expired: u64,
    /// Entries that have no place: behind later ones, beside others of their id, or to come.
    pub(super) refused: u64,
    /// Entries for which their object, or the binding, has no room.
    pub(super) full: u64,
    /// Requests whose answer was lost, and which were sent again.
    pub(super) resent: u64,
}

impl Tally {
    /// Rows that are entries by themselves.
    pub(super) fn readable(&self) -> u64 {
        self.read - self.malformed
    }
}

/// The answer to a batch.
#[derive(Deserialize)]
struct Answer {
    results: Vec<Placed>,
}

/// The answer to an entry, or its problem.
#[derive(Deserialize)]
struct Placed {
    status: u16,
    #[serde(default)]
    imported: bool,
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
}

/// Sends rows in the order in which they are given to it.
pub(super) struct Sender<'a> {
    cluster: &'a Cluster,
    query: String,
    dry_run: bool,
    /// The node that is asked first: the one that answered last.
    turn: usize,
    bar: ProgressBar,
    pub(super) tally: Tally,
}

impl<'a> Sender<'a> {
    /// With `dry_run` the cluster only reads the entries.
    pub(super) fn new(
        cluster: &'a Cluster,
        keep_expired: bool,
        dry_run: bool,
        bar: ProgressBar,
    ) -> Self {
        let query = format!("keepExpired={keep_expired}&dryRun={dry_run}");
        Self { cluster, query, dry_run, turn: 0, bar, tally: Tally::default() }
    }

    /// Sends a batch until it is answered.
    ///
    /// # Errors
    /// No node answers in time, or one says that it never will.
    pub(super) async fn send(&mut self, rows: Vec<Row>) -> Result<(), Error> {
        let mut sent = Vec::with_capacity(rows.len());
        let mut body = br#"{"entries":["#.to_vec();
        for Row { number, entry } in rows {
            self.tally.read += 1;
            match entry {
                Ok(Entry { text, .. }) => {
                    if !sent.is_empty() {
                        body.push(b',');
                    }
                    body.extend_from_slice(text.as_bytes());
                    sent.push(number);
                }
                Err(why) => {
                    self.tally.malformed += 1;
                    self.bad(number, &why);
                }
            }
        }
        body.extend_from_slice(b"]}");
        if !sent.is_empty() {
            let answer = self.ask(body.into()).await?;
            if answer.results.len() != sent.len() {
                return Err(Error::Cluster("an answer to another number of entries".into()));
            }
            for (number, placed) in sent.into_iter().zip(answer.results) {
                self.count(number, &placed);
            }
        }
        Ok(())
    }

    async fn ask(&mut self, body: Bytes) -> Result<Answer, Error> {
        let mut turns = Turns::new(self.cluster, self.turn, IMPORT_PATIENCE);
        loop {
            let turn = turns.turn();
            let asked = self.cluster.post(turn, "/admin/import", &self.query, body.clone()).await;
            let why = match asked.and_then(|answer| answer.json()) {
                Ok(answer) => {
                    self.turn = turn;
                    return Ok(answer);
                }
                Err(Fault::Rejected(why)) => {
                    return Err(Error::Rejected(format!("/admin/import: {why}")));
                }
                Err(Fault::Unknown(why)) => {
                    self.tally.resent += 1;
                    why
                }
                Err(Fault::Unchanged(why)) => why,
            };
            if !turns.failed(why).await {
                let go_on = if self.dry_run { "" } else { ", so run it again to go on" };
                return Err(turns.gave_up(&format!("no node took the entries in time{go_on}")));
            }
        }
    }

    fn count(&mut self, number: u64, placed: &Placed) {
        if !self.dry_run {
            self.bar.inc(1);
        }
        match (placed.status, placed.code.as_str()) {
            (200, _) if placed.imported => self.tally.imported += 1,
            (200, _) => self.tally.present += 1,
            (_, "import_expired") => self.tally.expired += 1,
            (_, "import_order" | "import_conflict" | "import_future" | "other_class") => {
                self.tally.refused += 1;
                self.complain(self.tally.refused, number, &placed.detail);
            }
            (_, "object_full" | "objects_full") => {
                self.tally.full += 1;
                self.complain(self.tally.full, number, &placed.detail);
            }
            _ => self.bad(number, &placed.detail),
        }
    }

    fn bad(&mut self, number: u64, why: &str) {
        self.tally.bad += 1;
        // They were told when the rows were checked.
        if self.dry_run {
            self.complain(self.tally.bad, number, why);
        }
    }

    fn complain(&self, count: u64, number: u64, why: &str) {
        if count <= COMPLAINTS_MAX {
            self.bar.suspend(|| eprintln!("row {number}: {why}"));
        }
    }
}
