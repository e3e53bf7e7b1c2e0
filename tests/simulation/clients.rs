//! Clients: each asks one request after another, of any node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tallykeep::codec;
use tallykeep::error::{Error, Kind, Result};
use tallykeep::machine::limiter::Cell;
use tallykeep::machine::{Change, IdempotencyKey, Outcome, Request, Table, keys};
use tallykeep::query::{Filter, Snapshot, page};
use tallykeep::raft::Leadership;
use tokio::time::sleep;

use crate::history::{Ask, Told};
use crate::host::{Host, Process};
use crate::workload;
use crate::world::{World, lock};

/// So often a request under a key is tried.
const TRIES: usize = 8;

/// Asks until it is told to stop.
pub async fn run(
    world: Arc<World>,
    hosts: Arc<Vec<Host>>,
    client: u64,
    mut rng: StdRng,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(rng.random_range(0..=world.plan.think_ms_max))).await;
        let enlisted: Vec<&Host> = hosts.iter().filter(|host| host.is_enlisted()).collect();
        let host = enlisted[rng.random_range(0..enlisted.len())];
        let Some(ask) = choose(&world, &mut rng) else { continue };
        let is_change = !matches!(ask, Ask::ReadCount { .. } | Ask::ReadLog { .. });
        if is_change && rng.random_ratio(1, 4) {
            ask_once(&world, &enlisted, client, ask, &mut rng).await;
        } else {
            ask_of(&world, host, client, ask).await;
        }
    }
}

/// Asks under a key, of one host after another until one answers: all that is one request.
async fn ask_once(world: &World, hosts: &[&Host], client: u64, ask: Ask, rng: &mut StdRng) {
    let first = hosts[rng.random_range(0..hosts.len())];
    let position = lock(&world.history).ask(client, first.id, ask.clone(), world.now());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(position as u64).to_be_bytes());
    let key = IdempotencyKey { id, fingerprint: [0; 16], ttl_ms: None };
    let mut is_unknown = false;
    let mut told = Told::Unknown;
    for host in std::iter::once(first).chain(hosts.iter().copied().cycle()).take(TRIES) {
        told = match host.process() {
            None => Told::Unchanged("not_there"),
            Some(process) => tokio::select! {
                biased;
                () = process.life.ended() => Told::Unknown,
                told = carry_out_once(&process, &ask, key) => {
                    told.unwrap_or_else(|error| refused(world, &error))
                }
            },
        };
        let node = host.id;
        world.note(format_args!("client {client} at node {node}: {ask:?} once: {told:?}"));
        // A refusal is kept by no key: what became of an earlier try stays unknown.
        let is_refused = matches!(&told, Told::Decided(decision) if !decision.allowed);
        if is_unknown && is_refused {
            break;
        }
        is_unknown |= told == Told::Unknown;
        if !matches!(told, Told::Unknown | Told::Unchanged(_)) {
            is_unknown = false;
            break;
        }
        sleep(Duration::from_millis(rng.random_range(0..=world.plan.think_ms_max))).await;
    }
    lock(&world.history).tell(position, if is_unknown { Told::Unknown } else { told });
}

fn choose(world: &World, rng: &mut StdRng) -> Option<Ask> {
    Some(match rng.random_range(0..100) {
        0..35 => Ask::Count { key: rng.random_range(0..workload::COUNTERS) },
        35..50 => Ask::Limited { key: rng.random_range(0..workload::LIMITERS) },
        50..60 => Ask::Contended { key: rng.random_range(0..workload::CONTENDED) },
        60..63 => Ask::Reset { key: rng.random_range(0..workload::CONTENDED) },
        63..66 => Ask::Credit { key: rng.random_range(0..workload::CONTENDED) },
        66..80 => Ask::Log { number: lock(&world.history).next_number() },
        80..92 => Ask::ReadCount { key: rng.random_range(0..workload::COUNTERS) },
        _ => {
            let history = lock(&world.history);
            let logged = history.logged();
            Ask::ReadLog { number: *logged.get(rng.random_range(0..logged.len().max(1)))? }
        }
    })
}

/// Asks one request of one host, and notes it and its answer. Gives the answer, if the host is up.
pub async fn ask_of(world: &World, host: &Host, client: u64, ask: Ask) -> Option<Told> {
    let process = host.process()?;
    let position = lock(&world.history).ask(client, host.id, ask.clone(), world.now());
    let told = tokio::select! {
        biased;
        // The process was killed: nobody answers any more.
        () = process.life.ended() => Told::Unknown,
        told = carry_out(world, &process, &ask) => told.unwrap_or_else(|error| refused(world, &error)),
    };
    let node = host.id;
    world.note(format_args!("client {client} at node {node}: {ask:?} {told:?}"));
    lock(&world.history).tell(position, told.clone());
    Some(told)
}

