//! `Idempotency-Key`, as draft-ietf-httpapi-idempotency-key-header-07 has it.
//!
//! A key belongs to where it was sent: to the object of the path, or to the endpoint at the root of
//! its binding. What it is kept with is a fingerprint of the whole request. What a key does is the
//! machine's business ([`crate::machine::idempotency`]).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::body::Payload;
use super::error;
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::{Answered, IdempotencyKey, NamespaceId, ObjectRef, Outcome};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// `Idempotency-Replayed: true`: the request was carried out before, and this is what it came to.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The `Idempotency-Key` of a request, if it has one.
pub(super) struct KeyHeader(Option<Box<Sent>>);

struct Sent {
    key: Key,
    /// The path and the query.
    target: String,
}

/// What the header's value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key itself.
    pub name: String,
    /// For how long the client may send it again, if it says so, in seconds.
    pub ttl_s: Option<u64>,
}

/// Where a key was sent.
pub(super) enum Scope<'a> {
    /// To this endpoint of the root, for objects of this namespace.
    Root(NamespaceId, &'static str),
    /// To this object.
    Object(&'a ObjectRef),
}

impl<S: Send + Sync> FromRequestParts<S> for KeyHeader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Some(value) = parts.headers.get(KEY) else { return Ok(Self(None)) };
        if parts.headers.get_all(KEY).iter().count() > 1 {
            return Err(invalid("must be there once"));
        }
        let key = parse(value.as_bytes())?;
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
        Ok(Self(Some(Box::new(Sent { key, target }))))
    }
}

impl KeyHeader {
    /// The key as the machine knows it.
    pub(super) fn key<'a>(
        &self,
        scope: impl FnOnce() -> Scope<'a>,
        body: &Payload,
    ) -> Option<IdempotencyKey> {
        let Sent { key: Key { name, ttl_s }, target } = self.0.as_deref()?;
        let mut id = Sha256::new();
        match scope() {
            Scope::Root(namespace, endpoint) => {
                id.update([0]);
                id.update(namespace.0);
                part(&mut id, endpoint.as_bytes());
            }
            Scope::Object(object) => {
                id.update([1]);
                id.update(object.namespace.0);
                id.update(object.id.0);
            }
        }
        part(&mut id, name.as_bytes());
        let mut fingerprint = Sha256::new();
        part(&mut fingerprint, b"POST");
        part(&mut fingerprint, target.as_bytes());
        part(&mut fingerprint, body.bytes());
        Some(IdempotencyKey {
            id: first_half(id),
            fingerprint: first_half(fingerprint),
            ttl_ms: ttl_s.map(|ttl_s| ttl_s * 1000),
        })
    }
}

/// Hashes a part of variable length, so that no two lists of parts are the same.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn first_half(hash: Sha256) -> [u8; 16] {
    *hash.finalize().first_chunk().expect("32 bytes")
}

/// Reads a header's value: a String of RFC 9651 (section 4.2.5), `"8e03978e-40d5"`; or the same
/// without quotes, as most clients send it.
///
/// Behind the quotes may stand one parameter, `"8e03978e-40d5";ttl=60`: the client sends it again within
/// so many seconds or never. What a key keeps takes room, and this is how to take less of it.
///
/// # Errors
/// `invalid_idempotency_key`, with the bound.
pub fn parse(value: &[u8]) -> Result<Key> {
    let key = match value.strip_prefix(b"\"") {
        Some(rest) => {
            let (name, behind) = quoted(rest)?;
            let ttl_s = if behind.is_empty() { None } else { Some(ttl_s(behind)?) };
            Key { name, ttl_s }
        }
        None => Key { name: bare(value)?, ttl_s: None },
    };
    if !(1..=limits::IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.name.len()) {
        return Err(malformed());
    }
    Ok(key)
}

