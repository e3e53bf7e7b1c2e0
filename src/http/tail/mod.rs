//! `GET /admin/tail`: the requests that this node answers, as it answers them.
//!
//! As long as nobody watches, a request pays for a look at one number. If somebody does, what it was
//! about goes into a queue of fixed length, from which whoever is too slow loses the oldest, and is
//! told how many: no request ever waits for who watches. Nothing is kept, and nothing is told of what
//! was answered before somebody came.

mod filter;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{Method, Request};
use axum::response::Response;
use serde::Serialize;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::objects::percent_decode;
use super::request_id::RequestId;
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::ObjectRef;
use crate::metrics::counted;

pub(super) use stream::tail;

/// A cheap handle to what tells of requests.
#[derive(Clone)]
pub struct Tail {
    shared: Arc<Shared>,
}

struct Shared {
    /// How many watch.
    watchers: AtomicUsize,
    permits: Arc<Semaphore>,
    events: broadcast::Sender<Arc<Event>>,
    ended: CancellationToken,
    node: u64,
    now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// A request that was answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    /// When, by the cluster's clock on this node, in ms since the Unix epoch.
    time: u64,
    node: u64,
    method: String,
    endpoint: String,
    /// These are null where a request is about none, or the answer came before it was known.
    binding: Option<String>,
    class: Option<String>,
    name: Option<String>,
    id: Option<String>,
    identifier: Option<String>,
    status: u16,
    /// From the request's head to that of the answer, to the µs.
    duration_ms: f64,
    request_id: String,
}

/// A request under way while somebody watches.
pub(super) struct Seen {
    method: Method,
    path: String,
}

/// What a request is about, where its path does not say so: kept with the answer.
#[derive(Clone)]
pub(super) struct Subject {
    name: Option<String>,
    identifier: Option<String>,
}

