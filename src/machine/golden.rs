//! Golden scripts of the machine: `testscripts/`, one scenario a file.
//!
//! After a change that is meant, `UPDATE_GOLDENFILES=1 cargo test --release golden` writes the new
//! answers into the scripts; read the difference before committing it.
//!
//! | command | |
//! |---|---|
//! | `open node=1` | opens a session |
//! | `check ID limit=3 window=1000 [object=NAME]` | the object is named like the identifier |
//! | `check ID policy=TYPE [object=NAME]` | by what is stored for the type |
//! | `reset ID [object=NAME]` | |
//! | `credit ID amount=n [object=NAME]` | |
//! | `append NAME [day=n] [type=…] [action=…] [user=…] [ip=…] [body=…]` | `nameless=true`: by the id alone |
//! | … `[key=NAME] [request=NAME] [ttl=ms] [keep=ms] [most=n]` | any of these four, once for the key |
//! | `import NAME MS/ID[/TEXT]… [day=n] [retention=ms] [keep=true]` | entries of their own time and id |
//! | `policy TYPE [limit=n window=ms] [space=NAME]` | stores what is given; removes, if nothing is |
//! | `seed TYPE/LIMIT/WINDOW…` | |
//! | `token NAME id=n [scopes=bits] [expires=ms] [binding=NAME] [prefix=TEXT] [rate=n]` | stores it; its hash is of its name |
//! | `revoke ID` | |
//! | `quotas [bytes=n] [objects=n] [exempt=NAME]` | none, if nothing is given |
//! | `tick [retention=ms]` | |
//! | `groups N` | as many groups of no commands |
//! | `begin`, `apply` | what stands between them is one batch |
//! | `dump [TABLE…]` | the rows of the tables, or of all but `register` and `answer` |
//! | `count` | rows per table |
//! | `alarm [retention=ms]` | when there is something to do next |
//! | `raw` | every row in hexadecimal digits, as it is on disk |
//!
//! With every change of state: `at=ms` (if not given, the last), `s=` the session (the newest; 0
//! for `open`, `tick`, `seed` and `quotas`), `q=` the group's number (the next of the session), `below=` the groups
//! that were answered, `repeat=n` for n commands in one group, of identifiers or, with
//! `spread=true`, of objects that are numbered. In a batch, `at=` stands with `begin`. The tag `[with]` puts a command into the group
//! before it, and `[effects]` shows what is written. With `key=` or `together=true` what is repeated is the same, in
//! one command; with `apart=true` it has keys of its own, which are numbered.
//!
//! After every batch the tables must be sound ([`assert_sound`]).

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Context};

use super::audit::EntryRecord;
use super::idempotency::{KeyRecord, KeysRecord};
use super::invariants::assert_sound;
use super::limiter::Cell;
use super::memory::Memory;
use super::policy::{PoliciesRecord, PolicyRecord};
use super::session::SessionRecord;
use super::token::{TokenRecord, TokensRecord};
use super::*;

#[test]
fn scripts() {
    let mut paths: Vec<_> = std::fs::read_dir("src/machine/testscripts")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        goldenscript::run(&mut Runner::new(), &path).unwrap();
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A machine, and what a script may leave out.
struct Runner {
    machine: Machine,
    rows: Memory,
    namespace: Namespace,
    at_ms: u64,
    session: u64,
    /// The last group of each session.
    sequences: BTreeMap<u64, u64>,
    /// What `begin` has begun.
    batch: Option<Batch>,
    appended: u128,
    /// What was hashed into keys, so that a dump can be read.
    names: BTreeMap<[u8; 16], String>,
    values: BTreeMap<u64, String>,
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, context: &Context) -> Result<String> {
        let mut args = command.consume_args();
        let at_ms = number(&mut args, "at")?.unwrap_or(self.at_ms);
        self.at_ms = self.at_ms.max(at_ms);
        let output = match command.name.as_str() {
            "begin" => {
                self.batch = Some(Batch { at_ms, groups: Vec::new() });
                String::new()
            }
            "apply" => {
                let batch = self.batch.take().ok_or("nothing was begun")?;
                self.apply(batch, context)?
            }
            "dump" => self.dump(&mut args)?,
            "count" => self.count(),
            "groups" => {
                let groups = args.next_pos().ok_or("how many?")?.parse()?;
                self.empty_groups(at_ms, groups, context)?
            }
            "raw" => self.raw(),
            "alarm" => {
                let retention_ms = number(&mut args, "retention")?.unwrap_or(u64::MAX);
                next_alarm(&self.rows, retention_ms)?
                    .map_or("none".to_owned(), |at_ms| at_ms.to_string())
            }
            name => {
                let commands = self.commands(name, &mut args)?;
                let outside = matches!(name, "open" | "tick" | "seed" | "quotas");
                self.group(commands, outside, &mut args, at_ms, context)?
            }
        };
        args.reject_next()?;
        Ok(output)
    }
}

