//! Brings a group to the leader, here or over the wire, until it has an outcome or no time is left.
//!
//! An attempt ends in one of three ways. *Refused*: nothing was appended; try again, anywhere.
//! *Unknown*: the group may be applied; try again under the same sequence, which the machine then
//! answers from memory. *Decided*: the machine has seen the group. (The distinction is that of
//! Birrell and Nelson, "Implementing Remote Procedure Calls", 1984: at most once, and told.)

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};

use super::leader::{Leader, SubmitError};
use crate::codec;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::machine::{Group, GroupOutcome, Outcome, Request};
use crate::peer::Kind;
use crate::raft::{Leadership, Node};

/// Before the next attempt, unless a new leader is known sooner.
const PAUSE: Duration = Duration::from_millis(20);

/// The leader's answer to a forwarded group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardReply {
    /// What the machine says.
    Decided(GroupOutcome),
    /// Nothing was appended.
    Refused(SubmitError),
}

/// How an attempt ended.
enum Attempt {
    Decided(GroupOutcome),
    Refused(SubmitError),
    Unknown,
}

/// Brings this node's groups to the leader.
pub(super) struct Forwarder {
    node: Node,
    leader: Leader,
    session: Mutex<Option<Session>>,
    /// Held by the one group that opens a session, while the others wait for it.
    opening: tokio::sync::Mutex<()>,
}

/// This node's session, and which of its groups have no outcome yet.
struct Session {
    number: u64,
    next_sequence: u64,
    unanswered: BTreeSet<u64>,
}

/// A group's place in a session.
#[derive(Clone, Copy)]
struct Ticket {
    session: u64,
    sequence: u64,
}

impl Forwarder {
    pub(super) fn new(node: Node, leader: Leader) -> Self {
        Self { node, leader, session: Mutex::new(None), opening: tokio::sync::Mutex::new(()) }
    }

    /// Gives the outcomes of `requests`, by position.
    ///
    /// # Errors
    /// See [`super::Proposer::propose`].
    pub(super) async fn deliver(
        &self,
        requests: Arc<Vec<Request>>,
        deadline: Instant,
    ) -> Result<Vec<Outcome>> {
        let mut ticket = self.ticket(deadline).await?;
        // Whether an earlier attempt may have been applied.
        let mut unknown = false;
        let outcome = loop {
            let group = Group {
                session: ticket.session,
                sequence: ticket.sequence,
                answered_below: self.answered_below(ticket),
                commands: requests.clone(),
            };
            let was = self.node.leadership();
            let attempt = match timeout_at(deadline, self.attempt(was, group)).await {
                Ok(attempt) => attempt,
                Err(_) => break Err(Error::unknown()),
            };
            match attempt {
                Attempt::Decided(GroupOutcome::Done(outcomes)) => break Ok(outcomes),
                Attempt::Decided(GroupOutcome::SessionUnknown) if !unknown => {
                    // This group was never applied, so it may start over in a new session.
                    self.forget_session(ticket);
                    ticket = self.ticket(deadline).await?;
                    continue;
                }
                Attempt::Decided(GroupOutcome::SessionUnknown | GroupOutcome::Forgotten) => {
                    break Err(Error::unknown());
                }
                Attempt::Decided(GroupOutcome::Stale) => continue,
                Attempt::Decided(GroupOutcome::SessionFull) => {}
                Attempt::Refused(SubmitError::Overloaded) if !unknown => {
                    break Err(Error::overloaded("too many requests wait on the leader"));
                }
                Attempt::Refused(_) => {}
                Attempt::Unknown => unknown = true,
            }
            if Instant::now() + PAUSE >= deadline {
                break Err(if unknown { Error::unknown() } else { no_leader() });
            }
            if let Err(error) = self.node.check_quorum() {
                break Err(if unknown { Error::unknown() } else { error });
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = self.node.leadership_other_than(was) => {}
            }
        };
        self.answered(ticket);
        outcome
    }

