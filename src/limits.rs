//! Every bound of the system, in one place.
//!
//! A bound that a client can meet is named in the 4xx it gets; a bound inside refuses with 503.
//! Relations between bounds are asserted at compile time, at the end of the file.

use std::time::Duration;

// --- what a client may send -------------------------------------------------------------------

/// Identifiers, object names, `type`, `action`, `userId`, `ip`: at most this many bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 512;
/// An object's name: room for `type:identifier`.
pub const OBJECT_NAME_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + 1;
/// `details` of an audit entry, white space outside strings not counted.
pub const DETAILS_BYTES_MAX: usize = 256 * 1024;
/// A request body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Of a body that is too large, this much is read and thrown away before it is answered.
pub const BODY_BYTES_DISCARDED_MAX: usize = 8 * BODY_BYTES_MAX;
/// Nesting of JSON arrays and objects in an audit entry, the entry itself included.
pub const JSON_DEPTH_MAX: usize = 64;
/// Checks in one `/check/batch`, entries in one `/log/batch`.
pub const BATCH_ITEMS_MAX: usize = 1000;
/// `id` of an imported entry: letters, digits, `-` and `_`.
pub const ENTRY_ID_BYTES_MAX: usize = 64;
/// `Idempotency-Key`, without quotes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// `ttl` of an `Idempotency-Key`: as long as any can be kept.
pub const IDEMPOTENCY_TTL_S_MAX: u64 = KEY_RETENTION_MS_MAX / 1000;
/// `config.requests`: the largest integer that JavaScript holds exactly.
pub const REQUESTS_MAX: u64 = (1 << 53) - 1;
/// `config.windowMs`: at least one millisecond.
pub const WINDOW_MS_MIN: u64 = 1;
/// `config.windowMs`: at most 400 days.
pub const WINDOW_MS_MAX: u64 = 400 * 24 * 60 * 60 * 1000;
/// Times in requests: the last millisecond of the year 9999.
pub const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// Bindings, and prefixes of objects' names, that one API token may be for.
pub const TOKEN_PLACES_MAX: usize = 16;
/// An API token as a client sends it: what this build makes has 84 bytes at most.
pub const TOKEN_BYTES_MAX: usize = 128;
/// How long an API token may last that has an end: ten years.
pub const TOKEN_TTL_MS_MAX: u64 = RETENTION_MS_MAX;
/// `X-Request-Id` of a client, which is told again in answers and in log lines.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Requests a second that an API token may be bounded to.
pub const TOKEN_REQUESTS_PER_SECOND_MAX: u32 = 1_000_000;
/// Of the target of a request that is recorded, so many bytes are kept.
pub const RECORDED_TARGET_BYTES_MAX: usize = 2048;

// --- what a client gets -----------------------------------------------------------------------

/// `limit` of `/query` where none is given.
pub const QUERY_LIMIT_DEFAULT: usize = 100;
/// `limit` of `/query`: at most.
pub const QUERY_LIMIT_MAX: usize = 10_000;
/// A page of `/query` ends, with a cursor, once its entries hold this many bytes.
pub const QUERY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A page of `/query` ends, with a cursor, once this many index or entry rows were looked at.
pub const QUERY_ROWS_MAX: usize = 1_000_000;
/// Rows that a query or an export reads at first, before it knows how large they are.
pub const READ_ROWS_FIRST: usize = 32;
/// Entry rows that a query or an export reads at once: with the largest details, 32 MiB.
pub const READ_ROWS_MAX: usize = 128;
/// Index rows that a query or an export reads at once from one index.
pub const READ_INDEX_ROWS_MAX: usize = 1024;
/// So many rows between two entries that are wanted are read along: for as many bytes the disk takes
/// about as long as for a place of its own.
pub const READ_ALONG_ROWS_MAX: u64 = 64;
/// What is read from the disk at once for a longer run of rows.
pub const READ_AHEAD_BYTES: usize = 64 * 1024;
/// Characters of a cursor. What this build makes has about half as many.
pub const CURSOR_CHARS_MAX: usize = 128;
/// An export reads and sends this many bytes at a time.
pub const EXPORT_CHUNK_BYTES: usize = 64 * 1024;
/// Exports that one node streams at once; each holds a RocksDB snapshot.
pub const EXPORTS_MAX: usize = 16;
/// Pieces of an export or a backup that wait for its client.
pub const STREAM_QUEUE_MAX: usize = 2;
/// An export or a backup whose client takes nothing for this long is cut off, for it holds a snapshot.
pub const STREAM_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Backups that one node streams at once; each holds the files of a checkpoint.
pub const BACKUPS_MAX: usize = 2;
/// A backup is read and written so many bytes at a time.
pub const BACKUP_PIECE_BYTES: usize = 256 * 1024;
/// What a backup says of itself: a line for each of its files.
pub const BACKUP_CONTENTS_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Pages of `/query` that one node reads at once; further ones wait.
pub const QUERIES_MAX: usize = 16;

