//! The `tallykeep` binary: arguments, settings, logging; everything else is in the library.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tallykeep::client::{
    self, backup, bench, check, exit, export, import, log, members, objects, policy, query, replay,
    reset, status, tail, tokens,
};
use tallykeep::config::Settings;
use tallykeep::telemetry::{self, LogFormat};
use tallykeep::{certs, check_config, manual, recover, restore, server};
use tokio::signal::unix::{SignalKind, signal};

/// For RocksDB too: it takes the place of the C library's. A check makes and frees a hundred small
/// things on three nodes, half of them on another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long what still runs on other threads may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Exact rate limits and a durable audit log, on three machines of your own.
#[derive(Parser)]
#[command(version, about, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node of a cluster.
    Serve {
        /// The node's configuration; `cluster/node1.toml` is one, with comments.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The node's data folder, instead of the one in the configuration.
        #[arg(long, value_name = "FOLDER")]
        data: Option<PathBuf>,
        /// Listen where others than this machine can connect also without TLS and without tokens.
        #[arg(long)]
        insecure: bool,
        /// How log lines on standard error look.
        #[arg(long, value_enum, default_value = "text")]
        log_format: LogFormat,
    },
    /// Run one node by itself, without configuration: for developers.
    Dev {
        /// Where the node keeps its data.
        #[arg(long, value_name = "FOLDER", default_value = ".tallykeep")]
        data: PathBuf,
        /// A wrangler.toml whose bindings are served, instead of the guide's two.
        #[arg(long, value_name = "FILE")]
        wrangler: Option<PathBuf>,
        /// The environment of that file whose bindings are served, instead of its top level.
        #[arg(long = "env", value_name = "NAME", requires = "wrangler")]
        environment: Option<String>,
        /// Leave what is there of a class that a migration takes away out of reach.
        #[arg(long = "abandon-class", value_name = "NAME", requires = "wrangler")]
        abandoned_classes: Vec<String>,
    },
    /// Make and look at the certificates of a cluster.
    Certs {
        #[command(subcommand)]
        command: certs::Command,
    },
    /// Look at a node's configuration without starting it.
    Config {
        #[command(subcommand)]
        command: check_config::Command,
    },
    /// Ask whether a request is within its limit, and count it if it is.
    ///
    /// Exits 0 if it is admitted and 1 if it is refused.
    Check(check::Args),
    /// Forget a limiter's count.
    Reset(reset::Args),
    /// Write an entry, or many, into the audit log.
    Log(log::Args),
    /// Show entries of the audit log.
    Query(query::Args),
    /// Save the audit log, or a part of it, in a file.
    ///
    /// It is one consistent state of the log, whole or not there at all: the exit code says which, also
    /// where it goes to standard output.
    Export(export::Args),
    /// Send every line of a web server's access log through the cluster.
    Replay(replay::Args),
    /// Load the cluster, measure it, and check its answers.
    ///
    /// By default a closed loop, which shows the most that the cluster answers. With `--rate` an
    /// open loop, which shows how long users would wait. Exits 1 if an answer was wrong.
    Bench(bench::Args),
    /// Show what each node says of itself.
    Status(status::Args),
    /// Show or change which nodes belong to the cluster.
    Members(members::Args),
    /// Look at the objects of the cluster: limiters and audit shards.
    Objects(objects::Args),
    /// Show or change the limits that checks without a limit go by.
    Policy(policy::Args),
    /// Make, show and revoke API tokens.
    Tokens(tokens::Args),
    /// Follow the requests that the nodes answer, as they answer them.
    ///
    /// Until it is ended, or nobody reads its output any more. See docs/inspect.md.
    Tail(tail::Args),
    /// Take the entries of an export over, with their ids and times.
    ///
    /// Each goes into the audit log's shard of its own day. Run again, it changes nothing. See
    /// docs/moving-in.md.
    Import(import::Args),
    /// Save the state of the running cluster in a file.
    Backup(backup::Args),
    /// Begin a new cluster with the state of a backup.
    ///
    /// Run it for each node of the new cluster, with the same file, before any of them is started. The
    /// data folder must be empty or not there. See docs/operating.md.
    Restore {
        /// The backup.
        file: PathBuf,
        /// The new node's configuration, which lists all nodes of the new cluster.
        #[arg(long, value_name = "FILE", required_unless_present = "check")]
        config: Option<PathBuf>,
        /// The node's data folder, instead of the one in the configuration.
        #[arg(long, value_name = "FOLDER", requires = "config")]
        data: Option<PathBuf>,
        /// Also if the backup is of a cluster of another name.
        #[arg(long, requires = "config")]
        any_cluster: bool,
        /// Only read the backup, and say what it holds and whether it is whole.
        #[arg(long, conflicts_with = "config")]
        check: bool,
    },
    /// When a majority of the machines is gone for good: go on with what this one has.
    ///
    /// Run it on a node that is left, and stopped. It shows how much the node has, so that of several
    /// the one with the most can be chosen. See docs/operating.md.
    Recover {
        /// The node's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The node's data folder, instead of the one in the configuration.
        #[arg(long, value_name = "FOLDER")]
        data: Option<PathBuf>,
        /// Make this node a cluster of itself. What others have acknowledged without it is lost, and
        /// they must never be started again with the data that they have.
        #[arg(long)]
        unsafe_forget_others: bool,
    },
    /// Print completions for a shell.
    ///
    /// For bash: `source <(tallykeep completions bash)`.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write one for each command.
    ///
    /// To read it: `tallykeep man | man -l -`.
    Man {
        /// Write pages into this folder, such as `/usr/local/share/man/man1`.
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let code = runtime.block_on(run(command));
    // A long read on a blocking thread has nobody to answer to any more.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    code
}

