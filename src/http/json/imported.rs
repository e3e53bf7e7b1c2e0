//! An entry of `/admin/import`: an audit entry that has its id and its time.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::compact::{check_distinct, compact, unescape};
use super::entry::{Envelope, INSIDE, OUTSIDE, check_details, missing, refuse, text};
use super::{check_name, invalid, malformed};
use crate::error::Result;
use crate::limits;
use crate::machine::Terms;
use crate::machine::audit::term;

/// An entry as another log, or this one, has exported it: checked, and compacted to one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastEntry {
    /// Its `timestamp`, in ms since the Unix epoch.
    pub at_ms: u64,
    /// The terms of `type`, `action`, `userId` and `ip`.
    pub terms: Terms,
    /// `{"id":…,"timestamp":…,` and the other members as they stand there, in their order.
    pub body: Bytes,
}

/// Members that are texts with an index, in the order of [`Terms`].
const TEXTS: [&str; 4] = ["type", "action", "userId", "ip"];

/// Reads an entry that has its `id` and `timestamp`. What has been exported comes out as it was.
///
/// # Errors
/// Those of [`super::entry()`]; `invalid_field` also if `id` is not of 1 to
/// [`limits::ENTRY_ID_BYTES_MAX`] letters, digits, `-` and `_`, or `timestamp` no JSON integer from 0 to
/// [`limits::TIME_MS_MAX`].
pub fn imported(body: &[u8]) -> Result<PastEntry> {
    let body = std::str::from_utf8(body)
        .map_err(|error| malformed(format_args!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let Envelope(envelope) = serde_json::from_str(body).map_err(malformed)?;
    let position = |value: &RawValue| value.get().as_ptr() as usize - body.as_ptr() as usize;

    let (mut entry_id, mut at_ms) = (None, None);
    let mut terms = Terms::default();
    let mut names: Vec<(Cow<'_, str>, usize)> = Vec::with_capacity(envelope.len());
    let mut rest = Vec::with_capacity(body.len());
    for (key, value) in envelope {
        let at = position(key);
        let start = rest.len();
        rest.push(b',');
        compact(key, OUTSIDE, &mut rest).map_err(|fault| refuse("a member's name", fault, at))?;
        rest.push(b':');
        let name = unescape(key.get());
        check_name(&format!("the member's name at byte {at}"), &name)?;
        names.push((name.clone(), at));
        match &*name {
            "id" => {
                rest.truncate(start);
                entry_id = Some(id(value)?);
                continue;
            }
            "timestamp" => {
                rest.truncate(start);
                at_ms = Some(time(value)?);
                continue;
            }
            "details" if !value.get().starts_with('{') => {
                return Err(invalid("details", "be a JSON object"));
            }
            _ => {}
        }
        let rules = if name == "details" { INSIDE } else { OUTSIDE };
        let start = rest.len();
        compact(value, rules, &mut rest).map_err(|fault| refuse(&name, fault, position(value)))?;
        if name == "details" {
            check_details(rest.len() - start)?;
        }
        if let Some(place) = TEXTS.iter().position(|text| *text == name) {
            let is_absent = place >= 2 && value.get() == "null";
            terms[place] = if is_absent { None } else { Some(term(&text(&name, value)?)) };
        }
    }
    check_distinct(&mut names).map_err(|fault| refuse("the entry", fault, 0))?;
    if let Some(name) = ["type", "action"].iter().zip(terms).find(|(_, term)| term.is_none()) {
        return Err(missing(name.0));
    }
    let id = entry_id.ok_or_else(bad_id)?;
    let at_ms = at_ms.ok_or_else(bad_time)?;
    let head = format!(r#"{{"id":"{id}","timestamp":{at_ms}"#);
    let body = [head.as_bytes(), &rest, b"}"].concat();
    Ok(PastEntry { at_ms, terms, body: body.into() })
}

fn id(value: &RawValue) -> Result<String> {
    let text: String = serde_json::from_str(value.get()).map_err(|_| bad_id())?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=limits::ENTRY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_word) {
        Ok(text)
    } else {
        Err(bad_id())
    }
}

fn bad_id() -> crate::error::Error {
    let bound = limits::ENTRY_ID_BYTES_MAX;
    invalid("id", format_args!("be a string of 1 to {bound} letters, digits, - and _"))
}

fn time(value: &RawValue) -> Result<u64> {
    let time = serde_json::from_str(value.get()).ok();
    time.filter(|ms| *ms <= limits::TIME_MS_MAX).ok_or_else(bad_time)
}

fn bad_time() -> crate::error::Error {
    let bound = limits::TIME_MS_MAX;
    invalid("timestamp", format_args!("be an integer from 0 to {bound}, in ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "01a208b0-f3da-7000-8000-d7a1c3587c45";
    const DIGITS: &str = "0123456789abcdef0123456789ABCDEF";

    #[test]
    fn what_was_exported_comes_out_as_it_was() {
        for text in [
            format!(r#"{{"id":"{UUID}","timestamp":17,"type":"t","action":"a\/b","details":{{}}}}"#),
            format!(r#"{{"id":"{DIGITS}","timestamp":0,"type":"t","userId":null,"action":"a"}}"#),
            r#"{"id":"abc123","timestamp":253402300799999,"z":[1.0,{"é":2E+1}],"ip":"::1","type":"t","action":"a","userId":"u","details":{"t":"\u0007","n":9007199254740993},"clientTime":1,"clientId":{}}"#.into(),
        ] {
            let entry = imported(text.as_bytes()).unwrap();
            assert_eq!(entry.body, text);
        }
        let spaced =
            r#" { "ty\u0070e" : "t", "timestamp" : 5 , "action":"a", "\u0069d":"\u0061" } "#;
        let entry = imported(spaced.as_bytes()).unwrap();
        assert_eq!(entry.body, r#"{"id":"a","timestamp":5,"ty\u0070e":"t","action":"a"}"#);
        assert_eq!(entry.at_ms, 5);
        assert_eq!(entry.terms, [Some(term("t")), Some(term("a")), None, None]);
    }

    #[test]
    fn refuses_and_says_why() {
        let with = |rest: &str| format!(r#"{{"type":"t","action":"a",{rest}}}"#);
        let long = "x".repeat(limits::ENTRY_ID_BYTES_MAX + 1);
        for (body, code, part) in [
            ("[]".into(), "malformed_json", "an audit entry"),
            (with(r#""id":"a""#), "invalid_field", "timestamp must be an integer from 0"),
            (with(r#""timestamp":1"#), "invalid_field", "id must be a string of 1 to 64"),
            (with(r#""id":7,"timestamp":1"#), "invalid_field", "id must"),
            (with(r#""id":"","timestamp":1"#), "invalid_field", "id must"),
            (with(r#""id":"a b","timestamp":1"#), "invalid_field", "id must"),
            (with(&format!(r#""id":"{long}","timestamp":1"#)), "invalid_field", "id must"),
            (with(r#""id":"a","timestamp":1.0"#), "invalid_field", "timestamp must"),
            (with(r#""id":"a","timestamp":-1"#), "invalid_field", "timestamp must"),
            (with(r#""id":"a","timestamp":253402300800000"#), "invalid_field", "timestamp must"),
            (with(r#""id":"a","timestamp":1,"id":"a""#), "duplicate_key", "\"id\""),
            (with(r#""id":"a","timestamp":1,"userId":7"#), "invalid_field", "userId must"),
            (with(r#""id":"a","timestamp":1,"details":null"#), "invalid_field", "details must"),
            (with(r#""id":"a","timestamp":1,"x":"\u0000""#), "control_character", "x has"),
            (
                r#"{"id":"a","timestamp":1,"type":"t"}"#.into(),
                "invalid_field",
                "action must be there",
            ),
            (r#"{"id":"a","timestamp":1,"type":null}"#.into(), "invalid_field", "type must be"),
        ] {
            let error = imported(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, code, "{body}: {error}");
            assert!(error.message.contains(part), "{body}: {error}");
        }
    }
}
