//! Idempotency keys: changes are carried out once for a key, however often a client sends them.
//!
//! Under its key is kept what was changed: an admitted check, a reset, an entry, each with its
//! answer. Who sends the same request again is answered from there. What was refused is not kept and
//! is decided afresh, so the retry of a batch completes it.
//!
//! Invariants:
//! - A key has a row exactly while one alarm row names it, at [`KeyRecord::expires_ms`].
//! - From then on the key counts as absent, whether or not a tick has removed it, and room for a new
//!   one is made by removing such keys: no answer depends on when ticks run. (But where the setting
//!   was lowered below what is kept: then there is room once ticks have made it.)
//! - A key is never forgotten before: when there is no room, it is the new one that is refused.

use std::io;

use serde::{Deserialize, Serialize};

use super::command::{IdempotencyKey, Once};
use super::keys::{self, Alarm};
use super::outcome::{Answer, Answered, Outcome, Refusal};
use super::table::{Overlay, Row, Table, View};
use crate::codec;

/// What is kept under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Of the request, see [`IdempotencyKey::fingerprint`].
    pub fingerprint: [u8; 16],
    /// When the key is forgotten, in ms since the Unix epoch.
    pub expires_ms: u64,
    /// What each change came to, if it changed something. There is one that did.
    pub answers: Vec<Option<Answer>>,
}

/// What is stored of all keys together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysRecord {
    /// The answers that keys have room for: each as many as its request has changes.
    pub answers: u64,
    /// No key's alarm is before this time, in ms since the Unix epoch: who looks for one need not pass
    /// over all that ever were.
    pub from_ms: u64,
}

impl KeysRecord {
    pub(super) fn load(view: &dyn View) -> io::Result<Self> {
        let value = view.get(Table::Register, keys::KEYS)?;
        Ok(value.map(|value| codec::decode(&value)).transpose()?.unwrap_or_default())
    }

    /// Carries out those of `changes` that the key does not have yet, and keeps what they came to.
    pub(super) fn once<C>(
        &mut self,
        rows: &mut Overlay,
        now_ms: u64,
        once: &Once,
        changes: &[C],
        mut carry_out: impl FnMut(&mut Overlay, &C) -> io::Result<Answer>,
    ) -> io::Result<Outcome> {
        let Once { key: IdempotencyKey { id, fingerprint, ttl_ms }, keeping } = once;
        let row = keys::kept(id);
        let room = changes.len() as u64;
        let mut record = match read(rows, &row)? {
            Some(record) if now_ms < record.expires_ms => record,
            expired => {
                if let Some(expired) = expired {
                    self.remove(rows, id, &expired);
                    self.write(rows);
                }
                if !self.make_room(rows, now_ms, room, keeping.answers_max)? {
                    return Ok(Outcome::Refused(Refusal::KeysFull));
                }
                let retention_ms = ttl_ms.unwrap_or(u64::MAX).min(keeping.retention_ms).max(1);
                let expires_ms = now_ms.saturating_add(retention_ms);
                let answers = vec![None; changes.len()];
                KeyRecord { fingerprint: *fingerprint, expires_ms, answers }
            }
        };
        // The number is another if a build reads the same request in another way.
        if record.fingerprint != *fingerprint || record.answers.len() != changes.len() {
            return Ok(Outcome::Refused(Refusal::KeyReused));
        }
        let is_new = record.answers.iter().all(Option::is_none);
        let mut has_changed = false;
        let mut answered = Vec::with_capacity(changes.len());
        for (kept, change) in record.answers.iter_mut().zip(changes) {
            if let Some(answer) = *kept {
                answered.push(Answered { answer, replayed: true });
                continue;
            }
            let answer = carry_out(rows, change)?;
            if answer.has_changed() {
                *kept = Some(answer);
                has_changed = true;
            }
            answered.push(Answered { answer, replayed: false });
        }
        if has_changed {
            if is_new {
                self.answers = self.answers.saturating_add(room);
                let alarm = keys::alarm(Alarm::Key, record.expires_ms, id);
                rows.put(Table::Alarm, alarm, Vec::new());
                self.write(rows);
            }
            rows.put(Table::Alarm, row, codec::encode(&record));
        }
        Ok(Outcome::Changed(answered))
    }

