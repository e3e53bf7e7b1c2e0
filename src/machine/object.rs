//! Objects and their ids, as workerd computes them.
//!
//! A namespace is known by its unique key, `{script_name}-{class_name}` of the binding. With
//! `k = SHA-256(uniqueKey)`, the id of `name` is `b ‖ HMAC-SHA256(k, b)[0..16]` where
//! `b = HMAC-SHA256(k, name)[0..16]`. So 16 bytes identify an object and the other 16 check them.

use std::io;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::keys;
use super::quota::KEY_BYTES;
use super::table::{Table, View};
use crate::codec;

/// A namespace of objects: the first 8 bytes of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamespaceId(pub [u8; 8]);

/// The half of an object's id that identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId(pub [u8; 16]);

/// An object, as a command names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The namespace it is in.
    pub namespace: NamespaceId,
    /// Its id in the namespace.
    pub id: ObjectId,
    /// Its name, unless it is known by its id alone.
    pub name: Option<String>,
}

/// The key of a namespace, from which object ids are derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    key: [u8; 32],
}

impl Namespace {
    /// The namespace with the unique key `{script_name}-{class_name}`.
    pub fn new(unique_key: &str) -> Self {
        Self::from_key(Sha256::digest(unique_key.as_bytes()).into())
    }

    /// The namespace with the key `SHA-256(uniqueKey)`.
    pub fn from_key(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// `SHA-256(uniqueKey)`.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The namespace's id.
    pub fn id(&self) -> NamespaceId {
        NamespaceId(*self.key.first_chunk().expect("a key has 32 bytes"))
    }

    /// The object of `name`: workerd's `idFromName`.
    pub fn object(&self, name: &str) -> ObjectRef {
        ObjectRef {
            namespace: self.id(),
            id: ObjectId(self.mac(name.as_bytes())),
            name: Some(name.to_owned()),
        }
    }

    /// The object of 64 hexadecimal digits in either case: workerd's `idFromString`.
    ///
    /// `None` unless they are an id of this namespace.
    pub fn object_from_hex(&self, digits: &str) -> Option<ObjectRef> {
        let bytes: [u8; 32] = hex::decode(digits).ok()?.try_into().ok()?;
        let (id, check) = bytes.split_first_chunk::<16>()?;
        (check == self.mac(id)).then_some(ObjectRef {
            namespace: self.id(),
            id: ObjectId(*id),
            name: None,
        })
    }

    /// The 64 hexadecimal digits of an object's id.
    pub fn hex(&self, id: ObjectId) -> String {
        hex::encode([id.0, self.mac(&id.0)].concat())
    }

    fn mac(&self, data: &[u8]) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any key length does");
        mac.update(data);
        *mac.finalize().into_bytes().first_chunk().expect("a MAC has 32 bytes")
    }
}

/// What is stored of an object beside its cells or entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// Its name, if a command gave it.
    pub name: Option<String>,
    /// When it was first used, in ms since the Unix epoch.
    pub created_ms: u64,
    /// What it holds.
    pub state: ObjectState,
}

/// What an object holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectState {
    /// A limiter. It goes with its last cell.
    Limiter {
        /// How many cells it has: identifiers that are being counted.
        cells: u64,
    },
    /// An audit shard. It goes with its last entry.
    Shard(Shard),
    /// A limiter as it is written from [`super::VERSION_QUOTAS`] on.
    Measured(Measured),
}

/// A limiter whose identifiers are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// How many cells it has: identifiers that are being counted.
    pub cells: u64,
    /// How many of them are in `identifier_bytes`. Those of a build that measured none are once their
    /// alarms have rung.
    pub measured: u64,
    /// Bytes of the identifiers.
    pub identifier_bytes: u64,
}

impl Measured {
    /// What the limiter takes. See [`super::quota`].
    pub fn bytes(&self) -> u64 {
        self.cells.saturating_mul(KEY_BYTES).saturating_add(self.identifier_bytes)
    }

    /// The same, if all of its identifiers are measured.
    pub fn bytes_if_known(&self) -> Option<u64> {
        (self.measured == self.cells).then(|| self.bytes())
    }
}

impl ObjectState {
    /// What the object takes, as far as it is measured. See [`super::quota`].
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Limiter { .. } | Self::Measured(_) => {
                self.limiter().map_or(0, |limiter| limiter.bytes())
            }
            Self::Shard(shard) => shard.bytes_taken(),
        }
    }

    /// The limiter, if it is one.
    pub fn limiter(&self) -> Option<Measured> {
        match self {
            Self::Limiter { cells } => Some(Measured { cells: *cells, ..Measured::default() }),
            Self::Measured(measured) => Some(*measured),
            Self::Shard(_) => None,
        }
    }
}

/// At most `limit` objects of a namespace, as `view` shows them.
///
/// # Errors
/// If the view cannot be read or is damaged.
pub fn in_namespace(
    view: &dyn View,
    namespace: NamespaceId,
    limit: usize,
) -> io::Result<Vec<ObjectRecord>> {
    let (from, to) = keys::objects(namespace);
    let rows = view.scan(Table::Object, &from, &to, limit)?;
    rows.iter().map(|(_, value)| codec::decode(value)).collect()
}

/// An audit shard: entries with dense sequence numbers and times that never decrease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The number under which its entries are kept; never used again.
    pub number: u64,
    /// Its day, if it is one of the shards by date, in days since the Unix epoch.
    pub day: Option<u32>,
    /// The first entry that is still there.
    pub first_sequence: u64,
    /// The number of the next entry.
    pub next_sequence: u64,
    /// The time of the first entry that is still there, in ms since the Unix epoch.
    pub first_ms: u64,
    /// The time of the last entry, in ms since the Unix epoch.
    pub last_ms: u64,
    /// Bytes of its entries' bodies.
    pub bytes: u64,
}

impl Shard {
    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.next_sequence.saturating_sub(self.first_sequence)
    }

    /// What the shard takes. See [`super::quota`].
    pub fn bytes_taken(&self) -> u64 {
        self.entries().saturating_mul(KEY_BYTES).saturating_add(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a value computed with Python's `hashlib` and `hmac`.
    #[test]
    fn an_id_is_what_its_construction_says() {
        let namespace = Namespace::new("wix-gamma-integration-RateLimiter");
        let object = namespace.object("wix:192.168.1.1");
        let digits = namespace.hex(object.id);
        assert_eq!(digits, "97c9927a7487caac96de21bc414588dfacf7f543e6239705cfc26f8c354fae36");
        let found = namespace.object_from_hex(&digits.to_uppercase()).unwrap();
        assert_eq!((found.id, found.name), (object.id, None));
    }

    #[test]
    fn an_id_of_another_namespace_is_refused() {
        let (one, other) = (Namespace::new("a-RateLimiter"), Namespace::new("b-RateLimiter"));
        let digits = one.hex(one.object("x").id);
        assert!(other.object_from_hex(&digits).is_none());
        assert!(one.object_from_hex(&"0".repeat(64)).is_none());
        assert!(one.object_from_hex("abc").is_none());
        assert!(one.object_from_hex(&"é".repeat(32)).is_none());
    }
}
