//! `GET /metrics`: what this node counts, times and is, for Prometheus.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use tokio::sync::Mutex;

use super::Api;
use crate::error::Result;
use crate::metrics::{self, gauges};

/// Held while it is looked and told: some gauges begin anew with each look, and of two servers that ask
/// at once one would be told of nothing.
static LOOKING: Mutex<()> = Mutex::const_new(());

/// Looks at what merely is, and gives all metrics.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Result<Response> {
    let _looking = LOOKING.lock().await;
    let gauges = gauges();
    gauges.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    api.proposer.observe();
    api.cluster.observe().await?;
    for certificate in &api.certificates {
        let ends_s = certificate.expiry().certificate_ms / 1000;
        let listener = certificate.whom();
        let ends_s = i64::try_from(ends_s).unwrap_or(i64::MAX);
        gauges.certificate_expiry.with_label_values(&[listener]).set(ends_s);
    }
    let mut response = Response::new(Body::from(metrics::text()?));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    Ok(response)
}
