//! The settings of one node: a TOML file, and what holds between them.
//!
//! Every setting has a visible default here or must be given. What is misspelt is refused and not
//! ignored. Paths in the file are relative to the file.

mod auth;
mod policies;
mod quotas;
mod reference;
mod telemetry;
mod tls;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::bindings::{Bindings, Class};
use crate::limits;
use crate::machine::{Keeping, Quotas, SetPolicy, VERSION_MAX, VERSION_MIN};
use crate::peer::check_address;

pub use auth::AuthSettings;
pub use policies::PolicySettings;
pub use quotas::QuotaSettings;
pub use reference::page;
pub use telemetry::TelemetrySettings;
pub use tls::{CertificateFiles, Exposed, PeerFiles, TlsSettings};

/// The settings of one node.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The cluster's name: nodes of another cluster are refused. Without a `wrangler` file it is
    /// also the script's name, from which object ids are derived.
    pub cluster: String,
    /// This node's id, one of `nodes`.
    pub id: u64,
    /// The folder of this node's data.
    pub data: PathBuf,
    /// Where this node listens for clients, if not at its own address in `nodes`.
    #[serde(default)]
    http: Option<String>,
    /// Where this node listens for its peers, if not at its own address in `nodes`.
    #[serde(default)]
    peer: Option<String>,
    /// A `wrangler.toml` whose bindings are served; without one, the guide's two.
    #[serde(default)]
    pub wrangler: Option<PathBuf>,
    /// The environment of the `wrangler` file whose bindings are served; its top level without.
    #[serde(default)]
    pub environment: Option<String>,
    /// Classes that a migration of the `wrangler` file takes away though there are objects of them, which
    /// nobody reaches then.
    #[serde(default)]
    pub abandoned_classes: Vec<String>,
    /// What a new cluster begins with.
    #[serde(default)]
    pub policies: Vec<PolicySettings>,
    /// How much objects may take, where it is not the default. The leader's settings count.
    #[serde(default)]
    pub quotas: Vec<QuotaSettings>,
    /// Audit entries older than this, in ms, go. In the file a span of time: `retention = "30d"`.
    #[serde(default = "retention_default", rename = "retention", deserialize_with = "span_ms")]
    pub retention_ms: u64,
    /// Bytes of log after which a snapshot is made, and the log before it goes.
    #[serde(default = "snapshot_log_bytes_default")]
    pub snapshot_log_bytes: u64,
    /// The newest version of commands that this node takes part in, so that an upgrade can be taken
    /// back: as long as one node holds it low, no log has what an earlier build does not know.
    #[serde(default = "version_max_default")]
    pub version_max: u8,
    /// How long idempotency keys are kept, and how many.
    #[serde(default)]
    pub idempotency: IdempotencySettings,
    /// When nodes hold elections.
    #[serde(default)]
    pub raft: RaftSettings,
    /// What may be kept in memory, and on disk.
    #[serde(default)]
    pub storage: StorageSettings,
    /// The certificates of the two listeners; one that has none is not encrypted.
    #[serde(default)]
    pub tls: TlsSettings,
    /// Connections that clients of one address may have; as many as all together, if it is not set.
    #[serde(default)]
    pub connections_per_address_max: Option<usize>,
    /// Clients need API tokens if this is there.
    #[serde(default)]
    pub auth: Option<AuthSettings>,
    /// What is told of requests, and to whom.
    #[serde(default)]
    pub telemetry: TelemetrySettings,
    /// Listen where others than this machine can connect also without TLS and without tokens.
    #[serde(default)]
    pub insecure: bool,
    /// All nodes of the cluster, this one included.
    pub nodes: Vec<Node>,
}

/// One node, as the others and clients reach it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its id, from 1.
    pub id: u64,
    /// `host:port` for clients.
    pub http: String,
    /// `host:port` for its peers.
    pub peer: String,
}

/// What is kept of requests with an `Idempotency-Key`. The leader's settings count.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct IdempotencySettings {
    /// How long an answer is kept, in ms. In the file a span of time: `retention = "24h"`.
    #[serde(rename = "retention", deserialize_with = "span_ms")]
    pub retention_ms: u64,
    /// Answers that are kept at once, each item of a batch one: with so many, new keys are refused.
    pub answers_max: u64,
}