async fn carry_out_once(process: &Process, ask: &Ask, key: IdempotencyKey) -> Result<Told> {
    let proposer = &process.proposer;
    let change = |request: Request| match request {
        Request::Reset(reset) => vec![Change::Reset(reset)],
        Request::Log(draft) => vec![Change::Log(draft)],
        other => panic!("{other:?} is neither a reset nor an entry"),
    };
    let outcome = match *ask {
        Ask::Count { key: of } => proposer.check_once(workload::count_check(of), key).await?,
        Ask::Limited { key: of } => proposer.check_once(workload::limited_check(of), key).await?,
        Ask::Contended { key: of } => {
            proposer.check_once(workload::contended_check(of), key).await?
        }
        Ask::Reset { key: of } => proposer.change(Some(key), change(workload::reset(of))).await?,
        Ask::Credit { key: of } => proposer.credit(Some(key), workload::credit(of)).await?,
        Ask::Log { number } => proposer.change(Some(key), change(workload::log(number))).await?,
        Ask::ReadCount { .. } | Ask::ReadLog { .. } => {
            return Err(Error::internal("a read changes nothing"));
        }
    };
    match outcome {
        Outcome::Changed(answered) if answered.len() == 1 => told(ask, answered[0].answer.into()),
        other => Err(Error::internal(format!("{ask:?} came to {other:?}"))),
    }
}

fn refused(world: &World, error: &Error) -> Told {
    match error.kind {
        Kind::Unavailable | Kind::Overloaded | Kind::StorageFull => Told::Unchanged(error.code),
        Kind::Unknown => Told::Unknown,
        Kind::Invalid
        | Kind::Unauthenticated
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::TooLarge
        | Kind::Conflict
        | Kind::KeyReused
        | Kind::TooOften
        | Kind::Internal => {
            world.violate("no other error than those that are promised", error.message.clone());
            Told::Unknown
        }
    }
}

async fn carry_out(world: &World, process: &Process, ask: &Ask) -> Result<Told> {
    let proposer = &process.proposer;
    let outcome = match *ask {
        Ask::Count { key } => proposer.check(workload::count_check(key)).await?,
        Ask::Limited { key } => proposer.check(workload::limited_check(key)).await?,
        Ask::Contended { key } => proposer.check(workload::contended_check(key)).await?,
        Ask::Reset { key } => proposer.propose(workload::reset(key)).await?,
        Ask::Credit { key } => proposer.credit(None, workload::credit(key)).await?,
        Ask::Log { number } => proposer.propose(workload::log(number)).await?,
        Ask::ReadCount { key } => {
            return Ok(Told::Count(count(&*snapshot(world, process).await?, key)?));
        }
        Ask::ReadLog { number } => {
            let filter = Filter { action: Some(workload::action(number)), ..Filter::default() };
            let snapshot = snapshot(world, process).await?;
            let found = page(&*snapshot, &workload::all_entries(), &filter, 2, None);
            return Ok(Told::Found(!found.map_err(internal)?.entries.is_empty()));
        }
    };
    told(ask, outcome)
}

fn told(ask: &Ask, outcome: Outcome) -> Result<Told> {
    match outcome {
        Outcome::Checked(decision) => Ok(Told::Decided(decision)),
        Outcome::Reset => Ok(Told::Reset),
        Outcome::Credited(credited) => Ok(Told::Credited(credited)),
        Outcome::Logged { .. } => Ok(Told::Logged),
        other => Err(Error::internal(format!("{ask:?} came to {other:?}"))),
    }
}

async fn snapshot(world: &World, process: &Process) -> Result<Box<dyn Snapshot>> {
    let leads = matches!(process.node.leadership(), Leadership::Here { .. });
    if world.planted.reads_without_quorum && leads {
        // The planted bug: it may lead no more, and not know.
        return Ok(process.node.state().audit_snapshot());
    }
    process.node.reads().snapshot().await
}

/// How often a counter was counted, by a snapshot.
pub fn count(snapshot: &dyn Snapshot, key: u64) -> Result<u64> {
    let check = workload::count_check(key);
    let cell = snapshot.get(Table::Cell, &keys::cell(&check.object, &check.identifier));
    let cell = cell.map_err(internal)?.map(|value| codec::decode::<Cell>(&value)).transpose();
    Ok(cell.map_err(internal)?.map_or(0, |cell| cell.count))
}

fn internal(error: std::io::Error) -> Error {
    Error::internal(error.to_string())
}
