//! What the log carries: batches of groups of commands.
//!
//! A [`Batch`] is one log entry. The leader stamps its time; a [`Group`] is what one node sent in
//! one piece, and is applied once however often it is sent (see [`super::session`]).

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::object::{NamespaceId, ObjectRef};
use super::quota::Quotas;
use super::token::{LimitedToken, NewToken, TokenId};
use super::version::{
    VERSION_CHANGES, VERSION_CREDITS, VERSION_MIN, VERSION_POLICIES, VERSION_QUOTAS, VERSION_TOKENS,
};

/// One log entry: everything the leader proposed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch<C = Command> {
    /// The cluster's clock when the leader stamped the batch, in ms since the Unix epoch.
    pub at_ms: u64,
    /// In the order in which they are applied.
    pub groups: Vec<Group<C>>,
}

/// The session of groups that have none: sessions are numbered from 1.
pub const NO_SESSION: u64 = 0;

/// Commands that one node sent together, under one sequence number of its session.
///
/// `C` is [`Request`] on the way to the leader, [`Stamped`] when the leader encodes it, and
/// [`Command`] when it comes out of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group<C> {
    /// The session, as [`Command::OpenSession`] gave it, or [`NO_SESSION`].
    pub session: u64,
    /// The group's number in its session: dense, from 1.
    pub sequence: u64,
    /// Groups of the session below this number have been answered: forget their outcomes.
    pub answered_below: u64,
    /// Answered by position. Shared, because a node keeps them for a retry.
    pub commands: Arc<Vec<C>>,
}

impl<C> Group<C> {
    /// Commands that may be repeated: the machine does not remember that it applied them.
    #[must_use]
    pub fn outside_session(commands: Arc<Vec<C>>) -> Self {
        Self { session: NO_SESSION, sequence: 0, answered_below: 0, commands }
    }
}

/// A change of the machine's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Opens a session for a node and ends the node's earlier ones. Only outside a session.
    OpenSession {
        /// The node's id.
        node: u64,
    },
    /// Counts one request against a limiter, if it is within the limit.
    Check(Check),
    /// Forgets what was counted.
    Reset(Reset),
    /// Appends an entry to an audit shard.
    Append(Append),
    /// Ends windows and removes entries that are due. Only outside a session.
    Tick(Tick),
    /// From here on the log may hold commands up to this version. Only outside a session.
    Raise {
        /// See [`super::VERSION_MAX`].
        version: u8,
    },
    /// Carries several changes out, or some once for a key. From [`VERSION_CHANGES`] on.
    Changes {
        /// Under which key they are carried out once; without one they always are.
        once: Option<Once>,
        /// In the order in which they are carried out.
        changes: Vec<Change<Append>>,
    },
    /// Takes entries over that have their ids and times. From [`VERSION_CHANGES`] on.
    Import {
        /// Entries as old as this, in ms, are expired.
        retention_ms: u64,
        /// What a client asked for.
        import: Import,
    },
    /// As [`Command::Check`], with the limit that is stored for a type. From [`VERSION_POLICIES`] on.
    CheckByPolicy(PolicyCheck),
    /// Stores the limit of a type, or removes it. From [`VERSION_POLICIES`] on.
    SetPolicy(SetPolicy),
    /// Stores limits if none was ever stored or removed. Only outside a session. From
    /// [`VERSION_POLICIES`] on.
    SeedPolicies {
        /// At most [`crate::limits::POLICIES_MAX`] are stored.
        policies: Vec<SetPolicy>,
    },
    /// Stores a token. From [`VERSION_TOKENS`] on.
    CreateToken(NewToken),
    /// Removes a token. From [`VERSION_TOKENS`] on.
    RevokeToken {
        /// Which.
        id: TokenId,
    },
    /// Gives back some of what was counted. From [`VERSION_CREDITS`] on.
    Credit(Credit),
    /// Stores a token that may ask only so often. From [`VERSION_CREDITS`] on.
    CreateLimitedToken(LimitedToken),
    /// Puts quotas in force, and no others. Only outside a session. From [`VERSION_QUOTAS`] on.
    SetQuotas {
        /// By namespace.
        quotas: Quotas,
    },
}

