//! Limiters: fixed windows, as the guide's `RateLimiter` keeps them.
//!
//! A cell counts the admitted requests of one identifier. Its window starts at the first admitted
//! request and is over when `now >= windowStart + windowMs`, with the `windowMs` of the request
//! that asks: the request's own config is what is applied, also when it differs from the last one.
//! A refused request is not counted and does not move the window. It writes nothing, but for one
//! case: its window is longer than any before, and the end that it is told has to hold.
//! A credit takes from the count and leaves the window as it is, also with nothing counted in it: what
//! clients were told of its end holds. A reset forgets both.
//!
//! Invariants:
//! - A cell is there exactly while one alarm row names it, at [`Cell::alarm_ms`].
//! - [`Cell::ends_ms`] is the latest end that any request was told. From then on the cell counts as
//!   absent, whether or not a tick has removed it: no answer depends on when ticks run.
//! - An object has a row exactly while it has cells.
//! - An identifier is in its object's size ([`super::quota`]) exactly while the cell's alarm row says so.

use std::io;

use serde::{Deserialize, Serialize};

use super::command::{Check, Credit, Reset};
use super::keys::{self, Alarm};
use super::object::{Measured, ObjectRecord, ObjectRef};
use super::outcome::{Answer, Credited, Decision, Refusal};
use super::quota::Spaces;
use super::table::{Overlay, Table, View};
use crate::codec;

/// The value of an alarm row whose cell's identifier is measured. Builds that measured none wrote nothing
/// there.
const MEASURED: &[u8] = &[1];

/// What is stored of one identifier. Guide, "Storage Structure": `{count, windowStart}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Admitted requests in the window, less those that were given back.
    pub count: u64,
    /// When the window started, in ms since the Unix epoch.
    pub window_start_ms: u64,
    /// The latest end of the window that a request was told, in ms since the Unix epoch.
    pub ends_ms: u64,
    /// The time in the cell's alarm row; never later than `ends_ms`.
    pub alarm_ms: u64,
}

/// What a cell says of its window: nothing that depends on when ticks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// See [`Cell::count`].
    pub count: u64,
    /// See [`Cell::window_start_ms`].
    pub start_ms: u64,
    /// See [`Cell::ends_ms`].
    pub ends_ms: u64,
}

/// A check with the limit that it is decided by: its own, or a policy's.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// See [`Check::object`].
    pub object: &'a ObjectRef,
    /// See [`Check::identifier`].
    pub identifier: &'a str,
    /// See [`Check::requests`].
    pub requests: u64,
    /// See [`Check::window_ms`].
    pub window_ms: u64,
}

impl<'a> From<&'a Check> for Asked<'a> {
    fn from(check: &'a Check) -> Self {
        let Check { object, identifier, requests, window_ms } = check;
        Self { object, identifier, requests: *requests, window_ms: *window_ms }
    }
}

impl Cell {
    /// Whether the window is open at `now_ms` for a request whose own window is `window_ms`.
    pub fn is_open(&self, now_ms: u64, window_ms: u64) -> bool {
        self.window().is_open(now_ms, window_ms)
    }

    /// Its window, whether or not that is over.
    pub fn window(&self) -> Window {
        let Self { count, window_start_ms, ends_ms, .. } = *self;
        Window { count, start_ms: window_start_ms, ends_ms }
    }
}

impl Window {
    /// Whether it is open at `now_ms` for a request whose own window is `window_ms`.
    pub fn is_open(&self, now_ms: u64, window_ms: u64) -> bool {
        now_ms < self.ends_ms && now_ms < self.start_ms.saturating_add(window_ms)
    }
}

