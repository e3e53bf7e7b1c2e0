//! API tokens: who may do what at the nodes' ports for clients.
//!
//! The machine keeps what a token may do, and the SHA-256 of its secret. The secret itself is made by the
//! node that is asked for a token, and never comes here. Whether a request may pass is for the front door to
//! say.
//!
//! Invariants:
//! - [`TokensRecord::tokens`] is the number of rows.
//! - [`TokensRecord::changes`] grows with every change of a row: who knows it knows whether what was read
//!   before still holds.
//! - No two tokens that are in force at one time have the same name.
//!
//! How often a token may ask is stored behind what all tokens have, under a version byte of its own: the
//! rows of tokens that may ask as often as they like are those of the builds that knew no other.

use std::io;

use serde::{Deserialize, Serialize};

use super::keys;
use super::outcome::{Outcome, Refusal};
use super::table::{Overlay, Row, Table, View};
use super::version::VERSION_CREDITS;
use crate::codec;
use crate::limits;

/// What tells a token from all others. It is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub [u8; 8]);

/// What a token may be used for: a set, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes(pub u8);

impl Scopes {
    /// Checks and resets.
    pub const CHECK: Self = Self(1);
    /// New entries of audit logs.
    pub const LOG: Self = Self(2);
    /// Entries, exports, metrics, and how the cluster is.
    pub const READ: Self = Self(4);
    /// Everything under `/admin`.
    pub const ADMIN: Self = Self(8);
    /// All of them.
    pub const ALL: Self = Self(15);

    /// Each, with its name.
    pub const NAMES: [(&str, Self); 4] =
        [("check", Self::CHECK), ("log", Self::LOG), ("read", Self::READ), ("admin", Self::ADMIN)];

    /// What is in one of the two.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether something is in both.
    pub fn has_any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// The names of what is in it.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(_, one)| self.has_any_of(*one)).map(|(name, _)| name)
    }
}

/// What a token is made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What people call it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// For which bindings; for all if there is none.
    pub bindings: Vec<String>,
    /// For objects whose names begin with one of these; for all if there is none.
    pub name_prefixes: Vec<String>,
    /// From when on it is nothing any more, in ms since the Unix epoch.
    pub expires_ms: Option<u64>,
    /// The SHA-256 of the secret, as clients send it.
    pub sha256: [u8; 32],
}

impl Token {
    /// Whether it is nothing any more at `now_ms`.
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms)
    }
}

/// A token that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// What it is.
    pub token: Token,
}

/// The same, of a token that may ask only so often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitedToken {
    /// What is to be stored.
    pub new: NewToken,
    /// Requests that each node takes from it in a second, at least 1.
    pub requests_per_second: u32,
}

/// What is stored of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// What it is.
    pub token: Token,
    /// When it was stored, in ms since the Unix epoch.
    pub created_ms: u64,
    /// Requests that each node takes from it in a second; as many as come if there is none.
    pub requests_per_second: Option<u32>,
}

impl TokenRecord {
    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let of_all = (&self.token, self.created_ms);
        match self.requests_per_second {
            None => codec::encode(&of_all),
            Some(requests_per_second) => {
                codec::encode_as(VERSION_CREDITS, &(of_all, requests_per_second))
            }
        }
    }

    /// The record in a row's value.
    ///
    /// # Errors
    /// `InvalidData` if it is none.
    pub fn decode(value: &[u8]) -> io::Result<Self> {
        let ((token, created_ms), requests_per_second) = match value.first() {
            Some(&VERSION_CREDITS) => {
                let (of_all, requests_per_second) = codec::decode_as(VERSION_CREDITS, value)?;
                (of_all, Some(requests_per_second))
            }
            _ => (codec::decode(value)?, None),
        };
        Ok(Self { token, created_ms, requests_per_second })
    }
}

/// What is stored of all tokens together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensRecord {
    /// How many there are, those included that are over.
    pub tokens: u64,
    /// How often one was stored or revoked.
    pub changes: u64,
}

/// A row: a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// Its id.
    pub id: TokenId,
    /// What is stored of it.
    pub record: TokenRecord,
}

impl TokensRecord {
    pub(super) fn load(view: &dyn View) -> io::Result<Self> {
        let value = view.get(Table::Register, keys::TOKENS)?;
        Ok(value.map(|value| codec::decode(&value)).transpose()?.unwrap_or_default())
    }

    /// Stores a token. Those that are over give up their names and their places.
    pub(super) fn create(
        &mut self,
        rows: &mut Overlay,
        now_ms: u64,
        new: &NewToken,
        requests_per_second: Option<u32>,
    ) -> io::Result<Outcome> {
        let (from, to) = keys::tokens();
        let all = read(rows.scan(Table::Register, &from, &to, usize::MAX)?)?;
        let (over, live): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|stored| stored.record.token.is_over(now_ms));
        let is_taken =
            |one: &StoredToken| one.id == new.id || one.record.token.name == new.token.name;
        if live.iter().any(is_taken) {
            return Ok(Outcome::Refused(Refusal::TokenExists));
        }
        if live.len() as u64 >= limits::TOKENS_MAX {
            return Ok(Outcome::Refused(Refusal::TokensFull));
        }
        for stored in over {
            rows.delete(Table::Register, keys::token(stored.id));
        }
        let (token, created_ms) = (new.token.clone(), now_ms);
        let record = TokenRecord { token, created_ms, requests_per_second };
        rows.put(Table::Register, keys::token(new.id), record.encode());
        self.tokens = live.len() as u64 + 1;
        self.changed(rows);
        Ok(Outcome::TokenCreated { created_ms: now_ms })
    }

    /// Removes a token.
    pub(super) fn revoke(&mut self, rows: &mut Overlay, id: TokenId) -> io::Result<Outcome> {
        let key = keys::token(id);
        let existed = rows.get(Table::Register, &key)?.is_some();
        if existed {
            rows.delete(Table::Register, key);
            self.tokens -= 1;
            self.changed(rows);
        }
        Ok(Outcome::TokenRevoked { existed })
    }

    fn changed(&mut self, rows: &mut Overlay) {
        self.changes += 1;
        rows.put(Table::Register, keys::TOKENS.to_vec(), codec::encode(self));
    }
}

