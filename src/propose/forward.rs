//! Brings a group to the leader, here or over the wire, until it has an outcome or no time is left.
//!
//! An attempt ends in one of three ways. *Refused*: nothing was appended; try again, anywhere.
//! *Unknown*: the group may be applied; try again under the same sequence, which the machine then
//! answers from memory. *Decided*: the machine has seen the group. (The distinction is that of
//! Birrell and Nelson, "Implementing Remote Procedure Calls", 1984: at most once, and told.)

use std::io;
use std::sync::Arc;
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

/// Brings this node's groups to the leader, one after the other.
pub(super) struct Forwarder {
    node: Node,
    leader: Leader,
    session: Option<Session>,
}

/// This node's session.
struct Session {
    number: u64,
    next_sequence: u64,
}

/// A group's place in a session.
#[derive(Clone, Copy)]
struct Ticket {
    session: u64,
    sequence: u64,
}

impl Forwarder {
    pub(super) fn new(node: Node, leader: Leader) -> Self {
        Self { node, leader, session: None }
    }

    /// Gives the outcomes of `requests`, by position.
    ///
    /// # Errors
    /// See [`super::Proposer::propose`].
    pub(super) async fn deliver(
        &mut self,
        requests: Arc<Vec<Request>>,
        deadline: Instant,
    ) -> Result<Vec<Outcome>> {
        let mut ticket = self.ticket(deadline).await?;
        // Whether an earlier attempt may have been applied.
        let mut unknown = false;
        loop {
            let group = Group {
                session: ticket.session,
                sequence: ticket.sequence,
                // Those before it have their outcomes, or gave up and are not sent again.
                answered_below: ticket.sequence,
                commands: requests.clone(),
            };
            let was = self.node.leadership();
            let attempt = match timeout_at(deadline, self.attempt(was, group)).await {
                Ok(attempt) => attempt,
                Err(_) => return Err(Error::unknown()),
            };
            match attempt {
                Attempt::Decided(GroupOutcome::Done(outcomes)) => return Ok(outcomes),
                Attempt::Decided(GroupOutcome::SessionUnknown) if !unknown => {
                    // This group was never applied, so it may start over in a new session.
                    self.session = None;
                    ticket = self.ticket(deadline).await?;
                    continue;
                }
                Attempt::Decided(GroupOutcome::SessionUnknown | GroupOutcome::Forgotten) => {
                    return Err(Error::unknown());
                }
                Attempt::Decided(GroupOutcome::Stale) => continue,
                Attempt::Decided(GroupOutcome::SessionFull) => {}
                Attempt::Refused(SubmitError::Overloaded) if !unknown => {
                    return Err(Error::overloaded("too many requests wait on the leader"));
                }
                Attempt::Refused(_) => {}
                Attempt::Unknown => unknown = true,
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(if unknown { Error::unknown() } else { no_leader() });
            }
            if let Err(error) = self.node.check_quorum() {
                return Err(if unknown { Error::unknown() } else { error });
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = self.node.leadership_other_than(was) => {}
            }
        }
    }

    /// Who leads, as far as this node knows.
    pub(super) fn leader(&self) -> Option<u64> {
        match self.node.leadership() {
            Leadership::Here { .. } => Some(self.node.id()),
            Leadership::There(leader) => Some(leader),
            Leadership::Nowhere => None,
        }
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
    async fn ticket(&mut self, deadline: Instant) -> Result<Ticket> {
        if let Some(session) = &mut self.session {
            return Ok(session.ticket());
        }
        let requests = Arc::new(vec![Request::OpenSession { node: self.node.id() }]);
        loop {
            let was = self.node.leadership();
            // Opening twice does no harm, so an unknown fate is as good as a refusal.
            let group = Group::outside_session(requests.clone());
            let attempt = timeout_at(deadline, self.attempt(was, group)).await;
            if let Ok(Attempt::Decided(GroupOutcome::Done(outcomes))) = &attempt
                && let Some(Outcome::SessionOpened { session }) = outcomes.first()
            {
                tracing::debug!(session, "opened a session");
                let opened = Session { number: *session, next_sequence: 1 };
                return Ok(self.session.insert(opened).ticket());
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
}

impl Session {
    fn ticket(&mut self) -> Ticket {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Ticket { session: self.number, sequence }
    }
}

fn no_leader() -> Error {
    Error::new(ErrorKind::Unavailable, "no_leader", "no leader could be reached in time")
}
