//! A node that is being restored from a backup, and ends meanwhile.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::rc::Rc;

use super::point::Point;
use super::shim::{Shim, Traces, borrowed};
use super::subject::{Subject, is_killed, is_well};
use crate::cluster::{Load, Setup, TestCluster, run, run_with, wait_until};

const NODE: u64 = 1;
/// Requests before the backup.
const SOME: u64 = 200;

/// A node that is restored again and again, and a backup of another one.
pub struct Restorer {
    shim: Rc<Shim>,
    cluster: TestCluster,
    backup: PathBuf,
    /// Over all rows, after the first point; every other comes to the same.
    hash: Option<String>,
    traces: Traces,
}

impl Restorer {
    /// What points call it.
    pub const SCENARIO: &str = "restoring";

    /// A backup, and a node that is not there yet.
    pub async fn start(shim: Rc<Shim>) -> Self {
        let alone = || Setup { nodes: 1, ..Setup::default() };
        let old = TestCluster::start_as(alone()).await;
        let load = Load::start(old.api(), &[NODE], 1);
        load.progress(SOME).await;
        load.stop().await;
        let cluster = TestCluster::prepare(alone());
        let backup = cluster.dir().join("backup.tar");
        let arguments = ["backup", &backup.to_string_lossy(), "--endpoint", old.api().url(NODE)];
        let (code, _, complaint) = run(&arguments).output().await;
        assert_eq!(code, Some(0), "{complaint}");
        let traces = Traces::of(&cluster.data(NODE));
        Self { shim, cluster, backup, hash: None, traces }
    }

    /// The steps of a restore.
    pub async fn steps(&mut self) -> Vec<String> {
        let status = self.restore(None).await;
        assert!(!is_killed(status), "{status}");
        self.traces.steps()
    }

    /// A restore into a folder that is not there, to its end.
    async fn restore(&mut self, point: Option<&Point>) -> ExitStatus {
        let data = self.cluster.data(NODE);
        if data.exists() {
            fs::remove_dir_all(&data).expect("a folder of ours");
        }
        self.traces.clear();
        let environment = self.traces.environment(&self.shim, point);
        let mut exit = run_with(&self.arguments(), &borrowed(&environment));
        wait_until("the restore ends", async || exit.ended().ok_or_else(|| exit.stderr())).await
    }

    fn arguments(&mut self) -> [String; 4] {
        let config = self.cluster.config(NODE).to_string_lossy().into_owned();
        let backup = self.backup.to_string_lossy().into_owned();
        ["restore".to_owned(), backup, "--config".to_owned(), config]
    }
}

impl Subject for Restorer {
    async fn check(&mut self, point: &Point) -> bool {
        let told = self.cluster.log(NODE).len();
        let is_reached = is_killed(self.restore(Some(point)).await);
        self.traces.lose(point.loss);
        let data = self.cluster.data(NODE);
        let is_marked = data.join("RESTORING").exists();
        if is_marked {
            let [_, _, option, config] = self.arguments();
            let (code, _, complaint) = run(&["serve", &option, &config]).output().await;
            assert_eq!(code, Some(1), "{complaint}");
            assert!(complaint.contains("restore it again"), "{complaint}");
        }
        // Without the mark it is whole, or nothing.
        if is_marked || !data.join("RESTORED").exists() {
            let (code, _, complaint) = run(&self.arguments()).output().await;
            assert_eq!(code, Some(0), "{complaint}");
        }
        self.cluster.restart(NODE);
        self.cluster.wait_ready_one(NODE).await;
        let hash = content_hash(&self.cluster).await;
        assert_eq!(*self.hash.get_or_insert(hash.clone()), hash);
        is_well(&self.cluster.log(NODE)[told..]);
        self.cluster.kill(NODE);
        is_reached
    }
}

async fn content_hash(cluster: &TestCluster) -> String {
    let answer = cluster.api().get(NODE, "/admin/hash").await.json();
    answer["hash"].as_str().expect("a hash").to_owned()
}
