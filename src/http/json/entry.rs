//! The body of `/log`: an audit entry.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::compact::{Fault, Rules, check_distinct, compact, unescape};
use super::{check_name, duplicate, invalid, malformed, shown};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::machine::Terms;
use crate::machine::audit::term;

/// What a client says of an entry, checked, and compacted to one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The terms of `type`, `action`, `userId` and `ip`.
    pub terms: Terms,
    /// The members of the entry's JSON object behind `id` and `timestamp`, without braces:
    /// `"type":…,"action":…[,"userId":…][,"ip":…],"details":{…}[,"clientTime":…][,"clientId":…]`,
    /// and then the client's further members in their order. Values are as the client wrote them.
    pub members: Bytes,
}

/// Members that have a place: as the client names them, and as the entry does.
const PLACES: [(&str, &str); 7] = [
    ("type", "type"),
    ("action", "action"),
    ("userId", "userId"),
    ("ip", "ip"),
    ("details", "details"),
    // The server's own never come from a client, whose claims are kept beside them.
    ("timestamp", "clientTime"),
    ("id", "clientId"),
];

/// The first of [`PLACES`] are texts with an index, in the order of [`Terms`].
const TEXTS: usize = 4;
/// `details` among [`PLACES`].
const DETAILS: usize = 4;

/// Outside of `details`, inside of the entry.
pub(super) const OUTSIDE: Rules = Rules { depth: 1, controls: false };
/// `details`, inside of the entry.
pub(super) const INSIDE: Rules = Rules { depth: 1, controls: true };