impl Default for IdempotencySettings {
    fn default() -> Self {
        Self {
            retention_ms: limits::KEY_RETENTION_MS_DEFAULT,
            answers_max: limits::KEY_ANSWERS_MAX_DEFAULT,
        }
    }
}

/// When nodes hold elections. All times in ms.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct RaftSettings {
    /// How often a leader is heard of.
    pub heartbeat_ms: u64,
    /// A follower that has not heard of a leader for this long may stand for election …
    pub election_min_ms: u64,
    /// … and after this long will: each takes a random time between the two.
    pub election_max_ms: u64,
}

impl Default for RaftSettings {
    fn default() -> Self {
        Self { heartbeat_ms: 50, election_min_ms: 300, election_max_ms: 600 }
    }
}

/// What this node may keep in memory, for its state, and on disk.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSettings {
    /// Blocks that were read; what is written and not yet in a table file counts too.
    pub block_cache_bytes: usize,
    /// Writes that are not yet in a table file; at times half as much again is being written to one.
    pub write_buffer_bytes: usize,
    /// Bytes of disk that clients' writes leave free, for what a node writes by itself; 0 for none.
    pub disk_reserve_bytes: u64,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            block_cache_bytes: 256 * 1024 * 1024,
            write_buffer_bytes: 128 * 1024 * 1024,
            disk_reserve_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// Why settings cannot be used: the file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .path.display())]
pub struct SettingsError {
    path: PathBuf,
    message: String,
}

