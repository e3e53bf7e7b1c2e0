//! Policies: limits that are stored for a type, so that a check need not bring one.
//!
//! The guide keeps them in its code (`RATE_LIMITS`), and every caller sends them. Stored here they are
//! the same for all callers, and change for all of them at one moment: a check goes by what is stored
//! when it is applied.
//!
//! Invariants:
//! - [`PoliciesRecord::policies`] is the number of rows.
//! - Each change of a row has a [`PolicyRecord::revision`] of its own, also if what was stored before is
//!   stored again: who reads a revision twice knows that nothing has come between.

use std::io;

use serde::{Deserialize, Serialize};

use super::command::{Policy, PolicyCheck, SetPolicy};
use super::keys;
use super::limiter::{self, Asked};
use super::object::NamespaceId;
use super::outcome::{Answer, Decision, Outcome, Refusal};
use super::quota::Spaces;
use super::table::{Overlay, Table, View};
use crate::codec;
use crate::limits;

/// What is stored for a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// The limit.
    pub policy: Policy,
    /// Since when it is in force, in ms since the Unix epoch.
    pub updated_ms: u64,
    /// [`PoliciesRecord::changes`] when it was stored.
    pub revision: u64,
}

/// What is stored of all policies together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoliciesRecord {
    /// How many there are.
    pub policies: u64,
    /// How often one was stored or removed.
    pub changes: u64,
}

/// A row: the policy of a type of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The namespace of the limiters that it is for.
    pub namespace: NamespaceId,
    /// The type.
    pub type_: String,
    /// What is stored for it.
    pub record: PolicyRecord,
}

/// Decides one check at `now_ms` by the policy of its type.
pub(super) fn check(
    rows: &mut Overlay,
    spaces: &mut Spaces,
    now_ms: u64,
    check: &PolicyCheck,
) -> io::Result<Answer> {
    let key = keys::policy(check.object.namespace, &check.type_);
    match decode(rows.get(Table::Register, &key)?)? {
        Some(record) => limiter::check(rows, spaces, now_ms, asked(check, &record)),
        None => Ok(Answer::Refused(Refusal::NoPolicy)),
    }
}

/// Stores or removes a policy. To store what is stored changes nothing.
pub(super) fn set(rows: &mut Overlay, now_ms: u64, set: &SetPolicy) -> io::Result<Outcome> {
    let SetPolicy { namespace, type_, policy } = set;
    let key = keys::policy(*namespace, type_);
    let before: Option<PolicyRecord> = decode(rows.get(Table::Register, &key)?)?;
    let existed = before.is_some();
    if before.map(|record| record.policy) == *policy {
        return Ok(Outcome::PolicySet { existed });
    }
    let mut all = all(rows)?;
    all.changes += 1;
    match policy {
        Some(policy) => {
            if !existed && all.policies >= limits::POLICIES_MAX {
                return Ok(Outcome::Refused(Refusal::PoliciesFull));
            }
            all.policies += u64::from(!existed);
            let revision = all.changes;
            let record = PolicyRecord { policy: *policy, updated_ms: now_ms, revision };
            rows.put(Table::Register, key, codec::encode(&record));
        }
        None => {
            all.policies -= 1;
            rows.delete(Table::Register, key);
        }
    }
    rows.put(Table::Register, keys::POLICIES.to_vec(), codec::encode(&all));
    Ok(Outcome::PolicySet { existed })
}

/// Stores policies if none was ever stored or removed: what an operator has removed does not come back.
pub(super) fn seed(rows: &mut Overlay, now_ms: u64, seeds: &[SetPolicy]) -> io::Result<Outcome> {
    if all(rows)?.changes == 0 {
        for seed in seeds {
            set(rows, now_ms, seed)?;
        }
        return Ok(Outcome::PoliciesSeeded { policies: all(rows)?.policies });
    }
    Ok(Outcome::PoliciesSeeded { policies: 0 })
}

/// Decides one check without writing, as [`limiter::refusal`] does, by the policy of its type. `None` also
/// if there is none.
///
/// `view` may change meanwhile: the decision is the one at the moment at which the cell was read.
///
/// # Errors
/// If the view cannot be read or is damaged.
pub fn refusal(view: &dyn View, now_ms: u64, check: &PolicyCheck) -> io::Result<Option<Decision>> {
    let key = keys::policy(check.object.namespace, &check.type_);
    let read = || decode(view.get(Table::Register, &key)?);
    let Some(record) = read()? else { return Ok(None) };
    let decision = limiter::refusal(view, now_ms, asked(check, &record))?;
    // If another one was in force when the cell was read, the two do not belong together.
    let after = read()?;
    Ok(decision.filter(|_| after == Some(record)))
}

/// All policies that `view` shows, by namespace and type.
///
/// # Errors
/// If the view cannot be read or is damaged.
pub fn list(view: &dyn View) -> io::Result<Vec<Stored>> {
    let (from, to) = keys::policies();
    let rows = view.scan(Table::Register, &from, &to, usize::MAX)?;
    let stored = rows.into_iter().map(|(key, value)| {
        let (namespace, type_) = keys::split_policy(&key).ok_or_else(damaged)?;
        Ok(Stored { namespace, type_: type_.to_owned(), record: codec::decode(&value)? })
    });
    stored.collect()
}

