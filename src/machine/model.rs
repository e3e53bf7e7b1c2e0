//! The machine against a model that is too simple to be wrong in the same way.
//!
//! Random batches of several nodes' sessions (groups come twice, late, in another order; clocks
//! stand still, go back and jump; limits, windows and names are few, so that everything collides)
//! are applied to the machine and to the [`Model`]. The model keeps whole histories where the
//! machine keeps counters and alarms, and nothing of it is shared with the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::audit::EntryRecord;
use super::idempotency::KeyRecord;
use super::invariants::assert_sound;
use super::limiter::Cell;
use super::memory::Memory;
use super::session::SessionRecord;
use super::*;

// --- the model --------------------------------------------------------------------------------

/// What the machine should know, in the plainest form.
struct Model {
    now_ms: u64,
    /// Up to which version the log may hold commands.
    version: u8,
    /// Sessions and shards ever made.
    sessions_made: u64,
    shards_made: u64,
    sessions: BTreeMap<u64, SessionRecord>,
    /// Every group that was ever applied, under its session and number, with its outcomes.
    applied: BTreeMap<(u64, u64), Vec<Outcome>>,
    /// Of each identifier, the requests that its window admitted: their times and window lengths.
    admitted: BTreeMap<(ObjectId, String), Vec<(u64, u64)>>,
    /// Of each identifier, the latest end of its window that a refused request was told.
    told: BTreeMap<(ObjectId, String), u64>,
    /// Of each identifier, how many of the admitted requests were given back.
    returned: BTreeMap<(ObjectId, String), u64>,
    /// Of each identifier that is in `admitted`, when its alarm rings, and whether it is measured.
    alarms: BTreeMap<(ObjectId, String), (u64, bool)>,
    shards: BTreeMap<ObjectId, ModelShard>,
    quotas: Quotas,
    /// What was ever kept under a key, also if that is long ago.
    keys: BTreeMap<[u8; 16], KeyRecord>,
    /// By namespace and type: the limit, and since when.
    policies: BTreeMap<(NamespaceId, String), (Policy, u64)>,
    /// A policy was stored once, though it may be gone.
    had_policies: bool,
    tokens: BTreeMap<TokenId, token::TokenRecord>,
    token_changes: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            now_ms: 0,
            version: VERSION_MIN,
            sessions_made: 0,
            shards_made: 0,
            sessions: BTreeMap::new(),
            applied: BTreeMap::new(),
            admitted: BTreeMap::new(),
            told: BTreeMap::new(),
            returned: BTreeMap::new(),
            alarms: BTreeMap::new(),
            quotas: Quotas::new(),
            shards: BTreeMap::new(),
            keys: BTreeMap::new(),
            policies: BTreeMap::new(),
            had_policies: false,
            tokens: BTreeMap::new(),
            token_changes: 0,
        }
    }
}

#[derive(Default)]
struct ModelShard {
    number: u64,
    day: Option<u32>,
    /// Entries that went.
    removed: usize,
    /// When expired entries were imported, if no tick has looked at the shard since it could.
    held_ms: Option<u64>,
    /// Time, fields, body.
    entries: Vec<(u64, Terms, Bytes)>,
}

/// When the window of these admitted requests is over for good, if refused ones were `told` an end.
fn ends_ms(admitted: &[(u64, u64)], told: Option<&u64>) -> u64 {
    let longest_ms = admitted.iter().map(|(_, window_ms)| window_ms).max().unwrap();
    (admitted[0].0 + longest_ms).max(told.copied().unwrap_or(0))
}

impl Model {
    fn apply(&mut self, batch: &Batch) -> Vec<GroupOutcome> {
        if batch.at_ms < self.now_ms {
            return vec![GroupOutcome::Stale; batch.groups.len()];
        }
        self.now_ms = batch.at_ms;
        batch.groups.iter().map(|group| self.group(group)).collect()
    }

    fn group(&mut self, group: &Group<Command>) -> GroupOutcome {
        let id = (group.session, group.sequence);
        if group.session > 0 {
            let Some(session) = self.sessions.get_mut(&group.session) else {
                return GroupOutcome::SessionUnknown;
            };
            session.answered_below = session.answered_below.max(group.answered_below);
            let below = session.answered_below;
            if group.sequence < below {
                return GroupOutcome::Forgotten;
            }
            if let Some(outcomes) = self.applied.get(&id) {
                return GroupOutcome::Done(outcomes.clone());
            }
            if self.applied.range((group.session, below)..(group.session + 1, 0)).count() >= 64 {
                return GroupOutcome::SessionFull;
            }
            session.used_ms = self.now_ms;
        }
        let inside = group.session > 0;
        let outcomes: Vec<_> =
            group.commands.iter().map(|command| self.command(inside, command)).collect();
        if inside {
            self.applied.insert(id, outcomes.clone());
        }
        GroupOutcome::Done(outcomes)
    }

    fn command(&mut self, inside: bool, command: &Command) -> Outcome {
        match (inside, command) {
            (false, Command::OpenSession { node }) => self.open(*node),
            (false, Command::Tick(tick)) => self.tick(tick.retention_ms),
            (false, Command::Raise { version }) => {
                self.version = self.version.max(*version);
                Outcome::Raised { version: self.version }
            }
            (true, Command::Check(check)) => self.check(check).into(),
            (true, Command::Reset(reset)) => self.reset(reset).into(),
            (true, Command::Append(append)) => self.append(append).into(),
            (true, Command::CheckByPolicy(check)) => self.check_by_policy(check).into(),
            (true, Command::SetPolicy(set)) => self.set_policy(set),
            (false, Command::SeedPolicies { policies }) => {
                let is_first = !self.had_policies;
                for set in policies.iter().filter(|_| is_first) {
                    self.set_policy(set);
                }
                let policies = if is_first { self.policies.len() as u64 } else { 0 };
                Outcome::PoliciesSeeded { policies }
            }
            (true, Command::Credit(credit)) => self.credit(credit).into(),
            (true, Command::CreateToken(new)) => self.create_token(new, None),
            (true, Command::CreateLimitedToken(LimitedToken { new, requests_per_second })) => {
                self.create_token(new, Some(*requests_per_second))
            }
            (false, Command::SetQuotas { quotas }) => {
                self.quotas.clone_from(quotas);
                Outcome::QuotasSet
            }
            (true, Command::RevokeToken { id }) => {
                let existed = self.tokens.remove(id).is_some();
                self.token_changes += u64::from(existed);
                Outcome::TokenRevoked { existed }
            }
            (true, Command::Changes { once, changes }) => self.changes(once.as_ref(), changes),
            (true, Command::Import { retention_ms, import }) => {
                let mut full = BTreeMap::new();
                let place = |entry: &ImportedEntry| {
                    let placed = self.place(entry, *retention_ms, import.keep_expired, &full);
                    if let Placed::Refused(Refusal::ObjectFull | Refusal::ObjectsFull) = placed {
                        full.insert(entry.object.id, placed);
                    }
                    placed
                };
                Outcome::Imported(import.entries.iter().map(place).collect())
            }
            _ => Outcome::Refused(Refusal::Misplaced),
        }
    }

