//! Nodes that end at every step of what they do to their disk, alone or with the power, and are
//! started again: nothing that was acknowledged is lost or doubled, and no limit is exceeded.
//!
//! A run tries as many points as fit into about a minute, chosen by a new seed, which it prints.
//! `CRASH_SEED=n` chooses the same again, `CRASH_POINTS=n` more of them or `all`, and
//! `CRASH_POINT="…"` one, as a failure has named it. See `crash_points/steps.c` for what a step is.

mod cluster;
mod crash_points;

use std::rc::Rc;

use tokio::task::{JoinSet, LocalSet};

use crash_points::{Joiner, Lane, Plan, Restorer, Results, Scenario, Shim, Steps};

/// Nodes by themselves that go from point to point beside each other: they wait more than they work.
const LANES: usize = 3;
/// Points of a run with a node by itself.
const POINTS: usize = 60;
/// Points of a run with a node that joins.
const POINTS_JOINING: usize = 12;
/// Points of a run with a node that is restored.
const POINTS_RESTORING: usize = 16;

/// A node by itself, from its first start on.
#[tokio::test]
async fn a_node_that_ends_at_any_step_keeps_what_it_acknowledged() {
    // A point that fails is to be named, and its task alone to panic; tasks of one thread may hold
    // what others may not.
    LocalSet::new().run_until(by_itself()).await;
}

/// A node of three that has lost its data, while it receives a snapshot and installs it.
#[tokio::test]
async fn a_node_that_ends_at_any_step_of_joining_joins_all_the_same() {
    LocalSet::new().run_until(joining()).await;
}

/// A node that is restored from a backup: it is whole, or refused and restored again.
#[tokio::test]
async fn a_restore_that_ends_at_any_step_is_done_or_done_again() {
    LocalSet::new().run_until(restoring()).await;
}

async fn by_itself() {
    let plan = Plan::read(POINTS);
    let shim = Rc::new(Shim::compile());
    let all = [Scenario::First, Scenario::Running];
    let (points, first) = match plan.one(&all.map(Scenario::name)) {
        Some(points) => (points, None),
        None => {
            let mut lane = Lane::start(shim.clone()).await;
            let mut steps = Vec::new();
            for scenario in all {
                let made = lane.steps(scenario).await;
                steps.push(Steps { scenario: scenario.name().to_owned(), made, from: 0 });
            }
            (plan.choose(&steps), Some(lane))
        }
    };
    let lanes = LANES.min(points.len());
    let results = Results::new(points);
    let mut running = JoinSet::new();
    let more = lanes.saturating_sub(usize::from(first.is_some()));
    if let Some(lane) = first {
        running.spawn_local(results.clone().along(lane));
    }
    for _ in 0..more {
        let (shim, results) = (shim.clone(), results.clone());
        running.spawn_local(async move { results.along(Lane::start(shim).await).await });
    }
    running.join_all().await;
    results.conclude();
}

async fn joining() {
    let plan = Plan::read(POINTS_JOINING);
    let mut joiner = Joiner::start(Rc::new(Shim::compile())).await;
    let points = match plan.one(&[Joiner::SCENARIO]) {
        Some(points) => points,
        None => {
            let (made, from) = joiner.steps().await;
            plan.choose(&[Steps { scenario: Joiner::SCENARIO.to_owned(), made, from }])
        }
    };
    let results = Results::new(points);
    let joined = results.clone().along(joiner).await;
    results.conclude();
    joined.expect("no point has failed").finish().await;
}

async fn restoring() {
    let plan = Plan::read(POINTS_RESTORING);
    let mut restorer = Restorer::start(Rc::new(Shim::compile())).await;
    let points = match plan.one(&[Restorer::SCENARIO]) {
        Some(points) => points,
        None => {
            let made = restorer.steps().await;
            plan.choose(&[Steps { scenario: Restorer::SCENARIO.to_owned(), made, from: 0 }])
        }
    };
    let results = Results::new(points);
    results.clone().along(restorer).await;
    results.conclude();
}
