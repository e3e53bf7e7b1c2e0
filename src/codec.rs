//! The one place that knows how values become bytes: bincode 2, little-endian, variable-length
//! integers, led by a version byte.
//!
//! A value of another version than this build knows is refused, never guessed at. Decoding is
//! bounded: a length inside a value that claims far more than the value's own bytes is an error and
//! not an allocation.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;

/// The version of everything that this build writes: stored values, log entries and frames.
pub const VERSION: u8 = 2;

const CONFIG: bincode::config::Configuration = bincode::config::standard();

/// A value of at most so many bytes may claim [`SMALL_CLAIM`], one of up to [`MEDIUM`] may claim
/// [`MEDIUM_CLAIM`], and a larger one what a frame holds. bincode counts a number of one byte as the
/// eight that it may have, so a claim has to be allowed more than what is there.
const SMALL: usize = 4 * 1024;
const SMALL_CLAIM: usize = 16 * SMALL;
const MEDIUM: usize = 256 * 1024;
const MEDIUM_CLAIM: usize = 16 * MEDIUM;

/// Encodes `value` behind the version byte.
///
/// # Panics
/// If `value` cannot be encoded, which no type of ours can cause: all have a known length.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_as(VERSION, value)
}

/// Encodes `value` behind a version byte of its own.
///
/// # Panics
/// As [`encode`].
pub fn encode_as<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    // Most values, a limiter's cell among them, fit without growing.
    let mut bytes = Vec::with_capacity(64);
    bytes.push(version);
    encode_into(value, &mut bytes);
    bytes
}

/// Appends `value`, without a version byte, to `bytes`.
pub fn encode_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, bytes, CONFIG).expect("our own types encode");
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// `InvalidData` if the version is not this build's or the bytes are not such a value,
/// bytes left over included.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    decode_as(VERSION, bytes)
}

/// Decodes what [`encode_as`] wrote with this version.
///
/// # Errors
/// As [`decode`].
pub fn decode_as<T: DeserializeOwned>(known: u8, bytes: &[u8]) -> io::Result<T> {
    let (version, body) = bytes.split_first().ok_or_else(|| invalid("an empty value"))?;
    if *version != known {
        return Err(invalid(format!(
            "a value of version {version}, this build knows version {known}"
        )));
    }
    let decoded = if body.len() <= SMALL {
        decode_within::<T, SMALL_CLAIM>(body)
    } else if body.len() <= MEDIUM {
        decode_within::<T, MEDIUM_CLAIM>(body)
    } else {
        decode_within::<T, { limits::FRAME_BYTES_MAX }>(body)
    };
    let (value, read) = decoded.map_err(|error| invalid(format!("undecodable value: {error}")))?;
    if read != body.len() {
        return Err(invalid(format!("{} bytes left over behind a value", body.len() - read)));
    }
    Ok(value)
}

/// Decodes a value that may claim `LIMIT` bytes: bincode knows limits only as constants.
fn decode_within<T: DeserializeOwned, const LIMIT: usize>(
    body: &[u8],
) -> Result<(T, usize), bincode::error::DecodeError> {
    bincode::serde::decode_from_slice(body, CONFIG.with_limit::<LIMIT>())
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_newer_versions_and_trailing_bytes() {
        let mut bytes = encode(&(7u64, "seven".to_owned()));
        assert_eq!(decode::<(u64, String)>(&bytes).unwrap(), (7, "seven".to_owned()));
        bytes.push(0);
        assert!(decode::<(u64, String)>(&bytes).is_err());
        bytes.pop();
        bytes[0] = VERSION + 1;
        assert!(decode::<(u64, String)>(&bytes).unwrap_err().to_string().contains("version 3"));
        assert!(decode::<u64>(&[]).is_err());
    }

    #[test]
    fn a_claimed_length_does_not_allocate() {
        // A string of 2^62 bytes, says its length.
        let mut bytes = vec![VERSION, 253];
        bytes.extend_from_slice(&(1u64 << 62).to_le_bytes());
        assert!(decode::<String>(&bytes).is_err());
    }
}