impl Runner {
    fn new() -> Self {
        let rows = Memory::default();
        Self {
            machine: Machine::load(&rows).unwrap(),
            rows,
            namespace: Namespace::new("test-Object"),
            at_ms: 0,
            session: 0,
            sequences: BTreeMap::new(),
            batch: None,
            appended: 0,
            names: BTreeMap::new(),
            values: BTreeMap::new(),
        }
    }

    /// The commands that a line stands for.
    fn commands(&mut self, name: &str, args: &mut ArgumentConsumer) -> Result<Vec<Command>> {
        if name == "open" {
            let node = number(args, "node")?.ok_or("whose session?")?;
            return Ok(vec![Command::OpenSession { node }]);
        }
        if name == "tick" {
            let retention_ms = number(args, "retention")?.unwrap_or(u64::MAX);
            return Ok(vec![Command::Tick(Tick { retention_ms })]);
        }
        if name == "raise" {
            let version = number(args, "to")?.ok_or("to which version?")?;
            return Ok(vec![Command::Raise { version: u8::try_from(version)? }]);
        }
        if name == "seed" {
            return self.seed(args);
        }
        if name == "quotas" {
            return self.quotas(args);
        }
        let subject = args.next_pos().ok_or("of whom?")?;
        if name == "import" {
            return self.import(subject, args);
        }
        if name == "policy" {
            return self.policy(subject, args);
        }
        if name == "token" {
            return new_token(subject, args);
        }
        if name == "revoke" {
            return Ok(vec![Command::RevokeToken { id: token_id(subject.parse()?) }]);
        }
        let repeat = number(args, "repeat")?;
        let spread = args.take_key("spread").is_some();
        let apart = args.take_key("apart").is_some();
        let together = args.take_key("together").is_some();
        let once = take_once(args)?;
        let is_one = !apart && (together || once.is_some());
        let options: BTreeMap<&str, &str> =
            ["object", "limit", "window", "policy", "amount", "body", "day", "nameless"]
                .into_iter()
                .chain(FIELDS)
                .filter_map(|key| Some((key, args.take_key(key)?)))
                .collect();
        let repeated = repeat.filter(|_| !is_one);
        let numbered = |i: u64| repeated.map_or(subject.to_owned(), |_| format!("{subject}-{i}"));
        let commands: Result<Vec<_>> = (0..repeat.unwrap_or(1))
            .map(|i| match name {
                "check" | "reset" | "credit" => {
                    let object = options.get("object").map_or(subject, |name| *name);
                    let object = self.object(object);
                    self.count_command(name, object, numbered(i), &options)
                }
                "append" => {
                    let name = if spread { numbered(i) } else { subject.to_owned() };
                    let object = self.object(&name);
                    self.append(object, &options)
                }
                _ => Err(format!("there is no command {name}").into()),
            })
            .collect();
        if !is_one && !apart {
            return commands;
        }
        let changes = commands?.into_iter().map(|command| match command {
            Command::Check(check) => Change::Check(check),
            Command::Reset(reset) => Change::Reset(reset),
            Command::Append(append) => Change::Log(append),
            Command::CheckByPolicy(check) => Change::CheckByPolicy(check),
            Command::Credit(credit) => Change::Credit(credit),
            other => panic!("{other:?} is no change"),
        });
        if is_one {
            return Ok(vec![Command::Changes { once, changes: changes.collect() }]);
        }
        let once = once.ok_or("apart from what?")?;
        let numbered = changes.enumerate().map(|(i, change)| {
            let id = padded(&format!("{}-{i}", text(&once.key.id)));
            let once = Once { key: IdempotencyKey { id, ..once.key }, ..once };
            Command::Changes { once: Some(once), changes: vec![change] }
        });
        Ok(numbered.collect())
    }

    fn object(&mut self, name: &str) -> ObjectRef {
        let object = self.namespace.object(name);
        self.names.insert(object.id.0, name.to_owned());
        object
    }

