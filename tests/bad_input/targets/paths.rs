//! Percent-encoded names and ids in paths, and the query string of `/export`.

use std::fmt::Write;
use std::sync::LazyLock;

use tallykeep::bindings::{Bindings, Class};
use tallykeep::fuzzing;
use tallykeep::limits;
use tallykeep::query::Order;

use super::allocation::{TEXT, bounded};
use super::{Verdict, refused};

static BINDINGS: LazyLock<Bindings> = LazyLock::new(|| Bindings::default_for("script"));

/// A path, `/do/{binding}/name/{name}/check`. Whatever arrives as a path is text.
pub fn object(path: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(path) else { return Verdict::Refused };
    let found = bounded(path, TEXT, || fuzzing::object(text, &BINDINGS, Class::RateLimiter));
    let object = match found {
        Ok(object) => object,
        Err(error) => return refused(&error, path),
    };
    let binding = BINDINGS.limiter().expect("the default has one");
    assert_eq!(object.namespace, binding.namespace.id());
    if let Some(name) = &object.name {
        assert!(name.len() <= limits::OBJECT_NAME_BYTES_MAX);
        assert_eq!(object, binding.namespace.object(name));
        let again = format!("/do/RATE_LIMITER/name/{}/check", percent_encoded(name));
        if !name.is_empty() {
            assert_eq!(object_at(&again).as_ref(), Some(&object));
        }
    }
    // By its id it is the same object.
    let by_id =
        object_at(&format!("/do/RATE_LIMITER/id/{}/check", binding.namespace.hex(object.id)));
    assert_eq!(by_id.map(|by_id| (by_id.id, by_id.name)), Some((object.id, None)));
    Verdict::Taken
}

fn object_at(path: &str) -> Option<tallykeep::machine::ObjectRef> {
    fuzzing::object(path, &BINDINGS, Class::RateLimiter).ok()
}

/// The query string of `/export`.
pub fn parameters(text: &[u8]) -> Verdict {
    let Ok(string) = std::str::from_utf8(text) else { return Verdict::Refused };
    let (format, filter) = match bounded(text, TEXT, || fuzzing::parameters(string)) {
        Ok(read) => read,
        Err(error) => return refused(&error, text),
    };
    filter.validate().expect("what was read is within its bounds");

    let mut again = match format.as_str() {
        "Json" => "format=json".to_owned(),
        "Ndjson" => "format=ndjson".to_owned(),
        "Csv { escape: true }" => "format=csv".to_owned(),
        "Csv { escape: false }" => "format=csv&csvEscape=none".to_owned(),
        other => panic!("a format that is not documented: {other}"),
    };
    let texts = [
        ("type", &filter.type_),
        ("action", &filter.action),
        ("userId", &filter.user_id),
        ("ip", &filter.ip),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            write!(again, "&{name}={}", percent_encoded(value)).expect("a String takes it");
        }
    }
    for (name, value) in [("startTime", filter.start_ms), ("endTime", filter.end_ms)] {
        if let Some(value) = value {
            write!(again, "&{name}={value}").expect("a String takes it");
        }
    }
    again += match filter.order {
        Order::Asc => "&order=asc",
        Order::Desc => "&order=desc",
    };
    assert_eq!(fuzzing::parameters(&again), Ok((format, filter)));
    Verdict::Taken
}

/// Every byte as `%XX`.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").expect("a String takes it");
        encoded
    })
}
