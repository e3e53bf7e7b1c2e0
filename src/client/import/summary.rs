//! What an import came to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::send::Tally;
use super::{Args, Format};

/// The result of an import. In JSON the names are in camel case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The file, as it was named.
    pub file: PathBuf,
    /// How it is written.
    pub format: Format,
    /// Nothing was to be loaded.
    pub dry_run: bool,
    /// Rows.
    pub read: u64,
    /// Entries that are in the log now.
    pub imported: u64,
    /// Entries that were there; by this run too, where an answer was lost.
    pub already_there: u64,
    /// Rows that cannot be read.
    pub bad: u64,
    /// Entries that are as old as the retention, and were left out.
    pub expired: u64,
    /// Entries for which there is no place.
    pub refused: u64,
    /// Entries for which there was no room; none behind them was sent.
    pub full: u64,
    /// Requests whose answer was lost, and which were sent again.
    pub resent: u64,
    /// How long it took, in ms.
    pub elapsed_ms: u64,
    /// Every row is in the log, or was left out by a flag that says so; of a dry run, it would be.
    pub is_whole: bool,
    /// What to do, if it is not.
    pub advice: Vec<&'static str>,
}

impl Summary {
    /// Of a run that has only checked.
    pub(super) fn of_check(args: &Args, format: Format, checked: Tally, took: Duration) -> Self {
        let loaded =
            Tally { expired: checked.expired, refused: checked.refused, ..Tally::default() };
        Self::new(args, format, checked, loaded, took)
    }

    /// Of a run that has checked and loaded.
    pub(super) fn new(
        args: &Args,
        format: Format,
        checked: Tally,
        loaded: Tally,
        took: Duration,
    ) -> Self {
        let mut advice = Vec::new();
        if checked.bad > 0 && !args.skip_bad {
            advice.push("nothing was loaded: mend the bad rows, or leave them out with --skip-bad");
        }
        if loaded.expired > 0 && !args.skip_expired {
            advice.push(
                "entries as old as the retention were left out: raise retention in every node's \
                 configuration, load them for one more retention with --keep-expired, or leave them \
                 out with --skip-expired",
            );
        }
        if loaded.full > 0 {
            advice.push(
                "the import has stopped at a quota: raise object_bytes_max or objects_max in every \
                 node's configuration, and run it again",
            );
        }
        if loaded.refused > 0 {
            advice.push("entries without a place were left out: see docs/moving-in.md");
        }
        Self {
            file: args.file.clone(),
            format,
            dry_run: args.dry_run,
            read: checked.read,
            imported: loaded.imported,
            already_there: loaded.present,
            bad: checked.bad,
            expired: loaded.expired,
            refused: loaded.refused,
            full: loaded.full,
            resent: checked.resent + loaded.resent,
            elapsed_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            is_whole: advice.is_empty(),
            advice,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "read          {:>10}", self.read)?;
        writeln!(f, "imported      {:>10}", self.imported)?;
        writeln!(f, "already there {:>10}", self.already_there)?;
        writeln!(f, "bad           {:>10}", self.bad)?;
        writeln!(f, "expired       {:>10}", self.expired)?;
        writeln!(f, "refused       {:>10}", self.refused)?;
        writeln!(f, "no room       {:>10}", self.full)?;
        writeln!(f, "sent again    {:>10}", self.resent)?;
        let seconds = Duration::from_millis(self.elapsed_ms).as_secs_f64();
        writeln!(f, "elapsed       {seconds:>10.2} s")?;
        self.advice.iter().try_for_each(|advice| writeln!(f, "{advice}"))
    }
}
