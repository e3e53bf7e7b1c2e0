//! `tallykeep tokens`: who may do what, and the operator's token that is there before all others.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::{Cluster, Fault, Turns};
use super::terminal::{columns, plain};
use super::{Endpoints, Error};
use crate::limits;
use crate::secret::{OPERATOR, Secret};

/// How long nodes are asked.
const PATIENCE: Duration = Duration::from_secs(30);
const PATH: &str = "/admin/tokens";
/// Only its owner reads a secret.
const SECRET_MODE: u32 = 0o600;

/// Arguments of `tallykeep tokens`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print JSON, as the API gives it.
    #[arg(long, global = true)]
    json: bool,
    /// The nodes.
    #[command(flatten)]
    endpoints: Endpoints,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Make a token, and print its secret, which nobody can show again.
    Create {
        /// What people call it. No two tokens have the same name.
        name: String,
        /// What it may be used for: check, log, read or admin; give it once for each.
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = ["check", "log", "read", "admin"])]
        scopes: Vec<String>,
        /// A binding that it is for; without one, all are.
        #[arg(long = "binding", value_name = "NAME")]
        bindings: Vec<String>,
        /// What the names of objects begin with that it is for; without one, all are.
        #[arg(long = "name-prefix", value_name = "TEXT")]
        name_prefixes: Vec<String>,
        /// How long it lasts, such as 12h or 90days; without it, until it is revoked.
        #[arg(long, value_name = "SPAN", value_parser = span_ms)]
        expires_in: Option<u64>,
        /// How often it may ask each node in a second; without it, as often as it likes.
        #[arg(
            long,
            value_name = "N",
            value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::TOKEN_REQUESTS_PER_SECOND_MAX))
        )]
        requests_per_second: Option<u32>,
        /// Write the secret into a new file that only its owner can read, and do not print it.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Show all tokens, without their secrets.
    List,
    /// Revoke a token.
    Revoke {
        /// Its id or its name.
        #[arg(value_name = "TOKEN")]
        which: String,
    },
    /// Make an operator's token, which may do everything, and say how nodes get to know it.
    ///
    /// No node is asked. It works before there is any other token, while there is no leader, and after a
    /// restore.
    Operator {
        /// The new file for the secret. Only its owner can read it.
        file: PathBuf,
    },
}

/// A token, as the API gives it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    id: String,
    name: String,
    scopes: Vec<String>,
    bindings: Vec<String>,
    name_prefixes: Vec<String>,
    created_time: u64,
    expires_time: Option<u64>,
    /// Nodes of earlier builds do not tell it.
    #[serde(default)]
    requests_per_second: Option<u32>,
    /// The secret, if it has just been made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Tokens {
    tokens: Vec<Token>,
}