impl Settings {
    /// Reads a node's file.
    ///
    /// # Errors
    /// If the file cannot be read, has a setting that is unknown, missing or out of bounds, or
    /// settings that contradict each other ([`Self::validate`]).
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let refused = |message| SettingsError { path: path.to_owned(), message };
        let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(refused)
    }

    /// One node by itself, with its data in `data`: for developers.
    pub fn dev(data: PathBuf) -> Self {
        Self {
            cluster: "tallykeep".into(),
            id: 1,
            data,
            http: None,
            peer: None,
            wrangler: None,
            environment: None,
            abandoned_classes: Vec::new(),
            policies: PolicySettings::guide(),
            quotas: Vec::new(),
            retention_ms: limits::RETENTION_MS_DEFAULT,
            snapshot_log_bytes: snapshot_log_bytes_default(),
            version_max: VERSION_MAX,
            idempotency: IdempotencySettings::default(),
            raft: RaftSettings::default(),
            storage: StorageSettings::default(),
            tls: TlsSettings::default(),
            connections_per_address_max: None,
            auth: None,
            telemetry: TelemetrySettings::default(),
            insecure: false,
            nodes: vec![Node {
                id: 1,
                http: "127.0.0.1:7001".into(),
                peer: "127.0.0.1:7101".into(),
            }],
        }
    }

    /// One node by itself, that says what has to be said and nothing else.
    fn shortest() -> Self {
        let file = "cluster = \"tallykeep\"\nid = 1\ndata = \"data\"\n[[nodes]]\nid = 1\n\
                    http = \"127.0.0.1:7001\"\npeer = \"127.0.0.1:7101\"\n";
        Self::parse(file, Path::new("")).expect("a test reads it")
    }

    /// The same node with its data in `data`, if that is given.
    #[must_use]
    pub fn with_data(self, data: Option<PathBuf>) -> Self {
        Self { data: data.unwrap_or(self.data), ..self }
    }

    /// The same node, that listens also without TLS or tokens where anybody can connect, if `insecure`.
    #[must_use]
    pub fn with_insecure(self, insecure: bool) -> Self {
        Self { insecure: insecure || self.insecure, ..self }
    }

    /// The same node with the bindings of a `wrangler` file, if that is given.
    #[must_use]
    pub fn with_wrangler(
        self,
        wrangler: Option<PathBuf>,
        environment: Option<String>,
        abandoned_classes: Vec<String>,
    ) -> Self {
        Self { wrangler, environment, abandoned_classes, ..self }
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let mut settings: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.data = folder.join(&settings.data);
        settings.wrangler = settings.wrangler.map(|path| folder.join(path));
        settings.tls.relative_to(folder);
        settings.telemetry.relative_to(folder);
        settings.validate()?;
        Ok(settings)
    }

    /// Checks the bounds of each setting and what must hold between them.
    ///
    /// # Errors
    /// One sentence on the first thing that is wrong.
    pub fn validate(&self) -> Result<(), String> {
        let names = 1..=limits::NAME_BYTES_MAX;
        check(names.contains(&self.cluster.len()), || {
            format!("cluster must have 1 to {} bytes", limits::NAME_BYTES_MAX)
        })?;
        check(!self.data.as_os_str().is_empty(), || "data must not be empty".into())?;
        check(self.environment.is_none() || self.wrangler.is_some(), || {
            "environment is of a wrangler file, and there is none".into()
        })?;
        for name in &self.abandoned_classes {
            check(Class::from_name(name).is_some(), || {
                format!(
                    "abandoned_classes: there is no class {name}; there are {}",
                    Class::ALL_NAMES
                )
            })?;
        }
        policies::validate(&self.policies)?;
        quotas::validate(&self.quotas)?;
        let retention = limits::RETENTION_MS_MIN..=limits::RETENTION_MS_MAX;
        check(retention.contains(&self.retention_ms), || {
            "retention must be from 1s to 10years".into()
        })?;
        check(self.snapshot_log_bytes >= limits::SNAPSHOT_LOG_BYTES_MIN, || {
            format!("snapshot_log_bytes must be at least {}", limits::SNAPSHOT_LOG_BYTES_MIN)
        })?;
        self.idempotency.validate()?;
        self.raft.validate()?;
        self.storage.validate()?;
        self.tls.validate(&self.cluster)?;
        let most = limits::CLIENT_CONNECTIONS_MAX;
        check(
            self.connections_per_address_max.is_none_or(|max| (1..=most).contains(&max)),
            || format!("connections_per_address_max must be 1 to {most}"),
        )?;
        self.auth.as_ref().map_or(Ok(()), AuthSettings::validate)?;
        self.telemetry.validate()?;
        self.validate_nodes()
    }

    fn validate_nodes(&self) -> Result<(), String> {
        check((1..=limits::NODES_MAX).contains(&self.nodes.len()), || {
            format!("nodes must be 1 to {}", limits::NODES_MAX)
        })?;
        check((VERSION_MIN..=VERSION_MAX).contains(&self.version_max), || {
            format!("version_max must be {VERSION_MIN} to {VERSION_MAX}")
        })?;
        let mut ids = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for node in &self.nodes {
            let id = node.id;
            check(id > 0, || "the id of a node must be at least 1".into())?;
            check(ids.insert(id), || format!("two nodes have the id {id}"))?;
            for address in [&node.http, &node.peer] {
                check_address(address)?;
                check(addresses.insert(address), || format!("{address} is there twice"))?;
            }
        }
        check(ids.contains(&self.id), || format!("id {} is not among nodes", self.id))?;
        check_address(self.http())?;
        check_address(self.peer())?;
        check(self.http() != self.peer(), || {
            format!("clients and peers cannot both be heard at {}", self.http())
        })
    }

    /// This node, as the others reach it.
    pub fn node(&self) -> &Node {
        self.nodes.iter().find(|node| node.id == self.id).expect("validated: id is among nodes")
    }

    /// `host:port` at which this node listens for clients.
    pub fn http(&self) -> &str {
        self.http.as_deref().unwrap_or_else(|| &self.node().http)
    }

    /// `host:port` at which this node listens for its peers.
    pub fn peer(&self) -> &str {
        self.peer.as_deref().unwrap_or_else(|| &self.node().peer)
    }

    /// The bindings that are served: those of the `wrangler` file or, without one, the guide's
    /// two, of classes in a script of the cluster's name.
    ///
    /// # Errors
    /// If the `wrangler` file cannot be read or used.
    pub fn bindings(&self) -> Result<Bindings, SettingsError> {
        let Some(path) = &self.wrangler else {
            return Ok(Bindings::default_for(&self.cluster));
        };
        let refused = |message| SettingsError { path: path.clone(), message };
        let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        let bindings = Bindings::from_wrangler(&text, self.environment.as_deref())
            .map_err(|error| refused(error.to_string()))?;
        Ok(bindings.abandoning(&self.abandoned_classes))
    }

    /// The policies that a cluster with these bindings begins with.
    ///
    /// # Errors
    /// If one is of a binding that is not there.
    pub fn seeds(&self, bindings: &Bindings) -> Result<Vec<SetPolicy>, SettingsError> {
        policies::resolve(&self.policies, bindings).map_err(|message| self.of_bindings(message))
    }

    /// The quotas of these bindings.
    ///
    /// # Errors
    /// If one is of a binding that is not there, or two are of the same objects.
    pub fn quotas(&self, bindings: &Bindings) -> Result<Quotas, SettingsError> {
        quotas::resolve(&self.quotas, bindings).map_err(|message| self.of_bindings(message))
    }

    /// What does not go with the bindings.
    fn of_bindings(&self, message: String) -> SettingsError {
        let path = self.wrangler.clone().unwrap_or_else(|| "configuration".into());
        SettingsError { path, message }
    }
}

