//! The quiet room: the replicated state machine, pure.
//!
//! [`Machine::apply`] takes a batch and gives outcomes and effects. It knows no clock, no
//! randomness, no IO but the [`View`] it is lent, no floating point and no hash order; the time is
//! a field of the batch. So the same log gives the same bytes on every replica, and the
//! [`Machine::hash`] of the effects so far proves it.
//!
//! Invariants:
//! - The machine's clock never goes back: a batch stamped earlier is not applied.
//! - A group is applied once ([`session`]), and as a whole.
//! - Everything that [`Machine`] holds in memory is also in its tables, so that a machine loaded
//!   from a store goes on as the one that wrote it would.
//! - An error from [`Machine::apply`] is a local fault, never an outcome: the node must stop, and
//!   the machine must not be used again.
//!
//! Deliberately absent: JSON, HTTP, names of bindings, and every decision about *when* to tick.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::float_arithmetic)]

pub mod audit;
mod command;
#[cfg(test)]
mod golden;
pub mod idempotency;
pub mod import;
#[cfg(test)]
mod invariants;
pub mod keys;
pub mod limiter;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod model;
pub mod object;
mod outcome;
pub mod policy;
pub mod quota;
pub mod session;
mod table;
pub mod token;
mod version;

use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use command::{
    Append, Batch, Change, Check, Command, Credit, Draft, Field, Group, IdempotencyKey, Import,
    ImportedEntry, Keeping, NO_SESSION, Once, Policy, PolicyCheck, Request, Reset, SetPolicy,
    ShardRef, Stamped, StampedChange, Terms, Tick,
};
pub use object::{
    Measured, Namespace, NamespaceId, ObjectId, ObjectRecord, ObjectRef, ObjectState, Shard,
};
pub use outcome::{
    Answer, Answered, Credited, Crowded, Decision, Effects, GroupOutcome, Outcome, Placed, Refusal,
    Ticked,
};
pub use quota::{Quota, Quotas, Space, SpacesRecord};
pub use table::{Row, Table, View, Write};
pub use token::{LimitedToken, NewToken, Scopes, StoredToken, Token, TokenId};
pub use version::{
    VERSION_CHANGES, VERSION_CREDITS, VERSION_MAX, VERSION_MIN, VERSION_POLICIES, VERSION_QUOTAS,
    VERSION_TOKENS, check_version,
};

use idempotency::KeysRecord;
use quota::Spaces;
use session::{Sessions, Standing};
use table::Overlay;
use token::TokensRecord;

use crate::codec;
use crate::limits;

/// The state machine's registers; the rest of its state is in its tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    registers: Registers,
    sessions: Sessions,
    keys: KeysRecord,
    tokens: TokensRecord,
    spaces: Spaces,
    /// Up to which version the log may hold commands.
    version: u8,
}

/// What is stored of the machine itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    /// The time of the last batch, in ms since the Unix epoch.
    now_ms: u64,
    /// Sessions ever opened: the number of the newest.
    sessions: u64,
    /// Audit shards ever made: the number of the newest.
    shards: u64,
    /// No window's alarm is before this time, in ms since the Unix epoch: who looks for one need not
    /// pass over all that ever were.
    windows_from_ms: u64,
    /// A chain of SHA-256 over all effects so far.
    hash: [u8; 32],
}

impl Registers {
    fn load(view: &dyn View) -> io::Result<Self> {
        let value = view.get(Table::Register, keys::MACHINE)?;
        Ok(value.map(|value| codec::decode(&value)).transpose()?.unwrap_or_default())
    }
}

impl Machine {
    /// The machine whose tables `view` shows; of an empty view, a new machine.
    ///
    /// # Errors
    /// If the view cannot be read or holds what this build does not understand.
    pub fn load(view: &dyn View) -> io::Result<Self> {
        let version = version::load(view)?;
        Ok(Self {
            registers: Registers::load(view)?,
            sessions: Sessions::load(view)?,
            keys: KeysRecord::load(view)?,
            tokens: TokensRecord::load(view)?,
            spaces: Spaces::load(view, version)?,
            version,
        })
    }

    /// Up to which version the log may hold commands now: at least [`VERSION_MIN`].
    pub fn version(&self) -> u8 {
        self.version
    }

    /// How often a token was stored or revoked: it grows with every change of them.
    pub fn token_changes(&self) -> u64 {
        self.tokens.changes
    }

