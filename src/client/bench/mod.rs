//! `tallykeep bench`: loads a cluster, measures it, and checks its answers.
//!
//! Two kinds of load:
//! - *Closed loop*: each connection sends its next request when it has the answer to the one
//!   before. It shows the most that a cluster answers. Its latencies are no answer to what users
//!   would see: while a node stalls, a closed loop sends nothing, and so hardly measures the stall.
//! - *Open loop* (`--rate`): requests are due at even times, whatever becomes of those before, and
//!   a latency counts from the time at which its request was due. So a request that had to wait for
//!   a stall, or for a free connection, is as late as its user would see it. Gil Tene calls the
//!   other way coordinated omission ("How NOT to Measure Latency"); his wrk2 is built as this is.
//!
//! Three operations, mixed by weights: checks, of identifiers by a distribution; entries for the
//! audit log; queries for a page of it. Every answer is looked at: its status, its shape, and
//! whether it fits the others (`grants.rs`, `ids.rs`). A wrong one makes the exit code 1.

mod answer;
mod book;
mod connection;
mod grants;
mod ids;
mod keys;
mod load;
mod mix;
mod pace;
mod plan;
mod request;
mod seen;
mod summary;

use std::num::NonZeroU64;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::builder::RangedU64ValueParser;
use indicatif::{ProgressBar, ProgressStyle};
pub use keys::Distribution;
pub use mix::Mix;
pub use summary::{Identifiers, OperationSummary, Operations, ScheduleSummary, Summary};
use tokio::time::interval;

use self::plan::{End, Plan};
use super::{Endpoints, Error, exit};
use crate::limits::{
    BENCH_CONNECTIONS_MAX, BENCH_DAYS_MAX, BENCH_DURATION_MAX, BENCH_KEYS_MAX, BENCH_RATE_MAX,
    BENCH_REQUESTS_MAX, BENCH_TYPES_MAX, CLIENT_PAUSE, DETAILS_BYTES_MAX, NAME_BYTES_MAX,
    REQUESTS_MAX,
};

/// How long a run lasts where nothing is said.
const DURATION: Duration = Duration::from_secs(10);
/// How long its warm-up lasts where nothing is said.
const WARM_UP: Duration = Duration::from_secs(1);
/// Bytes of `--prefix` and `--type`: with a number behind them they are still names.
const TEXT_BYTES_MAX: usize = NAME_BYTES_MAX - 32;

/// Arguments of `tallykeep bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Weights of the operations check, log and query, such as `check=80,log=15,query=5`.
    #[arg(long, value_name = "WEIGHTS", default_value = "check=1", help_heading = "Load")]
    pub mix: Mix,
    /// Connections, spread evenly over the nodes.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=BENCH_CONNECTIONS_MAX as u64),
        help_heading = "Load"
    )]
    pub connections: usize,
    /// Open loop: so many requests are due per second, at even times, and latencies count from
    /// there. Without it, each connection sends its next request when it has its answer.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, help_heading = "Load")]
    pub rate: Option<NonZeroU64>,
    /// How long the load lasts after the warm-up, such as `30s` or `5m` [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Load")]
    pub duration: Option<Duration>,
    /// End after so many requests instead, without a warm-up.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=BENCH_REQUESTS_MAX),
        conflicts_with_all = ["duration", "warm_up"],
        help_heading = "Load"
    )]
    pub requests_total: Option<u64>,
    /// Load before the duration begins: checked, but not counted [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Load")]
    pub warm_up: Option<Duration>,

    /// How many identifiers there are.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..=BENCH_KEYS_MAX),
        help_heading = "Checks"
    )]
    pub keys: u64,
    /// How an identifier is chosen.
    #[arg(
        long,
        value_enum,
        value_name = "NAME",
        default_value = "uniform",
        help_heading = "Checks"
    )]
    pub distribution: Distribution,
    /// The exponent of `zipf`.
    #[arg(long, value_name = "S", default_value_t = 0.99, help_heading = "Checks")]
    pub skew: f64,
    /// Begins the identifiers; a number follows. With a prefix of their own, which is the default,
    /// nobody has used them before, and every count must be explained.
    #[arg(long, value_name = "TEXT", value_parser = text, help_heading = "Checks")]
    pub prefix: Option<String>,
    /// Requests that an identifier may make in a window.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(..=REQUESTS_MAX),
        help_heading = "Checks"
    )]
    pub limit: u64,
    /// The window, such as `60s` or `24h`.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = super::replay::window,
        help_heading = "Checks"
    )]
    pub window: Duration,
    /// The limiters' type, and what the entries' types begin with.
    #[arg(
        long = "type",
        value_name = "TYPE",
        default_value = "bench",
        value_parser = text,
        help_heading = "Checks"
    )]
    pub kind: String,

    /// Bytes of an entry's details.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 300,
        value_parser = RangedU64ValueParser::<usize>::new()
            .range(request::DETAILS_BYTES_MIN as u64..=DETAILS_BYTES_MAX as u64),
        help_heading = "Entries and queries"
    )]
    pub details_bytes: usize,
    /// Different types of entries. A query asks for 100 entries of one of them, in the hour that
    /// ends with the newest entry.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=BENCH_TYPES_MAX),
        help_heading = "Entries and queries"
    )]
    pub types: u32,
    /// With more than one, entries go in turn to the audit shards of so many days up to today, by
    /// name, and a query asks one of them.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=BENCH_DAYS_MAX),
        help_heading = "Entries and queries"
    )]
    pub days: u32,

    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// The nodes.
    #[command(flatten)]
    pub endpoints: Endpoints,
}