    fn changes(&mut self, once: Option<&Once>, changes: &[Change<Append>]) -> Outcome {
        let Some(Once { key, keeping }) = once else {
            let carry_out = |change| Answered { answer: self.change(change), replayed: false };
            return Outcome::Changed(changes.iter().map(carry_out).collect());
        };
        let now_ms = self.now_ms;
        let live = |record: &KeyRecord| now_ms < record.expires_ms;
        let known = self.keys.get(&key.id).filter(|record| live(record)).cloned();
        let mut record = match known {
            Some(record) if record.fingerprint == key.fingerprint => record,
            Some(_) => return Outcome::Refused(Refusal::KeyReused),
            None => {
                let records = self.keys.values().filter(|record| live(record));
                let kept: usize = records.map(|record| record.answers.len()).sum();
                if (kept + changes.len()) as u64 > keeping.answers_max {
                    return Outcome::Refused(Refusal::KeysFull);
                }
                KeyRecord {
                    fingerprint: key.fingerprint,
                    expires_ms: match key.ttl_ms {
                        Some(ttl_ms) if ttl_ms < keeping.retention_ms => now_ms + ttl_ms,
                        _ => now_ms + keeping.retention_ms,
                    },
                    answers: vec![None; changes.len()],
                }
            }
        };
        let answered = changes.iter().zip(&mut record.answers).map(|(change, kept)| {
            let before = *kept;
            let answer = before.unwrap_or_else(|| self.change(change));
            let is_refused = match answer {
                Answer::Checked(decision) => !decision.allowed,
                other => matches!(other, Answer::Refused(_)),
            };
            *kept = (!is_refused).then_some(answer);
            Answered { answer, replayed: before.is_some() }
        });
        let answered = answered.collect();
        if record.answers.iter().any(Option::is_some) {
            self.keys.insert(key.id, record);
        }
        Outcome::Changed(answered)
    }

    fn change(&mut self, change: &Change<Append>) -> Answer {
        match change {
            Change::Check(check) => self.check(check),
            Change::Reset(reset) => self.reset(reset),
            Change::Log(append) => self.append(append),
            Change::CheckByPolicy(check) => self.check_by_policy(check),
            Change::Credit(credit) => self.credit(credit),
        }
    }

    fn check_by_policy(&mut self, check: &PolicyCheck) -> Answer {
        let PolicyCheck { object, identifier, type_ } = check.clone();
        match self.policies.get(&(object.namespace, type_)) {
            Some((Policy { requests, window_ms }, _)) => {
                let (requests, window_ms) = (*requests, *window_ms);
                self.check(&Check { object, identifier, requests, window_ms })
            }
            None => Answer::Refused(Refusal::NoPolicy),
        }
    }

    fn set_policy(&mut self, SetPolicy { namespace, type_, policy }: &SetPolicy) -> Outcome {
        let place = (*namespace, type_.clone());
        let before = self.policies.remove(&place);
        if let Some(policy) = policy {
            let since_ms = match before {
                Some((same, since_ms)) if same == *policy => since_ms,
                _ => self.now_ms,
            };
            self.policies.insert(place, (*policy, since_ms));
            self.had_policies = true;
        }
        Outcome::PolicySet { existed: before.is_some() }
    }

    fn create_token(
        &mut self,
        NewToken { id, token }: &NewToken,
        requests_per_second: Option<u32>,
    ) -> Outcome {
        let now_ms = self.now_ms;
        let mut live = self.tokens.clone();
        live.retain(|_, record| !record.token.is_over(now_ms));
        if live.contains_key(id) || live.values().any(|record| record.token.name == token.name) {
            return Outcome::Refused(Refusal::TokenExists);
        }
        let (token, created_ms) = (token.clone(), now_ms);
        live.insert(*id, token::TokenRecord { token, created_ms, requests_per_second });
        self.tokens = live;
        self.token_changes += 1;
        Outcome::TokenCreated { created_ms: now_ms }
    }

    fn reset(&mut self, reset: &Reset) -> Answer {
        let id = (reset.object.id, reset.identifier.clone());
        self.admitted.remove(&id);
        self.told.remove(&id);
        self.returned.remove(&id);
        self.alarms.remove(&id);
        Answer::Reset
    }

    fn credit(&mut self, credit: &Credit) -> Answer {
        let (id, now_ms) = ((credit.object.id, credit.identifier.clone()), self.now_ms);
        let told = self.told.get(&id);
        let open = |admitted: &&Vec<(u64, u64)>| now_ms < ends_ms(admitted, told);
        let Some(admitted) = self.admitted.get(&id).filter(open) else {
            return Answer::Credited(Credited { credited: 0, window: None, now_ms });
        };
        let (start_ms, ends_ms) = (admitted[0].0, ends_ms(admitted, told));
        let counted = admitted.len() as u64 - self.returned.get(&id).unwrap_or(&0);
        let credited = counted.min(credit.amount);
        *self.returned.entry(id).or_default() += credited;
        let window = limiter::Window { count: counted - credited, start_ms, ends_ms };
        Answer::Credited(Credited { credited, window: Some(window), now_ms })
    }

    fn open(&mut self, node: u64) -> Outcome {
        self.sessions_made += 1;
        self.sessions.retain(|_, session| session.node != node);
        let record = SessionRecord { node, used_ms: self.now_ms, answered_below: 1 };
        self.sessions.insert(self.sessions_made, record);
        Outcome::SessionOpened { session: self.sessions_made }
    }

    fn check(&mut self, check: &Check) -> Answer {
        let now_ms = self.now_ms;
        let id = (check.object.id, check.identifier.clone());
        let mut admitted = self.admitted.get(&id).cloned().unwrap_or_default();
        let is_over = |admitted: &[(u64, u64)]| {
            now_ms >= ends_ms(admitted, self.told.get(&id))
                || now_ms >= admitted[0].0 + check.window_ms
        };
        let over = !admitted.is_empty() && is_over(&admitted);
        if over {
            admitted.clear();
        }
        let returned = if over { 0 } else { self.returned.get(&id).copied().unwrap_or(0) };
        let before = admitted.len() as u64 - returned;
        let allowed = before < check.requests;
        let is_new = !self.admitted.contains_key(&id);
        let measured = self.version >= VERSION_QUOTAS;
        let bytes = 64 + if measured { check.identifier.len() as u64 } else { 0 };
        if allowed
            && is_new
            && let Some(refusal) = self.refusal(&check.object, bytes)
        {
            return Answer::Refused(refusal);
        }
        if allowed {
            if over {
                self.told.remove(&id);
                self.returned.remove(&id);
            }
            admitted.push((now_ms, check.window_ms));
            self.admitted.insert(id.clone(), admitted.clone());
            let ends_ms = ends_ms(&admitted, self.told.get(&id));
            let (alarm_ms, _) = self.alarms.entry(id.clone()).or_insert((ends_ms, measured));
            *alarm_ms = (*alarm_ms).min(ends_ms);
        }
        let start_ms = admitted.first().map_or(now_ms, |(at_ms, _)| *at_ms);
        if !allowed && !admitted.is_empty() {
            let told = self.told.entry(id).or_default();
            *told = (*told).max(start_ms + check.window_ms);
        }
        Answer::Checked(Decision {
            allowed,
            limit: check.requests,
            remaining: check.requests.saturating_sub(before + u64::from(allowed)),
            reset_ms: start_ms + check.window_ms,
            now_ms,
        })
    }

