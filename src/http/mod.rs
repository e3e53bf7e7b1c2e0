//! The front door: requests in, commands and reads on, answers out.
//!
//! The only room that knows axum. Every node serves every route; where a command is carried out
//! is the hallway's business ([`crate::propose`]). Errors have one shape and one table, in
//! `error.rs`; what a client may send is bounded in [`crate::limits`]. Documented routes take any
//! content type, for a plain `fetch` of a string sends `text/plain`.

mod admin;
mod audit;
mod auth;
mod backup;
mod batch;
mod body;
mod check;
mod error;
mod export;
pub(crate) mod idempotency;
mod import;
mod inspect;
mod journal;
pub(crate) mod json;
mod limiters;
mod linger;
mod metrics;
pub(crate) mod objects;
mod openapi;
pub(crate) mod parameters;
mod policies;
mod request_id;
mod serve;
mod sources;
mod stream;
mod tagged;
mod tail;
mod taken;
#[cfg(test)]
mod tests;
mod tokens;
mod traffic;
mod ui;
mod unread;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::handler::Handler;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use tokio::sync::Semaphore;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::bindings::Bindings;
use crate::limits;
use crate::propose::Proposer;
use crate::raft::{Node, Reads};
use crate::tls::Watched;

pub use auth::Guard;
use openapi::{Routes, admin as described, inspected, operations};
pub use serve::{Connections, serve};
use tail::Tail;
pub use traffic::Telemetry;

/// What the routes need.
pub struct Api {
    /// The one way to change state.
    pub proposer: Proposer,
    /// Linearizable reads.
    pub reads: Reads,
    /// What is known of the cluster.
    pub cluster: Node,
    /// The namespaces, by the names that clients have for them.
    pub bindings: Bindings,
    /// The certificates that this node uses.
    pub certificates: Vec<Arc<dyn Watched>>,
    /// Who may pass.
    pub guard: Arc<Guard>,
    /// Tells of requests.
    tail: Tail,
    /// A permit per page of `/query` that is being read.
    queries: Semaphore,
    /// A permit per page of objects that is being read.
    inspections: Semaphore,
    /// A permit per export that is under way.
    exports: Arc<Semaphore>,
    /// A permit per backup that is under way.
    backups: Arc<Semaphore>,
}

impl Api {
    /// The routes' needs, with nothing under way. Where there are hashes of `operators`' tokens, clients need
    /// tokens.
    pub fn new(
        proposer: Proposer,
        cluster: Node,
        bindings: Bindings,
        certificates: Vec<Arc<dyn Watched>>,
        operators: Option<&[[u8; 32]]>,
    ) -> Arc<Self> {
        let guard = Guard::new(cluster.clone(), proposer.clone(), bindings.clone(), operators);
        let clocked = cluster.clone();
        let tail = Tail::new(cluster.id(), move || clocked.now_ms());
        Arc::new(Self {
            proposer,
            reads: cluster.reads().clone(),
            cluster,
            bindings,
            certificates,
            guard: Arc::new(guard),
            tail,
            queries: Semaphore::new(limits::QUERIES_MAX),
            inspections: Semaphore::new(limits::INSPECTIONS_MAX),
            exports: Arc::new(Semaphore::new(limits::EXPORTS_MAX)),
            backups: Arc::new(Semaphore::new(limits::BACKUPS_MAX)),
        })
    }
}

/// Every route, and what `/openapi.json` says of it.
fn routes(bindings: &Bindings, needs_tokens: bool) -> Routes {
    Routes::new(bindings, needs_tokens)
        .post("/check", check::check, operations::check)
        .post("/check/batch", batch::check, operations::check_batch)
        .post("/reset", check::reset, operations::reset)
        .post("/log", audit::log, operations::log)
        .post("/log/batch", batch::log, operations::log_batch)
        .post("/query", audit::query, operations::query)
        .get("/export", export::export.layer(gzip()), operations::export)
        .post("/do/{binding}/name/{name}/check", check::check_object, operations::check)
        .post("/do/{binding}/name/{name}/reset", check::reset_object, operations::reset)
        .post("/do/{binding}/name/{name}/log", audit::log_object, operations::log)
        .post("/do/{binding}/name/{name}/log/batch", batch::log_object, operations::log_batch)
        .post("/do/{binding}/name/{name}/query", audit::query_object, operations::query)
        .get(
            "/do/{binding}/name/{name}/export",
            export::export_object.layer(gzip()),
            operations::export,
        )
        .post("/do/{binding}/id/{id}/check", check::check_object, operations::check)
        .post("/do/{binding}/id/{id}/reset", check::reset_object, operations::reset)
        .post("/do/{binding}/id/{id}/log", audit::log_object, operations::log)
        .post("/do/{binding}/id/{id}/log/batch", batch::log_object, operations::log_batch)
        .post("/do/{binding}/id/{id}/query", audit::query_object, operations::query)
        .get(
            "/do/{binding}/id/{id}/export",
            export::export_object.layer(gzip()),
            operations::export,
        )
        .get("/healthz", admin::healthz, described::healthz)
        .get("/readyz", admin::readyz, described::readyz)
        .get("/metrics", metrics::metrics, described::metrics)
        .get("/admin/backup", backup::backup, described::backup)
        .get("/admin/bindings", inspect::bindings, inspected::bindings)
        .get("/admin/cluster", admin::cluster, described::cluster)
        .get("/admin/hash", admin::hash, described::hash)
        .get("/admin/objects", inspect::list, inspected::objects)
        .get("/admin/objects/{binding}/name/{name}", inspect::show, inspected::object_by_name)
        .get("/admin/objects/{binding}/id/{id}", inspect::show, inspected::object_by_id)
        .get("/admin/limiters/top", limiters::top, inspected::top)
        .get("/admin/limiters/{binding}/name/{name}", limiters::show, inspected::limiter)
        .get("/admin/limiters/{binding}/id/{id}", limiters::show, inspected::limiter)
        .post("/admin/limiters/{binding}/name/{name}/credit", limiters::credit, inspected::credit)
        .post("/admin/limiters/{binding}/id/{id}/credit", limiters::credit, inspected::credit)
        .get("/admin/tail", tail::tail, inspected::tail)
        .post("/admin/import", import::import, described::import)
        .post("/admin/members", admin::members, described::members)
        .get("/admin/policies", policies::list, described::policies)
        .get("/admin/policies/{type}", policies::show, described::policy)
        .put("/admin/policies/{type}", policies::put, described::put_policy)
        .delete("/admin/policies/{type}", policies::delete, described::delete_policy)
        .get("/admin/tokens", tokens::list, described::tokens)
        .post("/admin/tokens", tokens::create, described::create_token)
        .delete("/admin/tokens/{id}", tokens::revoke, described::revoke_token)
}

/// All of them, the page for people, and what is answered where there is nothing.
pub fn router(api: Arc<Api>) -> Router {
    routes(&api.bindings, api.guard.needs_tokens())
        .finish()
        .merge(ui::routes())
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_method)
        .with_state(api)
}

/// Compresses exports for clients that accept it, at the fastest level: the cores that compress
/// are those that decide checks.
fn gzip() -> CompressionLayer {
    CompressionLayer::new().quality(CompressionLevel::Fastest)
}

/// A 200 with a JSON body.
fn json_response(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
