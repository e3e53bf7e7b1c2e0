//! Lists and looks against what is known to be there, and against a store that gives no cell for nothing.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;

use super::super::memory::{Memory, NAMESPACE};
use super::super::{Snapshot, Source};
use super::*;
use crate::limits;
use crate::machine::limiter::Cell;
use crate::machine::{Measured, Namespace, Row, View};

const RETENTION_MS: u64 = 1_000_000;

/// A store in memory.
struct Store(Memory);

impl Source for Store {
    fn with_cells(&self, keys: Vec<Vec<u8>>) -> Box<dyn Snapshot> {
        Box::new(With { memory: self.0.clone(), keys: keys.into_iter().collect() })
    }

    fn whole(&self) -> io::Result<Box<dyn Snapshot>> {
        Ok(Box::new(self.0.clone()))
    }
}

/// A snapshot without the cells that were not asked for.
struct With {
    memory: Memory,
    keys: BTreeSet<Vec<u8>>,
}

impl View for With {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        assert!(table != Table::Cell || self.keys.contains(key), "this cell was not asked for");
        self.memory.get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
        assert_ne!(table, Table::Cell, "cells are in no order");
        self.memory.scan(table, from, to, limit)
    }
}

impl Snapshot for With {
    fn scan_back(&self, _: Table, _: &[u8], _: &[u8], _: usize) -> io::Result<Vec<Row>> {
        panic!("nothing is read backwards")
    }

    fn get_each(
        &self,
        table: Table,
        keys: &[Vec<u8>],
        near: bool,
    ) -> io::Result<Vec<Option<Vec<u8>>>> {
        assert_ne!(table, Table::Cell, "cells are asked for by their keys");
        self.memory.get_each(table, keys, near)
    }
}

fn namespace() -> Namespace {
    Namespace::new("script-RateLimiter")
}

/// Puts a limiter there as builds did that measured none, with these identifiers, of which the first has
/// one request, the next two, …
fn limiter(memory: &mut Memory, object: &ObjectRef, identifiers: &[&str]) {
    let state = ObjectState::Limiter { cells: identifiers.len() as u64 };
    let record = ObjectRecord { name: object.name.clone(), created_ms: 1, state };
    memory.set(Table::Object, keys::object(object), codec::encode(&record));
    for (place, identifier) in identifiers.iter().enumerate() {
        let count = place as u64 + 1;
        let cell = Cell { count, window_start_ms: 7, ends_ms: 100 + count, alarm_ms: 90 + count };
        memory.set(Table::Cell, keys::cell(object, identifier), codec::encode(&cell));
    }
}

/// All pages of a list, with `between` called behind each.
fn pages(
    store: &mut Store,
    prefix: &str,
    limit: usize,
    mut between: impl FnMut(&mut Memory, &List),
) -> Vec<Listed> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let namespace = namespace().id();
        let page = list(store, namespace, prefix, limit, cursor.as_ref(), RETENTION_MS).unwrap();
        assert!(page.objects.len() <= limit);
        between(&mut store.0, &page);
        all.extend(page.objects);
        match page.cursor {
            // As a client sends it.
            Some(next) => cursor = Some(Cursor::parse(&next.to_text()).unwrap()),
            None => return all,
        }
    }
}

const NAMES: [&str; 9] =
    ["wix:u", "wix:::1", "wix:", "wi", "", "ü:日本", "a%2Fb", "a/b", "wix:u:v"];

fn store() -> Store {
    let mut memory = Memory::default();
    for name in NAMES {
        let identifier = name.split_once(':').map_or(name, |(_, identifier)| identifier);
        limiter(&mut memory, &namespace().object(name), &[identifier]);
    }
    // Of other namespaces, before and behind.
    for (other, byte) in [("0", 0), ("1", 0xff)] {
        let mut object = Namespace::new(other).object("wix:u");
        object.namespace.0 = [byte; 8];
        limiter(&mut memory, &object, &["u"]);
    }
    Store(memory)
}

