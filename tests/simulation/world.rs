//! What everything in a simulation shares: its time, its randomness, and what has been seen.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::history::History;
use crate::leaders::Leaders;
use crate::planted::Planted;
use crate::replicas::Replicas;

/// One run.
pub struct World {
    /// Where the nodes keep what they keep in real files: snapshots.
    pub dir: PathBuf,
    pub planted: Planted,
    pub plan: Plan,
    pub history: Mutex<History>,
    pub replicas: Mutex<Replicas>,
    pub leaders: Mutex<Leaders>,
    started: Instant,
    rng: Mutex<StdRng>,
    trace: Mutex<Trace>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    violation: Mutex<Option<Violation>>,
    violated: Notify,
}

/// What a seed decides once for its whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long faults happen.
    pub faulty: Duration,
    /// Between two faults: at most.
    pub calm_ms_max: u64,
    /// See `RaftSettings::snapshot_log_bytes`.
    pub snapshot_log_bytes: u64,
    pub clients: u64,
    /// Between two requests of a client: at most.
    pub think_ms_max: u64,
    /// One sync of a disk: at most.
    pub sync_ms_max: u64,
}

/// What must never happen, and has.
#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

/// Everything that happened, as one number.
struct Trace {
    hash: DefaultHasher,
    events: u64,
    is_printed: bool,
}

impl World {
    pub fn new(seed: u64, planted: Planted, dir: PathBuf) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = Plan {
            faulty: Duration::from_secs(rng.random_range(10..=25)),
            calm_ms_max: rng.random_range(400..=3_000),
            snapshot_log_bytes: rng.random_range(20_000..=200_000),
            clients: rng.random_range(3..=8),
            think_ms_max: rng.random_range(30..=250),
            sync_ms_max: rng.random_range(1..=5),
        };
        let is_printed = std::env::var_os("SIMULATION_TRACE").is_some();
        Self {
            dir,
            planted,
            plan,
            history: Mutex::default(),
            replicas: Mutex::default(),
            leaders: Mutex::default(),
            started: Instant::now(),
            rng: Mutex::new(rng),
            trace: Mutex::new(Trace { hash: DefaultHasher::new(), events: 0, is_printed }),
            counts: Mutex::default(),
            violation: Mutex::default(),
            violated: Notify::new(),
        }
    }

    /// Since the simulation began.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A generator of one's own, so that what one part draws does not change what another does.
    pub fn fork_rng(&self) -> StdRng {
        StdRng::seed_from_u64(lock(&self.rng).random())
    }

    /// Notes an event. What is noted makes the run's hash.
    pub fn note(&self, event: fmt::Arguments<'_>) {
        let now_ms = self.now().as_millis();
        let mut trace = lock(&self.trace);
        let text = event.to_string();
        (now_ms, &text).hash(&mut trace.hash);
        trace.events += 1;
        if trace.is_printed {
            println!("{now_ms:>6} {text}");
        }
    }

    /// Notes a fault of `kind`, and counts it.
    pub fn fault(&self, kind: &'static str, event: fmt::Arguments<'_>) {
        *lock(&self.counts).entry(kind).or_default() += 1;
        self.note(format_args!("{kind}: {event}"));
    }

    /// Notes that an invariant does not hold. The first one ends the run.
    pub fn violate(&self, invariant: &'static str, what: String) {
        self.note(format_args!("VIOLATION of {invariant}: {what}"));
        lock(&self.violation).get_or_insert(Violation { invariant, what });
        self.violated.notify_one();
    }

    pub fn violation(&self) -> Option<Violation> {
        lock(&self.violation).clone()
    }

    /// Returns once an invariant does not hold.
    pub async fn violated(&self) -> Violation {
        loop {
            if let Some(violation) = self.violation() {
                return violation;
            }
            self.violated.notified().await;
        }
    }

    /// The hash of all events so far, and their number.
    pub fn trace(&self) -> (u64, u64) {
        let trace = lock(&self.trace);
        (trace.hash.finish(), trace.events)
    }

    /// How often each fault happened.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }
}

/// A lock that nobody holds across an await: there is one thread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.try_lock().expect("one thread, and no lock is taken twice")
}
