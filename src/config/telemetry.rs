//! `[telemetry]`: what a node tells of requests, and to whom.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Settings, check, span_ms};
use crate::limits;
use crate::tls::Trust;
use crate::trace::{self, Export, Exporter, Tracer};

/// What is told of requests beside metrics.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// The base URL of an OpenTelemetry collector, to which spans of requests go by OTLP over HTTP; without
    /// one there are none.
    pub endpoint: Option<String>,
    /// The CAs of the collector, where that is `https://`; without a file those of the system.
    pub ca: Option<PathBuf>,
    /// The part of the requests that have a span where the client does not say whether they do, 0 to 1.
    pub sampling_ratio: f64,
    /// From which duration on the node's log tells of a request, in ms. In the file a span of time.
    #[serde(rename = "slow_request", deserialize_with = "span_ms")]
    pub slow_request_ms: u64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            ca: None,
            sampling_ratio: 0.01,
            slow_request_ms: limits::SLOW_REQUEST_MS_DEFAULT,
        }
    }
}

impl TelemetrySettings {
    /// From which duration on a request is slow.
    pub fn slow_request(&self) -> Duration {
        Duration::from_millis(self.slow_request_ms)
    }

    pub(super) fn relative_to(&mut self, folder: &Path) {
        if let Some(ca) = &mut self.ca {
            *ca = folder.join(&*ca);
        }
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        if let Some(endpoint) = &self.endpoint {
            trace::check_endpoint(endpoint).map_err(|why| format!("telemetry.endpoint: {why}"))?;
        }
        // What is no number is in no range.
        check((0.0..=1.0).contains(&self.sampling_ratio), || {
            "telemetry.sampling_ratio must be from 0 to 1".into()
        })?;
        let slow = limits::SLOW_REQUEST_MS_MIN..=limits::SLOW_REQUEST_MS_MAX;
        check(slow.contains(&self.slow_request_ms), || {
            "telemetry.slow_request must be from 1ms to 10m".into()
        })
    }

    /// Whom to believe that it is the collector: nobody has to where there is no TLS.
    fn trust(&self, endpoint: &str) -> Result<Trust, String> {
        match &self.ca {
            Some(ca) => Trust::file(ca).map_err(|error| error.to_string()),
            None if trace::is_secure(endpoint) => Trust::system(),
            None => Ok(Trust::nobody()),
        }
    }
}

impl Settings {
    /// What makes spans and what exports them, if they are to be exported.
    ///
    /// # Errors
    /// One sentence, if there is no way to the collector.
    pub fn traces(&self) -> Result<Option<(Tracer, Exporter)>, String> {
        let telemetry = &self.telemetry;
        let Some(endpoint) = &telemetry.endpoint else { return Ok(None) };
        let export = Export {
            endpoint: endpoint.clone(),
            trust: telemetry.trust(endpoint)?,
            sampling_ratio: telemetry.sampling_ratio,
            cluster: self.cluster.clone(),
            node: self.id,
        };
        trace::start(export).map(Some)
    }
}
