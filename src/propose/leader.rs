//! The leader's side: what waits becomes one batch, stamped and proposed as one log entry.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::stamp::Stamper;
use crate::codec;
use crate::limits;
use crate::machine::{
    Batch, Group, GroupOutcome, Keeping, NO_SESSION, Request, Stamped, VERSION_MIN,
};
use crate::metrics::counted;
use crate::raft::{Leadership, Node, ProposeError};

/// Why a group has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubmitError {
    /// This node does not lead: nothing was appended.
    NotLeader,
    /// The leader has as much work as it takes: nothing was appended.
    Overloaded,
    /// The group was appended, and leadership lost: it may or may not be applied.
    Unknown,
}

/// A group on its way, and where its outcome goes.
struct Submitted {
    group: Group<Request>,
    bytes: usize,
    reply: oneshot::Sender<Result<GroupOutcome, SubmitError>>,
}

/// A handle of the queue in which groups of all nodes wait on the leader.
#[derive(Clone)]
pub struct Leader {
    queue: mpsc::Sender<Submitted>,
}

impl Leader {
    pub(super) fn start(
        node: Node,
        keeping: Keeping,
        retention_ms: u64,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(limits::LEADER_QUEUE_MAX);
        tasks.spawn(run(node, Stamper::new(keeping, retention_ms), waiting));
        Self { queue }
    }

    /// Queues a group and waits until it is applied.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(&self, group: Group<Request>) -> Result<GroupOutcome, SubmitError> {
        let bytes = group.commands.iter().map(super::size).sum();
        let (reply, outcome) = oneshot::channel();
        self.queue
            .try_send(Submitted { group, bytes, reply })
            .map_err(|_| SubmitError::Overloaded)?;
        outcome.await.unwrap_or(Err(SubmitError::Unknown))
    }
}

/// One batch at a time: what comes while one is under way is the next, all of it in one log entry.
async fn run(node: Node, mut stamper: Stamper, mut waiting: mpsc::Receiver<Submitted>) {
    let mut expected = Expected::default();
    while let Some(first) = waiting.recv().await {
        let mut submitted = gather(first, &mut waiting, expected).await;
        // Nobody waits for these any more, and nothing was done for them.
        submitted.retain(|submitted| !submitted.reply.is_closed());
        let sessions = submitted.iter().map(|submitted| submitted.group.session);
        let sessions = sessions.filter(|session| *session != NO_SESSION).collect();
        if !submitted.is_empty() {
            let began = Instant::now();
            let outcome = propose(&node, &mut stamper, &submitted).await;
            count(submitted.len(), began, &outcome);
            answer(submitted, outcome);
        }
        expected = Expected { sessions, until: Some(Instant::now() + limits::GATHER_TIMEOUT) };
    }
}

/// Whose next groups are worth waiting for, and until when.
///
/// The nodes that had groups in the last batch got its outcomes at once, and if their clients go on,
/// they have their next groups within a fraction of a millisecond of each other. An entry costs as
/// much as twenty checks do, and a group that misses it waits until that entry is applied.
#[derive(Default)]
struct Expected {
    sessions: BTreeSet<u64>,
    until: Option<Instant>,
}

/// The next batch: all groups that wait, and those that are expected, if they come in time.
async fn gather(
    first: Submitted,
    waiting: &mut mpsc::Receiver<Submitted>,
    mut expected: Expected,
) -> Vec<Submitted> {
    let mut bytes = first.bytes;
    expected.sessions.remove(&first.group.session);
    let mut submitted = vec![first];
    while submitted.len() < limits::BATCH_GROUPS_MAX && bytes < limits::BATCH_BYTES_MAX {
        let next = match (waiting.try_recv(), expected.until) {
            (Ok(next), _) => next,
            (Err(_), Some(until)) if !expected.sessions.is_empty() => {
                match timeout_at(until, waiting.recv()).await {
                    Ok(Some(next)) => next,
                    Ok(None) | Err(_) => break,
                }
            }
            (Err(_), _) => break,
        };
        bytes += next.bytes;
        expected.sessions.remove(&next.group.session);
        submitted.push(next);
    }
    submitted
}

async fn propose(
    node: &Node,
    stamper: &mut Stamper,
    submitted: &[Submitted],
) -> Result<Vec<GroupOutcome>, ProposeError> {
    let Leadership::Here { term } = node.leadership() else { return Err(ProposeError::NotLeader) };
    // The stamp must be later than every stamp before it, those of earlier leaders included, so
    // all that they proposed has to be applied here first.
    let mut progress = node.progress();
    tokio::select! {
        biased;
        applied = progress.wait_for(|progress| progress.term >= term) => {
            applied.map_err(|_| ProposeError::Stopped)?;
        }
        () = node.leadership_other_than(Leadership::Here { term }) => {
            return Err(ProposeError::NotLeader);
        }
    }
    if node.clock_must_wait_for_peers() {
        return Err(ProposeError::NotLeader);
    }
    let at_ms = stamper.begin(node, term).await;
    let groups = submitted.iter().map(|submitted| Group {
        session: submitted.group.session,
        sequence: submitted.group.sequence,
        answered_below: submitted.group.answered_below,
        commands: Arc::new(
            submitted.group.commands.iter().map(|request| stamper.stamp(request)).collect(),
        ),
    });
    let batch: Batch<Stamped> = Batch { at_ms, groups: groups.collect() };
    let commands = batch.groups.iter().flat_map(|group| group.commands.iter());
    let version = commands.map(Stamped::version).max().unwrap_or(VERSION_MIN);
    let batch = codec::encode_as(version, &batch);
    counted().batch_bytes.inc_by(batch.len() as u64);
    node.propose(term, batch).await
}

fn count<T>(groups: usize, began: Instant, outcome: &Result<T, ProposeError>) {
    let counted = counted();
    let came_to = match outcome {
        Ok(_) => {
            counted.batch_groups.observe(groups as f64);
            counted.batch_seconds.observe(began.elapsed().as_secs_f64());
            "applied"
        }
        Err(ProposeError::Unknown) => "unknown",
        Err(ProposeError::NotLeader | ProposeError::Stopped) => "refused",
    };
    counted.batches.with_label_values(&[came_to]).inc();
}

fn answer(submitted: Vec<Submitted>, outcome: Result<Vec<GroupOutcome>, ProposeError>) {
    let error = match outcome {
        Ok(outcomes) => {
            for (submitted, outcome) in submitted.into_iter().zip(outcomes) {
                // A group whose node went away has nobody to tell.
                let _ = submitted.reply.send(Ok(outcome));
            }
            return;
        }
        Err(ProposeError::Unknown) => SubmitError::Unknown,
        Err(ProposeError::NotLeader | ProposeError::Stopped) => SubmitError::NotLeader,
    };
    for submitted in submitted {
        let _ = submitted.reply.send(Err(error));
    }
}