impl IdempotencySettings {
    /// The same, as commands carry it.
    pub fn keeping(&self) -> Keeping {
        Keeping { retention_ms: self.retention_ms, answers_max: self.answers_max }
    }

    fn validate(&self) -> Result<(), String> {
        let retention = limits::KEY_RETENTION_MS_MIN..=limits::KEY_RETENTION_MS_MAX;
        check(retention.contains(&self.retention_ms), || {
            "idempotency.retention must be from 1s to 30d".into()
        })
    }
}

impl RaftSettings {
    fn validate(&self) -> Result<(), String> {
        let Self { heartbeat_ms, election_min_ms, election_max_ms } = *self;
        check(heartbeat_ms > 0, || "raft.heartbeat_ms must be at least 1".into())?;
        // One heartbeat lost, and one late, are no reason for an election.
        check(election_min_ms >= heartbeat_ms.saturating_mul(3), || {
            "raft.election_min_ms must be at least three times raft.heartbeat_ms".into()
        })?;
        check(election_min_ms < election_max_ms, || {
            "raft.election_min_ms must be less than raft.election_max_ms".into()
        })?;
        check(u128::from(election_max_ms) < limits::REQUEST_TIMEOUT.as_millis(), || {
            format!("raft.election_max_ms must be less than {:?}", limits::REQUEST_TIMEOUT)
        })
    }
}

impl StorageSettings {
    fn validate(&self) -> Result<(), String> {
        let least = limits::STORAGE_BYTES_MIN;
        for (name, bytes) in [
            ("block_cache_bytes", self.block_cache_bytes),
            ("write_buffer_bytes", self.write_buffer_bytes),
        ] {
            check(bytes >= least, || format!("storage.{name} must be at least {least}"))?;
        }
        Ok(())
    }
}

