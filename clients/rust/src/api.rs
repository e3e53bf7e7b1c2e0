//! What the calls of the API send, and what their answers mean. No I/O.

use bytes::Bytes;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::call::{Answer, Request, problem};
use crate::entry::NewEntry;
use crate::error::{Error, ErrorKind, Result};
use crate::export::Format;
use crate::filter::{Filter, Order, Query};
use crate::limiter::{Decision, Limit};

/// Bytes of an identifier, and of a type.
const NAME_BYTES_MAX: usize = 512;

#[derive(Serialize)]
struct LimiterBody<'a> {
    identifier: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Limit>,
}

/// `POST /check`; without a limit, by the policy of the type.
pub(crate) fn check(
    identifier: &str,
    type_: Option<&str>,
    limit: Option<Limit>,
    key: Option<&str>,
) -> Result<Request> {
    if limit.is_none() && type_.is_none() {
        return Err(Error::argument("without a limit there must be a type, which has a policy"));
    }
    limiter("/check", identifier, type_, limit, key)
}

/// `POST /reset`.
pub(crate) fn reset(identifier: &str, type_: Option<&str>, key: Option<&str>) -> Result<Request> {
    limiter("/reset", identifier, type_, None, key)
}

fn limiter(
    path: &str,
    identifier: &str,
    type_: Option<&str>,
    limit: Option<Limit>,
    key: Option<&str>,
) -> Result<Request> {
    if type_.is_some_and(|type_| !(1..=NAME_BYTES_MAX).contains(&type_.len())) {
        let message = format!("type must be a string of 1 to {NAME_BYTES_MAX} bytes");
        return Err(Error::argument(message));
    }
    limit.map_or(Ok(()), Limit::validate)?;
    let identifier = &counted(identifier);
    Ok(post(path, &LimiterBody { identifier, type_, config: limit }, key))
}

/// `POST /log`.
pub(crate) fn log(entry: &NewEntry, key: Option<&str>) -> Request {
    post("/log", entry, key)
}

/// `POST /query`. It changes nothing, and may be repeated without a key.
pub(crate) fn query(query: &Query) -> Request {
    Request { key: None, has_own_key: false, ..post("/query", query, None) }
}

/// `GET /export`.
pub(crate) fn export(format: Format, filter: &Filter) -> Request {
    let mut path = String::from("/export?format=");
    path.push_str(match format {
        Format::Json => "json",
        Format::Ndjson => "ndjson",
        Format::Csv { escape: true } => "csv",
        Format::Csv { escape: false } => "csv&csvEscape=none",
    });
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let parameters = [
        ("startTime", number(filter.start_time_ms)),
        ("endTime", number(filter.end_time_ms)),
        ("type", filter.type_.clone()),
        ("action", filter.action.clone()),
        ("userId", filter.user_id.clone()),
        ("ip", filter.ip.clone()),
    ];
    for (name, value) in parameters {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", percent_encoded(&value)));
        }
    }
    path.push_str(match filter.order {
        Order::Desc => "&order=desc",
        Order::Asc => "&order=asc",
    });
    Request {
        method: Method::GET,
        path,
        body: None,
        key: None,
        has_own_key: false,
        is_streamed: true,
    }
}

/// The value of `Idempotency-Key` for a key: a string of RFC 9651, as
/// draft-ietf-httpapi-idempotency-key-header has it.
pub(crate) fn key_header(key: &str) -> Result<String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if key.is_empty() || !key.bytes().all(is_plain) {
        return Err(Error::argument(
            "an idempotency key must be a string of visible ASCII characters without quotes and \
             backslashes",
        ));
    }
    Ok(format!("\"{key}\""))
}

/// The decision of `POST /check`.
pub(crate) fn decision(answer: &Answer) -> Result<Decision> {
    // A 429 that is a problem is none of a limiter.
    if answer.status != 429 || problem(answer).1.is_some() {
        refuse(answer)?;
    }
    let decision: Decision = json(answer)?;
    if decision.allowed != (answer.status == 200) {
        return Err(foreign(answer, "contradicts its status"));
    }
    Ok(decision)
}

/// Whether `POST /reset` was carried out.
pub(crate) fn success(answer: &Answer) -> Result<()> {
    #[derive(Deserialize)]
    struct Success {
        success: bool,
    }
    match read::<Success>(answer)?.success {
        true => Ok(()),
        false => Err(foreign(answer, "has no success")),
    }
}

/// The id of `POST /log`.
pub(crate) fn id(answer: &Answer) -> Result<String> {
    #[derive(Deserialize)]
    struct Logged {
        id: String,
    }
    read::<Logged>(answer).map(|logged| logged.id)
}

/// What a 200 holds.
pub(crate) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T> {
    refuse(answer)?;
    json(answer)
}

/// Gives what an answer that is no result means as an error.
pub(crate) fn refuse(answer: &Answer) -> Result<()> {
    let status = answer.status;
    if status == 200 {
        return Ok(());
    }
    let (detail, code) = problem(answer);
    let kind = if status >= 400 { ErrorKind::Request } else { ErrorKind::Protocol };
    let message = format!("tallykeep answered {status}: {detail}");
    Err(Error::new(kind, message).with_answer(status, code))
}

fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        foreign(answer, "is not of the form that was asked for").with_source(error)
    })
}

fn foreign(answer: &Answer, what: &str) -> Error {
    let message = format!("the answer {what}: it is none of tallykeep's");
    Error::new(ErrorKind::Protocol, message).with_answer(answer.status, None)
}

fn post(path: &str, body: &impl Serialize, key: Option<&str>) -> Request {
    let body = serde_json::to_vec(body).expect("texts, numbers and JSON are JSON");
    Request {
        method: Method::POST,
        path: path.to_owned(),
        body: Some(Bytes::from(body)),
        key: Some(key.map_or_else(|| format!("\"{}\"", Uuid::new_v4()), str::to_owned)),
        has_own_key: key.is_none(),
        is_streamed: false,
    }
}

/// The identifier, if the cluster takes it, or what stands for it.
///
/// An identifier comes from outside. One that the cluster would not take (empty, over 512 bytes, with
/// control characters) is counted under `sha256:` and its digest, so that nobody gets past a limit by
/// sending such a one. The JavaScript client does the same.
fn counted(identifier: &str) -> String {
    let is_taken = (1..=NAME_BYTES_MAX).contains(&identifier.len())
        && !identifier.chars().any(char::is_control);
    if is_taken {
        return identifier.to_owned();
    }
    let digest = Sha256::digest(identifier.as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { requests: 100, window_ms: 60_000 };

    fn body(request: &Request) -> &str {
        std::str::from_utf8(request.body.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn a_check_is_the_guides_body() {
        let request = check("user-123", Some("wix"), Some(LIMIT), None).unwrap();
        let expected = concat!(
            r#"{"identifier":"user-123","type":"wix","#,
            r#""config":{"requests":100,"windowMs":60000}}"#
        );
        assert_eq!((request.path.as_str(), body(&request)), ("/check", expected));
        let request = check("i", Some("wix"), None, None).unwrap();
        let by_policy = r#"{"identifier":"i","type":"wix"}"#;
        assert_eq!((request.path.as_str(), body(&request)), ("/check", by_policy));
        assert!(check("i", None, None, None).is_err());
        let request = reset("i", None, None).unwrap();
        assert_eq!((request.path.as_str(), body(&request)), ("/reset", r#"{"identifier":"i"}"#));
    }

    #[test]
    fn every_call_that_changes_something_has_a_key_of_its_own() {
        let key = || reset("i", None, None).unwrap().key.unwrap();
        let (one, other) = (key(), key());
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[..1], &one[37..]), (38, "\"", "\""));
        let given = reset("i", None, Some("\"own\"")).unwrap();
        assert_eq!((given.key.as_deref(), given.has_own_key), (Some("\"own\""), false));
        assert_eq!(query(&Query::default()).key, None);
    }

    #[test]
    fn a_callers_key_is_sent_in_quotes() {
        assert_eq!(key_header("order-17,a;b").unwrap(), "\"order-17,a;b\"");
        for key in ["", " ", "a\"", "a\\", "é", "a\n"] {
            assert_eq!(key_header(key).unwrap_err().kind(), ErrorKind::Argument);
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_not_sent() {
        for (requests, window_ms) in [(1 << 53, 1), (1, 0), (1, 34_560_000_001)] {
            let limit = Some(Limit { requests, window_ms });
            let error = check("i", None, limit, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Argument);
        }
        for type_ in ["".to_owned(), "x".repeat(513), "é".repeat(257)] {
            assert!(reset("i", Some(&type_), None).is_err());
        }
        let most = Limit { requests: (1 << 53) - 1, window_ms: 34_560_000_000 };
        assert!(check("i", Some(&"x".repeat(512)), Some(most), None).is_ok());
    }

    #[test]
    fn an_identifier_that_the_cluster_would_not_take_is_counted_under_its_digest() {
        for taken in ["a", &"x".repeat(512), &"é".repeat(256), "a b:c/d", "😀", "sha256:x"] {
            assert_eq!(counted(taken), taken);
        }
        for text in ["", &"x".repeat(513), "a\n", "\u{7f}", "\u{85}"] {
            assert_eq!(counted(text).len(), 7 + 64);
            assert!(counted(text).starts_with("sha256:"));
        }
        // As `printf 'a\n' | sha256sum` has it.
        assert_eq!(
            counted("a\n"),
            "sha256:87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"
        );
    }

    #[test]
    fn filters_are_sent_by_their_names() {
        let filter = Filter {
            start_time_ms: Some(0),
            type_: Some("a b&c=é".to_owned()),
            order: Order::Asc,
            ..Filter::default()
        };
        let request = export(Format::Csv { escape: false }, &filter);
        let expected =
            "/export?format=csv&csvEscape=none&startTime=0&type=a%20b%26c%3D%C3%A9&order=asc";
        assert_eq!((request.path.as_str(), request.is_streamed), (expected, true));
    }
}
