//! What one watcher gets: server-sent events (WHATWG HTML, section 9.2).
//!
//! `request` events hold a request's JSON, `dropped` ones `{"count":n}`: so many were not told of,
//! before any filter. A comment every now and then tells that the node is still there.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use futures_util::stream;
use tokio::select;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::filter::Filter;
use super::{Event, Watcher};
use crate::error::Result;
use crate::http::Api;
use crate::http::inspect::find;
use crate::limits;
use crate::metrics::counted;

/// `GET /admin/tail`.
pub(in crate::http) async fn tail(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response> {
    let filter = Filter::parse(uri.query().unwrap_or_default())?;
    if let Some(name) = filter.binding() {
        // A name that is mistyped would wait for ever.
        find(&api, name)?;
    }
    let watcher = api.tail.watch()?;
    let (sender, receiver) = mpsc::channel(limits::STREAM_QUEUE_MAX);
    tokio::spawn(follow(watcher, filter, sender));
    let pieces = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async move {
        Some((Ok::<_, Infallible>(receiver.recv().await?), receiver))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Sends what `filter` takes until the client has gone, takes nothing for too long, or the node stops.
async fn follow(mut watcher: Watcher, mut filter: Filter, sender: mpsc::Sender<Bytes>) {
    let ended = watcher.tail.shared.ended.clone();
    // A first piece, so that the client knows that it is told of all that comes from now on.
    let mut text = b":\n\n".to_vec();
    loop {
        if !text.is_empty() {
            let sent = select! {
                () = ended.cancelled() => return,
                sent = timeout(limits::STREAM_STALL_TIMEOUT, sender.send(text.into())) => sent,
            };
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
        text = Vec::new();
        let next = select! {
            () = ended.cancelled() => return,
            () = sender.closed() => return,
            next = timeout(limits::TAIL_PULSE_INTERVAL, watcher.events.recv()) => next,
        };
        match next {
            Err(_) => text.extend_from_slice(b":\n\n"),
            Ok(Ok(event)) => tell(&mut text, &mut filter, &event),
            Ok(Err(RecvError::Lagged(count))) => dropped(&mut text, count),
            Ok(Err(RecvError::Closed)) => return,
        }
        // What has come meanwhile goes along.
        for _ in 0..limits::TAIL_QUEUE_MAX {
            if text.len() >= limits::TAIL_PIECE_BYTES {
                break;
            }
            match watcher.events.try_recv() {
                Ok(event) => tell(&mut text, &mut filter, &event),
                Err(TryRecvError::Lagged(count)) => dropped(&mut text, count),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
    }
}

fn tell(text: &mut Vec<u8>, filter: &mut Filter, event: &Event) {
    if filter.takes(event) {
        text.extend_from_slice(b"event: request\ndata: ");
        serde_json::to_writer(&mut *text, event).expect("an event is JSON");
        text.extend_from_slice(b"\n\n");
    }
}

fn dropped(text: &mut Vec<u8>, count: u64) {
    counted().tail_dropped.inc_by(count);
    text.extend_from_slice(format!("event: dropped\ndata: {{\"count\":{count}}}\n\n").as_bytes());
}
