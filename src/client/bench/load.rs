//! One run: the connections, and what each of them does until the run is over.
//!
//! All of it is one future on one thread, which suffices for more requests than three nodes on the
//! same machine answer. So nothing here is locked, and the nodes have the other cores.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::lookup_host;
use tokio::time::sleep;

use super::Args;
use super::answer::{self, Expected};
use super::book::{Book, Next};
use super::connection::Connection;
use super::grants::Grants;
use super::keys::Keys;
use super::mix::Operation;
use super::pace::Pace;
use super::request::{self, Composer, Subject};
use super::summary::{Identifiers, ScheduleSummary, Summary};
use crate::client::{Endpoints, Error};
use crate::limits::{BENCH_PATIENCE, CLIENT_PAUSE, WINDOW_MS_MAX};
use crate::tls::Trust;

/// A node, as a connection to it needs it.
struct Node {
    /// As it is named in errors.
    host: String,
    /// The headers of every request to it.
    headers: String,
    address: SocketAddr,
    /// Over TLS: whom to trust, and the name that the node has to prove.
    tls: Option<(Trust, String)>,
}

impl Node {
    async fn open(&self) -> io::Result<Connection> {
        let tls = self.tls.as_ref().map(|(trust, name)| (trust, name.as_str()));
        Connection::open(self.address, tls).await
    }
}

/// One run under way.
struct Load<'a> {
    pace: Pace,
    composer: RefCell<Composer>,
    book: RefCell<Book<'a>>,
}

/// Runs the load on this thread. `done` counts the requests that count and are done with.
///
/// # Errors
/// A node cannot be connected to, or does not answer at the start.
pub(super) async fn run(
    args: &Args,
    done: &AtomicU64,
    bar: &ProgressBar,
) -> Result<Summary, Error> {
    let nodes = nodes(&args.endpoints).await?;
    let mut connections = Vec::with_capacity(args.connections);
    // One after the other: a node's queue of connections that it has not accepted yet is short.
    for node in nodes.iter().cycle().take(args.connections) {
        let connection = node.open().await.map_err(|error| {
            Error::Cluster(format!("no node can be connected to at {}: {error}", node.host))
        })?;
        connections.push((node, connection));
    }
    let prefix = args.prefix.clone().unwrap_or_else(|| {
        // Of its own, so that what the limiters counted before does not matter.
        format!("bench-{:08x}-", rand::random::<u32>())
    });
    let composer = {
        let (node, connection) = &mut connections[0];
        let keys = Keys::new(args.distribution, args.keys, args.skew).map_err(Error::Cluster)?;
        let subject = subject(args, keys, &prefix, node, connection).await;
        Composer::new(subject.map_err(Error::Cluster)?, StdRng::from_os_rng())
    };

    let expected =
        Expected { kind: &args.kind, hour: composer.hour(), is_one_shard: args.days > 1 };
    let grants = Grants::new(args.limit, args.prefix.is_none());
    let pace = Pace::begin(args.plan(), args.connections)
        .map_err(|error| Error::Cluster(format!("cannot start a thread: {error}")))?;
    let load = Load {
        pace,
        composer: RefCell::new(composer),
        book: RefCell::new(Book::new(grants, &prefix, expected, done, bar)),
    };
    let connections = connections.into_iter().map(|(node, open)| load.connection(node, open));
    join_all(connections).await;
    Ok(load.summary(args, nodes.len()))
}

