//! The rows of an export, read one after the other in bounded memory.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read};
use std::rc::Rc;

use serde::Deserialize;

use super::{csv, json};
use crate::limits::IMPORT_ROW_BYTES_MAX;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `{"entries":[…],"count":n}`
    Json,
    /// A header and a row for each entry.
    Csv,
    /// An entry a line.
    Ndjson,
}

/// How CSV cells that a spreadsheet would run were made harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CsvEscape {
    /// As exports are by default: with an apostrophe in front.
    ApostropheV1,
    /// Not at all: `csvEscape=none`, and the guide's own exports.
    None,
}

/// One row of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its line, from 1; in JSON, which entry it is.
    pub(super) number: u64,
    /// Its entry, as far as it can be told here, or why it has none.
    pub(super) entry: Result<Entry, String>,
}

/// An entry: where it stands, and its JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its time, in ms since the Unix epoch.
    pub(super) at_ms: u64,
    pub(super) id: String,
    pub(super) text: String,
}

impl Entry {
    /// Reads an entry's JSON; the nodes are stricter.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            id: String,
            timestamp: u64,
        }
        if text.len() > IMPORT_ROW_BYTES_MAX {
            return Err(format!("it is longer than {IMPORT_ROW_BYTES_MAX} bytes"));
        }
        let Head { id, timestamp } = serde_json::from_str(text)
            .map_err(|error| format!("no entry with its id and timestamp: {error}"))?;
        Ok(Self { at_ms: timestamp, id, text: text.to_owned() })
    }
}

/// What is done with each row.
pub(super) type Each<'a> = &'a mut dyn FnMut(Row) -> io::Result<()>;

/// Reads all rows; gives the format that the content has, if it was not told.
///
/// # Errors
/// If the file cannot be read, is not whole, or has a row that is too long; what `each` returns.
pub(super) fn read(
    input: impl Read,
    format: Option<Format>,
    escape: CsvEscape,
    each: Each<'_>,
) -> io::Result<Format> {
    let room = Room::default();
    let mut input = BufReader::new(Metered { input, room: room.clone() });
    if input.fill_buf()?.starts_with("\u{feff}".as_bytes()) {
        input.consume("\u{feff}".len());
    }
    let format = match format {
        Some(format) => format,
        None => detect(input.fill_buf()?),
    };
    let each: Each<'_> = &mut |row| {
        room.renew();
        each(row)
    };
    match format {
        Format::Json => json::read(input, each)?,
        Format::Csv => csv::read(input, escape, each)?,
        Format::Ndjson => lines(input, each)?,
    }
    Ok(format)
}

/// What the beginning of a file looks like.
fn detect(beginning: &[u8]) -> Format {
    let text = beginning.trim_ascii_start();
    match text.strip_prefix(b"{") {
        Some(rest) if rest.trim_ascii_start().starts_with(br#""entries""#) => Format::Json,
        Some(_) => Format::Ndjson,
        None if text.is_empty() => Format::Ndjson,
        None => Format::Csv,
    }
}

/// An entry a line. Blank lines are counted, and are no rows.
fn lines(mut input: impl BufRead, each: Each<'_>) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            let text = std::str::from_utf8(text).map_err(|error| error.to_string());
            each(Row { number, entry: text.and_then(Entry::parse) })?;
        }
    }
    Ok(())
}

/// How much may be read until the next row is there.
#[derive(Clone)]
struct Room(Rc<Cell<usize>>);

impl Default for Room {
    fn default() -> Self {
        let room = Self(Rc::default());
        room.renew();
        room
    }
}

impl Room {
    fn renew(&self) {
        // A row may be escaped twice over, and more is read ahead.
        self.0.set(4 * IMPORT_ROW_BYTES_MAX);
    }
}

/// A reader that ends with an error instead of a row without an end.
struct Metered<R> {
    input: R,
    room: Room,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.room.0.get();
        if left == 0 {
            return Err(invalid("a row has no end; a quote or a bracket is open, perhaps"));
        }
        let most = left.min(bytes.len());
        let read = self.input.read(&mut bytes[..most])?;
        self.room.0.set(left - read);
        Ok(read)
    }
}

/// The file is not what an export is.
pub(super) fn invalid(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The rows of a text, or why they cannot be read.
    pub(in super::super) fn rows(text: &str) -> Result<(Format, Vec<Row>), String> {
        let mut rows = Vec::new();
        let mut each = |row| {
            rows.push(row);
            Ok(())
        };
        let format = read(text.as_bytes(), None, CsvEscape::ApostropheV1, &mut each);
        format.map(|format| (format, rows)).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_numbered_and_bad_ones_are_rows_too() {
        let text = "{\"id\":\"a\",\"timestamp\":1}\r\n\n[]\n{\"id\":\"b\",\"timestamp\":2} ";
        let (format, rows) = rows(text).unwrap();
        assert_eq!(format, Format::Ndjson);
        let numbers: Vec<_> = rows.iter().map(|row| (row.number, row.entry.is_ok())).collect();
        assert_eq!(numbers, [(1, true), (3, false), (4, true)]);
        let entry = rows[0].entry.clone().unwrap();
        assert_eq!((entry.at_ms, &*entry.id), (1, "a"));
        assert_eq!(entry.text, r#"{"id":"a","timestamp":1}"#);
    }

    #[test]
    fn the_format_is_told_by_the_content() {
        assert_eq!(detect(b"{ \"entries\":["), Format::Json);
        assert_eq!(detect(b"\n{\n\t\"entries\":["), Format::Json);
        assert_eq!(detect(b"{\"id\":\"entries\"}"), Format::Ndjson);
        assert_eq!(detect(b"id,timestamp"), Format::Csv);
        assert_eq!(detect(b""), Format::Ndjson);
    }

    #[test]
    fn a_row_without_an_end_is_an_error() {
        let endless = format!("{{\"id\":\"{}", "x".repeat(5 * IMPORT_ROW_BYTES_MAX));
        assert!(rows(&endless).unwrap_err().contains("no end"));
        let many = "{\"id\":\"a\",\"timestamp\":1}\n".repeat(1_000_000);
        assert!(many.len() > 4 * IMPORT_ROW_BYTES_MAX);
        assert_eq!(rows(&many).unwrap().1.len(), 1_000_000);
    }
}