/// Decides one check at `now_ms`.
pub(super) fn check(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    now_ms: u64,
    check: Asked<'_>,
) -> io::Result<Answer> {
    let key = keys::cell(check.object, check.identifier);
    let cell = read(rows, &key)?;
    let open = cell.filter(|cell| cell.is_open(now_ms, check.window_ms));
    let decision = decide(open, now_ms, check);
    let reset_ms = decision.reset_ms;
    if !decision.allowed {
        if let Some(open) = open.filter(|open| open.ends_ms < reset_ms) {
            // The window is longer than any before asked for, and its end is what is answered: so
            // the cell has to stay until then.
            rows.put(Table::Cell, key, codec::encode(&Cell { ends_ms: reset_ms, ..open }));
        }
        return Ok(Answer::Checked(decision));
    }
    let ends_ms = open.map_or(reset_ms, |open| open.ends_ms.max(reset_ms));
    let alarm_ms = match cell {
        // The tick that the alarm brings will put it off to the end: cheaper than moving it here.
        Some(cell) if cell.alarm_ms <= ends_ms => cell.alarm_ms,
        Some(cell) => {
            let mark = take_alarm(rows, &key, cell)?;
            rows.put(Table::Alarm, keys::alarm(Alarm::Window, ends_ms, &key), mark);
            ends_ms
        }
        None => {
            if let Some(refusal) = create(rows, spaces, now_ms, check)? {
                return Ok(Answer::Refused(refusal));
            }
            rows.put(Table::Alarm, keys::alarm(Alarm::Window, ends_ms, &key), mark(spaces));
            ends_ms
        }
    };
    let (count, window_start_ms) = standing(open, now_ms);
    let counted = Cell { count: count + 1, window_start_ms, ends_ms, alarm_ms };
    rows.put(Table::Cell, key, codec::encode(&counted));
    Ok(Answer::Checked(decision))
}

/// The requests admitted in the open window, if there is one, and when it started.
fn standing(open: Option<Cell>, now_ms: u64) -> (u64, u64) {
    open.map_or((0, now_ms), |open| (open.count, open.window_start_ms))
}

fn decide(open: Option<Cell>, now_ms: u64, check: Asked<'_>) -> Decision {
    let (count, window_start_ms) = standing(open, now_ms);
    Decision {
        allowed: count < check.requests,
        limit: check.requests,
        remaining: check.requests.saturating_sub(count + 1),
        reset_ms: window_start_ms.saturating_add(check.window_ms),
        now_ms,
    }
}

/// Decides one check without writing, if it is refused and there is nothing to write: by what `view`
/// shows, at `now_ms`. `None` if the check has to be applied.
///
/// The decision is the one that the check would come to in the log.
///
/// # Errors
/// If the view cannot be read or is damaged.
pub fn refusal(view: &dyn View, now_ms: u64, check: Asked<'_>) -> io::Result<Option<Decision>> {
    let cell = view.get(Table::Cell, &keys::cell(check.object, check.identifier))?;
    let cell: Option<Cell> = cell.map(|value| codec::decode(&value)).transpose()?;
    let open = cell.filter(|cell| cell.is_open(now_ms, check.window_ms));
    let decision = decide(open, now_ms, check);
    let is_kept = open.is_none_or(|open| open.ends_ms >= decision.reset_ms);
    Ok((!decision.allowed && is_kept).then_some(decision))
}

/// Forgets an identifier's count, if there is one.
pub(super) fn reset(rows: &mut Overlay, spaces: &mut Spaces, reset: &Reset) -> io::Result<Answer> {
    let key = keys::cell(&reset.object, &reset.identifier);
    if let Some(cell) = read(rows, &key)? {
        let mark = take_alarm(rows, &key, cell)?;
        remove(rows, spaces, key, &mark)?;
    }
    Ok(Answer::Reset)
}

/// Gives back so many of an identifier's requests, or all that its window has counted. The window stays,
/// for whatever window the requests had that come next.
pub(super) fn credit(rows: &mut Overlay, now_ms: u64, credit: &Credit) -> io::Result<Answer> {
    let key = keys::cell(&credit.object, &credit.identifier);
    let Some(cell) = read(rows, &key)?.filter(|cell| now_ms < cell.ends_ms) else {
        return Ok(Answer::Credited(Credited { credited: 0, window: None, now_ms }));
    };
    let credited = cell.count.min(credit.amount);
    let left = Cell { count: cell.count - credited, ..cell };
    if credited > 0 {
        rows.put(Table::Cell, key, codec::encode(&left));
    }
    Ok(Answer::Credited(Credited { credited, window: Some(left.window()), now_ms }))
}

