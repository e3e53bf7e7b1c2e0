//! Replicas agree, whatever the log says.
//!
//! Batches of commands that no node would send, with times that no clock tells, and batches of which
//! bytes were changed, are applied in memory and on disk. The node on disk is restarted, killed and
//! brought up from its log, and replaced by another one that installs its snapshot.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tallykeep::codec;
use tallykeep::machine::{
    Append, Batch, Change, Check, Command, Credit, Group, GroupOutcome, IdempotencyKey, Import,
    ImportedEntry, Keeping, LimitedToken, Machine, NamespaceId, NewToken, ObjectId, ObjectRef,
    Once, Policy, PolicyCheck, Quota, Quotas, Reset, Scopes, SetPolicy, Table, Tick, Token,
    TokenId, View,
};
use tallykeep::storage::{Snapshots, StateOptions, StateStore};
use tempfile::TempDir;

use super::targets::same_everywhere;

const OPTIONS: StateOptions =
    StateOptions { block_cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20 };
/// Behind every key: identifiers are UTF-8, which has no such byte.
const END: [u8; 64] = [0xff; 64];

// --- batches ----------------------------------------------------------------------------------

/// Numbers among which those are that things go wrong with.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..4u64,
        2 => 4..2_000u64,
        1 => Just(1 << 53),
        1 => (u64::MAX - 2)..=u64::MAX,
        1 => any::<u64>(),
    ]
}

/// Few enough for commands to meet.
fn object() -> impl Strategy<Value = ObjectRef> {
    let byte = || prop::sample::select(vec![0u8, 1, 0xff]);
    let name = prop::option::of(prop::sample::select(vec!["", "a", "2024-01-15", "\0é"]));
    (byte(), byte(), name).prop_map(|(namespace, id, name)| ObjectRef {
        namespace: NamespaceId([namespace; 8]),
        id: ObjectId([id; 16]),
        name: name.map(str::to_owned),
    })
}

fn identifier() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "\0", "\u{10ffff}\u{7f}", "ab"]).prop_map(str::to_owned)
}

fn change() -> impl Strategy<Value = Change<Append>> {
    let check = (object(), identifier(), number(), number()).prop_map(
        |(object, identifier, requests, window_ms)| {
            Change::Check(Check { object, identifier, requests, window_ms })
        },
    );
    let reset = (object(), identifier())
        .prop_map(|(object, identifier)| Change::Reset(Reset { object, identifier }));
    let credit = (object(), identifier(), number()).prop_map(|(object, identifier, amount)| {
        Change::Credit(Credit { object, identifier, amount })
    });
    let term = || prop::option::of(prop::sample::select(vec![0, 1, u64::MAX]));
    let day = prop::option::of(prop::sample::select(vec![0, 1, u32::MAX]));
    let terms = [term(), term(), term(), term()];
    let body = prop::collection::vec(any::<u8>(), 0..20);
    let append = (object(), day, any::<[u8; 16]>(), terms, body).prop_map(
        |(object, day, id, terms, body)| {
            Change::Log(Append { object, day, id, terms, body: Bytes::from(body) })
        },
    );
    let by_policy =
        (object(), identifier(), identifier()).prop_map(|(object, identifier, type_)| {
            Change::CheckByPolicy(PolicyCheck { object, identifier, type_ })
        });
    prop_oneof![8 => check, 1 => reset, 1 => credit, 6 => append, 4 => by_policy]
}

/// Of limits that no node takes.
fn set_policy() -> impl Strategy<Value = SetPolicy> {
    let policy = prop::option::weighted(0.8, (number(), number()));
    (object(), identifier(), policy).prop_map(|(object, type_, policy)| SetPolicy {
        namespace: object.namespace,
        type_,
        policy: policy.map(|(requests, window_ms)| Policy { requests, window_ms }),
    })
}

/// Under few keys, which are sent again with other requests, and with bounds that no node sets.
fn once() -> impl Strategy<Value = Once> {
    (0..3u8, 0..2u8, number(), number()).prop_map(|(id, fingerprint, retention_ms, answers_max)| {
        let key = IdempotencyKey { id: [id; 16], fingerprint: [fingerprint; 16], ttl_ms: None };
        Once { key, keeping: Keeping { retention_ms, answers_max } }
    })
}

