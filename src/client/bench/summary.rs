//! What a run came to.

use std::fmt;

use serde::Serialize;

/// The result of a run. Names of figures end with their unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Nodes.
    pub nodes: usize,
    /// Connections, over all nodes.
    pub connections: usize,
    /// In an open loop, how its schedule was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSummary>,
    /// From the end of the warm-up to the last answer.
    pub elapsed_ms: f64,
    /// Requests that count.
    pub requests: u64,
    /// Requests that count and were never sent: the schedule was too much for the connections, or
    /// every node was gone.
    pub unsent: u64,
    /// By operation; those that were not in the mix are left out.
    pub operations: Operations,
    /// What the answers to checks say of the identifiers.
    pub identifiers: Identifiers,
    /// All that was wrong with answers, that of the warm-up included.
    pub wrong: u64,
}

/// How an open loop kept its schedule: how late requests were sent. A few tenths of a millisecond
/// are the clock's own ([`crate::limits::BENCH_TICK`]); more is the wait for a free connection. All
/// of it is part of the latencies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScheduleSummary {
    /// Requests that were due per second.
    pub rate_per_s: u64,
    /// The median.
    pub late_p50_ms: f64,
    /// The 99th percentile.
    pub late_p99_ms: f64,
    /// The latest.
    pub late_max_ms: f64,
}

/// By operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operations {
    /// `POST /check`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<OperationSummary>,
    /// `POST /log`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<OperationSummary>,
    /// `POST /query`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<OperationSummary>,
}

/// One operation's requests that count. `requests` is `answered` and `errors`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperationSummary {
    /// Requests sent.
    pub requests: u64,
    /// Good answers, a refused check's included. The percentiles are of these.
    pub answered: u64,
    /// Checks that were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted: Option<u64>,
    /// Checks over their limit, 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// Entries that queries found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// The sum of the next three.
    pub errors: u64,
    /// 503.
    pub unavailable: u64,
    /// The connection broke, or no answer came in time.
    pub lost: u64,
    /// Another status, another shape, or at odds with other answers.
    pub wrong: u64,
    /// Good answers per second.
    pub rate_per_s: f64,
    /// The median latency.
    pub p50_ms: f64,
    /// The 90th percentile.
    pub p90_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The 99.9th percentile.
    pub p99_9_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// What the answers to checks say of the identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Identifiers {
    /// Windows that had counts before the run.
    pub counted_before: u64,
    /// Answers that were not compared with others: there are too many identifiers.
    pub untracked: u64,
}

impl Summary {
    /// Whether there were answers, and none was wrong.
    pub fn is_good(&self) -> bool {
        self.wrong == 0 && self.operations.each().any(|(_, operation)| operation.answered > 0)
    }
}

impl Operations {
    /// All requests.
    pub(super) fn requests(&self) -> u64 {
        self.each().map(|(_, operation)| operation.requests).sum()
    }

