//! The tokens in memory, as requests are judged by them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use tokio::time::Instant;

use super::pace::Pace;
use crate::limits;
use crate::machine::{Scopes, StoredToken, Token, TokenId};
use crate::secret;

/// Who sent a request.
#[derive(Debug)]
pub(super) struct Bearer {
    /// The token's id, or [`secret::OPERATOR`].
    pub(super) id: String,
    pub(super) token: Token,
    /// What it may ask in a second, if that is bounded.
    requests_per_second: Option<u32>,
    pace: Option<Pace>,
}

impl Bearer {
    fn new(id: String, token: Token, requests_per_second: Option<u32>) -> Self {
        Self { id, token, requests_per_second, pace: requests_per_second.map(Pace::new) }
    }

    /// Takes one of the requests that the token may ask now.
    ///
    /// # Errors
    /// If there is none left: how many it may ask in a second.
    pub(super) fn take(&self) -> Result<(), u32> {
        match (&self.pace, self.requests_per_second) {
            (Some(pace), Some(most)) if !pace.take(Instant::now()) => Err(most),
            _ => Ok(()),
        }
    }
}

/// Why a request has no bearer. The client is told the same of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It has no `Authorization`.
    Missing,
    /// There is no such token (any more), or it is none.
    Invalid,
    /// The token is over.
    Expired,
}

/// What a request's token was looked up as.
#[derive(Debug)]
pub(super) enum Found {
    /// It is from this node's configuration.
    Operator(Arc<Bearer>),
    /// It is from the cluster's state.
    Stored(Arc<Bearer>),
}

/// The tokens of the configuration, and those of the state as far as it is applied here.
pub(super) struct Table {
    operators: Vec<Arc<Bearer>>,
    stored: RwLock<HashMap<TokenId, Arc<Bearer>>>,
    /// Held while the state is read, so that an older one never takes the place of a newer one.
    replacing: Mutex<()>,
}

impl Table {
    /// The operators' tokens with these hashes, and no others yet.
    pub(super) fn new(operators: &[[u8; 32]]) -> Self {
        let bearer = |sha256: &[u8; 32]| {
            let token = Token {
                // Which of several it is: the beginning of what the configuration has.
                name: format!("{}-{}", secret::OPERATOR, hex::encode(&sha256[..4])),
                scopes: Scopes::ALL,
                bindings: Vec::new(),
                name_prefixes: Vec::new(),
                expires_ms: None,
                sha256: *sha256,
            };
            Arc::new(Bearer::new(secret::OPERATOR.to_owned(), token, None))
        };
        Self {
            operators: operators.iter().map(bearer).collect(),
            stored: RwLock::default(),
            replacing: Mutex::default(),
        }
    }

    /// Replaces the tokens of the state by what `read` gives. One that stays as it is has taken what it has
    /// taken.
    pub(super) fn replace<E>(
        &self,
        read: impl FnOnce() -> Result<Vec<StoredToken>, E>,
    ) -> Result<(), E> {
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.stored.read().unwrap_or_else(PoisonError::into_inner).clone();
        let bearers = read()?.into_iter().map(|StoredToken { id, record }| {
            let (token, rate) = (record.token, record.requests_per_second);
            let same = before
                .get(&id)
                .filter(|known| known.token == token && known.requests_per_second == rate);
            let bearer = same.cloned();
            (id, bearer.unwrap_or_else(|| Arc::new(Bearer::new(hex::encode(id.0), token, rate))))
        });
        let bearers = bearers.collect();
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        *stored = bearers;
        Ok(())
    }

