//! `tallykeep log`: an entry for the audit log, or one for each line of a file.

mod batch;
mod lines;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call::{Call, Nodes, key};
use super::target::Target;
use super::{Error, terminal};

/// Arguments of `tallykeep log`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The entry's type.
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "batch")]
    kind: Option<String>,
    /// What was done.
    #[arg(long, value_name = "ACTION", required_unless_present = "batch")]
    action: Option<String>,
    /// Who did it.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// From which address.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Whatever else there is to say: a JSON object, which is kept as it is written.
    #[arg(long, value_name = "JSON", value_parser = details)]
    details: Option<Details>,
    /// Log each line of a file, or of standard input (-): a JSON object as `POST /log` takes it.
    ///
    /// Lines are sent together, up to a thousand, but without an --idempotency-key as soon as no further
    /// one comes. Prints the ids in the order of the lines. A line that is no entry is told and left
    /// out, and the exit code is then 1.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["kind", "action", "user", "ip", "details"]
    )]
    batch: Option<PathBuf>,
    /// Sent again under the same key, the entry is logged once, and so are the lines of the same file.
    /// By default each run has keys of its own, for its retries.
    #[arg(long, value_name = "KEY", value_parser = key)]
    idempotency_key: Option<String>,
    /// Print the answer as it came, in JSON; of a batch, an object for each line.
    #[arg(long)]
    json: bool,
    /// The shard, if it is not the one of the day.
    #[command(flatten)]
    target: Target,
    /// The nodes.
    #[command(flatten)]
    nodes: Nodes,
}

/// A JSON object as it was written.
type Details = Box<RawValue>;

/// Reads a JSON object.
fn details(text: &str) -> Result<Details, String> {
    let value: Details = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if value.get().starts_with('{') {
        Ok(value)
    } else {
        Err("it must be a JSON object, such as {\"path\":\"/\"}".into())
    }
}

/// The body of `POST /log`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    r#type: Option<&'a str>,
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a RawValue>,
}

/// The answer to an entry.
#[derive(Deserialize)]
struct Logged {
    id: String,
}

/// Logs, and prints the id of each entry.
///
/// # Errors
/// If the file cannot be read, the cluster does not take the request, or no node answers in time.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let cluster = args.nodes.cluster()?;
    if let Some(file) = &args.batch {
        return batch::run(&cluster, &args, file).await;
    }
    let entry = Entry {
        r#type: args.kind.as_deref(),
        action: args.action.as_deref(),
        user_id: args.user.as_deref(),
        ip: args.ip.as_deref(),
        details: args.details.as_deref(),
    };
    let entry = serde_json::to_vec(&entry).expect("an entry is plain data");
    let call = Call::change(args.target.path(&["log"]), entry, args.idempotency_key.as_deref());
    let (answer, _) = call.send(&cluster, 0, args.nodes.patience()).await?;
    let Logged { id } = answer.read()?;
    let text =
        if args.json { [answer.bytes(), b"\n"].concat() } else { format!("{id}\n").into_bytes() };
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn an_entry_or_a_file_of_them() {
        let read = |words: &[&str]| Command::try_parse_from([&["log"], words].concat());
        let entry = ["--type", "t", "--action", "a"];
        assert!(read(&entry).is_ok());
        assert!(read(&["--batch", "-"]).is_ok());
        for wrong in [
            &[][..],
            &["--type", "t"],
            &["--batch", "-", "--type", "t"],
            &["--type", "t", "--action", "a", "--details", "[]"],
            &["--type", "t", "--action", "a", "--details", "{"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        let details = r#"{"n":1.0e+2,"big":9007199254740993}"#;
        let args = read(&[&entry[..], &["--details", details]].concat()).unwrap().args;
        assert_eq!(args.details.unwrap().get(), details);
    }
}
