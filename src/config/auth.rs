//! `[auth]`: that clients need API tokens, and which this node knows without its cluster.

use serde::{Deserialize, Deserializer};

use super::check;

/// How many operators' tokens may be in force at once: each is compared with what an operator sends.
const OPERATORS_MAX: usize = 8;

/// Where this table is, clients need tokens.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// The SHA-256 of operators' tokens, which may do everything: with one of them the first tokens are made,
    /// and a cluster without a leader is looked into. In the file hexadecimal digits, as
    /// `tallykeep tokens operator` prints them.
    #[serde(deserialize_with = "hashes")]
    pub operator_sha256: Vec<[u8; 32]>,
}

impl AuthSettings {
    pub(super) fn validate(&self) -> Result<(), String> {
        let hashes = &self.operator_sha256;
        check((1..=OPERATORS_MAX).contains(&hashes.len()), || {
            format!("auth.operator_sha256 must be 1 to {OPERATORS_MAX} hashes")
        })?;
        let mut distinct = hashes.clone();
        distinct.sort_unstable();
        distinct.dedup();
        check(distinct.len() == hashes.len(), || {
            "auth.operator_sha256: a hash is there twice".into()
        })
    }
}

fn hashes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<[u8; 32]>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read = |text: &String| -> Result<[u8; 32], D::Error> {
        hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
            serde::de::Error::custom("a hash is 64 hexadecimal digits, and not the token itself")
        })
    };
    texts.iter().map(read).collect()
}
