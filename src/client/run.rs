//! One replay under way: what is sent for each line, and what is done about a lost answer.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Error;
use super::cluster::{Cluster, Fault, Turns};
use super::ledger::{Check, Ledger, Verdict};
use super::replay::{Args, COMPLAINTS_MAX, Line};
use super::summary::{Audit, Latencies, UnknownFates};
use super::wire::{CheckBody, Config, EntryBody, EntryDetails, Filter, Page};
use crate::limits::{
    CLIENT_PAUSE, CLIENT_TIMEOUT, QUERY_LIMIT_MAX, REPLAY_PATIENCE, REPLAY_SETTLE, WINDOW_MS_MAX,
};

/// What has happened so far.
pub(super) struct Tally {
    pub(super) admitted: u64,
    pub(super) refused: u64,
    pub(super) errors: u64,
    pub(super) resent: u64,
    pub(super) unknown: UnknownFates,
    pub(super) counted_before: u64,
    pub(super) checks: Latencies,
    pub(super) logs: Latencies,
}

/// One replay under way.
pub(super) struct Run {
    cluster: Cluster,
    kind: String,
    entry_type: String,
    config: Config,
    /// Begins the id of each of the run's entries.
    prefix: String,
    /// No entry of this run has an earlier timestamp, by the cluster's clock.
    since_ms: Option<u64>,
    permits: Semaphore,
    pub(super) tally: Mutex<Tally>,
    pub(super) bar: ProgressBar,
}

