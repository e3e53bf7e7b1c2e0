//! Invariant: when nothing goes wrong any more, service returns and all nodes come to the same state,
//! each within a bounded time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tallykeep::query::{Filter, Order, Walk};
use tokio::time::{sleep, timeout};

use crate::clients::{ask_of, count};
use crate::history::{Ask, Told};
use crate::host::Host;
use crate::workload;
use crate::world::World;

/// How long the cluster may take to answer at every node.
pub const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);
/// The client that looks.
const OBSERVER: u64 = 0;

/// What a cluster has come to.
pub struct End {
    pub counts: Vec<u64>,
    /// By node: every entry.
    pub entries: Vec<(u64, Vec<Bytes>)>,
}

/// Returns once every node admits a check, with the time that the last one told.
///
/// # Errors
/// If that takes longer than [`PATIENCE`].
pub async fn service(world: &World, hosts: &[Host]) -> Result<(Duration, u64), String> {
    let mut told = None;
    for host in hosts.iter().filter(|host| host.is_enlisted()) {
        let admitted = async {
            loop {
                let answer = ask_of(world, host, OBSERVER, Ask::Count { key: 0 }).await;
                if let Some(Told::Decided(decision)) = answer {
                    return decision.now_ms;
                }
                sleep(LOOK).await;
            }
        };
        let now_ms = timeout(PATIENCE, admitted).await.map_err(|_| {
            format!("node {} answers no check {PATIENCE:?} after everything was mended", host.id)
        })?;
        told = Some((world.now(), now_ms));
    }
    told.ok_or_else(|| "there are no nodes".to_owned())
}

/// Waits until all nodes are ready and have applied the same entries, and compares their states.
///
/// # Errors
/// If that takes longer than [`PATIENCE`], or if they differ.
pub async fn agreement(hosts: &[Host]) -> Result<(), String> {
    let agreed = async {
        loop {
            let mut states = Vec::new();
            for process in hosts.iter().filter_map(Host::process) {
                if process.node.ready().is_ok() {
                    states.extend(process.node.content_hash().await);
                }
            }
            let enlisted = hosts.iter().filter(|host| host.is_enlisted()).count();
            if states.len() == enlisted && states.iter().all(|state| state.0 == states[0].0) {
                return states;
            }
            sleep(LOOK).await;
        }
    };
    let states = timeout(PATIENCE, agreed).await.map_err(|_| {
        let ready = hosts.iter().map(|host| host.process().map(|process| process.node.ready()));
        format!("the nodes do not come to the same entry: {:?}", ready.collect::<Vec<_>>())
    })?;
    if states.iter().any(|state| state.1 != states[0].1) {
        return Err(format!("the nodes' states differ: {states:?}"));
    }
    Ok(())
}

/// What is there in the end, by linearizable reads.
///
/// # Errors
/// If it cannot be read.
pub async fn end(hosts: &Arc<Vec<Host>>) -> Result<End, String> {
    let mut end = End { counts: Vec::new(), entries: Vec::new() };
    for host in hosts.iter().filter(|host| host.is_enlisted()) {
        let process = host.process().ok_or("a node is down")?;
        let snapshot = process.node.reads().snapshot().await.map_err(|error| error.message)?;
        let counts = (0..workload::COUNTERS).map(|key| count(&*snapshot, key));
        end.counts = counts.collect::<Result<_, _>>().map_err(|error| error.message)?;
        let filter = Filter { order: Order::Asc, ..Filter::default() };
        let mut walk = Walk::new(&workload::all_entries(), filter);
        let mut entries = Vec::new();
        while let Some(chunk) =
            walk.next_chunk(&*snapshot).map_err(|error| format!("node {}: {error}", host.id))?
        {
            entries.extend(chunk);
        }
        end.entries.push((host.id, entries));
    }
    Ok(end)
}
