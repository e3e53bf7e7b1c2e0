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
mod observe;
mod policies;
mod quotas;
mod refusals;
mod stamp;
mod ticker;
mod tokens;
mod top;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

pub use forward::ForwardReply;
pub use leader::{Leader, SubmitError};
pub use refusals::AnyCheck;
pub use stamp::shard_of;
pub use top::Refused;

use refusals::Refusals;
use top::Top;

use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::machine::{
    Answer, Answered, Change, Check, Credit, Draft, IdempotencyKey, Import, ImportedEntry, Keeping,
    NamespaceId, NewToken, ObjectRef, Outcome, PolicyCheck, Quotas, Refusal, Request, Reset,
    SetPolicy, VERSION_CHANGES, VERSION_CREDITS, VERSION_POLICIES, import,
};
use crate::raft::Node;
use crate::trace::{self, Traced};

/// Between two looks whether commands of a later version are held back.
const VERSION_LOOK: Duration = Duration::from_millis(50);

/// A command that waits for its outcome.
struct Pending {
    request: Request,
    bytes: usize,
    reply: oneshot::Sender<Result<Outcome>>,
    /// When it came.
    since: Instant,
    /// Until when its outcome is tried for. It is answered then.
    deadline: Instant,
    /// The span of the client's request, if it is sampled.
    traced: Option<Traced>,
}

/// A cheap handle through which a node's clients change state.
#[derive(Clone)]
pub struct Proposer {
    node: Node,
    refusals: Arc<Refusals>,
    /// Which limiters refuse most.
    top: Arc<Top>,
    queue: mpsc::Sender<Pending>,
    /// This node's retention of audit entries, in ms.
    retention_ms: u64,
    /// Bytes of the requests in the queue.
    waiting_bytes: Arc<AtomicUsize>,
}

impl Proposer {
    /// Decides a check within [`limits::REQUEST_TIMEOUT`]: if it is refused, then as a rule from the
    /// state of this node.
    ///
    /// # Errors
    /// As [`Proposer::propose`]; by a policy, as [`Proposer::change`].
    pub async fn check(&self, check: impl Into<AnyCheck>) -> Result<Outcome> {
        let check = check.into();
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        if matches!(check, AnyCheck::ByPolicy(_)) {
            self.wait_for(VERSION_POLICIES, deadline).await?;
        }
        let guess = self.refusals.guess(&check);
        if let Some(refusal) = self.refusals.decide(guess, &check, None, deadline).await? {
            observe::count_refusal_by_read();
            let (object, identifier) = check.cell();
            self.top.refused(object, identifier, refusal.now_ms);
            return Ok(Outcome::Checked(refusal));
        }
        let (object, identifier) = owned(check.cell());
        let outcome = self.propose_by(check.into(), deadline).await?;
        if let Outcome::Checked(decision) = &outcome {
            self.refusals.learn(guess, decision);
            if !decision.allowed {
                self.top.refused(&object, &identifier, decision.now_ms);
            }
        }
        Ok(outcome)
    }

    /// As [`Proposer::check`], once for `key`: comes to [`Outcome::Changed`] or, if the key cannot be
    /// used, to [`Outcome::Refused`].
    ///
    /// # Errors
    /// As [`Proposer::change`].
    pub async fn check_once(
        &self,
        check: impl Into<AnyCheck>,
        key: IdempotencyKey,
    ) -> Result<Outcome> {
        let check = check.into();
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        let version = match check {
            AnyCheck::Own(_) => VERSION_CHANGES,
            AnyCheck::ByPolicy(_) => VERSION_POLICIES,
        };
        self.wait_for(version, deadline).await?;
        let guess = self.refusals.guess(&check);
        if let Some(refusal) = self.refusals.decide(guess, &check, Some(&key), deadline).await? {
            observe::count_refusal_by_read();
            let (object, identifier) = check.cell();
            self.top.refused(object, identifier, refusal.now_ms);
            let answer = Answer::Checked(refusal);
            return Ok(Outcome::Changed(vec![Answered { answer, replayed: false }]));
        }
        let (object, identifier) = owned(check.cell());
        let request = Request::Changes { key: Some(key), changes: vec![check.into()] };
        let outcome = self.propose_by(request, deadline).await?;
        if let Outcome::Changed(answered) = &outcome
            && let [Answered { answer: Answer::Checked(decision), replayed: false }] = answered[..]
        {
            self.refusals.learn(guess, &decision);
            if !decision.allowed {
                self.top.refused(&object, &identifier, decision.now_ms);
            }
        }
        Ok(outcome)
    }