/// Carries out the command, and prints the tokens that it is about.
///
/// # Errors
/// If it was refused, no node answered in time, or a file could not be written.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let Args { command, json: as_json, endpoints } = args;
    if let Command::Operator { file } = &command {
        return operator(file).map(|()| ExitCode::SUCCESS);
    }
    let cluster = Cluster::new(&endpoints)?;
    match command {
        Command::Create {
            name,
            scopes,
            bindings,
            name_prefixes,
            expires_in,
            requests_per_second,
            to,
        } => {
            let mut body = json!({"name": name, "scopes": scopes, "bindings": bindings,
                "namePrefixes": name_prefixes, "ttlMs": expires_in});
            // Nodes of earlier builds know no such member.
            if let Some(rate) = requests_per_second {
                body["requestsPerSecond"] = json!(rate);
            }
            create(&cluster, &body, to.as_deref(), as_json).await?;
        }
        Command::List => {
            let all: Tokens = ask(&cluster, Method::GET, PATH, None).await?;
            match as_json {
                true => print_json(&all),
                false => print!("{}", table(&all.tokens)),
            }
        }
        Command::Revoke { which } => revoke(&cluster, &which, as_json).await?,
        Command::Operator { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a token. Its file is made first: a secret that could not be kept would be lost.
async fn create(
    cluster: &Cluster,
    body: &Value,
    to: Option<&Path>,
    as_json: bool,
) -> Result<(), Error> {
    let mut file = to.map(|path| Ok::<_, Error>((path, new_file(path)?))).transpose()?;
    let made = ask::<Token>(cluster, Method::POST, PATH, Some(body)).await;
    if let (Err(_), Some((path, _))) = (&made, &file) {
        // Nothing is in it; and if it cannot be removed, no harm is done.
        std::fs::remove_file(path).ok();
    }
    let mut made = made?;
    if let Some((path, file)) = &mut file {
        let secret = made.token.take().unwrap_or_default();
        write_secret(path, file, &secret)?;
    }
    match (as_json, made.token.take()) {
        (true, secret) => {
            made.token = secret;
            print_json(&made);
        }
        (false, secret) => {
            eprint!("{}", table(std::slice::from_ref(&made)));
            match secret {
                Some(secret) => println!("{secret}"),
                None => eprintln!("the secret is in the file, and nowhere else"),
            }
        }
    }
    Ok(())
}

async fn revoke(cluster: &Cluster, wanted: &str, as_json: bool) -> Result<(), Error> {
    let all: Tokens = ask(cluster, Method::GET, PATH, None).await?;
    let by_id = all.tokens.iter().find(|token| token.id == wanted);
    // Of one name there may be one that has expired beside the one in force; both are to go.
    let named = all.tokens.iter().filter(|token| by_id.is_none() && token.name == wanted);
    let found: Vec<&Token> = by_id.into_iter().chain(named).collect();
    if found.is_empty() {
        return Err(Error::Rejected(format!("there is no token {wanted:?}")));
    }
    for Token { id, name, .. } in found {
        let answer: Value = ask(cluster, Method::DELETE, &format!("{PATH}/{id}"), None).await?;
        match as_json {
            true => print_json(&answer),
            false => println!("the token {} ({id}) is revoked", plain(name)),
        }
    }
    Ok(())
}

/// Asks one node after the other. What makes a token is not sent again once it may have been carried out: the
/// second would be refused, for the first has the name, and its secret is lost.
async fn ask<T: DeserializeOwned>(
    cluster: &Cluster,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<T, Error> {
    let mut turns = Turns::new(cluster, 0, PATIENCE);
    loop {
        let (turn, sent) = (turns.turn(), method.clone());
        let answer = cluster.send(turn, sent, path, body).await;
        let why = match answer.and_then(|answer| answer.json()) {
            Ok(answer) => return Ok(answer),
            Err(Fault::Rejected(why)) => return Err(Error::Rejected(why)),
            Err(Fault::Unknown(why)) if method == Method::POST => {
                return Err(Error::Cluster(format!(
                    "{why}\nThe token may have been made, and its secret is lost: `tallykeep tokens \
                     list` shows whether it is there. If so, revoke it and make another one."
                )));
            }
            Err(Fault::Unchanged(why) | Fault::Unknown(why)) => why,
        };
        if !turns.failed(why).await {
            return Err(turns.gave_up("no node answered in time"));
        }
    }
}

/// Makes an operator's token.
fn operator(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let secret = Secret::generate(OPERATOR).map_err(failed)?;
    let mut file = new_file(path)?;
    write_secret(path, &mut file, secret.text())?;
    println!(
        "# The operator's token is in {}. Each node's configuration needs its hash:\n\
         [auth]\noperator_sha256 = [\"{}\"]",
        path.display(),
        hex::encode(secret.sha256()),
    );
    Ok(())
}

fn new_file(path: &Path) -> Result<std::fs::File, Error> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(SECRET_MODE).open(path);
    opened.map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn write_secret(path: &Path, file: &mut std::fs::File, secret: &str) -> Result<(), Error> {
    let written: io::Result<()> =
        file.write_all(format!("{secret}\n").as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn print_json(value: &impl Serialize) {
    println!("{}", serde_json::to_string(value).expect("an answer is JSON"));
}

fn table(tokens: &[Token]) -> String {
    let heading = ["ID", "NAME", "SCOPES", "BINDINGS", "NAMES", "CREATED", "EXPIRES", "RATE/S"];
    let mut rows = vec![heading.map(String::from)];
    let any = |texts: Vec<String>| match texts.is_empty() {
        true => "any".to_owned(),
        false => texts.join(","),
    };
    rows.extend(tokens.iter().map(|token| {
        let prefixes = token.name_prefixes.iter().map(|prefix| format!("{}*", plain(prefix)));
        [
            plain(&token.id).into_owned(),
            plain(&token.name).into_owned(),
            token.scopes.join(","),
            any(token.bindings.iter().map(|binding| plain(binding).into_owned()).collect()),
            any(prefixes.collect()),
            time(token.created_time),
            token.expires_time.map_or("never".to_owned(), time),
            token.requests_per_second.map_or("-".to_owned(), |rate| rate.to_string()),
        ]
    }));
    columns(&rows)
}

/// `2026-11-27T02:59:21Z`.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| ms.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// How long a token lasts, in ms.
fn span_ms(text: &str) -> Result<u64, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    match (1..=limits::TOKEN_TTL_MS_MAX).contains(&ms) {
        true => Ok(ms),
        false => Err("a token lasts at least 1ms and at most ten years".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::secret;

    #[test]
    fn tokens_are_shown_without_secrets() {
        let token = |name: &str, bindings: &[&str], expires_time| Token {
            id: "0011223344556677".to_owned(),
            name: name.to_owned(),
            scopes: vec!["check".to_owned(), "log".to_owned()],
            bindings: bindings.iter().map(|name| (*name).to_owned()).collect(),
            name_prefixes: bindings.iter().map(|_| "wix:".to_owned()).collect(),
            created_time: 1_709_294_400_000,
            expires_time,
            requests_per_second: expires_time.map(|_| 50),
            token: Some("secret".to_owned()),
        };
        let tokens = [
            token("ci", &["RATE_LIMITER"], None),
            token("\u{1b}[2J", &[], Some(1_709_294_401_000)),
        ];
        let shown = table(&tokens);
        let row = "0011223344556677  ci         check,log  RATE_LIMITER  wix:*  2024-03-01T12:00:00Z  never                 -";
        assert_eq!(shown.lines().nth(1), Some(row));
        let row = "0011223344556677  \\u{1b}[2J  check,log  any           any    2024-03-01T12:00:00Z  2024-03-01T12:00:01Z  50";
        assert_eq!(shown.lines().nth(2), Some(row));
        assert!(!shown.contains("secret"));
    }

    #[test]
    fn an_operators_token_goes_into_a_file_of_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.token");
        operator(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, SECRET_MODE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(secret::id_of(text.trim_end()), Some(OPERATOR));
        // Nothing is overwritten.
        assert!(matches!(operator(&path), Err(Error::Write { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn tokens_last_for_a_span() {
        assert_eq!(span_ms("90days"), Ok(7_776_000_000));
        assert_eq!(span_ms("1ms"), Ok(1));
        for wrong in ["0s", "11years", "soon", "5"] {
            assert!(span_ms(wrong).is_err(), "{wrong}");
        }
    }
}
