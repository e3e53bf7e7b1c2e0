//! `tallykeep config`: what a node's file says, without starting the node.

use std::io::{self, Write};
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat};

use crate::config::{self, Settings, SettingsError};
use crate::server::{self, ServeError};

/// The commands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Check a file as `serve` does at its start, and print what is in force.
    ///
    /// What is printed is a file that means the same, with nothing left to defaults. The `wrangler` file and the
    /// certificates are read too; no port is bound, and no data touched. Exits 1 if `serve` would not
    /// start with it.
    Check {
        /// The node's configuration.
        file: PathBuf,
        /// The node's data folder, instead of the one in the configuration.
        #[arg(long, value_name = "FOLDER")]
        data: Option<PathBuf>,
        /// As `serve --insecure`.
        #[arg(long)]
        insecure: bool,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print all that can be set, in Markdown, as docs/settings.md has it.
    Settings,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or used.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// A node would not start with it.
    #[error("{}: {source}", file.display())]
    Refused {
        /// The file, as it was named.
        file: PathBuf,
        /// Why.
        source: ServeError,
    },
    /// What was printed could not be.
    #[error("{0}")]
    Output(#[from] io::Error),
}

/// Carries a command out.
///
/// # Errors
/// If the file is no good, or the output cannot be written.
pub fn run(command: Command) -> Result<(), Error> {
    let text = match command {
        Command::Settings => config::page(),
        Command::Check { file, data, insecure, json } => {
            let settings = Settings::load(&file)?.with_data(data).with_insecure(insecure);
            let certificates = server::check(&settings)
                .map_err(|source| Error::Refused { file: file.clone(), source })?;
            let in_force = settings.in_force();
            if json {
                as_json(&in_force)?
            } else {
                let mut text =
                    format!("# {} is good. This is in force:\n\n{in_force}", file.display());
                for certificate in certificates {
                    let until = time(certificate.expiry().certificate_ms);
                    text += &format!(
                        "\n# the certificate of [tls.{}] is valid until {until}\n",
                        certificate.whom()
                    );
                }
                text
            }
        }
    };
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        // Whoever reads no further has what they wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn as_json(file: &str) -> Result<String, Error> {
    let table: toml::Table = file.parse().map_err(io::Error::other)?;
    let json = serde_json::to_string_pretty(&table).map_err(io::Error::other)?;
    Ok(json + "\n")
}

fn time(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .map_or_else(|| format!("{ms} ms"), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