    fn count_command(
        &self,
        name: &str,
        object: ObjectRef,
        identifier: String,
        options: &BTreeMap<&str, &str>,
    ) -> Result<Command> {
        if name == "reset" {
            return Ok(Command::Reset(Reset { object, identifier }));
        }
        if name == "credit" {
            let amount = options.get("amount").ok_or("how many?")?.parse()?;
            return Ok(Command::Credit(Credit { object, identifier, amount }));
        }
        if let Some(type_) = options.get("policy") {
            let type_ = (*type_).to_owned();
            return Ok(Command::CheckByPolicy(PolicyCheck { object, identifier, type_ }));
        }
        let requests = options.get("limit").ok_or("which limit?")?.parse()?;
        let window_ms = options.get("window").ok_or("which window?")?.parse()?;
        Ok(Command::Check(Check { object, identifier, requests, window_ms }))
    }

    fn append(&mut self, object: ObjectRef, options: &BTreeMap<&str, &str>) -> Result<Command> {
        self.appended += 1;
        let terms = FIELDS.map(|field| {
            let value = options.get(field)?;
            self.values.insert(audit::term(value), (*value).to_owned());
            Some(audit::term(value))
        });
        Ok(Command::Append(Append {
            // Known by its id alone, if the script says so.
            object: ObjectRef {
                name: object.name.filter(|_| !options.contains_key("nameless")),
                ..object
            },
            day: options.get("day").map(|day| day.parse()).transpose()?,
            id: self.appended.to_be_bytes(),
            terms,
            body: Bytes::copy_from_slice(options.get("body").unwrap_or(&"{}").as_bytes()),
        }))
    }

    /// Of one type, or of as many as are to be, which are numbered.
    fn policy(&self, type_: &str, args: &mut ArgumentConsumer) -> Result<Vec<Command>> {
        let repeat = number(args, "repeat")?;
        let limit = number(args, "limit")?;
        let policy = match (limit, number(args, "window")?) {
            (Some(requests), Some(window_ms)) => Some(Policy { requests, window_ms }),
            (None, None) => None,
            _ => return Err("a policy is a limit and a window".into()),
        };
        let namespace = match args.take_key("space") {
            Some(name) => Namespace::new(name).id(),
            None => self.namespace.id(),
        };
        let set = |type_| Command::SetPolicy(SetPolicy { namespace, type_, policy });
        Ok(match repeat {
            None => vec![set(type_.to_owned())],
            Some(most) => (0..most).map(|i| set(format!("{type_}-{i}"))).collect(),
        })
    }

    fn seed(&self, args: &mut ArgumentConsumer) -> Result<Vec<Command>> {
        let mut policies = Vec::new();
        while let Some(seed) = args.next_pos() {
            let parts: Vec<_> = seed.split('/').collect();
            let [type_, requests, window_ms] = parts[..] else {
                return Err("a seed is TYPE/LIMIT/WINDOW".into());
            };
            let policy = Policy { requests: requests.parse()?, window_ms: window_ms.parse()? };
            let (namespace, type_) = (self.namespace.id(), type_.to_owned());
            policies.push(SetPolicy { namespace, type_, policy: Some(policy) });
        }
        Ok(vec![Command::SeedPolicies { policies }])
    }

    fn quotas(&mut self, args: &mut ArgumentConsumer) -> Result<Vec<Command>> {
        let exempt = args.take_key("exempt").map(|name| self.object(name).id);
        let (bytes, objects_max) = (number(args, "bytes")?, number(args, "objects")?);
        let quota = Quota { object_bytes_max: bytes.unwrap_or(u64::MAX), objects_max, exempt };
        let is_given = bytes.is_some() || objects_max.is_some();
        let quotas = is_given.then_some((self.namespace.id(), quota)).into_iter().collect();
        Ok(vec![Command::SetQuotas { quotas }])
    }

