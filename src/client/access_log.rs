//! The access log of a web server, one line at a time.
//!
//! The combined log format of Apache and nginx:
//! `address ident user [time] "request" status bytes "referrer" "agent"`; the common log format is
//! its beginning, and is taken too. Quoted fields are kept as they stand, escapes such as `\"` and
//! `\xe4` included: an escaped byte need not be UTF-8, so undoing the escapes would lose some.
//!
//! Servers cut long lines short, so a last quoted field may lack its closing quote.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

/// One request, as a web server logged it. A field that was logged as `-` is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The client's address: IPv4, IPv6 or a host name.
    pub(super) address: String,
    /// Who was logged in.
    pub(super) user: Option<String>,
    /// The rest, which goes into an audit entry's `details`.
    pub(super) details: Details,
}

/// What the log says of a request beside who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Details {
    /// The first word of the request line, if it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<String>,
    /// The target; the whole request line where that is no HTTP.
    pub(super) path: String,
    /// Such as `HTTP/1.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<String>,
    /// The status that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    /// Bytes of the body that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    /// The `Referer` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) referrer: Option<String>,
    /// The `User-Agent` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent: Option<String>,
    /// When it came in: RFC 3339, with the log's own offset.
    pub(super) time: String,
}

/// Reads one line, without its line end.
///
/// # Errors
/// What is wrong with it, in a few words.
pub(super) fn parse(line: &str) -> Result<Request, &'static str> {
    let (address, rest) = line.split_once(' ').ok_or("nothing after the address")?;
    if address.is_empty() {
        return Err("no address");
    }
    let (_ident, rest) = rest.split_once(' ').ok_or("nothing after the ident field")?;
    // A user's name may hold spaces: it reaches to the time.
    let (user, rest) = rest.split_once(" [").ok_or("no time")?;
    let (time, rest) = rest.split_once(']').ok_or("the time does not end")?;
    let time = DateTime::parse_from_str(time, "%d/%b/%Y:%H:%M:%S %z")
        .map_err(|_| "the time is not like 17/May/2015:10:05:03 +0000")?
        .to_rfc3339_opts(SecondsFormat::Secs, true);
    let (request, rest) = quoted(rest)?.ok_or("no request")?;
    let rest = rest.strip_prefix(' ').ok_or("no status")?;
    let (status, rest) = rest.split_once(' ').ok_or("nothing after the status")?;
    let status = number(status, "the status is not a number")?;
    let (bytes, rest) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    let bytes = number(bytes, "the bytes are not a number")?;
    let (referrer, rest) = quoted(rest)?.unwrap_or(("-", ""));
    let (agent, rest) = quoted(rest)?.unwrap_or(("-", ""));
    if !rest.trim_ascii().is_empty() {
        return Err("something after the agent");
    }
    let (method, path, protocol) = request_line(request);
    Ok(Request {
        address: address.into(),
        user: present(user),
        details: Details {
            method: method.map(Into::into),
            path: path.into(),
            protocol: protocol.map(Into::into),
            status,
            bytes,
            referrer: present(referrer),
            agent: present(agent),
            time,
        },
    })
}

/// The next field in quotes, without them, and what follows it; none at the end of the line.
fn quoted(rest: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let rest = rest.trim_ascii();
    if rest.is_empty() {
        return Ok(None);
    }
    let field = rest.strip_prefix('"').ok_or("a field is not in quotes")?;
    let mut escaped = false;
    for (at, byte) in field.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Ok(Some((&field[..at], &field[at + 1..]))),
            _ => {}
        }
    }
    Ok(Some((field, "")))
}

/// Method, target and protocol of a request line; a line that is no HTTP is all target.
fn request_line(line: &str) -> (Option<&str>, &str, Option<&str>) {
    let Some((method, rest)) = line.split_once(' ') else {
        return (None, line, None);
    };
    match rest.rsplit_once(' ') {
        Some((path, protocol)) if protocol.starts_with("HTTP/") => {
            (Some(method), path, Some(protocol))
        }
        _ => (Some(method), rest, None),
    }
}