    /// Forgets at most `limit` keys that are due; returns whether more are.
    pub(super) fn tick(
        &mut self,
        rows: &mut Overlay,
        now_ms: u64,
        limit: usize,
    ) -> io::Result<bool> {
        if self.answers == 0 {
            return Ok(false);
        }
        let due = self.due(rows, now_ms, limit)?;
        // Every alarm is set for a time that is yet to come.
        self.from_ms = now_ms.saturating_add(1);
        let more = due.len() == limit;
        for (alarm, _) in &due {
            let at_ms = self.forget(rows, alarm)?;
            if more {
                self.from_ms = at_ms;
            }
        }
        self.write(rows);
        Ok(more)
    }

    /// Forgets keys that are due until there is room for so many answers; `false` if there is not.
    /// These are no more than the answers that are to come.
    fn make_room(
        &mut self,
        rows: &mut Overlay,
        now_ms: u64,
        room: u64,
        most: u64,
    ) -> io::Result<bool> {
        let has_room = |keys: &Self| keys.answers.saturating_add(room) <= most;
        if has_room(self) {
            return Ok(true);
        }
        let wanted = usize::try_from(room).unwrap_or(usize::MAX);
        for (alarm, _) in self.due(rows, now_ms, wanted)? {
            self.from_ms = self.forget(rows, &alarm)?;
            self.write(rows);
            if has_room(self) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn due(&self, rows: &Overlay, now_ms: u64, limit: usize) -> io::Result<Vec<Row>> {
        let (from, to) = keys::alarms_between(Alarm::Key, self.from_ms, now_ms);
        rows.scan(Table::Alarm, &from, &to, limit)
    }

    /// Forgets the key of an alarm; returns the alarm's time.
    fn forget(&mut self, rows: &mut Overlay, alarm: &[u8]) -> io::Result<u64> {
        let (at_ms, id) = keys::split_alarm(alarm).ok_or_else(|| damaged("an alarm's key"))?;
        let id = id.try_into().map_err(|_| damaged("an alarm's key"))?;
        let record =
            read(rows, &keys::kept(id))?.ok_or_else(|| damaged("an alarm without its key"))?;
        self.remove(rows, id, &record);
        Ok(at_ms)
    }

    fn remove(&mut self, rows: &mut Overlay, id: &[u8; 16], record: &KeyRecord) {
        rows.delete(Table::Alarm, keys::alarm(Alarm::Key, record.expires_ms, id));
        rows.delete(Table::Alarm, keys::kept(id));
        self.answers = self.answers.saturating_sub(record.answers.len() as u64);
    }

    fn write(&self, rows: &mut Overlay) {
        rows.put(Table::Register, keys::KEYS.to_vec(), codec::encode(self));
    }
}

/// Whether anything is kept under `key` at `now_ms`, by what `view` shows.
///
/// # Errors
/// If the view cannot be read or is damaged.
pub fn is_kept(view: &dyn View, now_ms: u64, key: &IdempotencyKey) -> io::Result<bool> {
    let value = view.get(Table::Alarm, &keys::kept(&key.id))?;
    let record: Option<KeyRecord> = value.map(|value| codec::decode(&value)).transpose()?;
    Ok(record.is_some_and(|record| now_ms < record.expires_ms))
}

fn read(rows: &Overlay, row: &[u8]) -> io::Result<Option<KeyRecord>> {
    rows.get(Table::Alarm, row)?.map(|value| codec::decode(&value)).transpose()
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the state is damaged: {what}"))
}