/// A [`Command`] on its way into the log: what needs no stamp is borrowed from the [`Request`]. It
/// is encoded to the same bytes.
#[derive(Debug, Serialize)]
pub enum Stamped<'a> {
    /// See [`Command::OpenSession`].
    OpenSession {
        /// The node's id.
        node: u64,
    },
    /// See [`Command::Check`].
    Check(&'a Check),
    /// See [`Command::Reset`].
    Reset(&'a Reset),
    /// See [`Command::Append`].
    Append(Append),
    /// See [`Command::Tick`].
    Tick(&'a Tick),
    /// See [`Command::Raise`].
    Raise {
        /// See [`super::VERSION_MAX`].
        version: u8,
    },
    /// See [`Command::Changes`].
    Changes {
        /// See [`Command::Changes`].
        once: Option<Once>,
        /// See [`Command::Changes`].
        changes: Vec<StampedChange<'a>>,
    },
    /// See [`Command::Import`].
    Import {
        /// See [`Command::Import`].
        retention_ms: u64,
        /// See [`Command::Import`].
        import: &'a Import,
    },
    /// See [`Command::CheckByPolicy`].
    CheckByPolicy(&'a PolicyCheck),
    /// See [`Command::SetPolicy`].
    SetPolicy(&'a SetPolicy),
    /// See [`Command::SeedPolicies`].
    SeedPolicies {
        /// See [`Command::SeedPolicies`].
        policies: &'a [SetPolicy],
    },
    /// See [`Command::CreateToken`].
    CreateToken(&'a NewToken),
    /// See [`Command::RevokeToken`].
    RevokeToken {
        /// Which.
        id: TokenId,
    },
    /// See [`Command::Credit`].
    Credit(&'a Credit),
    /// See [`Command::CreateLimitedToken`].
    CreateLimitedToken(&'a LimitedToken),
    /// See [`Command::SetQuotas`].
    SetQuotas {
        /// See [`Command::SetQuotas`].
        quotas: &'a Quotas,
    },
}

/// A [`Change`] on its way into the log, as [`Stamped`] is a [`Command`].
#[derive(Debug, Serialize)]
pub enum StampedChange<'a> {
    /// See [`Change::Check`].
    Check(&'a Check),
    /// See [`Change::Reset`].
    Reset(&'a Reset),
    /// See [`Change::Log`].
    Log(Append),
    /// See [`Change::CheckByPolicy`].
    CheckByPolicy(&'a PolicyCheck),
    /// See [`Change::Credit`].
    Credit(&'a Credit),
}

impl Stamped<'_> {
    /// The first version of commands that has this one.
    pub fn version(&self) -> u8 {
        match self {
            Self::OpenSession { .. }
            | Self::Check(_)
            | Self::Reset(_)
            | Self::Append(_)
            | Self::Tick(_) => VERSION_MIN,
            // Who does not know the version that is raised to must not go on.
            Self::Raise { version } => *version,
            Self::Changes { changes, .. } => {
                let versions = changes.iter().map(StampedChange::version);
                versions.fold(VERSION_CHANGES, u8::max)
            }
            Self::Import { .. } => VERSION_CHANGES,
            Self::CheckByPolicy(_) | Self::SetPolicy(_) | Self::SeedPolicies { .. } => {
                VERSION_POLICIES
            }
            Self::CreateToken(_) | Self::RevokeToken { .. } => VERSION_TOKENS,
            Self::Credit(_) | Self::CreateLimitedToken(_) => VERSION_CREDITS,
            Self::SetQuotas { .. } => VERSION_QUOTAS,
        }
    }
}

impl StampedChange<'_> {
    /// The first version of commands that has this one among several changes.
    fn version(&self) -> u8 {
        match self {
            Self::Check(_) | Self::Reset(_) | Self::Log(_) => VERSION_CHANGES,
            Self::CheckByPolicy(_) => VERSION_POLICIES,
            Self::Credit(_) => VERSION_CREDITS,
        }
    }
}

/// A change as a node asks for it: like [`Command`], but not yet stamped by the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// See [`Command::OpenSession`].
    OpenSession {
        /// The node's id.
        node: u64,
    },
    /// See [`Command::Check`].
    Check(Check),
    /// See [`Command::Reset`].
    Reset(Reset),
    /// An entry that has no time, no id and perhaps no shard yet.
    Log(Draft),
    /// See [`Command::Tick`].
    Tick(Tick),
    /// See [`Command::Raise`].
    Raise {
        /// See [`super::VERSION_MAX`].
        version: u8,
    },
    /// See [`Command::Changes`].
    Changes {
        /// The client's key, if it sent one.
        key: Option<IdempotencyKey>,
        /// See [`Command::Changes`].
        changes: Vec<Change<Draft>>,
    },
    /// Entries that have their ids and times; the leader adds the retention.
    Import(Import),
    /// See [`Command::CheckByPolicy`].
    CheckByPolicy(PolicyCheck),
    /// See [`Command::SetPolicy`].
    SetPolicy(SetPolicy),
    /// See [`Command::SeedPolicies`].
    SeedPolicies(Vec<SetPolicy>),
    /// See [`Command::CreateToken`].
    CreateToken(NewToken),
    /// See [`Command::RevokeToken`].
    RevokeToken {
        /// Which.
        id: TokenId,
    },
    /// See [`Command::Credit`].
    Credit(Credit),
    /// See [`Command::CreateLimitedToken`].
    CreateLimitedToken(LimitedToken),
    /// See [`Command::SetQuotas`].
    SetQuotas(Quotas),
}

/// One of several changes. `L` is an entry: [`Draft`] on the way to the leader, [`Append`] in the
/// log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change<L = Draft> {
    /// Counts one request against a limiter, if it is within the limit.
    Check(Check),
    /// Forgets what was counted.
    Reset(Reset),
    /// Appends an entry to an audit shard.
    Log(L),
    /// As [`Change::Check`], with the limit that is stored for a type. From [`VERSION_POLICIES`] on.
    CheckByPolicy(PolicyCheck),
    /// Gives back some of what was counted. From [`VERSION_CREDITS`] on.
    Credit(Credit),
}

/// A client's idempotency key, and for what it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// A hash of the key and of where it was sent: of two requests with the same one, the second is
    /// the first again.
    pub id: [u8; 16],
    /// A hash of the request: with another one the key was used for something else.
    pub fingerprint: [u8; 16],
    /// How long the client may send it again, in ms, if that is shorter than what is kept is kept.
    pub ttl_ms: Option<u64>,
}

/// What the leader stamps on changes that are carried out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// For which key.
    pub key: IdempotencyKey,
    /// How long what they came to is kept.
    pub keeping: Keeping,
}

/// How long, and how many, answers of keys are kept. The leader's settings, which the command
/// carries: so all replicas keep the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// From the first time on, in ms.
    pub retention_ms: u64,
    /// Answers of all keys together: with so many, a new key is refused.
    pub answers_max: u64,
}

/// Guide, "POST /check": a fixed window that starts at the first admitted request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The limiter.
    pub object: ObjectRef,
    /// Whose requests are counted, inside the limiter.
    pub identifier: String,
    /// Requests that one window admits.
    pub requests: u64,
    /// Length of the window in ms, at least 1.
    pub window_ms: u64,
}

/// Guide, "POST /check", without its `config`: see [`super::policy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCheck {
    /// The limiter.
    pub object: ObjectRef,
    /// Whose requests are counted, inside the limiter.
    pub identifier: String,
    /// Whose policy is applied: a type of the limiter's namespace.
    pub type_: String,
}

/// A limit that is stored for a type. Guide, `RATE_LIMITS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Requests that one window admits.
    pub requests: u64,
    /// Length of the window in ms, at least 1.
    pub window_ms: u64,
}

