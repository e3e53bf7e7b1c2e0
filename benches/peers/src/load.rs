//! A closed loop: each connection sends its next check when the last one is answered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Why a run failed, for people. One failed check ends the run: what is measured is a sound peer.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A limit that is never reached, as in `scripts/bench/wrk.lua`.
pub const REQUESTS: u64 = 1_000_000_000;
/// The guide's window.
pub const WINDOW_MS: u64 = 60_000;

/// Latencies are kept to three digits, up to a minute.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// What a check came to.
pub struct Checked {
    /// Whether the limiter admitted the request.
    pub allowed: bool,
    /// How often it was tried again because another had changed the limiter meanwhile.
    pub retries: u64,
}

/// One connection to a peer.
pub trait Connection: Send + 'static {
    /// Counts a request against the limiter of `user-{identifier}`.
    fn check(&mut self, identifier: u32) -> impl Future<Output = Result<Checked, Error>> + Send;
}

/// What a run measured.
pub struct Report {
    latencies_ns: Histogram<u64>,
    elapsed: Duration,
    refused: u64,
    retries: u64,
}

impl Report {
    /// The line that `scripts/bench/load.py` reads; as `wrk.lua` prints it.
    pub fn json(&self) -> String {
        let latencies = &self.latencies_ns;
        let microseconds = |ns: u64| ns as f64 / 1e3;
        format!(
            concat!(
                r#"{{"requests":{},"seconds":{:.6},"p50_us":{:.1},"p99_us":{:.1},"max_us":{:.1},"#,
                r#""broken":0,"status":{},"answers":{},"refused":{},"wrong":{},"#,
                r#""example":"a check that was refused","retries":{}}}"#
            ),
            latencies.len(),
            self.elapsed.as_secs_f64(),
            microseconds(latencies.value_at_quantile(0.50)),
            microseconds(latencies.value_at_quantile(0.99)),
            microseconds(latencies.max()),
            self.refused,
            latencies.len(),
            self.refused,
            // The limit is never reached.
            self.refused,
            self.retries,
        )
    }
}

/// Loads all connections for a while, with checks of identifiers picked at random.
///
/// # Errors
/// The first error of a connection.
pub async fn run<C: Connection>(
    connections: Vec<C>,
    duration: Duration,
    identifiers: u32,
) -> Result<Report, Error> {
    // All tasks share one thread, so this lock is never waited for.
    let report = Arc::new(Mutex::new(Report {
        latencies_ns: Histogram::new_with_max(LATENCY_MAX_NS, 3)?,
        elapsed: Duration::ZERO,
        refused: 0,
        retries: 0,
    }));
    let start = Instant::now();
    let end = start + duration;
    let mut tasks = JoinSet::new();
    for (number, mut connection) in connections.into_iter().enumerate() {
        let report = Arc::clone(&report);
        tasks.spawn(async move {
            let mut random = SmallRng::seed_from_u64(number as u64);
            let mut before = Instant::now();
            while before < end {
                let checked = connection.check(random.random_range(1..=identifiers)).await?;
                let now = Instant::now();
                let latency = now.duration_since(before).as_nanos() as u64;
                let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                report.latencies_ns.saturating_record(latency);
                report.refused += u64::from(!checked.allowed);
                report.retries += checked.retries;
                before = now;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let elapsed = start.elapsed();
    let report = Arc::into_inner(report).ok_or("a connection outlived its load")?;
    Ok(Report { elapsed, ..report.into_inner().unwrap_or_else(PoisonError::into_inner) })
}