    /// What each object takes, as far as it is measured.
    fn sizes(&self) -> BTreeMap<ObjectId, u64> {
        let mut sizes = BTreeMap::new();
        for ((object, identifier), (_, measured)) in &self.alarms {
            let identifier = if *measured { identifier.len() } else { 0 };
            *sizes.entry(*object).or_default() += 64 + identifier as u64;
        }
        for (object, shard) in &self.shards {
            let entries = shard.entries.iter().map(|(_, _, body)| 64 + body.len() as u64);
            *sizes.entry(*object).or_default() += entries.sum::<u64>();
        }
        sizes
    }

    /// Why an object may not take so many bytes more.
    fn refusal(&self, object: &ObjectRef, more: u64) -> Option<Refusal> {
        let quota = self.quotas.get(&object.namespace)?;
        let sizes = self.sizes();
        let counted = if self.version >= VERSION_QUOTAS { sizes.len() as u64 } else { 0 };
        let bytes = sizes.get(&object.id);
        if quota.exempt == Some(object.id) {
            None
        } else if bytes.is_none() && quota.objects_max.is_some_and(|most| counted >= most) {
            Some(Refusal::ObjectsFull)
        } else if bytes.unwrap_or(&0) + more > quota.object_bytes_max {
            Some(Refusal::ObjectFull)
        } else {
            None
        }
    }

    fn append(&mut self, append: &Append) -> Answer {
        if let Some(refusal) = self.refusal(&append.object, 64 + append.body.len() as u64) {
            return Answer::Refused(refusal);
        }
        let shard = self.shards.entry(append.object.id).or_insert_with(|| {
            self.shards_made += 1;
            ModelShard { number: self.shards_made, ..ModelShard::default() }
        });
        shard.day = shard.day.or(append.day);
        shard.entries.push((self.now_ms, append.terms, append.body.clone()));
        Answer::Logged { id: append.id }
    }

    /// `full` has what was refused of the same import, by object, for want of room.
    fn place(
        &mut self,
        entry: &ImportedEntry,
        retention_ms: u64,
        keep_expired: bool,
        full: &BTreeMap<ObjectId, Placed>,
    ) -> Placed {
        let ImportedEntry { object, day, at_ms, terms, body } = entry;
        let place = |at_ms: u64, body: &Bytes| {
            let text = String::from_utf8_lossy(body);
            let id = text.strip_prefix("{\"id\":\"").map(|text| text[..1].to_owned());
            (at_ms, id)
        };
        let wanted = place(*at_ms, body);
        let entries = self.shards.get(&object.id).map_or(&[][..], |shard| &shard.entries);
        if let Some((_, _, there)) = entries.iter().find(|(ms, _, text)| place(*ms, text) == wanted)
        {
            return match there == body {
                true => Placed::Present,
                false => Placed::Refused(Refusal::ImportConflict),
            };
        }
        if entries.iter().any(|(ms, _, text)| place(*ms, text) > wanted) {
            return Placed::Refused(Refusal::ImportOrder);
        }
        if *at_ms >= self.now_ms {
            return Placed::Refused(Refusal::ImportFuture);
        }
        let is_expired = at_ms + retention_ms <= self.now_ms;
        if is_expired && !keep_expired {
            return Placed::Refused(Refusal::ImportExpired);
        }
        if let Some(placed) = full.get(&object.id) {
            return *placed;
        }
        if let Some(refusal) = self.refusal(object, 64 + body.len() as u64) {
            return Placed::Refused(refusal);
        }
        let shard = self.shards.entry(object.id).or_insert_with(|| {
            self.shards_made += 1;
            ModelShard { number: self.shards_made, ..ModelShard::default() }
        });
        if is_expired {
            shard.held_ms = shard.held_ms.or(Some(self.now_ms));
        }
        shard.day = shard.day.or(Some(*day));
        shard.entries.push((*at_ms, *terms, body.clone()));
        Placed::Added
    }

    fn tick(&mut self, retention_ms: u64) -> Outcome {
        let now_ms = self.now_ms;
        self.sessions.retain(|_, session| now_ms - session.used_ms < 60 * 60 * 1000);
        let windows = self.admitted.len();
        self.admitted.retain(|id, admitted| now_ms < ends_ms(admitted, self.told.get(id)));
        self.told.retain(|id, _| self.admitted.contains_key(id));
        self.returned.retain(|id, _| self.admitted.contains_key(id));
        self.alarms.retain(|id, _| self.admitted.contains_key(id));
        for (id, (alarm_ms, measured)) in &mut self.alarms {
            if *alarm_ms <= now_ms {
                *alarm_ms = ends_ms(&self.admitted[id], self.told.get(id));
                *measured |= self.version >= VERSION_QUOTAS;
            }
        }
        let mut done =
            Ticked { windows: (windows - self.admitted.len()) as u64, ..Ticked::default() };
        self.shards.retain(|_, shard| {
            if shard.held_ms.take_if(|held_ms| *held_ms + retention_ms <= now_ms).is_none()
                && shard.held_ms.is_some()
            {
                return true;
            }
            let due = shard.entries.iter().filter(|entry| entry.0 + retention_ms <= now_ms).count();
            if due == shard.entries.len() {
                done.shards += 1;
                return false;
            }
            shard.entries.drain(..due);
            shard.removed += due;
            done.entries += due as u64;
            true
        });
        Outcome::Ticked(done)
    }

    /// Panics unless the machine's tables hold what the model knows.
    fn assert_equal(&self, machine: &Machine, rows: &Memory) {
        assert_eq!(machine.now_ms(), self.now_ms);
        for (key, value) in rows.table(Table::Session) {
            let record: SessionRecord = codec::decode(value).unwrap();
            assert_eq!(Some(&record), self.sessions.get(&keys::sequence(key).unwrap()));
        }
        assert_eq!(rows.table(Table::Session).count(), self.sessions.len());
        let kept = self.applied.iter().filter(|((session, sequence), _)| {
            self.sessions.get(session).is_some_and(|open| *sequence >= open.answered_below)
        });
        let kept: Vec<_> = kept
            .map(|((session, sequence), outcomes)| (*session, *sequence, outcomes.clone()))
            .collect();
        let found: Vec<(u64, u64, Vec<Outcome>)> = rows
            .table(Table::Answer)
            .map(|(key, value)| (number(key), number(&key[8..]), codec::decode(value).unwrap()))
            .collect();
        assert_eq!(found, kept, "the outcomes that are kept for a retry");

        let expected = self.admitted.iter().map(|(id, admitted)| {
            let (object, identifier) = id;
            let ends_ms = ends_ms(admitted, self.told.get(id));
            let key = [&namespace().id().0[..], &object.0, identifier.as_bytes()].concat();
            let counted = admitted.len() as u64 - self.returned.get(id).unwrap_or(&0);
            (key, (counted, admitted[0].0, ends_ms))
        });
        let found = rows.table(Table::Cell).map(|(key, value)| {
            let cell: Cell = codec::decode(value).unwrap();
            (key.to_vec(), (cell.count, cell.window_start_ms, cell.ends_ms))
        });
        let expected: BTreeMap<_, _> = expected.collect();
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "the cells");