/// What is behind the first quote: the key, and what is behind the second.
fn quoted(mut rest: &[u8]) -> Result<(String, &[u8])> {
    let mut key = String::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'"' => return Ok((key, rest)),
            b'\\' => {
                let (&escaped, behind) = rest.split_first().ok_or_else(malformed)?;
                if !matches!(escaped, b'"' | b'\\') {
                    return Err(malformed());
                }
                key.push(char::from(escaped));
                rest = behind;
            }
            b' '..=b'~' => key.push(char::from(byte)),
            _ => return Err(malformed()),
        }
    }
    Err(malformed())
}

/// The one parameter that there is: an Integer of RFC 9651 (section 3.3.1).
fn ttl_s(parameters: &[u8]) -> Result<u64> {
    let text = str::from_utf8(parameters).map_err(|_| malformed())?;
    let digits = text.strip_prefix(';').map(|text| text.trim_start_matches(' '));
    let digits = digits.and_then(|text| text.strip_prefix("ttl=")).ok_or_else(malformed)?;
    let bound = limits::IDEMPOTENCY_TTL_S_MAX;
    let is_integer =
        (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let ttl_s = digits.parse().ok().filter(|ttl_s| is_integer && (1..=bound).contains(ttl_s));
    ttl_s.ok_or_else(|| invalid(&format!("must have a ttl from 1 to {bound} seconds, or none")))
}

/// A key without quotes has none of the characters that mean something in a header.
fn bare(value: &[u8]) -> Result<String> {
    let is_plain =
        |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b';');
    if !value.iter().all(is_plain) {
        return Err(malformed());
    }
    Ok(value.iter().map(|byte| char::from(*byte)).collect())
}

fn malformed() -> Error {
    let bound = limits::IDEMPOTENCY_KEY_BYTES_MAX;
    invalid(&format!(
        "must be a string in double quotes, or without them and then without spaces, commas and \
         semicolons: 1 to {bound} characters of ASCII; behind the quotes nothing, or ;ttl=SECONDS"
    ))
}

fn invalid(rule: &str) -> Error {
    Error::invalid("invalid_idempotency_key", format!("Idempotency-Key {rule}"))
}

/// What the only one of several changes came to, and whether it did so before.
///
/// # Errors
/// If the key could not be used.
pub(super) fn only(outcome: Outcome) -> Result<(Outcome, bool)> {
    match outcome {
        Outcome::Changed(answered) if answered.len() == 1 => {
            let Answered { answer, replayed } = answered[0];
            Ok((answer.into(), replayed))
        }
        other => Err(error::unexpected(&other)),
    }
}

