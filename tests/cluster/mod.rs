//! Clusters of real processes for the black-box tests.
//!
//! A [`TestCluster`] runs the built binary, a process per node, each with a data folder, two ports
//! and a log of its own, and ends them all when it is dropped. Tests talk to it as clients do,
//! through [`Api`], and to its processes as an operator or a disaster would. Nodes are named by
//! their ids, from 1.
//!
//! Every wait is for a condition, has a generous deadline, and says what was not reached. When a
//! test fails, the end of each node's log is printed; when it passes, a node that told of an error
//! makes it fail all the same.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of this")]

mod api;
mod load;
mod node;
mod ports;
mod wait;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tallykeep::secret::{OPERATOR, Secret};
use tallykeep::tls::Trust;
use tempfile::TempDir;

pub use api::{Answer, Api, check_body, iso, now_ms};
pub use load::{Failure, Load, Record, Why};
pub use node::{Exit, run, run_from, run_to_end, run_with};
pub use ports::{Ports, is_free};
pub use wait::wait_until;

use node::Node;

/// The name of every test cluster: object ids are derived from it.
pub const CLUSTER: &str = "black-box";

/// How a cluster differs from a plain one of three nodes.
pub struct Setup {
    /// How many nodes.
    pub nodes: u64,
    /// How many more have their configuration and may be added; their ids come after the others'.
    pub spares: u64,
    /// Further lines at the top of each node's configuration.
    pub settings: String,
    /// Whether nodes speak TLS, with certificates in the folder `certs`; spares have some too.
    pub tls: bool,
    /// Whether clients need tokens. [`TestCluster::api`] has an operator's then.
    pub tokens: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { nodes: 3, spares: 0, settings: String::new(), tls: false, tokens: false }
    }
}

impl Setup {
    /// Three nodes with these lines at the top of their configuration.
    pub fn with(settings: &str) -> Self {
        Self { settings: settings.to_owned(), ..Self::default() }
    }
}

/// What a node's configuration says of its certificates.
fn tls_settings(id: u64) -> String {
    let pair = format!("certificate = \"certs/node{id}.crt\"\nkey = \"certs/node{id}.key\"\n");
    format!("[tls.peers]\nca = \"certs/ca.crt\"\n{pair}[tls.clients]\n{pair}")
}

/// Makes a CA in `folder`, and certificates for nodes from 1, by `tallykeep certs init`.
pub fn make_certificates(folder: &Path, nodes: u64) {
    let folder = folder.to_str().expect("a path of UTF-8");
    let mut arguments: Vec<String> =
        ["certs", "init", folder, "--cluster", CLUSTER].map(String::from).to_vec();
    for id in 1..=nodes {
        arguments.extend(["--node".to_owned(), format!("{id}=127.0.0.1")]);
    }
    run_to_end(&arguments);
}

/// Nodes that know each other; see the module's documentation.
pub struct TestCluster {
    nodes: Vec<Node>,
    spares: u64,
    /// For clients, and for peers.
    addresses: Vec<(String, String)>,
    api: Api,
    operator: Secret,
    dir: TempDir,
    /// Kept for as long as the nodes: nobody else's may listen there meanwhile.
    _ports: Ports,
}

impl TestCluster {
    /// Three nodes that are ready.
    pub async fn start() -> Self {
        Self::start_as(Setup::default()).await
    }

    /// Nodes of a setup, all of them ready.
    pub async fn start_as(setup: Setup) -> Self {
        let mut cluster = Self::prepare(setup);
        for id in cluster.ids() {
            cluster.restart(id);
        }
        cluster.wait_ready().await;
        cluster.wait_version().await;
        cluster
    }

    /// Waits until the log may hold all commands that the nodes know: from then on a cluster without
    /// clients writes nothing.
    async fn wait_version(&self) {
        for id in self.active() {
            wait_until(&format!("node {id} is at the newest version"), async || {
                let report = self.report(id).await?;
                let nodes = report["nodes"].as_array().expect("nodes");
                let known = nodes.iter().map(|node| node["versionMax"].as_u64()).min().flatten();
                if report["version"].as_u64() == known { Ok(()) } else { Err(report.to_string()) }
            })
            .await;
        }
    }

