//! Query strings: that of `GET /export`, and those of operators.

use std::str::FromStr;

use super::objects::percent_decode;
use crate::error::{Error, Result};
use crate::limits;
use crate::query::{Filter, Order};

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `{"entries":[…],"count":n}`; the count comes last, when it is known.
    Json,
    /// One entry a line.
    Ndjson,
    /// RFC 4180, with a header line. With `escape`, cells that a spreadsheet would run are made
    /// harmless.
    Csv { escape: bool },
}

/// What a query string asks for.
pub(crate) struct Parameters {
    pub(crate) format: Format,
    pub(crate) filter: Filter,
}

/// Reads a query string, form-encoded as browsers and `URLSearchParams` do.
///
/// A parameter that is unknown, or there twice, is refused: an auditor who mistypes a filter must
/// not take the whole log for the part of it that was asked for.
pub(crate) fn parameters(text: &str) -> Result<Parameters> {
    let (mut format, mut csv_escape, mut order) = (None, None, None);
    let (mut start_ms, mut end_ms) = (None, None);
    let (mut type_, mut action, mut user_id, mut ip) = (None, None, None, None);
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode(&name.replace('+', " "), "a parameter's name")?;
        let value = percent_decode(&value.replace('+', " "), &name)?;
        let slot = match name.as_str() {
            "format" => &mut format,
            "csvEscape" => &mut csv_escape,
            "order" => &mut order,
            "startTime" => &mut start_ms,
            "endTime" => &mut end_ms,
            "type" => &mut type_,
            "action" => &mut action,
            "userId" => &mut user_id,
            "ip" => &mut ip,
            _ => return Err(invalid(format!("there is no parameter {name:?}"))),
        };
        if slot.replace(value).is_some() {
            return Err(invalid(format!("{name} is there twice")));
        }
    }

    let escape = match csv_escape.as_deref() {
        None => true,
        Some("none") => false,
        Some(_) => return Err(invalid("csvEscape must be none, or left out")),
    };
    let format = match format.as_deref() {
        None | Some("json") => Format::Json,
        Some("ndjson") => Format::Ndjson,
        Some("csv") => Format::Csv { escape },
        Some(_) => return Err(invalid("format must be json, csv or ndjson")),
    };
    let order = match order.as_deref() {
        None | Some("desc") => Order::Desc,
        Some("asc") => Order::Asc,
        Some(_) => return Err(invalid("order must be desc or asc")),
    };
    let start_ms = start_ms.map(|value| time("startTime", &value)).transpose()?;
    let end_ms = end_ms.map(|value| time("endTime", &value)).transpose()?;
    let filter = Filter { start_ms, end_ms, type_, action, user_id, ip, order };
    filter.validate()?;
    Ok(Parameters { format, filter })
}

/// The values of the parameters of these names in a query string, form-encoded. One that is unknown, or
/// there twice, is refused.
pub(super) fn named<const N: usize>(text: &str, names: [&str; N]) -> Result<[Option<String>; N]> {
    let mut values: [Option<String>; N] = [const { None }; N];
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode(&name.replace('+', " "), "a parameter's name")?;
        let value = percent_decode(&value.replace('+', " "), &name)?;
        let place = names.iter().position(|known| *known == name);
        let place = place.ok_or_else(|| {
            let known = names.join(", ");
            invalid(format!("there is no parameter {name:?} here; there are: {known}"))
        })?;
        if values[place].replace(value).is_some() {
            return Err(invalid(format!("{name} is there twice")));
        }
    }
    Ok(values)
}

/// `limit`: from 1 to `most`.
pub(super) fn limit(text: Option<&str>, default: usize, most: usize) -> Result<usize> {
    let Some(text) = text else { return Ok(default) };
    Some(text)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<usize>().ok())
        .filter(|limit| (1..=most).contains(limit))
        .ok_or_else(|| invalid(format!("limit must be an integer from 1 to {most}")))
}

/// A time in ms since the Unix epoch.
fn time(name: &str, value: &str) -> Result<u64> {
    Some(value)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| u64::from_str(digits).ok())
        .ok_or_else(|| {
            invalid(format!("{name} must be an integer from 0 to {}, in ms", limits::TIME_MS_MAX))
        })
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("invalid_parameter", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_forms_write_them() {
        let text = "format=csv&csvEscape=none&startTime=1&endTime=2&order=asc\
                    &type=a+b&action=c%2Bd&userId=%C3%A9&ip=::1";
        let Parameters { format, filter } = parameters(text).unwrap();
        assert_eq!(format, Format::Csv { escape: false });
        assert_eq!((filter.start_ms, filter.end_ms), (Some(1), Some(2)));
        assert!(matches!(filter.order, Order::Asc));
        assert_eq!(filter.type_.as_deref(), Some("a b"));
        assert_eq!(filter.action.as_deref(), Some("c+d"));
        assert_eq!(filter.user_id.as_deref(), Some("é"));
        assert_eq!(filter.ip.as_deref(), Some("::1"));
        let Parameters { format, filter } = parameters("").unwrap();
        assert_eq!(format, Format::Json);
        assert!(matches!(filter.order, Order::Desc));
        assert!(filter.start_ms.is_none() && filter.type_.is_none());
    }

    #[test]
    fn named_parameters_are_known_and_there_once() {
        let [a, b] = named("b=%25+c&", ["a", "b"]).unwrap();
        assert_eq!((a, b.as_deref()), (None, Some("% c")));
        for text in ["c=1", "a=1&a=1", "a=%", "%zz=1"] {
            assert!(named(text, ["a", "b"]).is_err(), "{text}");
        }
        assert_eq!(limit(None, 7, 9).unwrap(), 7);
        assert_eq!(limit(Some("9"), 7, 9).unwrap(), 9);
        for text in ["", "0", "10", "-1", "+1", "1.0", "99999999999999999999999"] {
            assert!(limit(Some(text), 7, 9).is_err(), "{text}");
        }
    }

    #[test]
    fn parameters_that_mean_nothing_are_refused() {
        let long = format!("ip={}", "x".repeat(limits::NAME_BYTES_MAX + 1));
        for text in [
            "typ=a",
            "limit=1",
            "format=xml",
            "format",
            "format=json&format=json",
            "order=up",
            "csvEscape=all",
            "startTime=",
            "startTime=-1",
            "startTime=+1",
            "endTime=1.5",
            "endTime=1e3",
            "startTime=253402300800000",
            "startTime=2&endTime=1",
            "ip=%",
            &long,
        ] {
            assert!(parameters(text).is_err(), "{text}");
        }
    }
}
