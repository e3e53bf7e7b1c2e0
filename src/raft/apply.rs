//! openraft's state machine over ours: entry → [`Machine::apply`] → one commit → responder.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;

use super::blocking::blocking;
use super::crowds::Crowds;
use super::snapshot::{self, Builder, Handle};
use super::types::{Applied, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::clock::Clock;
use crate::codec;
use crate::machine::{Batch, Effects, GroupOutcome, Machine, Outcome, check_version};
use crate::metrics::counted;
use crate::storage::{Snapshots, StateStorage};

/// How far this node has applied the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Index of the last applied entry.
    pub applied: Option<u64>,
    /// Term of the last applied entry.
    pub term: u64,
    /// The machine's clock, in ms since the Unix epoch.
    pub now_ms: u64,
    /// When the machine's clock last moved, by this node's monotonic clock.
    pub seen: Duration,
    /// Up to which version the log may hold commands.
    pub version: u8,
    /// The machine's hash.
    pub hash: [u8; 32],
}

/// The state machine of one node.
pub struct StateMachine {
    machine: Machine,
    store: Arc<dyn StateStorage>,
    snapshots: Snapshots,
    clock: Arc<dyn Clock>,
    progress: watch::Sender<Progress>,
    /// [`Machine::token_changes`]. Apart from the progress, which changes with every entry.
    tokens: watch::Sender<u64>,
    crowds: Arc<Crowds>,
    version_max: u8,
}

impl StateMachine {
    /// The machine in `store`, and where its progress can be watched. Commands of later versions than
    /// `version_max` are refused.
    ///
    /// # Errors
    /// If the store cannot be read or holds what this build does not understand.
    pub fn open(
        store: Arc<dyn StateStorage>,
        snapshots: Snapshots,
        clock: Arc<dyn Clock>,
        version_max: u8,
    ) -> io::Result<(Self, watch::Receiver<Progress>)> {
        let machine = load(&*store, version_max)?;
        let (progress, watched) = watch::channel(Progress::default());
        let (tokens, _) = watch::channel(machine.token_changes());
        let crowds = Arc::default();
        let state =
            Self { machine, store, snapshots, clock, progress, tokens, crowds, version_max };
        let applied = decode_applied(&*state.store)?;
        state.publish(applied);
        Ok((state, watched))
    }

    /// How often a token was stored or revoked, as far as the log is applied here.
    pub fn token_changes(&self) -> watch::Receiver<u64> {
        self.tokens.subscribe()
    }

    /// The objects that are near their quotas.
    pub(super) fn crowds(&self) -> Arc<Crowds> {
        self.crowds.clone()
    }

    fn publish(&self, applied: Option<LogId>) {
        let changes = self.machine.token_changes();
        self.tokens.send_if_modified(|known| std::mem::replace(known, changes) != changes);
        self.progress.send_modify(|progress| {
            let now_ms = self.machine.now_ms();
            if progress.now_ms != now_ms {
                progress.seen = self.clock.monotonic();
            }
            *progress = Progress {
                applied: applied.map(|id| id.index),
                term: applied.map_or(0, |id| id.leader_id.term),
                now_ms,
                seen: progress.seen,
                version: self.machine.version(),
                hash: self.machine.hash(),
            };
        });
    }

    fn apply_one(&mut self, (entry, responder): EntryResponder<TypeConfig>) -> io::Result<LogId> {
        let log_id = entry.log_id();
        let (index, mark) = (log_id.index, codec::encode(&log_id));
        let outcomes = match entry.payload {
            EntryPayload::Blank => {
                self.store.commit(Effects::default(), index, mark, None)?;
                Vec::new()
            }
            EntryPayload::Membership(membership) => {
                let membership = StoredMembership::new(Some(log_id), membership);
                let membership = codec::encode(&membership);
                self.store.commit(Effects::default(), index, mark, Some(membership))?;
                Vec::new()
            }
            EntryPayload::Normal(batch) => {
                let timer = counted().apply_seconds.start_timer();
                let batch = Batch::decode(&batch.0, self.version_max)?;
                let (outcomes, mut effects) = self.machine.apply(&*self.store, &batch)?;
                let crowded = std::mem::take(&mut effects.crowded);
                self.store.commit(effects, index, mark, None)?;
                if has_set_quotas(&outcomes) {
                    self.crowds.forget();
                }
                self.crowds.note(batch.at_ms, &crowded);
                count_ticks(&outcomes);
                timer.observe_duration();
                outcomes
            }
        };
        // Told before the caller is, so that what it reads next here is not behind its answer.
        self.publish(Some(log_id));
        if let Some(responder) = responder {
            responder.send(Applied(outcomes));
        }
        Ok(log_id)
    }
}

/// Whether quotas were put in force, perhaps those that were already. That is the last command of its group
/// (`propose/upgrade.rs`), so a look at each group is enough.
fn has_set_quotas(outcomes: &[GroupOutcome]) -> bool {
    outcomes.iter().any(|outcome| match outcome {
        GroupOutcome::Done(done) => done.last() == Some(&Outcome::QuotasSet),
        _ => false,
    })
}

/// Ticks stand alone in their groups.
fn count_ticks(outcomes: &[GroupOutcome]) {
    for outcome in outcomes {
        if let GroupOutcome::Done(outcomes) = outcome
            && let [Outcome::Ticked(done)] = &outcomes[..]
        {
            let counted = counted();
            counted.ticks.inc();
            counted.alarm_windows.inc_by(done.windows);
            counted.alarm_entries.inc_by(done.entries);
            counted.alarm_shards.inc_by(done.shards);
        }
    }
}

fn load(store: &dyn StateStorage, version_max: u8) -> io::Result<Machine> {
    let machine = Machine::load(store)?;
    check_version(machine.version(), version_max)?;
    Ok(machine)
}

/// The log id that the store was last committed with.
pub(super) fn decode_applied(store: &dyn StateStorage) -> io::Result<Option<LogId>> {
    store.marks()?.applied.map(|bytes| codec::decode(&bytes)).transpose()
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Handle;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let membership = self.store.marks()?.membership;
        let membership = membership.map(|bytes| codec::decode(&bytes)).transpose()?;
        Ok((decode_applied(&*self.store)?, membership.unwrap_or_default()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.try_next().await? {
            let index = entry.0.index();
            self.apply_one(entry).map_err(|error| {
                tracing::error!(index, %error, "cannot apply a log entry: this node stops");
                error
            })?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        Builder::new(self.store.clone(), self.snapshots.clone())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Handle,
    ) -> Result<(), io::Error> {
        let (store, received) = (self.store.clone(), snapshot.clone());
        blocking(move || store.install(received.path())).await?;
        self.machine = load(&*self.store, self.version_max)?;
        let applied = decode_applied(&*self.store)?;
        if applied != meta.last_log_id {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a snapshot of {:?} holds {applied:?}", meta.last_log_id),
            ));
        }
        counted().snapshots.with_label_values(&["installed"]).inc();
        self.publish(applied);
        // One that was received here is kept already; openraft may also hand over any other.
        let newest = self.snapshots.newest();
        if newest.is_none_or(|newest| newest.path() != snapshot.path()) {
            self.get_snapshot_builder().await.build_snapshot().await?;
        }
        tracing::info!(applied = applied.map(|id| id.index), "installed a snapshot");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        snapshot::current(&self.snapshots)
    }
}