    /// Nodes that have their configuration and their ports, and do not run yet.
    pub fn prepare(setup: Setup) -> Self {
        let dir = tempfile::tempdir().expect("a folder for temporary files");
        let count = usize::try_from(setup.nodes + setup.spares).expect("a few nodes");
        let ports = Ports::reserve(count * 2);
        let address = |port: &u16| format!("127.0.0.1:{port}");
        let (http, peer) = ports.numbers().split_at(count);
        let addresses: Vec<(String, String)> =
            http.iter().map(address).zip(peer.iter().map(address)).collect();
        let members: Vec<(u64, String)> = (1..)
            .zip(&addresses)
            .map(|(id, (http, peer))| {
                (id, format!("[[nodes]]\nid = {id}\nhttp = \"{http}\"\npeer = \"{peer}\"\n"))
            })
            .collect();
        let operator = Secret::generate(OPERATOR).expect("randomness");
        let nodes = (1..=setup.nodes + setup.spares)
            .map(|id| {
                let settings = &setup.settings;
                let mut text = format!(
                    "cluster = \"{CLUSTER}\"\nid = {id}\ndata = \"data{id}\"\n{settings}\n"
                );
                // A spare knows the first nodes and itself.
                let listed = members.iter().filter(|(one, _)| *one <= setup.nodes || *one == id);
                text.extend(listed.map(|(_, lines)| lines.as_str()));
                if setup.tls {
                    text.push_str(&tls_settings(id));
                }
                if setup.tokens {
                    let hash = hex::encode(operator.sha256());
                    text.push_str(&format!("[auth]\noperator_sha256 = [\"{hash}\"]\n"));
                }
                Node::new(id, dir.path(), &text)
            })
            .collect();
        let scheme = if setup.tls { "https" } else { "http" };
        let urls = addresses.iter().map(|(http, _)| format!("{scheme}://{http}")).collect();
        let trust = if setup.tls {
            let folder = dir.path().join("certs");
            make_certificates(&folder, setup.nodes + setup.spares);
            Trust::file(&folder.join("ca.crt")).expect("a CA")
        } else {
            Trust::nobody()
        };
        let api = Api::trusting(&trust, urls);
        let api = api.with_token(setup.tokens.then(|| operator.text()));
        Self { nodes, spares: setup.spares, addresses, api, operator, dir, _ports: ports }
    }

    /// The way of clients to the nodes.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The operator's token that nodes know which need tokens.
    pub fn operator(&self) -> &str {
        self.operator.text()
    }

    /// The ids of all nodes but the spares.
    pub fn ids(&self) -> Vec<u64> {
        (1..=self.nodes.len() as u64 - self.spares).collect()
    }

    /// Where a node listens, as `tallykeep members` takes it.
    pub fn new_node(&self, id: u64) -> [String; 6] {
        let (http, peer) = self.addresses[Self::index(id)].clone();
        ["--id".into(), id.to_string(), "--http".into(), http, "--peer".into(), peer]
    }

    /// The ids of the nodes that run and are not paused.
    pub fn active(&self) -> Vec<u64> {
        self.nodes.iter().filter(|node| node.is_active()).map(|node| node.id).collect()
    }

    /// The folder of the configurations, the data and the logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A node's configuration file.
    pub fn config(&mut self, id: u64) -> &Path {
        &self.node(id).config
    }

    /// The process of a node that runs.
    pub fn process(&self, id: u64) -> u32 {
        self.nodes[Self::index(id)].process()
    }

    /// What a node has told so far, over all its starts.
    pub fn log(&self, id: u64) -> String {
        self.nodes[Self::index(id)].log()
    }

    /// What a running node has in memory.
    pub fn memory_bytes(&self, id: u64) -> u64 {
        self.nodes[Self::index(id)].memory_bytes()
    }

    /// Starts a node that does not run, with the data that it has.
    pub fn restart(&mut self, id: u64) {
        self.restart_with(id, &[]);
    }

    /// The same, with these variables in its environment.
    pub fn restart_with(&mut self, id: u64, environment: &[(&str, &OsStr)]) {
        self.node(id).start(environment);
    }

    /// Has a node look at its certificates' files at once: SIGHUP.
    pub fn hang_up(&self, id: u64) {
        self.nodes[Self::index(id)].signal("HUP");
    }

    /// The address at which a node listens for its peers.
    pub fn peer_address(&self, id: u64) -> &str {
        &self.addresses[Self::index(id)].1
    }

    /// How a node's process ended, if it has: it is then to be killed before it is started again.
    pub fn ended(&mut self, id: u64) -> Option<ExitStatus> {
        self.node(id).ended()
    }

    /// SIGKILL.
    pub fn kill(&mut self, id: u64) {
        self.node(id).kill();
    }

    /// SIGTERM; gives how the node ended, and after how long.
    pub async fn terminate(&mut self, id: u64) -> (ExitStatus, Duration) {
        self.node(id).terminate().await
    }

    /// SIGSTOP: the node is there, and does nothing.
    pub fn pause(&mut self, id: u64) {
        self.node(id).pause();
    }

    /// SIGCONT.
    pub fn resume(&mut self, id: u64) {
        self.node(id).resume();
    }

    /// Removes the data of a node that does not run.
    pub fn wipe(&mut self, id: u64) {
        self.node(id).wipe();
    }