    /// Carries changes out in their order, with nothing between them, at one time; with a key, those
    /// that it does not have yet. Comes to [`Outcome::Changed`] or, if the key cannot be used and
    /// nothing was changed, to [`Outcome::Refused`].
    ///
    /// # Errors
    /// As [`Proposer::propose`]. `Unavailable` also while not every node knows such commands.
    pub async fn change(
        &self,
        key: Option<IdempotencyKey>,
        changes: Vec<Change>,
    ) -> Result<Outcome> {
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        let version = changes.iter().map(version_of).fold(VERSION_CHANGES, u8::max);
        self.wait_for(version, deadline).await?;
        let checked: Vec<_> = changes.iter().map(|change| top::cell(change).map(owned)).collect();
        let outcome = self.propose_by(Request::Changes { key, changes }, deadline).await?;
        if let Outcome::Changed(answered) = &outcome {
            for (checked, answered) in checked.iter().zip(answered) {
                if let (Some((object, identifier)), Answer::Checked(decision)) =
                    (checked, &answered.answer)
                    && !decision.allowed
                {
                    self.top.refused(object, identifier, decision.now_ms);
                }
            }
        }
        Ok(outcome)
    }

    /// Gives back some of what a limiter has counted. Comes to [`Outcome::Credited`] or, with a key, once for
    /// it and as [`Proposer::change`] says.
    ///
    /// # Errors
    /// As [`Proposer::change`].
    pub async fn credit(&self, key: Option<IdempotencyKey>, credit: Credit) -> Result<Outcome> {
        if key.is_some() {
            return self.change(key, vec![Change::Credit(credit)]).await;
        }
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        self.wait_for(VERSION_CREDITS, deadline).await?;
        self.propose_by(Request::Credit(credit), deadline).await
    }

    /// The limiters that have refused most on this node in the last minutes, of one namespace or of all;
    /// and since when, in ms since the Unix epoch.
    pub fn top(&self, namespace: Option<NamespaceId>, limit: usize) -> (u64, Vec<Refused>) {
        self.top.list(namespace, limit, self.node.now_ms())
    }

    /// This node's retention of audit entries, in ms.
    pub fn retention_ms(&self) -> u64 {
        self.retention_ms
    }

    /// Takes entries over that have their ids and times. Comes to [`Outcome::Imported`].
    ///
    /// # Errors
    /// As [`Proposer::change`].
    pub async fn import(&self, import: Import) -> Result<Outcome> {
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        self.wait_for(VERSION_CHANGES, deadline).await?;
        self.propose_by(Request::Import(import), deadline).await
    }

    /// Why entries of these times, in ms since the Unix epoch, would not be imported now wherever they
    /// stood, as far as this node knows: by its own setting of the retention.
    ///
    /// # Errors
    /// `Unavailable` while not every node knows such commands.
    pub async fn try_import(
        &self,
        keep_expired: bool,
        times: &[u64],
    ) -> Result<Vec<Option<Refusal>>> {
        self.wait_for(VERSION_CHANGES, Instant::now() + limits::REQUEST_TIMEOUT).await?;
        let now_ms = self.node.now_ms();
        let refusal = |at_ms| import::refusal(now_ms, self.retention_ms, keep_expired, at_ms);
        Ok(times.iter().map(|at_ms| refusal(*at_ms)).collect())
    }

