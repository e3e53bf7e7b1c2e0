//! Counts and times requests, by binding, endpoint and status.
//!
//! By the path alone and before a route is looked for, so that what no route takes is counted too. The
//! labels are names of bindings and of endpoints, which are few, and never what else stands in a path.

use std::time::Instant;

use axum::http::{Request, StatusCode};
use axum::response::Response;

use super::tail::{self, Tail};
use crate::bindings::Bindings;
use crate::metrics::{Histogram, IntCounter, counted};

/// The endpoints that an object has, at the root and under `/do`.
const OBJECT: [&str; 7] =
    ["/check", "/check/batch", "/reset", "/log", "/log/batch", "/query", "/export"];
/// The others; the last is what no route takes.
const OTHER: [&str; 6] = ["/healthz", "/readyz", "/metrics", "/admin", "/ui", "other"];

/// What is counted of each endpoint of each binding.
pub(super) struct Traffic {
    bindings: Vec<String>,
    /// Those of each binding in the order of [`OBJECT`], one binding after the other, and then those of
    /// [`OTHER`].
    endpoints: Vec<Endpoint>,
    /// Which bindings the root's routes ask.
    limiter: Option<usize>,
    audit: Option<usize>,
    tail: Tail,
}

/// The labels of an endpoint, and what is asked for most often, looked up once.
struct Endpoint {
    labels: [String; 3],
    seconds: Histogram,
    ok: IntCounter,
    too_many: IntCounter,
}

/// A request that is being answered.
pub(super) struct Underway {
    /// Which of [`Traffic::endpoints`].
    endpoint: usize,
    began: Instant,
    seen: Option<tail::Seen>,
}

impl Traffic {
    /// Nothing counted yet, of these bindings.
    pub(super) fn new(bindings: &Bindings, tail: Tail) -> Self {
        let all: Vec<_> = bindings.iter().collect();
        let of = |binding: Option<&str>| {
            let place = |name: &str| all.iter().position(|binding| binding.name == name);
            binding.and_then(place)
        };
        let objects = all.iter().flat_map(|binding| {
            OBJECT.map(|endpoint| Endpoint::new(&binding.name, binding.class.name(), endpoint))
        });
        let others = OTHER.map(|endpoint| Endpoint::new("", "", endpoint));
        Self {
            bindings: all.iter().map(|binding| binding.name.clone()).collect(),
            endpoints: objects.chain(others).collect(),
            limiter: of(bindings.limiter().map(|binding| binding.name.as_str())),
            audit: of(bindings.audit().map(|binding| binding.name.as_str())),
            tail,
        }
    }

    /// Begins to time a request.
    pub(super) fn begin<B>(&self, request: &Request<B>) -> Underway {
        let endpoint = self.place(request.uri().path());
        Underway { endpoint, began: Instant::now(), seen: self.tail.see(request) }
    }

    /// Notes that a request was answered.
    pub(super) fn end(&self, underway: Underway, response: &mut Response) {
        let endpoint = &self.endpoints[underway.endpoint];
        let elapsed = underway.began.elapsed();
        endpoint.seconds.observe(elapsed.as_secs_f64());
        if let Some(seen) = underway.seen {
            let labels = endpoint.labels.each_ref().map(String::as_str);
            self.tail.answered(seen, labels, elapsed, response);
        }
        match response.status() {
            StatusCode::OK => endpoint.ok.inc(),
            StatusCode::TOO_MANY_REQUESTS => endpoint.too_many.inc(),
            status => endpoint.answered(status).inc(),
        }
    }

    /// Ends what is told of requests.
    pub(super) fn end_tail(&self) {
        self.tail.end();
    }

