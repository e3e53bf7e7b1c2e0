//! Counts, times and tells of requests, by binding, endpoint and status.
//!
//! By the path alone and before a route is looked for, so that what no route takes is counted too. The
//! labels are names of bindings and of endpoints, which are few, and never what else stands in a path.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use axum::response::Response;

use super::error::Cause;
use super::journal::{self, Journal};
use super::request_id::{self, RequestId};
use super::tail::{self, Tail};
use crate::bindings::Bindings;
use crate::metrics::{Histogram, IntCounter, counted};
use crate::trace::{self, Context, TraceId, Traced, Tracer};

/// The header by which a client says of which trace its request is (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The endpoints that an object has, at the root and under `/do`.
const OBJECT: [&str; 7] =
    ["/check", "/check/batch", "/reset", "/log", "/log/batch", "/query", "/export"];
/// The others; the last is what no route takes.
const OTHER: [&str; 6] = ["/healthz", "/readyz", "/metrics", "/admin", "/ui", "other"];
/// What `/admin` is about, where more is told than is counted.
const ADMIN: [&str; 11] = [
    "/admin/backup",
    "/admin/bindings",
    "/admin/cluster",
    "/admin/hash",
    "/admin/import",
    "/admin/limiters",
    "/admin/members",
    "/admin/objects",
    "/admin/policies",
    "/admin/tail",
    "/admin/tokens",
];

/// What is told of requests beside their counts.
pub struct Telemetry {
    /// Has spans of those that are sampled.
    pub tracer: Tracer,
    /// From which duration on the node's log tells of a request.
    pub slow_request: Duration,
}

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
    tracer: Tracer,
    journal: Journal,
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
    /// Which of [`ADMIN`], if it is one of those.
    admin: Option<&'static str>,
    method: Method,
    id: RequestId,
    began: Instant,
    /// The trace that the client says it belongs to.
    trace: Option<TraceId>,
    /// Its span, if it is sampled.
    traced: Option<Traced>,
    seen: Option<tail::Seen>,
}

impl Underway {
    /// The request's id.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// The request's span, if it is sampled.
    pub(super) fn traced(&self) -> Option<Traced> {
        self.traced.clone()
    }

    /// Leaves the request without a span: nobody knows who asks, so it is not for them to say what is kept.
    pub(super) fn withdraw_span(&mut self) {
        self.traced = None;
    }
}

impl Traffic {
    /// Nothing counted yet, of these bindings.
    pub(super) fn new(bindings: &Bindings, tail: Tail, telemetry: Telemetry) -> Self {
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
            tracer: telemetry.tracer,
            journal: Journal::new(telemetry.slow_request),
        }
    }

    /// Begins to time a request.
    pub(super) fn begin<B>(&self, request: &Request<B>) -> Underway {
        let began = Instant::now();
        let (path, headers) = (request.uri().path(), request.headers());
        let (id, parent) = (RequestId::of(headers), parent(headers));
        let traced = self.tracer.begin(parent, id.own());
        Underway {
            endpoint: self.place(path),
            admin: admin(path),
            method: request.method().clone(),
            id,
            began,
            trace: parent.map(|parent| parent.trace),
            traced,
            seen: self.tail.see(request),
        }
    }

    /// Notes that a request was answered, and marks the answer with its id.
    pub(super) fn end(&self, underway: Underway, response: &mut Response) {
        let Underway { endpoint, admin, method, id, began, trace, traced, seen } = underway;
        let endpoint = &self.endpoints[endpoint];
        let (elapsed, status) = (began.elapsed(), response.status());
        endpoint.seconds.observe(elapsed.as_secs_f64());
        let [binding, class, path] = endpoint.labels.each_ref().map(String::as_str);
        if let Some(seen) = seen {
            self.tail.answered(seen, [binding, class, path], elapsed, &id, response);
        }
        let path = admin.unwrap_or(path);
        if self.journal.is_notable(status, elapsed, path) {
            self.journal.answered(&journal::Answered {
                method: known(&method),
                endpoint: path,
                binding,
                status,
                elapsed,
                request_id: id.text(),
                trace_id: trace.map(|trace| trace.to_string()).as_deref(),
                cause: response.extensions().get::<Cause>(),
            });
        }
        if let Some(traced) = traced {
            let names = || [binding, class].map(str::to_owned);
            let answered = trace::Answered {
                method: known(&method),
                endpoint: path.to_owned(),
                binding: (!binding.is_empty()).then(names),
                status: status.as_u16(),
                request_id: id.text().to_owned(),
            };
            self.tracer.end(traced, answered);
        }
        match status {
            StatusCode::OK => endpoint.ok.inc(),
            StatusCode::TOO_MANY_REQUESTS => endpoint.too_many.inc(),
            status => endpoint.answered(status).inc(),
        }
        response.headers_mut().insert(request_id::HEADER, id.into_value());
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

/// The span from which a request comes, if its client says so, and says it once.
fn parent(headers: &HeaderMap) -> Option<Context> {
    let mut sent = headers.get_all(TRACEPARENT).iter();
    let (first, second) = (sent.next()?, sent.next());
    second.is_none().then(|| Context::parse(first.as_bytes())).flatten()
}

/// What of `/admin` a path is about, without what clients make up.
fn admin(path: &str) -> Option<&'static str> {
    let rest = path.strip_prefix("/admin/")?;
    let of = rest.split('/').next()?;
    ADMIN.into_iter().find(|known| &known["/admin/".len()..] == of)
}

/// A method as it may be told: clients make some up.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
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

    fn traffic() -> Traffic {
        let telemetry =
            Telemetry { tracer: Tracer::default(), slow_request: Duration::from_secs(3600) };
        Traffic::new(&Bindings::default_for("traffic-test"), Tail::new(1, || 0), telemetry)
    }

    #[test]
    fn a_path_is_counted_under_its_binding_and_never_under_what_else_is_in_it() {
        let traffic = traffic();
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

    #[test]
    fn an_answer_has_the_id_of_its_request() {
        let traffic = traffic();
        let answered = |id: Option<&str>| {
            let mut request = Request::builder().uri("/check");
            if let Some(id) = id {
                request = request.header(request_id::HEADER, id);
            }
            let underway = traffic.begin(&request.body(()).unwrap());
            let mut response = Response::new(axum::body::Body::empty());
            traffic.end(underway, &mut response);
            response.headers()[request_id::HEADER].to_str().unwrap().to_owned()
        };
        assert_eq!(answered(Some("mine")), "mine");
        let (one, other) = (answered(None), answered(Some("not mine")));
        assert!(one != other && one.len() == 32 && other.len() == 32, "{one} {other}");
    }

    #[test]
    fn a_trace_is_told_once_or_not_at_all() {
        let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACEPARENT, value.parse().unwrap());
            }
            parent(&headers)
        };
        assert!(of(&[value]).is_some_and(|context| context.is_sampled));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["00"]), None);
        assert_eq!(of(&[value, value]), None);
    }

    #[test]
    fn more_is_told_of_administration_than_is_counted() {
        for (path, told) in [
            ("/admin/members", Some("/admin/members")),
            ("/admin/objects/B/name/secret", Some("/admin/objects")),
            ("/admin/limiters/top", Some("/admin/limiters")),
            ("/admin/secret", None),
            ("/admin/", None),
            ("/admin", None),
            ("/check", None),
        ] {
            assert_eq!(admin(path), told, "{path}");
        }
        assert_eq!(known(&Method::PUT), "PUT");
        assert_eq!(known(&"SECRET".parse().unwrap()), "_OTHER");
    }
}
