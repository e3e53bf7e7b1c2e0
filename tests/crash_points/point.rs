//! Where a node ends, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// One point runs it alone, as a failure has named it.
const POINT_VARIABLE: &str = "CRASH_POINT";
/// How many points: a number, or `all`.
const COUNT_VARIABLE: &str = "CRASH_POINTS";
/// The seed of their choice.
const SEED_VARIABLE: &str = "CRASH_SEED";

/// Ways to end at a write: before it, in its midst and after it, each with three losses.
const WAYS: usize = 9;

/// What is lost beside what the process had in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: the process alone ends.
    Killed,
    /// The power went: of each file and folder what was done since its last sync is lost, all of it
    /// with the seed 0, else from a random moment on.
    Unplugged(u64),
}

/// A step of a node, and how it ends there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What the node is doing: the name of a scenario.
    pub scenario: String,
    /// What is lost.
    pub loss: Loss,
    /// `before`, `midst` or `after`.
    when: String,
    /// Which of the steps of this kind: from 1.
    nth: usize,
    /// A call and a path whose numbers are `N`, as `steps.c` writes them.
    pub kind: String,
}

impl Point {
    /// The step, as `steps.c` reads it.
    pub fn step(&self) -> String {
        format!("{} {} {}", self.when, self.nth, self.kind)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, .. } = self;
        match self.loss {
            Loss::Killed => write!(f, "{scenario} killed {}", self.step()),
            Loss::Unplugged(seed) => write!(f, "{scenario} unplugged-{seed} {}", self.step()),
        }
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.splitn(5, ' ').collect();
        let [scenario, loss, when, nth, kind] = parts[..] else {
            return Err(format!("{POINT_VARIABLE}={text:?} is no point"));
        };
        let wrong = || format!("{POINT_VARIABLE}: neither killed nor unplugged-SEED: {loss:?}");
        let loss = match loss.strip_prefix("unplugged-") {
            Some(seed) => Loss::Unplugged(seed.parse().map_err(|_| wrong())?),
            None if loss == "killed" => Loss::Killed,
            None => return Err(wrong()),
        };
        let nth = nth.parse().map_err(|error| format!("{POINT_VARIABLE}: {nth:?}: {error}"))?;
        let (scenario, when, kind) = (scenario.to_owned(), when.to_owned(), kind.to_owned());
        Ok(Self { scenario, loss, when, nth, kind })
    }
}

/// The steps that a node was seen to make.
pub struct Steps {
    /// What it was doing.
    pub scenario: String,
    /// All of them, in order.
    pub made: Vec<String>,
    /// The position of the first at which it may end.
    pub from: usize,
}

/// Which points are tried, as the environment says.
pub struct Plan {
    one: Option<Point>,
    /// No number: all.
    count: Option<usize>,
    seed: u64,
}

impl Plan {
    /// Reads the environment; without it, `count` points are chosen by a new seed.
    pub fn read(count: usize) -> Self {
        let variable = |name| std::env::var(name).ok();
        let one = variable(POINT_VARIABLE)
            .map(|text| text.parse().unwrap_or_else(|error| panic!("{error}")));
        let count = match variable(COUNT_VARIABLE).as_deref() {
            None => Some(count),
            Some("all") => None,
            Some(count) => Some(count.parse().expect("CRASH_POINTS is a number or `all`")),
        };
        let seed = variable(SEED_VARIABLE)
            .map_or_else(rand::random, |seed| seed.parse().expect("CRASH_SEED is a number"));
        Self { one, count, seed }
    }

    /// The one point to try, if there is to be one alone: none, if it is of none of `scenarios`.
    pub fn one(&self, scenarios: &[&str]) -> Option<Vec<Point>> {
        let one = self.one.as_ref()?;
        let is_here = scenarios.contains(&&one.scenario[..]);
        Some(if is_here { vec![one.clone()] } else { Vec::new() })
    }

    /// Chooses among the steps that each scenario was seen to make. Every kind of step comes once
    /// before any comes twice; all of them is every kind, before, in the midst and after, with and
    /// without power, at a random one of its occurrences each.
    pub fn choose(&self, scenarios: &[Steps]) -> Vec<Point> {
        println!("CRASH_SEED={}", self.seed);
        let mut random = StdRng::seed_from_u64(self.seed);
        // One list for each way to end, so that the first round has every kind once.
        let mut rounds: Vec<Vec<Point>> = vec![Vec::new(); WAYS];
        for Steps { scenario, made, from } in scenarios {
            assert!(!made.is_empty(), "{scenario}: no step was seen, so the shim was not loaded");
            let mut kinds = BTreeMap::<&str, (usize, usize)>::new();
            for (position, step) in made.iter().enumerate() {
                let (before, count) = kinds.entry(step).or_default();
                *before += usize::from(position < *from);
                *count += 1;
            }
            kinds.retain(|_, (before, count)| before < count);
            println!("{scenario}: {} steps of {} kinds", made.len() - from, kinds.len());
            for (kind, (before, count)) in kinds {
                let is_write = kind.starts_with("write ") || kind.starts_with("copy ");
                let mut points = Vec::new();
                for when in ["before", "midst", "after"] {
                    if when == "midst" && !is_write {
                        continue;
                    }
                    let seed = random.random_range(1..1_000_000);
                    for loss in [Loss::Killed, Loss::Unplugged(0), Loss::Unplugged(seed)] {
                        let nth = random.random_range(before + 1..=count);
                        let (scenario, when) = (scenario.clone(), when.to_owned());
                        points.push(Point { scenario, loss, when, nth, kind: kind.to_owned() });
                    }
                }
                points.shuffle(&mut random);
                for (round, point) in rounds.iter_mut().zip(points) {
                    round.push(point);
                }
            }
        }
        for round in &mut rounds {
            round.shuffle(&mut random);
        }
        let all = rounds.concat();
        let count = self.count.unwrap_or(all.len());
        all.into_iter().take(count).collect()
    }
}
