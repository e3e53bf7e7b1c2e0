//! Cursors as clients are given them: a value in hexadecimal digits, with a checksum.
//!
//! A cursor says where to read, never what may be read: that comes with each request, so a forged one shows
//! nothing that a request without it would not. Hence a checksum, against accidents, and no MAC.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec;

/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = 4;

/// A value as text.
pub(super) fn to_text(value: &impl Serialize) -> String {
    let mut bytes = codec::encode(value);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    hex::encode(bytes)
}

/// The value of a text of at most `chars_max` characters; none if [`to_text`] did not give it.
pub(super) fn from_text<T: DeserializeOwned>(text: &str, chars_max: usize) -> Option<T> {
    if text.len() > chars_max {
        return None;
    }
    let bytes = hex::decode(text).ok()?;
    let (value, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    if crc32fast::hash(value).to_be_bytes() != *checksum {
        return None;
    }
    codec::decode(value).ok()
}