/// Of any day and time, and of bodies that no node makes.
fn import() -> impl Strategy<Value = Command> {
    let body = prop_oneof![
        4 => prop::sample::select(vec![r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"id":"b"} "#])
            .prop_map(Bytes::from),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
    ];
    let at_ms = prop_oneof![8 => 0..20u64, 2 => number()];
    let terms = prop::option::of(Just(1u64)).prop_map(|term| [term, None, None, term]);
    let entry =
        (object(), 0..3u32, at_ms, terms, body).prop_map(|(object, day, at_ms, terms, body)| {
            ImportedEntry { object, day, at_ms, terms, body }
        });
    (number(), any::<bool>(), prop::collection::vec(entry, 0..5)).prop_map(
        |(retention_ms, keep_expired, entries)| Command::Import {
            retention_ms,
            import: Import { keep_expired, entries },
        },
    )
}

/// Of few ids and names, so that they meet, and of scopes that there are not.
fn token() -> impl Strategy<Value = Command> {
    let id = || (0..3u8).prop_map(|byte| TokenId([byte; 8]));
    let texts = || prop::collection::vec(identifier(), 0..3);
    let expires_ms = prop::option::of(number());
    let token = (identifier(), any::<u8>(), texts(), texts(), expires_ms).prop_map(
        |(name, scopes, bindings, name_prefixes, expires_ms)| {
            let (scopes, sha256) = (Scopes(scopes), [scopes; 32]);
            Token { name, scopes, bindings, name_prefixes, expires_ms, sha256 }
        },
    );
    let new = (id(), token, prop::option::of(any::<u32>())).prop_map(|(id, token, rate)| {
        let new = NewToken { id, token };
        match rate {
            None => Command::CreateToken(new),
            Some(requests_per_second) => {
                Command::CreateLimitedToken(LimitedToken { new, requests_per_second })
            }
        }
    });
    prop_oneof![3 => new, 1 => id().prop_map(|id| Command::RevokeToken { id })]
}

fn command() -> impl Strategy<Value = Command> {
    let alone = change().prop_map(|change| match change {
        Change::Check(check) => Command::Check(check),
        Change::Reset(reset) => Command::Reset(reset),
        Change::Log(append) => Command::Append(append),
        Change::CheckByPolicy(check) => Command::CheckByPolicy(check),
        Change::Credit(credit) => Command::Credit(credit),
    });
    let seeds = prop::collection::vec(set_policy(), 0..3);
    let several = (prop::option::weighted(0.8, once()), prop::collection::vec(change(), 0..4))
        .prop_map(|(once, changes)| Command::Changes { once, changes });
    prop_oneof![
        15 => alone,
        6 => several,
        4 => import(),
        2 => number().prop_map(|retention_ms| Command::Tick(Tick { retention_ms })),
        1 => (0..3u64).prop_map(|node| Command::OpenSession { node }),
        3 => set_policy().prop_map(Command::SetPolicy),
        2 => token(),
        1 => seeds.prop_map(|policies| Command::SeedPolicies { policies }),
        1 => any::<u8>().prop_map(|version| Command::Raise { version }),
        1 => quotas().prop_map(|quotas| Command::SetQuotas { quotas }),
    ]
}

fn quotas() -> impl Strategy<Value = Quotas> {
    let bytes = prop_oneof![number(), 60..300u64];
    let exempt = prop::option::of(object().prop_map(|object| object.id));
    let quota = (object(), bytes, prop::option::of(number()), exempt);
    let quota = quota.prop_map(|(object, object_bytes_max, objects_max, exempt)| {
        (object.namespace, Quota { object_bytes_max, objects_max, exempt })
    });
    prop::collection::vec(quota, 0..3).prop_map(|quotas| quotas.into_iter().collect())
}

fn group() -> impl Strategy<Value = Group<Command>> {
    let opening = (0..3u64).prop_map(|node| (0, 0, 0, vec![Command::OpenSession { node }]));
    let outside = prop::collection::vec(command(), 0..3).prop_map(|commands| (0, 0, 0, commands));
    let session = prop_oneof![8 => 1..4u64, 1 => Just(u64::MAX)];
    let below = prop_oneof![8 => Just(0u64), 1 => number()];
    let inside = (session, number(), below, prop::collection::vec(command(), 0..6));
    prop_oneof![1 => opening, 2 => outside, 6 => inside].prop_map(
        |(session, sequence, answered_below, commands)| Group {
            session,
            sequence,
            answered_below,
            commands: Arc::new(commands),
        },
    )
}

/// Batches whose times mostly go on a little, so that most of them are applied.
fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let step = prop_oneof![
        8 => 0..3i128,
        4 => 3..2_000i128,
        1 => (-5)..0i128,
        1 => Just(4_000_000i128),
    ];
    let batch = (step, prop::collection::vec(group(), 0..4));
    let end = prop::option::weighted(0.1, prop::collection::vec(group(), 1..4));
    (prop::collection::vec(batch, 1..24), end).prop_map(|(planned, end)| {
        let mut at_ms: i128 = 0;
        let mut batches: Vec<Batch> = planned
            .into_iter()
            .map(|(step, groups)| {
                at_ms = (at_ms + step).max(0);
                Batch { at_ms: u64::try_from(at_ms).expect("not below zero"), groups }
            })
            .collect();
        // The end of time, behind which there is nothing but itself.
        for group in end.into_iter().flatten() {
            batches.push(Batch { at_ms: u64::MAX, groups: vec![group] });
        }
        batches
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// In memory: loaded anew before every batch, and with every group in a batch of its own.
    #[test]
    fn hostile_batches_come_to_the_same_everywhere(batches in batches()) {
        same_everywhere(&batches);
    }

    /// What was damaged, or made up, and is a list of batches all the same.
    #[test]
    fn whatever_decodes_comes_to_the_same_everywhere(
        batches in batches(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = codec::encode(&batches);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(batches) = codec::decode::<Vec<Batch>>(&bytes) {
            same_everywhere(&batches);
        }
    }
}

// --- on disk ----------------------------------------------------------------------------------

/// What happens to a node between two batches.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    /// Stopped and started.
    Restart,
    /// Its state comes to the disk, and it goes on.
    Keep,
    /// Killed: what came after the state on the disk is applied again from the log.
    Kill,
    /// Another node takes its place, which knows nothing but its snapshot.
    Replace,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        12 => Just(Event::Nothing),
        2 => Just(Event::Keep),
        1 => Just(Event::Restart),
        1 => Just(Event::Kill),
        1 => Just(Event::Replace),
    ];
    prop::collection::vec(event, 24)
}

/// A node's state machine on its disk.
struct Node {
    machine: Machine,
    store: StateStore,
    dir: TempDir,
}

impl Node {
    fn open(dir: TempDir) -> Self {
        let store = StateStore::open(&dir.path().join("state"), OPTIONS).unwrap();
        Self { machine: Machine::load(&store).unwrap(), store, dir }
    }

    fn apply(&mut self, index: u64, batch: &Batch) -> Vec<GroupOutcome> {
        let (outcomes, effects) = self.machine.apply(&self.store, batch).unwrap();
        self.store.commit(effects, index, b"mark".to_vec(), None).unwrap();
        outcomes
    }

    /// The index of the first batch that is not in the state.
    fn next(&self) -> u64 {
        self.store.marks().index.map_or(0, |index| index + 1)
    }

    fn restarted(self) -> Self {
        let Self { machine, store, dir } = self;
        drop((machine, store));
        Self::open(dir)
    }

    /// Makes a snapshot, which is also what is on disk for sure.
    fn keep(&self, snapshots: &Snapshots) {
        snapshots.build(|path| self.store.checkpoint(path).map(|_| Vec::new())).unwrap();
    }

    /// A node that has what was kept last, and nothing else.
    fn of(snapshots: &Snapshots) -> Self {
        let node = Self::open(TempDir::new().unwrap());
        if let Some(kept) = snapshots.newest() {
            node.store.install(kept.path()).unwrap();
        }
        Self { machine: Machine::load(&node.store).unwrap(), ..node }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// On disk, through restarts, crashes and snapshots, it is what it is in memory.
    #[test]
    fn a_node_on_disk_comes_to_what_one_in_memory_does(batches in batches(), events in events()) {
        let (expected, rows) = same_everywhere(&batches);
        let folder = TempDir::new().unwrap();
        let snapshots = Snapshots::open(folder.path()).unwrap();
        let mut node = Node::of(&snapshots);
        for (index, (batch, event)) in (0..).zip(batches.iter().zip(events.iter().cycle())) {
            let outcomes = node.apply(index, batch);
            node = match event {
                Event::Nothing => node,
                Event::Keep => {
                    node.keep(&snapshots);
                    node
                }
                Event::Restart => node.restarted(),
                Event::Kill => {
                    let mut after = Node::of(&snapshots);
                    for again in after.next()..=index {
                        let position = usize::try_from(again).unwrap();
                        let answers = after.apply(again, &batches[position]);
                        prop_assert!(again < index || answers == outcomes, "another answer");
                    }
                    after
                }
                Event::Replace => {
                    node.keep(&snapshots);
                    Node::of(&snapshots)
                }
            };
            prop_assert_eq!(node.next(), index + 1);
        }
        prop_assert_eq!(&node.machine, &expected);
        for table in Table::ALL {
            let on_disk = node.store.scan(table, &[], &END, usize::MAX).unwrap();
            prop_assert_eq!(on_disk, rows.table(table), "{:?}", table);
        }
    }
}
