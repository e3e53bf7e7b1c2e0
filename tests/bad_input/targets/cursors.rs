//! Cursors: those that a client makes up, and those that have a right checksum all the same.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tallykeep::codec;
use tallykeep::machine::audit::term;
use tallykeep::machine::{Append, Batch, Command, Group, Machine, Namespace, ObjectRef};
use tallykeep::query::{Cursor, Filter, Order, Scope, page};

use super::allocation::{TEXT, bounded};
use super::store::Store;
use super::{Verdict, refused};

/// Pages after which a query over this log must have come to its end.
const PAGES_MAX: usize = 200;
const DAYS: u32 = 4;
const ENTRIES_A_DAY: u64 = 12;
const TYPES: [&str; 3] = ["red", "green", "blue"];

/// An audit log of some days, all of whose shards are of one namespace.
struct Log {
    store: Store,
    namespace: Namespace,
    /// Each entry's day, type and body, oldest first.
    entries: Vec<(u32, &'static str, Bytes)>,
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let namespace = Namespace::new("script-AuditLogger");
    let (mut store, mut entries) = (Store::default(), Vec::new());
    let mut machine = Machine::load(&store).expect("an empty store");
    let mut commands = Vec::new();
    for day in 0..DAYS {
        for number in 0..ENTRIES_A_DAY {
            let kind = TYPES[usize::try_from(number % 3).expect("a small number")];
            let body = Bytes::from(format!(
                r#"{{"id":"{day}-{number}","type":"{kind}","action":"act","details":{{}}}}"#
            ));
            entries.push((day, kind, body.clone()));
            commands.push(Append {
                object: shard(&namespace, day),
                day: Some(day),
                id: [0; 16],
                terms: [Some(term(kind)), Some(term("act")), None, None],
                body,
            });
        }
    }
    let mut apply = |at_ms, session, sequence, command| {
        let commands = Arc::new(vec![command]);
        let group = Group { session, sequence, answered_below: 0, commands };
        let batch = Batch { at_ms, groups: vec![group] };
        let (_, effects) = machine.apply(&store, &batch).expect("a sound store");
        store.make(&effects);
    };
    apply(1, 0, 0, Command::OpenSession { node: 1 });
    for (sequence, append) in (1..).zip(commands) {
        // Some entries share a millisecond; no more than 64 answers are kept unconfirmed.
        apply(1 + sequence / 2, 1, sequence, Command::Append(append));
    }
    Log { store, namespace, entries }
});

fn shard(namespace: &Namespace, day: u32) -> ObjectRef {
    namespace.object(&format!("day-{day}"))
}

impl Log {
    /// The bodies of a scope that a filter by type wants, in its order.
    fn naive(&self, day: Option<u32>, filter: &Filter) -> Vec<Bytes> {
        let wanted = self.entries.iter().filter(|(of, kind, _)| {
            day.is_none_or(|day| day == *of)
                && filter.type_.as_ref().is_none_or(|wanted| wanted == kind)
        });
        let mut bodies: Vec<Bytes> = wanted.map(|(_, _, body)| body.clone()).collect();
        if filter.order == Order::Desc {
            bodies.reverse();
        }
        bodies
    }

    /// Reads all pages from a cursor on.
    fn read(
        &self,
        scope: &Scope,
        filter: &Filter,
        limit: usize,
        cursor: Option<Cursor>,
    ) -> Vec<Bytes> {
        let (mut entries, mut cursor) = (Vec::new(), cursor);
        for _ in 0..PAGES_MAX {
            let read = page(&self.store, scope, filter, limit, cursor.as_ref());
            let read = read.expect("whatever a cursor says, the log can be read");
            assert!(read.entries.len() <= limit);
            entries.extend(read.entries);
            let Some(text) = read.cursor else { return entries };
            cursor = Some(Cursor::parse(&text, scope, filter).expect("a page's own cursor"));
        }
        panic!("a query of {PAGES_MAX} pages over {} entries", self.entries.len());
    }
}

/// Asserts that a query that was read can be answered.
pub fn assert_pages(filter: &Filter, limit: usize, cursor: Option<&str>) {
    let scope = Scope::Namespace(LOG.namespace.id());
    let cursor = match cursor.map(|text| Cursor::parse(text, &scope, filter)).transpose() {
        Ok(cursor) => cursor,
        Err(error) => return assert_eq!(error.code, "bad_cursor"),
    };
    // A page of few entries is the harder case.
    for limit in [limit, limit.min(5)] {
        LOG.read(&scope, filter, limit, cursor.clone());
    }
}

/// `scope and filter (1) ‖ entries a page (1) ‖ mode (1) ‖ …`: in mode 0 the rest is a cursor's text;
/// in the others it is a position, `has day (1) ‖ day (4) ‖ shard (8) ‖ boundary (8)`, of which a
/// cursor with the right checksum is made for this very query.
pub fn cursor(input: &[u8]) -> Verdict {
    let [what, entries, mode, rest @ ..] = input else { return Verdict::Refused };
    let day = (what & 1 == 1).then(|| u32::from(what >> 4) % DAYS);
    let scope = match day {
        Some(day) => Scope::Object(shard(&LOG.namespace, day)),
        None => Scope::Namespace(LOG.namespace.id()),
    };
    let filter = Filter {
        order: if what & 2 == 2 { Order::Asc } else { Order::Desc },
        type_: TYPES.get(usize::from(what >> 2) % 4).map(|kind| (*kind).to_owned()),
        ..Filter::default()
    };
    let limit = usize::from(entries % 8) + 1;
    let text = match mode {
        0 => String::from_utf8_lossy(rest).into_owned(),
        _ => forged(&scope, &filter, rest),
    };
    let parsed = bounded(text.as_bytes(), TEXT, || Cursor::parse(&text, &scope, &filter));
    let cursor = match parsed {
        Ok(cursor) => cursor,
        Err(error) => {
            assert_eq!(error.code, "bad_cursor");
            return refused(&error, text.as_bytes());
        }
    };
    // It shows nothing but what the query would, in its order, and nothing twice.
    let read = LOG.read(&scope, &filter, limit, Some(cursor));
    let mut all = LOG.naive(day, &filter).into_iter();
    assert!(read.iter().all(|entry| all.any(|other| other == entry)), "{read:?}");
    Verdict::Taken
}

/// What a cursor is made of, as its text holds it.
type Parts = ([u8; 8], (Option<u32>, u64, u64));

/// A cursor of the query that says where to go on as `position` does.
fn forged(scope: &Scope, filter: &Filter, position: &[u8]) -> String {
    let genuine = page(&LOG.store, scope, filter, 1, None).expect("the log can be read");
    let genuine = hex::decode(genuine.cursor.expect("there is more")).expect("digits");
    let (value, _) = genuine.split_last_chunk::<4>().expect("a checksum");
    let (query, _): Parts = codec::decode(value).expect("a cursor's parts");

    let mut position = position.iter().copied().chain(std::iter::repeat(0));
    let mut number = |bytes: usize| {
        position.by_ref().take(bytes).fold(0u64, |number, byte| number << 8 | u64::from(byte))
    };
    let (has_day, day) = (number(1) & 1 == 1, number(4));
    let day = has_day.then(|| u32::try_from(day).expect("four bytes"));
    let parts: Parts = (query, (day, number(8), number(8)));
    let mut value = codec::encode(&parts);
    value.extend_from_slice(&crc32fast::hash(&value).to_be_bytes());
    hex::encode(value)
}
