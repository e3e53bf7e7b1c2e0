//! Entries as CSV: RFC 4180 with a header, safe to open in a spreadsheet.
//!
//! What a spreadsheet would run as a formula is made harmless ([`crate::spreadsheet`]).

use std::borrow::Cow;
use std::io;

use chrono::{DateTime, SecondsFormat};
use csv::{QuoteStyle, Terminator, WriterBuilder};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::filter::Text;
use super::inconsistent;
use crate::spreadsheet;

/// The header, and how a row ends.
const HEADER: &[u8] = b"id,timestamp,type,action,userId,ip,details\r\n";
const ROW_END: &[u8] = b"\r\n";

/// How entries become CSV.
#[derive(Clone, Copy, Debug)]
pub struct Csv {
    escape: bool,
}

/// The members of an entry that have a column.
#[derive(Deserialize)]
struct Columns<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    timestamp: i64,
    #[serde(borrow, rename = "type")]
    type_: Option<Text<'a>>,
    #[serde(borrow)]
    action: Option<Text<'a>>,
    #[serde(borrow, rename = "userId")]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    ip: Option<Text<'a>>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

impl Csv {
    /// With `escape`, cells that a spreadsheet would run are given an apostrophe.
    pub fn new(escape: bool) -> Self {
        Self { escape }
    }

    /// The header row.
    pub fn header(self) -> &'static [u8] {
        HEADER
    }

    /// The rows of entries, given by their bodies.
    ///
    /// # Errors
    /// If a body is not an entry's JSON object.
    pub fn rows<B: AsRef<[u8]>>(self, bodies: &[B]) -> io::Result<Vec<u8>> {
        let mut cells = WriterBuilder::new()
            .quote_style(QuoteStyle::Necessary)
            .terminator(Terminator::CRLF)
            .from_writer(Vec::new());
        let mut rows = Vec::new();
        let mut written = 0;
        for body in bodies {
            let entry: Columns<'_> = serde_json::from_slice(body.as_ref())
                .map_err(|error| inconsistent(format!("an entry without its columns: {error}")))?;
            let time = DateTime::from_timestamp_millis(entry.timestamp)
                .ok_or_else(|| inconsistent("an entry whose time is out of bounds"))?
                .to_rfc3339_opts(SecondsFormat::Millis, true);
            let texts = [&entry.type_, &entry.action, &entry.user_id, &entry.ip]
                .map(|text| self.cell(text.as_ref().map_or("", |text| &text.0)));
            let texts = texts.iter().map(|text| text.as_bytes());
            cells.write_record([entry.id.as_bytes(), time.as_bytes()].into_iter().chain(texts))?;
            cells.flush()?;
            let row = &cells.get_ref()[written..];
            rows.extend_from_slice(row.strip_suffix(ROW_END).unwrap_or(row));
            written = cells.get_ref().len();
            // `details` is always in quotes, as in the guide; the writer has one style for all.
            rows.push(b',');
            if let Some(details) = entry.details {
                rows.push(b'"');
                rows.extend_from_slice(details.get().replace('"', "\"\"").as_bytes());
                rows.push(b'"');
            }
            rows.extend_from_slice(ROW_END);
        }
        Ok(rows)
    }

    fn cell(self, text: &str) -> Cow<'_, str> {
        if self.escape { spreadsheet::escape(text) } else { Cow::Borrowed(text) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells(csv: &[u8]) -> Vec<Vec<String>> {
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(csv);
        let records = reader.records().map(|record| record.unwrap());
        records.map(|record| record.iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn rows_are_as_the_guide_shows_them() {
        let csv = Csv::new(true);
        let bodies = [
            r#"{"id":"abc","timestamp":1634558400000,"type":"wix_request","action":"api_call","userId":"user-123","ip":"192.168.1.1","details":{"endpoint":"/api/wix","n":9007199254740993}}"#,
            r#"{"id":"abd","timestamp":1634558400007,"type":"a,b","action":"say \"hi\"","details":{},"more":1}"#,
            r#"{"id":"abe","timestamp":0,"type":"=1+1","action":"'@x","userId":"'fine","details":{}}"#,
        ];
        let rows = String::from_utf8(csv.rows(&bodies).unwrap()).unwrap();
        assert_eq!(
            rows,
            "abc,2021-10-18T12:00:00.000Z,wix_request,api_call,user-123,192.168.1.1,\
             \"{\"\"endpoint\"\":\"\"/api/wix\"\",\"\"n\"\":9007199254740993}\"\r\n\
             abd,2021-10-18T12:00:00.007Z,\"a,b\",\"say \"\"hi\"\"\",,,\"{}\"\r\n\
             abe,1970-01-01T00:00:00.000Z,'=1+1,''@x,'fine,,\"{}\"\r\n"
        );
        assert_eq!(csv.header(), b"id,timestamp,type,action,userId,ip,details\r\n");
        let plain = String::from_utf8(Csv::new(false).rows(&bodies[2..]).unwrap()).unwrap();
        assert_eq!(plain, "abe,1970-01-01T00:00:00.000Z,=1+1,'@x,'fine,,\"{}\"\r\n");
    }

    #[test]
    fn a_body_that_is_no_entry_is_an_error() {
        assert!(Csv::new(true).rows(&["{}"]).is_err());
    }

    proptest! {
        #[test]
        fn what_was_written_can_be_read_back(
            texts in prop::collection::vec("('{0,2}[=+@＝－\r\n\t\0'\"a, é-]){0,5}.{0,4}", 4),
            escape: bool,
        ) {
            let body = serde_json::json!({
                "id": "i", "timestamp": 1, "type": texts[0], "action": texts[1],
                "userId": texts[2], "ip": texts[3], "details": {"a": texts[0]},
            });
            let rows = Csv::new(escape).rows(&[body.to_string()]).unwrap();
            let read = cells(&rows);
            prop_assert_eq!(read.len(), 1);
            for (cell, text) in read[0][2..6].iter().zip(&texts) {
                prop_assert!(!escape || spreadsheet::is_harmless(cell));
                let read = if escape { spreadsheet::unescape(cell) } else { &cell[..] };
                prop_assert_eq!(read, &text[..]);
            }
            prop_assert_eq!(&read[0][6], &body["details"].to_string());
        }
    }
}