/// Says in a response whether it is one that was given before.
pub(super) fn mark(mut response: Response, replayed: bool) -> Response {
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Namespace;

    #[test]
    fn a_key_is_a_quoted_string_or_the_same_without_quotes() {
        let long = "k".repeat(limits::IDEMPOTENCY_KEY_BYTES_MAX);
        let quoted = format!("\"{long}\"");
        for (value, key) in [
            (r#""8e03978e-40d5""#, "8e03978e-40d5"),
            ("8e03978e-40d5", "8e03978e-40d5"),
            (r#""a b, c; d""#, "a b, c; d"),
            (r#""say \"so\" \\""#, r#"say "so" \"#),
            ("a+b/c==:@", "a+b/c==:@"),
            (&long, &long),
            (&quoted, &long),
        ] {
            let key = Key { name: key.to_owned(), ttl_s: None };
            assert_eq!(parse(value.as_bytes()).unwrap(), key, "{value}");
        }
        let longer = format!("{long}k");
        let quoted = format!("\"{longer}\"");
        for value in [
            "",
            "\"",
            "\"\"",
            "\"a",
            "a\"",
            "\"a\"b",
            "\"a\";p=1",
            "\"a\", \"b\"",
            "a, b",
            "a b",
            "a;p=1",
            r#""a\b""#,
            "\"a\\",
            "\"é\"",
            "é",
            "\"a\tb\"",
            "a\u{7f}",
            &longer,
            &quoted,
        ] {
            let error = parse(value.as_bytes()).unwrap_err();
            assert_eq!(error.code, "invalid_idempotency_key", "{value}");
            assert!(error.message.contains("255"), "{error}");
        }
    }

    #[test]
    fn a_key_may_say_how_long_it_is_sent_again() {
        for (value, ttl_s) in [
            (r#""k";ttl=1"#, 1),
            (r#""k"; ttl=060"#, 60),
            (r#""k";ttl=2592000"#, limits::IDEMPOTENCY_TTL_S_MAX),
        ] {
            let key = Key { name: "k".to_owned(), ttl_s: Some(ttl_s) };
            assert_eq!(parse(value.as_bytes()).unwrap(), key, "{value}");
        }
        for (value, bound) in [
            (r#""k";ttl=0"#, "2592000"),
            (r#""k";ttl=2592001"#, "2592000"),
            (r#""k";ttl=-1"#, "2592000"),
            (r#""k";ttl=1.5"#, "2592000"),
            (r#""k";ttl="#, "2592000"),
            (r#""k";ttl=0000000000000001"#, "2592000"),
            (r#""k";TTL=60"#, ";ttl=SECONDS"),
            (r#""k" ;ttl=60"#, ";ttl=SECONDS"),
            (r#""k";ttl=60;a"#, "2592000"),
            (r#""k";a;ttl=60"#, ";ttl=SECONDS"),
            ("k;ttl=60", ";ttl=SECONDS"),
        ] {
            let error = parse(value.as_bytes()).unwrap_err();
            assert_eq!(error.code, "invalid_idempotency_key", "{value}");
            assert!(error.message.contains(bound), "{value}: {error}");
        }
    }

    fn key(key: &str, target: &str, scope: Scope, body: &'static str) -> IdempotencyKey {
        let sent = Sent { key: parse(key.as_bytes()).unwrap(), target: target.to_owned() };
        let header = KeyHeader(Some(Box::new(sent)));
        header.key(|| scope, &Payload::of(body)).unwrap()
    }

    #[test]
    fn a_key_is_of_where_it_was_sent_and_its_fingerprint_of_what() {
        let (one, other) = (Namespace::new("a-RateLimiter"), Namespace::new("b-RateLimiter"));
        let root = |namespace: &Namespace, endpoint| Scope::Root(namespace.id(), endpoint);
        let first = key("k", "/check", root(&one, "/check"), "{}");
        assert_eq!(first, key("k", "/check", root(&one, "/check"), "{}"));
        let brief = key("\"k\";ttl=60", "/check", root(&one, "/check"), "{}");
        assert_eq!(brief, IdempotencyKey { ttl_ms: Some(60_000), ..first });
        for elsewhere in [
            key("l", "/check", root(&one, "/check"), "{}"),
            key("k", "/check", root(&one, "/reset"), "{}"),
            key("k", "/check", root(&other, "/check"), "{}"),
            key("k", "/check", Scope::Object(&one.object("x")), "{}"),
        ] {
            assert_ne!(elsewhere.id, first.id);
        }
        for changed in [
            key("k", "/check?x", root(&one, "/check"), "{}"),
            key("k", "/check", root(&one, "/check"), "{} "),
            key("k", "/chec", root(&one, "/check"), "k{}"),
        ] {
            assert_eq!(changed.id, first.id);
            assert_ne!(changed.fingerprint, first.fingerprint);
        }
        let objects = ["x", "y"].map(|name| one.object(name));
        let of = |object| key("k", "/", Scope::Object(object), "").id;
        assert_ne!(of(&objects[0]), of(&objects[1]));
    }

    #[test]
    fn a_request_without_a_key_has_none() {
        let scope = || -> Scope<'static> { panic!("nobody needs to know where it was sent") };
        assert_eq!(KeyHeader(None).key(scope, &Payload::of("{}")), None);
    }
}
