//! The `Retry-After` header (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

/// How long a `Retry-After` asks to wait: seconds, or until a date. None if it is neither.
pub(crate) fn retry_after(value: &str, wall: SystemTime) -> Option<Duration> {
    let text = value.trim();
    if (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(wall).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_seconds_or_a_date() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let cases = [
            ("0", Some(0)),
            (" 17 ", Some(17)),
            ("999999999", Some(999_999_999)),
            ("Sun, 09 Sep 2001 01:46:42 GMT", Some(2)),
            ("Sun, 09 Sep 2001 00:00:00 GMT", Some(0)),
            ("1000000000", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(retry_after(text, wall), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
