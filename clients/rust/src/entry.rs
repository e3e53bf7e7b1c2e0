//! Entries of the audit log. Their values are kept as they were written: numbers digit by digit.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::error::{Error, Result};

/// Members that [`NewEntry`] has methods for.
const OWN_MEMBERS: [&str; 5] = ["type", "action", "userId", "ip", "details"];

/// An entry to be logged.
#[derive(Clone, Debug)]
pub struct NewEntry {
    members: Vec<(String, Box<RawValue>)>,
}

impl NewEntry {
    /// `type` and `action` have 1 to 512 bytes each.
    pub fn new(type_: impl Into<String>, action: impl Into<String>) -> Self {
        Self { members: Vec::new() }.text("type", type_.into()).text("action", action.into())
    }

    /// Who did it: at most 512 bytes.
    pub fn user_id(self, user_id: impl Into<String>) -> Self {
        self.text("userId", user_id.into())
    }

    /// Where from: at most 512 bytes.
    pub fn ip(self, ip: impl Into<String>) -> Self {
        self.text("ip", ip.into())
    }

    /// What becomes a JSON object, of up to 256 KiB.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`]: it does not become JSON.
    pub fn details(self, details: &impl Serialize) -> Result<Self> {
        self.value("details", details)
    }

    /// A further member. `timestamp` and `id` are given back as `client_time` and `client_id`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Argument`]: there is a method for this member, or it does not become
    /// JSON.
    pub fn member(self, name: &str, value: &impl Serialize) -> Result<Self> {
        if OWN_MEMBERS.contains(&name) {
            return Err(Error::argument(format!("member must not be {name}: it has a method")));
        }
        self.value(name, value)
    }

    fn text(self, name: &str, text: String) -> Self {
        self.value(name, &text).expect("a string becomes JSON")
    }

    fn value(mut self, name: &str, value: &impl Serialize) -> Result<Self> {
        let value = to_raw_value(value)
            .map_err(|error| Error::argument(format!("{name} is no JSON")).with_source(error))?;
        self.members.retain(|(other, _)| other != name);
        self.members.push((name.to_owned(), value));
        Ok(self)
    }
}

impl Serialize for NewEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// A UUIDv7, which sorts in the order of the log.
    pub id: String,
    /// The cluster's time, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// Of the entry.
    pub type_: String,
    /// What was done.
    pub action: String,
    /// Who did it.
    pub user_id: Option<String>,
    /// Where from.
    pub ip: Option<String>,
    /// A JSON object, as it was written; [`Entry::details`] reads it.
    pub details: Box<RawValue>,
    /// What the client gave as `timestamp`: never the log's own.
    pub client_time: Option<Box<RawValue>>,
    /// What the client gave as `id`: never the log's own.
    pub client_id: Option<Box<RawValue>>,
    /// Further members, in the client's order.
    pub members: Vec<(String, Box<RawValue>)>,
}

impl Entry {
    /// Reads `details` as what you like: a `serde_json::Value`, or a type of your own.
    ///
    /// # Errors
    /// They are not of that shape.
    pub fn details<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.details.get())
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(EntryVisitor)
    }
}

/// Not derived: serde's `flatten` cannot keep a value as it was written.
struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry of the audit log")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entry, A::Error> {
        let (mut id, mut timestamp_ms, mut type_, mut action) = (None, None, None, None);
        let (mut user_id, mut ip, mut details) = (None, None, None);
        let (mut client_time, mut client_id, mut members) = (None, None, Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "id" => id = Some(map.next_value()?),
                "timestamp" => timestamp_ms = Some(map.next_value()?),
                "type" => type_ = Some(map.next_value()?),
                "action" => action = Some(map.next_value()?),
                "userId" => user_id = map.next_value()?,
                "ip" => ip = map.next_value()?,
                "details" => details = Some(map.next_value()?),
                "clientTime" => client_time = Some(map.next_value()?),
                "clientId" => client_id = Some(map.next_value()?),
                _ => members.push((name, map.next_value()?)),
            }
        }
        let missing = A::Error::missing_field;
        Ok(Entry {
            id: id.ok_or_else(|| missing("id"))?,
            timestamp_ms: timestamp_ms.ok_or_else(|| missing("timestamp"))?,
            type_: type_.ok_or_else(|| missing("type"))?,
            action: action.ok_or_else(|| missing("action"))?,
            user_id,
            ip,
            details: details.ok_or_else(|| missing("details"))?,
            client_time,
            client_id,
            members,
        })
    }
}

/// A part of the answer to a query.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// In the order that was asked for.
    pub entries: Vec<Entry>,
    /// What the next query goes on with; `None` at the end. An empty page may have one.
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_sent_whole_and_in_order() {
        let entry = NewEntry::new("t", "a")
            .user_id("u")
            .ip("first")
            .ip("1.2.3.4")
            .details(&serde_json::json!({"n": [1, null]}))
            .and_then(|entry| entry.member("requestId", &"r"))
            .unwrap();
        let expected = concat!(
            r#"{"type":"t","action":"a","userId":"u","ip":"1.2.3.4","#,
            r#""details":{"n":[1,null]},"requestId":"r"}"#
        );
        assert_eq!(serde_json::to_string(&entry).unwrap(), expected);
    }

    #[test]
    fn a_member_that_has_a_method_is_refused() {
        for name in OWN_MEMBERS {
            let error = NewEntry::new("t", "a").member(name, &1).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Argument);
        }
    }

    #[test]
    fn an_entry_is_read_with_its_values_as_they_were_written() {
        let json = concat!(
            r#"{"id":"i","timestamp":5,"type":"t","action":"a","details":{"n":1.50},"#,
            r#""clientTime":[1],"clientId":null,"further":1e400}"#
        );
        let entry: Entry = serde_json::from_str(json).unwrap();
        assert_eq!((entry.id.as_str(), entry.timestamp_ms), ("i", 5));
        assert_eq!((entry.user_id, entry.ip), (None, None));
        assert_eq!(entry.details.get(), r#"{"n":1.50}"#);
        assert_eq!(entry.client_time.unwrap().get(), "[1]");
        assert_eq!(entry.client_id.unwrap().get(), "null");
        let members: Vec<_> =
            entry.members.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
        assert_eq!(members, [("further", "1e400")]);
        assert!(serde_json::from_str::<Entry>(r#"{"id":"i"}"#).is_err());
    }
}