async fn run(command: Command) -> ExitCode {
    match command {
        Command::Serve { config, data, insecure, log_format } => {
            telemetry::init(log_format);
            match Settings::load(&config) {
                Ok(settings) => serve(settings.with_data(data).with_insecure(insecure)).await,
                Err(error) => fail(&error),
            }
        }
        Command::Dev { data, wrangler, environment, abandoned_classes } => {
            telemetry::init(LogFormat::Text);
            let settings = Settings::dev(data);
            serve(settings.with_wrangler(wrangler, environment, abandoned_classes)).await
        }
        Command::Certs { command } => {
            certs::run(command).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
        }
        Command::Config { command } => {
            telemetry::init(LogFormat::Text);
            check_config::run(command).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
        }
        Command::Check(arguments) => done(check::run(arguments).await),
        Command::Reset(arguments) => done(reset::run(arguments).await),
        Command::Log(arguments) => done(log::run(arguments).await),
        Command::Query(arguments) => done(query::run(arguments).await),
        Command::Export(arguments) => done(export::run(arguments).await),
        Command::Replay(arguments) => done(replay::run(arguments).await),
        Command::Bench(arguments) => done(bench::run(arguments).await),
        Command::Status(arguments) => done(status::run(arguments).await),
        Command::Members(arguments) => done(members::run(arguments).await),
        Command::Objects(arguments) => done(objects::run(arguments).await),
        Command::Policy(arguments) => done(policy::run(arguments).await),
        Command::Tokens(arguments) => done(tokens::run(arguments).await),
        Command::Tail(arguments) => done(tail::run(arguments).await),
        Command::Import(arguments) => done(import::run(arguments).await),
        Command::Backup(arguments) => done(backup::run(arguments).await),
        Command::Restore { file, config, data, any_cluster, check: _ } => {
            telemetry::init(LogFormat::Text);
            let Some(config) = config else {
                return restore::check(&file)
                    .map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS);
            };
            let restored = match Settings::load(&config) {
                Ok(settings) => restore::run(settings.with_data(data), &file, any_cluster).await,
                Err(error) => return fail(&error),
            };
            restored.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
        }
        Command::Recover { config, data, unsafe_forget_others } => {
            telemetry::init(LogFormat::Text);
            let recovered = match Settings::load(&config) {
                Ok(settings) => recover::run(settings.with_data(data), unsafe_forget_others).await,
                Err(error) => return fail(&error),
            };
            recovered.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            let printed = manual::completions(Arguments::command(), shell);
            printed.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
        }
        Command::Man { to } => {
            let written = match to {
                Some(folder) => manual::pages(Arguments::command(), &folder),
                None => manual::page(Arguments::command()),
            };
            written.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
        }
    }
}

/// The exit code of a command that talks to a cluster.
fn done(result: Result<ExitCode, client::Error>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("tallykeep: {error}");
        error.exit_code()
    })
}

async fn serve(settings: Settings) -> ExitCode {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return fail(&"signals cannot be caught");
    };
    let shutdown = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    match server::run(settings, shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("tallykeep: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// clap itself looks at that in builds with debug assertions alone, and takes the first otherwise.
    #[test]
    fn no_command_has_two_arguments_of_one_name() {
        let mut commands = vec![Arguments::command()];
        while let Some(command) = commands.pop() {
            let mut names = BTreeSet::new();
            for argument in command.get_arguments() {
                let name = argument.get_long().unwrap_or(argument.get_id().as_str());
                assert!(names.insert(name.to_owned()), "{} --{name}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
