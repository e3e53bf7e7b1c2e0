//! The inputs that the corpus begins with, as values: so that a change of the encoding, or of what a
//! message holds, is followed by `cargo nextest run --release write_seeds --run-ignored all`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{EntryOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};
use openraft::{EntryPayload, Membership};
use serde::Serialize;
use tallykeep::archive;
use tallykeep::codec;
use tallykeep::machine::audit::EntryRecord;
use tallykeep::machine::idempotency::{KeyRecord, KeysRecord};
use tallykeep::machine::limiter::Cell;
use tallykeep::machine::session::SessionRecord;
use tallykeep::machine::{
    self, Answer, Answered, Append, Batch, Check, Command, Decision, Draft, Group, GroupOutcome,
    IdempotencyKey, Import, ImportedEntry, Keeping, Machine, Measured, Namespace, ObjectRecord,
    ObjectState, Once, Outcome, Placed, Quota, Refusal, Request, Reset, Shard, ShardRef, Space,
    SpacesRecord, Table, Tick, Ticked, View, keys,
};
use tallykeep::peer::{Hello, Kind};
use tallykeep::propose::{ForwardReply, SubmitError};
use tallykeep::raft::{
    Change, Changed, Disk, EncodedBatch, Member, NodeAddress, Role, Status, TypeConfig,
};
use tallykeep::storage::{FileEntry, Manifest};

use super::corpus;
use super::targets::Store;

/// A seed: its target, its name, and its bytes.
type Seed = (&'static str, &'static str, Vec<u8>);

#[test]
#[ignore = "writes fuzz/corpus"]
fn write_seeds() {
    for (target, name, bytes) in all() {
        let dir = corpus::folder(target);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), bytes).unwrap();
    }
}

#[test]
fn the_corpus_holds_the_seeds_as_they_are_now() {
    for (target, name, bytes) in all() {
        let kept = fs::read(corpus::folder(target).join(name)).ok();
        assert_eq!(kept.as_ref(), Some(&bytes), "{target}/{name}: see the top of seeds.rs");
    }
}

#[test]
fn the_corpus_stays_small() {
    let targets = super::targets::TARGETS.into_iter().map(|(target, _)| target);
    let inputs = targets.flat_map(corpus::kept);
    let bytes: usize = inputs.map(|(_, input)| input.len()).sum();
    assert!(bytes <= 200 * 1024, "{bytes} bytes");
}

fn all() -> Vec<Seed> {
    [texts(), messages(), values(), lists(), cursors(), archives()].concat()
}