/// What is to be stored for a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPolicy {
    /// The namespace of the limiters that it is for.
    pub namespace: NamespaceId,
    /// The type, `wix`.
    pub type_: String,
    /// The limit; `None` removes what is there.
    pub policy: Option<Policy>,
}

/// Guide, "POST /reset".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// The limiter.
    pub object: ObjectRef,
    /// Whose count is forgotten.
    pub identifier: String,
}

/// Some of a window's requests, to be counted no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// The limiter.
    pub object: ObjectRef,
    /// Whose count becomes less.
    pub identifier: String,
    /// How many, at least 1; more than were counted are as many as were.
    pub amount: u64,
}

/// An audit entry before the leader gave it its time and id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Where it goes.
    pub shard: ShardRef,
    /// See [`Append::terms`].
    pub terms: Terms,
    /// The members of the entry's JSON object behind `id` and `timestamp`, without braces:
    /// `"type":"wix_request","action":"api_call",…`.
    pub members: Bytes,
}

/// The shard of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShardRef {
    /// The shard of the UTC day in which the leader stamps the entry.
    Day {
        /// The namespace of the audit binding.
        namespace: NamespaceId,
        /// The namespace's key, from which the day's object id is derived.
        key: [u8; 32],
    },
    /// One object, named by the client.
    Object {
        /// The object.
        object: ObjectRef,
        /// The namespace's key, by which the shard of the day is known when it comes as an id.
        key: [u8; 32],
    },
}

