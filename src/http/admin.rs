//! What operators and their probes ask a node.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::auth::told;
use super::body::Payload;
use super::{Api, json_response};
use crate::error::{Error, Result};
use crate::raft::{Change, ClusterReport};

/// `GET /healthz`: the process lives.
pub(super) async fn healthz() -> Response {
    json_response(br#"{"status":"ok"}"#.as_slice())
}

/// `GET /readyz`: the node can serve, or one sentence why not.
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<Response> {
    api.cluster.ready().map_err(Error::unavailable)?;
    api.guard.ready()?;
    Ok(json_response(br#"{"status":"ready"}"#.as_slice()))
}

/// `GET /admin/cluster`: the cluster as this node sees it, and the certificates that it uses itself.
pub(super) async fn cluster(State(api): State<Arc<Api>>) -> Response {
    let certificates = api.certificates.iter().map(|one| {
        let expiry = one.expiry();
        CertificateReport {
            whom: one.whom(),
            serial: expiry.serial,
            not_after: expiry.certificate_ms,
            ca_not_after: expiry.ca_ms,
        }
    });
    let certificates = certificates.collect();
    let report = Report { cluster: api.cluster.report().await, certificates };
    json_response(serde_json::to_vec(&report).expect("a report is JSON"))
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    cluster: ClusterReport,
    /// Empty on a node without TLS.
    certificates: Vec<CertificateReport>,
}

/// A certificate in use.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateReport {
    /// Whom it is shown to: `peers` or `clients`.
    #[serde(rename = "for")]
    whom: &'static str,
    /// In hexadecimal.
    serial: String,
    /// When it expires, in ms since the Unix epoch.
    not_after: u64,
    /// When the CA expires whose certificates it takes from others; null if it asks for none.
    ca_not_after: Option<u64>,
}

/// `POST /admin/members`: one step of a change of the cluster's members, see [`Change`]; gives the
/// members after it.
pub(super) async fn members(State(api): State<Arc<Api>>, body: Payload) -> Result<Response> {
    let (change, what): (Change, Value) = body.parse(|body| {
        let invalid =
            |error: serde_json::Error| Error::invalid("invalid_change", error.to_string());
        let change = serde_json::from_slice(body).map_err(invalid)?;
        Ok((change, serde_json::from_slice(body).map_err(invalid)?))
    })?;
    change.check().map_err(|why| Error::invalid("invalid_change", why))?;
    let members = api
        .cluster
        .change(change)
        .await
        .map(|members| json_response(serde_json::to_vec(&members).expect("members are JSON")));
    Ok(told(members, what))
}

/// `GET /admin/hash`: SHA-256 over all of this node's state, and the log index it is the state of.
/// A full scan: for comparing replicas, not for probing them.
pub(super) async fn hash(State(api): State<Arc<Api>>) -> Result<Response> {
    let (applied, hash) = api.cluster.content_hash().await?;
    Ok(json_response(format!(r#"{{"applied":{applied},"hash":"{hash}"}}"#)))
}
