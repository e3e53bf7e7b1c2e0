//! `tallykeep reset`: forgets a limiter's count.

use std::process::ExitCode;

use serde::Serialize;

use super::call::{Call, Nodes, key};
use super::target::Target;
use super::{Error, terminal};

/// Arguments of `tallykeep reset`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Whose count is forgotten.
    identifier: String,
    /// The limiter's type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Sent again under the same key, it resets once. By default each run has a key of its own, for
    /// its retries.
    #[arg(long, value_name = "KEY", value_parser = key)]
    idempotency_key: Option<String>,
    /// Print the answer as it came, in JSON.
    #[arg(long)]
    json: bool,
    /// The limiter, if it is not the one of the type and the identifier.
    #[command(flatten)]
    target: Target,
    /// The nodes.
    #[command(flatten)]
    nodes: Nodes,
}

/// The body of `POST /reset`.
#[derive(Serialize)]
struct Body<'a> {
    identifier: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
}

/// Resets; also when there was nothing to reset.
///
/// # Errors
/// If the cluster does not take the request, or no node answers in time.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let body = Body { identifier: &args.identifier, r#type: args.kind.as_deref() };
    let body = serde_json::to_vec(&body).expect("a body is plain data");
    let call = Call::change(args.target.path(&["reset"]), body, args.idempotency_key.as_deref());
    let (answer, _) = call.send(&args.nodes.cluster()?, 0, args.nodes.patience()).await?;
    let text = if args.json { [answer.bytes(), b"\n"].concat() } else { b"reset\n".to_vec() };
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