// --- what operators look at -------------------------------------------------------------------

/// `limit` of a list of objects, of what one holds, where none is given.
pub const OBJECTS_LIMIT_DEFAULT: usize = 100;

/// `limit` of these: at most.
pub const OBJECTS_LIMIT_MAX: usize = 1000;

/// A page of objects ends, with a cursor, once about this many rows were looked at: some 20 ms of work.
pub const OBJECT_ROWS_MAX: usize = 20_000;

/// Rows of objects that are read at once.
pub const READ_OBJECTS: usize = 1024;

/// Identifiers that an object's name is tried for: its own, and those behind its first colons. An IPv6
/// address behind a type has nine.
pub const OBJECT_IDENTIFIERS_MAX: usize = 16;

/// A limiter with more cells than this is not added up.
pub const OBJECT_CELLS_MAX: u64 = 10_000;

/// Objects of a binding that are counted where bindings are listed.
pub const OBJECTS_COUNTED_MAX: usize = 10_000;

/// Characters of a cursor of these: room for the longest identifier.
pub const OBJECT_CURSOR_CHARS_MAX: usize = 2 * (NAME_BYTES_MAX + 32);

/// Such pages that one node reads at once; further ones wait.
pub const INSPECTIONS_MAX: usize = 2;

/// Limiters that a node remembers to have refused, with how often.
pub const TOP_LIMITERS: usize = 2048;

/// `limit` of a list of them: at most.
pub const TOP_LIMIT_MAX: usize = 100;

/// `limit` of a list of them where none is given.
pub const TOP_LIMIT_DEFAULT: usize = 20;

/// Objects that a node remembers to be near their quotas.
pub const CROWDED_OBJECTS_MAX: usize = 1024;

/// An object near its quota is told of for so long after it was last written.
pub const CROWDED_FOR_MS: u64 = 60 * 60 * 1000;

/// Clients that one node tells of its requests at once.
pub const TAILS_MAX: usize = 8;

/// Requests that wait to be told of; whoever is further behind loses the oldest.
pub const TAIL_QUEUE_MAX: usize = 4096;

/// What is sent to such a client at once, about.
pub const TAIL_PIECE_BYTES: usize = 16 * 1024;

/// A client that nothing is told of hears this often that the node is there.
pub const TAIL_PULSE_INTERVAL: Duration = Duration::from_secs(10);

/// A line of it that `tallykeep tail` reads: the longest names, every byte of them escaped.
pub const TAIL_LINE_BYTES_MAX: usize = 32 * 1024;

/// How long `tallykeep tail` waits before it follows a node again.
pub const TAIL_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long refusals are counted together; those of the time before are added.
pub const TOP_PERIOD_MS: u64 = 5 * 60 * 1000;

// --- clients' connections ---------------------------------------------------------------------