    /// Whose token a request has. `now_ms` is asked only of a token that has an end.
    pub(super) fn find(
        &self,
        headers: &HeaderMap,
        now_ms: impl FnOnce() -> u64,
    ) -> Result<Found, Unknown> {
        let text = bearer(headers)?;
        // Before anything is looked up, so that each takes the same time.
        let sha256 = secret::sha256(text);
        let id = secret::id_of(text).ok_or(Unknown::Invalid)?;
        if id == secret::OPERATOR {
            let mut found = None;
            for operator in &self.operators {
                if secret::is_equal(&operator.token.sha256, &sha256) {
                    found = Some(operator);
                }
            }
            return found.cloned().map(Found::Operator).ok_or(Unknown::Invalid);
        }
        let mut bytes = [0; 8];
        hex::decode_to_slice(id, &mut bytes).map_err(|_| Unknown::Invalid)?;
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let bearer = stored.get(&TokenId(bytes)).cloned().ok_or(Unknown::Invalid)?;
        drop(stored);
        if !secret::is_equal(&bearer.token.sha256, &sha256) {
            return Err(Unknown::Invalid);
        }
        if bearer.token.expires_ms.is_some() && bearer.token.is_over(now_ms()) {
            return Err(Unknown::Expired);
        }
        Ok(Found::Stored(bearer))
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Unknown> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Unknown::Missing)?;
    if values.next().is_some() {
        return Err(Unknown::Invalid);
    }
    let text = value.to_str().map_err(|_| Unknown::Invalid)?;
    let (scheme, token) = text.split_once(' ').ok_or(Unknown::Invalid)?;
    let token = token.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.len() > limits::TOKEN_BYTES_MAX {
        return Err(Unknown::Invalid);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::machine::token::TokenRecord;
    use crate::secret::Secret;

    fn stored(id: [u8; 8], secret: &Secret, expires_ms: Option<u64>) -> StoredToken {
        let token = Token {
            name: "n".to_owned(),
            scopes: Scopes::CHECK,
            bindings: Vec::new(),
            name_prefixes: Vec::new(),
            expires_ms,
            sha256: secret.sha256(),
        };
        let record = TokenRecord { token, created_ms: 1, requests_per_second: None };
        StoredToken { id: TokenId(id), record }
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    fn id(found: Result<Found, Unknown>) -> Result<String, Unknown> {
        found.map(|found| match found {
            Found::Operator(bearer) | Found::Stored(bearer) => bearer.id.clone(),
        })
    }

    #[test]
    fn a_token_is_known_by_its_hash_until_it_is_over_or_gone() {
        let operator = Secret::generate(secret::OPERATOR).unwrap();
        let table = Table::new(&[[0; 32], operator.sha256()]);
        let secret = Secret::generate(&hex::encode([1; 8])).unwrap();
        let find =
            |text: &str, now_ms| id(table.find(&headers(&[&format!("Bearer {text}")]), || now_ms));
        assert_eq!(find(operator.text(), 0).unwrap(), "operator");
        assert_eq!(find(secret.text(), 0), Err(Unknown::Invalid));
        let replace = |all: Vec<StoredToken>| table.replace(|| Ok::<_, Infallible>(all)).unwrap();
        replace(vec![stored([1; 8], &secret, Some(100)), stored([2; 8], &operator, None)]);
        assert_eq!(find(secret.text(), 99).unwrap(), "0101010101010101");
        assert_eq!(find(secret.text(), 100), Err(Unknown::Expired));
        // Another secret of the same id, and the right one of another id.
        let other = Secret::generate(&hex::encode([1; 8])).unwrap();
        assert_eq!(find(other.text(), 0), Err(Unknown::Invalid));
        let digits = secret.text().rsplit_once('_').unwrap().1;
        for wrong in [
            format!("tk_{}_{digits}", hex::encode([2; 8])),
            format!("tk_operator_{digits}"),
            format!("tk__{digits}"),
            format!("tk_01_{digits}"),
            secret.text().to_uppercase(),
            format!("{}0", secret.text()),
        ] {
            assert_eq!(find(&wrong, 0), Err(Unknown::Invalid), "{wrong}");
        }
        replace(Vec::new());
        assert_eq!(find(secret.text(), 0), Err(Unknown::Invalid));
        assert_eq!(find(operator.text(), 0).unwrap(), "operator");
    }

    #[test]
    fn what_a_token_has_taken_outlives_changes_of_others() {
        let table = Table::new(&[]);
        let secret = Secret::generate(&hex::encode([1; 8])).unwrap();
        let header = headers(&[&format!("Bearer {}", secret.text())]);
        let replace = |all: Vec<StoredToken>| table.replace(|| Ok::<_, Infallible>(all)).unwrap();
        let limited = |rate| {
            let mut stored = stored([1; 8], &secret, None);
            stored.record.requests_per_second = rate;
            stored
        };
        let take = || match table.find(&header, || 0).unwrap() {
            Found::Operator(bearer) | Found::Stored(bearer) => bearer.take(),
        };
        replace(vec![limited(Some(1))]);
        assert_eq!(take(), Ok(()));
        let other = Secret::generate(&hex::encode([2; 8])).unwrap();
        replace(vec![limited(Some(1)), stored([2; 8], &other, None)]);
        assert_eq!(take(), Err(1), "the same token");
        replace(vec![limited(Some(2))]);
        assert_eq!((take(), take(), take()), (Ok(()), Ok(()), Err(2)), "another rate");
        replace(vec![limited(None)]);
        for _ in 0..100 {
            assert_eq!(take(), Ok(()));
        }
    }

    #[test]
    fn a_token_comes_in_one_header_of_its_form() {
        let operator = Secret::generate(secret::OPERATOR).unwrap();
        let table = Table::new(&[operator.sha256()]);
        let find = |values: &[&str]| id(table.find(&headers(values), || 0));
        let text = operator.text();
        for good in ["Bearer", "bearer", "BEARER "] {
            assert!(find(&[&format!("{good} {text}")]).is_ok(), "{good}");
        }
        assert_eq!(find(&[]), Err(Unknown::Missing));
        let right = format!("Bearer {text}");
        let long = format!("Bearer {}", "a".repeat(limits::TOKEN_BYTES_MAX + 1));
        for wrong in [
            &[text][..],
            &["Bearer"],
            &["Bearer "],
            &[&format!("Basic {text}")],
            &[&format!("Bearer {text},")],
            &[&right, &right],
            &[&long],
        ] {
            assert_eq!(find(wrong), Err(Unknown::Invalid), "{wrong:?}");
        }
    }
}