/// Guide, "POST /log": an entry whose bytes the leader has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The shard.
    pub object: ObjectRef,
    /// The shard's day (days since the Unix epoch) if it is one of the shards by date: those whose
    /// name is one, `2024-01-15`. The root's queries run over these.
    pub day: Option<u32>,
    /// The entry's UUIDv7.
    pub id: [u8; 16],
    /// Hashes under which the entry can be found: one per [`Field`], if the entry has the field.
    pub terms: Terms,
    /// The entry's JSON object. Stored as it is, never made again.
    pub body: Bytes,
}

/// Entries of another log, or of this one before, to be taken over as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Expired entries too: their shard is kept for one retention from now on.
    pub keep_expired: bool,
    /// In the order in which they are placed: ascending by time and id, in each shard.
    pub entries: Vec<ImportedEntry>,
}

/// An entry that has its id and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedEntry {
    /// The shard by date of its own day.
    pub object: ObjectRef,
    /// That day, in days since the Unix epoch.
    pub day: u32,
    /// Its time, in ms since the Unix epoch.
    pub at_ms: u64,
    /// See [`Append::terms`].
    pub terms: Terms,
    /// Its JSON object, which begins with its id: `{"id":"…",…`. Stored as it is.
    pub body: Bytes,
}

/// The hash of each [`Field`]'s value, by [`Field`] order; see [`super::audit::term`].
pub type Terms = [Option<u64>; 4];

/// The fields of an entry that have an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `type`
    Type = 0,
    /// `action`
    Action = 1,
    /// `userId`
    UserId = 2,
    /// `ip`
    Ip = 3,
}

impl Field {
    /// All fields, in the order of [`Terms`].
    pub const ALL: [Field; 4] = [Field::Type, Field::Action, Field::UserId, Field::Ip];
}