impl Load<'_> {
    /// Sends one request after the other, as turns come, until the run is over.
    async fn connection(&self, node: &Node, mut open: Connection) {
        let mut request = Vec::new();
        while let Some(turn) = self.pace.turn().await {
            let asked = self.composer.borrow_mut().compose(&node.headers, &mut request);
            let answer = open.exchange(&request).await;
            let next = self.book.borrow_mut().enter(turn, asked, answer);
            match next {
                Next::Send => {}
                // In an open loop the schedule says how much is asked, whatever is answered.
                Next::Pause if self.pace.is_open() => {}
                Next::Pause => sleep(CLIENT_PAUSE).await,
                Next::Reconnect => match self.reconnect(node).await {
                    Some(again) => open = again,
                    None => return,
                },
            }
        }
    }

    /// Connects again; none when the run is over, or its patience with the node.
    async fn reconnect(&self, node: &Node) -> Option<Connection> {
        let since = Instant::now();
        while !self.pace.is_over() && since.elapsed() < BENCH_PATIENCE {
            match node.open().await {
                Ok(connection) => return Some(connection),
                Err(_) => sleep(CLIENT_PAUSE).await,
            }
        }
        None
    }

    /// What the run came to, all answers being there.
    fn summary(self, args: &Args, nodes: usize) -> Summary {
        let mut book = self.book.into_inner();
        book.close();
        let last = book.last().unwrap_or(self.pace.counts_from());
        let elapsed = last.saturating_duration_since(self.pace.counts_from());
        let operations = book.operations(args.mix, elapsed.as_secs_f64());
        let (untracked, counted_before) =
            (book.grants().untracked(), book.grants().counted_before());
        Summary {
            nodes,
            connections: args.connections,
            elapsed_ms: elapsed.as_secs_f64() * 1000.0,
            requests: operations.requests(),
            unsent: self.pace.unsent(),
            operations,
            identifiers: Identifiers { counted_before, untracked },
            wrong: book.wrong(),
            schedule: self.pace.into_lateness().zip(args.rate).map(|(late, rate)| {
                ScheduleSummary {
                    rate_per_s: rate.get(),
                    late_p50_ms: late.quantile_ms(0.5),
                    late_p99_ms: late.quantile_ms(0.99),
                    late_max_ms: late.max_ms(),
                }
            }),
        }
    }
}

/// The nodes at the endpoints, names resolved.
async fn nodes(endpoints: &Endpoints) -> Result<Vec<Node>, Error> {
    let trust = endpoints.trust()?;
    let authorization = endpoints.authorization()?;
    let mut nodes = Vec::with_capacity(endpoints.urls.len());
    for url in &endpoints.urls {
        let name = url.host_str().unwrap_or_default();
        let tls = (url.scheme() == "https").then(|| (trust.clone(), name.to_owned()));
        let host = format!("{name}:{}", url.port_or_known_default().unwrap_or(80));
        let address = lookup_host(&host).await.ok().and_then(|mut addresses| addresses.next());
        let address = address.ok_or_else(|| Error::Cluster(format!("{host} has no address")))?;
        let headers = request::headers(&host, authorization.as_deref());
        nodes.push(Node { host, headers, address, tls });
    }
    Ok(nodes)
}

/// What the run's requests are about. Asks a node for what only the cluster knows: its time, and
/// where the newest entries are.
async fn subject(
    args: &Args,
    keys: Keys,
    prefix: &str,
    node: &Node,
    connection: &mut Connection,
) -> Result<Subject, String> {
    let mut body = Vec::new();
    // With a limit of nothing a check counts nothing, and is told when a window that began now
    // would end.
    request::check(&mut body, &args.kind, format_args!("{prefix}clock"), 0, WINDOW_MS_MAX);
    let now_ms = ask(node, connection, "/check", &body, 429, answer::reset_ms).await?;
    let now_ms = now_ms.saturating_sub(WINDOW_MS_MAX);
    let mut hour_end_ms = None;
    if args.mix.has(Operation::Query) {
        let newest = br#"{"limit":1}"#;
        hour_end_ms = ask(node, connection, "/query", newest, 200, answer::first_timestamp).await?;
    }
    let window_ms = u64::try_from(args.window.as_millis()).unwrap_or(WINDOW_MS_MAX);
    Ok(Subject {
        mix: args.mix,
        keys,
        prefix: prefix.to_owned(),
        kind: args.kind.clone(),
        limit: args.limit,
        window_ms,
        types: args.types,
        details_bytes: args.details_bytes,
        days: args.days,
        now_ms,
        // An empty log: the entries of this run, if it makes any, are what there is to be found.
        hour_end_ms: hour_end_ms.unwrap_or(now_ms + HALF_HOUR_MS),
    })
}

/// Half an hour, in ms.
const HALF_HOUR_MS: u64 = Duration::from_secs(30 * 60).as_millis() as u64;

/// Asks one question before the load begins, and reads the answer, which has to have this status.
async fn ask<T>(
    node: &Node,
    connection: &mut Connection,
    path: &str,
    body: &[u8],
    status: u16,
    read: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, String> {
    let mut request = Vec::new();
    request::frame(&mut request, &node.headers, &[path], body);
    let whole = async {
        let answer = connection.exchange(&request).await.map_err(|error| error.to_string())?;
        if answer.status == status {
            read(answer.body)
        } else {
            Err(answer::unexpected(answer.status, answer.body))
        }
    };
    whole.await.map_err(|why| format!("{}{path}: {why}", node.host))
}
