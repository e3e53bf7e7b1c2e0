//! What a replay came to: collected while it runs, printed at its end.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart, in µs: two minutes.
const LATENCY_US_MAX: u64 = 120_000_000;

/// The result of a replay. In JSON the names are in camel case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Lines that were sent.
    pub lines: u64,
    /// Lines that are not in the format, and were left out.
    pub malformed: u64,
    /// Lines that were within the limit.
    pub admitted: u64,
    /// Lines that were over it.
    pub refused: u64,
    /// Lines that got no verdict, or whose entry was not confirmed.
    pub errors: u64,
    /// Further attempts, at the next node, after one that gave no answer; a node that is down costs
    /// one for each request whose turn it had.
    pub resent: u64,
    /// Answers that were lost.
    pub unknown_fates: UnknownFates,
    /// Identifiers whose window held counts that are not this run's.
    pub identifiers_counted_before: u64,
    /// What the audit log holds of this run.
    pub audit: Audit,
    /// How long it took, in ms, without the look into the audit log.
    pub elapsed_ms: u64,
    /// Checks and entries answered, per second.
    pub rate: f64,
    /// Latencies from the first sending to the answer, retries included.
    pub latency: Latency,
}

/// Answers that were lost, and the fates that could be told nonetheless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnknownFates {
    /// Of checks.
    pub checks: u64,
    /// Of checks: those that a later answer showed to have been counted.
    pub checks_found: u64,
    /// Of entries.
    pub logs: u64,
    /// Of entries: those that were found in the audit log.
    pub logs_found: u64,
}

/// What the audit log holds of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Entries of this run.
    pub entries: u64,
    /// Lines that have none.
    pub missing: u64,
    /// Entries beyond the first of a line.
    pub doubled: u64,
}

/// Latencies of the two kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Of `POST /check`.
    pub check: Percentiles,
    /// Of `POST /log`.
    pub log: Percentiles,
}

/// Percentiles of a latency, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    /// The median.
    pub p50_ms: f64,
    /// The 90th percentile.
    pub p90_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Summary {
    /// Whether every line has its verdict and exactly one audit entry.
    pub fn is_whole(&self) -> bool {
        self.errors == 0 && self.audit.entries == self.lines && self.audit.missing == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fates = &self.unknown_fates;
        writeln!(f, "lines          {:>9}", self.lines)?;
        if self.malformed > 0 {
            writeln!(f, "malformed      {:>9}  (left out)", self.malformed)?;
        }
        writeln!(f, "admitted       {:>9}", self.admitted)?;
        writeln!(f, "refused        {:>9}", self.refused)?;
        writeln!(f, "errors         {:>9}", self.errors)?;
        writeln!(f, "tried again    {:>9}", self.resent)?;
        writeln!(
            f,
            "answers lost   {:>9}  ({} checks, {} found counted; {} entries, {} found)",
            fates.checks + fates.logs,
            fates.checks,
            fates.checks_found,
            fates.logs,
            fates.logs_found
        )?;
        writeln!(
            f,
            "audit entries  {:>9}  ({} missing, {} doubled)",
            self.audit.entries, self.audit.missing, self.audit.doubled
        )?;
        writeln!(f, "elapsed        {:>9.2} s", self.elapsed_ms as f64 / 1000.0)?;
        writeln!(f, "rate           {:>9.0} requests/s", self.rate)?;
        for (name, latency) in [("check", &self.latency.check), ("log", &self.latency.log)] {
            writeln!(
                f,
                "{name:<5} latency     p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
                latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.max_ms
            )?;
        }
        Ok(())
    }
}

/// Latencies while they are collected.
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Self(histogram.expect("the bounds and the precision are constants that it takes"))
    }

    /// Adds one.
    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX));
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The latency, in ms, that a part of them, from 0 to 1, does not exceed.
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// The longest, in ms.
    pub(super) fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    /// The percentiles of those added.
    pub(super) fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p99_ms: self.quantile_ms(0.99),
            max_ms: self.max_ms(),
        }
    }
}