    fn import(&mut self, name: &str, args: &mut ArgumentConsumer) -> Result<Vec<Command>> {
        let retention_ms = number(args, "retention")?.unwrap_or(u64::MAX);
        let keep_expired = args.take_key("keep").is_some();
        let day = number(args, "day")?.unwrap_or(7);
        let object = self.object(name);
        let mut entries = Vec::new();
        while let Some(entry) = args.next_pos() {
            let (at_ms, id) = entry.split_once('/').ok_or("of which id?")?;
            let id = id.replacen('/', "\",\"text\":\"", 1);
            self.values.insert(audit::term("imported"), "imported".to_owned());
            entries.push(ImportedEntry {
                object: object.clone(),
                day: u32::try_from(day)?,
                at_ms: at_ms.parse()?,
                terms: [Some(audit::term("imported")), None, None, None],
                body: format!(r#"{{"id":"{id}"}}"#).into(),
            });
        }
        Ok(vec![Command::Import { retention_ms, import: Import { keep_expired, entries } }])
    }

    /// Applies a group, or puts it into the batch that was begun.
    fn group(
        &mut self,
        commands: Vec<Command>,
        outside: bool,
        args: &mut ArgumentConsumer,
        at_ms: u64,
        context: &Context,
    ) -> Result<String> {
        if context.tags.contains("with") {
            let batch = self.batch.as_mut().ok_or("a group stands in a batch")?;
            let group = batch.groups.last_mut().ok_or("there is no group yet")?;
            Arc::make_mut(&mut group.commands).extend(commands);
            return Ok(String::new());
        }
        let session = if outside { 0 } else { self.session };
        let session = number(args, "s")?.unwrap_or(session);
        let last = self.sequences.entry(session).or_default();
        let sequence = number(args, "q")?.unwrap_or(*last + 1);
        *last = sequence.max(*last);
        let answered_below = number(args, "below")?.unwrap_or(0);
        let group = Group { session, sequence, answered_below, commands: Arc::new(commands) };
        match &mut self.batch {
            Some(batch) => {
                batch.groups.push(group);
                Ok(String::new())
            }
            None => self.apply(Batch { at_ms, groups: vec![group] }, context),
        }
    }

    /// Applies groups without commands, one by one.
    fn empty_groups(&mut self, at_ms: u64, groups: u64, context: &Context) -> Result<String> {
        let session = self.session;
        let mut output = String::new();
        for _ in 0..groups {
            let sequence = self.sequences.entry(session).or_default();
            *sequence += 1;
            let group = Group {
                session,
                sequence: *sequence,
                answered_below: 0,
                commands: Arc::new(Vec::new()),
            };
            output += &self.apply(Batch { at_ms, groups: vec![group] }, context)?;
        }
        Ok(output)
    }

    fn apply(&mut self, batch: Batch, context: &Context) -> Result<String> {
        let (outcomes, effects) = self.machine.apply(&self.rows, &batch)?;
        self.rows.make(&effects);
        assert_sound(&self.machine, &self.rows);
        let mut output = String::new();
        for outcome in &outcomes {
            self.show_group(&mut output, outcome)?;
        }
        if context.tags.contains("effects") {
            self.show_effects(&mut output, &effects)?;
        }
        Ok(output)
    }

    fn show_group(&mut self, output: &mut String, outcome: &GroupOutcome) -> Result<()> {
        let GroupOutcome::Done(outcomes) = outcome else {
            return Ok(writeln!(output, "{outcome:?}")?);
        };
        if outcomes.is_empty() {
            writeln!(output, "no commands")?;
        }
        for outcome in outcomes {
            if let Outcome::SessionOpened { session } = outcome {
                self.session = *session;
            }
            writeln!(output, "{}", show_outcome(outcome))?;
        }
        Ok(())
    }

    fn show_effects(&self, output: &mut String, effects: &Effects) -> Result<()> {
        // The machine's registers are written with every batch that is applied.
        let is_shown = |write: &&Write| !matches!(write, Write::Put { table: Table::Register, key, .. } if key == keys::MACHINE);
        let writes = effects.writes.iter().filter(is_shown);
        let before = output.len();
        for write in writes {
            match write {
                Write::Put { table, key, value } => {
                    writeln!(output, "  put {}", self.row(*table, key, value)?)?;
                }
                Write::Delete { table, key } => {
                    writeln!(output, "  delete {} {}", table.name(), self.key(*table, key))?;
                }
                Write::DeleteRange { table, from, to } => {
                    let (from, to) = (hex::encode(from), hex::encode(to));
                    writeln!(output, "  delete {} {from}..{to}", table.name())?;
                }
            }
        }
        if output.len() == before {
            writeln!(output, "  no writes")?;
        }
        for Crowded { object, used, most, is_refused, .. } in &effects.crowded {
            let what = object.map_or("objects", |object| self.names[&object.0].as_str());
            let refused = if *is_refused { ", and more was refused" } else { "" };
            writeln!(output, "  crowded: {what}, {used} of {most}{refused}")?;
        }
        Ok(())
    }

    fn dump(&self, args: &mut ArgumentConsumer) -> Result<String> {
        let mut tables = Vec::new();
        while let Some(name) = args.next_pos() {
            let table = Table::ALL.into_iter().find(|table| table.name() == name);
            tables.push(table.ok_or("there is no such table")?);
        }
        if tables.is_empty() {
            tables.extend(Table::ALL);
            tables.retain(|table| !matches!(table, Table::Register | Table::Answer));
        }
        let mut output = String::new();
        for table in tables {
            for (key, value) in self.rows.table(table) {
                writeln!(output, "{}", self.row(table, key, value)?)?;
            }
        }
        if output.is_empty() {
            output.push_str("no rows");
        }
        Ok(output)
    }

    fn count(&self) -> String {
        let counts =
            Table::ALL.map(|table| format!("{}={}", table.name(), self.rows.table(table).count()));
        counts.join(" ")
    }

    fn raw(&self) -> String {
        let rows = Table::ALL.into_iter().flat_map(|table| {
            self.rows.table(table).map(move |(key, value)| {
                let value = if value.is_empty() { "-".to_owned() } else { hex::encode(value) };
                format!("{} {} {value}\n", table.name(), hex::encode(key))
            })
        });
        rows.collect()
    }

    fn row(&self, table: Table, key: &[u8], value: &[u8]) -> Result<String> {
        let key = self.key(table, key);
        let value = match table {
            Table::Register if key == "keys" => {
                let KeysRecord { answers, from_ms } = codec::decode(value)?;
                format!("answers={answers} from={from_ms}")
            }
            Table::Register if key == "policies" => {
                let PoliciesRecord { policies, changes } = codec::decode(value)?;
                format!("policies={policies} changes={changes}")
            }
            Table::Register if key.starts_with("policy ") => {
                let PolicyRecord { policy, updated_ms, revision } = codec::decode(value)?;
                let Policy { requests, window_ms } = policy;
                format!(
                    "limit={requests} window={window_ms} updated={updated_ms} revision={revision}"
                )
            }
            Table::Register if key == "tokens" => {
                let TokensRecord { tokens, changes } = codec::decode(value)?;
                format!("tokens={tokens} changes={changes}")
            }
            Table::Register if key == "version" => codec::decode::<u8>(value)?.to_string(),
            Table::Register if key == "spaces" => show_spaces(&codec::decode(value)?),
            Table::Register if key.starts_with("token ") => {
                show_token(&TokenRecord::decode(value)?)
            }
            Table::Register => {
                let registers: Registers = codec::decode(value)?;
                let Registers { now_ms, sessions, shards, .. } = registers;
                format!("now={now_ms} sessions={sessions} shards={shards}")
            }
            Table::Alarm if key.starts_with("kept ") => {
                let KeyRecord { fingerprint, expires_ms, answers } = codec::decode(value)?;
                let answers: Vec<_> = answers.iter().map(show_kept).collect();
                format!("of={} expires={expires_ms} {}", text(&fingerprint), answers.join("; "))
            }
            Table::Object => show_object(&codec::decode(value)?),
            Table::Cell => {
                let Cell { count, window_start_ms, ends_ms, alarm_ms } = codec::decode(value)?;
                format!("count={count} start={window_start_ms} ends={ends_ms} alarm={alarm_ms}")
            }
            Table::Entry => {
                let entry = EntryRecord::decode(value)?;
                format!("at={} {}", entry.at_ms, String::from_utf8_lossy(entry.body))
            }
            Table::Day => self.names[value].clone(),
            Table::Session => {
                let SessionRecord { node, used_ms, answered_below } = codec::decode(value)?;
                format!("node={node} used={used_ms} below={answered_below}")
            }
            Table::Answer => {
                let outcomes: Vec<Outcome> = codec::decode(value)?;
                outcomes.iter().map(show_outcome).collect::<Vec<_>>().join("; ")
            }
            Table::Alarm if !value.is_empty() => "measured".to_owned(),
            Table::Alarm | Table::Index => String::new(),
        };
        Ok(format!("{} {key} {value}", table.name()).trim_end().to_owned())
    }

    /// A key as a reader wants it.
    fn key(&self, table: Table, key: &[u8]) -> String {
        let number = |at: usize| u64::from_be_bytes(*key[at..].first_chunk().unwrap());
        match table {
            Table::Register => match (keys::split_policy(key), keys::split_token(key)) {
                (Some((namespace, type_)), _) if namespace == self.namespace.id() => {
                    format!("policy {type_}")
                }
                (Some((_, type_)), _) => format!("policy elsewhere/{type_}"),
                (None, Some(id)) => format!("token {}", u64::from_be_bytes(id.0)),
                (None, None) => String::from_utf8_lossy(key).into_owned(),
            },
            Table::Object | Table::Cell => self.subject(key),
            Table::Alarm => match keys::split_kept(key) {
                Some(id) => format!("kept {}", text(&id)),
                None => {
                    let kind = ["window", "shard", "key"][usize::from(key[0])];
                    let (at_ms, subject) = keys::split_alarm(key).unwrap();
                    let subject = match kind {
                        "key" => text(subject),
                        _ => self.subject(subject),
                    };
                    format!("{kind} {at_ms} {subject}")
                }
            },
            Table::Entry | Table::Answer => format!("{}/{}", number(0), number(8)),
            Table::Index => {
                let (field, value) = (FIELDS[usize::from(key[8])], &self.values[&number(9)]);
                format!("{}/{field}={value}/{}", number(0), number(17))
            }
            Table::Day => u32::from_be_bytes(*key[8..].first_chunk().unwrap()).to_string(),
            Table::Session => number(0).to_string(),
        }
    }

    /// An object's name, and the identifier in it if there is one.
    fn subject(&self, key: &[u8]) -> String {
        let (object, identifier) = key.split_at(keys::OBJECT_BYTES);
        let name = &self.names[&object[8..]];
        match identifier {
            [] => name.clone(),
            identifier => format!("{name}/{}", String::from_utf8_lossy(identifier)),
        }
    }
}

/// The indexed fields, in the order of [`Field::ALL`].
const FIELDS: [&str; 4] = ["type", "action", "user", "ip"];

fn number(args: &mut ArgumentConsumer, key: &str) -> Result<Option<u64>> {
    Ok(args.take_key(key).map(str::parse).transpose()?)
}

fn token_id(number: u64) -> TokenId {
    TokenId(number.to_be_bytes())
}

fn new_token(name: &str, args: &mut ArgumentConsumer) -> Result<Vec<Command>> {
    let some = |text: Option<&str>| text.map(str::to_owned).into_iter().collect();
    let token = Token {
        name: name.to_owned(),
        scopes: Scopes(u8::try_from(number(args, "scopes")?.unwrap_or(1))?),
        bindings: some(args.take_key("binding")),
        name_prefixes: some(args.take_key("prefix")),
        expires_ms: number(args, "expires")?,
        sha256: Sha256::digest(name.as_bytes()).into(),
    };
    let id = token_id(number(args, "id")?.ok_or("of which id?")?);
    let new = NewToken { id, token };
    Ok(vec![match number(args, "rate")? {
        None => Command::CreateToken(new),
        Some(rate) => {
            let requests_per_second = u32::try_from(rate)?;
            Command::CreateLimitedToken(LimitedToken { new, requests_per_second })
        }
    }])
}

fn show_token(record: &TokenRecord) -> String {
    let TokenRecord { token, created_ms, requests_per_second } = record;
    let Token { name, scopes, bindings, name_prefixes, expires_ms, .. } = token;
    let scopes = scopes.names().collect::<Vec<_>>().join("+");
    let expires = expires_ms.map_or("never".to_owned(), |ms| ms.to_string());
    let places = [bindings.join("+"), name_prefixes.join("+")].join("/");
    let rate = requests_per_second.map_or(String::new(), |rate| format!(" rate={rate}"));
    format!("name={name} may={scopes} of={places} created={created_ms} expires={expires}{rate}")
}

fn show_spaces(SpacesRecord { uncounted_from, spaces }: &SpacesRecord) -> String {
    let show = |Space { quota, objects, bytes }: &Space| {
        let quota = quota.map_or("none".to_owned(), |quota| {
            let objects = quota.objects_max.map_or("any".to_owned(), |most| most.to_string());
            let exempt = if quota.exempt.is_some() { " but one" } else { "" };
            format!("{}/{objects}{exempt}", quota.object_bytes_max)
        });
        format!("objects={objects} bytes={bytes} quota={quota}")
    };
    let spaces = spaces.values().map(show).collect::<Vec<_>>().join("; ");
    let more = if uncounted_from.is_some() { " and some uncounted" } else { "" };
    format!("{spaces}{more}")
}

/// Under which key, if any, and for which request; both are the names themselves and no hashes.
fn take_once(args: &mut ArgumentConsumer) -> Result<Option<Once>> {
    let Some(name) = args.take_key("key") else { return Ok(None) };
    let fingerprint = args.take_key("request").unwrap_or("request");
    let ttl_ms = number(args, "ttl")?;
    let key = IdempotencyKey { id: padded(name), fingerprint: padded(fingerprint), ttl_ms };
    let retention_ms = number(args, "keep")?.unwrap_or(1000);
    let answers_max = number(args, "most")?.unwrap_or(1000);
    Ok(Some(Once { key, keeping: Keeping { retention_ms, answers_max } }))
}

fn padded(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// The name in [`padded`] bytes.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

fn show_kept(answer: &Option<Answer>) -> String {
    answer.map_or("nothing".to_owned(), |answer| show_outcome(&answer.into()))
}

fn show_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::SessionOpened { session } => format!("session {session}"),
        Outcome::Checked(Decision { allowed, limit, remaining, reset_ms, now_ms }) => {
            let allowed = if *allowed { "admitted" } else { "refused" };
            format!("{now_ms}: {allowed}, {remaining} of {limit} remain until {reset_ms}")
        }
        Outcome::Reset => "reset".to_owned(),
        Outcome::Credited(Credited { credited, window, now_ms }) => {
            let left = window.map_or("no window".to_owned(), |window| {
                let limiter::Window { count, start_ms, ends_ms } = window;
                format!("{count} counted from {start_ms} to {ends_ms}")
            });
            format!("{now_ms}: {credited} given back, {left}")
        }
        Outcome::Logged { id } => format!("logged {}", u128::from_be_bytes(*id)),
        Outcome::Ticked(Ticked { windows, entries, shards, more }) => {
            let more = if *more { ", more is due" } else { "" };
            format!("ticked: {windows} windows, {entries} entries, {shards} shards{more}")
        }
        Outcome::Refused(refusal) => format!("not carried out: {refusal:?}"),
        Outcome::Raised { version } => format!("raised to {version}"),
        Outcome::PolicySet { existed } => {
            format!("set, {}", if *existed { "in place of one" } else { "where there was none" })
        }
        Outcome::PoliciesSeeded { policies } => format!("{policies} seeded"),
        Outcome::TokenCreated { created_ms } => format!("{created_ms}: created"),
        Outcome::TokenRevoked { existed } => {
            format!("revoked, {}", if *existed { "one" } else { "where there was none" })
        }
        Outcome::QuotasSet => "quotas are set".to_owned(),
        Outcome::Imported(placed) => placed.iter().map(show_placed).collect::<Vec<_>>().join("; "),
        Outcome::Changed(answered) => {
            let show = |Answered { answer, replayed }: &Answered| {
                let replayed = if *replayed { "replayed: " } else { "" };
                format!("{replayed}{}", show_outcome(&(*answer).into()))
            };
            answered.iter().map(show).collect::<Vec<_>>().join("; ")
        }
    }
}

fn show_placed(placed: &Placed) -> String {
    match placed {
        Placed::Added => "added".to_owned(),
        Placed::Present => "present".to_owned(),
        Placed::Refused(refusal) => format!("not taken: {refusal:?}"),
    }
}

fn show_object(record: &ObjectRecord) -> String {
    let name = record.name.as_deref().unwrap_or("-");
    let created_ms = record.created_ms;
    match &record.state {
        ObjectState::Limiter { cells } => {
            format!("name={name} created={created_ms} cells={cells}")
        }
        ObjectState::Measured(Measured { cells, measured, identifier_bytes }) => {
            format!(
                "name={name} created={created_ms} cells={cells} measured={measured} \
                 identifiers={identifier_bytes}"
            )
        }
        ObjectState::Shard(shard) => {
            let Shard { number, first_sequence, next_sequence, first_ms, last_ms, bytes, .. } =
                shard;
            let day = shard.day.map_or("-".to_owned(), |day| day.to_string());
            format!(
                "name={name} created={created_ms} shard={number} day={day} \
                 entries={first_sequence}..{next_sequence} from={first_ms} to={last_ms} \
                 bytes={bytes}"
            )
        }
    }
}