/// Somebody who watches, until this is dropped.
struct Watcher {
    tail: Tail,
    events: broadcast::Receiver<Arc<Event>>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Tail {
    /// Of the node of this id, with the cluster's clock there.
    pub fn new(node: u64, now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let shared = Shared {
            watchers: AtomicUsize::new(0),
            permits: Arc::new(Semaphore::new(limits::TAILS_MAX)),
            events: broadcast::Sender::new(limits::TAIL_QUEUE_MAX),
            ended: CancellationToken::new(),
            node,
            now_ms: Box::new(now_ms),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Ends what everybody sees.
    pub(super) fn end(&self) {
        self.shared.ended.cancel();
    }

    fn is_watched(&self) -> bool {
        self.shared.watchers.load(Ordering::Relaxed) > 0
    }

    /// Remembers a request, if somebody watches; but not that somebody begins to watch.
    pub(super) fn see<B>(&self, request: &Request<B>) -> Option<Seen> {
        let is_told = self.is_watched() && request.uri().path() != "/admin/tail";
        is_told.then(|| Seen {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
        })
    }

    /// What a request is about, if somebody watches.
    pub(super) fn subject(&self, object: &ObjectRef, identifier: &str) -> Option<Subject> {
        self.is_watched()
            .then(|| Subject { name: object.name.clone(), identifier: Some(identifier.to_owned()) })
    }

    /// Tells of the answer to a request of this id, which is of this binding, class and endpoint.
    pub(super) fn answered(
        &self,
        seen: Seen,
        labels: [&str; 3],
        elapsed: Duration,
        request_id: &RequestId,
        response: &mut Response,
    ) {
        let Seen { method, path } = seen;
        let [binding, class, endpoint] = labels;
        let subject = response.extensions_mut().remove::<Subject>();
        let (name, id) = object_of(&path);
        let (told, identifier) = match subject {
            Some(Subject { name, identifier }) => (name, identifier),
            None => (None, None),
        };
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let event = Event {
            time: (self.shared.now_ms)(),
            node: self.shared.node,
            // Clients may make methods up.
            method: method.as_str().chars().take(32).collect(),
            endpoint: endpoint.to_owned(),
            binding: text(binding),
            class: text(class),
            name: name.or(told),
            id,
            identifier,
            status: response.status().as_u16(),
            duration_ms: elapsed.as_micros() as f64 / 1000.0,
            request_id: request_id.text().to_owned(),
        };
        // The last who watched may have gone.
        let _ = self.shared.events.send(Arc::new(event));
    }

    fn watch(&self) -> Result<Watcher> {
        let permit = Arc::clone(&self.shared.permits)
            .try_acquire_owned()
            .map_err(|_| Error::overloaded("as many watch this node as may"))?;
        let events = self.shared.events.subscribe();
        self.shared.watchers.fetch_add(1, Ordering::Relaxed);
        counted().tail_clients.inc();
        Ok(Watcher { tail: self.clone(), events, _permit: permit })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tail.shared.watchers.fetch_sub(1, Ordering::Relaxed);
        counted().tail_clients.dec();
    }
}

/// Keeps with an answer what it is about.
pub(super) fn about(subject: Option<Subject>, mut response: Response) -> Response {
    if let Some(subject) = subject {
        response.extensions_mut().insert(subject);
    }
    response
}

/// The name or the id of the object that a path names.
fn object_of(path: &str) -> (Option<String>, Option<String>) {
    let Some(rest) = path.strip_prefix("/do/") else { return (None, None) };
    let mut parts = rest.splitn(4, '/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("name"), Some(name)) => {
            let name = percent_decode(name, "the object's name").ok();
            // What is longer names no object.
            (name.filter(|name| name.len() <= limits::OBJECT_NAME_BYTES_MAX), None)
        }
        (Some("id"), Some(id)) => (None, (id.len() == 64).then(|| id.to_ascii_lowercase())),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn requests_are_told_of_while_somebody_watches() {
        let tail = Tail::new(7, || 1_000);
        let request = |path: &str| Request::builder().uri(path).body(()).unwrap();
        assert!(tail.see(&request("/check")).is_none());
        let mut watcher = tail.watch().unwrap();
        let labels = ["B", "RateLimiter", "/check"];
        let seen = tail.see(&request("/do/B/name/w%2Fx/check")).unwrap();
        let took = Duration::from_micros(1_500);
        let id = RequestId::new();
        tail.answered(seen, labels, took, &id, &mut Response::new(Body::empty()));
        let object = crate::machine::Namespace::new("a").object("wix:u");
        let mut response = about(tail.subject(&object, "u"), Response::new(Body::empty()));
        *response.status_mut() = axum::http::StatusCode::TOO_MANY_REQUESTS;
        tail.answered(tail.see(&request("/check")).unwrap(), labels, took, &id, &mut response);
        tail.answered(
            tail.see(&request("/admin/x")).unwrap(),
            ["", "", "/admin"],
            took,
            &id,
            &mut Response::new(Body::empty()),
        );
        let mut told = || {
            let event = watcher.events.try_recv().unwrap();
            assert_eq!(event.request_id, id.text());
            (event.name.clone(), event.identifier.clone(), event.binding.clone(), event.status)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(told(), (text("w/x"), None, text("B"), 200));
        assert_eq!(told(), (text("wix:u"), text("u"), text("B"), 429));
        assert_eq!(told(), (None, None, None, 200));
        assert!(tail.see(&request("/admin/tail")).is_none());
        drop(watcher);
        assert!(tail.see(&request("/check")).is_none());
    }

    #[test]
    fn no_more_than_a_few_watch() {
        let tail = Tail::new(1, || 0);
        let mut watchers: Vec<_> = (0..limits::TAILS_MAX).map(|_| tail.watch().unwrap()).collect();
        assert_eq!(tail.watch().err().unwrap().code, "overloaded");
        watchers.pop();
        assert!(tail.watch().is_ok());
    }

    #[test]
    fn an_object_is_what_its_path_names() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(object_of("/do/B/name/a%3Ab/log/batch"), (text("a:b"), None));
        let id = "AB".repeat(32);
        let by_id = object_of(&format!("/do/B/id/{id}/check"));
        assert_eq!(by_id, (None, Some(id.to_ascii_lowercase())));
        assert_eq!(object_of(&format!("/do/B/name/{}/check", "n".repeat(1_026))), (None, None));
        for path in ["/check", "/do/", "/do/B", "/do/B/name", "/do/B/other/x", "/do/B/id/AB/c"] {
            assert_eq!(object_of(path), (None, None), "{path}");
        }
    }
}