/// Handles at most `limit` due alarms, of which none is before `from_ms`; returns how many windows
/// ended and whether more are due. From then on none is before the new `from_ms`.
pub(super) fn tick(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    now_ms: u64,
    from_ms: &mut u64,
    limit: usize,
) -> io::Result<(u64, bool)> {
    let (from, to) = keys::alarms_between(Alarm::Window, *from_ms, now_ms);
    let due = rows.scan(Table::Alarm, &from, &to, limit)?;
    // Every alarm is set for a time that is yet to come.
    *from_ms = now_ms.saturating_add(1);
    let mut ended = 0;
    for (alarm, mark) in &due {
        let (_, key) = keys::split_alarm(alarm).ok_or_else(|| damaged("an alarm's key"))?;
        let cell = read(rows, key)?.ok_or_else(|| damaged("an alarm without its cell"))?;
        rows.delete(Table::Alarm, alarm.clone());
        if cell.ends_ms <= now_ms {
            remove(rows, spaces, key.to_vec(), mark)?;
            ended += 1;
        } else {
            // The cell was used again since: its next alarm is when it will be over.
            let mark = measure(rows, spaces, key, mark)?;
            rows.put(Table::Alarm, keys::alarm(Alarm::Window, cell.ends_ms, key), mark);
            let cell = Cell { alarm_ms: cell.ends_ms, ..cell };
            rows.put(Table::Cell, key.to_vec(), codec::encode(&cell));
        }
    }
    let more = due.len() == limit;
    if let Some((last, _)) = due.last().filter(|_| more) {
        (*from_ms, _) = keys::split_alarm(last).ok_or_else(|| damaged("an alarm's key"))?;
    }
    Ok((ended, more))
}

fn read(rows: &Overlay, key: &[u8]) -> io::Result<Option<Cell>> {
    rows.get(Table::Cell, key)?.map(|value| codec::decode(&value)).transpose()
}

/// Removes the alarm row of a cell; gives its value.
fn take_alarm(rows: &mut Overlay, key: &[u8], cell: Cell) -> io::Result<Vec<u8>> {
    let alarm = keys::alarm(Alarm::Window, cell.alarm_ms, key);
    let mark =
        rows.get(Table::Alarm, &alarm)?.ok_or_else(|| damaged("a cell without its alarm"))?;
    rows.delete(Table::Alarm, alarm);
    Ok(mark)
}

/// The value of a new cell's alarm row.
fn mark(spaces: &Spaces) -> Vec<u8> {
    if spaces.is_on() { MEASURED.to_vec() } else { Vec::new() }
}

/// Counts a new cell in its object's row, or says why there may be none.
fn create(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    now_ms: u64,
    check: Asked<'_>,
) -> io::Result<Option<Refusal>> {
    let Asked { object, identifier, .. } = check;
    let key = keys::object(object);
    let known = rows.get(Table::Object, &key)?;
    let known: Option<ObjectRecord> = known.map(|value| codec::decode(&value)).transpose()?;
    let (before, mut record) = match known {
        Some(record) => (Some(record.state.bytes()), record),
        None => {
            let state = spaces.limiter(Measured::default());
            (None, ObjectRecord { name: None, created_ms: now_ms, state })
        }
    };
    let Some(mut limiter) = record.state.limiter() else { return Ok(Some(Refusal::OtherClass)) };
    limiter.cells += 1;
    if spaces.is_on() {
        limiter.measured += 1;
        limiter.identifier_bytes += identifier.len() as u64;
    }
    let after = limiter.bytes();
    if let Some(refusal) = spaces.refusal(object, before, after) {
        return Ok(Some(refusal));
    }
    record.state = spaces.limiter(limiter);
    record.name = record.name.or_else(|| object.name.clone());
    spaces.resize(&key, before, Some(after));
    spaces.grown(object, before, after);
    rows.put(Table::Object, key, codec::encode(&record));
    Ok(None)
}

/// Removes a cell and, with its last cell, the object. The alarm row is the caller's, and `mark` its value.
fn remove(rows: &mut Overlay, spaces: &mut Spaces, key: Vec<u8>, mark: &[u8]) -> io::Result<()> {
    let (object, identifier) = split(&key)?;
    alter(rows, spaces, object, |limiter| {
        limiter.cells -= 1;
        if mark == MEASURED {
            limiter.measured -= 1;
            limiter.identifier_bytes -= identifier.len() as u64;
        }
    })?;
    rows.delete(Table::Cell, key);
    Ok(())
}

