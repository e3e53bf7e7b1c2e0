//! What can be set in a node's file: docs/settings.md is made of it, and what `tallykeep config check` prints.
//!
//! A test holds the names, the defaults and the bounds to what the file's reader takes.

use toml::Value;

use super::Settings;
use crate::limits;

/// A table of the file, `[raft]` or `[[nodes]]`; the first has no name and stands at the top.
pub struct Table {
    /// `raft`, `tls.peers`.
    pub name: &'static str,
    /// How often it is there in these settings; for a `[[table]]` as often as one likes.
    count: fn(&Settings) -> usize,
    /// Whether it is a `[[table]]`.
    is_list: bool,
    /// What it is for.
    about: &'static str,
    /// Its settings, in the order in which they are told.
    pub settings: &'static [Setting],
}

/// One setting.
pub struct Setting {
    /// Its name, units last.
    pub name: &'static str,
    kind: Kind,
    default: Default,
    bounds: Bounds,
    about: &'static str,
    /// What is in force, of the table of that number, from 0; `None` where it is not set.
    value: fn(&Settings, usize) -> Option<Value>,
}

/// How a value is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Path,
    Address,
    Number,
    Bytes,
    Milliseconds,
    Ratio,
    Span,
    Switch,
}

/// What is in force where nothing is set.
#[derive(Clone, Copy)]
enum Default {
    /// It has to be set.
    Required,
    /// What a file gets that says nothing of it.
    InForce,
    /// In words.
    Said(&'static str),
}

/// What is taken; all bounds included.
#[derive(Clone, Copy)]
enum Bounds {
    Any,
    /// Bytes of a text.
    Length(u64, u64),
    From(u64),
    Between(u64, u64),
    /// In ms.
    Spans(u64, u64),
    /// In words, where one setting bounds another.
    Said(&'static str),
}

/// A setting by its five columns and the way to its value, so that the list below reads as a table.
const fn setting(
    name: &'static str,
    kind: Kind,
    default: Default,
    bounds: Bounds,
    about: &'static str,
    value: fn(&Settings, usize) -> Option<Value>,
) -> Setting {
    Setting { name, kind, default, bounds, about, value }
}

const NAME: Bounds = Bounds::Length(1, limits::NAME_BYTES_MAX as u64);
const STORAGE: Bounds = Bounds::From(limits::STORAGE_BYTES_MIN as u64);
const KEYS: Bounds = Bounds::Spans(limits::KEY_RETENTION_MS_MIN, limits::KEY_RETENTION_MS_MAX);
const ONCE: Bounds = Bounds::Said("each address once");

/// All that can be set.
#[rustfmt::skip]
pub const TABLES: &[Table] = &[
    Table { name: "", is_list: false, count: |_| 1, about: "Which node this is, and what it keeps.", settings: &[
        setting("cluster", Kind::Text, Default::Required, NAME,
            "The cluster's name: nodes of another one are refused. With `[tls.peers]` it is a DNS name. Without a `wrangler` file also the script's name, from which objects' ids come.",
            |of, _| text(&of.cluster)),
        setting("id", Kind::Number, Default::Required, Bounds::Said("one of `nodes`"),
            "This node. Never give a machine's id to another machine's data.",
            |of, _| number(of.id)),
        setting("data", Kind::Path, Default::Required, Bounds::Any,
            "The folder of this node's log and state; `serve --data` overrides it.",
            |of, _| text(&of.data.to_string_lossy())),
        setting("http", Kind::Address, Default::Said("this node's `http` in `nodes`"), Bounds::Any,
            "Where it listens for clients, HTTP/1.1 and HTTP/2. Such as `0.0.0.0:7001`, where others reach it at another address.",
            |of, _| text(of.http())),
        setting("peer", Kind::Address, Default::Said("this node's `peer` in `nodes`"), Bounds::Said("not `http`"),
            "Where it listens for other nodes.",
            |of, _| text(of.peer())),
        setting("wrangler", Kind::Path, Default::Said("the guide's two bindings"), Bounds::Any,
            "A `wrangler.toml` whose bindings, classes and migrations are served.",
            |of, _| of.wrangler.as_ref().and_then(|path| text(&path.to_string_lossy()))),
        setting("environment", Kind::Text, Default::Said("the file's top level"), Bounds::Said("an `[env.NAME]` of the `wrangler` file"),
            "The environment of that file whose bindings are served.",
            |of, _| of.environment.as_deref().and_then(text)),
        setting("abandoned_classes", Kind::Texts, Default::InForce, Bounds::Said("`RateLimiter`, `AuditLogger`"),
            "Classes that a migration takes away although there are objects of them, which nobody reaches then.",
            |of, _| Some(Value::Array(of.abandoned_classes.iter().cloned().map(Value::String).collect()))),
        setting("retention", Kind::Span, Default::InForce, Bounds::Spans(limits::RETENTION_MS_MIN, limits::RETENTION_MS_MAX),
            "Audit entries that are older go. The leader's counts.",
            |of, _| text(&span(of.retention_ms))),
        setting("snapshot_log_bytes", Kind::Bytes, Default::InForce, Bounds::From(limits::SNAPSHOT_LOG_BYTES_MIN),
            "After so much log a snapshot is made, and the log before it dropped. Less: less disk, faster starts. More: fewer snapshots for nodes that were away.",
            |of, _| number(of.snapshot_log_bytes)),
        setting("version_max", Kind::Number, Default::Said("the newest that this build knows"), Bounds::Said("what this build knows"),
            "The newest version of commands that this node takes part in. Held low on one node it lets an upgrade be taken back.",
            |of, _| number(of.version_max.into())),
        setting("connections_per_address_max", Kind::Number, Default::Said("as many as all together"), Bounds::Between(1, limits::CLIENT_CONNECTIONS_MAX as u64),
            "Connections that clients of one IPv4 address, or of 64 bits of an IPv6 address, may have. Those of the loopback are not counted. Behind a proxy all come from that.",
            |of, _| of.connections_per_address_max.and_then(|most| number(most as u64))),
        setting("insecure", Kind::Switch, Default::InForce, Bounds::Any,
            "Listen where others than this machine can connect although something that keeps them out is missing; `serve --insecure`.",
            |of, _| Some(Value::Boolean(of.insecure))),
    ] },
    Table { name: "nodes", is_list: true, count: |of| of.nodes.len(), settings: &[
        setting("id", Kind::Number, Default::Required, Bounds::Said("from 1, each once"),
            "The node's number, which no other node of the cluster ever has.",
            |of, at| number(of.nodes.get(at)?.id)),
        setting("http", Kind::Address, Default::Required, ONCE,
            "Where clients reach it.",
            |of, at| text(&of.nodes.get(at)?.http)),
        setting("peer", Kind::Address, Default::Required, ONCE,
            "Where other nodes reach it.",
            |of, at| text(&of.nodes.get(at)?.peer)),
    ], about: "All nodes, this one too; from 1 to 7, the same list on each. It is read when a node has no log yet: after that `tallykeep members` says who belongs to the cluster." },
    Table { name: "policies", is_list: true, count: |of| of.policies.len(), settings: &[
        setting("binding", Kind::Text, Default::Said("the one that `/check` uses"), Bounds::Said("a binding of the class `RateLimiter`"),
            "Whose limiters it is for.",
            |of, at| of.policies.get(at)?.binding.as_deref().and_then(text)),
        setting("type", Kind::Text, Default::Required, NAME,
            "The `type` of the checks that it is for; each once a binding.",
            |of, at| text(&of.policies.get(at)?.r#type)),
        setting("requests", Kind::Number, Default::Required, Bounds::Between(0, limits::REQUESTS_MAX),
            "Requests that one window admits.",
            |of, at| number(of.policies.get(at)?.requests)),
        setting("window", Kind::Span, Default::Required, Bounds::Spans(limits::WINDOW_MS_MIN, limits::WINDOW_MS_MAX),
            "How long a window is.",
            |of, at| text(&span(of.policies.get(at)?.window_ms))),
    ], about: "What a new cluster begins with: the limits of checks that bring none. They are stored once; from then on `tallykeep policy` shows and changes them." },
    Table { name: "quotas", is_list: true, count: |of| of.quotas.len(), settings: &[
        setting("binding", Kind::Text, Default::Required, Bounds::Said("a binding, each once"),
            "Whose objects it is for.",
            |of, at| text(&of.quotas.get(at)?.binding)),
        setting("object_bytes_max", Kind::Bytes, Default::Said("`134217728` (128 MiB)"), Bounds::From(limits::OBJECT_BYTES_MAX_MIN),
            "Bytes of one object: 64 a key, and its identifier or its entry. What would make it larger is refused with 507.",
            |of, at| number(of.quotas.get(at)?.object_bytes_max)),
        setting("objects_max", Kind::Number, Default::Said("no bound"), Bounds::From(1),
            "So many objects; with more, new ones are refused with 507.",
            |of, at| number(of.quotas.get(at)?.objects_max?)),
    ], about: "How much the objects of a binding may take, where it is not the guide's 128 MiB. A day of the audit log is one object. The leader's counts, from when it leads." },
    Table { name: "raft", is_list: false, count: |_| 1, settings: &[
        setting("heartbeat_ms", Kind::Milliseconds, Default::InForce, Bounds::Said("from 1; at most a third of `election_min_ms`"),
            "How often a leader is heard of.",
            |of, _| number(of.raft.heartbeat_ms)),
        setting("election_min_ms", Kind::Milliseconds, Default::InForce, Bounds::Said("less than `election_max_ms`"),
            "A follower that has not heard of a leader for so long may stand for election …",
            |of, _| number(of.raft.election_min_ms)),
        setting("election_max_ms", Kind::Milliseconds, Default::InForce, Bounds::Said("less than 5000"),
            "… and after so long will: each takes a random time between the two.",
            |of, _| number(of.raft.election_max_ms)),
    ], about: "Elections; the same on all nodes. Short bounds shorten the pause after a leader's death, long ones keep the leader on a machine that is busy or far away." },
    Table { name: "idempotency", is_list: false, count: |_| 1, settings: &[
        setting("retention", Kind::Span, Default::InForce, KEYS,
            "For so long an answer is kept, if its key does not say for how long.",
            |of, _| text(&span(of.idempotency.retention_ms))),
        setting("answers_max", Kind::Number, Default::InForce, Bounds::From(0),
            "So many answers are kept at once, about 150 bytes of disk each; with more, new keys are refused with 507.",
            |of, _| number(of.idempotency.answers_max)),
    ], about: "What is kept of requests with an `Idempotency-Key`. The leader's counts." },
    Table { name: "storage", is_list: false, count: |_| 1, settings: &[
        setting("block_cache_bytes", Kind::Bytes, Default::InForce, STORAGE,
            "Memory for what was read from disk; what is written and not yet in a file counts too.",
            |of, _| number(of.storage.block_cache_bytes as u64)),
        setting("write_buffer_bytes", Kind::Bytes, Default::InForce, STORAGE,
            "Memory for what is not yet in a file; at times half as much again.",
            |of, _| number(of.storage.write_buffer_bytes as u64)),
        setting("disk_reserve_bytes", Kind::Bytes, Default::InForce, Bounds::From(0),
            "Disk that clients' writes leave free: with less they are answered 507. 0 for none.",
            |of, _| number(of.storage.disk_reserve_bytes)),
    ], about: "Memory for the state, and the disk. The log takes up to twice `snapshot_log_bytes` of memory of its own." },
    Table { name: "tls.peers", is_list: false, count: |of| of.tls.peers.iter().len(), settings: &[
        setting("ca", Kind::Path, Default::Required, Bounds::Any,
            "The cluster's CA, or several.",
            |of, _| text(&of.tls.peers.as_ref()?.ca.to_string_lossy())),
        setting("certificate", Kind::Path, Default::Required, Bounds::Any,
            "This node's certificate, made out to `node-<id>.<cluster>.tallykeep.internal`.",
            |of, _| text(&of.tls.peers.as_ref()?.certificate.to_string_lossy())),
        setting("key", Kind::Path, Default::Required, Bounds::Any,
            "Its private key.",
            |of, _| text(&of.tls.peers.as_ref()?.key.to_string_lossy())),
    ], about: "PEM files for the connections between nodes, by which each proves to the other which node it is. They may be replaced while the node runs. Without the table a node listens for peers on loopback alone." },
    Table { name: "tls.clients", is_list: false, count: |of| of.tls.clients.iter().len(), settings: &[
        setting("certificate", Kind::Path, Default::Required, Bounds::Any,
            "The certificate, and those between it and its CA.",
            |of, _| text(&of.tls.clients.as_ref()?.certificate.to_string_lossy())),
        setting("key", Kind::Path, Default::Required, Bounds::Any,
            "Its private key.",
            |of, _| text(&of.tls.clients.as_ref()?.key.to_string_lossy())),
    ], about: "PEM files for clients, who then connect to `https://`. They may be replaced while the node runs. Without the table a node listens for clients on loopback alone." },
    Table { name: "auth", is_list: false, count: |of| of.auth.iter().len(), settings: &[
        setting("operator_sha256", Kind::Texts, Default::Required, Bounds::Said("1 to 8 of 64 hexadecimal digits, each once"),
            "The hashes of operators' tokens, as `tallykeep tokens operator` prints them. Such a token may do everything, and works before there are others and without a leader.",
            |of, _| Some(Value::Array(of.auth.as_ref()?.operator_sha256.iter().map(|hash| Value::String(hex::encode(hash))).collect()))),
    ], about: "Where the table is, clients need API tokens, which `tallykeep tokens` makes; the same on all nodes. Without it a node listens for clients on loopback alone." },
    Table { name: "telemetry", is_list: false, count: |_| 1, settings: &[
        setting("endpoint", Kind::Text, Default::Said("spans are not exported"), Bounds::Said("`http://…` or `https://…`, without a password"),
            "The base URL of an OpenTelemetry collector, such as `http://127.0.0.1:4318`: spans of requests go to `/v1/traces` below it, as OTLP's JSON over HTTP.",
            |of, _| of.telemetry.endpoint.as_deref().and_then(text)),
        setting("ca", Kind::Path, Default::Said("the CAs of the system"), Bounds::Any,
            "The CAs of a collector at `https://…`.",
            |of, _| of.telemetry.ca.as_ref().and_then(|path| text(&path.to_string_lossy()))),
        setting("sampling_ratio", Kind::Ratio, Default::InForce, Bounds::Said("0 to 1"),
            "The part of the requests that have a span. Where a client sends `traceparent`, its word counts instead: all that it sampled have one, and none of the others.",
            |of, _| Some(Value::Float(of.telemetry.sampling_ratio))),
        setting("slow_request", Kind::Span, Default::InForce, Bounds::Spans(limits::SLOW_REQUEST_MS_MIN, limits::SLOW_REQUEST_MS_MAX),
            "From which duration on the node's log has a line for a request.",
            |of, _| text(&span(of.telemetry.slow_request_ms))),
    ], about: "What a node tells of requests, beside its [metrics](metrics.md): lines in its log, and spans for a collector." },
];

impl Settings {
    /// A file that means what these settings do, with nothing left to defaults.
    pub fn in_force(&self) -> String {
        let mut file = String::new();
        for table in TABLES {
            for at in 0..(table.count)(self) {
                if !table.name.is_empty() {
                    file += &format!("\n{}\n", table.head());
                }
                for setting in table.settings {
                    if let Some(value) = (setting.value)(self, at) {
                        file += &format!("{} = {value}\n", setting.name);
                    }
                }
            }
        }
        file
    }
}

/// All that can be set, in Markdown: a heading and a table for each table of the file.
pub fn page() -> String {
    let settings = Settings::shortest();
    let mut page = String::new();
    for table in TABLES {
        let head =
            if table.name.is_empty() { "At the top".into() } else { format!("`{}`", table.head()) };
        page += &format!("## {head}\n\n{}\n\n", table.about);
        page += "| setting | how it is written | default | bounds | what it is |\n|---|---|---|---|---|\n";
        for Setting { name, kind, default, bounds, about, value } in table.settings {
            let default = match default {
                Default::Required => "must be set".to_owned(),
                Default::Said(words) => (*words).to_owned(),
                Default::InForce => {
                    value(&settings, 0).map_or_else(String::new, |value| kind.show(&value))
                }
            };
            let (kind, bounds) = (kind.name(), bounds.show(*kind));
            page += &format!("| `{name}` | {kind} | {default} | {bounds} | {about} |\n");
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

impl Table {
    /// Its line in the file.
    fn head(&self) -> String {
        if self.is_list { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Texts => "list of texts",
            Kind::Path => "path, from the file's folder",
            Kind::Address => "`\"host:port\"`",
            Kind::Number => "number",
            Kind::Bytes => "number, bytes",
            Kind::Milliseconds => "number, ms",
            Kind::Ratio => "number, as `0.01`",
            Kind::Span => "span, as `\"90m\"`",
            Kind::Switch => "`true` or `false`",
        }
    }

    fn show(self, value: &Value) -> String {
        match (self, value) {
            (Kind::Bytes, Value::Integer(bytes)) => bytes_in_words(bytes.unsigned_abs()),
            _ => format!("`{value}`"),
        }
    }
}

impl Bounds {
    fn show(self, kind: Kind) -> String {
        let number = |number| match kind {
            Kind::Bytes => bytes_in_words(number),
            _ => number.to_string(),
        };
        match self {
            Bounds::Any => String::new(),
            Bounds::Length(least, most) => format!("{least} to {most} bytes"),
            Bounds::From(0) => String::new(),
            Bounds::From(least) => format!("from {}", number(least)),
            Bounds::Between(least, most) => format!("{} to {}", number(least), number(most)),
            Bounds::Spans(least, most) => format!("{} to {}", span(least), span(most)),
            Bounds::Said(words) => words.to_owned(),
        }
    }
}

fn text(text: &str) -> Option<Value> {
    Some(Value::String(text.to_owned()))
}

/// TOML has numbers up to 2^63 - 1, and no setting came from anywhere else.
fn number(number: u64) -> Option<Value> {
    Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// A span as it may stand in the file, in the greatest unit of which it is a whole number.
fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (31_557_600_000, "years"),
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ];
    let whole = |(unit_ms, _): &&(u64, &str)| ms > 0 && ms.is_multiple_of(*unit_ms);
    let (unit_ms, unit) = UNITS.iter().find(whole).unwrap_or(&(1, "ms"));
    format!("{}{unit}", ms / unit_ms)
}

/// `67108864`, and in brackets what people call it.
fn bytes_in_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("`{bytes}` ({} {name})", bytes / unit),
        None => format!("`{bytes}`"),
    }
}

#[cfg(test)]
mod tests;
