//! Load for the peers that do not speak HTTP: a limiter's checks, one after the other on each of
//! many connections, for some seconds. Prints one line of JSON, for `scripts/bench/load.py`.
//!
//! One thread, for the servers need the cores more: `scripts/bench.sh` reports what the generator
//! itself takes.

mod etcd;
mod load;
mod redis;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::load::{Error, Report};

/// Loads one peer and reports rate and latency.
#[derive(Parser)]
struct Arguments {
    peer: Peer,
    /// The node that takes writes.
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Checks are spread over so many limiters.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    identifiers: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Peer {
    Redis,
    Etcd,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(run(&arguments)) {
        Ok(report) => {
            println!("{}", report.json());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&*error),
    }
}

async fn run(arguments: &Arguments) -> Result<Report, Error> {
    let duration = Duration::from_secs(arguments.seconds);
    let (address, connections) = (&arguments.address, arguments.connections);
    match arguments.peer {
        Peer::Redis => {
            let connections = redis::connect(address, connections).await?;
            load::run(connections, duration, arguments.identifiers).await
        }
        Peer::Etcd => {
            let connections = etcd::connect(address, connections).await?;
            load::run(connections, duration, arguments.identifiers).await
        }
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