impl Args {
    /// The plan that the arguments make.
    fn plan(&self) -> Plan {
        match self.requests_total {
            Some(requests) => {
                Plan { rate: self.rate, warm_up: Duration::ZERO, end: End::Requests(requests) }
            }
            None => Plan {
                rate: self.rate,
                warm_up: self.warm_up.unwrap_or(WARM_UP),
                end: End::After(self.duration.unwrap_or(DURATION)),
            },
        }
    }
}

/// Reads a number of requests per second.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    text.parse()
        .ok()
        .filter(|rate: &NonZeroU64| rate.get() <= BENCH_RATE_MAX)
        .ok_or_else(|| format!("a rate is an integer from 1 to {BENCH_RATE_MAX}"))
}

/// Reads a time that a run may last.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration <= BENCH_DURATION_MAX {
        Ok(duration)
    } else {
        Err(format!("at most {}", humantime::format_duration(BENCH_DURATION_MAX)))
    }
}

/// Reads text that stands in JSON as it is.
fn text(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if plain && (1..=TEXT_BYTES_MAX).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("1 to {TEXT_BYTES_MAX} letters, digits and signs, but no \", \\ or blank"))
    }
}

/// Loads the cluster and prints the summary. Exit 0 when there were answers and none was wrong.
///
/// # Errors
/// As [`bench()`].
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let json = args.json;
    let summary = bench(args).await?;
    if json {
        println!("{}", serde_json::to_string(&summary).expect("a summary is plain data"));
    } else {
        print!("{summary}");
    }
    Ok(exit::of(summary.is_good()))
}

/// Loads the cluster. Progress, and the first wrong answers, go to stderr.
///
/// # Errors
/// A node cannot be connected to, or the first does not answer. What goes wrong later is counted in
/// the summary.
pub async fn bench(args: Args) -> Result<Summary, Error> {
    let (done, bar) = (Arc::new(AtomicU64::new(0)), bar(&args));
    let plan = args.plan();
    let mut load = tokio::task::spawn_blocking({
        let (done, bar) = (done.clone(), bar.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime =
                runtime.map_err(|error| Error::Cluster(format!("cannot begin: {error}")))?;
            // Left to itself, as its connections share one budget of tokio's for one task.
            runtime.block_on(tokio::task::unconstrained(load::run(&args, &done, &bar)))
        }
    });
    let began = Instant::now();
    let mut looks = interval(CLIENT_PAUSE);
    let summary = loop {
        tokio::select! {
            summary = &mut load => break summary,
            _ = looks.tick() => {
                let requests = done.load(Ordering::Relaxed);
                match plan.end {
                    End::Requests(_) => bar.set_position(requests),
                    End::After(_) => {
                        bar.set_position(milliseconds(began.elapsed()));
                        bar.set_message(format!("{requests} requests"));
                    }
                }
            }
        }
    };
    bar.finish_and_clear();
    summary.map_err(|error| Error::Cluster(format!("the load did not end: {error}")))?
}

/// The progress: of the time, or of the requests.
fn bar(args: &Args) -> ProgressBar {
    let (length, style) = match args.plan() {
        Plan { end: End::Requests(requests), .. } => {
            (requests, "{bar:40} {pos}/{len} requests  {per_sec}  {elapsed}, {eta} to go")
        }
        Plan { end: End::After(duration), warm_up, .. } => {
            (milliseconds(warm_up + duration), "{bar:40} {elapsed}, {eta} to go  {msg}")
        }
    };
    let style = ProgressStyle::with_template(style).expect("the template is well-formed");
    ProgressBar::new(length).with_style(style)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn args(text: &str) -> Option<Args> {
        let words = std::iter::once("bench").chain(text.split_whitespace());
        Command::try_parse_from(words).ok().map(|command| command.args)
    }

    #[test]
    fn what_ends_a_run() {
        let plan = |text| args(text).unwrap().plan();
        let usual = plan("");
        assert_eq!((usual.warm_up, usual.end), (WARM_UP, End::After(DURATION)));
        let total = plan("--requests-total 5 --rate 10");
        assert_eq!((total.warm_up, total.end), (Duration::ZERO, End::Requests(5)));
        let long = plan("--duration 1h --warm-up 0s");
        assert_eq!(
            (long.warm_up, long.end),
            (Duration::ZERO, End::After(Duration::from_secs(3600)))
        );
    }

    #[test]
    fn arguments_are_bounded() {
        for wrong in [
            "--requests-total 5 --duration 1s",
            "--requests-total 5 --warm-up 1s",
            "--requests-total 0",
            "--connections 0",
            "--connections 100000",
            "--rate 0",
            "--rate 1.5",
            "--rate 99999999",
            "--duration 30days",
            "--keys 0",
            "--prefix a\"b",
            "--type a\\b",
            "--window 0s",
            "--limit 9007199254740992",
            "--details-bytes 10",
            "--types 0",
            "--days 0",
            "--days 100000",
            "--mix chek=1",
        ] {
            assert!(args(wrong).is_none(), "{wrong}");
        }
        assert!(args("--prefix ").is_none());
        let good = args("--mix check=80,log=20 --distribution zipf --skew 1.1 --prefix user-");
        assert_eq!(good.unwrap().distribution, Distribution::Zipf);
    }
}
