//! `tallykeep query`: pages of the audit log, as a table or as they came.

use std::process::ExitCode;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::call::{Call, Nodes};
use super::filters::Filters;
use super::target::Target;
use super::terminal::{self, Table, cut, plain};
use super::{Error, time};
use crate::limits::{COMMAND_CELL_COLUMNS, COMMAND_PAGE_ENTRIES, QUERY_LIMIT_DEFAULT};

/// Arguments of `tallykeep query`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How many entries at most.
    #[arg(
        long,
        value_name = "N",
        default_value_t = QUERY_LIMIT_DEFAULT as u64,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    limit: u64,
    /// All of them, a page after the other.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Go on where an earlier run with the same filters said that there was more.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Print the entries as they are in the log, one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Show cells in full length; otherwise long ones are cut.
    #[arg(long, conflicts_with = "json")]
    wide: bool,
    /// One day's shard, if not all.
    #[command(flatten)]
    target: Target,
    /// The nodes.
    #[command(flatten)]
    nodes: Nodes,
    /// Which entries.
    #[command(flatten)]
    filters: Filters,
}

/// A page, with the bytes of its entries.
#[derive(Deserialize)]
struct Page {
    entries: Vec<Box<RawValue>>,
    cursor: Option<String>,
}

/// Prints the entries page by page. It ends well when nobody reads them any more.
///
/// # Errors
/// If the cluster does not take the query, no node answers in time, or the output cannot be written.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let cluster = args.nodes.cluster()?;
    let path = args.target.path(&["query"]);
    let mut body: Map<String, Value> =
        args.filters.members().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut printer = if args.json { Printer::Lines } else { Printer::table(args.wide) };
    let mut left = if args.all { u64::MAX } else { args.limit };
    let (mut cursor, mut node) = (args.cursor, 0);
    loop {
        body.insert("limit".into(), left.min(COMMAND_PAGE_ENTRIES).into());
        if let Some(cursor) = cursor {
            body.insert("cursor".into(), cursor.into());
        }
        let call = Call::question(path.clone(), &body);
        let (answer, answered) = call.send(&cluster, node, args.nodes.patience()).await?;
        // The nodes have the same cursors; the one that answered has the pages in memory.
        node = answered;
        let page: Page = answer.read()?;
        left = left.saturating_sub(page.entries.len() as u64);
        if !terminal::print(printer.page(&page.entries).as_bytes())? {
            return Ok(ExitCode::SUCCESS);
        }
        match page.cursor {
            None => return Ok(ExitCode::SUCCESS),
            Some(more) if left == 0 => {
                eprintln!("there are more: --all, or --cursor {}", plain(&more));
                return Ok(ExitCode::SUCCESS);
            }
            Some(more) => cursor = Some(more),
        }
    }
}

/// How entries are printed.
enum Printer {
    /// As they came.
    Lines,
    Table {
        table: Table<7>,
        /// What stands above the first page, and is as wide as that.
        head: Option<[&'static str; 7]>,
        /// Columns of the terminal that a cell may take.
        cell: usize,
    },
}

impl Printer {
    fn table(wide: bool) -> Self {
        let head = ["TIME", "ID", "TYPE", "ACTION", "USER", "IP", "DETAILS"];
        let cell = if wide { usize::MAX } else { COMMAND_CELL_COLUMNS };
        Self::Table { table: Table::new(), head: Some(head), cell }
    }

    /// The next page.
    fn page(&mut self, entries: &[Box<RawValue>]) -> String {
        match self {
            Self::Lines => entries.iter().flat_map(|entry| [entry.get(), "\n"]).collect(),
            Self::Table { table, head, cell } => {
                let head = head.take().map(|head| head.map(str::to_owned));
                let rows = entries.iter().map(|entry| row(entry, *cell));
                table.lines(&head.into_iter().chain(rows).collect::<Vec<_>>())
            }
        }
    }
}

/// The members of an entry that have a column; what strangers wrote may be of any type.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Columns<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    ip: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

/// An entry's cells, none of which can steer a terminal.
fn row(entry: &RawValue, width: usize) -> [String; 7] {
    let columns: Columns<'_> = serde_json::from_str(entry.get()).unwrap_or_default();
    let timestamp = columns.timestamp.map(|value| match serde_json::from_str(value.get()) {
        Ok(ms) => time::show(ms),
        Err(_) => value.get().to_owned(),
    });
    let text = |value: Option<&RawValue>| {
        value.map(|value| serde_json::from_str(value.get()).unwrap_or(value.get().to_owned()))
    };
    let details = columns.details.map(|details| details.get().to_owned());
    let [id, kind, action, user, ip] =
        [columns.id, columns.r#type, columns.action, columns.user_id, columns.ip].map(text);
    [timestamp, id, kind, action, user, ip, details]
        .map(|cell| cell.map_or("-".into(), |cell| cut(&plain(&cell), width).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(texts: &[&str]) -> Vec<Box<RawValue>> {
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    #[test]
    fn entries_become_rows() {
        let page = entries(&[
            r#"{"id":"01a208b0-f3da-7000-8000-d7a1c3587c45","timestamp":1634558400007,"type":"t","action":"a","userId":"u","ip":"::1","details":{"n":1.0}}"#,
            r#"{"id":"x","timestamp":null,"type":7,"action":"\u001b[2J\nroot","details":{"s":"\u001b"}}"#,
        ]);
        let row = |cells: [&str; 7]| {
            let [time, id, kind, action, user, ip, details] = cells;
            format!("{time:24}  {id:36}  {kind:4}  {action:15}  {user:4}  {ip:3}  {details}\n")
        };
        let id = "01a208b0-f3da-7000-8000-d7a1c3587c45";
        let hostile = r"\u{1b}[2J\nroot";
        assert_eq!(
            Printer::table(false).page(&page),
            [
                row(["TIME", "ID", "TYPE", "ACTION", "USER", "IP", "DETAILS"]),
                row(["2021-10-18T12:00:00.007Z", id, "t", "a", "u", "::1", r#"{"n":1.0}"#]),
                row(["-", "x", "7", hostile, "-", "-", r#"{"s":"\u001b"}"#]),
            ]
            .concat()
        );
    }

    #[test]
    fn lines_are_the_bytes_of_the_entries() {
        let texts = [r#"{"a" : 1.0e+2,"b":"\u0041"}"#, r#"{"n":9007199254740993}"#];
        let lines = Printer::Lines.page(&entries(&texts));
        assert_eq!(lines, format!("{}\n{}\n", texts[0], texts[1]));
    }

    #[test]
    fn long_cells_are_cut_unless_they_are_wanted() {
        let long = format!(r#"{{"details":{{"t":"{}"}}}}"#, "x".repeat(100));
        let page = entries(&[&long]);
        assert!(Printer::table(false).page(&page).ends_with("xxx…\n"));
        assert!(Printer::table(true).page(&page).ends_with("xxx\"}\n"));
    }
}
