//! `tallykeep backup`: the state of a running cluster, in a file.
//!
//! Which node makes it does not matter: it holds everything that any node had acknowledged before. It
//! is checked as it comes, and has its name only once it is whole and on the disk.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use futures_util::TryStreamExt;
use indicatif::{HumanBytes, ProgressBar, ProgressFinish, ProgressStyle};
use reqwest::Response;
use serde::Serialize;
use tokio::signal::ctrl_c;
use tokio::time::Instant;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::cluster::{Cluster, Fault, Turns, reasons};
use super::partial::{Partial, check_free};
use super::{Endpoints, Error};
use crate::archive::{Contents, Reader};

/// How long nodes are asked to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `tallykeep backup`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The file to make. Until it is whole it is called FILE.partial.
    pub file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    pub force: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// The nodes, of which the first that can makes the backup.
    #[command(flatten)]
    pub endpoints: Endpoints,
}

/// What was backed up. In JSON the names are in camel case.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    file: &'a Path,
    bytes: u64,
    id: &'a str,
    elapsed_ms: u64,
    #[serde(flatten)]
    contents: Contents,
}

/// Makes the backup and prints what it holds. Progress goes to stderr.
///
/// # Errors
/// If the file is there already, cannot be written, or no node sends it whole; nothing is left of it
/// then.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let Args { file, force, json, endpoints } = args;
    let failed = |source| Error::Write { path: file.clone(), source };
    check_free(&file, force).map_err(failed)?;
    let cluster = Cluster::of_streams(&endpoints)?;
    let began = Instant::now();
    let partial = Partial::create(&file).map_err(failed)?;
    let saved = tokio::select! {
        saved = save(&cluster, &partial) => saved?,
        _ = ctrl_c() => return Err(failed(io::Error::new(ErrorKind::Interrupted, "given up"))),
    };
    let (contents, id, bytes) = saved.map_err(failed)?;
    check_free(&file, force).and_then(|()| partial.finish()).map_err(failed)?;
    let elapsed = began.elapsed();
    if json {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let summary = Summary { file: &file, bytes, id: &id, elapsed_ms, contents };
        println!("{}", serde_json::to_string(&summary).expect("a summary is plain data"));
    } else {
        let Contents { cluster, node, term, applied, state_hash, .. } = contents;
        let file = file.display();
        println!(
            "{file} has cluster {cluster:?} at entry {applied} of term {term}, by node {node}"
        );
        println!("size        {} in {:.1} s", HumanBytes(bytes), elapsed.as_secs_f64());
        println!("state hash  {state_hash}");
        println!("id          {id}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the first node that can send the backup into the file. Once a node has begun no other is asked.
async fn save(cluster: &Cluster, partial: &Partial) -> Result<io::Result<Saved>, Error> {
    let mut turns = Turns::new(cluster, 0, PATIENCE);
    let mut rejections = 0;
    let response = loop {
        let why = match cluster.stream(turns.turn(), "/admin/backup").await {
            Ok(response) => break response,
            // A node of an earlier build, perhaps; others may be of this one.
            Err(Fault::Rejected(why)) => {
                rejections += 1;
                why
            }
            Err(Fault::Unchanged(why) | Fault::Unknown(why)) => why,
        };
        if !turns.failed(why).await || rejections >= cluster.endpoints().len() {
            return Err(turns.gave_up("no node makes a backup"));
        }
    };
    let file = match partial.file.try_clone() {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    let bar = bar(response.content_length().unwrap_or_default());
    let from = SyncIoBridge::new(StreamReader::new(body(response)));
    let received = tokio::task::spawn_blocking(move || receive(Copied { from, to: file, bar }));
    Ok(received.await.map_err(io::Error::other).flatten())
}

/// What it holds, its id, and its length.
type Saved = (Contents, String, u64);

fn body(
    response: Response,
) -> impl futures_util::Stream<Item = io::Result<bytes::Bytes>> + Send + Unpin {
    Box::pin(response.bytes_stream().map_err(|error| io::Error::other(reasons(&error))))
}

/// Reads it all and checks it, which copies it into the file.
fn receive(copied: Copied<impl Read>) -> io::Result<Saved> {
    let (file, bar) = (copied.to.try_clone()?, copied.bar.clone());
    let reader = Reader::open(BufReader::new(copied))?;
    let contents = reader.contents().clone();
    let id = reader.read_all(|_, _, _| Ok(()))?;
    file.sync_all()?;
    Ok((contents, id, bar.position()))
}

/// What is read goes into a file too.
struct Copied<R> {
    from: R,
    to: File,
    bar: ProgressBar,
}

impl<R: Read> Read for Copied<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(bytes)?;
        self.to.write_all(&bytes[..read])?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}

/// How far the reading or writing of so many bytes is, on a terminal.
pub fn bar(bytes: u64) -> ProgressBar {
    let style = "{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {elapsed}";
    let style = ProgressStyle::with_template(style).expect("the template is well-formed");
    ProgressBar::new(bytes).with_style(style).with_finish(ProgressFinish::AndClear)
}