/// Connections that the system keeps until a node accepts them; it may have a lower bound of its own
/// (`net.core.somaxconn`).
pub const LISTEN_BACKLOG: u32 = 4096;
/// Connections that a node keeps from its clients.
pub const CLIENT_CONNECTIONS_MAX: usize = 4096;
/// File descriptors that clients' connections leave for the database's files and for peers.
pub const DESCRIPTORS_RESERVED: usize = 1024;
/// A connection on which the TLS handshake is not over within this time is closed.
pub const CLIENT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which no whole request head came within this time, after its handshake, is closed.
pub const CLIENT_FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which no further request head came within this time is closed. Longer than
/// most clients keep an idle connection, so that it is they who close it.
pub const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// A connection whose client takes nothing of what it is sent for this long is closed.
pub const CLIENT_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// A request's head: its target and headers, as HTTP/1.1 writes them, or as HTTP/2 counts them (RFC 9113,
/// section 6.5.2). HTTP/1.1 has at most 100 headers besides, which is hyper's own bound. It is also what hyper
/// reads and writes at once, and so what a connection takes of memory.
pub const CLIENT_HEAD_BYTES_MAX: u32 = 64 * 1024;
/// After the node has closed its half of a connection, the client may close the other within this
/// time; what it still sends is read and thrown away.
pub const CLIENT_LINGER_TIMEOUT: Duration = Duration::from_millis(500);
/// What is read, within the same time, of the body of a request over HTTP/2 that is refused at its head.
pub const CLIENT_UNREAD_BYTES_MAX: usize = 64 * 1024;
/// Requests that one HTTP/2 connection may have under way.
pub const CLIENT_STREAMS_MAX: u32 = 256;
/// On a stop, connections are served on for this long once the listener is closed, those too whose
/// first request is still to come.
pub const DRAIN_BUSY: Duration = Duration::from_millis(300);
/// On a stop, requests under way may take this long after that; then their connections are cut.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

// --- refused logins ---------------------------------------------------------------------------

/// Refused logins are recorded so long after the first of them, with all that came meanwhile.
pub const REFUSED_LOGINS_LINGER: Duration = Duration::from_secs(1);
/// Then so long no further ones are, but counted: one entry for each source, however many come.
pub const REFUSED_LOGINS_INTERVAL: Duration = Duration::from_secs(60);
/// Sources with entries of their own; what comes from further ones has one entry together. With the
/// interval: at most 17 entries a minute and node, or about 10 MB a day.
pub const REFUSED_LOGINS_SOURCES_MAX: usize = 16;

// --- proposals --------------------------------------------------------------------------------

/// How long a request may take, queueing and retries included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Of that, what is left for the answer's own way back: trying ends so much earlier, so that what is
/// known of a request's fate is told, and not that its time was up.
pub const ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// How long a request that needs commands of a later version waits for them, as long as no node is known
/// that holds them back: a cluster that has just begun has them within a second.
pub const VERSION_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that wait on a node to be sent to the leader.
pub const PROPOSAL_QUEUE_MAX: usize = 16 * 1024;
/// Bytes of commands that wait on a node to be sent to the leader.
pub const PROPOSAL_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Reads, refused checks among them, that wait on a node for a round with the leader.
pub const READS_WAITING_MAX: usize = 16 * 1024;
/// Checks that a node remembers to have been refused, 8 bytes each.
pub const REFUSALS_REMEMBERED: usize = 256 * 1024;
/// Commands of one node in one group, and changes where one command has several.
pub const GROUP_COMMANDS_MAX: usize = 1024;
/// Bytes of commands in one group; a single command may exceed it.
pub const GROUP_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A group as it is forwarded to the leader: more than one that a node makes of what is let in.
pub const FORWARD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Groups that wait on the leader to be proposed.
pub const LEADER_QUEUE_MAX: usize = 1024;
/// Groups in one log entry.
pub const BATCH_GROUPS_MAX: usize = 64;
/// Bytes of commands after which a log entry takes no further group.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// After the outcomes of a log entry are known, so long the leader waits for the next groups of the
/// nodes that had some in it.
pub const GATHER_TIMEOUT: Duration = Duration::from_millis(1);