    fn place(&self, path: &str) -> usize {
        let (binding, endpoint) = match path.strip_prefix("/do/") {
            None => {
                let is_limiter = matches!(path, "/check" | "/check/batch" | "/reset");
                (if is_limiter { self.limiter } else { self.audit }, path)
            }
            Some(rest) => {
                // `BINDING/name/NAME/check`
                let mut parts = rest.splitn(4, '/');
                let name = parts.next().unwrap_or_default();
                let binding = self.bindings.iter().position(|binding| binding == name);
                let endpoint = parts
                    .nth(2)
                    .and_then(|endpoint| OBJECT.into_iter().find(|known| &known[1..] == endpoint));
                (binding, endpoint.unwrap_or_default())
            }
        };
        let place = OBJECT.iter().position(|known| *known == endpoint);
        if let (Some(binding), Some(place)) = (binding, place) {
            return binding * OBJECT.len() + place;
        }
        let last = OTHER.len() - 1;
        let known = match path {
            _ if path.starts_with("/admin/") => "/admin",
            _ if path.starts_with("/ui/") => "/ui",
            _ => path,
        };
        let place = OTHER[..last].iter().position(|other| *other == known);
        self.bindings.len() * OBJECT.len() + place.unwrap_or(last)
    }
}

impl Endpoint {
    fn new(binding: &str, class: &str, endpoint: &str) -> Self {
        let labels = [binding, class, endpoint];
        let count =
            |status| counted().http_requests.with_label_values(&[binding, class, endpoint, status]);
        Self {
            labels: labels.map(str::to_owned),
            seconds: counted().http_seconds.with_label_values(&labels),
            ok: count(StatusCode::OK.as_str()),
            too_many: count(StatusCode::TOO_MANY_REQUESTS.as_str()),
        }
    }

    fn answered(&self, status: StatusCode) -> IntCounter {
        let [binding, class, endpoint] = self.labels.each_ref().map(String::as_str);
        counted().http_requests.with_label_values(&[binding, class, endpoint, status.as_str()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_counted_under_its_binding_and_never_under_what_else_is_in_it() {
        let traffic = Traffic::new(&Bindings::default_for("traffic-test"), Tail::new(1, || 0));
        for (path, binding, endpoint) in [
            ("/check", "RATE_LIMITER", "/check"),
            ("/check/batch", "RATE_LIMITER", "/check/batch"),
            ("/reset", "RATE_LIMITER", "/reset"),
            ("/query", "AUDIT_LOGGER", "/query"),
            ("/do/RATE_LIMITER/name/wix:1.2.3.4/check", "RATE_LIMITER", "/check"),
            ("/do/AUDIT_LOGGER/id/ab/log/batch", "AUDIT_LOGGER", "/log/batch"),
            ("/do/RATE_LIMITER/name/secret/nothing", "", "other"),
            ("/do/UNKNOWN/name/secret/check", "", "other"),
            ("/do/", "", "other"),
            ("/admin/cluster", "", "/admin"),
            ("/metrics", "", "/metrics"),
            ("/ui", "", "/ui"),
            ("/ui/secret.js", "", "/ui"),
            ("/uis", "", "other"),
            ("/secret", "", "other"),
            ("", "", "other"),
        ] {
            let [found, _, place] = &traffic.endpoints[traffic.place(path)].labels;
            assert_eq!((found.as_str(), place.as_str()), (binding, endpoint), "{path}");
        }
        // The registry is the process's, and other tests count in it.
        let begin = |path: &str| traffic.begin(&Request::builder().uri(path).body(()).unwrap());
        let answer = |status| {
            let mut response = Response::new(axum::body::Body::empty());
            *response.status_mut() = status;
            response
        };
        let (check, log) = (begin("/check"), begin("/log"));
        let [at_check, at_log] = [check.endpoint, log.endpoint];
        let before = traffic.endpoints[at_check].too_many.get();
        traffic.end(check, &mut answer(StatusCode::TOO_MANY_REQUESTS));
        assert!(traffic.endpoints[at_check].too_many.get() > before);
        traffic.end(log, &mut answer(StatusCode::BAD_REQUEST));
        assert!(traffic.endpoints[at_log].answered(StatusCode::BAD_REQUEST).get() > 0);
    }
}
