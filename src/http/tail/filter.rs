//! Which requests somebody wants to be told of.

use super::Event;
use crate::error::Result;
use crate::http::parameters::{invalid, named};

/// What of each event has to be so.
pub(super) struct Filter {
    binding: Option<String>,
    name: Option<String>,
    endpoint: Option<String>,
    statuses: Vec<Status>,
    /// Of those that are left, this part.
    sample: Sample,
}

/// A status, or all that begin with a digit.
#[derive(Clone, Copy)]
enum Status {
    One(u16),
    Class(u16),
}

/// An evenly spread part of what comes.
struct Sample {
    part: f64,
    /// What has gathered since one was taken.
    due: f64,
}

impl Filter {
    /// Reads a query string.
    pub(super) fn parse(query: &str) -> Result<Self> {
        let names = ["binding", "name", "endpoint", "status", "sample"];
        let [binding, name, endpoint, statuses, part] = named(query, names)?;
        let statuses = match &statuses {
            None => Vec::new(),
            Some(list) => list.split(',').map(status).collect::<Result<_>>()?,
        };
        let part = match part {
            None => 1.0,
            Some(text) => text
                .parse::<f64>()
                .ok()
                .filter(|part| *part > 0.0 && *part <= 1.0)
                .ok_or_else(|| invalid("sample must be a number above 0, and at most 1"))?,
        };
        Ok(Self { binding, name, endpoint, statuses, sample: Sample { part, due: 0.0 } })
    }

    /// The binding that is asked for.
    pub(super) fn binding(&self) -> Option<&str> {
        self.binding.as_deref()
    }

    /// Whether an event is one of those.
    pub(super) fn takes(&mut self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, text: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == text)
        };
        is(&self.binding, event.binding.as_deref())
            && is(&self.endpoint, Some(&event.endpoint))
            && self.name.as_deref().is_none_or(|pattern| {
                event.name.as_deref().is_some_and(|name| matches(pattern, name))
            })
            && (self.statuses.is_empty()
                || self.statuses.iter().any(|status| status.is(event.status)))
            && self.sample.takes()
    }
}

impl Status {
    fn is(self, status: u16) -> bool {
        match self {
            Self::One(one) => status == one,
            Self::Class(class) => status / 100 == class,
        }
    }
}

impl Sample {
    fn takes(&mut self) -> bool {
        self.due += self.part;
        let is_due = self.due >= 1.0;
        if is_due {
            self.due -= 1.0;
        }
        is_due
    }
}

/// `429`, or `4xx`.
fn status(text: &str) -> Result<Status> {
    let status = match *text.as_bytes() {
        [class @ b'1'..=b'5', b'x', b'x'] => Some(Status::Class(u16::from(class - b'0'))),
        [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => text.parse().ok().map(Status::One),
        _ => None,
    };
    status.ok_or_else(|| invalid("status must be a list of such as 429 or 4xx"))
}

/// Whether `text` is like `pattern`, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(binding: &str, name: Option<&str>, status: u16) -> Event {
        Event {
            time: 1,
            node: 1,
            method: "POST".into(),
            endpoint: "/check".into(),
            binding: Some(binding.into()),
            class: None,
            name: name.map(str::to_owned),
            id: None,
            identifier: None,
            status,
            duration_ms: 0.1,
            request_id: "r".into(),
        }
    }

    #[test]
    fn patterns_have_stars() {
        for (pattern, text, is_so) in [
            ("wix:*", "wix:u", true),
            ("wix:*", "wix:", true),
            ("wix:*", "gamma:wix:", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a b b c", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
            ("*é*", "日é本", true),
            ("*:1", "::1", true),
        ] {
            assert_eq!(matches(pattern, text), is_so, "{pattern} {text}");
        }
    }

    #[test]
    fn all_that_is_asked_has_to_be_so() {
        let takes = |query: &str, event: &Event| Filter::parse(query).unwrap().takes(event);
        let refused = event("B", Some("wix:u"), 429);
        for (query, is_so) in [
            ("", true),
            ("binding=B&name=wix:*&status=429&endpoint=/check", true),
            ("status=200,4xx", true),
            ("status=200,5xx", false),
            ("binding=C", false),
            ("name=gamma*", false),
            ("endpoint=/log", false),
        ] {
            assert_eq!(takes(query, &refused), is_so, "{query}");
        }
        assert!(!takes("name=*", &event("B", None, 200)), "without a name");
        for query in [
            "status=abc",
            "status=600",
            "status=9xx",
            "status=",
            "status=200,",
            "status=%2B99",
            "sample=0",
            "sample=1.1",
            "sample=x",
            "sample=NaN",
            "bind=B",
        ] {
            assert_eq!(Filter::parse(query).err().unwrap().code, "invalid_parameter", "{query}");
        }
    }

    #[test]
    fn a_sample_is_spread_evenly() {
        let mut filter = Filter::parse("sample=0.25").unwrap();
        let event = event("B", None, 200);
        let taken: Vec<bool> = (0..12).map(|_| filter.takes(&event)).collect();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 3);
        assert!(taken.chunks(4).all(|four| four.iter().filter(|taken| **taken).count() == 1));
    }
}