impl Run {
    /// Connects, and learns where in the audit log this run begins: at the newest entry there is,
    /// since the cluster's clock never goes back and this machine's may differ from it.
    pub(super) async fn begin(args: &Args, lines: u64) -> Result<Self, Error> {
        let cluster = Cluster::new(&args.endpoints)?;
        let entry_type = format!("{}_request", args.kind);
        let newest =
            Filter { r#type: &entry_type, ip: None, start_time: None, limit: 1, cursor: None };
        let newest: Page =
            cluster.ask(0, "/query", &newest, CLIENT_TIMEOUT).await.map_err(Error::Cluster)?;
        let style = "{bar:40} {pos}/{len} lines  {per_sec}  {elapsed}";
        let style = ProgressStyle::with_template(style).expect("the template is well-formed");
        Ok(Self {
            cluster,
            kind: args.kind.clone(),
            config: Config {
                requests: args.requests,
                window_ms: u64::try_from(args.window.as_millis()).unwrap_or(WINDOW_MS_MAX),
            },
            entry_type,
            prefix: format!("{}-", Uuid::now_v7()),
            since_ms: newest.entries.first().map(|entry| entry.timestamp),
            permits: Semaphore::new(args.concurrency),
            tally: Mutex::new(Tally {
                admitted: 0,
                refused: 0,
                errors: 0,
                resent: 0,
                unknown: UnknownFates::default(),
                counted_before: 0,
                checks: Latencies::new(),
                logs: Latencies::new(),
            }),
            bar: ProgressBar::new(lines).with_style(style),
        })
    }

    /// Sends the lines of one address: the checks in order, each entry as soon as its verdict is
    /// known, beside the checks that follow.
    pub(super) async fn address(self: Arc<Self>, lines: Vec<Line>) {
        let mut ledger = Ledger::new(self.config.requests);
        let mut entries = JoinSet::new();
        for line in lines {
            match self.check(&mut ledger, &line).await {
                Ok(verdict) => {
                    let run = self.clone();
                    entries.spawn(async move { run.finish(&line, run.log(&line, verdict).await) });
                }
                Err(why) => self.finish(&line, Err(why)),
            }
        }
        entries.join_all().await;
        let mut tally = lock(&self.tally);
        tally.unknown.checks_found += ledger.found();
        tally.counted_before += u64::from(ledger.foreign() > 0);
    }

    /// Gets the verdict on a line, or says why there is none.
    async fn check(&self, ledger: &mut Ledger, line: &Line) -> Result<Verdict, String> {
        let verdict =
            if ledger.claim() { Verdict::Admitted } else { self.send_check(ledger, line).await? };
        let mut tally = lock(&self.tally);
        match verdict {
            Verdict::Admitted => tally.admitted += 1,
            Verdict::Refused => tally.refused += 1,
        }
        Ok(verdict)
    }

    async fn send_check(&self, ledger: &mut Ledger, line: &Line) -> Result<Verdict, String> {
        let body = CheckBody {
            identifier: &line.request.address,
            config: Some(self.config),
            r#type: Some(&self.kind),
        };
        let _permit = self.permit().await;
        let began = Instant::now();
        let mut turns = self.turns(line);
        loop {
            let sent = self.cluster.send(turns.turn(), Method::POST, "/check", Some(&body)).await;
            let why = match sent.and_then(|answer| answer.json::<Check>()) {
                Ok(check) => {
                    lock(&self.tally).checks.record(began.elapsed());
                    return Ok(ledger.answer(check));
                }
                Err(Fault::Rejected(why)) => return Err(why),
                Err(Fault::Unchanged(why)) => why,
                Err(Fault::Unknown(why)) => {
                    ledger.lose();
                    lock(&self.tally).unknown.checks += 1;
                    why
                }
            };
            if !turns.failed(why.clone()).await {
                return Err(format!("no verdict in time: {why}"));
            }
            lock(&self.tally).resent += 1;
        }
    }

    /// Writes a line's audit entry, once.
    async fn log(&self, line: &Line, verdict: Verdict) -> Result<(), String> {
        let id = format!("{}{}", self.prefix, line.number);
        let body = EntryBody {
            id: &id,
            r#type: &self.entry_type,
            action: "http_request",
            user_id: line.request.user.as_deref(),
            ip: &line.request.address,
            details: EntryDetails {
                request: &line.request.details,
                allowed: verdict == Verdict::Admitted,
            },
        };
        let _permit = self.permit().await;
        let began = Instant::now();
        let mut turns = self.turns(line);
        loop {
            let sent = self.cluster.send(turns.turn(), Method::POST, "/log", Some(&body)).await;
            let why = match sent {
                Ok(_) => break,
                Err(Fault::Rejected(why)) => return Err(why),
                Err(Fault::Unchanged(why)) => why,
                Err(Fault::Unknown(why)) => {
                    lock(&self.tally).unknown.logs += 1;
                    if self.settle(line, &id, &turns).await? {
                        lock(&self.tally).unknown.logs_found += 1;
                        break;
                    }
                    why
                }
            };
            if !turns.failed(why.clone()).await {
                return Err(format!("the entry was not confirmed in time: {why}"));
            }
            lock(&self.tally).resent += 1;
        }
        lock(&self.tally).logs.record(began.elapsed());
        Ok(())
    }

    /// Whether the entry `id`, whose answer was just lost, is in the audit log. A no is given only
    /// by a search that began when the request could no longer be under way inside the cluster.
    async fn settle(&self, line: &Line, id: &str, turns: &Turns) -> Result<bool, String> {
        let settled = Instant::now() + REPLAY_SETTLE;
        loop {
            let last = Instant::now() >= settled;
            let mut found = false;
            let see = |seen: &str| {
                found = seen == id;
                if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            // Not at the node that has just failed.
            let first = turns.turn() + 1;
            self.scan(first, Some(&line.request.address), turns.left(), see).await?;
            if found || last {
                return Ok(found);
            }
            sleep(CLIENT_PAUSE).await;
        }
    }

    /// Shows `see` the ids of this run's entries, newest first, until it has seen enough.
    async fn scan(
        &self,
        first: usize,
        ip: Option<&str>,
        patience: Duration,
        mut see: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let mut filter = Filter {
            r#type: &self.entry_type,
            ip,
            start_time: self.since_ms,
            limit: QUERY_LIMIT_MAX,
            cursor: None,
        };
        loop {
            let page: Page = self.cluster.ask(first, "/query", &filter, patience).await?;
            let ids = page.entries.iter().filter_map(|entry| entry.client_id.as_str());
            for id in ids.filter(|id| id.starts_with(&self.prefix)) {
                if see(id).is_break() {
                    return Ok(());
                }
            }
            match page.cursor {
                Some(cursor) => filter.cursor = Some(cursor),
                None => return Ok(()),
            }
        }
    }

    /// Counts this run's entries in the audit log.
    pub(super) async fn audit(&self, lines: u64) -> Result<Audit, String> {
        let mut entries: BTreeMap<String, u64> = BTreeMap::new();
        let see = |id: &str| {
            *entries.entry(id.to_owned()).or_default() += 1;
            ControlFlow::Continue(())
        };
        self.scan(0, None, REPLAY_PATIENCE, see).await?;
        let (ids, entries) = (entries.len() as u64, entries.values().sum::<u64>());
        Ok(Audit { entries, missing: lines - ids, doubled: entries - ids })
    }

    /// A line is done with.
    fn finish(&self, line: &Line, done: Result<(), String>) {
        self.bar.inc(1);
        if let Err(why) = done {
            let mut tally = lock(&self.tally);
            tally.errors += 1;
            if tally.errors <= COMPLAINTS_MAX {
                self.bar.suspend(|| eprintln!("line {}: {why}", line.number));
            }
        }
    }

    /// The nodes for a line, beginning with the one whose turn it is.
    fn turns(&self, line: &Line) -> Turns {
        let first = usize::try_from(line.number % self.cluster.endpoints().len() as u64);
        Turns::new(&self.cluster, first.unwrap_or(0), REPLAY_PATIENCE)
    }

    /// Leave to have one request under way.
    async fn permit(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("the semaphore is never closed")
    }
}

/// Locks; a panic elsewhere ends the run by itself, so that it need not end it here too.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
