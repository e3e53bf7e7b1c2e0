//! The JSON export, `{"entries":[…],"count":n}`, one entry at a time.

use std::fmt;
use std::io::{self, Read};

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::rows::{Each, Entry, Row, invalid};

/// Reads all entries, numbered from 1.
///
/// # Errors
/// If the text is not whole: no JSON, no `entries`, or another number of them than `count` says.
pub(super) fn read(input: impl Read, each: Each<'_>) -> io::Result<()> {
    let mut failed = None;
    let mut deserializer = serde_json::Deserializer::from_reader(input);
    let export = Export { each, failed: &mut failed };
    let read = export.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (failed, read) {
        (Some(error), _) => Err(error),
        (None, read) => read.map_err(|error| invalid(format!("not a whole JSON export: {error}"))),
    }
}

/// Reads the envelope. What `each` fails with goes past serde.
struct Export<'a, 'b> {
    each: Each<'a>,
    failed: &'b mut Option<io::Error>,
}

impl<'de> DeserializeSeed<'de> for Export<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Export<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with the member entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut number, mut count) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "entries" if number.is_some() => return Err(A::Error::duplicate_field("entries")),
                "entries" => {
                    let entries = Entries { each: &mut *self.each, failed: &mut *self.failed };
                    number = Some(map.next_value_seed(entries)?);
                }
                "count" => count = Some(map.next_value::<u64>()?),
                // A page of a query is no export, and there is more behind it.
                "cursor" => return Err(A::Error::custom("a page of /query, with a cursor")),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let number = number.ok_or_else(|| A::Error::missing_field("entries"))?;
        match count {
            Some(count) if count != number => {
                Err(A::Error::custom(format_args!("count is {count} and there are {number}")))
            }
            _ => Ok(()),
        }
    }
}

/// Reads the array; gives how many entries it has.
struct Entries<'a, 'b> {
    each: &'a mut dyn FnMut(Row) -> io::Result<()>,
    failed: &'b mut Option<io::Error>,
}

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<u64, A::Error> {
        let mut number = 0;
        while let Some(text) = elements.next_element::<Box<RawValue>>()? {
            number += 1;
            if let Err(error) = (self.each)(Row { number, entry: Entry::parse(text.get()) }) {
                *self.failed = Some(error);
                return Err(A::Error::custom("given up"));
            }
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;

    #[test]
    fn entries_are_numbered_and_kept_as_they_stand() {
        let text = r#" {"entries": [{"id":"a","timestamp":1, "x":1.0},7 ],"count":2} "#;
        let (_, rows) = rows(text).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].entry.as_ref().unwrap().text, r#"{"id":"a","timestamp":1, "x":1.0}"#);
        assert_eq!((rows[1].number, rows[1].entry.is_err()), (2, true));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for (text, why) in [
            (r#"{"entries":[{"id":"a","timestamp":1}"#, "EOF"),
            (r#"{"entries":[{"id":"a","timestamp":1}],"count":2}"#, "count is 2 and there are 1"),
            (r#"{"entries":[],"cursor":"x"}"#, "a page of /query"),
            (r#"{"entries":[],"entries":[]}"#, "duplicate field"),
            (r#"{"entries":[]} x"#, "trailing"),
        ] {
            let error = rows(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
