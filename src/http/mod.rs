//! The front door: requests in, commands and reads on, answers out.
//!
//! The only room that knows axum. Every node serves every route; where a command is carried out
//! is the hallway's business ([`crate::propose`]). Errors have one shape and one table, in
//! `error.rs`; what a client may send is bounded in [`crate::limits`]. Documented routes take any
//! content type, for a plain `fetch` of a string sends `text/plain`.

mod admin;
mod audit;
mod backup;
mod batch;
mod body;
mod check;
mod error;
mod export;
pub(crate) mod idempotency;
mod import;
pub(crate) mod json;
mod linger;
pub(crate) mod objects;
pub(crate) mod parameters;
mod policies;
mod serve;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::bindings::Bindings;
use crate::limits;
use crate::propose::Proposer;
use crate::raft::{Node, Reads};
use crate::tls::Watched;

pub use serve::serve;

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
    /// A permit per page of `/query` that is being read.
    queries: Semaphore,
    /// A permit per export that is under way.
    exports: Arc<Semaphore>,
    /// A permit per backup that is under way.
    backups: Arc<Semaphore>,
}

impl Api {
    /// The routes' needs, with nothing under way.
    pub fn new(
        proposer: Proposer,
        reads: Reads,
        cluster: Node,
        bindings: Bindings,
        certificates: Vec<Arc<dyn Watched>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            proposer,
            reads,
            cluster,
            bindings,
            certificates,
            queries: Semaphore::new(limits::QUERIES_MAX),
            exports: Arc::new(Semaphore::new(limits::EXPORTS_MAX)),
            backups: Arc::new(Semaphore::new(limits::BACKUPS_MAX)),
        })
    }
}

/// Every route.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/check", post(check::check))
        .route("/check/batch", post(batch::check))
        .route("/reset", post(check::reset))
        .route("/log", post(audit::log))
        .route("/log/batch", post(batch::log))
        .route("/query", post(audit::query))
        .route("/export", get(export::export).layer(gzip()))
        .route("/do/{binding}/name/{name}/check", post(check::check_object))
        .route("/do/{binding}/name/{name}/reset", post(check::reset_object))
        .route("/do/{binding}/name/{name}/log", post(audit::log_object))
        .route("/do/{binding}/name/{name}/log/batch", post(batch::log_object))
        .route("/do/{binding}/name/{name}/query", post(audit::query_object))
        .route("/do/{binding}/name/{name}/export", get(export::export_object).layer(gzip()))
        .route("/do/{binding}/id/{id}/check", post(check::check_object))
        .route("/do/{binding}/id/{id}/reset", post(check::reset_object))
        .route("/do/{binding}/id/{id}/log", post(audit::log_object))
        .route("/do/{binding}/id/{id}/log/batch", post(batch::log_object))
        .route("/do/{binding}/id/{id}/query", post(audit::query_object))
        .route("/do/{binding}/id/{id}/export", get(export::export_object).layer(gzip()))
        .route("/healthz", get(admin::healthz))
        .route("/readyz", get(admin::readyz))
        .route("/admin/backup", get(backup::backup))
        .route("/admin/cluster", get(admin::cluster))
        .route("/admin/hash", get(admin::hash))
        .route("/admin/import", post(import::import))
        .route("/admin/members", post(admin::members))
        .route("/admin/policies", get(policies::list))
        .route(
            "/admin/policies/{type}",
            get(policies::show).put(policies::put).delete(policies::delete),
        )
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
