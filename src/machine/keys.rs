//! Every key of every table. Numbers are big-endian, so that key order is number order; a part of
//! variable length stands last, so that no delimiter is needed and no two names share a key.
//!
//! | table | key | bytes |
//! |---|---|---|
//! | register | `"machine"`, `"version"`, `"keys"`, `"policies"`, `"tokens"`, `"spaces"` | 4 to 8 |
//! | register (policy) | `"policy"` ‖ namespace ‖ type | 6 + 8 + n |
//! | register (token) | `"token/"` ‖ id | 6 + 8 |
//! | object | namespace ‖ id | 8 + 16 |
//! | cell | namespace ‖ id ‖ identifier | 8 + 16 + n |
//! | alarm (window) | `0` ‖ due ms ‖ cell key | 1 + 8 + 24 + n |
//! | alarm (shard) | `1` ‖ oldest entry's ms ‖ object key | 1 + 8 + 24 |
//! | alarm (idempotency key) | `2` ‖ due ms ‖ key | 1 + 8 + 16 |
//! | alarm (what such a key keeps) | `3` ‖ key | 1 + 16 |
//! | entry | shard ‖ sequence | 8 + 8 |
//! | index | shard ‖ field ‖ term ‖ sequence | 8 + 1 + 8 + 8 |
//! | day | namespace ‖ day | 8 + 4 |
//! | session | session | 8 |
//! | answer | session ‖ sequence | 8 + 8 |

use super::command::Field;
use super::object::{NamespaceId, ObjectRef};
use super::token::TokenId;

/// The machine's registers.
pub const MACHINE: &[u8] = b"machine";
/// The register of the version of commands; without it the log holds those of the first builds.
pub const VERSION: &[u8] = b"version";
/// The register of the idempotency keys; without it there has been none.
pub const KEYS: &[u8] = b"keys";
/// The register of the policies; without it none was ever stored or removed.
pub const POLICIES: &[u8] = b"policies";
/// What the rows of policies begin with.
const POLICY: &[u8] = b"policy";
/// The register of the tokens; without it none was ever stored.
pub const TOKENS: &[u8] = b"tokens";
/// What the rows of tokens begin with; not as [`TOKENS`] does.
const TOKEN: &[u8] = b"token/";
/// The register of what namespaces hold and may hold; without it nothing was counted.
pub const SPACES: &[u8] = b"spaces";

/// What an alarm row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A limiter window that ends at the row's time.
    Window = 0,
    /// A shard whose oldest entry is of the row's time, and is due when the retention is over.
    Shard = 1,
    /// An idempotency key that is forgotten at the row's time.
    Key = 2,
}

/// The first byte of what an idempotency key keeps, behind all alarms.
const KEPT: u8 = 3;

/// Bytes of an object's key.
pub const OBJECT_BYTES: usize = 24;
/// Bytes of an alarm key before what it is about.
pub const ALARM_PREFIX_BYTES: usize = 9;

/// `namespace ‖ id`
pub fn object(object: &ObjectRef) -> Vec<u8> {
    [&object.namespace.0[..], &object.id.0[..]].concat()
}

/// All objects of a namespace, as a range.
pub fn objects(namespace: NamespaceId) -> (Vec<u8>, Vec<u8>) {
    (namespace.0.to_vec(), [&namespace.0[..], &[0xff; OBJECT_BYTES]].concat())
}

/// All objects, as a range.
pub fn all_objects() -> (Vec<u8>, Vec<u8>) {
    (Vec::new(), vec![0xff; OBJECT_BYTES + 1])
}

/// `namespace ‖ id ‖ identifier`
pub fn cell(object: &ObjectRef, identifier: &str) -> Vec<u8> {
    [&object.namespace.0[..], &object.id.0[..], identifier.as_bytes()].concat()
}

/// `"policy" ‖ namespace ‖ type`
pub fn policy(namespace: NamespaceId, type_: &str) -> Vec<u8> {
    [POLICY, &namespace.0, type_.as_bytes()].concat()
}