/// All tokens that `view` shows, by id; those included that are over.
///
/// # Errors
/// If the view cannot be read or is damaged.
pub fn list(view: &dyn View) -> io::Result<Vec<StoredToken>> {
    let (from, to) = keys::tokens();
    read(view.scan(Table::Register, &from, &to, usize::MAX)?)
}

fn read(rows: Vec<Row>) -> io::Result<Vec<StoredToken>> {
    let stored = rows.into_iter().map(|(key, value)| {
        let id = keys::split_token(&key).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the state is damaged: a token's key")
        })?;
        Ok(StoredToken { id, record: TokenRecord::decode(&value)? })
    });
    stored.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::memory::Memory;

    #[test]
    fn tokens_are_bounded_and_those_that_are_over_make_room() {
        let view = Memory::default();
        let mut rows = Overlay::new(&view);
        let mut all = TokensRecord::default();
        let mut create = |number: u64, name: &str, now_ms, expires_ms| {
            let token = Token {
                name: name.to_owned(),
                scopes: Scopes::CHECK,
                bindings: Vec::new(),
                name_prefixes: Vec::new(),
                expires_ms,
                sha256: [7; 32],
            };
            let new = NewToken { id: TokenId(number.to_be_bytes()), token };
            all.create(&mut rows, now_ms, &new, None).unwrap()
        };
        let created = |created_ms| Outcome::TokenCreated { created_ms };
        for number in 0..limits::TOKENS_MAX {
            let expires_ms = (number < 3).then_some(100);
            assert_eq!(create(number, &number.to_string(), 5, expires_ms), created(5));
        }
        let full = Outcome::Refused(Refusal::TokensFull);
        assert_eq!(create(5000, "new", 99, None), full);
        // A name is taken before there is no room.
        let exists = Outcome::Refused(Refusal::TokenExists);
        assert_eq!(create(5000, "7", 99, None), exists);
        assert_eq!(create(7, "new", 99, None), exists, "an id too");
        assert_eq!(create(5000, "0", 100, None), created(100), "the name of one that is over");
        assert_eq!(create(5001, "1", 100, None), created(100));
        assert_eq!(create(5002, "2", 100, None), created(100));
        assert_eq!(create(5003, "3000", 100, None), full);
        let most = limits::TOKENS_MAX;
        assert_eq!(all, TokensRecord { tokens: most, changes: most + 3 });
        let revoked = all.revoke(&mut rows, TokenId(5001u64.to_be_bytes())).unwrap();
        assert_eq!(revoked, Outcome::TokenRevoked { existed: true });
        let again = all.revoke(&mut rows, TokenId(5001u64.to_be_bytes())).unwrap();
        assert_eq!(again, Outcome::TokenRevoked { existed: false });
        assert_eq!(all, TokensRecord { tokens: most - 1, changes: most + 4 });
    }

    #[test]
    fn a_record_is_read_as_it_was_written_also_by_the_builds_before() {
        let token = Token {
            name: "n".to_owned(),
            scopes: Scopes::CHECK,
            bindings: Vec::new(),
            name_prefixes: vec!["p".to_owned()],
            expires_ms: Some(3),
            sha256: [7; 32],
        };
        let record = TokenRecord { token, created_ms: 5, requests_per_second: None };
        let limited = TokenRecord { requests_per_second: Some(9), ..record.clone() };
        for record in [&record, &limited] {
            assert_eq!(TokenRecord::decode(&record.encode()).unwrap(), *record);
        }
        // As a structure of these two was.
        assert_eq!(record.encode(), codec::encode(&(&record.token, 5u64)));
        let mut cut = limited.encode();
        cut.pop();
        let mut of_another_version = limited.encode();
        of_another_version[0] = VERSION_CREDITS + 1;
        for bad in [&[][..], &cut, &of_another_version, &[VERSION_CREDITS]] {
            assert!(TokenRecord::decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn scopes_have_names() {
        assert_eq!(Scopes::ALL.names().collect::<Vec<_>>(), ["check", "log", "read", "admin"]);
        let some = Scopes::CHECK.and(Scopes::ADMIN);
        assert_eq!(some.names().collect::<Vec<_>>(), ["check", "admin"]);
        assert!(some.has_any_of(Scopes::ADMIN.and(Scopes::READ)));
        assert!(!some.has_any_of(Scopes::LOG.and(Scopes::READ)));
    }
}