    /// The time of the last batch, in ms since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.registers.now_ms
    }

    /// A chain of SHA-256 over all effects so far: equal on replicas that applied the same log.
    pub fn hash(&self) -> [u8; 32] {
        self.registers.hash
    }

    /// Applies one log entry to the state that `view` shows. The effects must be in the view before
    /// the next call.
    ///
    /// Gives one outcome per group, in order.
    ///
    /// # Errors
    /// A local fault: the view cannot be read, or what it holds is damaged.
    pub fn apply(
        &mut self,
        view: &dyn View,
        batch: &Batch,
    ) -> io::Result<(Vec<GroupOutcome>, Effects)> {
        if batch.at_ms < self.registers.now_ms {
            let stale = batch.groups.iter().map(|_| GroupOutcome::Stale).collect();
            return Ok((stale, Effects::default()));
        }
        self.registers.now_ms = batch.at_ms;
        let mut rows = Overlay::new(view);
        let mut outcomes = Vec::with_capacity(batch.groups.len());
        for group in &batch.groups {
            outcomes.push(self.group(&mut rows, group)?);
        }
        let crowded = self.spaces.finish(&mut rows);
        let mut effects = Effects { writes: rows.into_writes(), crowded };
        self.registers.hash = chain(self.registers.hash, batch.at_ms, &effects);
        effects.writes.push(Write::Put {
            table: Table::Register,
            key: keys::MACHINE.to_vec(),
            value: codec::encode(&self.registers),
        });
        Ok((outcomes, effects))
    }

    fn group(&mut self, rows: &mut Overlay, group: &Group<Command>) -> io::Result<GroupOutcome> {
        if group.session == NO_SESSION {
            let outcomes = group.commands.iter().map(|command| self.outside(rows, command));
            return Ok(GroupOutcome::Done(outcomes.collect::<io::Result<_>>()?));
        }
        self.sessions.confirm(rows, group.session, group.answered_below);
        match self.sessions.standing(rows, group.session, group.sequence)? {
            Standing::New => {}
            Standing::Answered(outcomes) => return Ok(GroupOutcome::Done(outcomes)),
            Standing::Unknown => return Ok(GroupOutcome::SessionUnknown),
            Standing::Forgotten => return Ok(GroupOutcome::Forgotten),
            Standing::Full => return Ok(GroupOutcome::SessionFull),
        }
        let outcomes = group.commands.iter().map(|command| self.inside(rows, command));
        let outcomes = outcomes.collect::<io::Result<Vec<_>>>()?;
        let now_ms = self.registers.now_ms;
        self.sessions.keep(rows, now_ms, group.session, group.sequence, &outcomes);
        Ok(GroupOutcome::Done(outcomes))
    }

    /// A command that counts, so that it must not be applied twice.
    fn inside(&mut self, rows: &mut Overlay, command: &Command) -> io::Result<Outcome> {
        let now_ms = self.registers.now_ms;
        match command {
            Command::Check(check) => {
                limiter::check(rows, &mut self.spaces, now_ms, check.into()).map(Outcome::from)
            }
            Command::Reset(reset) => {
                limiter::reset(rows, &mut self.spaces, reset).map(Outcome::from)
            }
            Command::Append(append) => {
                let shards = &mut self.registers.shards;
                audit::append(rows, &mut self.spaces, now_ms, shards, append).map(Outcome::from)
            }
            Command::Changes { once, changes } => self.changes(rows, once.as_ref(), changes),
            Command::Import { retention_ms, import } => {
                let (shards, spaces) = (&mut self.registers.shards, &mut self.spaces);
                import::import(rows, spaces, now_ms, shards, *retention_ms, import)
                    .map(Outcome::Imported)
            }
            Command::CheckByPolicy(check) => {
                policy::check(rows, &mut self.spaces, now_ms, check).map(Outcome::from)
            }
            Command::SetPolicy(set) => policy::set(rows, now_ms, set),
            Command::CreateToken(new) => self.tokens.create(rows, now_ms, new, None),
            Command::RevokeToken { id } => self.tokens.revoke(rows, *id),
            Command::Credit(credit) => limiter::credit(rows, now_ms, credit).map(Outcome::from),
            Command::CreateLimitedToken(LimitedToken { new, requests_per_second }) => {
                self.tokens.create(rows, now_ms, new, Some(*requests_per_second))
            }
            Command::OpenSession { .. }
            | Command::Tick(_)
            | Command::Raise { .. }
            | Command::SeedPolicies { .. }
            | Command::SetQuotas { .. } => Ok(Outcome::Refused(Refusal::Misplaced)),
        }
    }

    /// Several changes, in their order; with a key those that it does not have yet.
    fn changes(
        &mut self,
        rows: &mut Overlay,
        once: Option<&Once>,
        changes: &[Change<Append>],
    ) -> io::Result<Outcome> {
        let Registers { now_ms, shards, .. } = &mut self.registers;
        let (now_ms, spaces) = (*now_ms, &mut self.spaces);
        let mut carry_out = |rows: &mut Overlay, change: &Change<Append>| match change {
            Change::Check(check) => limiter::check(rows, spaces, now_ms, check.into()),
            Change::CheckByPolicy(check) => policy::check(rows, spaces, now_ms, check),
            Change::Reset(reset) => limiter::reset(rows, spaces, reset),
            Change::Log(append) => audit::append(rows, spaces, now_ms, shards, append),
            Change::Credit(credit) => limiter::credit(rows, now_ms, credit),
        };
        if let Some(once) = once {
            return self.keys.once(rows, now_ms, once, changes, carry_out);
        }
        let answered = changes.iter().map(|change| {
            let answer = carry_out(rows, change)?;
            Ok(Answered { answer, replayed: false })
        });
        Ok(Outcome::Changed(answered.collect::<io::Result<_>>()?))
    }

    /// A command that may be applied twice: a tick finds nothing left to do, policies are seeded once,
    /// and a second opening ends the session of the first, whose node then opens another.
    fn outside(&mut self, rows: &mut Overlay, command: &Command) -> io::Result<Outcome> {
        let now_ms = self.registers.now_ms;
        match command {
            Command::OpenSession { node } => {
                self.registers.sessions += 1;
                let session = self.registers.sessions;
                self.sessions.open(rows, now_ms, session, *node);
                Ok(Outcome::SessionOpened { session })
            }
            Command::Tick(tick) => {
                self.sessions.expire(rows, now_ms);
                let (windows, more) = limiter::tick(
                    rows,
                    &mut self.spaces,
                    now_ms,
                    &mut self.registers.windows_from_ms,
                    limits::TICK_WINDOWS_MAX,
                )?;
                let mut done = Ticked { windows, more, ..Ticked::default() };
                audit::tick(rows, &mut self.spaces, now_ms, tick.retention_ms, &mut done)?;
                done.more |= self.keys.tick(rows, now_ms, limits::TICK_KEYS_MAX)?;
                done.more |= self.spaces.count(rows, limits::TICK_OBJECTS_MAX)?;
                Ok(Outcome::Ticked(done))
            }
            Command::Raise { version } => {
                if *version > self.version {
                    self.version = *version;
                    let key = keys::VERSION.to_vec();
                    rows.put(Table::Register, key, codec::encode(version));
                    self.spaces.raised(*version);
                    // A new cluster has none, and needs no tick.
                    self.spaces.count(rows, limits::TICK_OBJECTS_MAX)?;
                }
                Ok(Outcome::Raised { version: self.version })
            }
            Command::SeedPolicies { policies } => policy::seed(rows, now_ms, policies),
            Command::SetQuotas { quotas } => Ok(self.spaces.set(quotas)),
            Command::Check(_)
            | Command::Reset(_)
            | Command::Append(_)
            | Command::Changes { .. }
            | Command::Import { .. }
            | Command::CheckByPolicy(_)
            | Command::SetPolicy(_)
            | Command::CreateToken(_)
            | Command::RevokeToken { .. }
            | Command::Credit(_)
            | Command::CreateLimitedToken(_) => Ok(Outcome::Refused(Refusal::Misplaced)),
        }
    }
}