        let entries = self.shards.values().flat_map(|shard| {
            let entries = shard.entries.iter().zip(shard.removed as u64..);
            entries.map(|(entry, sequence)| ((shard.number, sequence), entry.clone()))
        });
        let found = rows.table(Table::Entry).map(|(key, value)| {
            let EntryRecord { at_ms, terms, body } = EntryRecord::decode(value).unwrap();
            ((number(key), number(&key[8..])), (at_ms, terms, Bytes::copy_from_slice(body)))
        });
        let entries: BTreeMap<_, _> = entries.collect();
        assert_eq!(found.collect::<BTreeMap<_, _>>(), entries, "the entries");

        let days: BTreeSet<_> =
            self.shards.iter().filter_map(|(id, shard)| Some((shard.day?, id.0))).collect();
        let found = rows.table(Table::Day).map(|(key, id)| {
            (u32::from_be_bytes(*key.last_chunk().unwrap()), id.try_into().unwrap())
        });
        assert_eq!(found.collect::<BTreeSet<(u32, [u8; 16])>>(), days, "the days");

        let found = policy::list(rows).unwrap().into_iter().map(|stored| {
            let policy::Stored { namespace, type_, record } = stored;
            ((namespace, type_), (record.policy, record.updated_ms))
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), self.policies, "the policies");
        assert_eq!(policy::is_seeded(rows).unwrap(), self.had_policies);

        let found = token::list(rows).unwrap().into_iter().map(|stored| (stored.id, stored.record));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), self.tokens, "the tokens");
        assert_eq!(machine.token_changes(), self.token_changes);

        let spaces = quota::spaces(rows).unwrap();
        assert_eq!(spaces.quotas(), self.quotas, "the quotas");
        let sizes = self.sizes();
        let counted = spaces.counted(namespace().id()).map(|space| (space.objects, space.bytes));
        let expected = (sizes.len() as u64, sizes.values().sum());
        let is_on = self.version >= VERSION_QUOTAS;
        assert_eq!(counted, is_on.then_some(expected), "the sums");

        let live = |(_, record): &(&[u8; 16], &KeyRecord)| self.now_ms < record.expires_ms;
        let expected = self.keys.iter().filter(live).map(|(id, record)| (*id, record.clone()));
        let found = rows.table(Table::Alarm).filter_map(|(row, value)| {
            let record: KeyRecord = codec::decode(value).ok()?;
            (self.now_ms < record.expires_ms).then_some((keys::split_kept(row)?, record))
        });
        let expected: BTreeMap<_, _> = expected.collect();
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "what keys keep");
    }
}

fn number(key: &[u8]) -> u64 {
    u64::from_be_bytes(*key.first_chunk().unwrap())
}

// --- random batches ---------------------------------------------------------------------------

/// What becomes a batch once it is known what came before it.
#[derive(Clone, Debug)]
struct Plan {
    clock: Clock,
    groups: Vec<PlannedGroup>,
}

#[derive(Clone, Debug)]
enum Clock {
    Forward(u64),
    Back(u64),
}

#[derive(Clone, Debug)]
enum PlannedGroup {
    Open {
        node: u64,
    },
    Tick {
        retention_ms: u64,
    },
    Commands {
        /// 0 is the newest session, 1 the one before it; the one to come next, if there is none.
        back: u64,
        number: Number,
        /// How many of the newest groups are unanswered, if the group says that.
        unanswered: Option<u64>,
        commands: Vec<PlannedCommand>,
    },
    Raise {
        version: u8,
    },
    Seed {
        policies: Vec<PlannedPolicy>,
    },
    Quotas {
        quota: Option<(u64, Option<u64>, bool)>,
    },
    /// Commands where they may not stand.
    Misplaced {
        outside: bool,
    },
}

#[derive(Clone, Debug)]
enum Number {
    Next,
    /// Overtakes as many groups.
    Ahead(u64),
    /// As many before the next: the same commands again, if there was such a group.
    Again(u64),
}

#[derive(Clone, Debug)]
enum PlannedCommand {
    Check { limiter: u8, identifier: u8, requests: u64, window_ms: u64 },
    Reset { limiter: u8, identifier: u8 },
    Credit { limiter: u8, identifier: u8, amount: u64 },
    Append { shard: u8, terms: Terms, by_day: bool },
    Import { retention_ms: u64, keep_expired: bool, entries: Vec<PlannedEntry> },
    Changes { once: Option<PlannedKey>, changes: Vec<PlannedCommand> },
    CheckByPolicy { limiter: u8, identifier: u8, type_: u8 },
    SetPolicy(PlannedPolicy),
    CreateToken { id: u8, name: u8, ttl_ms: Option<u64>, requests_per_second: Option<u32> },
    RevokeToken { id: u8 },
}

/// Of two namespaces, of which one has limiters, and of few types.
#[derive(Clone, Debug)]
struct PlannedPolicy {
    elsewhere: bool,
    type_: u8,
    policy: Option<Policy>,
}

/// Of few places, so that they come again.
#[derive(Clone, Debug)]
struct PlannedEntry {
    shard: u8,
    /// How long it is ago, from the newest time on; 0 is to come.
    ago_ms: u64,
    id: char,
    text: u8,
    terms: Terms,
}

/// Few keys, so that they come again; with the first fingerprint the request is always the same.
#[derive(Clone, Debug)]
struct PlannedKey {
    key: u8,
    fingerprint: u8,
    ttl_ms: Option<u64>,
    keeping: Keeping,
}

/// Limiters below this are always asked with the same limit and window.
const FIXED: u8 = 2;
const TTL_MS: u64 = 60 * 60 * 1000;
/// Few enough for keys to be refused.
const ANSWERS_MAX: u64 = 8;

fn plans(longest_step_ms: u64) -> impl Strategy<Value = Vec<Plan>> {
    let clock = prop_oneof![
        4 => Just(Clock::Forward(0)),
        4 => (1..8u64).prop_map(Clock::Forward),
        4 => (8..60u64).prop_map(Clock::Forward),
        1 => (60..=longest_step_ms).prop_map(Clock::Forward),
        1 => (1..20u64).prop_map(Clock::Back),
    ];
    let plan = (clock, prop::collection::vec(planned_group(), 0..8))
        .prop_map(|(clock, groups)| Plan { clock, groups });
    prop::collection::vec(plan, 1..60)
}