    /// Returns once the log may hold commands of `version`. They are on their way in a cluster that has
    /// just begun, and then waited for; not if a node is known that does not take part in them.
    async fn wait_for(&self, version: u8, deadline: Instant) -> Result<()> {
        let mut progress = self.node.progress();
        if progress.borrow().version >= version {
            return Ok(());
        }
        let until =
            (Instant::now() + limits::VERSION_TIMEOUT).min(deadline - limits::ANSWER_MARGIN);
        while Instant::now() < until && !self.node.is_held_below(version) {
            self.node.check_quorum()?;
            let raised = progress.wait_for(|progress| progress.version >= version);
            if let Ok(Ok(_)) = timeout(VERSION_LOOK, raised).await {
                return Ok(());
            }
        }
        let message = "idempotency keys, batches, imports, policies, tokens, their limits and credits cannot \
                       be used until all nodes know them: an upgrade is under way, or version_max holds it";
        Err(Error::new(Kind::Unavailable, "not_yet_supported", message))
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

    /// As [`Proposer::propose`], for an entry of the node itself: it is written also where the disks have
    /// room for nothing that clients write, so that what mends that can be recorded.
    ///
    /// # Errors
    /// As [`Proposer::propose`], but not `StorageFull`.
    pub async fn record(&self, draft: Draft) -> Result<Outcome> {
        self.send_anyhow(Request::Log(draft), Instant::now() + limits::REQUEST_TIMEOUT).await
    }

    async fn propose_by(&self, request: Request, deadline: Instant) -> Result<Outcome> {
        self.node.check_quorum()?;
        self.node.check_disks()?;
        self.send(request, deadline).await
    }

    /// The same, however full the disks are.
    async fn send_anyhow(&self, request: Request, deadline: Instant) -> Result<Outcome> {
        self.node.check_quorum()?;
        self.send(request, deadline).await
    }

    async fn send(&self, request: Request, deadline: Instant) -> Result<Outcome> {
        let bytes = size(&request);
        let (reply, outcome) = oneshot::channel();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = if waiting + bytes > limits::PROPOSAL_QUEUE_BYTES_MAX {
            Err(())
        } else {
            let since = Instant::now();
            let deadline = deadline - limits::ANSWER_MARGIN;
            let traced = trace::current();
            let pending = Pending { request, bytes, reply, since, deadline, traced };
            self.queue.try_send(pending).map_err(|_| ())
        };
        if sent.is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::overloaded("too many requests wait on this node"));
        }
        // Without a timer of its own: its group has one, and a group's place another's.
        let outcome = outcome.await.unwrap_or_else(|_| Err(Error::unknown()))?;
        observe::count(&outcome);
        Ok(outcome)
    }

    /// Sets the gauges of this node's queue and, while it leads, of its alarms.
    pub fn observe(&self) {
        let waiting = self.queue.max_capacity() - self.queue.capacity();
        observe::queue(waiting, self.waiting_bytes.load(Ordering::Relaxed));
        observe::alarms(&self.node, self.retention_ms);
    }
}

