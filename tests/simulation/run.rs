//! One run: a cluster, its clients and its faults, all from one seed, on one thread.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::faults::Faults;
use crate::history::Told;
use crate::host::{Host, NODES, SPARES};
use crate::network::Network;
use crate::planted::Planted;
use crate::world::{Violation, World, lock};
use crate::{clients, clocks, entropy, limits, linearizable, liveness, membership, once, search};

/// For so long the healed cluster is watched.
const WATCHED: Duration = Duration::from_secs(5);
/// No run takes a tenth of it.
const REAL_TIME_MAX: Duration = Duration::from_secs(150);

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub trace: u64,
    pub events: u64,
    pub simulated: Duration,
    pub operations: u64,
    pub acknowledged: u64,
    pub unknown: u64,
    pub entries: u64,
    pub terms: u64,
    pub searches_given_up: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub violation: Option<Violation>,
}

/// Runs `seed` on a thread of its own.
pub fn run(seed: u64, planted: Planted) -> Ran {
    let dir = tempfile::Builder::new().prefix("tallykeep-simulation-").tempdir_in(memory_dir());
    let dir = dir.expect("a temporary folder");
    let path = dir.path().to_owned();
    watch_panics();
    watch_real_time(seed);
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).spawn(move || {
        entropy::seed_this_thread(seed);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(simulate(seed, planted, path))
    });
    thread.expect("a thread").join().expect("the simulation itself does not panic")
}

/// The first panic, of whatever task: tokio would keep it to itself.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

fn watch_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANIC.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic.to_string());
        usual(panic);
    }));
}

/// Ends the process if simulated time stands still: somebody runs for ever without waiting.
fn watch_real_time(seed: u64) {
    std::thread::spawn(move || {
        std::thread::sleep(REAL_TIME_MAX);
        eprintln!("seed {seed}: no end after {REAL_TIME_MAX:?}");
        std::process::abort();
    });
}

/// A folder in memory, where there is one: the files of snapshots are synced many times.
fn memory_dir() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

async fn simulate(seed: u64, planted: Planted, dir: PathBuf) -> Ran {
    let world = Arc::new(World::new(seed, planted, dir));
    let given_up = tokio::select! {
        biased;
        _ = world.violated() => 0,
        ended = go_through(&world) => ended.unwrap_or_else(|(invariant, what)| {
            world.violate(invariant, what);
            0
        }),
    };
    if let Some(panic) = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take() {
        world.violate("nothing panics", panic);
    }
    let history = lock(&world.history);
    let count =
        |is: fn(&Told) -> bool| history.calls.iter().filter(|call| is(&call.told)).count() as u64;
    let (trace, events) = world.trace();
    Ran {
        trace,
        events,
        simulated: world.now(),
        operations: history.calls.len() as u64,
        acknowledged: count(|told| !matches!(told, Told::Unknown | Told::Unchanged(_))),
        unknown: count(|told| *told == Told::Unknown),
        entries: lock(&world.replicas).entries() as u64,
        terms: lock(&world.leaders).terms() as u64,
        searches_given_up: given_up,
        faults: world.faults(),
        violation: world.violation(),
    }
}

/// Gives the searches that were given up, or the invariant that does not hold and how.
async fn go_through(world: &Arc<World>) -> Result<u64, (&'static str, String)> {
    let of = |invariant| move |what| (invariant, what);
    let network = Network::new(world.clone());
    let hosts = (1..=NODES + SPARES).map(|id| Host::new(id, world.clone(), network.clone()));
    let hosts: Arc<Vec<Host>> = Arc::new(hosts.collect());
    for host in &*hosts {
        host.start().await;
    }
    liveness::service(world, &hosts).await.map_err(of("a cluster starts"))?;

    let stop = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for client in 1..=world.plan.clients {
        let rng = world.fork_rng();
        asking.spawn(clients::run(world.clone(), hosts.clone(), client, rng, stop.clone()));
    }
    let has_changed = Faults::new(world.clone(), hosts.clone(), network).run().await;
    if has_changed {
        membership::settle(&hosts).await.map_err(of("the members come to rest"))?;
    }

    let first = liveness::service(world, &hosts).await.map_err(of("service returns"))?;
    sleep(WATCHED).await;
    let last = liveness::service(world, &hosts).await.map_err(of("service goes on"))?;
    stop.store(true, Ordering::Relaxed);
    while asking.join_next().await.is_some() {}
    liveness::agreement(&hosts).await.map_err(of("the nodes come to agree"))?;
    let end = liveness::end(&hosts).await.map_err(of("everything can be read"))?;

    let history = lock(&world.history);
    clocks::check_goes_on(first, last).map_err(of("the clock goes on"))?;
    clocks::check_order(&history).map_err(of("the clock never goes back"))?;
    limits::check(&history).map_err(of("never over a limit"))?;
    once::check_counts(&history, &end.counts).map_err(of("exactly once"))?;
    for (node, entries) in &end.entries {
        once::check_entries(&history, *node, entries).map_err(of("exactly once"))?;
    }
    linearizable::check_counters(&history).map_err(of("linearizable"))?;
    linearizable::check_reads_of_entries(&history).map_err(of("linearizable"))?;
    search::check(&history).map_err(of("linearizable"))
}
