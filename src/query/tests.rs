//! Queries against a model that looks at every entry.

use proptest::prelude::*;

use super::memory::{Memory, NAMESPACE, Texts};
use super::page::{Budget, page_within};
use super::*;
use crate::limits;
use crate::machine::audit::term;

/// No budget that a test would meet.
const ALL: Budget = Budget { bytes: usize::MAX, rows: usize::MAX };

fn namespace() -> Scope {
    Scope::Namespace(NAMESPACE)
}

/// The model's answer, in the filter's order.
fn model(memory: &Memory, day: Option<u32>, filter: &Filter) -> Vec<Vec<u8>> {
    let mut found = memory.naive(day, filter);
    if filter.order == Order::Desc {
        found.reverse();
    }
    found
}

/// All pages of a query, with `between` called behind each.
fn pages(
    memory: &mut Memory,
    scope: &Scope,
    filter: &Filter,
    limit: usize,
    budget: Budget,
    mut between: impl FnMut(&mut Memory),
) -> Vec<Vec<u8>> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = page_within(memory, scope, filter, limit, cursor.as_ref(), budget).unwrap();
        assert!(page.entries.len() <= limit);
        all.extend(page.entries.iter().map(|body| body.to_vec()));
        let Some(text) = page.cursor else { return all };
        cursor = Some(Cursor::parse(&text, scope, filter).unwrap());
        between(memory);
    }
}

fn walked(memory: &Memory, scope: &Scope, filter: &Filter) -> Vec<Vec<u8>> {
    let mut walk = Walk::new(scope, filter.clone());
    let mut all = Vec::new();
    while let Some(chunk) = walk.next_chunk(memory).unwrap() {
        all.extend(chunk.iter().map(|body| body.to_vec()));
    }
    all
}

/// Three shards by date; few distinct times and texts, so that all of them repeat.
fn log() -> impl Strategy<Value = Memory> {
    let texts = |values: &'static [Option<&'static str>]| prop::sample::select(values);
    let entry = (
        prop_oneof![4 => Just(0u64), 1 => 1u64..3],
        texts(&[Some("a"), Some("b")]),
        texts(&[Some("a"), Some("é\"\\"), Some("rare")]),
        texts(&[None, Some("u1"), Some("u2")]),
        texts(&[None, Some(""), Some("::1")]),
    );
    let shard = (prop::collection::vec(entry, 0..150), 0u64..40);
    prop::collection::vec(shard, 3).prop_map(|shards| {
        let mut memory = Memory::default();
        for (day, (entries, expired)) in (0u32..).zip(shards) {
            let mut at_ms = u64::from(day) * 40;
            for (step, type_, action, user_id, ip) in &entries {
                at_ms += step;
                memory.append(day, at_ms, [*type_, *action, *user_id, *ip]);
            }
            if !entries.is_empty() {
                memory.expire(day, expired);
            }
        }
        memory
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let text = |values: &'static [&'static str]| {
        prop_oneof![2 => Just(None), 1 => prop::sample::select(values).prop_map(Some)]
            .prop_map(|text| text.map(str::to_owned))
    };
    (
        prop::option::of(0u64..200),
        prop::option::of(0u64..200),
        text(&["a", "b", "none"]),
        text(&["a", "é\"\\", "rare"]),
        text(&["u1", "u2"]),
        text(&["", "::1"]),
        prop::bool::ANY,
    )
        .prop_map(|(start_ms, end_ms, type_, action, user_id, ip, ascending)| Filter {
            start_ms,
            end_ms,
            type_,
            action,
            user_id,
            ip,
            order: if ascending { Order::Asc } else { Order::Desc },
        })
}

fn budget() -> impl Strategy<Value = Budget> {
    prop_oneof![
        Just(ALL),
        (1usize..2000, 1usize..200).prop_map(|(bytes, rows)| Budget { bytes, rows })
    ]
}

