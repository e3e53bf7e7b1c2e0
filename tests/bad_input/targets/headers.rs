//! `Idempotency-Key`.

use tallykeep::fuzzing;
use tallykeep::limits;

use super::allocation::{TEXT, bounded};
use super::{Verdict, refused};

/// A header's value, which may be any bytes.
pub fn key(value: &[u8]) -> Verdict {
    let key = match bounded(value, TEXT, || fuzzing::idempotency_key(value)) {
        Ok(key) => key,
        Err(error) => return refused(&error, value),
    };
    assert!((1..=limits::IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()));
    assert!(key.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{key:?}");
    // In quotes it is the same key.
    let escaped = key.replace('\\', "\\\\").replace('"', "\\\"");
    assert_eq!(fuzzing::idempotency_key(format!("\"{escaped}\"").as_bytes()), Ok(key));
    Verdict::Taken
}
