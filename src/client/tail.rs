//! `tallykeep tail`: the requests that the nodes answer, as they answer them.
//!
//! One stream of each node that is named. A stream that ends is begun again; what was answered meanwhile
//! is not told of, and standard error says that there was a gap.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::cluster::{Cluster, Fault, origin, reasons};
use super::terminal::{self, plain};
use super::{Endpoints, Error, time};
use crate::limits::{TAIL_LINE_BYTES_MAX, TAIL_RETRY_INTERVAL};

/// Events that wait to be printed.
const QUEUE: usize = 256;

/// Arguments of `tallykeep tail`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only requests for objects of this binding.
    #[arg(long, value_name = "BINDING")]
    binding: Option<String>,
    /// Only requests for objects of such names; `*` stands for any characters: `wix:*`.
    #[arg(long, value_name = "PATTERN")]
    name: Option<String>,
    /// Only requests at this endpoint, such as `/check`.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Only answers with these statuses, such as `429` or `4xx,5xx`.
    #[arg(long, value_name = "STATUSES")]
    status: Option<String>,
    /// Only this part of them, such as 0.01.
    #[arg(long, value_name = "PART")]
    sample: Option<f64>,
    /// End after so many requests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print JSON, one request a line, as the API gives it.
    #[arg(long)]
    json: bool,
    /// The nodes.
    #[command(flatten)]
    endpoints: Endpoints,
}

/// A request, as the API tells of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    time: u64,
    node: u64,
    method: String,
    endpoint: String,
    binding: Option<String>,
    name: Option<String>,
    id: Option<String>,
    identifier: Option<String>,
    status: u16,
    duration_ms: f64,
}

#[derive(Deserialize)]
struct Dropped {
    count: u64,
}

/// What comes from a node's stream.
enum Told {
    /// The JSON of a request.
    Request(String),
    /// Something that is no request, for people: the node's URL, and what there is to say.
    Notice(String, String),
    /// It does not take what is asked.
    Rejected(String),
}

/// Prints requests until nobody reads them, or there were as many as was asked for.
///
/// # Errors
/// If a node does not take the filter, or the output cannot be written.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let cluster = Arc::new(Cluster::of_streams(&args.endpoints)?);
    let query = [
        ("binding", args.binding),
        ("name", args.name),
        ("endpoint", args.path),
        ("status", args.status),
        ("sample", args.sample.map(|part| part.to_string())),
    ];
    let query: Vec<(&'static str, String)> =
        query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let (sender, mut told) = mpsc::channel(QUEUE);
    // Dropped with this function, and so ended.
    let mut streams = JoinSet::new();
    for turn in 0..cluster.endpoints().len() {
        streams.spawn(follow(cluster.clone(), turn, query.clone(), sender.clone()));
    }
    drop(sender);
    let mut left = args.limit.unwrap_or(u64::MAX);
    while let Some(told) = told.recv().await {
        let line = match told {
            Told::Request(json) if args.json => json,
            Told::Request(json) => match serde_json::from_str(&json) {
                Ok(request) => line(&request),
                Err(error) => {
                    return Err(Error::Cluster(format!("an event is not understood: {error}")));
                }
            },
            Told::Notice(node, what) => {
                eprintln!("tallykeep: {node}: {}", plain(&what));
                continue;
            }
            Told::Rejected(why) => return Err(Error::Rejected(why)),
        };
        left -= 1;
        if !terminal::print(format!("{line}\n").as_bytes())? || left == 0 {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Follows one node for ever, or until nobody wants what it tells.
async fn follow(
    cluster: Arc<Cluster>,
    turn: usize,
    query: Vec<(&'static str, String)>,
    sender: mpsc::Sender<Told>,
) {
    let node = origin(&cluster.endpoints()[turn]).to_owned();
    let notice = |what: String| Told::Notice(node.clone(), what);
    let mut is_lost = false;
    loop {
        let path = ["admin", "tail"].map(str::to_owned);
        let why = match cluster.open(turn, &path, &query).await {
            Ok(response) => {
                if std::mem::take(&mut is_lost) {
                    let back = "followed again; what it answered meanwhile is not told".to_owned();
                    if sender.send(notice(back)).await.is_err() {
                        return;
                    }
                }
                match listen(response, &node, &sender).await {
                    Some(why) => why,
                    None => return,
                }
            }
            Err(Fault::Rejected(why)) => {
                // If nobody hears it, everything is over anyway.
                let _ = sender.send(Told::Rejected(why)).await;
                return;
            }
            Err(Fault::Unchanged(why) | Fault::Unknown(why)) => why,
        };
        if !is_lost && sender.send(notice(why)).await.is_err() {
            return;
        }
        is_lost = true;
        sleep(TAIL_RETRY_INTERVAL).await;
    }
}

/// Reads one stream to its end, and says why it ended; `None` if nobody wants it any more.
async fn listen(
    response: reqwest::Response,
    node: &str,
    sender: &mpsc::Sender<Told>,
) -> Option<String> {
    let mut pieces = response.bytes_stream();
    let mut events = Events::default();
    while let Some(piece) = pieces.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Some(reasons(&error)),
        };
        let Some(found) = events.read(&piece) else {
            return Some("what it sends is no stream of events".to_owned());
        };
        for (event, data) in found {
            let told = match event.as_str() {
                "request" => Told::Request(data),
                "dropped" => match serde_json::from_str(&data) {
                    Ok(Dropped { count }) => {
                        let what = format!("{count} requests are not told of: too many to follow");
                        Told::Notice(node.to_owned(), what)
                    }
                    Err(_) => continue,
                },
                // Of a later version.
                _ => continue,
            };
            sender.send(told).await.ok()?;
        }
    }
    Some("it has ended the stream".to_owned())
}

/// Reads server-sent events, as far as nodes send them: a line `event:`, a line `data:`, an empty line.
#[derive(Default)]
struct Events {
    rest: Vec<u8>,
    event: String,
    data: String,
}

impl Events {
    /// The events that a piece completes, with their data; `None` if it is no text, or a line is too long.
    fn read(&mut self, piece: &[u8]) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        self.rest.extend_from_slice(piece);
        let mut from = 0;
        while let Some(length) = self.rest[from..].iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&self.rest[from..from + length]).ok()?;
            from += length + 1;
            match line.split_once(": ") {
                Some(("event", event)) => self.event = event.to_owned(),
                Some(("data", data)) => self.data = data.to_owned(),
                None if line.is_empty() && !self.data.is_empty() => {
                    found.push((std::mem::take(&mut self.event), std::mem::take(&mut self.data)));
                }
                _ => {}
            }
        }
        self.rest.drain(..from);
        (self.rest.len() <= TAIL_LINE_BYTES_MAX).then_some(found)
    }
}