/// All policies, as a range.
pub fn policies() -> (Vec<u8>, Vec<u8>) {
    // Neither the first byte of a namespace nor what follows it is before or behind this.
    (POLICY.to_vec(), [&POLICY[..POLICY.len() - 1], &[POLICY[POLICY.len() - 1] + 1]].concat())
}

/// The namespace and the type of a row that [`policy`] names.
pub fn split_policy(key: &[u8]) -> Option<(NamespaceId, &str)> {
    let (namespace, type_) = key.strip_prefix(POLICY)?.split_first_chunk()?;
    Some((NamespaceId(*namespace), std::str::from_utf8(type_).ok()?))
}

/// `"token/" ‖ id`
pub fn token(id: TokenId) -> Vec<u8> {
    [TOKEN, &id.0].concat()
}

/// All tokens, as a range.
pub fn tokens() -> (Vec<u8>, Vec<u8>) {
    (TOKEN.to_vec(), [&TOKEN[..TOKEN.len() - 1], &[TOKEN[TOKEN.len() - 1] + 1]].concat())
}

/// The id of a row that [`token`] names.
pub fn split_token(key: &[u8]) -> Option<TokenId> {
    Some(TokenId(key.strip_prefix(TOKEN)?.try_into().ok()?))
}

/// `kind ‖ ms ‖ subject`
pub fn alarm(kind: Alarm, at_ms: u64, subject: &[u8]) -> Vec<u8> {
    [&[kind as u8][..], &at_ms.to_be_bytes(), subject].concat()
}

/// The alarms of `kind` from `from_ms` up to and including `to_ms`, as a range.
pub fn alarms_between(kind: Alarm, from_ms: u64, to_ms: u64) -> (Vec<u8>, Vec<u8>) {
    (alarm(kind, from_ms, &[]), alarm(kind, to_ms.saturating_add(1), &[]))
}

/// `3 ‖ key`
pub fn kept(key: &[u8; 16]) -> Vec<u8> {
    [&[KEPT][..], key].concat()
}

/// What all idempotency keys keep, as a range.
pub fn all_kept() -> (Vec<u8>, Vec<u8>) {
    (vec![KEPT], vec![KEPT + 1])
}

/// The idempotency key of a row that [`kept`] names.
pub fn split_kept(key: &[u8]) -> Option<[u8; 16]> {
    key.strip_prefix(&[KEPT])?.try_into().ok()
}

/// The time in an alarm key, and what it is about.
pub fn split_alarm(key: &[u8]) -> Option<(u64, &[u8])> {
    let ms = key.get(1..ALARM_PREFIX_BYTES)?.try_into().ok()?;
    Some((u64::from_be_bytes(ms), &key[ALARM_PREFIX_BYTES..]))
}

/// `shard ‖ sequence`
pub fn entry(shard: u64, sequence: u64) -> Vec<u8> {
    [shard.to_be_bytes(), sequence.to_be_bytes()].concat()
}

/// All entries of a shard, as a range.
pub fn entries(shard: u64) -> (Vec<u8>, Vec<u8>) {
    (shard.to_be_bytes().to_vec(), (shard + 1).to_be_bytes().to_vec())
}

/// The sequence number at the end of an entry's or an index row's key.
pub fn sequence(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk::<8>()?))
}

/// `shard ‖ field ‖ term ‖ sequence`
pub fn index(shard: u64, field: Field, term: u64, sequence: u64) -> Vec<u8> {
    [&shard.to_be_bytes()[..], &[field as u8], &term.to_be_bytes(), &sequence.to_be_bytes()]
        .concat()
}

/// `namespace ‖ day`
pub fn day(namespace: NamespaceId, day: u32) -> Vec<u8> {
    [&namespace.0[..], &day.to_be_bytes()].concat()
}

/// `session`
pub fn session(session: u64) -> Vec<u8> {
    session.to_be_bytes().to_vec()
}

/// `session ‖ sequence`
pub fn answer(session: u64, sequence: u64) -> Vec<u8> {
    entry(session, sequence)
}

/// All answers of a session, as a range.
pub fn answers(session: u64) -> (Vec<u8>, Vec<u8>) {
    entries(session)
}