    /// Those in the mix, with their names.
    fn each(&self) -> impl Iterator<Item = (&'static str, &OperationSummary)> {
        let all = [("check", &self.check), ("log", &self.log), ("query", &self.query)];
        all.into_iter().filter_map(|(name, operation)| Some((name, operation.as_ref()?)))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} connections to {} nodes, {:.2} s, {} requests",
            self.connections,
            self.nodes,
            self.elapsed_ms / 1000.0,
            self.requests
        )?;
        if let Some(schedule) = &self.schedule {
            writeln!(
                f,
                "{} requests/s were due; sent late by p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
                schedule.rate_per_s,
                schedule.late_p50_ms,
                schedule.late_p99_ms,
                schedule.late_max_ms
            )?;
        }
        writeln!(
            f,
            "\n{:<6} {:>10} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "answered", "errors", "per s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"
        )?;
        for (name, operation) in self.operations.each() {
            writeln!(
                f,
                "{name:<6} {:>10} {:>8} {:>10.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
                operation.answered,
                operation.errors,
                operation.rate_per_s,
                operation.p50_ms,
                operation.p90_ms,
                operation.p99_ms,
                operation.p99_9_ms,
                operation.max_ms
            )?;
        }
        writeln!(f)?;
        for (name, operation) in self.operations.each() {
            if let (Some(admitted), Some(refused)) = (operation.admitted, operation.refused) {
                writeln!(f, "{name}: {admitted} admitted, {refused} refused")?;
            }
            if let Some(entries) = operation.entries {
                let mean = entries as f64 / operation.answered.max(1) as f64;
                writeln!(f, "{name}: {entries} entries, {mean:.1} a page")?;
            }
            if operation.errors > 0 {
                writeln!(
                    f,
                    "{name} errors: {} unavailable (503), {} lost, {} wrong",
                    operation.unavailable, operation.lost, operation.wrong
                )?;
            }
        }
        if self.unsent > 0 {
            writeln!(
                f,
                "{} requests were never sent: latencies are better than such a load would see",
                self.unsent
            )?;
        }
        if self.identifiers.counted_before > 0 {
            writeln!(f, "{} windows had counts before", self.identifiers.counted_before)?;
        }
        if self.identifiers.untracked > 0 {
            writeln!(f, "{} checks were not compared with others", self.identifiers.untracked)?;
        }
        writeln!(f, "wrong answers: {}", self.wrong)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary() -> Summary {
        let operation = OperationSummary {
            requests: 30,
            answered: 27,
            admitted: Some(20),
            refused: Some(7),
            entries: None,
            errors: 3,
            unavailable: 1,
            lost: 2,
            wrong: 0,
            rate_per_s: 13.5,
            p50_ms: 1.0,
            p90_ms: 2.0,
            p99_ms: 3.0,
            p99_9_ms: 4.0,
            max_ms: 5.125,
        };
        Summary {
            nodes: 3,
            connections: 64,
            schedule: Some(ScheduleSummary {
                rate_per_s: 20,
                late_p50_ms: 0.0,
                late_p99_ms: 0.25,
                late_max_ms: 0.5,
            }),
            elapsed_ms: 2000.0,
            requests: 30,
            unsent: 10,
            operations: Operations { check: Some(operation), log: None, query: None },
            identifiers: Identifiers { counted_before: 0, untracked: 0 },
            wrong: 0,
        }
    }

    /// What scripts read.
    #[test]
    fn the_json_has_stable_names() {
        let expected = json!({
            "nodes": 3,
            "connections": 64,
            "schedule": {
                "rate_per_s": 20, "late_p50_ms": 0.0, "late_p99_ms": 0.25, "late_max_ms": 0.5
            },
            "elapsed_ms": 2000.0,
            "requests": 30,
            "unsent": 10,
            "operations": {"check": {
                "requests": 30, "answered": 27, "admitted": 20, "refused": 7,
                "errors": 3, "unavailable": 1, "lost": 2, "wrong": 0,
                "rate_per_s": 13.5,
                "p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": 3.0, "p99_9_ms": 4.0, "max_ms": 5.125
            }},
            "identifiers": {"counted_before": 0, "untracked": 0},
            "wrong": 0
        });
        assert_eq!(serde_json::to_value(summary()).unwrap(), expected);
    }

    #[test]
    fn the_table() {
        let expected = "\
64 connections to 3 nodes, 2.00 s, 30 requests
20 requests/s were due; sent late by p50 0.00 ms, p99 0.25 ms, max 0.50 ms

         answered   errors      per s    p50 ms    p90 ms    p99 ms  p99.9 ms    max ms
check          27        3         14      1.00      2.00      3.00      4.00      5.12

check: 20 admitted, 7 refused
check errors: 1 unavailable (503), 2 lost, 0 wrong
10 requests were never sent: latencies are better than such a load would see
wrong answers: 0
";
        assert_eq!(summary().to_string(), expected);
    }

    #[test]
    fn a_run_is_good_when_it_was_answered_and_nothing_was_wrong() {
        assert!(summary().is_good());
        assert!(!Summary { wrong: 1, ..summary() }.is_good());
        let mut silent = summary();
        silent.operations.check.as_mut().unwrap().answered = 0;
        assert!(!silent.is_good());
    }
}
