//! The state machine, fed with whatever decodes as batches: commands that no node sends, times that
//! no clock tells.

use tallykeep::codec;
use tallykeep::machine::{
    Batch, Command, GroupOutcome, Machine, Table, View, idempotency, keys, limiter, next_alarm,
    policy, quota, token,
};

use super::allocation::{VALUE, bounded};
use super::store::Store;
use super::{Verdict, is_invalid_data};

/// A list of batches, in the encoding of the log.
pub fn batches(input: &[u8]) -> Verdict {
    match bounded(input, VALUE, || codec::decode::<Vec<Batch>>(input)) {
        Ok(batches) => {
            same_everywhere(&batches);
            Verdict::Taken
        }
        Err(error) => {
            assert!(is_invalid_data(&error), "{error:?}");
            Verdict::Refused
        }
    }
}

/// Applies batches in three ways: straight, on a machine that is loaded anew before each, and one
/// group at a time. Gives what the first has come to.
///
/// # Panics
/// If one of them fails, or comes to anything else than the others.
pub fn same_everywhere(batches: &[Batch]) -> (Machine, Store) {
    let mut straight = Replica::new();
    let mut restarting = Replica::new();
    let mut piecewise = Replica::new();
    for batch in batches {
        let outcomes = straight.apply(batch);
        restarting.machine = Machine::load(&restarting.store).expect("what it wrote itself");
        assert_eq!(restarting.apply(batch), outcomes, "a restart changes an answer");
        assert_eq!(restarting.store, straight.store, "a restart changes the state");
        assert_eq!(restarting.machine, straight.machine);

        let pieces = batch.groups.iter().map(|group| vec![group.clone()]);
        // A batch without groups still tells the time.
        let pieces = pieces.chain(batch.groups.is_empty().then(Vec::new));
        let outcomes_of_pieces: Vec<GroupOutcome> =
            pieces.flat_map(|groups| piecewise.apply(&Batch { groups, ..*batch })).collect();
        assert_eq!(outcomes_of_pieces, outcomes, "how groups are batched changes an answer");
        assert_eq!(piecewise.registers(), straight.registers());
        let keys = |replica: &Replica| replica.store.get(Table::Register, keys::KEYS).ok();
        assert_eq!(keys(&piecewise), keys(&straight));
        let policies = |replica: &Replica| policy::list(&replica.store).expect("the policies");
        assert_eq!(policies(&piecewise), policies(&straight));
        let tokens = |replica: &Replica| token::list(&replica.store).expect("the tokens");
        assert_eq!(tokens(&piecewise), tokens(&straight));
        let spaces = |replica: &Replica| quota::spaces(&replica.store).expect("the sums");
        assert_eq!(spaces(&piecewise), spaces(&straight));
        for table in Table::ALL.into_iter().filter(|table| *table != Table::Register) {
            let (ours, theirs) = (piecewise.store.table(table), straight.store.table(table));
            assert_eq!(ours, theirs, "how groups are batched changes {table:?}");
        }
    }
    (straight.machine, straight.store)
}

struct Replica {
    machine: Machine,
    store: Store,
}

impl Replica {
    fn new() -> Self {
        let store = Store::default();
        Self { machine: Machine::load(&store).expect("an empty store"), store }
    }

    fn apply(&mut self, batch: &Batch) -> Vec<GroupOutcome> {
        let before = self.machine.now_ms();
        self.assert_readable(batch);
        let applied = self.machine.apply(&self.store, batch);
        let (outcomes, effects) = applied.expect("no batch is a fault of the store");
        self.store.make(&effects);
        assert_eq!(outcomes.len(), batch.groups.len(), "an outcome a group");
        for (group, outcome) in batch.groups.iter().zip(&outcomes) {
            if let GroupOutcome::Done(outcomes) = outcome
                && group.session == 0
            {
                assert_eq!(outcomes.len(), group.commands.len(), "an outcome a command");
            }
        }
        assert!(self.machine.now_ms() >= before, "the clock never goes back");
        outcomes
    }

    /// What nodes ask of the state beside the log must not fail either.
    fn assert_readable(&self, batch: &Batch) {
        next_alarm(&self.store, batch.at_ms).expect("the alarms can be read");
        for command in batch.groups.iter().flat_map(|group| group.commands.iter()) {
            if let Command::Check(check) = command {
                limiter::refusal(&self.store, batch.at_ms, check.into())
                    .expect("a cell can be read");
            }
            if let Command::CheckByPolicy(check) = command {
                policy::refusal(&self.store, batch.at_ms, check).expect("a policy can be read");
            }
            if let Command::Changes { once: Some(once), .. } = command {
                idempotency::is_kept(&self.store, batch.at_ms, &once.key)
                    .expect("a key can be read");
            }
        }
    }

    /// All registers but the hash, which is a chain over the batches as they came.
    fn registers(&self) -> Option<(u64, u64, u64, u64)> {
        let value = self.store.get(Table::Register, keys::MACHINE).expect("it is in memory")?;
        let (now_ms, sessions, shards, windows_from_ms, _): (u64, u64, u64, u64, [u8; 32]) =
            codec::decode(&value).expect("the registers");
        Some((now_ms, sessions, shards, windows_from_ms))
    }
}