#[test]
fn pages_hold_each_object_once_in_every_length() {
    for limit in 1..=NAMES.len() + 1 {
        for prefix in ["", "wix:", "wix:u", "w", "a/", "a%", "ü", "nobody"] {
            let mut calls = 0;
            let listed = pages(&mut store(), prefix, limit, |_, _| calls += 1);
            assert!(listed.is_sorted_by_key(|one| one.id));
            let names: BTreeSet<_> = listed.iter().map(|one| one.name.clone().unwrap()).collect();
            let expected = NAMES.iter().filter(|name| name.starts_with(prefix));
            let expected: BTreeSet<_> = expected.map(|name| (*name).to_owned()).collect();
            assert_eq!((names.len(), names), (listed.len(), expected), "{prefix:?} by {limit}");
            assert_eq!(calls, listed.len().div_ceil(limit).max(1), "a page for nothing");
            for one in &listed {
                let name = one.name.as_deref().unwrap();
                let identifier = name.split_once(':').map_or(name, |(_, identifier)| identifier);
                let bytes = Some(64 + identifier.len() as u64);
                assert_eq!(one.sizes, Sizes { keys: 1, bytes, alarm_ms: Some(91) }, "{name}");
            }
        }
    }
}

/// A prefix that few objects have is looked for in bounded pieces.
#[test]
fn a_page_looks_at_a_bounded_number_of_objects() {
    let mut memory = Memory::default();
    for number in 0..limits::OBJECT_ROWS_MAX + 5_000 {
        limiter(&mut memory, &namespace().object(&format!("many:{number}")), &[]);
    }
    limiter(&mut memory, &namespace().object("wix:u"), &["u"]);
    let (mut pages_seen, mut empty) = (0, 0);
    let found = pages(&mut Store(memory), "wix:", 10, |_, page| {
        pages_seen += 1;
        empty += u32::from(page.objects.is_empty());
    });
    assert_eq!((found.len(), pages_seen, empty), (1, 2, 1));
}

/// Objects that come and go between pages do not make one be skipped or told twice that stays.
#[test]
fn a_list_bears_writes_between_its_pages() {
    let mut store = store();
    let mut number = 0;
    let listed = pages(&mut store, "", 2, |memory, _| {
        let name = format!("new {number}");
        number += 1;
        limiter(memory, &namespace().object(&name), &[&name]);
    });
    let told: Vec<_> = listed.iter().filter_map(|one| one.name.as_deref()).collect();
    for name in NAMES {
        assert_eq!(told.iter().filter(|told| **told == name).count(), 1, "{name}");
    }
}

#[test]
fn a_limiter_that_has_more_than_its_name_tells_is_read_whole_when_it_is_looked_at() {
    let Store(mut memory) = store();
    let shared = namespace().object("shared");
    let identifiers = ["c", "a", "b", "é"];
    limiter(&mut memory, &shared, &identifiers);
    let unnamed = ObjectRef { name: None, ..namespace().object("secret") };
    limiter(&mut memory, &unnamed, &["x"]);
    let mut store = Store(memory);
    for listed in pages(&mut store, "", 100, |_, _| {}) {
        if listed.id == shared.id {
            assert_eq!(listed.sizes, Sizes { keys: 4, bytes: None, alarm_ms: None });
        } else if listed.id == unnamed.id {
            assert_eq!((listed.name, listed.sizes.bytes), (None, None));
        }
    }
    assert!(pages(&mut store, "s", 9, |_, _| {}).iter().all(|one| one.id != unnamed.id));

    for limit in 1..=5 {
        let (mut told, mut cursor) = (Vec::new(), None);
        loop {
            let shown = show(&store, &shared, limit, cursor.as_ref(), 0).unwrap().unwrap();
            assert_eq!(shown.sizes, Sizes { keys: 4, bytes: Some(261), alarm_ms: Some(91) });
            told.extend(shown.storage.into_iter().map(|(key, _)| key));
            cursor = shown.cursor;
            if cursor.is_none() {
                break;
            }
        }
        let expected = ["a", "b", "c", "é"].map(|identifier| format!("ratelimit:{identifier}"));
        assert_eq!(told, expected, "by {limit}");
    }
    let shown = show(&store, &unnamed, 9, None, 0).unwrap().unwrap();
    let value = br#"{"count":1,"windowStart":7}"#.as_slice();
    assert_eq!(shown.storage, [("ratelimit:x".to_owned(), Bytes::from_static(value))]);
    // By its name, which only who asks knows, it is the same.
    let by_name = namespace().object("secret");
    assert_eq!(show(&store, &by_name, 9, None, 0).unwrap().unwrap().storage, shown.storage);
    assert_eq!(show(&store, &namespace().object("nobody"), 9, None, 0).unwrap(), None);
}

