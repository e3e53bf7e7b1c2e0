//! `tallykeep import`: the entries of an export, into the audit log as they were.
//!
//! The file is read once, in bounded memory, and sorted by time and id, for a shard takes imported
//! entries in that order alone (`machine/import.rs`). Meanwhile the cluster is asked of every row whether it could
//! take it, so that a bad row is found before anything is loaded. Then the entries are sent, one
//! request after the other; each may be sent again, to any node, for what is there is not added twice.

mod csv;
mod json;
mod rows;
mod send;
mod sort;
mod summary;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::{Endpoints, Error, exit};
use crate::limits::{BATCH_ITEMS_MAX, IMPORT_BATCH_BYTES};

pub use rows::{CsvEscape, Format};
pub use summary::Summary;

use rows::Row;
use send::{Sender, Tally};
use sort::{Numbered, Sorted, Sorter};

/// Arguments of `tallykeep import`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The export, or - for standard input.
    pub file: PathBuf,
    /// How the export is written; by default told from its content.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// How CSV cells were made harmless: what the export's X-Csv-Escape header says.
    #[arg(long, value_enum, default_value = "apostrophe-v1")]
    pub csv_escape: CsvEscape,
    /// Leave out rows that cannot be read. Without it one such row keeps all from being loaded.
    #[arg(long)]
    pub skip_bad: bool,
    /// Leave out entries that are as old as the retention, and call that a success.
    #[arg(long, conflicts_with = "keep_expired")]
    pub skip_expired: bool,
    /// Load them too. Days with such entries are kept for one retention from now on.
    #[arg(long)]
    pub keep_expired: bool,
    /// Only have every row read by the cluster, and load nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// The nodes, of which one that answers takes the entries.
    #[command(flatten)]
    pub endpoints: Endpoints,
}

/// Imports the file and prints the summary. Exit 0 when every row is in the log or was left out by a
/// flag that says so.
///
/// # Errors
/// As [`import`].
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let json = args.json;
    let summary = import(args).await?;
    if json {
        println!("{}", serde_json::to_string(&summary).expect("a summary is plain data"));
    } else {
        print!("{summary}");
    }
    Ok(exit::of(summary.is_whole))
}

/// Imports the file. Progress and complaints about single rows go to stderr.
///
/// # Errors
/// The file cannot be read or is not whole, and nothing was loaded; or no node answers in time, and the
/// entries up to some one, in the order of time, are loaded.
pub async fn import(args: Args) -> Result<Summary, Error> {
    let failed = |source| Error::File { path: args.file.clone(), source };
    let began = Instant::now();
    let cluster = Cluster::new(&args.endpoints)?;

    let (input, bytes) = open(&args.file).map_err(failed)?;
    let bar = bar("{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {elapsed}", bytes);
    let (batches, sorting) = read(bar.wrap_read(input), &args);
    let mut sender = Sender::new(&cluster, args.keep_expired, true, bar.clone());
    let checked = send_all(&mut sender, batches).await?;
    bar.finish_and_clear();
    let (format, sorter) = sorting.await.map_err(io::Error::other).flatten().map_err(failed)?;
    if args.dry_run || (checked.bad > 0 && !args.skip_bad) {
        return Ok(Summary::of_check(&args, format, checked, began.elapsed()));
    }

    let bar = self::bar("{bar:40} {pos}/{len} entries  {per_sec}  {elapsed}", checked.readable());
    let mut sender = Sender::new(&cluster, args.keep_expired, false, bar.clone());
    let (batches, merging) = merge(sorter);
    let loaded = send_all(&mut sender, batches).await?;
    bar.finish_and_clear();
    merging.await.map_err(io::Error::other).flatten().map_err(failed)?;
    Ok(Summary::new(&args, format, checked, loaded, began.elapsed()))
}

/// The file, and its length if it has one.
fn open(path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), 0));
    }
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((Box::new(file), bytes))
}

fn bar(style: &str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(style).expect("the template is well-formed");
    ProgressBar::new(length).with_style(style)
}

/// Rows for one request.
type Batches = mpsc::Receiver<Vec<Row>>;

async fn send_all(sender: &mut Sender<'_>, mut batches: Batches) -> Result<Tally, Error> {
    while let Some(batch) = batches.recv().await {
        sender.send(batch).await?;
        // Smaller entries behind it would have room, and leave it without a place for good.
        if sender.tally.full > 0 {
            break;
        }
    }
    Ok(sender.tally)
}

/// Reads the file on a thread of its own: gives its rows as they stand there and, at the end, its
/// format and its entries to be sorted.
fn read(
    input: impl Read + Send + 'static,
    args: &Args,
) -> (Batches, JoinHandle<io::Result<(Format, Sorter)>>) {
    let (format, escape, dry_run) = (args.format, args.csv_escape, args.dry_run);
    let (mut gather, batches) = Gather::new();
    let reading = spawn_blocking(move || {
        let mut sorter = Sorter::new();
        let format = rows::read(input, format, escape, &mut |row| {
            if !dry_run && let Ok(entry) = &row.entry {
                sorter.push(Numbered::new(row.number, entry.clone()))?;
            }
            gather.push(row)
        })?;
        gather.flush()?;
        Ok((format, sorter))
    });
    (batches, reading)
}

/// Gives the entries in order, on a thread of its own.
fn merge(sorter: Sorter) -> (Batches, JoinHandle<io::Result<()>>) {
    let (mut gather, batches) = Gather::new();
    let merging = spawn_blocking(move || {
        let sorted: Sorted = sorter.finish()?;
        for entry in sorted {
            let Numbered { at_ms, id, number, text } = entry?;
            gather.push(Row { number, entry: Ok(rows::Entry { at_ms, id, text }) })?;
        }
        gather.flush()
    });
    (batches, merging)
}

/// Makes batches of rows.
struct Gather {
    rows: Vec<Row>,
    bytes: usize,
    to: mpsc::Sender<Vec<Row>>,
}

impl Gather {
    fn new() -> (Self, Batches) {
        let (to, batches) = mpsc::channel(2);
        (Self { rows: Vec::new(), bytes: 0, to }, batches)
    }

    fn push(&mut self, row: Row) -> io::Result<()> {
        let bytes = row.entry.as_ref().map_or(0, |entry| entry.text.len() + 1);
        if self.rows.len() == BATCH_ITEMS_MAX || self.bytes + bytes > IMPORT_BATCH_BYTES {
            self.flush()?;
        }
        self.bytes += bytes;
        self.rows.push(row);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        // Nobody takes them any more once a request has failed, which is told in its place.
        self.to.blocking_send(rows).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
