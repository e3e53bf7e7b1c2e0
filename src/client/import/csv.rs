//! The CSV export: RFC 4180, with the seven columns that it has.

use std::io::{self, Read};

use chrono::DateTime;
use csv::{ReaderBuilder, StringRecord, Terminator};
use serde::Serialize;
use serde_json::value::RawValue;

use super::rows::{CsvEscape, Each, Entry, Row, invalid};
use crate::spreadsheet;

/// The columns, in their order.
const COLUMNS: [&str; 7] = ["id", "timestamp", "type", "action", "userId", "ip", "details"];

/// The entry that a row stands for.
#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    timestamp: u64,
    r#type: &'a str,
    action: &'a str,
    #[serde(rename = "userId", skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a RawValue>,
}

/// Reads all rows, numbered by the lines on which they begin.
///
/// # Errors
/// If the header is another, or the text is no CSV.
pub(super) fn read(input: impl Read, escape: CsvEscape, each: Each<'_>) -> io::Result<()> {
    // By LF alone, and the CR taken off here: otherwise the line of a row is that of the CR before it.
    let mut reader =
        ReaderBuilder::new().terminator(Terminator::Any(b'\n')).flexible(true).from_reader(input);
    let header = reader.byte_headers()?;
    if header.iter().map(<[u8]>::trim_ascii_end).ne(COLUMNS.map(str::as_bytes)) {
        return Err(invalid(format!("the first line must be {}", COLUMNS.join(","))));
    }
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            continue;
        }
        let number = record.position().map_or(0, csv::Position::line);
        let text = StringRecord::from_byte_record(record.clone());
        let entry = text.map_err(|error| error.to_string());
        each(Row { number, entry: entry.and_then(|cells| self::entry(&cells, escape)) })?;
    }
    Ok(())
}

fn entry(cells: &StringRecord, escape: CsvEscape) -> Result<Entry, String> {
    let cells: Vec<&str> = cells.iter().collect();
    let [id, time, texts @ .., details] = &cells[..] else {
        return Err("it has not seven cells".into());
    };
    let [kind, action, user_id, ip] = texts else {
        return Err(format!(
            "it has {} cells and not seven: a cell with commas must be in quotes",
            cells.len()
        ));
    };
    let text = |cell| match escape {
        CsvEscape::ApostropheV1 => spreadsheet::unescape(cell),
        CsvEscape::None => cell,
    };
    let present = |cell: &&'_ str| !cell.is_empty();
    let details: Option<&RawValue> = match details.trim_end_matches('\r') {
        "" => None,
        details => {
            let read = serde_json::from_str(details);
            Some(read.map_err(|error| format!("its details are not JSON: {error}"))?)
        }
    };
    let object = Object {
        id,
        timestamp: time_ms(time)?,
        r#type: text(kind),
        action: text(action),
        user_id: Some(*user_id).filter(present).map(text),
        ip: Some(*ip).filter(present).map(text),
        details,
    };
    Entry::parse(&serde_json::to_string(&object).expect("texts and a number are JSON"))
}

/// `2021-10-18T12:00:00.000Z` in ms since the Unix epoch.
fn time_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("its timestamp is {text:?} and not like 2021-10-18T12:00:00.000Z");
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| wrong())?;
    let ns = time.timestamp_subsec_nanos();
    if ns >= 1_000_000_000 || !ns.is_multiple_of(1_000_000) {
        return Err(wrong());
    }
    u64::try_from(time.timestamp_millis()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::super::rows::Format;
    use super::super::rows::tests::rows;

    const HEADER: &str = "id,timestamp,type,action,userId,ip,details\r\n";

    #[test]
    fn rows_become_the_entries_that_they_were() {
        let text = format!(
            "{HEADER}a,2021-10-18T12:00:00.007Z,\"a,\n\"\"b\",'=1,''@x,,\"{{\"\"n\"\":1.0}}\"\r\n\
             b,1970-01-01T00:00:00Z,t,a,,::1,\r\n\r\nc,1970-01-01T00:00:00Z,t,a,,,\"{{}}\"\n"
        );
        let (format, rows) = rows(&text).unwrap();
        assert_eq!(format, Format::Csv);
        let texts: Vec<_> = rows.iter().map(|row| row.entry.clone().unwrap().text).collect();
        assert_eq!(
            texts,
            [
                r#"{"id":"a","timestamp":1634558400007,"type":"a,\n\"b","action":"=1","userId":"'@x","details":{"n":1.0}}"#,
                r#"{"id":"b","timestamp":0,"type":"t","action":"a","ip":"::1"}"#,
                r#"{"id":"c","timestamp":0,"type":"t","action":"a","details":{}}"#,
            ]
        );
        assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [2, 4, 6]);
    }

    #[test]
    fn a_row_that_cannot_be_read_says_why() {
        for (row, why) in [
            ("a,2021-10-18T12:00:00Z,t,a,u", "not seven"),
            ("a,2021-10-18T12:00:00Z,t,a,u,i,{\"\"a\"\":1,\"\"b\"\":2}", "not seven"),
            ("a,2021-10-18T12:00:00Z,t,a,u,i,{\"\"a\"\":1}", "not JSON"),
            ("a,2021-10-18T12:00:00Z,t,a,u,i,\"{},\"\"x\"\":1\"", "not JSON"),
            ("a,1634558400007,t,a,u,i,\"{}\"", "timestamp"),
            ("a,2021-10-18T12:00:00.0001Z,t,a,u,i,\"{}\"", "timestamp"),
            ("a,1969-10-18T12:00:00Z,t,a,u,i,\"{}\"", "timestamp"),
        ] {
            let (_, rows) = rows(&format!("{HEADER}{row}\r\n")).unwrap();
            let error = rows[0].entry.clone().unwrap_err();
            assert!(error.contains(why), "{row}: {error}");
        }
        assert!(rows("id,time\r\n").unwrap_err().contains("the first line must be id,timestamp"));
    }
}
