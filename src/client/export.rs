//! `tallykeep export`: the audit log in a file, whole or not at all.
//!
//! A node breaks an export off that it cannot finish, and the connection with it. It is then begun again
//! at the next node, if nobody has seen the first yet: a file has its name only at the end.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use reqwest::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use reqwest::{Response, Version};
use serde_json::Value;
use tokio::signal::ctrl_c;
use tokio::time::timeout;

use super::call::{Nodes, share};
use super::cluster::{Cluster, Fault, Turns, reasons};
use super::filters::Filters;
use super::partial::{Partial, check_free};
use super::target::Target;
use super::{Error, exit};

/// Arguments of `tallykeep export`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The file to make, or - for standard output. Until it is whole it is called FILE.partial.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// How the entries are written; by default what the file's name ends with, or JSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write cells of CSV as they are: a spreadsheet may run them. Otherwise such cells begin with an
    /// apostrophe.
    #[arg(long)]
    csv_unescaped: bool,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
    /// One day's shard, if not all.
    #[command(flatten)]
    target: Target,
    /// The nodes, of which the first that can sends the export.
    #[command(flatten)]
    nodes: Nodes,
    /// Which entries.
    #[command(flatten)]
    filters: Filters,
}

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// `{"entries":[…],"count":n}`.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// One entry a line.
    Ndjson,
}

impl Format {
    /// What a file's name says.
    fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// Whether an export may end with these bytes, the last of it.
    fn is_end(self, tail: &[u8]) -> bool {
        match self {
            Self::Json => {
                let count = tail.strip_suffix(b"}").and_then(|rest| {
                    let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
                    (digits > 0).then(|| &rest[..rest.len() - digits])
                });
                count.is_some_and(|rest| rest.ends_with(br#"],"count":"#))
            }
            Self::Csv => tail.ends_with(b"\r\n"),
            // Without entries it is empty.
            Self::Ndjson => tail.is_empty() || tail.ends_with(b"\n"),
        }
    }
}

/// Bytes of the end of an export that are looked at.
const TAIL_BYTES: usize = 64;

/// Exports. Progress, and what was done, go to stderr.
///
/// # Errors
/// If the cluster does not take the filters, no node sends the export whole, or it cannot be written;
/// nothing is left of a file then.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let format = args.format.or_else(|| Format::of(&args.file)).unwrap_or(Format::Json);
    let path = args.target.path(&["export"]);
    let mut query = vec![("format", format.name().to_owned())];
    query.extend(args.filters.members().map(|(name, value)| match value {
        Value::String(text) => (name, text),
        other => (name, other.to_string()),
    }));
    if args.csv_unescaped {
        query.push(("csvEscape", "none".into()));
    }
    let export = Export {
        cluster: args.nodes.cluster_of_streams()?,
        path,
        query,
        format,
        patience: args.nodes.patience(),
        bar: bar(),
    };
    let mut turns = Turns::new(&export.cluster, 0, export.patience);
    if args.file == Path::new("-") {
        return export.print(&mut turns).await;
    }
    let failed = |source| Error::Write { path: args.file.clone(), source };
    check_free(&args.file, args.force).map_err(failed)?;
    let mut partial = Partial::create(&args.file).map_err(failed)?;
    let bytes = tokio::select! {
        saved = export.save(&mut turns, &mut partial.file) => saved?.map_err(failed)?,
        _ = ctrl_c() => return Err(failed(io::Error::new(ErrorKind::Interrupted, "given up"))),
    };
    let synced = partial.file.sync_all().and_then(|()| check_free(&args.file, args.force));
    synced.and_then(|()| partial.finish()).map_err(failed)?;
    export.bar.finish_and_clear();
    eprintln!("{}: {} of {}", args.file.display(), HumanBytes(bytes), format.name());
    Ok(ExitCode::from(exit::DONE))
}

struct Export {
    cluster: Cluster,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    format: Format,
    /// How long a node is looked for that begins.
    patience: Duration,
    bar: ProgressBar,
}

/// Why an export did not come whole.
enum Cut {
    /// On its way.
    Broken(String),
    /// It cannot be written here.
    Unwritten(io::Error),
}

impl Export {
    /// Has a node send the export into the file; gives its bytes. One that breaks off is begun again, at
    /// each node once at most.
    async fn save(&self, turns: &mut Turns, file: &mut File) -> Result<io::Result<u64>, Error> {
        let mut broken = 0;
        loop {
            let response = self.begin(turns).await?;
            match self.copy(response, file).await {
                Ok(bytes) => return Ok(Ok(bytes)),
                Err(Cut::Unwritten(error)) => return Ok(Err(error)),
                Err(Cut::Broken(why)) => {
                    broken += 1;
                    turns.failed(why).await;
                    if broken >= self.cluster.endpoints().len() {
                        return Err(turns.gave_up("no node sent the export whole; nothing is kept"));
                    }
                }
            }
            turns.renew(self.patience);
            self.bar.reset();
            if let Err(error) = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))) {
                return Ok(Err(error));
            }
        }
    }

    /// Has a node send the export to standard output, which takes nothing back.
    async fn print(&self, turns: &mut Turns) -> Result<ExitCode, Error> {
        let response = self.begin(turns).await?;
        match self.copy(response, &mut io::stdout()).await {
            Ok(_) => {
                self.bar.finish_and_clear();
                Ok(ExitCode::from(exit::DONE))
            }
            Err(Cut::Unwritten(error)) if error.kind() == ErrorKind::BrokenPipe => {
                Ok(ExitCode::from(exit::DONE))
            }
            Err(Cut::Unwritten(source)) => {
                Err(Error::Write { path: "standard output".into(), source })
            }
            Err(Cut::Broken(why)) => {
                turns.failed(why).await;
                Err(turns.gave_up("the export broke off; what was written is a part of it"))
            }
        }
    }

    /// Finds a node that begins.
    async fn begin(&self, turns: &mut Turns) -> Result<Response, Error> {
        let share = share(&self.cluster, self.patience);
        loop {
            let asked = self.cluster.open(turns.turn(), &self.path, &self.query);
            let answer = timeout(share, asked).await;
            match answer.unwrap_or_else(|_| Err(Fault::Unknown("no answer in time".into()))) {
                Ok(response) => return Ok(response),
                Err(Fault::Rejected(why)) => return Err(Error::Rejected(why)),
                Err(Fault::Unchanged(why) | Fault::Unknown(why)) => {
                    if !turns.failed(why).await {
                        return Err(turns.gave_up("no node exports"));
                    }
                }
            }
        }
    }

    /// Copies all of it, and sees that it was all.
    async fn copy(&self, mut response: Response, to: &mut impl Write) -> Result<u64, Cut> {
        let broken = |why: &str| Cut::Broken(format!("the export broke off: {why}"));
        let headers = response.headers();
        let is_framed = response.version() >= Version::HTTP_2
            || [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| headers.contains_key(name));
        if !is_framed {
            return Err(broken("it came without a length, and may have ended anywhere"));
        }
        let (mut bytes, mut tail) = (0, Vec::with_capacity(2 * TAIL_BYTES));
        loop {
            let piece = response.chunk().await.map_err(|error| {
                broken(&format!("{} after {}", reasons(&error.without_url()), HumanBytes(bytes)))
            })?;
            let Some(piece) = piece else { break };
            to.write_all(&piece).map_err(Cut::Unwritten)?;
            bytes += piece.len() as u64;
            tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL_BYTES)..]);
            tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
            self.bar.set_position(bytes);
        }
        to.flush().map_err(Cut::Unwritten)?;
        if self.format.is_end(&tail) { Ok(bytes) } else { Err(broken("its end is missing")) }
    }
}