fn planned_group() -> impl Strategy<Value = PlannedGroup> {
    let back = prop_oneof![8 => Just(0u64), 4 => Just(1), 1 => 2..4u64];
    let number = prop_oneof![
        6 => Just(Number::Next),
        1 => (1..3u64).prop_map(Number::Ahead),
        3 => (1..6u64).prop_map(Number::Again),
    ];
    let unanswered = prop::option::weighted(0.04, 0..8u64);
    let commands = prop::collection::vec(planned_command(), 0..5);
    let commands =
        (back, number, unanswered, commands).prop_map(|(back, number, unanswered, commands)| {
            PlannedGroup::Commands { back, number, unanswered, commands }
        });
    prop_oneof![
        1 => (1..4u64).prop_map(|node| PlannedGroup::Open { node }),
        3 => prop::sample::select(vec![0, 20, 100, 1000]).prop_map(|retention_ms| PlannedGroup::Tick { retention_ms }),
        40 => commands,
        1 => (VERSION_MIN..=VERSION_MAX).prop_map(|version| PlannedGroup::Raise { version }),
        1 => any::<bool>().prop_map(|outside| PlannedGroup::Misplaced { outside }),
        1 => prop::collection::vec(planned_policy(), 0..3).prop_map(|policies| PlannedGroup::Seed { policies }),
        1 => planned_quota().prop_map(|quota| PlannedGroup::Quotas { quota }),
    ]
}

/// Bytes of an object and objects, few enough to be met, and whether a shard is exempt.
fn planned_quota() -> impl Strategy<Value = Option<(u64, Option<u64>, bool)>> {
    let bytes = prop::sample::select(vec![69, 140, 200, 500, 5000]);
    let objects_max = prop::sample::select(vec![None, Some(1), Some(4), Some(7)]);
    prop::option::weighted(0.7, (bytes, objects_max, any::<bool>()))
}

fn planned_command() -> impl Strategy<Value = PlannedCommand> {
    let changes = prop::collection::vec(planned_change(), 0..4);
    let changes = (prop::option::weighted(0.9, planned_key()), changes)
        .prop_map(|(once, changes)| PlannedCommand::Changes { once, changes });
    let entries = prop::collection::vec(planned_entry(), 0..6);
    let retention_ms = prop::sample::select(vec![0, 20, 100, 1000]);
    let imports =
        (retention_ms, any::<bool>(), entries).prop_map(|(retention_ms, keep_expired, entries)| {
            PlannedCommand::Import { retention_ms, keep_expired, entries }
        });
    let policies = planned_policy().prop_map(PlannedCommand::SetPolicy);
    let ttl_ms = prop::option::of(prop::sample::select(vec![0u64, 20, 100]));
    let requests_per_second = prop::option::of(1..3u32);
    let tokens = prop_oneof![
        2 => (0..3u8, 0..3u8, ttl_ms, requests_per_second).prop_map(
            |(id, name, ttl_ms, requests_per_second)| {
                PlannedCommand::CreateToken { id, name, ttl_ms, requests_per_second }
            }
        ),
        1 => (0..3u8).prop_map(|id| PlannedCommand::RevokeToken { id }),
    ];
    prop_oneof![13 => planned_change(), 4 => changes, 3 => imports, 2 => policies, 1 => tokens]
}

fn planned_policy() -> impl Strategy<Value = PlannedPolicy> {
    let window_ms = prop::sample::select(vec![10, 25, 50]);
    let policy = prop::option::weighted(0.85, (0..4u64, window_ms));
    (prop::bool::weighted(0.2), 0..2u8, policy).prop_map(|(elsewhere, type_, policy)| {
        let policy = policy.map(|(requests, window_ms)| Policy { requests, window_ms });
        PlannedPolicy { elsewhere, type_, policy }
    })
}

fn planned_check_by_policy() -> impl Strategy<Value = PlannedCommand> {
    (FIXED..4, 0..2u8, 0..2u8).prop_map(|(limiter, identifier, type_)| {
        PlannedCommand::CheckByPolicy { limiter, identifier, type_ }
    })
}

fn planned_entry() -> impl Strategy<Value = PlannedEntry> {
    let term = || prop::option::of(0..3u64);
    let ago_ms = prop_oneof![6 => 1..8u64, 3 => 8..200u64, 1 => Just(0u64)];
    let id = prop::sample::select(vec!['a', 'b', 'c']);
    let text = prop_oneof![12 => Just(0u8), 1 => Just(1)];
    // The first of them are appended to, too.
    let entry = (1..5u8, ago_ms, id, text, [term(), term(), term(), term()]);
    entry.prop_map(|(shard, ago_ms, id, text, terms)| PlannedEntry {
        shard,
        ago_ms,
        id,
        text,
        terms,
    })
}

fn planned_key() -> impl Strategy<Value = PlannedKey> {
    let retention_ms = prop::sample::select(vec![1, 20, 100, 5000]);
    let fingerprint = prop_oneof![6 => Just(0u8), 1 => Just(1)];
    let ttl_ms = prop::option::of(prop::sample::select(vec![1, 30, 9000]));
    (0..6u8, fingerprint, ttl_ms, retention_ms).prop_map(
        |(key, fingerprint, ttl_ms, retention_ms)| {
            let keeping = Keeping { retention_ms, answers_max: ANSWERS_MAX };
            PlannedKey { key, fingerprint, ttl_ms, keeping }
        },
    )
}

fn planned_change() -> impl Strategy<Value = PlannedCommand> {
    let term = || prop::option::of(0..3u64);
    prop_oneof![
        8 => planned_check(),
        4 => planned_check_by_policy(),
        1 => (0..4u8, 0..2u8)
            .prop_map(|(limiter, identifier)| PlannedCommand::Reset { limiter, identifier }),
        1 => (0..4u8, 0..2u8, prop_oneof![4 => 0..3u64, 1 => Just(u64::MAX)])
            .prop_map(|(limiter, identifier, amount)| PlannedCommand::Credit {
                limiter,
                identifier,
                amount,
            }),
        4 => (0..3u8, [term(), term(), term(), term()], any::<bool>())
            .prop_map(|(shard, terms, by_day)| PlannedCommand::Append { shard, terms, by_day }),
    ]
}

fn planned_check() -> impl Strategy<Value = PlannedCommand> {
    (0..4u8, 0..2u8, 0..4u64, prop::sample::select(vec![1, 10, 25, 50])).prop_map(
        |(limiter, identifier, requests, window_ms)| PlannedCommand::Check {
            limiter,
            identifier,
            requests,
            window_ms,
        },
    )
}

fn namespace() -> Namespace {
    Namespace::new("test-Object")
}

