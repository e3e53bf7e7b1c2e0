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
    assert!((1..=limits::IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.name.len()));
    assert!(key.name.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{key:?}");
    assert!(key.ttl_s.is_none_or(|ttl_s| (1..=limits::IDEMPOTENCY_TTL_S_MAX).contains(&ttl_s)));
    // In quotes it is the same key.
    let escaped = key.name.replace('\\', "\\\\").replace('"', "\\\"");
    let ttl = key.ttl_s.map(|ttl_s| format!(";ttl={ttl_s}")).unwrap_or_default();
    assert_eq!(fuzzing::idempotency_key(format!("\"{escaped}\"{ttl}").as_bytes()), Ok(key));
    Verdict::Taken
}
