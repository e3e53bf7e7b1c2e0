//! Load that remembers what it was told, and can tell whether all of it was true.
//!
//! Each worker sends a check and a log entry in turn to its node. When it gets no good answer it goes
//! to the next node, and comes back after a while. Nothing is ever sent twice: what became of a
//! request is one of the [`Fate`]s.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::api::{Answer, Api, check_body};
use super::wait_until;

/// A limit that is never reached, so that every admitted check has a `remaining` of its own.
const LIMIT: u64 = 1_000_000_000;
/// Longer than any test.
const WINDOW_MS: u64 = 24 * 60 * 60 * 1000;
/// Tells loads apart: how many there were in this process.
static LOADS: AtomicU64 = AtomicU64::new(0);
/// Requests until a worker goes back to its own node. Without an end all of them would gather at
/// the node that never failed, and wait there when it does.
const DETOUR: usize = 100;
/// What a client waits before it turns to the next node.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of a request.
enum Fate<T> {
    /// It was carried out; with what is unique to it.
    Acknowledged(T),
    /// It was not carried out: never sent, or so the node said.
    Unchanged,
    /// It may have been carried out.
    Unknown,
}

/// One request.
struct Call<T> {
    began: Instant,
    ended: Instant,
    fate: Fate<T>,
}

/// A request that got no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The node that was asked.
    pub node: u64,
    /// What happened.
    pub why: Why,
}

/// Why a request got no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody listened: the request was not sent.
    NotConnected,
    /// The connection ended, cleanly, before an answer.
    Closed,
    /// The node answered with this problem's `code`.
    Problem(String),
    /// Anything else.
    Broken(String),
}

/// Requests under way, until [`Load::stop`].
pub struct Load {
    name: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    workers: JoinSet<Record>,
}

/// What a load has seen.
#[derive(Default)]
pub struct Record {
    /// The identifier of all checks, for one limiter shows the most; and the type of all entries.
    name: String,
    /// By how many requests the limiter had admitted, the check included.
    checks: Vec<Call<u64>>,
    /// Client ids, and the ids that the entries were given.
    entries: Vec<(String, Call<String>)>,
    /// What went wrong.
    pub failures: Vec<Failure>,
}

impl Load {
    /// Starts `workers` workers, the first of which begins at the first of `nodes`, and so on.
    pub fn start(api: &Api, nodes: &[u64], workers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let name = format!("load-{}", LOADS.fetch_add(1, Ordering::Relaxed));
        let mut all = JoinSet::new();
        for number in 0..workers {
            let mut worker = Worker {
                api: api.clone(),
                nodes: nodes.to_vec(),
                number,
                turn: number,
                detour: 0,
                acknowledged: acknowledged.clone(),
                record: Record { name: name.clone(), ..Record::default() },
            };
            let stop = stop.clone();
            all.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    worker.check().await;
                    worker.log().await;
                }
                worker.record
            });
        }
        Self { name, stop, acknowledged, workers: all }
    }

    /// Waits until `count` further requests are acknowledged.
    pub async fn progress(&self, count: u64) {
        let from = self.acknowledged.load(Ordering::Relaxed);
        wait_until(&format!("{count} more requests are acknowledged"), async || {
            match self.acknowledged.load(Ordering::Relaxed) - from {
                more if more >= count => Ok(()),
                more => Err(format!("{more} are")),
            }
        })
        .await;
    }

    /// Lets what is under way end.
    pub async fn stop(self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        let mut whole = Record { name: self.name, ..Record::default() };
        for record in self.workers.join_all().await {
            whole.checks.extend(record.checks);
            whole.entries.extend(record.entries);
            whole.failures.extend(record.failures);
        }
        whole
    }
}

struct Worker {
    api: Api,
    nodes: Vec<u64>,
    number: usize,
    /// The position of the node whose turn it is, counted around.
    turn: usize,
    /// Requests until it is the worker's own again.
    detour: usize,
    acknowledged: Arc<AtomicU64>,
    record: Record,
}

impl Worker {
    async fn check(&mut self) {
        let body = check_body(&self.record.name, LIMIT, WINDOW_MS);
        let call = self.call("/check", body, |answer| {
            LIMIT - answer["remaining"].as_u64().expect("a remaining")
        });
        let call = call.await;
        self.record.checks.push(call);
    }

    async fn log(&mut self) {
        let id = format!("{}-{}", self.number, self.record.entries.len());
        let body = json!({"type": self.record.name, "action": "entry", "id": id}).to_string();
        let call =
            self.call("/log", body, |answer| answer["id"].as_str().expect("an id").to_owned());
        let call = call.await;
        self.record.entries.push((id, call));
    }

    async fn call<T>(&mut self, path: &str, body: String, read: impl Fn(Value) -> T) -> Call<T> {
        self.detour = self.detour.saturating_sub(1);
        if self.detour == 0 {
            self.turn = self.number;
        }
        let node = self.nodes[self.turn % self.nodes.len()];
        let began = Instant::now();
        let sent = self.api.try_post(node, path, body).await;
        let ended = Instant::now();
        let why = match sent {
            Ok(answer) if answer.status == 200 => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                return Call { began, ended, fate: Fate::Acknowledged(read(answer.json())) };
            }
            Ok(answer) => {
                let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
                answer.problem(503, &code);
                Why::Problem(code)
            }
            Err(error) => Why::of(&error),
        };
        let fate = match &why {
            Why::NotConnected => Fate::Unchanged,
            Why::Problem(code) if code == "no_leader" || code == "overloaded" => Fate::Unchanged,
            Why::Problem(_) | Why::Closed | Why::Broken(_) => Fate::Unknown,
        };
        self.record.failures.push(Failure { node, why });
        self.turn += 1;
        self.detour = DETOUR;
        sleep(PAUSE).await;
        Call { began, ended, fate }
    }
}

