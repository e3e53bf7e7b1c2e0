//! Sessions: a group of commands is applied once, however often a node sends it.
//!
//! A node opens a session and numbers its groups. The machine keeps the outcomes of a group until
//! the node says, in a later group, that it knows them; a group that comes again is answered from
//! there. After that its number is refused, so a copy that was delayed on its way is never applied
//! a second time. Session numbers are never used again. (Ongaro's dissertation, section 6.3.)

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};

use super::keys;
use super::outcome::Outcome;
use super::table::{Overlay, Table, View};
use crate::codec;
use crate::limits;

/// What is stored of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The node that opened it.
    pub node: u64,
    /// When a group of it was last applied, in ms since the Unix epoch.
    pub used_ms: u64,
    /// Groups below this number are confirmed and forgotten.
    pub answered_below: u64,
}

/// The open sessions, in memory beside their rows: there is one a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    open: BTreeMap<u64, (SessionRecord, BTreeSet<u64>)>,
}

/// What is known of a group before it is applied.
pub(super) enum Standing {
    New,
    Answered(Vec<Outcome>),
    Unknown,
    Forgotten,
    Full,
}

impl Sessions {
    pub(super) fn load(view: &dyn View) -> io::Result<Self> {
        let mut open = BTreeMap::new();
        for (key, value) in view.scan(Table::Session, &[], &[0xff; 9], usize::MAX)? {
            let session = keys::sequence(&key).unwrap_or_default();
            let (from, to) = keys::answers(session);
            let answers = view.scan(Table::Answer, &from, &to, usize::MAX)?;
            let kept = answers.iter().filter_map(|(key, _)| keys::sequence(key)).collect();
            open.insert(session, (codec::decode(&value)?, kept));
        }
        Ok(Self { open })
    }

    /// Opens `session` for `node` and ends the node's earlier ones.
    pub(super) fn open(&mut self, rows: &mut Overlay, now_ms: u64, session: u64, node: u64) {
        self.end(rows, |record| record.node == node);
        let record = SessionRecord { node, used_ms: now_ms, answered_below: 1 };
        rows.put(Table::Session, keys::session(session), codec::encode(&record));
        self.open.insert(session, (record, BTreeSet::new()));
    }

    /// Ends the sessions that were not used for [`limits::SESSION_TTL_MS`].
    pub(super) fn expire(&mut self, rows: &mut Overlay, now_ms: u64) {
        self.end(rows, |record| record.used_ms.saturating_add(limits::SESSION_TTL_MS) <= now_ms);
    }

    pub(super) fn standing(
        &self,
        rows: &Overlay,
        session: u64,
        sequence: u64,
    ) -> io::Result<Standing> {
        let Some((record, kept)) = self.open.get(&session) else { return Ok(Standing::Unknown) };
        if sequence < record.answered_below {
            return Ok(Standing::Forgotten);
        }
        if kept.contains(&sequence) {
            let key = keys::answer(session, sequence);
            let value = rows.get(Table::Answer, &key)?.ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "the state is damaged: an answer")
            })?;
            return Ok(Standing::Answered(codec::decode(&value)?));
        }
        // The group for which the others wait to be confirmed must never be refused for their sake.
        let is_oldest = kept.first().is_none_or(|first| sequence < *first);
        let has_room = kept.len() < limits::SESSION_ANSWERS_MAX;
        Ok(if has_room || is_oldest { Standing::New } else { Standing::Full })
    }

    /// Keeps the outcomes of a group that [`Self::standing`] found new.
    pub(super) fn keep(
        &mut self,
        rows: &mut Overlay,
        now_ms: u64,
        session: u64,
        sequence: u64,
        outcomes: &Vec<Outcome>,
    ) {
        let Some((record, kept)) = self.open.get_mut(&session) else { return };
        rows.put(Table::Answer, keys::answer(session, sequence), codec::encode(outcomes));
        kept.insert(sequence);
        record.used_ms = now_ms;
        rows.put(Table::Session, keys::session(session), codec::encode(record));
    }

    /// Forgets the outcomes that the node says it knows.
    pub(super) fn confirm(&mut self, rows: &mut Overlay, session: u64, answered_below: u64) {
        let Some((record, kept)) = self.open.get_mut(&session) else { return };
        if answered_below <= record.answered_below {
            return;
        }
        record.answered_below = answered_below;
        let still = kept.split_off(&answered_below);
        for sequence in std::mem::replace(kept, still) {
            rows.delete(Table::Answer, keys::answer(session, sequence));
        }
        rows.put(Table::Session, keys::session(session), codec::encode(record));
    }

    fn end(&mut self, rows: &mut Overlay, is_over: impl Fn(&SessionRecord) -> bool) {
        self.open.retain(|session, (record, kept)| {
            if is_over(record) {
                for sequence in kept.iter() {
                    rows.delete(Table::Answer, keys::answer(*session, *sequence));
                }
                rows.delete(Table::Session, keys::session(*session));
                return false;
            }
            true
        });
    }
}
