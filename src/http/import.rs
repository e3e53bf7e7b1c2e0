//! `POST /admin/import`: entries that have their ids and times, into the shards of their own days.
//!
//! The body is as that of `/log/batch`: `{"entries":[…]}`, and each entry is answered in its place. Those
//! that can be read are one command. For `tallykeep import`, which brings them into their order.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use super::body::Payload;
use super::{Api, audit, error, json, json_response};
use crate::error::{Error, Result};
use crate::machine::{Import, ImportedEntry, Namespace, Outcome, Placed};
use crate::propose::shard_of;

/// What the query string asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    /// Take expired entries too.
    keep_expired: bool,
    /// Only read the entries, and change nothing.
    dry_run: bool,
}

/// `POST /admin/import[?keepExpired=true][&dryRun=true]`.
pub(super) async fn import(
    State(api): State<Arc<Api>>,
    uri: Uri,
    body: Payload,
) -> Result<Response> {
    let namespace = &audit::binding(&api)?.namespace;
    let Options { keep_expired, dry_run } = options(uri.query().unwrap_or_default())?;
    let items = body.parse(|body| {
        let items = json::batch(body, "entries")?.into_iter();
        let items = items.map(|item| Ok(placed_by_day(namespace, json::imported(item)?)));
        Ok(items.collect::<Vec<Result<ImportedEntry>>>())
    })?;
    let mut entries = Vec::with_capacity(items.len());
    let items: Vec<Option<Error>> =
        items.into_iter().map(|item| item.map(|entry| entries.push(entry)).err()).collect();
    let answers = match entries.len() {
        0 => Vec::new(),
        _ if dry_run => try_import(&api, keep_expired, &entries).await?,
        _ => carry_out(&api, Import { keep_expired, entries }).await?,
    };
    Ok(json_response(results(items, answers)))
}

/// An entry with the shard of its own day.
fn placed_by_day(namespace: &Namespace, entry: json::PastEntry) -> ImportedEntry {
    let json::PastEntry { at_ms, terms, body } = entry;
    let (object, day) = shard_of(namespace, at_ms);
    ImportedEntry { object, day, at_ms, terms, body }
}

async fn carry_out(api: &Api, import: Import) -> Result<Vec<Vec<u8>>> {
    let count = import.entries.len();
    match api.proposer.import(import).await? {
        Outcome::Imported(placed) if placed.len() == count => {
            Ok(placed.into_iter().map(answer).collect())
        }
        other => Err(error::unexpected(&other)),
    }
}

async fn try_import(
    api: &Api,
    keep_expired: bool,
    entries: &[ImportedEntry],
) -> Result<Vec<Vec<u8>>> {
    let times: Vec<u64> = entries.iter().map(|entry| entry.at_ms).collect();
    let refusals = api.proposer.try_import(keep_expired, &times).await?.into_iter();
    let answer = |refusal: Option<_>| match refusal {
        None => br#"{"status":200}"#.to_vec(),
        Some(refusal) => answer(Placed::Refused(refusal)),
    };
    Ok(refusals.map(answer).collect())
}

/// What one entry came to: `{"status":200,"imported":true}`, `false` if it was there, or a problem.
fn answer(placed: Placed) -> Vec<u8> {
    match placed {
        Placed::Added => br#"{"status":200,"imported":true}"#.to_vec(),
        Placed::Present => br#"{"status":200,"imported":false}"#.to_vec(),
        Placed::Refused(refusal) => error::of_item(&error::unexpected(&Outcome::Refused(refusal))),
    }
}

/// `{"results":[…]}`: in the place of each item its mistake or, in turn, its answer.
fn results(items: Vec<Option<Error>>, answers: Vec<Vec<u8>>) -> Vec<u8> {
    let mut answers = answers.into_iter();
    let results = items.into_iter().map(|mistake| match mistake {
        Some(mistake) => error::of_item(&mistake),
        None => answers.next().expect("an answer to each entry"),
    });
    let results = results.collect::<Vec<_>>().join(&b',');
    [br#"{"results":["#, &results[..], b"]}"].concat()
}

/// Reads the query string. A parameter that is unknown, or there twice, is refused.
fn options(text: &str) -> Result<Options> {
    let (mut keep_expired, mut dry_run) = (None, None);
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let invalid = |rule: &str| Error::invalid("invalid_parameter", format!("{name} {rule}"));
        let slot = match name {
            "keepExpired" => &mut keep_expired,
            "dryRun" => &mut dry_run,
            _ => return Err(invalid("is no parameter of /admin/import")),
        };
        let value = match value {
            "true" => true,
            "false" => false,
            _ => return Err(invalid("must be true or false")),
        };
        if slot.replace(value).is_some() {
            return Err(invalid("is there twice"));
        }
    }
    Ok(Options {
        keep_expired: keep_expired.unwrap_or_default(),
        dry_run: dry_run.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::machine::Refusal;

    #[test]
    fn options_are_true_or_false() {
        assert_eq!(options("").unwrap(), Options::default());
        let both = Options { keep_expired: true, dry_run: true };
        assert_eq!(options("keepExpired=true&dryRun=true").unwrap(), both);
        assert_eq!(options("keepExpired=false&").unwrap(), Options::default());
        for text in ["keepexpired=true", "dryRun", "dryRun=1", "dryRun=true&dryRun=true", "=true"] {
            assert_eq!(options(text).unwrap_err().code, "invalid_parameter", "{text}");
        }
    }

    #[test]
    fn each_entry_is_answered_in_its_place() {
        let placed = [
            Placed::Added,
            Placed::Present,
            Placed::Refused(Refusal::ImportOrder),
            Placed::Refused(Refusal::ImportConflict),
            Placed::Refused(Refusal::ImportExpired),
            Placed::Refused(Refusal::ImportFuture),
            Placed::Refused(Refusal::ObjectFull),
            Placed::Refused(Refusal::ObjectsFull),
        ];
        let mistake = Error::invalid("invalid_field", "type must be a string");
        let items = vec![None, Some(mistake), None, None, None, None, None, None, None];
        let body = results(items, placed.map(answer).into());
        let body: Value = serde_json::from_slice(&body).unwrap();
        let told: Vec<String> = body["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| match result["code"].as_str() {
                Some(code) => format!("{} {code}", result["status"]),
                None => format!("{} {}", result["status"], result["imported"]),
            })
            .collect();
        assert_eq!(
            told,
            [
                "200 true",
                "400 invalid_field",
                "200 false",
                "409 import_order",
                "409 import_conflict",
                "400 import_expired",
                "400 import_future",
                "507 object_full",
                "507 objects_full",
            ]
        );
    }
}
