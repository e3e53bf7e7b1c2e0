//! Cursors: where a query goes on.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::filter::{Filter, Scope};
use super::opaque;
use crate::error::{Error, Result};
use crate::{codec, limits};

/// A position between two entries, in the query that it was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The query's scope and filter: see [`fingerprint`].
    query: [u8; 8],
    /// Where the query goes on.
    pub(super) position: Position,
}

/// A position between two entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The shard's day, if the query runs over shards by date.
    pub day: Option<u32>,
    /// The shard's number.
    pub shard: u64,
    /// The boundary in the shard, as [`super::Order::before`] makes it.
    pub boundary: u64,
}

impl Cursor {
    /// The cursor for the rest of a query.
    pub(super) fn new(scope: &Scope, filter: &Filter, position: Position) -> Self {
        Self { query: fingerprint(scope, filter), position }
    }

    /// Reads the cursor that a page of this very query gave; only `limit` may differ.
    ///
    /// # Errors
    /// `bad_cursor` if it is no cursor, or one of another query.
    pub fn parse(text: &str, scope: &Scope, filter: &Filter) -> Result<Self> {
        let cursor = opaque::from_text::<Self>(text, limits::CURSOR_CHARS_MAX)
            .ok_or_else(|| bad("cursor is not one that a page of this query has given"))?;
        let of_a_day = matches!(scope, Scope::Namespace(_));
        if cursor.query != fingerprint(scope, filter) || cursor.position.day.is_some() != of_a_day {
            return Err(bad(
                "cursor belongs to a query with another scope, other filters or another order",
            ));
        }
        Ok(cursor)
    }

    /// The cursor's text: hexadecimal digits.
    pub(super) fn to_text(&self) -> String {
        opaque::to_text(self)
    }
}

/// What tells one query from another: 8 bytes of the SHA-256 of its scope and filter.
fn fingerprint(scope: &Scope, filter: &Filter) -> [u8; 8] {
    // The object's name is left out: by name or by id, it is the same shard.
    let place = match scope {
        Scope::Namespace(namespace) => (*namespace, None),
        Scope::Object(object) => (object.namespace, Some(object.id)),
    };
    *Sha256::digest(codec::encode(&(place, filter))).first_chunk().expect("a digest has 32 bytes")
}

fn bad(message: &str) -> Error {
    Error::invalid("bad_cursor", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{NamespaceId, ObjectId, ObjectRef};
    use crate::query::Order;

    fn object(name: Option<&str>) -> Scope {
        let (namespace, id) = (NamespaceId([1; 8]), ObjectId([2; 16]));
        Scope::Object(ObjectRef { namespace, id, name: name.map(str::to_owned) })
    }

    #[test]
    fn is_for_its_own_query_alone() {
        let filter = Filter { type_: Some("a".into()), ..Filter::default() };
        let position = Position { day: None, shard: 7, boundary: u64::MAX };
        let text = Cursor::new(&object(None), &filter, position).to_text();
        // By name or by id, it is the same shard.
        let cursor = Cursor::parse(&text, &object(Some("2024-01-15")), &filter).unwrap();
        assert_eq!(cursor.position, position);

        let others = [
            (object(None), Filter { order: Order::Asc, ..filter.clone() }),
            (object(None), Filter { action: Some("a".into()), ..Filter::default() }),
            (object(None), Filter { start_ms: Some(0), ..filter.clone() }),
            (Scope::Namespace(NamespaceId([1; 8])), filter.clone()),
        ];
        for (scope, filter) in others {
            assert_eq!(Cursor::parse(&text, &scope, &filter).unwrap_err().code, "bad_cursor");
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let filter = Filter::default();
        let position = Position { day: None, shard: 1, boundary: 2 };
        let text = Cursor::new(&object(None), &filter, position).to_text();
        for at in 0..text.len() {
            let mut changed = text.clone();
            let digit = if changed.as_bytes()[at] == b'0' { "1" } else { "0" };
            changed.replace_range(at..=at, digit);
            assert!(Cursor::parse(&changed, &object(None), &filter).is_err(), "{changed}");
        }
        for text in ["", "é", "zz", &text[2..], &text[..text.len() - 2], &"0".repeat(10_000)] {
            assert!(Cursor::parse(text, &object(None), &filter).is_err(), "{text}");
        }
    }

    /// A cursor with a right checksum but without a day cannot go on over shards by date.
    #[test]
    fn a_position_must_suit_its_scope() {
        let (scope, filter) = (Scope::Namespace(NamespaceId([1; 8])), Filter::default());
        let position = Position { day: None, shard: 1, boundary: 2 };
        let text = Cursor::new(&scope, &filter, position).to_text();
        assert_eq!(Cursor::parse(&text, &scope, &filter).unwrap_err().code, "bad_cursor");
    }
}