/// Whether a policy was ever stored or removed.
///
/// # Errors
/// If the view cannot be read or is damaged.
pub fn is_seeded(view: &dyn View) -> io::Result<bool> {
    Ok(view.get(Table::Register, keys::POLICIES)?.is_some())
}

fn asked<'a>(check: &'a PolicyCheck, record: &PolicyRecord) -> Asked<'a> {
    let PolicyCheck { object, identifier, .. } = check;
    let Policy { requests, window_ms } = record.policy;
    Asked { object, identifier, requests, window_ms }
}

fn all(rows: &Overlay) -> io::Result<PoliciesRecord> {
    let value = rows.get(Table::Register, keys::POLICIES)?;
    Ok(value.map(|value| codec::decode(&value)).transpose()?.unwrap_or_default())
}

fn decode(value: Option<Vec<u8>>) -> io::Result<Option<PolicyRecord>> {
    value.map(|value| codec::decode(&value)).transpose()
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the state is damaged: a policy's key")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::*;
    use crate::machine::memory::Memory;
    use crate::machine::{Batch, Check, Command, Group, Machine, Namespace, Row};

    /// A state in which things happen just before a cell is read.
    struct Changing {
        rows: RefCell<(Machine, Memory)>,
        before_cell: RefCell<Vec<Command>>,
    }

    impl Changing {
        fn apply(&self, command: Command) {
            let (machine, rows) = &mut *self.rows.borrow_mut();
            let commands = Arc::new(vec![command]);
            let session = u64::from(!matches!(commands[0], Command::OpenSession { .. }));
            let sequence = machine.now_ms() + 1;
            let group = Group { session, sequence, answered_below: 0, commands };
            let batch = Batch { at_ms: sequence, groups: vec![group] };
            let (_, effects) = machine.apply(rows, &batch).unwrap();
            rows.make(&effects);
        }
    }

    impl View for Changing {
        fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
            if table == Table::Cell {
                for command in self.before_cell.take() {
                    self.apply(command);
                }
            }
            self.rows.borrow().1.get(table, key)
        }

        fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<Row>> {
            self.rows.borrow().1.scan(table, from, to, limit)
        }
    }

    #[test]
    fn policies_are_bounded_and_who_has_one_may_change_it() {
        let view = Memory::default();
        let mut rows = Overlay::new(&view);
        let namespace = Namespace::new("n").id();
        let mut set = |type_: u64, requests: Option<u64>| {
            let policy = requests.map(|requests| Policy { requests, window_ms: 1 });
            set(&mut rows, 1, &SetPolicy { namespace, type_: type_.to_string(), policy }).unwrap()
        };
        let most = limits::POLICIES_MAX;
        for type_ in 0..most {
            assert_eq!(set(type_, Some(1)), Outcome::PolicySet { existed: false });
        }
        assert_eq!(set(most, Some(1)), Outcome::Refused(Refusal::PoliciesFull));
        assert_eq!(set(7, Some(2)), Outcome::PolicySet { existed: true });
        assert_eq!(set(8, None), Outcome::PolicySet { existed: true });
        assert_eq!(set(most, Some(1)), Outcome::PolicySet { existed: false });
        assert_eq!(set(8, Some(1)), Outcome::Refused(Refusal::PoliciesFull));
        let all = all(&rows).unwrap();
        assert_eq!(all, PoliciesRecord { policies: most, changes: most + 3 });
    }

    /// A limit of one, a count of two that a wider limit let in meanwhile: neither limit refuses.
    #[test]
    fn a_cell_is_not_judged_by_a_policy_that_was_not_there_with_it() {
        let object = Namespace::new("n").object("o");
        let namespace = object.namespace;
        let check = PolicyCheck { object, identifier: "u".to_owned(), type_: "t".to_owned() };
        let set = |requests| {
            let policy = Some(Policy { requests, window_ms: 1_000 });
            Command::SetPolicy(SetPolicy { namespace, type_: "t".to_owned(), policy })
        };
        let rows = Memory::default();
        let view = Changing {
            rows: RefCell::new((Machine::load(&rows).unwrap(), rows)),
            before_cell: RefCell::default(),
        };
        view.apply(Command::OpenSession { node: 1 });
        view.apply(set(1));
        let count = || Command::CheckByPolicy(check.clone());
        view.before_cell.replace(vec![set(9), count(), count()]);
        assert_eq!(refusal(&view, 20, &check).unwrap(), None, "it was another's");
        // Also if the same limit is back by then: its revision is another.
        view.apply(Command::SetPolicy(SetPolicy {
            namespace,
            type_: "t".to_owned(),
            policy: None,
        }));
        view.apply(set(2));
        view.before_cell.replace(vec![set(9), set(2)]);
        assert_eq!(refusal(&view, 20, &check).unwrap(), None);
        // Alone it is one.
        let decision = refusal(&view, 20, &check).unwrap().unwrap();
        assert_eq!((decision.allowed, decision.limit), (false, 2));
        let PolicyCheck { object, identifier, .. } = check;
        let own = Check { object, identifier, requests: 2, window_ms: 1_000 };
        assert_eq!(limiter::refusal(&view, 20, (&own).into()).unwrap(), Some(decision));
    }
}
