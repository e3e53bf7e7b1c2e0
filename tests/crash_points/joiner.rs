//! Three nodes, of which one that has lost its data gets a snapshot from the others, and ends
//! meanwhile.

use std::process::ExitStatus;
use std::rc::Rc;

use super::point::Point;
use super::shim::{Shim, Traces, borrowed};
use super::subject::{Subject, is_killed, is_well};
use crate::cluster::{Load, Record, Setup, TestCluster};

/// The smallest there is.
const SETTINGS: &str = "snapshot_log_bytes = 65536";
/// Of a load: few, as it is the nodes that are to work.
const WORKERS: usize = 2;
/// Requests that come after the snapshot, or while the node starts again.
const SOME: u64 = 40;
/// By this step a node knows that it has lost its data; what comes before, every node does at its
/// first start.
const LOST: &str = "create REJOINING";

/// Three nodes that serve; it is a follower that loses its data, another time perhaps another one.
pub struct Joiner {
    shim: Rc<Shim>,
    cluster: TestCluster,
    records: Vec<Record>,
}

impl Joiner {
    /// What points call it.
    pub const SCENARIO: &str = "joining";

    /// Nodes whose logs no longer go back to their beginning.
    pub async fn start(shim: Rc<Shim>) -> Self {
        let cluster = TestCluster::start_as(Setup::with(SETTINGS)).await;
        let load = Load::start(cluster.api(), &cluster.ids(), 2 * WORKERS);
        for id in cluster.ids() {
            cluster.wait_log_cut(id).await;
        }
        let records = vec![load.stop().await];
        Self { shim, cluster, records }
    }

    /// The steps of a follower without data, and how many of them it makes before it knows that.
    pub async fn steps(&mut self) -> (Vec<String>, usize) {
        let (id, status) = self.live(None).await;
        assert!(!is_killed(status), "{status}");
        self.cluster.restart(id);
        self.cluster.wait_ready_one(id).await;
        let steps = self.traces(id).steps();
        let lost = steps.iter().position(|step| step == LOST).expect("it has lost its data");
        let installs = steps.iter().any(|step| step == "rename snapshots/N");
        assert!(installs, "no snapshot was received: {steps:?}");
        (steps, lost)
    }

    /// Compares what all nodes say with all that was ever acknowledged, and has each other node be
    /// without one of the others in turn: they can all be relied on.
    pub async fn finish(mut self) {
        for gone in self.cluster.ids() {
            self.cluster.kill(gone);
            self.cluster.leader().await;
            let load = Load::start(self.cluster.api(), &self.cluster.active(), WORKERS);
            load.progress(SOME).await;
            self.records.push(load.stop().await);
            self.cluster.restart(gone);
            self.cluster.wait_ready().await;
        }
        self.cluster.equal_state().await;
        let follower = self.cluster.a_follower().await;
        for record in &self.records {
            record.verify(self.cluster.api(), follower, false).await;
        }
        self.cluster.equal_state().await;
    }

    /// One life of a follower without data: to the point, or until it has joined, has taken part for
    /// a while, and is stopped. The others serve all the time.
    async fn live(&mut self, point: Option<&Point>) -> (u64, ExitStatus) {
        let id = self.cluster.a_follower().await;
        let others: Vec<u64> =
            self.cluster.ids().into_iter().filter(|other| *other != id).collect();
        self.cluster.kill(id);
        self.cluster.wipe(id);
        let traces = self.traces(id);
        traces.clear();
        let environment = traces.environment(&self.shim, point);
        self.cluster.restart_with(id, &borrowed(&environment));
        let load = Load::start(self.cluster.api(), &others, WORKERS);
        let ended = self.cluster.wait_ready_or_ended(id).await;
        load.progress(SOME).await;
        self.records.push(load.stop().await);
        // It may have ended since.
        let status = match ended.or_else(|| self.cluster.ended(id)) {
            Some(status) => status,
            None => self.cluster.terminate(id).await.0,
        };
        self.cluster.kill(id);
        (id, status)
    }

    fn traces(&self, id: u64) -> Traces {
        Traces::of(&self.cluster.dir().join(format!("data{id}")))
    }
}

impl Subject for Joiner {
    async fn check(&mut self, point: &Point) -> bool {
        let told: Vec<usize> =
            self.cluster.ids().into_iter().map(|id| self.cluster.log(id).len()).collect();
        let (id, status) = self.live(Some(point)).await;
        let is_reached = is_killed(status);
        self.traces(id).lose(point.loss);
        self.cluster.restart(id);
        self.cluster.wait_ready_one(id).await;
        self.cluster.equal_state().await;
        for (id, told) in self.cluster.ids().into_iter().zip(told) {
            is_well(&self.cluster.log(id)[told..]);
        }
        is_reached
    }
}