// --- configuration ----------------------------------------------------------------------------

/// `retention`: at least.
pub const RETENTION_MS_MIN: u64 = 1_000;
/// `retention`: at most ten years, of 365.25 days.
pub const RETENTION_MS_MAX: u64 = 3_652 * 24 * 60 * 60 * 1000 + 12 * 60 * 60 * 1000;
/// `idempotency.retention`: at least.
pub const KEY_RETENTION_MS_MIN: u64 = 1_000;
/// `idempotency.retention`: at most 30 days, for all that time a key takes its place.
pub const KEY_RETENTION_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;
/// `quotas.object_bytes_max` where the configuration says nothing. Guide, "Storage Limits".
pub const OBJECT_BYTES_MAX_DEFAULT: u64 = 128 * 1024 * 1024;
/// `quotas.object_bytes_max`: at least.
pub const OBJECT_BYTES_MAX_MIN: u64 = 64 * 1024;
/// `snapshot_log_bytes`: at least, so that a node is not always making snapshots.
pub const SNAPSHOT_LOG_BYTES_MIN: u64 = 64 * 1024;
/// The log may become so long, or `snapshot_log_bytes` if that is more, while a follower catches up.
pub const LOG_KEPT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// `storage.block_cache_bytes` and `storage.write_buffer_bytes`: at least.
pub const STORAGE_BYTES_MIN: usize = 1024 * 1024;

// --- the machine ------------------------------------------------------------------------------

/// A session that was not used for this long, by the machine's clock, is forgotten.
pub const SESSION_TTL_MS: u64 = 60 * 60 * 1000;
/// Groups of one session whose outcomes are remembered for a retry.
pub const SESSION_ANSWERS_MAX: usize = 64;
/// Limiter windows that one tick ends: about 2 ms of work, for which checks wait.
pub const TICK_WINDOWS_MAX: usize = 256;
/// Audit entries that one tick removes one by one.
pub const TICK_ENTRIES_MAX: usize = 256;
/// Audit entries that a tick reads at a time, bodies and all, until it meets one that is not due.
pub const TICK_READ_ENTRIES: usize = 16;
/// Audit shards that one tick looks at.
pub const TICK_SHARDS_MAX: usize = 32;
/// Objects of a build that counted none that one tick counts: about a millisecond of work.
pub const TICK_OBJECTS_MAX: usize = 1024;
/// Idempotency keys that one tick forgets.
pub const TICK_KEYS_MAX: usize = 256;
/// How long idempotency keys are kept where the configuration says nothing: a day.
pub const KEY_RETENTION_MS_DEFAULT: u64 = 24 * 60 * 60 * 1000;
/// Answers that idempotency keys keep where the configuration says nothing: about 150 bytes of disk
/// each.
pub const KEY_ANSWERS_MAX_DEFAULT: u64 = 10_000_000;
/// Policies of all bindings together. Part of what commands mean: another number is another version.
pub const POLICIES_MAX: u64 = 1000;
/// API tokens. Part of what commands mean: another number is another version.
pub const TOKENS_MAX: u64 = 1000;
/// Retention of audit entries where the configuration says nothing: 30 days.
pub const RETENTION_MS_DEFAULT: u64 = 30 * 24 * 60 * 60 * 1000;

// --- the cluster's clock ----------------------------------------------------------------------

/// A leader follows its wall clock forward by at most this much without its peers' agreement.
pub const CLOCK_STEP_MS_MAX: u64 = 1_000;
/// A wall clock further than this from the median of the cluster is not trusted.
pub const CLOCK_SKEW_MS_MAX: u64 = 5_000;

// --- between nodes ----------------------------------------------------------------------------