fn check(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

fn retention_default() -> u64 {
    limits::RETENTION_MS_DEFAULT
}

fn version_max_default() -> u8 {
    VERSION_MAX
}

fn snapshot_log_bytes_default() -> u64 {
    64 * 1024 * 1024
}

/// A span of time like `30d` or `1h 30m`, as whole milliseconds.
fn span_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span = humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))?;
    let ms = u64::try_from(span.as_millis()).ok();
    ms.filter(|_| span.subsec_nanos() % 1_000_000 == 0).ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is not a whole number of milliseconds"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Policy;

    const FILE: &str = r#"
        cluster = "test"
        id = 2
        data = "data"

        [[nodes]]
        id = 1
        http = "127.0.0.1:7001"
        peer = "127.0.0.1:7101"
        [[nodes]]
        id = 2
        http = "two.example:7002"
        peer = "[::1]:7102"
    "#;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text, Path::new("/etc/tallykeep"))
    }

    /// What is said of [`FILE`] with `more` at its head.
    fn refusal(more: &str) -> String {
        parse(&format!("{more}\n{FILE}")).unwrap_err()
    }

    #[test]
    fn a_short_file_gets_the_defaults() {
        let settings = parse(FILE).unwrap();
        assert_eq!(settings.data, Path::new("/etc/tallykeep/data"));
        assert_eq!((settings.http(), settings.peer()), ("two.example:7002", "[::1]:7102"));
        assert_eq!(settings.retention_ms, 30 * 24 * 60 * 60 * 1000);
        assert_eq!(settings.snapshot_log_bytes, 67_108_864);
        let raft = RaftSettings { heartbeat_ms: 50, election_min_ms: 300, election_max_ms: 600 };
        assert_eq!(settings.raft, raft);
        let idempotency = IdempotencySettings { retention_ms: 86_400_000, answers_max: 10_000_000 };
        assert_eq!(settings.idempotency, idempotency);
        assert_eq!(settings.storage, StorageSettings::default());
        let bindings = settings.bindings().unwrap();
        assert_eq!(bindings.limiter().unwrap().unique_key, "test-RateLimiter");
    }

    #[test]
    fn a_full_file_is_read_whole() {
        let head = r#"
            http = "0.0.0.0:80"
            peer = "0.0.0.0:81"
            wrangler = "../wrangler.toml"
            environment = "production"
            abandoned_classes = ["AuditLogger"]
            retention = "1h 30m 5ms"
            snapshot_log_bytes = 1000000
            raft = { heartbeat_ms = 100, election_min_ms = 300, election_max_ms = 301 }
            storage = { block_cache_bytes = 2000000 }
            idempotency = { retention = "48h", answers_max = 7 }
            policies = [
                { type = "wix", requests = 100, window = "60s" },
                { type = "wix", requests = 5, window = "1h 5ms", binding = "OTHER" },
            ]
        "#;
        let settings = parse(&format!("{head}{FILE}")).unwrap();
        assert_eq!((settings.http(), settings.peer()), ("0.0.0.0:80", "0.0.0.0:81"));
        assert_eq!(settings.node().http, "two.example:7002");
        assert_eq!(
            settings.wrangler.as_deref().unwrap(),
            Path::new("/etc/tallykeep/../wrangler.toml")
        );
        assert_eq!(settings.environment.as_deref(), Some("production"));
        assert_eq!(settings.retention_ms, 5_400_005);
        assert_eq!(settings.snapshot_log_bytes, 1_000_000);
        assert_eq!(settings.raft.heartbeat_ms, 100);
        let keeping = Keeping { retention_ms: 172_800_000, answers_max: 7 };
        assert_eq!(settings.idempotency.keeping(), keeping);
        assert_eq!(settings.storage.block_cache_bytes, 2_000_000);
        assert_eq!(settings.abandoned_classes, ["AuditLogger"]);
        let PolicySettings { binding, r#type, requests, window_ms } = &settings.policies[1];
        assert_eq!((binding.as_deref(), r#type.as_str()), (Some("OTHER"), "wix"));
        assert_eq!((*requests, *window_ms), (5, 3_600_005));
        let bindings = Bindings::default_for("test");
        let refusal = settings.seeds(&bindings).unwrap_err().to_string();
        assert!(refusal.contains("wrangler.toml: [[policies]] \"wix\""), "{refusal}");
        assert!(refusal.contains("no binding OTHER"), "{refusal}");
        let default = StorageSettings::default().write_buffer_bytes;
        assert_eq!(settings.storage.write_buffer_bytes, default);
    }

    #[test]
    fn an_argument_moves_the_data() {
        let moved = parse(FILE).unwrap().with_data(Some("here".into()));
        assert_eq!(moved.data, Path::new("here"));
    }

    #[test]
    fn a_developers_node_is_valid() {
        let settings = Settings::dev(".tallykeep".into());
        settings.validate().unwrap();
        assert_eq!((settings.http(), settings.peer()), ("127.0.0.1:7001", "127.0.0.1:7101"));
        // Guide, `RATE_LIMITS`.
        let bindings = settings.bindings().unwrap();
        let seeds = settings.seeds(&bindings).unwrap();
        let seeds: Vec<_> =
            seeds.iter().map(|seed| (seed.type_.as_str(), seed.policy.unwrap())).collect();
        let policy = |requests| Policy { requests, window_ms: 60_000 };
        assert_eq!(seeds, [("wix", policy(100)), ("gamma", policy(50))]);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (more, named) in [
            ("retenion = \"30d\"", "retenion"),
            ("retention = \"999ms\"", "retention"),
            ("retention = \"11years\"", "retention"),
            ("retention = \"1s 5us\"", "milliseconds"),
            ("retention = \"soon\"", "soon"),
            ("retention = 30", "retention"),
            ("environment = \"production\"", "environment"),
            ("snapshot_log_bytes = 1", "snapshot_log_bytes"),
            ("abandoned_classes = [\"Counter\"]", "no class Counter"),
            ("policies = [{ type = \"\", requests = 1, window = \"1s\" }]", "type"),
            ("policies = [{ type = \"a\", requests = 1, window = \"0s\" }]", "window"),
            ("policies = [{ type = \"a\", requests = 1, window = \"401days\" }]", "window"),
            (
                "policies = [{ type = \"a\", requests = 9007199254740992, window = \"1s\" }]",
                "requests",
            ),
            ("policies = [{ type = \"a\", requests = 1 }]", "window"),
            ("policies = [{ type = \"a\", requests = 1, window = \"1s\", burst = 2 }]", "burst"),
            ("quotas = [{ object_bytes_max = 65536 }]", "binding"),
            ("quotas = [{ binding = \"A\", object_bytes_max = 65535 }]", "object_bytes_max"),
            ("quotas = [{ binding = \"A\", objects_max = 0 }]", "objects_max"),
            ("quotas = [{ binding = \"A\" }, { binding = \"A\" }]", "twice"),
            ("quotas = [{ binding = \"A\", bytes = 1 }]", "bytes"),
            ("http = \"127.0.0.1\"", "host:port"),
            ("http = \"127.0.0.1:0\"", "host:port"),
            ("http = \":80\"", "host:port"),
            ("http = \"[::1]:7102\"", "[::1]:7102"),
            ("raft = { heartbeat_ms = 0 }", "heartbeat_ms"),
            ("raft = { heartbeat_ms = 101 }", "election_min_ms"),
            ("raft = { election_min_ms = 600 }", "election_min_ms"),
            ("raft = { election_max_ms = 5000 }", "election_max_ms"),
            ("raft = { hearbeat_ms = 50 }", "hearbeat_ms"),
            ("idempotency = { retention = \"999ms\" }", "idempotency.retention"),
            ("idempotency = { retention = \"31d\" }", "idempotency.retention"),
            ("idempotency = { keys_max = 1 }", "keys_max"),
            ("storage = { write_buffer_bytes = 1 }", "write_buffer_bytes"),
            ("storage = { block_cache_bytes = 1 }", "block_cache_bytes"),
            ("tls = { clients = { certificate = \"a\" } }", "key"),
            ("auth = {}", "operator_sha256"),
            ("auth = { operator_sha256 = [] }", "1 to 8"),
            ("auth = { operator_sha256 = [\"tk_operator_00\"] }", "64 hexadecimal digits"),
            ("auth = { required = true }", "required"),
            ("telemetry = { endpoint = \"collector:4318\" }", "telemetry.endpoint"),
            ("telemetry = { endpoint = \"https://u:p@collector\" }", "password"),
            ("telemetry = { endpoint = \"http://collector/?a=b\" }", "end with its path"),
            ("telemetry = { sampling_ratio = 1.1 }", "sampling_ratio"),
            ("telemetry = { sampling_ratio = nan }", "sampling_ratio"),
            ("telemetry = { slow_request = \"0s\" }", "slow_request"),
            ("telemetry = { sampling = 1 }", "sampling"),
            ("tls = { peers = { certificate = \"a\", key = \"b\" } }", "ca"),
            ("tls = { clients = { certificate = \"a\", key = \"b\", ca = \"c\" } }", "ca"),
        ] {
            let said = refusal(more);
            assert!(said.contains(named), "{more}: {said}");
        }
    }

    #[test]
    fn nodes_that_contradict_each_other_are_refused() {
        for (from, to, named) in [
            ("id = 2\n        data", "id = 3\n        data", "id 3 is not among nodes"),
            ("id = 1", "id = 2", "two nodes have the id 2"),
            ("id = 1", "id = 0", "at least 1"),
            ("127.0.0.1:7101", "two.example:7002", "two.example:7002 is there twice"),
            ("cluster = \"test\"", "cluster = \"\"", "cluster"),
            ("data = \"data\"", "", "data"),
        ] {
            let text = FILE.replace(from, to);
            assert_ne!(text, FILE);
            let said = parse(&text).unwrap_err();
            assert!(said.contains(named), "{to}: {said}");
        }
        let many = (3..=8)
            .map(|id| format!("[[nodes]]\nid = {id}\nhttp = \"a:{id}\"\npeer = \"b:{id}\"\n"));
        let text = format!("{FILE}\n{}", many.collect::<String>());
        assert!(parse(&text).unwrap_err().contains("nodes must be 1 to 7"));
    }

    #[test]
    fn an_error_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let missing = Settings::load(&path).unwrap_err().to_string();
        assert!(missing.contains("node.toml"), "{missing}");
        fs::write(&path, format!("wrangler = \"none.toml\"\n{FILE}")).unwrap();
        let settings = Settings::load(&path).unwrap();
        let missing = settings.bindings().unwrap_err().to_string();
        assert!(missing.contains("none.toml"), "{missing}");
    }
}