/// Reads the body of `/log`.
///
/// # Errors
/// `malformed_json`; `invalid_field` for a member that is missing, of the wrong type or too long;
/// `control_character` outside of `details`; `duplicate_key`, `too_deep` and `lone_surrogate` at
/// any depth; `details_too_large`, of kind [`Kind::TooLarge`].
pub fn entry(body: &[u8]) -> Result<LogEntry> {
    let body = std::str::from_utf8(body)
        .map_err(|error| malformed(format_args!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let Envelope(envelope) = serde_json::from_str(body).map_err(malformed)?;
    let position = |value: &RawValue| value.get().as_ptr() as usize - body.as_ptr() as usize;

    let mut places: [Option<&RawValue>; PLACES.len()] = [None; PLACES.len()];
    let mut names: Vec<(Cow<'_, str>, usize)> = Vec::with_capacity(envelope.len());
    let mut further = Vec::new();
    for (key, value) in envelope {
        let at = position(key);
        let mut lexeme = Vec::with_capacity(key.get().len());
        compact(key, OUTSIDE, &mut lexeme).map_err(|fault| refuse("a member's name", fault, at))?;
        let name = unescape(key.get());
        match PLACES.iter().position(|(theirs, _)| *theirs == name) {
            Some(place) => {
                names.push((Cow::Borrowed(PLACES[place].1), at));
                places[place] = Some(value);
            }
            None => {
                check_name(&format!("the member's name at byte {at}"), &name)?;
                names.push((name.clone(), at));
                further.push((name, lexeme, value));
            }
        }
    }
    check_distinct(&mut names).map_err(|fault| refuse("the entry", fault, 0))?;

    let mut members = Vec::with_capacity(body.len() + PLACES.len());
    let mut terms = Terms::default();
    for (place, (theirs, ours)) in PLACES.into_iter().enumerate() {
        let Some(value) = present(place, places[place])? else {
            if place == DETAILS {
                members.extend_from_slice(b",\"details\":{}");
            }
            continue;
        };
        if place > 0 {
            members.push(b',');
        }
        members.extend_from_slice(format!("\"{ours}\":").as_bytes());
        let rules = if place == DETAILS { INSIDE } else { OUTSIDE };
        let start = members.len();
        compact(value, rules, &mut members)
            .map_err(|fault| refuse(theirs, fault, position(value)))?;
        if place < TEXTS {
            terms[place] = Some(term(&text(theirs, value)?));
        }
        if place == DETAILS {
            check_details(members.len() - start)?;
        }
    }
    for (name, lexeme, value) in further {
        members.push(b',');
        members.extend_from_slice(&lexeme);
        members.push(b':');
        compact(value, OUTSIDE, &mut members)
            .map_err(|fault| refuse(&name, fault, position(value)))?;
    }
    Ok(LogEntry { terms, members: members.into() })
}

/// Refuses `details` of too many bytes.
pub(super) fn check_details(bytes: usize) -> Result<()> {
    let bound = limits::DETAILS_BYTES_MAX;
    if bytes > bound {
        let message = format!("details must have at most {bound} bytes, white space not counted");
        return Err(Error::new(Kind::TooLarge, "details_too_large", message));
    }
    Ok(())
}

/// The member at a place, or nothing where it may be left out.
fn present(place: usize, value: Option<&RawValue>) -> Result<Option<&RawValue>> {
    let is_null = value.is_some_and(|value| value.get() == "null");
    let name = PLACES[place].0;
    match name {
        "type" | "action" if value.is_none() || is_null => Err(missing(name)),
        "userId" | "ip" if is_null => Ok(None),
        "details" if value.is_some_and(|value| !value.get().starts_with('{')) => {
            Err(invalid(name, "be a JSON object"))
        }
        _ => Ok(value),
    }
}

/// The error for `type` or `action` that is not there.
pub(super) fn missing(name: &str) -> Error {
    let bound = limits::NAME_BYTES_MAX;
    invalid(name, format_args!("be there: a string of 1 to {bound} bytes"))
}

/// The text of a member with an index, whose lexeme was checked by [`compact`].
pub(super) fn text<'a>(name: &str, value: &'a RawValue) -> Result<Cow<'a, str>> {
    if !value.get().starts_with('"') {
        return Err(invalid(name, "be a string"));
    }
    let text = unescape(value.get());
    match name {
        "type" | "action" => check_name(name, &text)?,
        _ if text.len() > limits::NAME_BYTES_MAX => {
            let bound = limits::NAME_BYTES_MAX;
            return Err(invalid(name, format_args!("be a string of at most {bound} bytes")));
        }
        _ => {}
    }
    Ok(text)
}

/// The error for a fault in `member`, whose text begins at byte `start` of the body.
pub(super) fn refuse(member: &str, (fault, at): (Fault, usize), start: usize) -> Error {
    let at = start + at;
    match fault {
        Fault::DuplicateKey(name) => {
            duplicate(&format!("{:?} (in {member}, at byte {at})", shown(&name)))
        }
        Fault::TooDeep => {
            let bound = limits::JSON_DEPTH_MAX;
            let message = format!("{member} is nested deeper than {bound} at byte {at}");
            Error::invalid("too_deep", message)
        }
        Fault::LoneSurrogate => {
            let message = format!("{member} has a lone surrogate at byte {at}");
            Error::invalid("lone_surrogate", message)
        }
        Fault::Control => {
            let message = format!(
                "{member} has a control character at byte {at}; only details may hold them"
            );
            Error::invalid("control_character", message)
        }
    }
}

/// The members of the body's object, each as its text.
pub(super) struct Envelope<'a>(pub(super) Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an audit entry")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(PLACES.len());
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Envelope(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(body: &str) -> String {
        String::from_utf8(entry(body.as_bytes()).unwrap().members.to_vec()).unwrap()
    }

    #[test]
    fn members_come_in_their_places_and_as_they_were_written() {
        let body = r#" { "details" : { "n" : 9007199254740993 , "t" : "\n \u0007", "f":1.0 } ,
            "z" : [ 1 , {"é":2} ], "ip":"::1", "timestamp" : 17.50, "action":"a\/b", "id":{"a": 1},
            "\u0061" : null, "userId":"", "type":"wix" } "#;
        assert_eq!(
            members(body),
            r#""type":"wix","action":"a\/b","userId":"","ip":"::1","details":{"n":9007199254740993,"t":"\n \u0007","f":1.0},"clientTime":17.50,"clientId":{"a":1},"z":[1,{"é":2}],"\u0061":null"#
        );
        let terms = entry(body.as_bytes()).unwrap().terms;
        assert_eq!(terms, ["wix", "a/b", "", "::1"].map(|text| Some(term(text))));
    }

    #[test]
    fn what_may_be_left_out_is() {
        let expected = r#""type":"t","action":"a","details":{}"#;
        for body in [
            r#"{"type":"t","action":"a"}"#,
            r#"{"type":"t","action":"a","userId":null,"ip":null,"details":{}}"#,
        ] {
            assert_eq!(members(body), expected);
            let terms = entry(body.as_bytes()).unwrap().terms;
            assert_eq!(terms, [Some(term("t")), Some(term("a")), None, None]);
        }
    }

    #[test]
    fn refuses_and_says_why() {
        let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
        let deep = format!("{}1{}", "[".repeat(63), "]".repeat(63));
        let with = |rest: &str| format!(r#"{{"type":"t","action":"a",{rest}}}"#);
        let cases = [
            (String::new(), "malformed_json", "EOF"),
            ("[]".into(), "malformed_json", "an audit entry"),
            ("null".into(), "malformed_json", "an audit entry"),
            (with(r#""details":{"a":01}"#), "malformed_json", "column"),
            (with(r#""details":{"a":NaN}"#), "malformed_json", "column"),
            (with("\"x\":\"a\nb\""), "malformed_json", "control character"),
            ("{} {}".into(), "malformed_json", "trailing"),
            ("{}".into(), "invalid_field", "type must be there: a string of 1 to 512 bytes"),
            (r#"{"type":"t"}"#.into(), "invalid_field", "action must be there"),
            (r#"{"type":null,"action":"a"}"#.into(), "invalid_field", "type must be there"),
            (r#"{"type":"","action":"a"}"#.into(), "invalid_field", "type must be a string of 1"),
            (format!(r#"{{"type":"t","action":"{long}"}}"#), "invalid_field", "action must"),
            (r#"{"type":7,"action":"a"}"#.into(), "invalid_field", "type must be a string"),
            (with(r#""userId":7"#), "invalid_field", "userId must be a string"),
            (
                with(&format!(r#""ip":"{long}""#)),
                "invalid_field",
                "ip must be a string of at most 512",
            ),
            (with(&format!(r#""{long}":1"#)), "invalid_field", "name at byte 25 must"),
            (with(r#""":1"#), "invalid_field", "name at byte 25 must be a string of 1"),
            (with(r#""details":null"#), "invalid_field", "details must be a JSON object"),
            (with(r#""details":[]"#), "invalid_field", "details must be a JSON object"),
            (
                with(r#""details":{"a":[{"b":1,"\u0062":2}]}"#),
                "duplicate_key",
                "\"b\" (in details, at byte 48)",
            ),
            (with(r#""x":1,"x":2"#), "duplicate_key", "\"x\" (in the entry, at byte 31)"),
            (with(r#""typ\u0065":"t""#), "duplicate_key", "\"type\""),
            (with(r#""timestamp":1,"clientTime":2"#), "duplicate_key", "\"clientTime\""),
            (
                with(r#""details":{"a":"\ud800"}"#),
                "lone_surrogate",
                "details has a lone surrogate at byte 41",
            ),
            (with(r#""\udc00":1"#), "lone_surrogate", "a member's name"),
            (
                with(r#""userId":"a\u0000""#),
                "control_character",
                "userId has a control character at byte 36",
            ),
            (with(r#""x":["\n"]"#), "control_character", "x has"),
            (
                with(&format!(r#""details":{{"a":{deep}}}"#)),
                "too_deep",
                "details is nested deeper than 64",
            ),
            (with(&format!(r#""x":[{deep}]"#)), "too_deep", "x is nested deeper than 64"),
        ];
        for (body, code, part) in cases {
            let error = entry(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, code, "{body}: {error}");
            assert!(error.message.contains(part), "{body}: {error}");
        }
        let error = entry(b"{\"type\":\"\xff\"}").unwrap_err();
        assert!(error.message.contains("not UTF-8 at byte 9"), "{error}");
    }

    #[test]
    fn details_are_measured_without_white_space() {
        let body = |length: usize| {
            let text = "x".repeat(length - r#"{"a":""}"#.len());
            format!(r#"{{"type":"t","action":"a","details":{{ "a" : "{text}" }} }}"#)
        };
        assert!(entry(body(limits::DETAILS_BYTES_MAX).as_bytes()).is_ok());
        let error = entry(body(limits::DETAILS_BYTES_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::TooLarge, "details_too_large"));
        assert!(error.message.contains("262144"));
    }

    #[test]
    fn the_deepest_details_are_taken() {
        let deep = format!("{}{}", "[".repeat(62), "]".repeat(62));
        let body = format!(r#"{{"type":"t","action":"a","details":{{"a":{deep}}}}}"#);
        assert!(members(&body).contains(&deep));
    }
}