/// One frame between peers: a log entry, or many, or a piece of a snapshot.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The first frame of each side of a connection: nothing is known of the other yet. Room for the
/// names of two clusters in a refusal, every byte of them escaped.
pub const GREETING_BYTES_MAX: usize = 16 * 1024;
/// Entries' bytes that one append carries to a follower, if more than one entry.
pub const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Appends that a leader has under way to one follower.
pub const APPENDS_IN_FLIGHT_MAX: usize = 16;
/// What is committed is told to a follower with the next entries, or after this long without them.
pub const COMMIT_RIDE_TIMEOUT: Duration = Duration::from_millis(5);
/// Requests that wait on one link to a peer.
pub const LINK_QUEUE_MAX: usize = 1024;
/// Connections that a node keeps from its peers.
pub const PEER_CONNECTIONS_MAX: usize = 256;
/// Of peers that are refused, and of nodes that refuse this one, the log tells once in so long.
pub const PEER_COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// One piece of a snapshot file on the wire.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;
/// Nodes of a cluster. Each more makes a majority larger, and so writes slower.
pub const NODES_MAX: usize = 7;

// --- what is told of requests -----------------------------------------------------------------

/// Log lines of requests that failed, of slow ones, and of administration that was refused: of each sort so
/// many are written in [`REQUEST_LINES_INTERVAL`].
pub const REQUEST_LINES_MAX: u32 = 100;
/// After so long further lines are written, and the first says how many were left out.
pub const REQUEST_LINES_INTERVAL: Duration = Duration::from_secs(60);
/// `telemetry.slow_request` where none is set.
pub const SLOW_REQUEST_MS_DEFAULT: u64 = 1_000;
/// `telemetry.slow_request`: at least.
pub const SLOW_REQUEST_MS_MIN: u64 = 1;
/// `telemetry.slow_request`: at most.
pub const SLOW_REQUEST_MS_MAX: u64 = 10 * 60 * 1000;
/// Parts of one request that are exported.
pub const SPAN_PARTS_MAX: usize = 16;
/// Answered requests whose spans wait for the collector.
pub const SPANS_QUEUE_MAX: usize = 2048;
/// Requests whose spans go to the collector at once.
pub const SPANS_BATCH_MAX: usize = 512;
/// How long a batch of spans that is not full waits for more.
pub const SPANS_LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take to answer.
pub const SPANS_EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a batch is sent again that the collector does not take.
pub const SPANS_PATIENCE: Duration = Duration::from_secs(60);
/// Before a batch is sent again for the first time; each further pause is twice as long …
pub const SPANS_PAUSE_MIN: Duration = Duration::from_millis(250);
/// … and never longer than this.
pub const SPANS_PAUSE_MAX: Duration = Duration::from_secs(10);
/// What the collector asks for by `Retry-After` is kept for so long at most.
pub const SPANS_RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);
/// That the collector does not take spans the log tells once in so long.
pub const SPANS_COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// Characters of the reason that the log tells then.
pub const SPANS_REASON_CHARS_MAX: usize = 200;
/// Of what the collector answers, so much is read.
pub const SPANS_REPLY_BYTES_MAX: usize = 64 * 1024;
/// How long a node that stops waits until its last spans are with the collector.
pub const SPANS_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

// --- certificates -----------------------------------------------------------------------------

/// A file of certificates, or of a key.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// How often a node looks whether its certificates' files have changed.
pub const CERTIFICATE_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How often a node warns that a certificate is about to end: every day.
pub const CERTIFICATE_WARN_INTERVAL_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a new node certificate is valid where nothing is said.
pub const CERTIFICATE_DAYS_DEFAULT: u32 = 365;
/// How long a new CA is valid.
pub const CA_DAYS: u32 = 3652;

// --- on disk ----------------------------------------------------------------------------------

