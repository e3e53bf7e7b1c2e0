//! Many seeds: each in a process of its own, so that each is the same however many went before.

use std::collections::BTreeMap;
use std::process::Command;

use crate::planted::Planted;
use crate::run::{self, Ran};

/// The seed to run, in the environment of the process that runs it.
const SEED: &str = "SIMULATION_SEED";
const PLANTED: &str = "SIMULATION_PLANTED";
/// The test that runs a seed.
pub const TEST: &str = "every_seed_holds_every_invariant";
/// What the line begins with in which a process tells what its seed came to.
const MARK: &str = "simulated:";

/// The seed that this process was told to run, if any.
pub fn told_seed() -> Option<u64> {
    let seed = std::env::var(SEED).ok()?;
    Some(seed.parse().expect("SIMULATION_SEED is a number"))
}

/// The seeds that are wanted; `otherwise` so many.
pub fn wanted_seeds(otherwise: u64) -> std::ops::Range<u64> {
    let number = |name: &str, otherwise| {
        let wanted = std::env::var(name).ok();
        wanted.map_or(otherwise, |wanted| wanted.parse().expect("a number of seeds"))
    };
    let from = number("SIMULATION_FROM", 0);
    from..from + number("SIMULATION_SEEDS", otherwise)
}

/// Runs one seed in this process, and tells what it came to.
///
/// # Panics
/// If an invariant does not hold.
pub fn run_here(seed: u64) {
    let planted = std::env::var(PLANTED).unwrap_or_default();
    let ran = run::run(seed, Planted::named(&planted));
    let Ran { trace, events, simulated, operations, acknowledged, unknown, .. } = &ran;
    let mut line = format!(
        "{MARK} seed={seed} trace={trace:016x} events={events} ms={} operations={operations} \
         acknowledged={acknowledged} unknown={unknown} entries={} terms={} given-up={}",
        simulated.as_millis(),
        ran.entries,
        ran.terms,
        ran.searches_given_up,
    );
    for (kind, count) in &ran.faults {
        line.push_str(&format!(" fault:{}={count}", kind.replace(' ', "-")));
    }
    println!("\n{line}");
    if let Some(violation) = ran.violation {
        panic!("seed {seed}, {}: {}", violation.invariant, violation.what);
    }
}

/// What the process of one seed told.
pub struct Told {
    pub seed: u64,
    pub passed: bool,
    /// The line behind [`MARK`], as names and values.
    pub values: BTreeMap<String, String>,
    pub output: String,
}

/// Runs one seed in a process of its own.
pub fn run_apart(seed: u64, planted: &str) -> Told {
    let this = std::env::current_exe().expect("a test has a file");
    let mut child = Command::new(this);
    child.args(["--exact", TEST, "--nocapture", "--test-threads=1"]);
    child.env(SEED, seed.to_string()).env(PLANTED, planted);
    // As nextest sets them for this very process, they would be told twice.
    let ended = child.output().expect("this program starts again");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let output = text(&ended.stdout) + &text(&ended.stderr);
    let line = output.lines().find_map(|line| line.strip_prefix(MARK)).unwrap_or_default();
    let values = line.split_whitespace().filter_map(|part| part.split_once('='));
    let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Told { seed, passed: ended.status.success(), values, output }
}

impl Told {
    pub fn number(&self, name: &str) -> u64 {
        self.values.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// The violation, and how to see it again.
    pub fn failure(&self) -> String {
        let tail: Vec<&str> = self.output.lines().rev().take(40).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        format!(
            "{}\nreplay with: {SEED}={} cargo nextest run --release --test simulation {TEST} \
             (SIMULATION_TRACE=1 and --no-capture show every event)",
            tail.join("\n"),
            self.seed
        )
    }
}

/// Adds up what many seeds told.
#[derive(Default)]
pub struct Sum {
    seeds: u64,
    values: BTreeMap<String, u64>,
}

impl Sum {
    pub fn add(&mut self, told: &Told) {
        self.seeds += 1;
        for name in told.values.keys().filter(|name| !["seed", "trace"].contains(&&***name)) {
            *self.values.entry(name.clone()).or_default() += told.number(name);
        }
    }

    /// One line.
    pub fn line(&self, elapsed: std::time::Duration) -> String {
        let value = |name: &str| self.values.get(name).copied().unwrap_or(0);
        let faults = self
            .values
            .iter()
            .filter_map(|(name, count)| Some(format!("{} {count}", name.strip_prefix("fault:")?)));
        format!(
            "{} seeds in {:.1} s: {} s simulated, {} operations ({} acknowledged, {} unknown), \
             {} log entries, {} terms, {} searches given up; faults: {}",
            self.seeds,
            elapsed.as_secs_f64(),
            value("ms") / 1000,
            value("operations"),
            value("acknowledged"),
            value("unknown"),
            value("entries"),
            value("terms"),
            value("given-up"),
            faults.collect::<Vec<_>>().join(", "),
        )
    }
}
