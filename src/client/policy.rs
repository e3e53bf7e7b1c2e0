//! `tallykeep policy`: the limits that are stored for types, for checks that bring none.
//!
//! Each command is one request that may be repeated, so it is sent to one node after the other until one
//! answers.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::{Cluster, Fault, Turns};
use super::terminal::columns;
use super::{Endpoints, Error};

/// How long nodes are asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `tallykeep policy`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The binding of the limiters that the policy is for, instead of the one that /check uses.
    #[arg(long, global = true, value_name = "NAME")]
    binding: Option<String>,
    /// Print JSON, as the API gives it.
    #[arg(long, global = true)]
    json: bool,
    /// The nodes.
    #[command(flatten)]
    endpoints: Endpoints,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Show all policies; with --binding, those of one binding.
    List,
    /// Show the policy of a type.
    Get {
        /// The type, as in /check.
        r#type: String,
    },
    /// Store the policy of a type. Checks without a limit go by it at once, on every node.
    Put {
        /// The type, as in /check.
        r#type: String,
        /// Requests that one window admits.
        #[arg(long)]
        requests: u64,
        /// Length of a window, such as 60s, 1500ms or 1h.
        #[arg(long, value_name = "SPAN", value_parser = span_ms)]
        window: u64,
    },
    /// Remove the policy of a type.
    Delete {
        /// The type, as in /check.
        r#type: String,
    },
}

/// A policy, as the API gives it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    binding: Option<String>,
    r#type: String,
    requests: u64,
    window_ms: u64,
    updated_time: u64,
}

#[derive(Deserialize, Serialize)]
struct Policies {
    policies: Vec<Policy>,
}

#[derive(Deserialize, Serialize)]
struct Deleted {
    success: bool,
    existed: bool,
}

/// Carries out the command, and prints the policies that it is about.
///
/// # Errors
/// If it was refused, or no node answered in time.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let cluster = Cluster::new(&args.endpoints)?;
    let query = args.binding.as_deref().map(|name| format!("binding={}", encoded(name)));
    let target = Target { cluster: &cluster, query: query.unwrap_or_default() };
    let get = async |type_: &str| -> Result<Policy, Error> {
        let path = path(type_);
        target.ask(Method::GET, &path, None).await
    };
    match &args.command {
        Command::List => {
            let all: Policies = target.ask(Method::GET, PATH, None).await?;
            match args.json {
                true => print_json(&all),
                false => print!("{}", table(&all.policies)),
            }
        }
        Command::Get { r#type } => print(&get(r#type).await?, args.json),
        Command::Put { r#type, requests, window } => {
            let body = json!({"requests": requests, "windowMs": window});
            let _: Value = target.ask(Method::PUT, &path(r#type), Some(&body)).await?;
            print(&get(r#type).await?, args.json);
        }
        Command::Delete { r#type } => {
            let deleted: Deleted = target.ask(Method::DELETE, &path(r#type), None).await?;
            match (args.json, deleted.existed) {
                (true, _) => print_json(&deleted),
                (false, true) => println!("the policy of {type:?} is removed"),
                (false, false) => println!("there is no policy of {type:?}"),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

const PATH: &str = "/admin/policies";

/// Whom to ask, and about which binding.
struct Target<'a> {
    cluster: &'a Cluster,
    query: String,
}

impl Target<'_> {
    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let mut turns = Turns::new(self.cluster, 0, PATIENCE);
        loop {
            let (turn, method) = (turns.turn(), method.clone());
            let asked = self.cluster.send_with(turn, method, path, &self.query, body).await;
            let why = match asked.and_then(|answer| answer.json()) {
                Ok(answer) => return Ok(answer),
                Err(Fault::Rejected(why)) => return Err(Error::Rejected(why)),
                Err(Fault::Unchanged(why) | Fault::Unknown(why)) => why,
            };
            if !turns.failed(why).await {
                return Err(turns.gave_up("no node answered in time"));
            }
        }
    }
}

fn path(type_: &str) -> String {
    format!("{PATH}/{}", encoded(type_))
}

/// Percent-encoded, but for the characters that are never to be (RFC 3986, section 2.3).
pub(super) fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        // A full stop too: `.` and `..` mean something in a path.
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn print(policy: &Policy, as_json: bool) {
    match as_json {
        true => print_json(policy),
        false => print!("{}", table(std::slice::from_ref(policy))),
    }
}

fn print_json(value: &impl Serialize) {
    println!("{}", serde_json::to_string(value).expect("an answer is JSON"));
}

fn table(policies: &[Policy]) -> String {
    let mut rows = vec![["BINDING", "TYPE", "REQUESTS", "WINDOW"].map(String::from)];
    rows.extend(policies.iter().map(|policy| {
        let window = humantime::format_duration(Duration::from_millis(policy.window_ms));
        [
            policy.binding.clone().unwrap_or("-".to_owned()),
            policy.r#type.clone(),
            policy.requests.to_string(),
            window.to_string(),
        ]
    }));
    columns(&rows)
}

/// A span of time, in whole ms.
fn span_ms(text: &str) -> Result<u64, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let ms = u64::try_from(span.as_millis()).ok();
    ms.filter(|_| span.subsec_nanos() % 1_000_000 == 0)
        .ok_or_else(|| "a window is a whole number of milliseconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_any_characters_is_one_segment_of_a_path() {
        assert_eq!(path("wix"), "/admin/policies/wix");
        assert_eq!(path("a/b c?é%."), "/admin/policies/a%2Fb%20c%3F%C3%A9%25%2E");
    }

    #[test]
    fn windows_are_shown_as_they_are_given() {
        for (text, ms) in [("60s", 60_000), ("1500ms", 1_500), ("1day 2h", 93_600_000)] {
            assert_eq!(span_ms(text), Ok(ms));
        }
        assert!(span_ms("1us").is_err() && span_ms("60").is_err());
        let policy = |binding: Option<&str>, type_: &str, window_ms| Policy {
            binding: binding.map(str::to_owned),
            r#type: type_.to_owned(),
            requests: 100,
            window_ms,
            updated_time: 1,
        };
        let policies = [policy(Some("RATE_LIMITER"), "wix", 60_000), policy(None, "old", 5)];
        assert_eq!(
            table(&policies),
            "BINDING       TYPE  REQUESTS  WINDOW\n\
             RATE_LIMITER  wix   100       1m\n\
             -             old   100       5ms\n"
        );
    }
}