/// One memtable of the log, at most; as a rule it takes as much as is appended between two purges, and
/// so does what is written at a start, twice, and what is replayed.
pub const LOG_WRITE_BUFFER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How far the log is committed is kept once in so many entries: after a restart a node applies up to
/// there by itself, and the rest when the leader tells.
pub const COMMITTED_KEPT_EVERY: u64 = 64;
/// Limiter cells in memory in front of the state's tables; about 150 bytes each, and the identifier.
pub const CELLS_CACHED_MAX: usize = 128 * 1024;
/// Of these, so many are written back to the tables at a time: about 0.3 ms, for which checks wait.
pub const WRITE_BACK_CELLS: usize = 256;
/// Blocks of the log's files in memory.
pub const LOG_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Jobs that wait for a background thread: ranges whose disk space is to be given back, as a rule.
pub const BACKGROUND_JOBS_MAX: usize = 64;
/// Files of a snapshot.
pub const SNAPSHOT_FILES_MAX: usize = 64 * 1024;

// --- the command line's client ----------------------------------------------------------------

/// How long the client waits for a connection.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the client waits for an answer: longer than a node takes to give up.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The client's pause once every endpoint has failed it, and between two looks at a condition.
pub const CLIENT_PAUSE: Duration = Duration::from_millis(100);
/// How long a command may be told to try to get an answer.
pub const COMMAND_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// For how long an idempotency key that a command has made itself is kept, in seconds.
pub const COMMAND_KEY_TTL_S: u64 = 600;
/// Entries that `tallykeep query` asks for at once.
pub const COMMAND_PAGE_ENTRIES: u64 = 1000;
/// Columns of the terminal after which a cell of a table is cut.
pub const COMMAND_CELL_COLUMNS: usize = 60;
/// `tallykeep log --batch` waits so long for further lines that go into one request.
pub const LOG_BATCH_LINGER: Duration = Duration::from_millis(200);
/// How long `tallykeep replay` tries to get one answer.
pub const REPLAY_PATIENCE: Duration = Duration::from_secs(60);
/// After a request's answer was lost, it may still be applied for this long.
pub const REPLAY_SETTLE: Duration = REQUEST_TIMEOUT;
/// Requests that `tallykeep replay` has under way at once, at most.
pub const REPLAY_CONCURRENCY_MAX: usize = 4096;
/// How long `tallykeep import` tries to get one answer.
pub const IMPORT_PATIENCE: Duration = Duration::from_secs(60);
/// An entry that it sends, as JSON.
pub const IMPORT_ROW_BYTES_MAX: usize = BODY_BYTES_MAX - 1024;
/// Entries' bytes in one of its requests, unless one entry has more.
pub const IMPORT_BATCH_BYTES: usize = 512 * 1024;
/// It sorts so many bytes of entries in memory, and the rest by temporary files of that length.
pub const IMPORT_SORT_BYTES: usize = 64 * 1024 * 1024;
/// So many sorted files are merged at once.
pub const IMPORT_RUNS_MAX: usize = 64;
/// Connections of `tallykeep bench`: no more than one node takes.
pub const BENCH_CONNECTIONS_MAX: usize = CLIENT_CONNECTIONS_MAX;
/// Requests per second of its open loop.
pub const BENCH_RATE_MAX: u64 = 1_000_000;
/// Requests of one run.
pub const BENCH_REQUESTS_MAX: u64 = 1_000_000_000_000;
/// How long a run, or its warm-up, may last.
pub const BENCH_DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Its open loop looks for requests that are due no more often than this.
pub const BENCH_TICK: Duration = Duration::from_micros(200);
/// After the end of its open loop, requests that were due before may still be sent for this long.
pub const BENCH_GRACE: Duration = Duration::from_millis(100);
/// How long one of its connections tries to reach its node again.
pub const BENCH_PATIENCE: Duration = Duration::from_secs(60);
/// Its identifiers.
pub const BENCH_KEYS_MAX: u64 = 1_000_000_000;
/// Identifiers, from the first, whose answers it compares with each other: 40 bytes each.
pub const BENCH_KEYS_TRACKED_MAX: usize = 16 * 1024 * 1024;
/// Ids of entries that one of its two generations holds, however many come.
pub const BENCH_IDS_MAX: usize = 2 * 1024 * 1024;
/// Types of its entries.
pub const BENCH_TYPES_MAX: i64 = 10_000;
/// Days of its entries.
pub const BENCH_DAYS_MAX: i64 = 400;
/// An answer that it reads: a page of `/query` may exceed its own bound by one entry.
pub const BENCH_ANSWER_BYTES_MAX: usize = QUERY_BYTES_MAX + 2 * BODY_BYTES_MAX;