proptest! {
    #[test]
    fn pages_and_walks_give_what_the_model_gives(
        mut memory in log(),
        filter in filter(),
        day in prop::option::of(0u32..3),
        limit in 1usize..60,
        budget in budget(),
    ) {
        let scope = day.map_or(namespace(), |day| Scope::Object(Memory::object(day)));
        let expected = model(&memory, day, &filter);
        prop_assert_eq!(&walked(&memory, &scope, &filter), &expected);
        prop_assert_eq!(pages(&mut memory, &scope, &filter, limit, budget, |_| {}), expected);
    }

    #[test]
    fn a_log_that_grows_between_pages_loses_and_repeats_nothing(
        mut memory in log(),
        filter in filter(),
        limit in 1usize..60,
        budget in budget(),
    ) {
        let before = model(&memory, None, &filter);
        let mut left = 30;
        let paged = pages(&mut memory, &namespace(), &filter, limit, budget, |memory| {
            // At the end of the log, in the last shard or in a new one.
            if left > 0 {
                left -= 1;
                let day = if left > 20 { 2 } else { 3 };
                memory.append(day, 1000, [Some("a"), Some("rare"), Some("u1"), Some("")]);
            }
        });
        match filter.order {
            Order::Desc => prop_assert_eq!(paged, before),
            Order::Asc => {
                let after = model(&memory, None, &filter);
                prop_assert!(paged.len() >= before.len());
                prop_assert!(after.starts_with(&paged));
            }
        }
    }
}

const TEXTS: Texts = [Some("t"), Some("a"), None, None];

/// Entries of one millisecond: `0..per_day` on each of the days.
fn days(days: u32, per_day: usize) -> Memory {
    let mut memory = Memory::default();
    for day in 0..days {
        for _ in 0..per_day {
            memory.append(day, u64::from(day), TEXTS);
        }
    }
    memory
}

fn first_page(memory: &Memory, filter: &Filter, limit: usize) -> Page {
    page(memory, &namespace(), filter, limit, None).unwrap()
}

fn next_page(memory: &Memory, filter: &Filter, limit: usize, cursor: &Option<String>) -> Page {
    let cursor = Cursor::parse(cursor.as_ref().unwrap(), &namespace(), filter).unwrap();
    page(memory, &namespace(), filter, limit, Some(&cursor)).unwrap()
}

#[test]
fn a_full_last_page_has_no_cursor_and_an_empty_one_neither() {
    let memory = days(2, 5);
    let filter = Filter::default();
    let whole = first_page(&memory, &filter, 10);
    assert_eq!((whole.entries.len(), whole.cursor), (10, None));
    assert!(first_page(&memory, &filter, 9).cursor.is_some());
    assert_eq!(first_page(&memory, &filter, 0), Page { entries: Vec::new(), cursor: None });
    assert_eq!(first_page(&Memory::default(), &filter, 5).cursor, None);
}

#[test]
fn a_cursor_goes_on_behind_a_shard_that_was_removed() {
    for order in [Order::Asc, Order::Desc] {
        let mut memory = days(3, 5);
        let filter = Filter { order, ..Filter::default() };
        let all = model(&memory, None, &filter);
        let first = first_page(&memory, &filter, 7);
        memory.remove(1);
        let rest = next_page(&memory, &filter, 100, &first.cursor);
        assert_eq!(rest.entries, all[10..]);
        assert_eq!(rest.cursor, None);
    }
}

#[test]
fn a_cursor_goes_on_behind_entries_that_have_expired() {
    for (order, already_read) in [(Order::Asc, 0), (Order::Desc, 4)] {
        let mut memory = days(1, 20);
        let filter = Filter { order, ..Filter::default() };
        let first = first_page(&memory, &filter, 4);
        memory.expire(0, 10);
        let rest = next_page(&memory, &filter, 100, &first.cursor);
        let left = model(&memory, None, &filter);
        // The ten oldest have gone; the four that were read are among them, or are the newest.
        assert_eq!(rest.entries, left[already_read..]);
        assert_eq!(rest.cursor, None);
    }
}

/// A shard that was removed whole and begun again has sequence numbers from the start.
#[test]
fn a_cursor_does_not_take_a_new_shard_for_the_removed_one() {
    for (order, expected) in [(Order::Asc, 4 + 5), (Order::Desc, 5)] {
        let mut memory = days(3, 5);
        let filter = Filter { order, ..Filter::default() };
        let first = first_page(&memory, &filter, 7);
        memory.remove(1);
        for _ in 0..4 {
            memory.append(1, 50, TEXTS);
        }
        let rest = next_page(&memory, &filter, 100, &first.cursor);
        assert_eq!(rest.entries.len(), expected, "{order:?}");
    }
}

