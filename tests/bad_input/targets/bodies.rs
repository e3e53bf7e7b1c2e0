//! The JSON bodies of `/check`, `/reset`, `/log` and `/query`, and of a credit.

use serde_json::{Value, json};
use tallykeep::fuzzing::{
    self, CheckBody, Config, CreditBody, LogEntry, PastEntry, QueryBody, ResetBody,
};
use tallykeep::limits;
use tallykeep::machine::audit::term;
use tallykeep::query::Order;
use tallykeep::raft::Change;

use super::allocation::{TEXT, bounded};
use super::{Verdict, cursors, refused};

/// The body of `/check`, which is one of `/reset`, too; or that of a credit.
pub fn check(body: &[u8]) -> Verdict {
    if let Ok(credit) = bounded(body, TEXT, || fuzzing::credit(body)) {
        assert_credit(&credit);
    }
    let (read, reset) = bounded(body, TEXT, || (fuzzing::check(body), fuzzing::reset(body)));
    let Ok(CheckBody { identifier, type_, config }) = &read else {
        if let Ok(reset) = &reset {
            assert_names(reset);
        }
        return refused(&read.expect_err("it is no body"), body);
    };
    assert_json(body);
    let names = ResetBody { identifier: identifier.clone(), type_: type_.clone() };
    assert_eq!(reset.as_ref(), Ok(&names), "a check's names are a reset's");
    assert_names(&names);
    assert!(config.is_some() || type_.is_some(), "where there is no limit there is a type");
    let config = config.map(|Config { requests, window_ms }| {
        assert!(requests <= limits::REQUESTS_MAX);
        assert!((limits::WINDOW_MS_MIN..=limits::WINDOW_MS_MAX).contains(&window_ms));
        let written = json!({"requests": requests, "windowMs": window_ms});
        let policy = fuzzing::policy(written.to_string().as_bytes());
        assert_eq!(policy, Ok(Config { requests, window_ms }));
        written
    });
    let written = json!({"identifier": identifier, "type": type_, "config": config});
    assert_eq!(fuzzing::check(written.to_string().as_bytes()), read);
    Verdict::Taken
}

fn assert_credit(credit: &CreditBody) {
    let CreditBody { identifier, amount, type_ } = credit;
    assert!((1..=limits::REQUESTS_MAX).contains(amount));
    assert_names(&ResetBody { identifier: identifier.clone(), type_: type_.clone() });
    let written = json!({"identifier": identifier, "amount": amount, "type": type_});
    assert_eq!(fuzzing::credit(written.to_string().as_bytes()).as_ref(), Ok(credit));
}

fn assert_names(ResetBody { identifier, type_ }: &ResetBody) {
    for name in [Some(identifier), type_.as_ref()].into_iter().flatten() {
        assert!((1..=limits::NAME_BYTES_MAX).contains(&name.len()));
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
}

/// The body of `/log`; what it makes an entry of, and itself, as an entry of `/admin/import`.
pub fn log(body: &[u8]) -> Verdict {
    if let Ok(past) = bounded(body, TEXT, || fuzzing::imported(body)) {
        assert_json(&past.body);
        assert!(past.at_ms <= limits::TIME_MS_MAX);
        assert_eq!(fuzzing::imported(&past.body).as_ref(), Ok(&past));
    }
    let entry = match bounded(body, TEXT, || fuzzing::entry(body)) {
        Ok(entry) => entry,
        Err(error) => return refused(&error, body),
    };
    assert_json(body);
    let LogEntry { members, terms } = &entry;
    // `"details":{}` may come in addition; nothing else grows but `timestamp`, which becomes
    // `clientTime`.
    assert!(members.len() <= body.len() + 32, "an entry is not longer than its body");
    assert!(!members.contains(&b'\n'), "an entry is one line");

    // The entry's own members are a body again, and the same entry: nothing is lost or made anew.
    let object = [b"{", &members[..], b"}"].concat();
    assert_json(&object);
    assert_eq!(fuzzing::entry(&object).as_ref(), Ok(&entry));

    // What is exported of it can be imported, and is the same, byte for byte.
    let body = [br#"{"id":"a-1","timestamp":7,"#, &members[..], b"}"].concat();
    let past = PastEntry { at_ms: 7, terms: *terms, body: body.clone().into() };
    assert_eq!(fuzzing::imported(&body), Ok(past));

    // serde_json takes no number that a double does not hold; the log takes every one.
    if let Ok(value) = serde_json::from_slice::<Value>(&object) {
        for (name, found) in ["type", "action", "userId", "ip"].iter().zip(terms) {
            assert_eq!(value.get(name).and_then(Value::as_str).map(term), *found, "{name}");
        }
        assert!(value["details"].is_object());
        assert!(value.get("id").is_none() && value.get("timestamp").is_none());
    }
    Verdict::Taken
}

/// The body of `/query`, and the first pages of what it asks for.
pub fn query(body: &[u8]) -> Verdict {
    let read = bounded(body, TEXT, || fuzzing::query(body));
    let Ok(QueryBody { filter, limit, cursor }) = &read else {
        return refused(&read.expect_err("it is no body"), body);
    };
    assert_json(body);
    filter.validate().expect("what was read is within its bounds");
    assert!(*limit <= limits::QUERY_LIMIT_MAX);

    let written = json!({
        "startTime": filter.start_ms,
        "endTime": filter.end_ms,
        "type": filter.type_,
        "action": filter.action,
        "userId": filter.user_id,
        "ip": filter.ip,
        "order": match filter.order { Order::Asc => "asc", Order::Desc => "desc" },
        "limit": limit,
        "cursor": cursor,
    });
    assert_eq!(fuzzing::query(written.to_string().as_bytes()), read);
    cursors::assert_pages(filter, *limit, cursor.as_deref());
    Verdict::Taken
}

/// The body of `/check/batch`; that of `/log/batch` has another member.
pub fn batch(body: &[u8]) -> Verdict {
    let items = match bounded(body, TEXT, || fuzzing::batch(body, "checks")) {
        Ok(items) => items,
        Err(error) => return refused(&error, body),
    };
    assert_json(body);
    assert!((1..=limits::BATCH_ITEMS_MAX).contains(&items.len()));
    // Each is JSON by itself, and together they are the same batch.
    items.iter().for_each(|item| assert_json(item));
    let again = [&br#"{"checks":["#[..], &items.join(&b','), b"]}"].concat();
    assert_eq!(fuzzing::batch(&again, "checks").as_ref(), Ok(&items));
    Verdict::Taken
}

/// The body of `/admin/members`.
pub fn members(body: &[u8]) -> Verdict {
    let read = bounded(body, TEXT, || {
        let change: Change = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        change.check().map(|()| change)
    });
    match read {
        Ok(change) => {
            assert_json(body);
            let written = serde_json::to_vec(&change).expect("a change is JSON");
            assert_eq!(serde_json::from_slice::<Change>(&written).ok(), Some(change));
            Verdict::Taken
        }
        Err(why) => {
            assert!(!why.is_empty());
            Verdict::Refused
        }
    }
}

/// Asserts that what was taken for JSON is JSON to others as well.
fn assert_json(text: &[u8]) {
    let read = serde_json::from_slice::<serde::de::IgnoredAny>(text);
    assert!(read.is_ok(), "no JSON, and taken: {}", String::from_utf8_lossy(text));
}
