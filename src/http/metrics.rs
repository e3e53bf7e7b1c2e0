//! `GET /metrics`: what this node counts, times and is, for Prometheus.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use tokio::sync::Mutex;

use super::Api;
use crate::error::{Error, Result};
use crate::machine::quota;
use crate::metrics::{self, IntGaugeVec, gauges};

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
    observe_objects(&api)?;
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

/// Sets the gauges of objects and their quotas, by the state that is applied here.
fn observe_objects(api: &Api) -> Result<()> {
    let spaces = quota::spaces(api.cluster.state()).map_err(Error::unreadable)?;
    let crowded = api.cluster.crowded();
    let gauges = gauges();
    // What is not known, or not bounded, is not told.
    let told =
        [&gauges.objects, &gauges.objects_bytes, &gauges.quota_object_bytes, &gauges.quota_objects];
    told.iter().for_each(|gauge| gauge.reset());
    for binding in api.bindings.iter() {
        let namespace = binding.namespace.id();
        let set = |gauge: &IntGaugeVec, number: u64| {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            gauge.with_label_values(&[&binding.name]).set(number);
        };
        if let Some(space) = spaces.counted(namespace) {
            set(&gauges.objects, space.objects);
            set(&gauges.objects_bytes, space.bytes);
        }
        if let Some(quota) = spaces.quota(namespace) {
            set(&gauges.quota_object_bytes, quota.object_bytes_max);
            if let Some(most) = quota.objects_max {
                set(&gauges.quota_objects, most);
            }
        }
        set(&gauges.crowded_objects, crowded.get(&namespace).copied().unwrap_or(0));
    }
    Ok(())
}