impl Why {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            return Self::NotConnected;
        }
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        // hyper's words for an end of the stream where a response should begin.
        let is_clean = text.contains("connection closed before message completed");
        if is_clean { Self::Closed } else { Self::Broken(text) }
    }
}

impl Record {
    /// Checks everything that was acknowledged, and everything that was not, against what a node
    /// now says. To be called once, for it counts.
    ///
    /// With `closed_is_unchanged`, a request whose connection was closed instead of answered must
    /// not have been carried out, as after a graceful stop.
    pub async fn verify(&self, api: &Api, node: u64, closed_is_unchanged: bool) {
        let (checks, unknown) = acknowledged(self.checks.iter());
        let mut admitted: Vec<u64> = checks.iter().map(|call| *call.2).collect();
        admitted.sort_unstable();
        assert!(admitted.is_sorted_by(|a, b| a < b), "two checks got the same remaining");
        in_real_time("a check's count", &checks);

        let last = api.check(node, &self.name, LIMIT, WINDOW_MS).await.json();
        let counted = LIMIT - last["remaining"].as_u64().expect("a remaining") - 1;
        let least = checks.len() as u64;
        let most = if closed_is_unchanged { least } else { least + unknown };
        assert!(
            (least..=most).contains(&counted),
            "{least} checks were acknowledged and {unknown} are of unknown fate, {counted} counted"
        );
        self.verify_entries(api, node, closed_is_unchanged).await;
    }

    async fn verify_entries(&self, api: &Api, node: u64, closed_is_unchanged: bool) {
        let path = format!("/export?format=ndjson&order=asc&type={}", self.name);
        let export = Answer::of(api.request(Method::GET, node, &path)).await.expect("an export");
        let export = export.text();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut last_id, mut last_ms) = (String::new(), 0);
        for line in export.lines() {
            let entry: Value = serde_json::from_str(line).expect("a line is an entry");
            let text = |name: &str| entry[name].as_str().expect("a text").to_owned();
            let (id, at_ms) = (text("id"), entry["timestamp"].as_u64().expect("a timestamp"));
            assert!(last_id < id && last_ms <= at_ms, "{last_id} before {id}");
            found.entry(text("clientId")).or_default().push(id.clone());
            (last_id, last_ms) = (id, at_ms);
        }
        for (client_id, call) in &self.entries {
            let ids = found.remove(client_id).unwrap_or_default();
            match &call.fate {
                Fate::Acknowledged(id) => {
                    assert_eq!(ids, std::slice::from_ref(id), "acknowledged entry {client_id}");
                }
                Fate::Unchanged => assert_eq!(ids.len(), 0, "refused entry {client_id}"),
                Fate::Unknown if closed_is_unchanged => {
                    assert_eq!(ids.len(), 0, "entry {client_id} on a connection that was closed");
                }
                Fate::Unknown => assert!(ids.len() <= 1, "entry {client_id} is there twice"),
            }
        }
        assert!(found.is_empty(), "entries that nobody sent: {found:?}");
        let (entries, _) = acknowledged(self.entries.iter().map(|(_, call)| call));
        in_real_time("an entry's id", &entries);
    }

    /// Takes what was acknowledged after `moment` for what may or may not have been carried out: as
    /// it is to whoever looks at a state of that moment or a little later.
    pub fn as_of(&mut self, moment: Instant) {
        fn look_back<T>(call: &mut Call<T>, moment: Instant) {
            if call.ended > moment && matches!(call.fate, Fate::Acknowledged(_)) {
                call.fate = Fate::Unknown;
            }
        }
        self.checks.iter_mut().for_each(|call| look_back(call, moment));
        self.entries.iter_mut().for_each(|(_, call)| look_back(call, moment));
    }

    /// The failures of a node, or of all the others.
    pub fn failures_of(&self, wanted: impl Fn(u64) -> bool) -> Vec<&Failure> {
        self.failures.iter().filter(|failure| wanted(failure.node)).collect()
    }
}

type Acknowledged<'a, T> = Vec<(Instant, Instant, &'a T)>;

/// The acknowledged calls, and how many are of unknown fate.
fn acknowledged<'a, T: 'a>(calls: impl Iterator<Item = &'a Call<T>>) -> (Acknowledged<'a, T>, u64) {
    let (mut known, mut unknown) = (Vec::new(), 0);
    for call in calls {
        match &call.fate {
            Fate::Acknowledged(value) => known.push((call.began, call.ended, value)),
            Fate::Unchanged => {}
            Fate::Unknown => unknown += 1,
        }
    }
    (known, unknown)
}

/// Asserts linearizability of what only grows: a call that began after another had ended got more.
fn in_real_time<T: Ord + std::fmt::Debug>(what: &str, calls: &Acknowledged<'_, T>) {
    let mut by_begin: Vec<_> = calls.iter().collect();
    by_begin.sort_by_key(|call| call.0);
    let mut by_end = by_begin.clone();
    by_end.sort_by_key(|call| call.1);
    let mut ended = by_end.into_iter().peekable();
    let mut most = None;
    for call in by_begin {
        while let Some(before) = ended.next_if(|before| before.1 < call.0) {
            most = most.max(Some(before.2));
        }
        assert!(
            most < Some(call.2),
            "{what}: {most:?} was acknowledged before the call that got {:?} began",
            call.2
        );
    }
}