/// Bounded work on what is due; the rest follows in the next tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Audit entries older than this, in ms, go.
    pub retention_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::machine::{Namespace, Quota, Scopes, Token};

    #[test]
    fn what_is_stamped_comes_out_of_the_log_as_a_command() {
        let object = Namespace::new("n").object("o");
        let identifier = "u".to_owned();
        let check = Check { object, identifier, requests: 3, window_ms: 4 };
        let reset = Reset { object: check.object.clone(), identifier: "u".to_owned() };
        let append = Append {
            object: check.object.clone(),
            day: Some(5),
            id: [6; 16],
            terms: [Some(7), None, None, None],
            body: Bytes::from_static(b"{}"),
        };
        let tick = Tick { retention_ms: 8 };
        let key = IdempotencyKey { id: [9; 16], fingerprint: [10; 16], ttl_ms: Some(13) };
        let once = Once { key, keeping: Keeping { retention_ms: 11, answers_max: 12 } };
        let entry = ImportedEntry {
            object: check.object.clone(),
            day: 14,
            at_ms: 15,
            terms: [None, Some(16), None, None],
            body: Bytes::from_static(br#"{"id":"a"}"#),
        };
        let import = Import { keep_expired: true, entries: vec![entry] };
        let by_policy = PolicyCheck {
            object: check.object.clone(),
            identifier: "u".to_owned(),
            type_: "t".to_owned(),
        };
        let policy = Some(Policy { requests: 18, window_ms: 19 });
        let namespace = check.object.namespace;
        let set = SetPolicy { namespace, type_: "t".to_owned(), policy };
        let policies = vec![set.clone(), SetPolicy { policy: None, ..set.clone() }];
        let token = Token {
            name: "n".to_owned(),
            scopes: Scopes::CHECK,
            bindings: vec!["B".to_owned()],
            name_prefixes: vec!["p".to_owned()],
            expires_ms: Some(20),
            sha256: [21; 32],
        };
        let new = NewToken { id: TokenId([22; 8]), token };
        let id = new.id;
        let limited = LimitedToken { new: new.clone(), requests_per_second: 23 };
        let object = check.object.clone();
        let credit = Credit { object, identifier: "u".to_owned(), amount: 24 };
        let quota = Quota { object_bytes_max: 23, objects_max: Some(24), exempt: None };
        let quotas = Quotas::from([(namespace, quota)]);
        for (stamped, command) in [
            (Stamped::OpenSession { node: 2 }, Command::OpenSession { node: 2 }),
            (Stamped::Check(&check), Command::Check(check.clone())),
            (Stamped::Reset(&reset), Command::Reset(reset.clone())),
            (Stamped::Append(append.clone()), Command::Append(append.clone())),
            (Stamped::Tick(&tick), Command::Tick(tick.clone())),
            (Stamped::Raise { version: 9 }, Command::Raise { version: 9 }),
            (
                Stamped::Import { retention_ms: 17, import: &import },
                Command::Import { retention_ms: 17, import: import.clone() },
            ),
            (Stamped::CheckByPolicy(&by_policy), Command::CheckByPolicy(by_policy.clone())),
            (Stamped::SetPolicy(&set), Command::SetPolicy(set.clone())),
            (
                Stamped::SeedPolicies { policies: &policies },
                Command::SeedPolicies { policies: policies.clone() },
            ),
            (Stamped::CreateToken(&new), Command::CreateToken(new.clone())),
            (Stamped::RevokeToken { id }, Command::RevokeToken { id }),
            (Stamped::Credit(&credit), Command::Credit(credit.clone())),
            (Stamped::CreateLimitedToken(&limited), Command::CreateLimitedToken(limited.clone())),
            (Stamped::SetQuotas { quotas: &quotas }, Command::SetQuotas { quotas: quotas.clone() }),
            (
                Stamped::Changes {
                    once: Some(once),
                    changes: vec![
                        StampedChange::Check(&check),
                        StampedChange::Reset(&reset),
                        StampedChange::Log(append.clone()),
                        StampedChange::CheckByPolicy(&by_policy),
                        StampedChange::Credit(&credit),
                    ],
                },
                Command::Changes {
                    once: Some(once),
                    changes: vec![
                        Change::Check(check.clone()),
                        Change::Reset(reset.clone()),
                        Change::Log(append.clone()),
                        Change::CheckByPolicy(by_policy.clone()),
                        Change::Credit(credit.clone()),
                    ],
                },
            ),
        ] {
            let read: Command = codec::decode(&codec::encode(&stamped)).unwrap();
            assert_eq!(read, command);
        }
    }

    #[test]
    fn changes_are_of_the_latest_version_that_one_of_them_needs() {
        let object = Namespace::new("n").object("o");
        let identifier = "u".to_owned();
        let check = Check { object, identifier, requests: 3, window_ms: 4 };
        let object = check.object.clone();
        let by_policy = PolicyCheck { object, identifier: "u".to_owned(), type_: "t".to_owned() };
        let version = |changes| Stamped::Changes { once: None, changes }.version();
        let own = || StampedChange::Check(&check);
        assert_eq!(version(vec![own()]), VERSION_CHANGES);
        let by_policy = || StampedChange::CheckByPolicy(&by_policy);
        assert_eq!(version(vec![own(), by_policy()]), VERSION_POLICIES);
        let (object, identifier) = (check.object.clone(), "u".to_owned());
        let credit = Credit { object, identifier, amount: 1 };
        let all = vec![StampedChange::Credit(&credit), by_policy(), own()];
        assert_eq!(version(all), VERSION_CREDITS);
        assert_eq!(Stamped::Credit(&credit).version(), VERSION_CREDITS);
    }
}