fn texts() -> Vec<Seed> {
    let texts = [
        (
            "check_body",
            "guide",
            r#"{"identifier":"user-123","config":{"requests":100,"windowMs":60000},"type":"wix"}"#,
        ),
        (
            "check_body",
            "spaced",
            " {\n\t\"config\" : { \"windowMs\" : 1, \"requests\" : 0, \"x\":[1.5e3] } , \"identifier\":\"\\u00e9\\/😀\", \"type\":null }",
        ),
        (
            "check_body",
            "bounds",
            r#"{"identifier":"a","config":{"requests":9007199254740991,"windowMs":34560000000}}"#,
        ),
        (
            "check_body",
            "twice",
            r#"{"identifier":"u","\u0069dentifier":"u","config":{"requests":1,"windowMs":1}}"#,
        ),
        ("check_body", "array", r#"["u",null,{"requests":1,"windowMs":1}]"#),
        (
            "check_body",
            "control",
            r#"{"identifier":"a\u0085","config":{"requests":1,"windowMs":1}}"#,
        ),
        (
            "log_body",
            "guide",
            r#"{"type":"wix_request","action":"api_call","userId":"user-123","ip":"1.2.3.4","details":{"path":"/api/wix/content","method":"POST"}}"#,
        ),
        (
            "log_body",
            "claims",
            r#"{"id":"mine","timestamp":12345678901234567890123,"type":"t","action":"a","more":[{"a":{}},-0,1E+2],"details":{ "nested" : [ [ [ ] ] ], "control":"\u0000\n" }}"#,
        ),
        ("log_body", "nulls", r#"{"type":"t","action":"a","userId":null,"ip":null}"#),
        ("log_body", "surrogates", r#"{"type":"\ud83d\ude00","action":"\ud800","details":{}}"#),
        (
            "log_body",
            "duplicate",
            r#"{"type":"t","action":"a","details":{"x":{"é":1,"\u00e9":2}}}"#,
        ),
        (
            "query_body",
            "guide",
            r#"{"startTime":0,"endTime":253402300799999,"type":"red","action":"act","userId":"","ip":"::1","limit":100,"order":"asc"}"#,
        ),
        ("query_body", "empty", "{}"),
        ("query_body", "cursor", r#"{"limit":3,"cursor":"00","type":"blue","order":"desc"}"#),
        ("query_body", "unknown", r#"{"typ":"wix"}"#),
        ("query_body", "range", r#"{"startTime":2,"endTime":1}"#),
        (
            "batch_body",
            "checks",
            r#" { "checks" : [ {"identifier":"a","config":{"requests":1,"windowMs":1}} , null,[1.0] ] } "#,
        ),
        ("batch_body", "unknown", r#"{"checks":[{}],"entries":[]}"#),
        ("batch_body", "twice", r#"{"checks":[{}],"\u0063hecks":[7]}"#),
        ("batch_body", "empty", r#"{"checks":[]}"#),
        ("batch_body", "no-array", r#"{"checks":{"0":{}}}"#),
        ("idempotency_key", "quoted", r#""8e03978e-40d5 \"so\" \\""#),
        ("idempotency_key", "bare", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("idempotency_key", "two", r#""a", "b""#),
        ("idempotency_key", "open", r#""a\"#),
        ("idempotency_key", "parameter", r#""a";p=1"#),
        ("idempotency_key", "ttl", r#""a"; ttl=60"#),
        ("members_body", "add", r#"{"add":{"id":4,"http":"127.0.0.1:7004","peer":"[::1]:7104"}}"#),
        ("members_body", "promote", r#"{"promote":{"id":4,"insteadOf":2,"force":true}}"#),
        ("members_body", "remove", r#"{ "remove" : { "id" : 18446744073709551615 } }"#),
        ("members_body", "lead", r#"{"lead":{"id":1}}"#),
        ("members_body", "address", r#"{"add":{"id":4,"http":"127.0.0.1","peer":":0"}}"#),
        ("members_body", "unknown", r#"{"promote":{"id":4,"forced":true}}"#),
        (
            "export_parameters",
            "all",
            "format=csv&csvEscape=none&startTime=1&endTime=2&order=asc&type=a+b&action=c%2Bd&userId=%C3%A9&ip=::1",
        ),
        ("export_parameters", "none", ""),
        ("export_parameters", "ndjson", "order=desc&format=ndjson&ip=%00"),
        ("export_parameters", "twice", "format=json&format=json"),
        ("export_parameters", "broken", "startTime=%&type=%zz&=&&"),
        ("object_path", "name", "/do/RATE_LIMITER/name/wix%3A192.168.1.1/check"),
        ("object_path", "slash", "/do/%52ATE_LIMITER/name/a%2Fb%00%F0%9F%98%80/reset"),
        ("object_path", "raw", "/do/RATE_LIMITER/name/é+ü/check"),
        ("object_path", "broken", "/do/RATE_LIMITER/name/%C3/check"),
        ("object_path", "class", "/do/AUDIT_LOGGER/name/2024-01-15/log"),
        ("object_path", "binding", "/do/NOTHING/id/00/check"),
        ("object_path", "short", "/do//name"),
    ];
    let mut seeds: Vec<Seed> =
        texts.into_iter().map(|(target, name, text)| (target, name, text.into())).collect();
    let limiters = Namespace::new("script-RateLimiter");
    let path = |id: &str| format!("/do/RATE_LIMITER/id/{id}/check").into_bytes();
    let id = limiters.hex(limiters.object("a").id);
    seeds.push(("object_path", "id", path(&id.to_uppercase())));
    let foreign = Namespace::new("other-RateLimiter");
    seeds.push(("object_path", "foreign", path(&foreign.hex(foreign.object("a").id))));
    let long = "x".repeat(600);
    seeds.push(("object_path", "long", path(&long)));
    let body =
        format!(r#"{{"type":"t","action":"a","details":{}{}}}"#, "[".repeat(70), "]".repeat(70));
    seeds.push(("log_body", "deep", body.replace(":[", ":{\"a\":[").replace("]}", "]}}").into()));
    seeds
}

fn cursors() -> Vec<Seed> {
    let forged = |what: u8, has_day: u8, day: u32, shard: u64, boundary: u64| {
        let head = [what, 2, 1, has_day];
        [&head[..], &day.to_be_bytes(), &shard.to_be_bytes(), &boundary.to_be_bytes()].concat()
    };
    vec![
        ("cursor", "namespace", forged(0b1100, 1, 1, 2, 5)),
        ("cursor", "ascending", forged(0b1110, 1, 2, 3, 5)),
        ("cursor", "filtered", forged(0b0010, 1, 0, 1, 4)),
        ("cursor", "object", forged(0b1_1101, 0, 0, 2, 7)),
        ("cursor", "ends", forged(0b1101, 0, 0, u64::MAX, u64::MAX)),
        ("cursor", "last-day", forged(0b1110, 1, u32::MAX, u64::MAX, u64::MAX)),
        ("cursor", "wrong-scope", forged(0b1100, 0, 0, 1, 1)),
        ("cursor", "text", [&[0, 0, 0][..], b"0200000000"].concat()),
    ]
}

// --- messages ---------------------------------------------------------------------------------

fn log_id(index: u64) -> LogIdOf<TypeConfig> {
    LogIdOf::<TypeConfig>::new_term_index(3, index)
}

fn vote() -> VoteOf<TypeConfig> {
    VoteOf::<TypeConfig>::new_committed(3, 1)
}

fn membership() -> Membership<u64, NodeAddress> {
    let voters = BTreeSet::from([1, 2, 3]);
    let address =
        |id| NodeAddress { http: format!("127.0.0.1:700{id}"), peer: format!("127.0.0.1:710{id}") };
    let nodes: BTreeMap<u64, NodeAddress> = voters.iter().map(|id| (*id, address(*id))).collect();
    Membership::new(vec![voters], nodes).expect("every voter has an address")
}

fn entries() -> Vec<EntryOf<TypeConfig>> {
    let batch = EncodedBatch(codec::encode(&plain()).into());
    [EntryPayload::Blank, EntryPayload::Normal(batch), EntryPayload::Membership(membership())]
        .into_iter()
        .zip(7..)
        .map(|(payload, index)| EntryOf::<TypeConfig> { log_id: log_id(index), payload })
        .collect()
}

fn messages() -> Vec<Seed> {
    const REPLY: u8 = 0x80;
    let mut seeds: Vec<Seed> = Vec::new();
    let mut add = |name, kind: u8, payload: Vec<u8>| {
        seeds.push(("peer_message", name, [&[kind][..], &payload].concat()));
    };
    let forwarded = Group {
        session: 4,
        sequence: 2,
        answered_below: 1,
        commands: Arc::new(vec![
            Request::OpenSession { node: 2 },
            Request::Check(check(5, 1_000)),
            Request::Reset(reset()),
            Request::Log(draft(true)),
            Request::Log(draft(false)),
            Request::Tick(Tick { retention_ms: 1_000 }),
            Request::Changes {
                key: Some(IdempotencyKey {
                    id: [1; 16],
                    fingerprint: [2; 16],
                    ttl_ms: Some(60_000),
                }),
                changes: vec![
                    machine::Change::Check(check(5, 1_000)),
                    machine::Change::Reset(reset()),
                    machine::Change::Log(draft(true)),
                ],
            },
            Request::Import(import(false, &[(900, "a"), (900, "b")])),
        ]),
    };
    add("hello", 0, codec::encode(&Hello::new("black-box", 2, 1)));
    add("welcome", REPLY, codec::encode(&Ok::<(), String>(())));
    add("unwelcome", REPLY, codec::encode(&Err::<(), String>("this is node 1".to_owned())));
    let append = AppendEntriesRequest::<TypeConfig> {
        vote: vote(),
        prev_log_id: Some(log_id(6)),
        entries: entries(),
        leader_commit: Some(log_id(5)),
    };
    add("append", Kind::Append as u8, codec::encode(&append));
    let heartbeat = AppendEntriesRequest::<TypeConfig> {
        vote: vote(),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    add("heartbeat", Kind::Append as u8, codec::encode(&heartbeat));
    let ask = VoteRequest::<TypeConfig>::new(VoteOf::<TypeConfig>::new(4, 2), Some(log_id(9)));
    add("vote", Kind::Vote as u8, codec::encode(&ask));
    let transfer = TransferLeaderRequest::<TypeConfig>::new(vote(), 2, Some(log_id(9)));
    add("transfer", Kind::TransferLeader as u8, codec::encode(&transfer));
    add("snapshot-begin", Kind::SnapshotBegin as u8, codec::encode(&(vote(), files())));
    let chunk = ("000012.sst", 1_048_576u64, Bytes::from_static(b"a piece of a table"));
    add("snapshot-chunk", Kind::SnapshotChunk as u8, codec::encode(&chunk));
    add("snapshot-end", Kind::SnapshotEnd as u8, codec::encode(&vote()));
    add("forward", Kind::Forward as u8, codec::encode(&forwarded));
    let members: BTreeMap<u64, NodeAddress> =
        membership().nodes().map(|(id, node)| (*id, node.clone())).collect();
    add("bootstrap", Kind::Bootstrap as u8, codec::encode(&members));
    let change = Change::Promote { id: 4, instead_of: Some(2), force: false };
    add("change", Kind::Change as u8, codec::encode(&change));
    add("unknown-kind", 99, Vec::new());
    // A name of 2^30 bytes, says its length.
    add("claims-a-gigabyte", Kind::SnapshotChunk as u8, vec![codec::VERSION, 252, 0, 0, 0, 64, 1]);
    // 32 MiB, which a frame could hold, and this one does not.
    add("claims-a-frame", Kind::SnapshotChunk as u8, vec![codec::VERSION, 252, 0, 0, 0, 2, 1]);

    let reply = |kind: Kind| kind as u8 | REPLY;
    for (name, answer) in [
        ("append-done", AppendEntriesResponse::<TypeConfig>::Success),
        ("append-part", AppendEntriesResponse::PartialSuccess(Some(log_id(7)))),
        ("append-late", AppendEntriesResponse::HigherVote(vote())),
    ] {
        add(name, reply(Kind::Append), codec::encode(&answer));
    }
    let voted = VoteResponse::<TypeConfig>::new(vote(), Some(log_id(9)), true);
    add("voted", reply(Kind::Vote), codec::encode(&voted));
    let installed = SnapshotResponse::<TypeConfig>::new(vote());
    add("installed", reply(Kind::SnapshotEnd), codec::encode(&installed));
    let member = Member {
        id: 4,
        voter: true,
        http: "127.0.0.1:7004".to_owned(),
        peer: "127.0.0.1:7104".to_owned(),
    };
    let changed = Ok::<_, ()>(Changed { members: vec![member] });
    add("changed", reply(Kind::Change), codec::encode(&changed));
    let status = Status {
        id: 2,
        role: Role::Follower,
        leader: Some(1),
        term: 3,
        last_log: Some(9),
        applied: Some(9),
        ready: true,
        formed: true,
        wall_ms: 1_795_442_144_083,
        clock_trusted: true,
        disk: Disk::Ample,
        members: membership().nodes().map(|(id, node)| (*id, node.clone())).collect(),
        version_max: 3,
        restored: Some("00".repeat(32)),
    };
    let status = serde_json::to_vec(&status).expect("a status is JSON");
    add("status", reply(Kind::Status), status);
    add("read-index", reply(Kind::ReadIndex), codec::encode(&(9u64, 1_795_442_144_083u64)));
    let nodes: BTreeMap<u64, NodeAddress> =
        membership().nodes().map(|(id, node)| (*id, node.clone())).collect();
    add("begins", Kind::Begin as u8, codec::encode(&("00".repeat(32), nodes)));
    add("rejoins", Kind::Rejoin as u8, codec::encode(&3u8));
    add("rejoin", reply(Kind::Rejoin), codec::encode(&Some((3u64, 9u64))));
    let decided = ForwardReply::Decided(GroupOutcome::Done(outcomes()));
    add("decided", reply(Kind::Forward), codec::encode(&decided));
    let refused = ForwardReply::Refused(SubmitError::NotLeader);
    add("refused", reply(Kind::Forward), codec::encode(&refused));
    seeds
}

fn files() -> Manifest {
    let file = |name: &str, bytes| FileEntry { name: name.to_owned(), bytes, crc32: 42 };
    let meta = SnapshotMetaOf::<TypeConfig> {
        last_log_id: Some(log_id(9)),
        last_membership: StoredMembershipOf::<TypeConfig>::new(Some(log_id(0)), membership()),
    };
    let files = vec![file("000012.sst", 300_000), file("CURRENT", 16), file("MANIFEST-000005", 99)];
    Manifest { meta: codec::encode(&meta), files }
}

fn lists() -> Vec<Seed> {
    let other = |change: fn(&mut Manifest)| {
        let mut manifest = files();
        change(&mut manifest);
        codec::encode(&manifest)
    };
    vec![
        ("manifest", "plain", codec::encode(&files())),
        ("manifest", "empty", other(|list| list.files.clear())),
        ("manifest", "large", other(|list| list.files.iter_mut().for_each(|f| f.bytes = u64::MAX))),
        ("manifest", "twice", other(|list| list.files.push(list.files[2].clone()))),
        ("manifest", "disorder", other(|list| list.files.reverse())),
        ("manifest", "elsewhere", other(|list| list.files[0].name = "../../etc/passwd".into())),
        ("manifest", "hidden", other(|list| list.files[0].name = ".0".into())),
    ]
}

fn archives() -> Vec<Seed> {
    const BODIES: [&[u8]; 3] = [b"MANIFEST-000005\n", b"", &[7; 600]];
    let names = ["CURRENT", "000012.log", "000013.sst"];
    let files = names
        .into_iter()
        .zip(BODIES)
        .map(|(name, body)| archive::File { name: name.to_owned(), bytes: body.len() as u64 });
    let contents = archive::Contents {
        format: archive::FORMAT,
        tallykeep: "0.1.0".to_owned(),
        cluster: "test".to_owned(),
        node: 2,
        term: 3,
        applied: 4711,
        clock_ms: 1_795_442_144_083,
        state_hash: "00".repeat(32),
        version: 3,
        files: files.collect(),
    };
    let archive = |contents: &archive::Contents| {
        let mut bytes = Vec::new();
        let mut bodies = BODIES.into_iter();
        archive::write(contents, |_| Ok(bodies.next().unwrap()), &mut bytes).unwrap();
        bytes
    };
    let whole = archive(&contents);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let later = archive::Contents { format: archive::FORMAT + 1, ..contents.clone() };
    let mut elsewhere = whole.clone();
    let name = whole.windows(7).position(|window| window == b"CURRENT").unwrap();
    elsewhere[name..name + 7].copy_from_slice(b"../../x");
    vec![
        ("archive", "cut", whole[..whole.len() - 1].to_vec()),
        ("archive", "flipped", flipped),
        ("archive", "later", archive(&later)),
        ("archive", "elsewhere", elsewhere),
        ("archive", "whole", whole),
    ]
}

// --- what is stored ---------------------------------------------------------------------------

fn outcomes() -> Vec<Outcome> {
    let decision = Decision {
        allowed: true,
        limit: 5,
        remaining: 4,
        reset_ms: 1_000_060_000,
        now_ms: 1_000_000_000,
    };
    vec![
        Outcome::SessionOpened { session: 4 },
        Outcome::Checked(decision),
        Outcome::Reset,
        Outcome::Logged { id: [7; 16] },
        Outcome::Ticked(Ticked { windows: 1, entries: 2, shards: 3, more: true }),
        Outcome::Refused(Refusal::OtherClass),
        Outcome::Raised { version: 3 },
        Outcome::Changed(vec![
            Answered { answer: Answer::Checked(decision), replayed: true },
            Answered { answer: Answer::Reset, replayed: false },
            Answered { answer: Answer::Logged { id: [7; 16] }, replayed: false },
            Answered { answer: Answer::Refused(Refusal::OtherClass), replayed: false },
        ]),
        Outcome::Refused(Refusal::KeyReused),
        Outcome::Refused(Refusal::KeysFull),
        Outcome::Imported(vec![
            Placed::Added,
            Placed::Present,
            Placed::Refused(Refusal::ImportOrder),
            Placed::Refused(Refusal::ImportConflict),
            Placed::Refused(Refusal::ImportExpired),
            Placed::Refused(Refusal::ImportFuture),
        ]),
    ]
}

fn values() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let mut add = |name, sort: u8, value: Vec<u8>| {
        seeds.push(("stored_value", name, [&[sort][..], &value].concat()));
    };
    let cell = Cell { count: 3, window_start_ms: 1_000, ends_ms: 61_000, alarm_ms: 61_000 };
    add("cell", 0, codec::encode(&cell));
    let record = |state| ObjectRecord { name: Some("wix:1".into()), created_ms: 1_000, state };
    add("limiter", 1, codec::encode(&record(ObjectState::Limiter { cells: 2 })));
    let shard = Shard {
        number: 1,
        day: Some(19_737),
        first_sequence: 2,
        next_sequence: 9,
        first_ms: 1_000,
        last_ms: 2_000,
        bytes: 700,
    };
    let measured = Measured { cells: 3, measured: 2, identifier_bytes: 20 };
    add("measured", 1, codec::encode(&record(ObjectState::Measured(measured))));
    add("shard", 1, codec::encode(&record(ObjectState::Shard(shard))));
    add("session", 2, codec::encode(&SessionRecord { node: 1, used_ms: 1_000, answered_below: 7 }));
    add("answer", 3, codec::encode(&outcomes()));
    let terms = [Some(1), None, Some(u64::MAX), None];
    add("entry", 4, EntryRecord { at_ms: 258, terms, body: b"{}" }.encode());
    add("short-entry", 4, vec![0; 10]);
    let store = sessions();
    let registers = store.get(Table::Register, keys::MACHINE).unwrap().expect("registers");
    add("registers", 5, registers);
    for (name, entry) in ["blank", "batch", "membership"].into_iter().zip(entries()) {
        add(name, 6, codec::encode(&entry));
    }
    let quota = Quota { object_bytes_max: 70_000, objects_max: Some(9), exempt: None };
    let space = Space { quota: Some(quota), objects: 2, bytes: 300 };
    let spaces = SpacesRecord {
        uncounted_from: Some(vec![1; 25]),
        spaces: BTreeMap::from([(Namespace::new("n").id(), space)]),
    };
    add("spaces", 17, codec::encode(&spaces));
    add("vote", 7, codec::encode(&vote()));
    add("applied", 8, codec::encode(&log_id(9)));
    let membership = StoredMembershipOf::<TypeConfig>::new(Some(log_id(0)), membership());
    add("stored-membership", 9, codec::encode(&membership));
    add("snapshot-meta", 10, files().meta);
    let answers = vec![Some(Answer::Logged { id: [7; 16] }), None, Some(Answer::Reset)];
    let kept = KeyRecord { fingerprint: [2; 16], expires_ms: 61_000, answers };
    add("kept", 11, codec::encode(&kept));
    add("keys", 12, codec::encode(&KeysRecord { answers: 3, from_ms: 1_000 }));
    add("other-version", 0, vec![codec::VERSION + 1, 0]);
    for (name, batches) in batches() {
        seeds.push(("machine", name, encoded(&batches)));
    }
    seeds.push(("machine", "cut", encoded(&batches()[0].1)[..20].to_vec()));
    seeds
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    codec::encode(value)
}

fn sessions() -> Store {
    let mut store = Store::default();
    let mut machine = Machine::load(&store).unwrap();
    let (_, effects) = machine.apply(&store, &plain()).unwrap();
    store.make(&effects);
    store
}

// --- batches ----------------------------------------------------------------------------------

fn check(requests: u64, window_ms: u64) -> Check {
    let object = Namespace::new("script-RateLimiter").object("wix:a");
    Check { object, identifier: "a".to_owned(), requests, window_ms }
}

fn reset() -> Reset {
    Reset { object: check(1, 1).object, identifier: "a".to_owned() }
}

fn draft(by_day: bool) -> Draft {
    let logs = Namespace::new("script-AuditLogger");
    let shard = if by_day {
        ShardRef::Day { namespace: logs.id(), key: *logs.key() }
    } else {
        ShardRef::Object { object: logs.object("2024-01-15"), key: *logs.key() }
    };
    let members = Bytes::from_static(br#""type":"t","action":"a","details":{}"#);
    Draft { shard, terms: [Some(1), Some(2), None, None], members }
}

fn append(shard: &str, day: Option<u32>) -> Command {
    Command::Append(Append {
        object: Namespace::new("script-AuditLogger").object(shard),
        day,
        id: [9; 16],
        terms: [Some(1), Some(2), None, None],
        body: Bytes::from_static(br#"{"id":"x","type":"t","action":"a","details":{}}"#),
    })
}

fn import(keep_expired: bool, entries: &[(u64, &str)]) -> Import {
    let entries = entries.iter().map(|(at_ms, id)| ImportedEntry {
        object: Namespace::new("script-AuditLogger").object("1970-01-01"),
        day: 0,
        at_ms: *at_ms,
        terms: [Some(1), Some(2), None, None],
        body: format!(r#"{{"id":"{id}","timestamp":{at_ms},"type":"t","action":"a"}}"#).into(),
    });
    Import { keep_expired, entries: entries.collect() }
}

fn group(session: u64, sequence: u64, commands: Vec<Command>) -> Group<Command> {
    Group { session, sequence, answered_below: 0, commands: Arc::new(commands) }
}

fn plain() -> Batch {
    let open = group(0, 0, vec![Command::OpenSession { node: 1 }]);
    let work = vec![
        Command::Check(check(2, 1_000)),
        Command::Check(check(2, 1_000)),
        Command::Check(check(2, 1_000)),
        Command::Reset(reset()),
        append("2024-01-15", Some(19_737)),
        append("tenant", None),
    ];
    Batch { at_ms: 1_000, groups: vec![open, group(1, 1, work)] }
}

/// Two checks and an entry once for a key, if so many answers may be kept.
fn once(id: u8, fingerprint: u8, answers_max: u64) -> Command {
    let key = IdempotencyKey { id: [id; 16], fingerprint: [fingerprint; 16], ttl_ms: None };
    let Command::Append(entry) = append("2024-01-15", Some(19_737)) else { unreachable!() };
    let check = machine::Change::Check(check(2, 1_000));
    let changes = vec![check.clone(), machine::Change::Log(entry), check];
    let keeping = Keeping { retention_ms: 100, answers_max };
    Command::Changes { once: Some(Once { key, keeping }), changes }
}

fn imported(keep_expired: bool, entries: &[(u64, &str)]) -> Command {
    Command::Import { retention_ms: 200, import: import(keep_expired, entries) }
}

fn batches() -> Vec<(&'static str, Vec<Batch>)> {
    let tick = |retention_ms| group(0, 0, vec![Command::Tick(Tick { retention_ms })]);
    let one = |at_ms, group| Batch { at_ms, groups: vec![group] };
    let checks = vec![Command::Check(check(u64::MAX, u64::MAX)), Command::Check(check(1, 0))];
    vec![
        ("plain", vec![plain(), one(1_500, tick(10_000)), one(2_500, tick(1_000))]),
        ("again", vec![plain(), plain(), one(900, tick(0))]),
        ("last-millisecond", vec![plain(), one(u64::MAX, tick(0)), one(u64::MAX, tick(u64::MAX))]),
        (
            "no-window",
            vec![
                plain(),
                Batch { at_ms: 1_000, groups: vec![tick(0), group(1, 2, checks.clone()), tick(0)] },
                one(1_001, group(1, u64::MAX, checks)),
                one(60_000, tick(0)),
            ],
        ),
        (
            "one-day-of-two",
            vec![
                plain(),
                one(1_001, group(1, 2, vec![append("other", Some(19_737)), append("other", None)])),
                one(1_002, tick(1)),
                one(1_003, tick(1)),
            ],
        ),
        (
            "of-another-class",
            vec![
                plain(),
                one(
                    1_001,
                    group(
                        1,
                        2,
                        vec![
                            Command::Check(Check {
                                object: Namespace::new("script-AuditLogger").object("tenant"),
                                ..check(1, 1)
                            }),
                            Command::Tick(Tick { retention_ms: 0 }),
                        ],
                    ),
                ),
            ],
        ),
        (
            "under-keys",
            vec![
                plain(),
                one(1_001, group(1, 2, vec![once(1, 2, 3), once(1, 2, 3), once(1, 3, 3)])),
                one(1_002, group(1, 3, vec![once(2, 2, 3), once(2, 2, 9)])),
                one(1_050, tick(10_000)),
                one(1_101, group(1, 4, vec![once(1, 2, 3)])),
                one(9_000, tick(10_000)),
            ],
        ),
        (
            "imported",
            vec![
                plain(),
                one(
                    1_001,
                    group(1, 2, vec![imported(false, &[(10, "a"), (900, "b"), (900, "b")])]),
                ),
                one(
                    1_002,
                    group(1, 3, vec![imported(true, &[(900, "a"), (900, "c"), (1_002, "d")])]),
                ),
                one(1_003, group(1, 4, vec![imported(true, &[(10, "a"), (900, "c"), (901, "e")])])),
                one(1_100, tick(200)),
                one(1_300, tick(200)),
            ],
        ),
        ("empty", vec![Batch { at_ms: 5, groups: Vec::new() }, one(5, group(7, 7, Vec::new()))]),
    ]
}
