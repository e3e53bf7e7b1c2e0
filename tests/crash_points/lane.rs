//! A node by itself that goes from point to point, and two clients of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::book::{Book, Desk};
use super::point::Point;
use super::shim::{Shim, Traces, borrowed};
use super::subject::{Subject, is_killed, is_well};
use crate::cluster::{Setup, TestCluster, wait_until};

const NODE: u64 = 1;
/// The smallest there is; and with nobody else to vote, elections need no patience.
const SETTINGS: &str = "snapshot_log_bytes = 65536
raft = { heartbeat_ms = 20, election_min_ms = 60, election_max_ms = 90 }";
/// Beyond these a snapshot cuts the log: the newest 512 entries stay. Two requests are one entry at
/// least.
const REQUESTS_BEFORE: usize = 1400;
/// Snapshots that a running node makes while its steps are counted.
const SNAPSHOTS: usize = 2;
/// Requests to a node that was just made.
const REQUESTS_FIRST: usize = 60;

/// What a node does while it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// It starts in an empty folder, serves a little, and stops.
    First,
    /// It starts after it was killed, with a log that every snapshot now cuts, serves, makes
    /// snapshots, and stops.
    Running,
}

impl Scenario {
    /// As points name it.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::First => "first",
            Scenario::Running => "running",
        }
    }

    fn of(point: &Point) -> Self {
        match &point.scenario[..] {
            "first" => Scenario::First,
            "running" => Scenario::Running,
            other => panic!("a node by itself has no scenario {other}"),
        }
    }
}

type Books = [Book; 2];

/// A node by itself.
pub struct Lane {
    shim: Rc<Shim>,
    cluster: TestCluster,
    data: PathBuf,
    traces: Traces,
    /// The data of a node that has served and was killed, and what it had told.
    before: (PathBuf, Books),
}

impl Lane {
    /// A node that has served already.
    pub async fn start(shim: Rc<Shim>) -> Self {
        let setup = Setup { nodes: 1, ..Setup::with(SETTINGS) };
        let mut cluster = TestCluster::start_as(setup).await;
        let data = cluster.dir().join("data1");
        let mut books = [Book::new("one"), Book::new("two")];
        serve(&mut cluster, &mut books, REQUESTS_BEFORE, 0).await;
        cluster.kill(NODE);
        let before = cluster.dir().join("before");
        fs::rename(&data, &before).expect("a folder of ours");
        let traces = Traces::of(&data);
        Self { shim, cluster, data, traces, before: (before, books) }
    }

    /// The steps that a scenario takes.
    pub async fn steps(&mut self, scenario: Scenario) -> Vec<String> {
        let (status, _) = self.live(scenario, SNAPSHOTS, None).await;
        assert!(!is_killed(status), "{status}");
        self.traces.steps()
    }

    /// One life of the node, from its start to its end: at the point, or by SIGTERM when it has
    /// served for long enough.
    async fn live(
        &mut self,
        scenario: Scenario,
        snapshots: usize,
        point: Option<&Point>,
    ) -> (ExitStatus, Books) {
        if self.data.exists() {
            fs::remove_dir_all(&self.data).expect("a folder of ours");
        }
        let (requests, snapshots, mut books) = match scenario {
            Scenario::First => (REQUESTS_FIRST, 0, [Book::new("one"), Book::new("two")]),
            Scenario::Running => {
                copy(&self.before.0, &self.data);
                (0, snapshots, self.before.1.clone())
            }
        };
        self.traces.clear();
        let environment = self.traces.environment(&self.shim, point);
        self.cluster.restart_with(NODE, &borrowed(&environment));
        let cluster = &mut self.cluster;
        cluster.wait_ready_or_ended(NODE).await;
        serve(cluster, &mut books, requests, snapshots).await;
        let status = match cluster.ended(NODE) {
            Some(status) => status,
            None => cluster.terminate(NODE).await.0,
        };
        cluster.kill(NODE);
        (status, books)
    }
}

impl Subject for Lane {
    async fn check(&mut self, point: &Point) -> bool {
        let scenario = Scenario::of(point);
        let told = self.cluster.log(NODE).len();
        // One snapshot more than were counted: no two runs are the same.
        let (status, mut books) = self.live(scenario, SNAPSHOTS + 1, Some(point)).await;
        let is_reached = is_killed(status);
        self.traces.lose(point.loss);
        self.cluster.restart(NODE);
        self.cluster.wait_ready_one(NODE).await;
        for book in &mut books {
            book.verify(self.cluster.api()).await;
        }
        is_well(&self.cluster.log(NODE)[told..]);
        self.cluster.kill(NODE);
        is_reached
    }
}

/// Has the clients send until so many requests are answered and so many snapshots made, or the node
/// has ended.
async fn serve(cluster: &mut TestCluster, books: &mut Books, requests: usize, snapshots: usize) {
    let api = cluster.api().clone();
    let desk = Desk::default();
    let made = |cluster: &TestCluster| cluster.log(NODE).matches("built a snapshot").count();
    let before = made(cluster);
    let enough = wait_until("enough is served", async || {
        let answered = desk.answered.load(Ordering::Relaxed);
        let made = made(cluster) - before;
        let is_enough = answered >= requests && made >= snapshots;
        if is_enough || cluster.ended(NODE).is_some() {
            desk.closed.store(true, Ordering::Relaxed);
            return Ok(());
        }
        Err(format!("{answered} answers and {made} snapshots"))
    });
    let [one, two] = books;
    tokio::join!(enough, one.send(&api, &desk), two.send(&api, &desk));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a copy");
        }
    }
}