fn owned((object, identifier): (&ObjectRef, &str)) -> (ObjectRef, String) {
    (object.clone(), identifier.to_owned())
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
///
/// `retention_ms` is that of audit entries, `keeping` that of idempotency keys; `policies` are stored in a
/// cluster that never had one, `quotas` are put in force whenever this node leads.
pub fn start(
    node: &Node,
    retention_ms: u64,
    keeping: Keeping,
    policies: Vec<SetPolicy>,
    quotas: Quotas,
) -> Proposals {
    let mut tasks = JoinSet::new();
    let leader = Leader::start(node.clone(), keeping, retention_ms, &mut tasks);
    let (queue, waiting) = mpsc::channel(limits::PROPOSAL_QUEUE_MAX);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let forwarder = forward::Forwarder::new(node.clone(), leader.clone());
    tasks.spawn(groups::run(forwarder, waiting, waiting_bytes.clone()));
    tasks.spawn(ticker::run(node.clone(), leader.clone(), retention_ms));
    tasks.spawn(upgrade::run(node.clone(), leader.clone(), policies, quotas));
    let refusals = Arc::new(Refusals::new(node.clone()));
    let top = Arc::default();
    let proposer =
        Proposer { node: node.clone(), refusals, top, queue, retention_ms, waiting_bytes };
    Proposals { proposer, leader, tasks }
}

/// The first version of commands that has a change.
fn version_of(change: &Change) -> u8 {
    match change {
        Change::Check(_) | Change::Reset(_) | Change::Log(_) => VERSION_CHANGES,
        Change::CheckByPolicy(_) => VERSION_POLICIES,
        Change::Credit(_) => VERSION_CREDITS,
    }
}

/// About how many bytes a request is in a group.
fn size(request: &Request) -> usize {
    match request {
        Request::OpenSession { .. } | Request::Tick(_) | Request::Raise { .. } => FIXED_BYTES,
        Request::Check(check) => check_size(check),
        Request::Reset(reset) => reset_size(reset),
        Request::Log(draft) => log_size(draft),
        Request::Changes { changes, .. } => {
            let size = |change: &Change| match change {
                Change::Check(check) => check_size(check),
                Change::Reset(reset) => reset_size(reset),
                Change::Log(draft) => log_size(draft),
                Change::CheckByPolicy(check) => policy_check_size(check),
                Change::Credit(credit) => credit_size(credit),
            };
            FIXED_BYTES + changes.iter().map(size).sum::<usize>()
        }
        Request::Import(import) => {
            let size =
                |entry: &ImportedEntry| FIXED_BYTES + name_size(&entry.object) + entry.body.len();
            FIXED_BYTES + import.entries.iter().map(size).sum::<usize>()
        }
        Request::CheckByPolicy(check) => policy_check_size(check),
        Request::SetPolicy(set) => policy_size(set),
        Request::SeedPolicies(policies) => policies.iter().map(policy_size).sum::<usize>(),
        Request::CreateToken(new) => token_size(new),
        Request::RevokeToken { .. } => FIXED_BYTES,
        Request::Credit(credit) => credit_size(credit),
        Request::CreateLimitedToken(limited) => token_size(&limited.new),
        Request::SetQuotas(quotas) => FIXED_BYTES * (1 + quotas.len()),
    }
}

const FIXED_BYTES: usize = 64;

fn check_size(check: &Check) -> usize {
    FIXED_BYTES + name_size(&check.object) + check.identifier.len()
}

fn policy_check_size(check: &PolicyCheck) -> usize {
    FIXED_BYTES + name_size(&check.object) + check.identifier.len() + check.type_.len()
}

fn policy_size(set: &SetPolicy) -> usize {
    FIXED_BYTES + set.type_.len()
}

fn token_size(NewToken { token, .. }: &NewToken) -> usize {
    let texts = token.bindings.iter().chain(&token.name_prefixes);
    let texts = texts.map(|text| FIXED_BYTES + text.len()).sum::<usize>();
    2 * FIXED_BYTES + token.name.len() + texts
}

fn reset_size(reset: &Reset) -> usize {
    FIXED_BYTES + name_size(&reset.object) + reset.identifier.len()
}

fn credit_size(credit: &Credit) -> usize {
    FIXED_BYTES + name_size(&credit.object) + credit.identifier.len()
}

fn log_size(draft: &Draft) -> usize {
    FIXED_BYTES + draft.members.len()
}

fn name_size(object: &ObjectRef) -> usize {
    object.name.as_ref().map_or(0, String::len)
}

/// How many changes a request asks for: what a group may hold is counted in these.
fn changes(request: &Request) -> usize {
    match request {
        Request::Changes { changes, .. } => changes.len().max(1),
        Request::Import(import) => import.entries.len().max(1),
        _ => 1,
    }
}
