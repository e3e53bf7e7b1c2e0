//! A whole cluster in one thread: the node's own code from the proposer inward, with its Raft and its
//! peer protocol, on a simulated network, clock and disk, all from one seed.
//!
//! | file | what it is |
//! |---|---|
//! | `world.rs`, `clock.rs`, `entropy.rs`, `life.rs` | time, randomness, and what has been seen |
//! | `network.rs`, `pipe.rs` | connections that are slow, cut, or break |
//! | `disk.rs`, `log_disk.rs`, `state_disk.rs` | disks that lose what was not synced |
//! | `host.rs` | a machine, and the node that runs on it |
//! | `faults.rs`, `membership.rs` | what goes wrong, and machines that come and go |
//! | `clients.rs`, `workload.rs`, `history.rs` | who asks what, and what was answered |
//! | `limits.rs`, `once.rs`, `linearizable.rs`, `search.rs`, `replicas.rs`, `clocks.rs`, `leaders.rs`, `liveness.rs` | an invariant each |
//! | `planted.rs` | known bugs, to be found |
//! | `run.rs`, `many.rs` | one seed, and many |
//!
//! `SIMULATION_SEEDS=1000` runs so many, `SIMULATION_FROM` says from which on. A failure prints its
//! seed; `SIMULATION_SEED` replays it.

mod clients;
mod clock;
mod clocks;
mod disk;
mod entropy;
mod faults;
mod history;
mod host;
mod leaders;
mod life;
mod limits;
mod linearizable;
mod liveness;
mod log_disk;
mod many;
mod membership;
mod network;
mod once;
mod pipe;
mod planted;
mod replicas;
mod run;
mod search;
mod state_disk;
mod workload;
mod world;

use std::time::Instant;

use planted::Planted;

/// Seeds of the short form.
const SEEDS: u64 = 50;
/// A planted bug is found within so many seeds.
const PLANTED_SEEDS: u64 = 300;

#[test]
fn every_seed_holds_every_invariant() {
    if let Some(seed) = many::told_seed() {
        return many::run_here(seed);
    }
    let began = Instant::now();
    let (mut sum, mut failures) = (many::Sum::default(), Vec::new());
    for seed in many::wanted_seeds(SEEDS) {
        let told = many::run_apart(seed, "");
        sum.add(&told);
        if !told.passed {
            println!("{}\n", told.failure());
            failures.push(seed);
        }
    }
    println!("{}", sum.line(began.elapsed()));
    assert!(failures.is_empty(), "seeds that failed: {failures:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 2] {
        let (first, second) = (many::run_apart(seed, ""), many::run_apart(seed, ""));
        assert!(first.number("events") > 1_000, "{}", first.failure());
        assert_eq!(first.values, second.values);
    }
}

/// Runs seeds until a planted bug is found, by a seed that finds nothing without it.
fn find(planted: &str) {
    let found = (0..PLANTED_SEEDS).map(|seed| many::run_apart(seed, planted));
    let Some(found) = found.into_iter().find(|told| !told.passed) else {
        panic!("{planted} was not found by {PLANTED_SEEDS} seeds");
    };
    println!("{planted}:\n{}", found.failure());
    assert!(found.number("events") > 0, "it did not end");
    let without = many::run_apart(found.seed, "");
    assert!(without.passed, "{}", without.failure());
}

#[test]
fn an_acknowledgement_before_the_disk_has_it_is_found() {
    find(Planted::NAMES[0]);
}

#[test]
fn a_retry_that_counts_twice_is_found() {
    find(Planted::NAMES[1]);
}

#[test]
fn a_read_from_a_deposed_leader_is_found() {
    find(Planted::NAMES[2]);
}