/// Makes batches of plans; remembers what was sent, to send it again.
#[derive(Default)]
struct Sender {
    newest_ms: u64,
    sent: BTreeMap<(u64, u64), Arc<Vec<Command>>>,
    /// The changes that were sent with a key and a fingerprint.
    requests: BTreeMap<(u8, u8), Vec<Change<Append>>>,
    appended: u128,
}

impl Sender {
    fn batch(&mut self, plan: &Plan, mut sessions: u64) -> Batch {
        let at_ms = match plan.clock {
            Clock::Forward(ms) => self.newest_ms + ms,
            Clock::Back(ms) => self.newest_ms.saturating_sub(ms),
        };
        self.newest_ms = self.newest_ms.max(at_ms);
        let groups = plan.groups.iter().map(|group| match group {
            PlannedGroup::Open { node } => {
                sessions += 1;
                outside(Command::OpenSession { node: *node })
            }
            PlannedGroup::Tick { retention_ms } => {
                outside(Command::Tick(Tick { retention_ms: *retention_ms }))
            }
            PlannedGroup::Raise { version } => outside(Command::Raise { version: *version }),
            PlannedGroup::Seed { policies } => {
                let policies = policies.iter().map(set_policy).collect();
                outside(Command::SeedPolicies { policies })
            }
            PlannedGroup::Quotas { quota } => {
                let quota = quota.map(|(object_bytes_max, objects_max, is_exempt)| {
                    let exempt = is_exempt.then(|| namespace().object("shard-1").id);
                    (namespace().id(), Quota { object_bytes_max, objects_max, exempt })
                });
                outside(Command::SetQuotas { quotas: quota.into_iter().collect() })
            }
            PlannedGroup::Misplaced { outside: true } => {
                outside(self.command(&PlannedCommand::Reset { limiter: 0, identifier: 0 }))
            }
            PlannedGroup::Misplaced { outside: false } => {
                let command = Command::Tick(Tick { retention_ms: 0 });
                self.group(sessions.max(1), &Number::Next, None, vec![command])
            }
            PlannedGroup::Commands { back, number, unanswered, commands } => {
                let session = sessions.checked_sub(*back).unwrap_or(sessions + 1).max(1);
                let commands = commands.iter().map(|command| self.command(command)).collect();
                self.group(session, number, *unanswered, commands)
            }
        });
        Batch { at_ms, groups: groups.collect() }
    }

    fn group(
        &mut self,
        session: u64,
        number: &Number,
        unanswered: Option<u64>,
        commands: Vec<Command>,
    ) -> Group<Command> {
        let sent = self.sent.range((session, 0)..(session + 1, 0));
        let next = sent.last().map_or(1, |((_, sequence), _)| sequence + 1);
        let sequence = match number {
            Number::Next => next,
            Number::Ahead(ahead) => next + ahead,
            Number::Again(back) => next.saturating_sub(*back),
        };
        let answered_below = unanswered.map_or(0, |unanswered| next.saturating_sub(unanswered));
        let commands = self.sent.entry((session, sequence)).or_insert(Arc::new(commands)).clone();
        Group { session, sequence, answered_below, commands }
    }

    fn command(&mut self, planned: &PlannedCommand) -> Command {
        let name = |number: &u8| format!("name-{number}");
        match planned {
            PlannedCommand::Check { limiter: number, identifier, requests, window_ms } => {
                let (requests, window_ms) = fixed(*number).unwrap_or((*requests, *window_ms));
                let (object, identifier) = (limiter_named(*number), name(identifier));
                Command::Check(Check { object, identifier, requests, window_ms })
            }
            PlannedCommand::Reset { limiter: number, identifier } => {
                let (object, identifier) = (limiter_named(*number), name(identifier));
                Command::Reset(Reset { object, identifier })
            }
            PlannedCommand::Credit { limiter: number, identifier, amount } => {
                let (object, identifier) = (limiter_named(*number), name(identifier));
                Command::Credit(Credit { object, identifier, amount: *amount })
            }
            PlannedCommand::CheckByPolicy { limiter: number, identifier, type_ } => {
                let (object, identifier) = (limiter_named(*number), name(identifier));
                Command::CheckByPolicy(PolicyCheck { object, identifier, type_: name(type_) })
            }
            PlannedCommand::SetPolicy(planned) => Command::SetPolicy(set_policy(planned)),
            PlannedCommand::CreateToken { id, name: number, ttl_ms, requests_per_second } => {
                let token = Token {
                    name: name(number),
                    scopes: Scopes(*number),
                    bindings: Vec::new(),
                    name_prefixes: vec![name(id)],
                    expires_ms: ttl_ms.map(|ttl_ms| self.newest_ms + ttl_ms),
                    sha256: [*id; 32],
                };
                let new = NewToken { id: TokenId([*id; 8]), token };
                match *requests_per_second {
                    None => Command::CreateToken(new),
                    Some(requests_per_second) => {
                        Command::CreateLimitedToken(LimitedToken { new, requests_per_second })
                    }
                }
            }
            PlannedCommand::RevokeToken { id } => Command::RevokeToken { id: TokenId([*id; 8]) },
            PlannedCommand::Append { shard, terms, by_day } => {
                self.appended += 1;
                Command::Append(Append {
                    object: namespace().object(&format!("shard-{shard}")),
                    day: by_day.then_some(u32::from(*shard)),
                    id: self.appended.to_be_bytes(),
                    terms: *terms,
                    body: format!("{{\"number\":{}}}", self.appended).into(),
                })
            }
            PlannedCommand::Import { retention_ms, keep_expired, entries } => {
                let entries = entries.iter().map(|planned| {
                    let PlannedEntry { shard, ago_ms, id, text, terms } = planned;
                    ImportedEntry {
                        object: namespace().object(&format!("shard-{shard}")),
                        day: u32::from(*shard),
                        at_ms: (self.newest_ms + 1).saturating_sub(*ago_ms),
                        terms: *terms,
                        body: format!(r#"{{"id":"{id}","text":{text}}}"#).into(),
                    }
                });
                let import = Import { keep_expired: *keep_expired, entries: entries.collect() };
                Command::Import { retention_ms: *retention_ms, import }
            }
            PlannedCommand::Changes { once, changes } => {
                let changes = changes.iter().map(|planned| change(self.command(planned)));
                let mut changes: Vec<_> = changes.collect();
                let once = once.as_ref().map(|PlannedKey { key, fingerprint, ttl_ms, keeping }| {
                    let request = (*key, *fingerprint);
                    changes = self.requests.entry(request).or_insert(changes.clone()).clone();
                    // The leader makes an entry anew each time; the first that is kept counts.
                    for change in &mut changes {
                        if let Change::Log(append) = change {
                            self.appended += 1;
                            append.id = self.appended.to_be_bytes();
                        }
                    }
                    let (id, fingerprint, ttl_ms) = ([*key; 16], [*fingerprint; 16], *ttl_ms);
                    Once { key: IdempotencyKey { id, fingerprint, ttl_ms }, keeping: *keeping }
                });
                Command::Changes { once, changes }
            }
        }
    }
}

fn change(command: Command) -> Change<Append> {
    match command {
        Command::Check(check) => Change::Check(check),
        Command::Reset(reset) => Change::Reset(reset),
        Command::Append(append) => Change::Log(append),
        Command::CheckByPolicy(check) => Change::CheckByPolicy(check),
        Command::Credit(credit) => Change::Credit(credit),
        other => panic!("{other:?} is no change"),
    }
}

fn set_policy(PlannedPolicy { elsewhere, type_, policy }: &PlannedPolicy) -> SetPolicy {
    let namespace = if *elsewhere { Namespace::new("test-Other") } else { namespace() };
    SetPolicy { namespace: namespace.id(), type_: format!("name-{type_}"), policy: *policy }
}

fn limiter_named(number: u8) -> ObjectRef {
    namespace().object(&format!("limiter-{number}"))
}

/// The limit and window of a limiter that is always asked with the same.
fn fixed(limiter: u8) -> Option<(u64, u64)> {
    [(2, 50), (1, 10)].get(usize::from(limiter)).copied()
}

fn outside(command: Command) -> Group<Command> {
    Group::outside_session(Arc::new(vec![command]))
}

// --- properties -------------------------------------------------------------------------------

/// A machine with its tables.
struct Replica {
    machine: Machine,
    rows: Memory,
}

impl Replica {
    fn new() -> Self {
        let rows = Memory::default();
        Self { machine: Machine::load(&rows).unwrap(), rows }
    }

