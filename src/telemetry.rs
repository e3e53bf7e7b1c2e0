//! What the program says while it runs: lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The variable that chooses what is said, as `tracing_subscriber::EnvFilter` reads it.
const FILTER_VARIABLE: &str = "TALLYKEEP_LOG";
/// Our own news. openraft warns of each heartbeat that an absent peer misses; `raft/cluster.rs` says
/// once that it is absent. After a stop it tells of each call that still comes, and of the answers to
/// its last heartbeats; `server.rs` says why it stopped.
const FILTER_DEFAULT: &str =
    "info,openraft=error,openraft::raft::raft_inner=off,openraft::core::heartbeat=off";

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. What the filter variable says that cannot be read is ignored, and told.
pub fn init(format: LogFormat) {
    let wanted = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| FILTER_DEFAULT.to_owned());
    let (filter, wrong) = match EnvFilter::try_new(&wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(FILTER_DEFAULT), Some(error)),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    if let Some(error) = wrong {
        tracing::warn!(%error, "{FILTER_VARIABLE} is not a filter; using {FILTER_DEFAULT}");
    }
}
