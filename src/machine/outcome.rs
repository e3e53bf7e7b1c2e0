//! What applying a batch gives: an outcome per command for its caller, and effects for the store.

use serde::{Deserialize, Serialize};

use super::limiter::Window;
use super::object::{NamespaceId, ObjectId};
use super::table::Write;

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A session was opened.
    SessionOpened {
        /// Its number.
        session: u64,
    },
    /// A check was decided.
    Checked(Decision),
    /// There is no count any more.
    Reset,
    /// The entry is in the log.
    Logged {
        /// Its UUIDv7.
        id: [u8; 16],
    },
    /// What a tick did.
    Ticked(Ticked),
    /// The command cannot be carried out; nothing was changed.
    Refused(Refusal),
    /// Up to which version the log may hold commands now.
    Raised {
        /// At least the one that was asked for.
        version: u8,
    },
    /// What several changes came to, in their order.
    Changed(Vec<Answered>),
    /// What the entries of an import came to, in their order.
    Imported(Vec<Placed>),
    /// What is stored for a type is what was asked for.
    PolicySet {
        /// Whether something was stored for it before.
        existed: bool,
    },
    /// Policies were stored if there never was one.
    PoliciesSeeded {
        /// How many.
        policies: u64,
    },
    /// A token is stored.
    TokenCreated {
        /// When, in ms since the Unix epoch.
        created_ms: u64,
    },
    /// There is no such token any more.
    TokenRevoked {
        /// Whether there was one.
        existed: bool,
    },
    /// Some of what was counted is not counted any more.
    Credited(Credited),
    /// The quotas in force are those that were asked for.
    QuotasSet,
}

/// What an entry of an import came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Placed {
    /// It is in its shard now.
    Added,
    /// It was there, byte for byte.
    Present,
    /// It cannot be taken over, and the others go on.
    Refused(Refusal),
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// See [`Outcome::Checked`].
    Checked(Decision),
    /// See [`Outcome::Reset`].
    Reset,
    /// See [`Outcome::Logged`].
    Logged {
        /// The entry's UUIDv7.
        id: [u8; 16],
    },
    /// See [`Outcome::Refused`].
    Refused(Refusal),
    /// See [`Outcome::Credited`].
    Credited(Credited),
}

impl Answer {
    /// Whether anything was changed: what an idempotency key keeps.
    pub fn has_changed(&self) -> bool {
        match self {
            Self::Checked(decision) => decision.allowed,
            // Sent again, a credit that found nothing to give back must not find something.
            Self::Reset | Self::Logged { .. } | Self::Credited(_) => true,
            Self::Refused(_) => false,
        }
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Checked(decision) => Self::Checked(decision),
            Answer::Reset => Self::Reset,
            Answer::Logged { id } => Self::Logged { id },
            Answer::Refused(refusal) => Self::Refused(refusal),
            Answer::Credited(credited) => Self::Credited(credited),
        }
    }
}

/// What one of several changes came to, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// What it came to.
    pub answer: Answer,
    /// It was carried out before, under the same idempotency key, and not now.
    pub replayed: bool,
}

/// The decision on one check. Guide, "POST /check".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the request is within the limit, and so was counted.
    pub allowed: bool,
    /// The limit that was applied.
    pub limit: u64,
    /// Requests that the window still admits.
    pub remaining: u64,
    /// When the window ends, in ms since the Unix epoch.
    pub reset_ms: u64,
    /// The machine's clock at the decision, in ms since the Unix epoch.
    pub now_ms: u64,
}

/// What a credit came to, and how the identifier stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credited {
    /// How many requests were given back: those that were asked for, or all that were counted.
    pub credited: u64,
    /// The window, with what is still counted in it; none if none was open.
    pub window: Option<Window>,
    /// The machine's clock at the credit, in ms since the Unix epoch.
    pub now_ms: u64,
}

/// What a tick did, for the log and the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticked {
    /// Limiter windows that ended.
    pub windows: u64,
    /// Audit entries that went one by one.
    pub entries: u64,
    /// Audit shards that went whole.
    pub shards: u64,
    /// Whether there is more to do now.
    pub more: bool,
}

/// Why a command was refused. The same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The object holds the other sort of state: a limiter was asked to log, or a shard to check.
    OtherClass,
    /// The command may not stand where it stood: a tick inside a session, a check outside.
    Misplaced,
    /// The idempotency key was used for another request.
    KeyReused,
    /// As many answers of idempotency keys are kept as may be, and this is a new key.
    KeysFull,
    /// An imported entry's shard goes on behind its place, and it is not there.
    ImportOrder,
    /// An entry of an imported entry's id and time is there, and is another.
    ImportConflict,
    /// An imported entry is as old as the retention.
    ImportExpired,
    /// An imported entry's time is not over.
    ImportFuture,
    /// A check brought no limit, and none is stored for its type.
    NoPolicy,
    /// As many policies are stored as may be, and this one is new.
    PoliciesFull,
    /// A token has this name, or this id.
    TokenExists,
    /// As many tokens are stored as may be.
    TokensFull,
    /// The object would take more than its quota.
    ObjectFull,
    /// The object would be one more than its namespace's quota.
    ObjectsFull,
}

/// What a group of commands came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupOutcome {
    /// Applied now or, if it had been sent before, then: one outcome per command.
    Done(Vec<Outcome>),
    /// The batch is stamped earlier than the machine's clock: not applied, stamp it again.
    Stale,
    /// There is no such session (any more): not applied now.
    SessionUnknown,
    /// The session has said that it knows this group's outcome: not applied now.
    Forgotten,
    /// The session has too many groups unanswered: not applied.
    SessionFull,
}

/// Writes for the store, to be made together with the index of the entry that caused them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// In an order that is the same on every replica.
    pub writes: Vec<Write>,
    /// What has grown and is near its quota, or was refused more: for the shell to tell of. Nothing of
    /// it is stored.
    pub crowded: Vec<Crowded>,
}

/// An object that is near its quota, or a namespace that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowded {
    /// The namespace.
    pub namespace: NamespaceId,
    /// The object; `None` if it is the number of the namespace's objects.
    pub object: Option<ObjectId>,
    /// The object's name, if the command gave it.
    pub name: Option<String>,
    /// Bytes of the object, or objects of the namespace.
    pub used: u64,
    /// How much it may be.
    pub most: u64,
    /// Whether more was refused.
    pub is_refused: bool,
}