    fn apply(&mut self, batch: &Batch) -> Vec<GroupOutcome> {
        let (outcomes, effects) = self.machine.apply(&self.rows, batch).unwrap();
        self.rows.make(&effects);
        assert_sound(&self.machine, &self.rows);
        outcomes
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The answers and tables are the model's, also on a replica that restarts before every batch.
    #[test]
    fn the_machine_agrees_with_the_model(plans in plans(2 * TTL_MS)) {
        let (mut model, mut sender) = (Model::default(), Sender::default());
        let (mut steady, mut restarting) = (Replica::new(), Replica::new());
        for plan in &plans {
            let batch = sender.batch(plan, model.sessions_made);
            let outcomes = steady.apply(&batch);
            prop_assert_eq!(&outcomes, &model.apply(&batch));
            model.assert_equal(&steady.machine, &steady.rows);

            restarting.machine = Machine::load(&restarting.rows).unwrap();
            prop_assert_eq!(&outcomes, &restarting.apply(&batch));
            prop_assert_eq!(&steady.rows, &restarting.rows);
            prop_assert_eq!(steady.machine.hash(), restarting.machine.hash());
        }
    }

    /// Where no session is old enough to expire, ticks change no other answer but that to an import,
    /// which tells whether an entry is still there; and where no quota is in force, for ticks make room.
    #[test]
    fn no_answer_depends_on_ticks(plans in plans(1_000)) {
        let (mut ticked, mut sender) = (Replica::new(), Sender::default());
        let mut unticked = Replica::new();
        for plan in &plans {
            let mut batch = sender.batch(plan, ticked.machine.registers.sessions);
            batch.groups.retain(|group| !matches!(group.commands[..], [Command::SetQuotas { .. }]));
            let is_tick = |group: &Group<Command>| matches!(group.commands[..], [Command::Tick(_)]);
            let kept = |group: &&Group<Command>| group.session > 0 || !is_tick(group);
            let groups = batch.groups.iter().filter(kept).cloned().collect();
            let outcomes = batch.groups.iter().zip(ticked.apply(&batch));
            let outcomes: Vec<_> =
                outcomes.filter(|(group, _)| kept(group)).map(|(_, outcome)| outcome).collect();
            let without = unticked.apply(&Batch { at_ms: batch.at_ms, groups });
            prop_assert_eq!(without_imports(outcomes), without_imports(without));
        }
    }

    /// A window of a fixed configuration never admits more than its limit and what was given back, is
    /// as long as it says, and is over before the next one starts; a group is never carried out twice.
    #[test]
    fn a_limit_is_exact(plans in plans(2 * TTL_MS)) {
        let (mut replica, mut sender) = (Replica::new(), Sender::default());
        let mut seen = BTreeSet::new();
        // Of each identifier: the end of its window, and requests that this window admitted.
        let mut windows: BTreeMap<(ObjectId, String), (u64, u64)> = BTreeMap::new();
        for plan in &plans {
            let batch = sender.batch(plan, replica.machine.registers.sessions);
            for (group, outcome) in batch.groups.iter().zip(replica.apply(&batch)) {
                let GroupOutcome::Done(outcomes) = outcome else { continue };
                if group.session > 0 && !seen.insert((group.session, group.sequence)) {
                    continue;
                }
                for (command, outcome) in group.commands.iter().zip(outcomes) {
                    for (change, outcome) in carried_out(command, outcome) {
                        match (change, outcome) {
                            (Change::Reset(reset), Outcome::Reset) => {
                                windows.remove(&(reset.object.id, reset.identifier));
                            }
                            (Change::Credit(credit), Outcome::Credited(credited)) => {
                                let id = (credit.object.id, credit.identifier);
                                let open = windows.get_mut(&id).zip(credited.window);
                                if let Some((window, left)) = open {
                                    prop_assert_eq!(window.0, left.ends_ms, "it stays as it is");
                                    window.1 -= credited.credited;
                                    prop_assert_eq!(window.1, left.count);
                                }
                            }
                            (Change::Check(check), Outcome::Checked(decision)) => {
                                observe(&mut windows, &check, decision)?;
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is decided without the log is what the log would decide, and nothing is left unwritten.
    #[test]
    fn a_refusal_without_the_log_is_the_one_in_the_log(
        plans in plans(1_000),
        checks in prop::collection::vec((prop_oneof![planned_check(), planned_check_by_policy()], 0..60u64), 16),
    ) {
        let (mut replica, mut sender) = (Replica::new(), Sender::default());
        for plan in &plans {
            let batch = sender.batch(plan, replica.machine.registers.sessions);
            replica.apply(&batch);
        }
        for (planned, later_ms) in &checks {
            let check = sender.command(planned);
            let now_ms = replica.machine.now_ms() + later_ms;
            let mut rows = table::Overlay::new(&replica.rows);
            let spaces = &mut replica.machine.spaces.clone();
            let (answer, refusal) = match &check {
                Command::Check(check) => (
                    limiter::check(&mut rows, spaces, now_ms, check.into()),
                    limiter::refusal(&replica.rows, now_ms, check.into()),
                ),
                Command::CheckByPolicy(check) => (
                    policy::check(&mut rows, spaces, now_ms, check),
                    policy::refusal(&replica.rows, now_ms, check),
                ),
                other => panic!("{other:?} is no check"),
            };
            let answer = answer.unwrap();
            let has_written = !rows.into_writes().is_empty();
            let expected = match answer {
                Answer::Checked(decision) if !decision.allowed && !has_written => Some(decision),
                _ => None,
            };
            prop_assert_eq!(refusal.unwrap(), expected);
        }
    }
}

/// The outcomes of all commands but imports.
fn without_imports(mut groups: Vec<GroupOutcome>) -> Vec<GroupOutcome> {
    for group in &mut groups {
        if let GroupOutcome::Done(outcomes) = group {
            outcomes.retain(|outcome| !matches!(outcome, Outcome::Imported(_)));
        }
    }
    groups
}

/// The changes of a command that were carried out now, and what they came to.
fn carried_out(command: &Command, outcome: Outcome) -> Vec<(Change<Append>, Outcome)> {
    match (command, outcome) {
        (Command::Changes { changes, .. }, Outcome::Changed(answered)) => {
            let pairs = changes.iter().cloned().zip(answered);
            let now = pairs.filter(|(_, answered)| !answered.replayed);
            now.map(|(change, answered)| (change, answered.answer.into())).collect()
        }
        (Command::Check(_) | Command::Reset(_) | Command::Credit(_), outcome) => {
            vec![(change(command.clone()), outcome)]
        }
        _ => Vec::new(),
    }
}

/// Asserts that a decision on a limiter of fixed configuration is the right one, after all before.
fn observe(
    windows: &mut BTreeMap<(ObjectId, String), (u64, u64)>,
    check: &Check,
    decision: Decision,
) -> Result<(), TestCaseError> {
    let is_fixed = (0..FIXED).any(|limiter| check.object == limiter_named(limiter));
    if !is_fixed {
        return Ok(());
    }
    let Decision { allowed, remaining, reset_ms, now_ms, .. } = decision;
    let start_ms = reset_ms - check.window_ms;
    prop_assert!(start_ms <= now_ms && now_ms < reset_ms, "a decision is made in its window");
    let id = (check.object.id, check.identifier.clone());
    let window = windows.entry(id).or_insert((0, 0));
    if window.0 != reset_ms {
        prop_assert!(window.0 <= start_ms, "a window is over before the next one starts");
        prop_assert_eq!(start_ms, now_ms, "a window starts with its first request");
        *window = (reset_ms, 0);
    }
    prop_assert_eq!(allowed, window.1 < check.requests, "what the limit admits, and no more");
    window.1 += u64::from(allowed);
    prop_assert_eq!(remaining, check.requests - window.1);
    Ok(())
}

/// The properties mean little if the plans do not get everywhere.
#[test]
fn the_plans_reach_every_answer() {
    let mut runner = TestRunner::deterministic();
    let strategy = plans(2 * TTL_MS);
    let mut reached = BTreeSet::new();
    for _ in 0..3072 {
        let (mut model, mut sender) = (Model::default(), Sender::default());
        let mut seen = BTreeSet::new();
        for plan in strategy.new_tree(&mut runner).unwrap().current() {
            let batch = sender.batch(&plan, model.sessions_made);
            for (group, outcome) in batch.groups.iter().zip(model.apply(&batch)) {
                let GroupOutcome::Done(outcomes) = &outcome else {
                    reached.insert(format!("{outcome:?}"));
                    continue;
                };
                if group.session > 0 && !seen.insert((group.session, group.sequence)) {
                    reached.insert("answered again".to_owned());
                }
                reached.extend(outcomes.iter().flat_map(kinds).map(str::to_owned));
            }
        }
    }
    let expected = [
        "Forgotten",
        "SessionFull",
        "SessionUnknown",
        "Stale",
        "admitted",
        "answered again",
        "credited",
        "entries went",
        "import expired",
        "import full",
        "import in conflict",
        "import out of order",
        "import present",
        "import to come",
        "imported",
        "key reused",
        "keys full",
        "logged",
        "misplaced",
        "no policy",
        "nothing to credit",
        "object full",
        "objects full",
        "policies seeded",
        "policy set",
        "quotas set",
        "raised",
        "refused",
        "replayed",
        "reset",
        "session",
        "shards went",
        "token created",
        "token exists",
        "token revoked",
        "windows ended",
    ];
    assert_eq!(reached.iter().collect::<Vec<_>>(), expected);
}

fn kinds(outcome: &Outcome) -> Vec<&'static str> {
    match outcome {
        Outcome::SessionOpened { .. } => vec!["session"],
        Outcome::Checked(decision) if decision.allowed => vec!["admitted"],
        Outcome::Checked(_) => vec!["refused"],
        Outcome::Reset => vec!["reset"],
        Outcome::Credited(Credited { credited: 0, .. }) => vec!["nothing to credit"],
        Outcome::Credited(_) => vec!["credited"],
        Outcome::Logged { .. } => vec!["logged"],
        Outcome::Ticked(Ticked { windows, entries, shards, .. }) => {
            let done =
                [(windows, "windows ended"), (entries, "entries went"), (shards, "shards went")];
            done.into_iter().filter(|(count, _)| **count > 0).map(|(_, kind)| kind).collect()
        }
        Outcome::Refused(Refusal::KeyReused) => vec!["key reused"],
        Outcome::Refused(Refusal::KeysFull) => vec!["keys full"],
        Outcome::Refused(Refusal::NoPolicy) => vec!["no policy"],
        Outcome::Refused(Refusal::TokenExists) => vec!["token exists"],
        Outcome::Refused(Refusal::ObjectFull) => vec!["object full"],
        Outcome::Refused(Refusal::ObjectsFull) => vec!["objects full"],
        Outcome::QuotasSet => vec!["quotas set"],
        Outcome::Refused(_) => vec!["misplaced"],
        Outcome::TokenCreated { .. } => vec!["token created"],
        Outcome::TokenRevoked { existed: true } => vec!["token revoked"],
        Outcome::TokenRevoked { existed: false } => vec![],
        Outcome::PolicySet { .. } => vec!["policy set"],
        Outcome::PoliciesSeeded { policies: 0 } => vec![],
        Outcome::PoliciesSeeded { .. } => vec!["policies seeded"],
        Outcome::Changed(answered) => {
            let kind = |answered: &Answered| match answered.replayed {
                true => vec!["replayed"],
                false => kinds(&answered.answer.into()),
            };
            answered.iter().flat_map(kind).collect()
        }
        Outcome::Raised { .. } => vec!["raised"],
        Outcome::Imported(placed) => placed.iter().map(placed_kind).collect(),
    }
}

fn placed_kind(placed: &Placed) -> &'static str {
    match placed {
        Placed::Added => "imported",
        Placed::Present => "import present",
        Placed::Refused(Refusal::ImportOrder) => "import out of order",
        Placed::Refused(Refusal::ImportConflict) => "import in conflict",
        Placed::Refused(Refusal::ImportExpired) => "import expired",
        Placed::Refused(Refusal::ImportFuture) => "import to come",
        Placed::Refused(Refusal::ObjectFull | Refusal::ObjectsFull) => "import full",
        Placed::Refused(_) => "import refused",
    }
}