/// A number, or `-` for none.
fn number<T: std::str::FromStr>(
    text: &str,
    wrong: &'static str,
) -> Result<Option<T>, &'static str> {
    if text == "-" { Ok(None) } else { text.parse().map(Some).map_err(|_| wrong) }
}

/// A field, or none where the log has `-`.
fn present(text: &str) -> Option<String> {
    (text != "-").then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 512"#;

    fn with(tail: &str) -> Request {
        parse(&format!("{COMMON}{tail}")).expect("the line is well-formed")
    }

    #[test]
    fn combined() {
        let request = with(r#" "http://example.com/" "curl/8""#);
        let details = serde_json::to_string(&request.details).expect("details are JSON");
        assert_eq!(request.address, "10.0.0.1");
        assert_eq!(request.user, None);
        assert_eq!(
            details,
            concat!(
                r#"{"method":"GET","path":"/a?b","protocol":"HTTP/1.1","status":200,"bytes":512,"#,
                r#""referrer":"http://example.com/","agent":"curl/8","time":"2015-05-17T10:05:03Z"}"#
            )
        );
    }

    #[test]
    fn absent_fields() {
        let details = with(r#" "-" "-""#).details;
        assert_eq!((details.referrer, details.agent), (None, None));
        let details = with("").details;
        assert_eq!((details.referrer, details.agent), (None, None));
        let request = parse(r#"h - - [17/May/2015:10:05:03 -0730] "-" 408 - "-" "-""#);
        let details = request.expect("a request that timed out").details;
        assert_eq!(details.method, None);
        assert_eq!(details.path, "-");
        assert_eq!((details.status, details.bytes), (Some(408), None));
        assert_eq!(details.time, "2015-05-17T10:05:03-07:30");
    }

    #[test]
    fn ipv6_and_a_user_with_spaces() {
        let line = r#"2001:db8::1 - Ada L. [01/Jan/2024:00:00:00 +0100] "PUT /x HTTP/2.0" 204 0"#;
        let request = parse(line).expect("the line is well-formed");
        assert_eq!(request.address, "2001:db8::1");
        assert_eq!(request.user.as_deref(), Some("Ada L."));
    }

    #[test]
    fn escapes_are_kept() {
        let details = with(r#" "http://\xe4/" "a \"quoted\" agent \\""#).details;
        assert_eq!(details.referrer.as_deref(), Some(r"http://\xe4/"));
        assert_eq!(details.agent.as_deref(), Some(r#"a \"quoted\" agent \\"#));
    }

    #[test]
    fn a_line_cut_short() {
        assert_eq!(
            with(r#" "-" "Mozilla/5.0 (comp"#).details.agent.as_deref(),
            Some("Mozilla/5.0 (comp")
        );
    }

    #[test]
    fn request_lines() {
        assert_eq!(request_line("GET /a b HTTP/1.1"), (Some("GET"), "/a b", Some("HTTP/1.1")));
        assert_eq!(request_line("GET /"), (Some("GET"), "/", None));
        assert_eq!(request_line(r"\x16\x03\x01"), (None, r"\x16\x03\x01", None));
    }

    #[test]
    fn malformed() {
        for (line, wrong) in [
            ("", "nothing after the address"),
            (r#" - - [17/May/2015:10:05:03 +0000] "GET /" 200 1"#, "no address"),
            (
                r#"h - - [yesterday] "GET /" 200 1"#,
                "the time is not like 17/May/2015:10:05:03 +0000",
            ),
            (r#"h - - [17/May/2015:10:05:03 +0000] GET 200 1"#, "a field is not in quotes"),
            (r#"h - - [17/May/2015:10:05:03 +0000] "GET /" OK 1"#, "the status is not a number"),
            (
                r#"h - - [17/May/2015:10:05:03 +0000] "GET /" 200 1 "-" "-" x"#,
                "something after the agent",
            ),
        ] {
            assert_eq!(parse(line), Err(wrong), "{line}");
        }
    }
}