    /// The data folder of a node.
    pub fn data(&self, id: u64) -> PathBuf {
        self.dir().join(format!("data{id}"))
    }

    /// Rewrites the configuration of a node that does not run.
    pub fn reconfigure(&mut self, id: u64, from: &str, to: &str) {
        self.node(id).reconfigure(from, to);
    }

    /// Waits until every active node is ready.
    pub async fn wait_ready(&mut self) {
        for id in self.active() {
            self.wait_ready_one(id).await;
        }
    }

    /// Waits until one node is ready.
    pub async fn wait_ready_one(&mut self, id: u64) {
        if let Some(status) = self.wait_ready_or_ended(id).await {
            panic!("node {id} ended with {status} instead of becoming ready");
        }
    }

    /// Waits until one node is ready, or its process has ended: then it tells how.
    pub async fn wait_ready_or_ended(&mut self, id: u64) -> Option<ExitStatus> {
        let api = self.api.clone();
        let node = self.node(id);
        wait_until(&format!("node {id} is ready"), async || {
            if let Some(status) = node.ended() {
                return Ok(Some(status));
            }
            let answer = api.try_get(id, "/readyz").await.map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(None) } else { Err(answer.text()) }
        })
        .await
    }

    /// Waits until one node has made a snapshot that cuts its log: it keeps the newest 512 entries.
    pub async fn wait_log_cut(&self, id: u64) {
        let what = format!("node {id} has a snapshot and a log without its beginning");
        wait_until(&what, async || {
            let log = self.log(id);
            let line = log.lines().rfind(|line| line.contains("built a snapshot"));
            let applied = line
                .and_then(|line| line.rsplit_once("applied=")?.1.split(' ').next()?.parse().ok());
            if applied > Some(1000u64) { Ok(()) } else { Err(format!("applied {applied:?}")) }
        })
        .await;
    }

    /// The leader, as soon as all active nodes agree on one of them.
    pub async fn leader(&self) -> u64 {
        let active = self.active();
        wait_until(&format!("the nodes {active:?} agree on a leader among them"), async || {
            let mut named = Vec::new();
            for id in &active {
                let report = self.report(*id).await?;
                named.push(report["leader"].as_u64());
            }
            match named[0] {
                Some(leader)
                    if active.contains(&leader) && named.iter().all(|one| *one == named[0]) =>
                {
                    Ok(leader)
                }
                _ => Err(format!("they name {named:?}")),
            }
        })
        .await
    }

    /// An active node that does not lead.
    pub async fn a_follower(&self) -> u64 {
        let leader = self.leader().await;
        *self.active().iter().find(|id| **id != leader).expect("a follower")
    }

    /// `GET /admin/cluster` at a node.
    pub async fn report(&self, id: u64) -> Result<Value, String> {
        let answer = self.api.try_get(id, "/admin/cluster").await;
        Ok(answer.map_err(|error| error.to_string())?.json())
    }

    /// Waits until all active nodes have applied the same log, and compares everything they hold.
    ///
    /// Two states at the same index that differ will never be equal: that fails at once.
    pub async fn equal_state(&self) {
        self.equal("/admin/cluster", "/stateHash").await;
        self.equal("/admin/hash", "").await;
    }

    /// Waits until `{"applied","hash"}` at `pointer` of `path` is the same on all active nodes.
    async fn equal(&self, path: &str, pointer: &str) {
        let active = self.active();
        wait_until(&format!("the nodes {active:?} are equal in {path}"), async || {
            let mut states = Vec::new();
            for id in &active {
                let answer =
                    self.api.try_get(*id, path).await.map_err(|error| error.to_string())?;
                let report = answer.json();
                let state = report.pointer(pointer).unwrap_or(&Value::Null);
                let applied = state["applied"].as_u64().ok_or_else(|| answer.text())?;
                let hash = state["hash"].as_str().expect("a hash").to_owned();
                assert_eq!(hash.len(), 64, "{report}");
                states.push((applied, hash));
            }
            for (applied, hash) in &states {
                let other = states.iter().find(|other| other.0 == *applied && other.1 != *hash);
                assert!(other.is_none(), "replicas differ in {path}: {states:?}");
            }
            if states.iter().all(|state| *state == states[0]) {
                Ok(())
            } else {
                Err(format!("{states:?}"))
            }
        })
        .await;
    }

    fn node(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[Self::index(id)]
    }

    fn index(id: u64) -> usize {
        usize::try_from(id).expect("a small id") - 1
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("--- the end of node {}'s log ---\n{}", node.id, node.log_tail());
            }
            return;
        }
        for node in &self.nodes {
            let log = node.log();
            let bad =
                log.lines().find(|line| line.contains(" ERROR ") || line.contains("panicked"));
            assert!(bad.is_none(), "node {} told of an error: {bad:?}", node.id);
        }
    }
}
