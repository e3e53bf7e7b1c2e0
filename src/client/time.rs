//! Times as people write them in arguments, in ms since the Unix epoch.

use chrono::{DateTime, NaiveDate, SecondsFormat};

use crate::clock::{Clock, SystemClock};
use crate::limits::TIME_MS_MAX;

/// How a time can be written, for messages.
const FORMS: &str = "a time is `now`, a span like `90m` or `7d` before now, a date like 2021-10-18 \
    (UTC, its beginning), RFC 3339 like 2021-10-18T12:00:00Z, or ms since the Unix epoch";

/// Reads the earliest time that is meant.
///
/// # Errors
/// How times can be written.
pub(super) fn since(text: &str) -> Result<u64, String> {
    parse(text, SystemClock::new().wall_ms(), true)
}

/// Reads the latest time that is meant.
///
/// # Errors
/// As [`since`].
pub(super) fn until(text: &str) -> Result<u64, String> {
    parse(text, SystemClock::new().wall_ms(), false)
}

/// Reads a time. What is finer than ms is rounded: up for a beginning, so that no entry before it is
/// taken, and otherwise down.
fn parse(text: &str, now_ms: u64, up: bool) -> Result<u64, String> {
    let ms = if text == "now" {
        Some(now_ms)
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else if let Ok(date) = text.parse::<NaiveDate>() {
        u64::try_from(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()).ok()
    } else if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        let fine = up && !time.timestamp_subsec_nanos().is_multiple_of(1_000_000);
        u64::try_from(time.timestamp_millis()).ok().map(|ms| ms + u64::from(fine))
    } else {
        let span = humantime::parse_duration(text).ok();
        span.map(|span| now_ms.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    };
    ms.filter(|ms| *ms <= TIME_MS_MAX).ok_or_else(|| FORMS.to_owned())
}

/// `2021-10-18T12:00:00.000Z`, or the number where no calendar has it.
pub(super) fn show(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .map_or_else(|| ms.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_written_in_several_ways() {
        const NOON_MS: u64 = 1_634_558_400_000;
        for (text, ms) in [
            ("now", NOON_MS),
            ("0", 0),
            ("1634558400007", 1_634_558_400_007),
            ("2021-10-18", NOON_MS - 12 * 3_600_000),
            ("2021-10-18T12:00:00Z", NOON_MS),
            ("2021-10-18T14:00:00.007+02:00", NOON_MS + 7),
            ("1h", NOON_MS - 3_600_000),
            ("1d 30m", NOON_MS - 86_400_000 - 1_800_000),
            ("100years", 0),
        ] {
            assert_eq!(parse(text, NOON_MS, true), Ok(ms), "{text}");
            assert_eq!(parse(text, NOON_MS, false), Ok(ms), "{text}");
        }
        let fine = "2021-10-18T12:00:00.0071Z";
        assert_eq!(parse(fine, NOON_MS, true), Ok(NOON_MS + 8));
        assert_eq!(parse(fine, NOON_MS, false), Ok(NOON_MS + 7));
        for wrong in
            ["", "-1", "soon", "1.5", "2021-13-01", "1969-12-31", "253402300800000", "12:00"]
        {
            assert!(parse(wrong, NOON_MS, true).is_err(), "{wrong}");
        }
        assert_eq!(show(NOON_MS + 7), "2021-10-18T12:00:00.007Z");
        assert_eq!(show(u64::MAX), u64::MAX.to_string());
    }
}
