//! The room of the commands that talk to a running cluster from outside, as any client does.
//!
//! It knows the HTTP API, `limits`, `clock`, `tls`, `secret` and the formats of a backup and an export, and no other room: what it can do, a user can do.

mod access_log;
pub mod backup;
pub mod bench;
mod call;
pub mod check;
mod cluster;
pub mod exit;
pub mod export;
mod filters;
pub mod import;
mod ledger;
pub mod log;
pub mod members;
pub mod objects;
mod partial;
pub mod policy;
pub mod query;
pub mod replay;
pub mod reset;
mod run;
pub mod status;
mod summary;
pub mod tail;
mod target;
mod terminal;
mod time;
pub mod tokens;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::tls::Trust;

pub use backup::bar;
use reqwest::Url;
pub use summary::{Audit, Latency, Percentiles, Summary, UnknownFates};

/// Why a command could not be carried out at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds not one line of an access log.
    #[error("{} holds no line in the combined log format", path.display())]
    NoLines {
        /// The file, as it was named.
        path: PathBuf,
    },
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The file of CAs cannot be used.
    #[error("{0}")]
    Ca(#[from] crate::tls::Error),
    /// A backup, an export or the output could not be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// Its file, as it was named.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// No endpoint answered in time, or none to the end.
    #[error("{0}")]
    Cluster(String),
    /// The cluster does not take the request as it stands.
    #[error("{0}")]
    Rejected(String),
}

impl Error {
    /// The exit code of a command that ended with it.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::File { .. }
            | Self::NoLines { .. }
            | Self::Client(_)
            | Self::Ca(_)
            | Self::Write { .. } => exit::FAILED,
            Self::Cluster(_) => exit::UNREACHABLE,
            Self::Rejected(_) => exit::REJECTED,
        })
    }
}

/// Where the nodes are.
#[derive(Clone, Debug, clap::Args)]
pub struct Endpoints {
    /// A node's URL; give it once for each node.
    #[arg(
        long = "endpoint",
        global = true,
        value_name = "URL",
        env = "TALLYKEEP_ENDPOINT",
        value_delimiter = ',',
        value_parser = endpoint,
        default_values = ["http://127.0.0.1:7001", "http://127.0.0.1:7002", "http://127.0.0.1:7003"]
    )]
    pub urls: Vec<Url>,
    /// Take the nodes of https:// endpoints for what they say they are if a CA in this PEM file does;
    /// without it, the system's CAs decide.
    #[arg(long, global = true, value_name = "FILE", env = "TALLYKEEP_CA")]
    pub ca: Option<PathBuf>,
    /// A file that has the API token in its first line.
    #[arg(long, global = true, value_name = "FILE", env = "TALLYKEEP_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// The API token, if there is no --token-file. Others on this machine can see arguments: better in
    /// the environment or in a file.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "TALLYKEEP_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
}

impl Endpoints {
    /// What the `Authorization` header says, if there is a token.
    ///
    /// # Errors
    /// If its file cannot be read, or it is no token.
    pub(crate) fn authorization(&self) -> Result<Option<String>, Error> {
        let token = match &self.token_file {
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|source| Error::File { path: path.clone(), source })?;
                Some(text.lines().next().unwrap_or_default().trim().to_owned())
            }
            // An empty variable is as good as none.
            None => self.token.clone().filter(|token| !token.is_empty()),
        };
        let is_token =
            |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        match token {
            None => Ok(None),
            Some(token) if is_token(&token) => Ok(Some(format!("Bearer {token}"))),
            // Not the text itself: it may be a secret all the same.
            Some(_) => Err(Error::Rejected("the token is not visible characters of ASCII".into())),
        }
    }

    /// Whom to trust. The file is read, or the system asked, only if an endpoint speaks TLS.
    ///
    /// # Errors
    /// If the file cannot be used, or the system trusts nobody.
    pub(crate) fn trust(&self) -> Result<Trust, Error> {
        match &self.ca {
            _ if self.urls.iter().all(|url| url.scheme() != "https") => Ok(Trust::nobody()),
            Some(path) => Ok(Trust::file(path)?),
            None => Trust::system()
                .map_err(|why| Error::Cluster(format!("{why}; name the cluster's CA with --ca"))),
        }
    }
}

/// Reads an endpoint: `http://host:port` or `https://host:port`, with nothing after it but perhaps a
/// slash.
fn endpoint(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("{error}; an example: http://127.0.0.1:7001"))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err("an endpoint is like http://127.0.0.1:7001 or https://127.0.0.1:7001".into());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("an endpoint is a host and a port, without a path".into());
    }
    Ok(url)
}