/// An entry sent by name to the shard of the day before is stamped with today's time.
#[test]
fn a_time_range_finds_entries_outside_their_shards_day() {
    let mut memory = days(2, 3);
    let late = memory.append(0, 9_999, TEXTS);
    let filter = Filter { start_ms: Some(9_000), ..Filter::default() };
    assert_eq!(first_page(&memory, &filter, 10).entries, [late]);
}

#[test]
fn an_entry_under_a_colliding_term_is_not_taken_for_a_match() {
    let mut memory = Memory::default();
    let right = memory.append(0, 1, TEXTS);
    memory.append_under(
        0,
        2,
        [Some("other"), None, None, None],
        [Some(term("t")), None, None, None],
    );
    let filter = Filter { type_: Some("t".into()), ..Filter::default() };
    assert_eq!(first_page(&memory, &filter, 10).entries, [right]);
}

/// One rare entry among many: the streams leap, and the answer is still whole.
#[test]
fn a_rare_term_is_found_among_many_common_ones() {
    let mut memory = Memory::default();
    let mut expected = Vec::new();
    for number in 0..20_000u64 {
        let action = if number % 6_000 == 17 { "rare" } else { "common" };
        let body = memory.append(0, number / 100, [Some("t"), Some(action), None, None]);
        if action == "rare" {
            expected.push(body);
        }
    }
    for order in [Order::Asc, Order::Desc] {
        let (type_, action) = (Some("t".into()), Some("rare".into()));
        let filter = Filter { type_, action, order, ..Filter::default() };
        assert_eq!(walked(&memory, &namespace(), &filter), expected);
        // Far fewer rows than there are: what a page may look at suffices.
        let budget = Budget { rows: 2_000, ..ALL };
        let page = page_within(&memory, &namespace(), &filter, 100, None, budget).unwrap();
        assert_eq!((page.entries.len(), page.cursor), (4, None));
        expected.reverse();
    }
}

#[test]
fn a_lost_entry_is_an_error_and_never_a_gap() {
    let mut memory = days(1, 50);
    memory.lose_entry(0, 20);
    for type_ in [None, Some("t".to_owned())] {
        let filter = Filter { type_, ..Filter::default() };
        let error = page(&memory, &namespace(), &filter, 100, None).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }
}

#[test]
fn chunks_follow_the_size_of_the_entries() {
    let mut memory = Memory::default();
    let large: &'static str = "x".repeat(limits::EXPORT_CHUNK_BYTES / 2).leak();
    for at_ms in 0..200 {
        memory.append(0, at_ms, TEXTS);
    }
    for at_ms in 200..300 {
        memory.append(0, at_ms, [Some("t"), Some(large), None, None]);
    }
    let filter = Filter { order: Order::Asc, ..Filter::default() };
    let mut walk = Walk::new(&namespace(), filter);
    let mut sizes = Vec::new();
    while let Some(chunk) = walk.next_chunk(&memory).unwrap() {
        sizes.push(chunk.len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 300);
    assert_eq!(sizes[..2], [32, 64]);
    assert_eq!(*sizes.last().unwrap(), 1);
    assert!(sizes.iter().all(|size| *size <= limits::READ_ROWS_MAX));
}

#[test]
fn a_filter_out_of_bounds_is_refused() {
    let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
    let refused = [
        (Filter { start_ms: Some(2), end_ms: Some(1), ..Filter::default() }, "startTime"),
        (Filter { end_ms: Some(limits::TIME_MS_MAX + 1), ..Filter::default() }, "endTime"),
        (Filter { user_id: Some(long), ..Filter::default() }, "userId"),
    ];
    for (filter, name) in refused {
        assert!(filter.validate().unwrap_err().message.contains(name));
    }
    let one_ms = Filter { start_ms: Some(1), end_ms: Some(1), ..Filter::default() };
    assert_eq!(one_ms.validate(), Ok(()));
}
