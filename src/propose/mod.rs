//! The hallway: the one way to change state.
//!
//! ```text
//! Proposer ── queue ──► groups.rs ──► forward.rs ──► leader.rs ──► raft
//!  (any node)            (any node)    (here or       (the leader:
//!                                       over the wire) stamp, batch)
//! ```
//!
//! What waits on a node becomes a group, what waits on the leader becomes a batch, a batch becomes
//! one log entry. While one is under way the next gathers by itself. Every queue is bounded, and a
//! full one refuses.
//!
//! A group of unknown fate is sent again under its session and sequence until its callers' deadline,
//! and the machine applies it once.

mod forward;
mod groups;
mod leader;
mod refusals;
mod stamp;
mod ticker;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use forward::ForwardReply;
pub use leader::{Leader, SubmitError};

use refusals::Refusals;

use crate::error::{Error, Result};
use crate::limits;
use crate::machine::{Check, Outcome, Request};
use crate::raft::Node;

/// A command that waits for its outcome.
struct Pending {
    request: Request,
    bytes: usize,
    reply: oneshot::Sender<Result<Outcome>>,
    /// Until when its outcome is tried for. It is answered then.
    deadline: Instant,
}

/// A cheap handle through which a node's clients change state.
#[derive(Clone)]
pub struct Proposer {
    node: Node,
    refusals: Arc<Refusals>,
    queue: mpsc::Sender<Pending>,
    /// Bytes of the requests in the queue.
    waiting_bytes: Arc<AtomicUsize>,
}

impl Proposer {
    /// Decides a check within [`limits::REQUEST_TIMEOUT`]: if it is refused, then as a rule from the
    /// state of this node.
    ///
    /// # Errors
    /// As [`Proposer::propose`].
    pub async fn check(&self, check: Check) -> Result<Outcome> {
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        let guess = self.refusals.guess(&check);
        if let Some(refusal) = self.refusals.decide(guess, &check, deadline).await? {
            return Ok(Outcome::Checked(refusal));
        }
        let outcome = self.propose_by(Request::Check(check), deadline).await?;
        if let Outcome::Checked(decision) = &outcome {
            self.refusals.learn(guess, decision);
        }
        Ok(outcome)
    }

    /// Queues a request and waits for its outcome, at most [`limits::REQUEST_TIMEOUT`].
    ///
    /// # Errors
    /// `Overloaded` if the queue here or at the leader is full, `Unavailable` if no leader was
    /// found in time, and at once if it is known that there is no quorum; `StorageFull` if too few
    /// nodes have space left: nothing was changed.
    /// `Unknown` if no answer came in time: the request may have been carried out.
    pub async fn propose(&self, request: Request) -> Result<Outcome> {
        self.propose_by(request, Instant::now() + limits::REQUEST_TIMEOUT).await
    }

    async fn propose_by(&self, request: Request, deadline: Instant) -> Result<Outcome> {
        self.node.check_quorum()?;
        self.node.check_disks()?;
        let bytes = size(&request);
        let (reply, outcome) = oneshot::channel();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = if waiting + bytes > limits::PROPOSAL_QUEUE_BYTES_MAX {
            Err(())
        } else {
            let deadline = deadline - limits::ANSWER_MARGIN;
            self.queue.try_send(Pending { request, bytes, reply, deadline }).map_err(|_| ())
        };
        if sent.is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::overloaded("too many requests wait on this node"));
        }
        // Without a timer of its own: its group has one, and a group's place another's.
        outcome.await.unwrap_or_else(|_| Err(Error::unknown()))
    }
}

/// What a node runs to change state.
pub struct Proposals {
    /// For the node's clients.
    pub proposer: Proposer,
    /// For the groups that other nodes forward.
    pub leader: Leader,
    /// What carries all of it; it ends when this is dropped.
    pub tasks: JoinSet<()>,
}

/// Starts the queues of one node, its alarm ticker, and its look for upgrades.
pub fn start(node: &Node, retention_ms: u64) -> Proposals {
    let mut tasks = JoinSet::new();
    let leader = Leader::start(node.clone(), &mut tasks);
    let (queue, waiting) = mpsc::channel(limits::PROPOSAL_QUEUE_MAX);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let forwarder = forward::Forwarder::new(node.clone(), leader.clone());
    tasks.spawn(groups::run(forwarder, waiting, waiting_bytes.clone()));
    tasks.spawn(ticker::run(node.clone(), leader.clone(), retention_ms));
    tasks.spawn(upgrade::run(node.clone(), leader.clone()));
    let refusals = Arc::new(Refusals::new(node.clone()));
    let proposer = Proposer { node: node.clone(), refusals, queue, waiting_bytes };
    Proposals { proposer, leader, tasks }
}

/// About how many bytes a request is in a group.
fn size(request: &Request) -> usize {
    const FIXED: usize = 64;
    let name = |object: &crate::machine::ObjectRef| object.name.as_ref().map_or(0, String::len);
    FIXED
        + match request {
            Request::OpenSession { .. } | Request::Tick(_) | Request::Raise { .. } => 0,
            Request::Check(check) => name(&check.object) + check.identifier.len(),
            Request::Reset(reset) => name(&reset.object) + reset.identifier.len(),
            Request::Log(draft) => draft.members.len(),
        }
}