/// `2021-10-18T12:00:00.000Z  1  429  900.0µs  POST /check  RATE_LIMITER  wix:u  u`.
fn line(request: &Request) -> String {
    let Request { time, node, method, endpoint, status, duration_ms, .. } = request;
    let took = Duration::from_secs_f64(duration_ms.clamp(0.0, 1e9) / 1000.0);
    let mut line = format!("{}  {node}  {status}  {took:.1?}  ", time::show(*time));
    line.push_str(&plain(&format!("{method} {endpoint}")));
    let object = request.name.as_ref().or(request.id.as_ref());
    let parts = [request.binding.as_ref(), object, request.identifier.as_ref()];
    for part in parts.into_iter().flatten() {
        line.push_str("  ");
        line.push_str(&plain(part));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let stream = ":\n\nevent: request\ndata: {\"a\":\"é: x\"}\n\n:\n\n\
                      event: dropped\ndata: {\"count\":3}\n\n";
        let pair = |event: &str, data: &str| (event.to_owned(), data.to_owned());
        let expected = [pair("request", "{\"a\":\"é: x\"}"), pair("dropped", "{\"count\":3}")];
        for length in 1..=stream.len() {
            let mut events = Events::default();
            let pieces = stream.as_bytes().chunks(length);
            let found = pieces.flat_map(|piece| events.read(piece).unwrap());
            assert_eq!(found.collect::<Vec<_>>(), expected, "{length}");
        }
        assert!(Events::default().read(b"\xff\n").is_none());
        assert!(Events::default().read(&[b'a'; TAIL_LINE_BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn a_request_is_a_line() {
        let json = r#"{"time":0,"node":2,"method":"POST","endpoint":"/check","binding":"B",
            "class":"RateLimiter","name":"w\u001b","id":null,"identifier":"u","status":429,
            "durationMs":1.5}"#;
        let expected = "1970-01-01T00:00:00.000Z  2  429  1.5ms  POST /check  B  w\\u{1b}  u";
        assert_eq!(line(&serde_json::from_str(json).unwrap()), expected);
    }
}
