//! `tallykeep replay`: sends every line of a real access log through the cluster.
//!
//! Per line, a `/check` of the client's address and a `/log` of the request. The numbers at the end
//! are exact though answers may be lost, as they are when a node is killed, and though neither
//! request is safe to repeat:
//! - An address's checks go one after the other, and its `Ledger` finds in each answer what
//!   earlier, lost answers would have said.
//! - Every entry carries an id of its own. When its answer is lost, the audit log is searched for
//!   it until the request can no longer be under way inside the cluster, and only then is it sent
//!   again. A node that is *paused* with the request unread can outlast that; the entry is then
//!   doubled, and the count at the end says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::access_log::{self, Request};
use super::run::{Run, lock};
use super::summary::{Latency, Summary};
use super::{Endpoints, Error, exit};
use crate::limits::{REPLAY_CONCURRENCY_MAX, REQUESTS_MAX, WINDOW_MS_MAX, WINDOW_MS_MIN};

/// Complaints about single lines that are printed; the rest is counted.
pub(super) const COMPLAINTS_MAX: u64 = 10;

/// Arguments of `tallykeep replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// An access log in the combined log format of Apache and nginx.
    pub file: PathBuf,
    /// The limiters' type; the entries' type is this and `_request`.
    #[arg(long = "type", value_name = "TYPE", default_value = "wix")]
    pub kind: String,
    /// Requests that one client address may make in a window.
    #[arg(
        long,
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(..=REQUESTS_MAX)
    )]
    pub requests: u64,
    /// The window, such as `60s` or `24h`.
    #[arg(long, default_value = "24h", value_parser = window)]
    pub window: Duration,
    /// Requests under way at once.
    #[arg(
        long,
        default_value_t = 64,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=REPLAY_CONCURRENCY_MAX as u64)
    )]
    pub concurrency: usize,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// The nodes, which are sent requests in turn.
    #[command(flatten)]
    pub endpoints: Endpoints,
}

/// Reads a window, and holds it to the bounds of `windowMs`.
pub(super) fn window(text: &str) -> Result<Duration, String> {
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (WINDOW_MS_MIN.into()..=WINDOW_MS_MAX.into()).contains(&window.as_millis()) {
        Ok(window)
    } else {
        Err("a window is 1 ms to 400 days long".into())
    }
}

/// Replays the log and prints the summary. Exit 0 when every line got its verdict and has exactly
/// one audit entry.
///
/// # Errors
/// As [`replay`].
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let json = args.json;
    let summary = replay(args).await?;
    if json {
        println!("{}", serde_json::to_string(&summary).expect("a summary is plain data"));
    } else {
        print!("{summary}");
    }
    Ok(exit::of(summary.is_whole()))
}

/// Replays the log. Progress and complaints about single lines go to stderr.
///
/// # Errors
/// The file cannot be read or holds no line of an access log; no node answers at the start or at
/// the end. What goes wrong with single lines is counted in the summary.
pub async fn replay(args: Args) -> Result<Summary, Error> {
    let (addresses, malformed) = read(&args.file).await?;
    let lines = addresses.iter().map(|lines| lines.len() as u64).sum();
    let run = Arc::new(Run::begin(&args, lines).await?);

    let began = Instant::now();
    let addresses = Arc::new(Mutex::new(addresses.into_iter()));
    let mut workers = JoinSet::new();
    for _ in 0..args.concurrency {
        let (run, addresses) = (run.clone(), addresses.clone());
        workers.spawn(async move {
            loop {
                let next = lock(&addresses).next();
                let Some(lines) = next else { break };
                run.clone().address(lines).await;
            }
        });
    }
    workers.join_all().await;
    let elapsed = began.elapsed();
    run.bar.finish_and_clear();

    let audit = run.audit(lines).await.map_err(Error::Cluster)?;
    let tally = lock(&run.tally);
    if tally.counted_before > 0 {
        eprintln!(
            "{} addresses had counts in their windows before this run, so fewer were admitted: \
             replay under another --type, or /reset them",
            tally.counted_before
        );
    }
    Ok(Summary {
        lines,
        malformed,
        admitted: tally.admitted,
        refused: tally.refused,
        errors: tally.errors,
        resent: tally.resent,
        unknown_fates: tally.unknown,
        identifiers_counted_before: tally.counted_before,
        audit,
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        rate: (tally.checks.len() + tally.logs.len()) as f64 / elapsed.as_secs_f64(),
        latency: Latency { check: tally.checks.percentiles(), log: tally.logs.percentiles() },
    })
}

/// One line of the file.
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) request: Request,
}

/// Reads the file: each address's lines in their order, and how many lines are malformed. The
/// address with the most lines comes first, since its checks cannot go side by side.
async fn read(path: &Path) -> Result<(Vec<Vec<Line>>, u64), Error> {
    let bytes = tokio::fs::read(path)
        .await
        .map_err(|source| Error::File { path: path.to_owned(), source })?;
    let mut addresses: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    let mut malformed = 0;
    for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match access_log::parse(line) {
            Ok(request) => {
                let lines = addresses.entry(request.address.clone()).or_default();
                lines.push(Line { number, request });
            }
            Err(wrong) => {
                malformed += 1;
                if malformed <= COMPLAINTS_MAX {
                    eprintln!("line {number} is left out: {wrong}");
                }
            }
        }
    }
    if addresses.is_empty() {
        return Err(Error::NoLines { path: path.to_owned() });
    }
    let mut addresses: Vec<_> = addresses.into_values().collect();
    addresses.sort_by_key(|lines| std::cmp::Reverse(lines.len()));
    Ok((addresses, malformed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_bounded() {
        assert_eq!(window("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(window("1ms"), Ok(Duration::from_millis(1)));
        assert!(window("400days").is_ok());
        for wrong in ["0s", "401days", "24", "soon"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }
}