/// How many bytes there are, on a terminal; nobody knows of how many.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {bytes}  {bytes_per_sec}  {elapsed}");
    ProgressBar::no_length().with_style(style.expect("the template is well-formed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_export_is_known_by_its_end() {
        for (format, whole, cut) in [
            (Format::Json, &br#"{"entries":[],"count":0}"#[..], &br#"{"entries":[{"count":0}"#[..]),
            (Format::Json, br#"{}],"count":12345}"#, br#"{}],"count":12345"#),
            (Format::Json, br#"],"count":1}"#, br#"],"count":}"#),
            (Format::Csv, b"id,timestamp\r\n", b"id,timestamp\r\na,b"),
            (Format::Csv, b"a\r\n", b""),
            (Format::Ndjson, b"{}\n", b"{}\n{}"),
            (Format::Ndjson, b"", b"{"),
        ] {
            assert!(format.is_end(whole), "{whole:?}");
            assert!(!format.is_end(cut), "{cut:?}");
        }
    }

    #[test]
    fn a_name_may_say_the_format() {
        let of = |name| Format::of(Path::new(name));
        assert_eq!(of("a.csv"), Some(Format::Csv));
        assert_eq!(of("b/a.b.jsonl"), Some(Format::Ndjson));
        assert_eq!(of("a.json"), Some(Format::Json));
        assert_eq!((of("a"), of("-"), of(".csv"), of("a.gz")), (None, None, None, None));
    }
}
