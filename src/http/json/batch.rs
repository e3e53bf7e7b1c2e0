//! The bodies of `/check/batch` and `/log/batch`: `{"checks":[…]}`, `{"entries":[…]}`.
//!
//! The envelope is read first, and must be whole. Its items are left as they stand, for whoever
//! reads the body of a single one: what is wrong with one is no matter of the others.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::value::Name;
use super::{duplicate, invalid, malformed, shown, unreadable};
use crate::error::{Error, Result};
use crate::limits;

/// The texts of the items in the member `name`, the only one that the body has.
///
/// # Errors
/// `malformed_json`; `unknown_member`; `duplicate_key`; `invalid_field` if the member is missing, no
/// array, or not of 1 to [`limits::BATCH_ITEMS_MAX`] items.
pub fn batch<'a>(body: &'a [u8], name: &str) -> Result<Vec<&'a [u8]>> {
    let body = std::str::from_utf8(body)
        .map_err(|error| malformed(format_args!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let envelope = deserializer.deserialize_map(Envelope { name });
    let envelope = envelope.map_err(|error| unreadable(&error))?;
    deserializer.end().map_err(malformed)?;
    if let Some(unknown) = envelope.unknown {
        let message = format!("{:?} is no member of a batch; {name} is", shown(&unknown));
        return Err(Error::invalid("unknown_member", message));
    }
    if envelope.twice {
        return Err(duplicate(name));
    }
    let bound = limits::BATCH_ITEMS_MAX;
    let rule = || invalid(name, format_args!("be an array of 1 to {bound} items"));
    let items = envelope.items.filter(|items| items.get().starts_with('[')).ok_or_else(rule)?;
    let mut deserializer = serde_json::Deserializer::from_str(items.get());
    let items = deserializer.deserialize_seq(Items).map_err(malformed)?;
    if items.is_empty() || items.len() > bound {
        return Err(rule());
    }
    Ok(items.into_iter().map(|item| item.get().as_bytes()).collect())
}

/// What stands around the items.
#[derive(Default)]
struct Members<'de> {
    items: Option<&'de RawValue>,
    twice: bool,
    /// The first member of another name.
    unknown: Option<String>,
}

/// Reads [`Members`].
struct Envelope<'a> {
    name: &'a str,
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with the member {}", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(Name(name)) = map.next_key()? {
            if name == self.name {
                members.twice |= members.items.replace(map.next_value()?).is_some();
            } else {
                map.next_value::<IgnoredAny>()?;
                members.unknown.get_or_insert(name.into_owned());
            }
        }
        Ok(members)
    }
}

/// Reads items; one more than there may be is enough to know.
struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut elements: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = elements.next_element()? {
            if items.len() <= limits::BATCH_ITEMS_MAX {
                items.push(item);
            }
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<String> {
        let items = batch(body.as_bytes(), "checks").unwrap();
        items.into_iter().map(|item| String::from_utf8(item.to_vec()).unwrap()).collect()
    }

    #[test]
    fn items_are_left_as_they_stand() {
        let body = r#" { "ch\u0065cks" : [ {"a": 1.0 ,"a":[]} , 7,null ,"x" ] } "#;
        assert_eq!(texts(body), [r#"{"a": 1.0 ,"a":[]}"#, "7", "null", r#""x""#]);
    }

    #[test]
    fn a_bad_envelope_is_refused_and_says_why() {
        let of = |items: usize| format!(r#"{{"checks":[{}0]}}"#, "0,".repeat(items - 1));
        assert_eq!(texts(&of(limits::BATCH_ITEMS_MAX)).len(), limits::BATCH_ITEMS_MAX);
        let long = of(limits::BATCH_ITEMS_MAX + 1);
        for (body, code, part) in [
            ("", "malformed_json", "EOF"),
            ("[]", "malformed_json", "an object with the member checks"),
            ("null", "malformed_json", "an object"),
            (r#"{"checks":[{}]"#, "malformed_json", "EOF"),
            (r#"{"checks":[{}]} x"#, "malformed_json", "trailing"),
            (r#"{"checks":[{},]}"#, "malformed_json", "expected value"),
            ("{}", "invalid_field", "checks must be an array of 1 to 1000 items"),
            (r#"{"checks":[]}"#, "invalid_field", "1 to 1000"),
            (r#"{"checks":{}}"#, "invalid_field", "1 to 1000"),
            (r#"{"checks":null}"#, "invalid_field", "1 to 1000"),
            (&long, "invalid_field", "1 to 1000"),
            (r#"{"checks":[1],"checks":[2]}"#, "duplicate_key", "checks"),
            (r#"{"checks":[1],"entries":[2]}"#, "unknown_member", "\"entries\""),
        ] {
            let error = batch(body.as_bytes(), "checks").unwrap_err();
            assert_eq!(error.code, code, "{body}: {error}");
            assert!(error.message.contains(part), "{body}: {error}");
        }
        let error = batch(b"{\"checks\":[\"\xff\"]}", "checks").unwrap_err();
        assert!(error.message.contains("not UTF-8 at byte 12"), "{error}");
    }
}