/// Whether its identifiers are measured is told by its row.
#[test]
fn a_limiter_that_is_measured_tells_its_bytes_without_its_cells() {
    let Store(mut memory) = store();
    let shared = namespace().object("shared");
    for (measured, bytes) in [(4, Some(4 * 64 + 5)), (3, None)] {
        limiter(&mut memory, &shared, &["c", "a", "b", "é"]);
        let measured = Measured { cells: 4, measured, identifier_bytes: 5 };
        let state = ObjectState::Measured(measured);
        let record = ObjectRecord { name: shared.name.clone(), created_ms: 1, state };
        memory.set(Table::Object, keys::object(&shared), codec::encode(&record));
        let mut store = Store(memory.clone());
        let listed = pages(&mut store, "shared", 9, |_, _| {});
        assert_eq!(listed[0].sizes, Sizes { keys: 4, bytes, alarm_ms: None });
        let shown = show(&store, &shared, 9, None, 0).unwrap().unwrap();
        assert_eq!(shown.sizes, Sizes { keys: 4, bytes: Some(261), alarm_ms: Some(91) });
    }
}

#[test]
fn a_shard_is_shown_in_the_order_of_its_log() {
    let mut memory = Memory::default();
    let texts = [Some("a"), Some("b"), None, None];
    let bodies: Vec<_> = (0..100).map(|at_ms| memory.append(1, at_ms, texts)).collect();
    memory.expire(1, 3);
    let (store, object) = (Store(memory), Memory::object(1));
    let (mut told, mut cursor) = (Vec::new(), None);
    loop {
        let shown = show(&store, &object, 40, cursor.as_ref(), RETENTION_MS).unwrap().unwrap();
        assert_eq!((shown.sizes.keys, shown.sizes.alarm_ms), (97, Some(3 + RETENTION_MS)));
        told.extend(shown.storage);
        cursor = shown.cursor;
        if cursor.is_none() {
            break;
        }
    }
    let expected = bodies.iter().enumerate().skip(3);
    let expected = expected
        .map(|(at_ms, body)| (format!("log:{at_ms}:{}", at_ms + 1), Bytes::from(body.clone())));
    assert!(told.into_iter().eq(expected));
    let counted = count(&store.0, NAMESPACE, 1).unwrap().unwrap();
    assert_eq!((counted.objects, counted.bytes.is_some()), (1, true));
    assert_eq!(count(&store.0, NAMESPACE, 0).unwrap(), None);
}

#[test]
fn who_stands_for_a_limiter_is_found_by_its_name() {
    let store = store();
    let identifier = |name: &str, given| {
        let found = standing(&store, &namespace().object(name), given).unwrap();
        (found.identifier, found.cell.map(|cell| cell.count))
    };
    let owned = |text: &str| Some(text.to_owned());
    assert_eq!(identifier("wix:u", None), (owned("u"), Some(1)));
    assert_eq!(identifier("wix:::1", None), (owned("::1"), Some(1)));
    assert_eq!(identifier("wi", None), (owned("wi"), Some(1)));
    assert_eq!(identifier("wix:u", Some("v")), (owned("v"), None));
    assert_eq!(identifier("nobody", None), (None, None));
    let by_id = ObjectRef { name: None, ..namespace().object("wix:u") };
    let found = standing(&store, &by_id, None).unwrap();
    assert_eq!((found.name, found.identifier), (owned("wix:u"), owned("u")));
}

#[test]
fn a_cursor_is_for_its_own_list_alone() {
    let store = store();
    let namespace = namespace().id();
    let ask = |prefix, cursor: Option<&Cursor>| list(&store, namespace, prefix, 1, cursor, 0);
    let cursor = ask("", None).unwrap().cursor.unwrap();
    assert_eq!(ask("w", Some(&cursor)).unwrap_err().code, "bad_cursor");
    assert_eq!(list(&store, NAMESPACE, "", 1, Some(&cursor), 0).unwrap_err().code, "bad_cursor");
    let object = Memory::object(1);
    assert_eq!(show(&store, &object, 1, None, 0).unwrap(), None);
    let text = cursor.to_text();
    for at in 0..text.len() {
        let mut changed = text.clone();
        let digit = if changed.as_bytes()[at] == b'0' { "1" } else { "0" };
        changed.replace_range(at..=at, digit);
        assert!(Cursor::parse(&changed).is_err(), "{changed}");
    }
    for text in ["", "é", "zz", &text[2..], &"0".repeat(limits::OBJECT_CURSOR_CHARS_MAX + 2)] {
        assert_eq!(Cursor::parse(text).unwrap_err().code, "bad_cursor");
    }
}
