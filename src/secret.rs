//! The secrets of API tokens: `tk_<id>_<64 hexadecimal digits>`.
//!
//! A secret is 256 random bits, made once, shown once, and kept nowhere: what is kept is its SHA-256. A slow
//! hash, as passwords need, would protect nothing: whoever has the hash would have to try 2²⁵⁵ secrets, and
//! every request would pay for it. The id is no secret; it says which token is meant.

use std::fmt;
use std::io;

use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What stands in the place of an id in the tokens that nodes know from their configuration.
pub const OPERATOR: &str = "operator";

/// What every token begins with, so that it can be found where it should not be.
const PREFIX: &str = "tk_";

/// A token as its owner sends it. It is not shown by `Debug`.
pub struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn generate(id: &str) -> io::Result<Self> {
        let mut bytes = [0; 32];
        OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(format!("{PREFIX}{id}_{}", hex::encode(bytes))))
    }

    /// The token's text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Eight random bytes: the id of a new token.
///
/// # Errors
/// If the system gives no randomness.
pub fn new_id() -> io::Result<[u8; 8]> {
    let mut bytes = [0; 8];
    OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The hash of a token's text.
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The id in a token's text, if it looks like one.
pub fn id_of(text: &str) -> Option<&str> {
    let (id, _) = text.strip_prefix(PREFIX)?.rsplit_once('_')?;
    Some(id)
}

/// Whether two hashes are equal, in a time that does not tell where they differ.
pub fn is_equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_id_and_256_random_bits() {
        let one = Secret::generate("00ff00ff00ff00ff").unwrap();
        let other = Secret::generate("00ff00ff00ff00ff").unwrap();
        assert_ne!(one.text(), other.text());
        assert_eq!(id_of(one.text()), Some("00ff00ff00ff00ff"));
        assert_eq!(one.text().len(), 3 + 16 + 1 + 64);
        assert!(one.text().len() <= crate::limits::TOKEN_BYTES_MAX);
        assert!(is_equal(&one.sha256(), &sha256(one.text())));
        assert!(!is_equal(&one.sha256(), &other.sha256()));
        assert_eq!(format!("{one:?}"), "Secret");
    }

    #[test]
    fn what_is_no_token_has_no_id() {
        for text in ["", "tk_", "tk_a", "xx_a_b", "TK_a_b"] {
            assert_eq!(id_of(text), None, "{text}");
        }
        assert_eq!(id_of("tk_operator_00"), Some(OPERATOR));
    }
}
