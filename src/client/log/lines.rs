//! The lines of a file or of standard input, as they come, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::limits::{BATCH_ITEMS_MAX, IMPORT_BATCH_BYTES, IMPORT_ROW_BYTES_MAX, LOG_BATCH_LINGER};

/// A line that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// Its JSON, or why it is none.
    pub(super) json: Result<String, String>,
}

/// Lines that are sent together.
pub(super) struct Batches {
    lines: mpsc::Receiver<io::Result<Line>>,
    /// A line that had no room in the batch before.
    held: Option<Line>,
    /// How long a line waits for others; without it, until the batch is full.
    linger: Option<Duration>,
}

/// The file, or standard input, and its length if it has one.
pub(super) fn open(path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), 0));
    }
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((Box::new(file), bytes))
}

impl Batches {
    /// Reads on a thread of its own. When `same`, a batch does not depend on when its lines came: the
    /// same lines make the same batches.
    pub(super) fn read(input: impl Read + Send + 'static, same: bool) -> Self {
        let (to, lines) = mpsc::channel(BATCH_ITEMS_MAX);
        tokio::task::spawn_blocking(move || {
            let mut input = BufReader::new(input);
            let mut number = 0;
            while let Some(line) = next(&mut input, &mut number).transpose() {
                let is_last = line.is_err();
                if to.blocking_send(line).is_err() || is_last {
                    break;
                }
            }
        });
        Self { lines, held: None, linger: (!same).then_some(LOG_BATCH_LINGER) }
    }

    /// The next lines: as many as one request takes, or those that came without a pause between them.
    /// None at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<Line>>> {
        let first = match self.held.take() {
            Some(line) => line,
            None => match self.lines.recv().await.transpose()? {
                Some(line) => line,
                None => return Ok(None),
            },
        };
        let until = self.linger.map(|linger| Instant::now() + linger);
        let mut bytes = length(&first);
        let mut batch = vec![first];
        while batch.len() < BATCH_ITEMS_MAX {
            let next = self.lines.recv();
            let next = match until {
                Some(until) => timeout_at(until, next).await.unwrap_or(None),
                None => next.await,
            };
            let Some(line) = next else { break };
            let line = line?;
            bytes += length(&line);
            if bytes > IMPORT_BATCH_BYTES {
                self.held = Some(line);
                break;
            }
            batch.push(line);
        }
        Ok(Some(batch))
    }
}

/// Bytes that a line takes in a request.
fn length(line: &Line) -> usize {
    line.json.as_ref().map_or(0, |json| json.len() + 1)
}

/// The next line that is not blank.
fn next(input: &mut impl BufRead, number: &mut u64) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than is allowed, and the line's end.
        let most = IMPORT_ROW_BYTES_MAX as u64 + 2;
        if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        *number += 1;
        let is_whole = line.ends_with(b"\n") || (line.len() as u64) < most;
        if !is_whole {
            input.skip_until(b'\n')?;
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            let json = if is_whole && text.len() <= IMPORT_ROW_BYTES_MAX {
                json(text)
            } else {
                Err(format!("it is longer than {IMPORT_ROW_BYTES_MAX} bytes"))
            };
            return Ok(Some(Line { number: *number, json }));
        }
    }
}

/// The text, if it is one JSON value: among others in one request, anything else would spoil them.
fn json(text: &[u8]) -> Result<String, String> {
    let value: &RawValue =
        serde_json::from_slice(text).map_err(|error| format!("it is not JSON: {error}"))?;
    Ok(value.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn batches(text: impl Into<Vec<u8>>) -> Vec<Vec<Line>> {
        let mut batches = Batches::read(io::Cursor::new(text.into()), true);
        let mut all = Vec::new();
        while let Some(batch) = batches.next().await.unwrap() {
            all.push(batch);
        }
        all
    }

    #[tokio::test]
    async fn lines_keep_their_numbers_and_bad_ones_their_places() {
        let text = b"{\"a\": 1.0}\r\n\n  \n{\"b\":}\n{}{}\n\"\xff\"\n{\"c\":3}";
        let lines = batches(text.to_vec()).await.concat();
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 4, 5, 6, 7]);
        assert_eq!(lines[0].json.as_deref(), Ok("{\"a\": 1.0}"));
        assert_eq!(lines[4].json.as_deref(), Ok("{\"c\":3}"));
        assert!(lines[1..4].iter().all(|line| line.json.is_err()));
        assert_eq!(batches("\n \n").await, Vec::<Vec<Line>>::new());
    }

    #[tokio::test]
    async fn a_line_may_have_as_many_bytes_as_a_request_takes() {
        let fits = format!("\"{}\"", "x".repeat(IMPORT_ROW_BYTES_MAX - 2));
        let text = format!("{fits}\r\n{fits}y\n\"{}\"\n{{}}\n", "x".repeat(3 * fits.len()));
        let lines = batches(text).await.concat();
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(
            lines.iter().map(|line| line.json.is_ok()).collect::<Vec<_>>(),
            [true, false, false, true]
        );
        assert!(lines[1].json.as_ref().unwrap_err().contains("longer"));
    }

    #[tokio::test]
    async fn batches_are_bounded_in_number_and_bytes() {
        let many = batches("{}\n".repeat(2 * BATCH_ITEMS_MAX + 1)).await;
        let lengths: Vec<_> = many.iter().map(Vec::len).collect();
        assert_eq!(lengths, [BATCH_ITEMS_MAX, BATCH_ITEMS_MAX, 1]);
        let long = format!("\"{}\"\n", "x".repeat(IMPORT_BATCH_BYTES / 2));
        let few = batches(long.repeat(3)).await;
        assert_eq!(few.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[tokio::test]
    async fn what_came_before_a_pause_is_not_held_back() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut batches = Batches::read(reader, false);
        for number in 1..=2 {
            io::Write::write_all(&mut writer, b"{}\n").unwrap();
            let batch = batches.next().await.unwrap().unwrap();
            assert_eq!(batch, [Line { number, json: Ok("{}".into()) }]);
        }
        drop(writer);
        assert_eq!(batches.next().await.unwrap(), None);
    }
}
