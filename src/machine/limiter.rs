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

use std::io;

use serde::{Deserialize, Serialize};

use super::command::{Check, Credit, Reset};
use super::keys::{self, Alarm};
use super::object::{ObjectRecord, ObjectRef, ObjectState};
use super::outcome::{Answer, Credited, Decision, Refusal};
use super::table::{Overlay, Table, View};
use crate::codec;

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
pub(super) fn check(rows: &mut Overlay, now_ms: u64, check: Asked<'_>) -> io::Result<Answer> {
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
        _ => {
            if let Some(cell) = cell {
                rows.delete(Table::Alarm, keys::alarm(Alarm::Window, cell.alarm_ms, &key));
            } else if !create(rows, now_ms, check.object)? {
                return Ok(Answer::Refused(Refusal::OtherClass));
            }
            rows.put(Table::Alarm, keys::alarm(Alarm::Window, ends_ms, &key), Vec::new());
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
pub(super) fn reset(rows: &mut Overlay, reset: &Reset) -> io::Result<Answer> {
    let key = keys::cell(&reset.object, &reset.identifier);
    if let Some(cell) = read(rows, &key)? {
        rows.delete(Table::Alarm, keys::alarm(Alarm::Window, cell.alarm_ms, &key));
        remove(rows, key)?;
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
    now_ms: u64,
    from_ms: &mut u64,
    limit: usize,
) -> io::Result<(u64, bool)> {
    let (from, to) = keys::alarms_between(Alarm::Window, *from_ms, now_ms);
    let due = rows.scan(Table::Alarm, &from, &to, limit)?;
    // Every alarm is set for a time that is yet to come.
    *from_ms = now_ms.saturating_add(1);
    let mut ended = 0;
    for (alarm, _) in &due {
        let (_, key) = keys::split_alarm(alarm).ok_or_else(|| damaged("an alarm's key"))?;
        let cell = read(rows, key)?.ok_or_else(|| damaged("an alarm without its cell"))?;
        rows.delete(Table::Alarm, alarm.clone());
        if cell.ends_ms <= now_ms {
            remove(rows, key.to_vec())?;
            ended += 1;
        } else {
            // The cell was used again since: its next alarm is when it will be over.
            rows.put(Table::Alarm, keys::alarm(Alarm::Window, cell.ends_ms, key), Vec::new());
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

/// Counts a new cell in its object's row; `false` if the object is not a limiter.
fn create(rows: &mut Overlay, now_ms: u64, object: &ObjectRef) -> io::Result<bool> {
    let key = keys::object(object);
    let mut record = match rows.get(Table::Object, &key)? {
        Some(value) => codec::decode::<ObjectRecord>(&value)?,
        None => ObjectRecord {
            name: None,
            created_ms: now_ms,
            state: ObjectState::Limiter { cells: 0 },
        },
    };
    let ObjectState::Limiter { cells } = &mut record.state else { return Ok(false) };
    *cells += 1;
    record.name = record.name.or_else(|| object.name.clone());
    rows.put(Table::Object, key, codec::encode(&record));
    Ok(true)
}

/// Removes a cell and, with its last cell, the object. The alarm row is the caller's.
fn remove(rows: &mut Overlay, key: Vec<u8>) -> io::Result<()> {
    let object = key.get(..keys::OBJECT_BYTES).ok_or_else(|| damaged("a cell's key"))?.to_vec();
    let value = rows.get(Table::Object, &object)?.ok_or_else(|| damaged("a cell's object"))?;
    let mut record = codec::decode::<ObjectRecord>(&value)?;
    let ObjectState::Limiter { cells } = &mut record.state else {
        return Err(damaged("a cell in a shard"));
    };
    *cells -= 1;
    match *cells {
        0 => rows.delete(Table::Object, object),
        _ => rows.put(Table::Object, object, codec::encode(&record)),
    }
    rows.delete(Table::Cell, key);
    Ok(())
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the state is damaged: {what}"))
}