    async fn attempt(&self, leadership: Leadership, group: Group<Request>) -> Attempt {
        let answer = async {
            match leadership {
                Leadership::Here { .. } => match self.leader.submit(group).await {
                    Ok(outcome) => Attempt::Decided(outcome),
                    Err(SubmitError::Unknown) => Attempt::Unknown,
                    Err(error) => Attempt::Refused(error),
                },
                Leadership::There(leader) => self.forward(leader, &group).await,
                Leadership::Nowhere => Attempt::Refused(SubmitError::NotLeader),
            }
        };
        tokio::select! {
            biased;
            attempt = answer => attempt,
            // A leader that was cut off or paused does not answer; its successor will.
            () = self.node.leadership_other_than(leadership) => Attempt::Unknown,
        }
    }

    async fn forward(&self, leader: u64, group: &Group<Request>) -> Attempt {
        let reply = self.node.call(leader, Kind::Forward, codec::encode(group)).await;
        match reply.and_then(|reply| codec::decode(&reply)) {
            Ok(ForwardReply::Decided(outcome)) => Attempt::Decided(outcome),
            Ok(ForwardReply::Refused(SubmitError::Unknown)) => Attempt::Unknown,
            Ok(ForwardReply::Refused(error)) => Attempt::Refused(error),
            Err(error) => match error.kind() {
                // Never sent; see `Link::call`.
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::TimedOut
                | io::ErrorKind::NotFound => Attempt::Refused(SubmitError::NotLeader),
                io::ErrorKind::WouldBlock => Attempt::Refused(SubmitError::Overloaded),
                _ => Attempt::Unknown,
            },
        }
    }

    /// The next place in this node's session, which is opened if there is none.
    async fn ticket(&self, deadline: Instant) -> Result<Ticket> {
        if let Some(ticket) = self.take_ticket() {
            return Ok(ticket);
        }
        let opening = timeout_at(deadline, self.opening.lock()).await;
        let _opening = opening.map_err(|_| no_leader())?;
        if let Some(ticket) = self.take_ticket() {
            return Ok(ticket);
        }
        let requests = Arc::new(vec![Request::OpenSession { node: self.node.id() }]);
        loop {
            let was = self.node.leadership();
            // Opening twice does no harm, so an unknown fate is as good as a refusal.
            let group =
                Group { session: 0, sequence: 0, answered_below: 0, commands: requests.clone() };
            let attempt = timeout_at(deadline, self.attempt(was, group)).await;
            if let Ok(Attempt::Decided(GroupOutcome::Done(outcomes))) = &attempt
                && let Some(Outcome::SessionOpened { session }) = outcomes.first()
            {
                tracing::debug!(session, "opened a session");
                let opened =
                    Session { number: *session, next_sequence: 1, unanswered: BTreeSet::new() };
                *self.session() = Some(opened);
                return self.take_ticket().ok_or_else(no_leader);
            }
            if attempt.is_err() || Instant::now() + PAUSE >= deadline {
                return Err(no_leader());
            }
            self.node.check_quorum()?;
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = self.node.leadership_other_than(was) => {}
            }
        }
    }

    fn take_ticket(&self) -> Option<Ticket> {
        let mut session = self.session();
        let session = session.as_mut()?;
        let sequence = session.next_sequence;
        session.next_sequence += 1;
        session.unanswered.insert(sequence);
        Some(Ticket { session: session.number, sequence })
    }

    /// Below this, the session's groups have their outcomes, or gave up and are not sent again.
    fn answered_below(&self, ticket: Ticket) -> u64 {
        match &*self.session() {
            Some(session) if session.number == ticket.session => {
                session.unanswered.first().copied().unwrap_or(session.next_sequence)
            }
            // The session was ended meanwhile; the machine will say so.
            _ => 0,
        }
    }

    fn answered(&self, ticket: Ticket) {
        if let Some(session) = &mut *self.session()
            && session.number == ticket.session
        {
            session.unanswered.remove(&ticket.sequence);
        }
    }

    fn forget_session(&self, ticket: Ticket) {
        let mut session = self.session();
        if session.as_ref().is_some_and(|session| session.number == ticket.session) {
            *session = None;
        }
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_leader() -> Error {
    Error::new(ErrorKind::Unavailable, "no_leader", "no leader could be reached in time")
}