const _: () = assert!(
    DETAILS_BYTES_MAX + 16 * NAME_BYTES_MAX < BODY_BYTES_MAX,
    "an entry with the largest details must fit into a body"
);
const _: () = assert!(
    BATCH_BYTES_MAX + FORWARD_BYTES_MAX < FRAME_BYTES_MAX,
    "the largest log entry must fit into a frame"
);
const _: () = assert!(
    GROUP_BYTES_MAX + 2 * BODY_BYTES_MAX + GROUP_COMMANDS_MAX * 2 * OBJECT_NAME_BYTES_MAX
        < FORWARD_BYTES_MAX,
    "the largest group, with what its size leaves out of each command, must be taken"
);
const _: () = assert!(
    APPEND_BYTES_MAX + BATCH_BYTES_MAX + FORWARD_BYTES_MAX < FRAME_BYTES_MAX,
    "an append with one entry more than its budget must fit into a frame"
);
const _: () = assert!(
    BATCH_ITEMS_MAX <= GROUP_COMMANDS_MAX,
    "a batch is one command, whose changes a group must have room for"
);
const _: () = assert!(
    IMPORT_BATCH_BYTES <= IMPORT_ROW_BYTES_MAX && IMPORT_ROW_BYTES_MAX + 64 < BODY_BYTES_MAX,
    "entries that are imported must fit into a body"
);
const _: () = assert!(COMMAND_PAGE_ENTRIES <= QUERY_LIMIT_MAX as u64);
const _: () = assert!(SPANS_PAUSE_MAX.as_secs() < SPANS_PATIENCE.as_secs());
const _: () = assert!(BODY_BYTES_MAX < BODY_BYTES_DISCARDED_MAX);
const _: () = assert!(
    16 * NAME_BYTES_MAX < GREETING_BYTES_MAX && GREETING_BYTES_MAX < FRAME_BYTES_MAX,
    "a greeting must fit, and is the smaller frame"
);
const _: () = assert!(
    SNAPSHOT_FILES_MAX as u64 * 512 <= BACKUP_CONTENTS_BYTES_MAX,
    "a backup must be able to say which files it has"
);
const _: () = assert!(
    CLIENT_FIRST_REQUEST_TIMEOUT.as_millis() < CLIENT_IDLE_TIMEOUT.as_millis(),
    "a connection's first request must be the more urgent one"
);
const _: () = assert!(
    (REQUEST_TIMEOUT.as_millis() as u64) * 10 < SESSION_TTL_MS,
    "a session must outlive every retry made under it"
);
const _: () = assert!(
    12 * OBJECT_NAME_BYTES_MAX < CLIENT_HEAD_BYTES_MAX as usize,
    "a head must have room for the longest name, every byte of it escaped, and for headers"
);
const _: () = assert!(WINDOW_MS_MAX < TIME_MS_MAX && REQUESTS_MAX < u64::MAX / 2);
const _: () = assert!(
    CLIENT_TIMEOUT.as_millis() > REQUEST_TIMEOUT.as_millis(),
    "a node must be able to say that it gave up before the client does"
);
const _: () = assert!(
    REPLAY_PATIENCE.as_millis() > 2 * (CLIENT_TIMEOUT.as_millis() + REPLAY_SETTLE.as_millis()),
    "a lost answer must leave time to settle the request's fate and send it again"
);
const _: () = assert!(
    (BENCH_REQUESTS_MAX as u128) < (usize::MAX >> 3) as u128
        && BENCH_DURATION_MAX.as_secs() as u128 * 2 * (BENCH_RATE_MAX as u128)
            < (usize::MAX >> 3) as u128,
    "a schedule must not have more requests than a semaphore takes permits"
);
