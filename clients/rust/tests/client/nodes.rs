//! Real tallykeep nodes, each a process with a folder of its own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::process::{Child, Command as Spawn};
use tokio::sync::{Mutex, MutexGuard};

use crate::wait::wait_for;

/// Clusters run one after the other: they are not to be slow because of each other.
static ONE: Mutex<()> = Mutex::const_new(());

/// Nodes with the ids from 1 on. Those that run are killed when it is dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    http: Vec<String>,
    children: Vec<Option<Child>>,
    web: reqwest::Client,
    _one: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts `count` nodes and waits until all are ready.
    pub(crate) async fn start(count: usize) -> Self {
        let one = ONE.lock().await;
        let folder = TempDir::with_prefix("tallykeep-rust-").unwrap();
        let ports = free_ports(count * 2);
        let address = |index: usize| format!("127.0.0.1:{}", ports[index]);
        let http: Vec<String> = (0..count).map(|index| address(index * 2)).collect();
        let nodes: String = (0..count)
            .map(|index| {
                let (http, peer) = (&http[index], address(index * 2 + 1));
                format!("[[nodes]]\nid = {}\nhttp = {http:?}\npeer = {peer:?}\n", index + 1)
            })
            .collect();
        let wrangler = root().join("cluster/wrangler.toml");
        for id in 1..=count {
            let head = format!(
                "cluster = \"rust\"\nid = {id}\ndata = \"data{id}\"\nwrangler = {wrangler:?}\n"
            );
            fs::write(folder.path().join(format!("node{id}.toml")), head + &nodes).unwrap();
        }
        let children = (0..count).map(|_| None).collect();
        let web = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut cluster = Self { folder, http, children, web, _one: one };
        for id in 1..=count {
            cluster.start_node(id);
        }
        for id in 1..=count {
            cluster.wait_ready(id).await;
        }
        cluster
    }

    /// The URLs of all nodes, in the order of their ids.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.http.iter().map(|http| format!("http://{http}")).collect()
    }

    pub(crate) fn start_node(&mut self, id: usize) {
        let file = |extension| self.folder.path().join(format!("node{id}.{extension}"));
        let log = File::options().create(true).append(true).open(file("log")).unwrap();
        let child = Spawn::new(binary())
            .args(["serve", "--config"])
            .arg(file("toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
        self.children[id - 1] = Some(child);
    }

    pub(crate) async fn wait_ready(&mut self, id: usize) {
        let url = format!("http://{}/readyz", self.http[id - 1]);
        let log = self.folder.path().join(format!("node{id}.log"));
        let (web, child) = (&self.web, self.children[id - 1].as_mut().unwrap());
        wait_for(&format!("node {id} is ready"), async || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "node {id} ended: {}", fs::read_to_string(&log).unwrap());
            web.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    /// Stores the policy of a type.
    pub(crate) async fn put_policy(&self, type_: &str, requests: u64, window_ms: u64) {
        let url = format!("http://{}/admin/policies/{type_}", self.http[0]);
        let body = format!(r#"{{"requests":{requests},"windowMs":{window_ms}}}"#);
        let answer = self.web.put(url).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// The id of the leader, as a node that runs sees it.
    pub(crate) async fn leader(&self) -> usize {
        let mut found = None;
        wait_for("a leader is known", async || {
            for (http, _) in self.http.iter().zip(&self.children).filter(|(_, one)| one.is_some()) {
                let url = format!("http://{http}/admin/cluster");
                let Ok(answer) = self.web.get(url).send().await else { continue };
                let report: serde_json::Value =
                    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
                let nodes = report["nodes"].as_array().unwrap();
                let leader = nodes.iter().find(|node| node["role"] == "leader");
                found = leader.map(|node| node["id"].as_u64().unwrap() as usize);
                if found.is_some_and(|id| self.children[id - 1].is_some()) {
                    return true;
                }
            }
            false
        })
        .await;
        found.unwrap()
    }

    /// Sends a signal to one node; waits for its end, if it is one that ends it.
    pub(crate) async fn signal(&mut self, id: usize, signal: &str) {
        let child = self.children[id - 1].as_mut().unwrap();
        let pid = child.id().unwrap().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(status.success());
        if matches!(signal, "KILL" | "TERM") {
            child.wait().await.unwrap();
            self.children[id - 1] = None;
        }
    }
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The built server.
fn binary() -> PathBuf {
    std::env::var_os("TALLYKEEP_BIN")
        .map_or_else(|| root().join("target/release/tallykeep"), PathBuf::from)
}

/// Ports of 127.0.0.1 that are free. All are held until the last is known, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