/// When the machine has something to do next, in ms since the Unix epoch, by what `view` shows.
///
/// # Errors
/// If the view cannot be read.
pub fn next_alarm(view: &dyn View, retention_ms: u64) -> io::Result<Option<u64>> {
    let first = |kind, from_ms, plus_ms| -> io::Result<Option<u64>> {
        let (from, to) = keys::alarms_between(kind, from_ms, u64::MAX - 1);
        let rows = view.scan(Table::Alarm, &from, &to, 1)?;
        let at_ms = rows.first().and_then(|(key, _)| keys::split_alarm(key));
        Ok(at_ms.map(|(at_ms, _)| at_ms.saturating_add(plus_ms)))
    };
    let window = first(keys::Alarm::Window, Registers::load(view)?.windows_from_ms, 0)?;
    let shard = first(keys::Alarm::Shard, 0, retention_ms)?;
    let known = KeysRecord::load(view)?;
    let key = match known.answers {
        0 => None,
        _ => first(keys::Alarm::Key, known.from_ms, 0)?,
    };
    // Objects that wait to be counted are due now.
    let count = match quota::is_counting(view)? {
        true => Some(Registers::load(view)?.now_ms),
        false => None,
    };
    Ok(window.into_iter().chain(shard).chain(key).chain(count).min())
}

/// The hash behind `before` once a batch of `at_ms` had `effects`: lengths keep neighbours apart.
fn chain(before: [u8; 32], at_ms: u64, effects: &Effects) -> [u8; 32] {
    // Hashed in one piece: many small ones cost more than the hash.
    let mut hashed = before.to_vec();
    hashed.extend_from_slice(&at_ms.to_be_bytes());
    let mut field = |bytes: &[u8]| {
        hashed.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        hashed.extend_from_slice(bytes);
    };
    for write in &effects.writes {
        match write {
            Write::Put { table, key, value } => {
                field(&[0, *table as u8]);
                field(key);
                field(value);
            }
            Write::Delete { table, key } => {
                field(&[1, *table as u8]);
                field(key);
            }
            Write::DeleteRange { table, from, to } => {
                field(&[2, *table as u8]);
                field(from);
                field(to);
            }
        }
    }
    Sha256::digest(&hashed).into()
}
