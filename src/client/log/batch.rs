//! `tallykeep log --batch`: the lines of a file, some of them in each request.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::Args;
use super::lines::{Batches, Line, open};
use crate::client::call::Call;
use crate::client::cluster::Cluster;
use crate::client::replay::COMPLAINTS_MAX;
use crate::client::terminal::plain;
use crate::client::{Error, exit, terminal};

/// The answer to a batch.
#[derive(Deserialize)]
struct Answer {
    results: Vec<Answered>,
}

/// The answer to an entry, or its problem.
#[derive(Deserialize)]
struct Answered {
    status: u16,
    id: Option<String>,
    code: Option<String>,
    detail: Option<String>,
}

/// What became of a line.
#[derive(Serialize)]
struct Outcome {
    line: u64,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Logs the lines, in their order; exit 0 when each is logged. Progress and complaints go to stderr.
pub(super) async fn run(cluster: &Cluster, args: &Args, file: &Path) -> Result<ExitCode, Error> {
    let unread = |source: io::Error| Error::File { path: file.to_owned(), source };
    let (input, bytes) = open(file).map_err(unread)?;
    let bar = bar(bytes);
    let mut batches = Batches::read(bar.wrap_read(input), args.idempotency_key.is_some());
    let (mut logged, mut refused, mut node, mut last) = (0, 0, 0, 0);
    while let Some(lines) = batches.next().await.map_err(unread)? {
        let sent = send(cluster, args, &mut node, &lines).await;
        let outcomes = sent.map_err(|error| told(error, args, last, &lines))?;
        last = lines.last().map_or(last, |line| line.number);
        let mut text = String::new();
        for outcome in outcomes {
            if outcome.id.is_some() {
                logged += 1;
            } else {
                refused += 1;
                complain(&bar, refused, &outcome);
            }
            if args.json {
                text += &serde_json::to_string(&outcome).expect("an outcome is plain data");
                text.push('\n');
            } else if let Some(id) = &outcome.id {
                text += id;
                text.push('\n');
            }
        }
        bar.set_message(format!("{logged} entries"));
        // Whoever reads no ids any more still wants the entries.
        bar.suspend(|| terminal::print(text.as_bytes()))?;
    }
    bar.finish_and_clear();
    eprintln!("{logged} entries logged, {refused} lines refused");
    Ok(exit::of(refused == 0))
}

/// Sends lines together, those that are JSON; gives what became of each of them.
async fn send(
    cluster: &Cluster,
    args: &Args,
    node: &mut usize,
    lines: &[Line],
) -> Result<Vec<Outcome>, Error> {
    let entries: Vec<&str> = lines.iter().filter_map(|line| line.json.as_deref().ok()).collect();
    let mut answered = Vec::new();
    if !entries.is_empty() {
        let body = format!(r#"{{"entries":[{}]}}"#, entries.join(","));
        let key = args.idempotency_key.as_ref().map(|key| format!("{key}:{}", lines[0].number));
        let call = Call::part(args.target.path(&["log", "batch"]), body.into_bytes(), key);
        let (answer, turn) = call.send(cluster, *node, args.nodes.patience()).await?;
        *node = turn;
        answered = answer.read::<Answer>()?.results;
        if answered.len() != entries.len() {
            return Err(Error::Cluster("an answer to another number of entries".into()));
        }
    }
    let mut answered = answered.into_iter();
    let outcomes = lines.iter().map(|Line { number, json }| match json {
        Ok(_) => {
            let Answered { status, id, code, detail } = answered.next().expect("as many as sent");
            Outcome { line: *number, status, id, code, detail }
        }
        Err(why) => Outcome {
            line: *number,
            status: 400,
            id: None,
            code: Some("malformed_json".into()),
            detail: Some(why.clone()),
        },
    });
    Ok(outcomes.collect())
}

/// The error, and how to go on.
fn told(error: Error, args: &Args, last: u64, lines: &[Line]) -> Error {
    let numbers = |line: Option<&Line>| line.map_or(0, |line| line.number);
    let (from, to) = (numbers(lines.first()), numbers(lines.last()));
    let go_on = match args.idempotency_key {
        Some(_) => "run the same again to go on: what is logged is not logged twice".to_owned(),
        None => format!("lines up to {last} are dealt with, and none behind {to}"),
    };
    let text = |why: String| format!("lines {from} to {to}: {why}\n{go_on}");
    match error {
        Error::Cluster(why) => Error::Cluster(text(why)),
        Error::Rejected(why) => Error::Rejected(text(why)),
        other => other,
    }
}

fn complain(bar: &ProgressBar, refused: u64, outcome: &Outcome) {
    if refused <= COMPLAINTS_MAX {
        let why = outcome.detail.as_deref().unwrap_or_default();
        bar.suspend(|| eprintln!("line {}: {}", outcome.line, plain(why)));
    }
}

/// How far the reading of so many bytes is, or, where it is not known of how many, that it goes on.
fn bar(bytes: u64) -> ProgressBar {
    let (bar, style) = match bytes {
        0 => (ProgressBar::no_length(), "{spinner} {bytes}  {msg}  {elapsed}"),
        _ => (ProgressBar::new(bytes), "{bar:40} {bytes}/{total_bytes}  {msg}  {elapsed}"),
    };
    bar.with_style(ProgressStyle::with_template(style).expect("the template is well-formed"))
}