/// Measures the identifier of a cell, if the `mark` in its alarm row says that nobody has; gives the mark.
fn measure(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    key: &[u8],
    mark: &[u8],
) -> io::Result<Vec<u8>> {
    if mark == MEASURED || !spaces.is_on() {
        return Ok(mark.to_vec());
    }
    let (object, identifier) = split(key)?;
    alter(rows, spaces, object, |limiter| {
        limiter.measured += 1;
        limiter.identifier_bytes += identifier.len() as u64;
    })?;
    Ok(MEASURED.to_vec())
}

/// Changes what a limiter's row says of its cells; the row goes with the last of them.
fn alter(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    key: &[u8],
    change: impl FnOnce(&mut Measured),
) -> io::Result<()> {
    let value = rows.get(Table::Object, key)?.ok_or_else(|| damaged("a cell's object"))?;
    let mut record = codec::decode::<ObjectRecord>(&value)?;
    let mut limiter = record.state.limiter().ok_or_else(|| damaged("a cell in a shard"))?;
    let before = limiter.bytes();
    change(&mut limiter);
    if limiter.cells == 0 {
        rows.delete(Table::Object, key.to_vec());
        spaces.resize(key, Some(before), None);
        return Ok(());
    }
    record.state = spaces.limiter(limiter);
    rows.put(Table::Object, key.to_vec(), codec::encode(&record));
    spaces.resize(key, Some(before), Some(limiter.bytes()));
    Ok(())
}

/// The object's key, and the identifier, of a cell's key.
fn split(key: &[u8]) -> io::Result<(&[u8], &[u8])> {
    key.split_at_checked(keys::OBJECT_BYTES).ok_or_else(|| damaged("a cell's key"))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the state is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::super::memory::Memory;
    use super::super::*;
    use super::*;

    /// A view that notes which tables are read.
    struct Noting<'a> {
        rows: &'a Memory,
        read: RefCell<Vec<Table>>,
    }

    impl View for Noting<'_> {
        fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
            self.read.borrow_mut().push(table);
            self.rows.get(table, key)
        }

        fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
            self.read.borrow_mut().push(table);
            self.rows.scan(table, from, to, limit)
        }
    }

    /// Quotas cost the first check of an identifier something, and no other.
    #[test]
    fn a_check_of_an_identifier_that_is_counted_reads_its_cell_and_writes_it() {
        let (mut rows, object) = (Memory::default(), Namespace::new("n").object("o"));
        let mut machine = Machine::load(&rows).unwrap();
        let quota = Quota { object_bytes_max: 70, objects_max: Some(1), exempt: None };
        let check = Command::Check(Check {
            object: object.clone(),
            identifier: "u".to_owned(),
            requests: 9,
            window_ms: 1_000,
        });
        let group = |session, sequence, command| Group {
            session,
            sequence,
            answered_below: 0,
            commands: Arc::new(vec![command]),
        };
        for group in [
            group(0, 0, Command::OpenSession { node: 1 }),
            group(0, 0, Command::Raise { version: VERSION_QUOTAS }),
            group(0, 0, Command::SetQuotas { quotas: Quotas::from([(object.namespace, quota)]) }),
            group(1, 1, check.clone()),
        ] {
            let batch = Batch { at_ms: 1, groups: vec![group] };
            let (_, effects) = machine.apply(&rows, &batch).unwrap();
            rows.make(&effects);
        }
        let view = Noting { rows: &rows, read: RefCell::default() };
        let batch = Batch { at_ms: 2, groups: vec![group(1, 2, check)] };
        let (outcomes, effects) = machine.apply(&view, &batch).unwrap();
        let [GroupOutcome::Done(outcomes)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert!(matches!(outcomes[..], [Outcome::Checked(Decision { allowed: true, .. })]));
        assert_eq!(view.read.take(), [Table::Cell]);
        let written = effects.writes.iter().map(|write| match write {
            Write::Put { table, key, .. } => (*table, &key[..]),
            other => panic!("{other:?}"),
        });
        let written = written.filter(|(table, _)| !matches!(table, Table::Session | Table::Answer));
        let cell = keys::cell(&object, "u");
        let expected = [(Table::Cell, &cell[..]), (Table::Register, keys::MACHINE)];
        assert_eq!(written.collect::<Vec<_>>(), expected);
    }
}
