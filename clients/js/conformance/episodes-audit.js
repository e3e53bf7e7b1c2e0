/** Episodes of the audit log: each is `async ({ random, run, name })`, with objects of its own. */

import { get, log, logger, post, query } from "./calls.js";

const TYPES = ["wix_request", "gamma_request", "login", "аудит", "a b"];
const ACTIONS = ["api_call", "create", "delete", "日本"];
const TEXTS = ["user-123", "1.2.3.4", "::1", "é", "😀", "a/b", "x".repeat(512), "null"];
/** Texts that CSV has to quote. */
const QUOTED = ["a,b", 'say "x"', ",", '"', '","'];
/** Texts that a spreadsheet takes for formulas. */
const FORMULAS = ["=1+2", "+1", "-1", "@x", "'=1", "''-1", "=a,b"];

/** An entry in the guide's own form: both sides give it back as it is. */
function entryOf(random, texts = TEXTS) {
  const entry = { type: random.pick(TYPES), action: random.pick(ACTIONS) };
  if (random.chance(0.7)) entry.userId = random.pick(texts);
  if (random.chance(0.7)) entry.ip = random.pick(texts);
  entry.details = detailsOf(random, 3);
  if (random.chance(0.2)) entry.requestId = random.int(0, 1e9);
  return entry;
}

/** Details that `JSON.parse` and `JSON.stringify` give back to the letter. */
function detailsOf(random, depth) {
  const names = ["path", "method", "status", "tags", "ключ", "a.b", "nested", "", "constructor"].filter(() => random.chance(0.4));
  return Object.fromEntries(names.map((name) => [name, valueOf(random, depth)]));
}

function valueOf(random, depth) {
  const kind = random.int(0, depth > 0 ? 7 : 5);
  if (kind === 0) return random.int(-1_000, 1_000);
  if (kind === 1) return random.pick([0.1, 1.5, 1e21, 5e-324, 9007199254740991, 123456.789]);
  if (kind === 2) return random.pick([true, false, null]);
  if (kind === 6) return Array.from({ length: random.int(0, 3) }, () => valueOf(random, depth - 1));
  if (kind === 7) return detailsOf(random, depth - 1);
  return random.pick(["/api/wix/content", "POST", "", 'q"q', "a,b", "l\nl", "\u0001", "\u2028", "😀", "é", "\\", "</script>"]);
}

/** Logs entries, each with a time of its own. */
async function fill({ run }, object, entries) {
  for (const entry of entries) {
    await run.call(log(object, entry));
    await run.nextMillisecond();
  }
}

const several = (least, most, random, texts) => Array.from({ length: random.int(least, most) }, () => entryOf(random, texts));

/** Entries, queries of every sort, and exports. */
async function days(episode) {
  const { random, run, name } = episode;
  const object = logger(name("2024-01-15"));
  await run.call(query(object, {}));
  const entries = several(1, 12, random);
  await fill(episode, object, entries);
  // From here on both sides' times of all entries are known.
  await run.call(query(object, {}));
  for (let step = random.int(8, 20); step > 0; step--) await run.call(query(object, filtersOf(random, entries.length)));
  await run.call(get(object, random.pick(["/export", "/export?format=json"])));
  await run.call(query(object, { order: "asc" }, { tag: "order" }));
  await run.call(query(object, { [random.pick(["action", "userId", "ip"])]: random.pick([...ACTIONS, ...TEXTS]) }, { tag: "filter" }));
}

function filtersOf(random, count) {
  const filters = {};
  // An entry's own time, and one millisecond to each side of it.
  const moment = () => {
    const [index, delta] = [random.int(0, count - 1), random.int(-1, 1)];
    return (logs) => logs[index].timeMs + delta;
  };
  const kind = random.int(0, 7);
  if (kind === 0) return { startTime: 0 };
  if (kind === 1) return { startTime: Date.UTC(2000, 0), endTime: Date.UTC(2100, 0) };
  if (kind === 2) return { startTime: Date.UTC(2100, 0) };
  if (random.chance(0.4)) filters.startTime = moment();
  else if (random.chance(0.5)) filters.endTime = moment();
  if (random.chance(0.4)) filters.type = random.pick([...TYPES, "none"]);
  if (random.chance(0.5)) filters.limit = random.pick([0, 1, 2, 3, count, count + 1, 100, 10_000]);
  return filters;
}

/** A time range with both ends, which must not be the wrong way around. */
async function ranges(episode) {
  const { random, run, name } = episode;
  const object = logger(name("range"));
  await fill(episode, object, several(3, 6, random));
  await run.call(query(object, {}));
  const count = 3;
  for (let from = 0; from < count; from++) {
    for (let to = from; to < count; to++) {
      const [early, late] = [random.int(-1, 0), random.int(0, 1)];
      await run.call(query(object, { startTime: (logs) => logs[from].timeMs + early, endTime: (logs) => logs[to].timeMs + late }));
    }
  }
}

/** More entries than the default limit of 100. */
async function manyEntries(episode) {
  const { random, run, name } = episode;
  const object = logger(name("many"));
  const entries = several(101, 105, random);
  await run.together(entries.map((entry) => log(object, entry)));
  // Entries of one millisecond are in no certain order in the original, so only the number is asked.
  await run.call(query(object, { limit: 10_000 }, { unordered: true }));
  await run.call(query(object, {}, { countOnly: true }));
  await run.call(get(object, "/export", { unordered: true }));
}

/** CSV: of nothing, of plain cells, of cells that need quotes, of formulas. */
async function csv(episode) {
  const { random, run, name } = episode;
  for (const texts of [TEXTS, QUOTED, FORMULAS, [...TEXTS, ...QUOTED, ...FORMULAS]]) {
    const object = logger(name("csv"));
    const entries = several(0, 4, random, texts);
    entries.push({ type: "t", action: "a", userId: random.pick(texts), details: { q: '"' } });
    if (random.chance(0.1)) entries.length = 0;
    await fill(episode, object, entries);
    await run.call(get(object, "/export"));
    await run.call(get(object, "/export?format=csv", { csv: entries }));
  }
  const object = logger(name("csv"));
  await fill(episode, object, [{ type: "t", action: "a" }]);
  await run.call(get(object, "/export?format=csv", { tag: "csv without details" }));
}

/** An export that is worth compressing. */
async function bigExport(episode) {
  const { random, run, name } = episode;
  const object = logger(name("big"));
  await fill(episode, object, several(2, 3, random).map((entry) => ({ ...entry, details: { text: "abc ".repeat(5_000) } })));
  await run.call(get(object, "/export"));
}

/** Entries that both take, and give back differently. Each in an object of its own. */
async function oddEntries(episode) {
  const { random, run, name } = episode;
  const odd = {
    "client's id and time": '{"id":"mine","timestamp":5,"type":"t","action":"a","details":{}}',
    "null member": { type: "t", action: "a", [random.pick(["userId", "ip"])]: null, details: {} },
    "no details": { type: "t", action: "a" },
    "member order": { details: { a: 1 }, ip: "1.2.3.4", more: 1, action: "a", type: "t" },
    "numbers": '{"type":"t","action":"a","details":{"n":9007199254740993,"f":1.0,"e":1e2,"big":123456789012345678901234567890}}',
    "escapes": '{"type":"t","action":"a","details":{"e":"\\u00e9","s":"\\/","u":"\\u0041"}}',
    "number order": '{"type":"t","action":"a","details":{"b":1,"2":1,"1":1}}',
    "white space": '{ "type" : "t",\n "action": "a" , "details" : { "a" : [ 1 , 2 ] } }',
  };
  for (const [tag, entry] of Object.entries(odd)) {
    const object = logger(name("odd"));
    await run.call(log(object, entry, { tag }));
    await run.call(query(object, {}, { tag, logged: entry }));
    await run.call(get(object, "/export", { tag, logged: entry }));
  }
}

/** Each kind of bad entry. The object is not looked at afterwards: the original has taken them. */
async function badEntries({ run, name }) {
  const object = logger(name("bad"));
  const bad = (tag, body) => run.call(post(object, "/log", typeof body === "string" ? body : JSON.stringify(body), { tag }));
  const good = { type: "t", action: "a", details: {} };
  for (const text of ["", "{", '{"type":"t",}', "'x'", "\u0000"]) await bad("malformed entry", text);
  for (const text of ["null", "[]", "7", "true", '"x"']) await bad("entry of another type", text);
  for (const entry of [{}, { type: "t" }, { action: "a" }]) await bad("type or action missing", entry);
  for (const value of ["", 7, null, true, {}, [], "x".repeat(513), "é".repeat(257)]) {
    await bad("type or action", { ...good, type: value });
    await bad("type or action", { ...good, action: value });
  }
  for (const value of [7, true, {}, [], "x".repeat(513)]) {
    await bad("userId or ip", { ...good, userId: value });
    await bad("userId or ip", { ...good, ip: value });
  }
  for (const value of [null, 7, "x", [], true]) await bad("details no object", { ...good, details: value });
  for (const part of ["type", "action", "userId", "ip", "more"]) await bad("control character", { ...good, [part]: "a\u0007b" });
  for (const text of ['{"type":"t","type":"u","action":"a"}', '{"type":"t","action":"a","details":{"a":{"b":1,"b":2}}}', '{"type":"t","action":"a","m":1,"m":1}']) {
    await bad("entry twice", text);
  }
  for (const text of ['{"type":"t\\ud800","action":"a"}', '{"type":"t","action":"a","details":{"a":"\\udc00"}}']) await bad("lone surrogate", text);
  await bad("nesting", `{"type":"t","action":"a","details":{"a":${"[".repeat(70)}${"]".repeat(70)}}}`);
}

/** Bodies that are too long. */
async function longBodies({ run, name }) {
  const object = logger(name("long"));
  const entry = (size) => JSON.stringify({ type: "t", action: "a", details: { text: "x".repeat(size) } });
  await run.call(post(object, "/log", entry(256 * 1024), { tag: "long details" }));
  await run.call(post(object, "/log", entry(1024 * 1024), { tag: "long body" }));
}

/** Each kind of bad query and export. */
async function badQueries(episode) {
  const { random, run, name } = episode;
  const object = logger(name("query"));
  await fill(episode, object, several(2, 4, random));
  const bad = (tag, body) => run.call(post(object, "/query", typeof body === "string" ? body : JSON.stringify(body), { tag }));
  for (const text of ["{", '{"limit":1', "x"]) await bad("malformed query", text);
  await bad("empty query", "");
  for (const text of ["null", "[]", "7", '"x"']) await bad("query of another type", text);
  for (const limit of [-1, "1", 10_001, 1.5, true, [], {}]) await bad("limit", { limit });
  for (const value of ["5", 1.5, -5, true, "x", 1e300, [], {}]) {
    await bad("time no integer", { startTime: value });
    await bad("time no integer", { endTime: value });
  }
  for (const value of [7, true, [], {}]) await bad("type no text", { type: value });
  await bad("filter for nothing", { type: "" });
  await bad("filter for nothing", { endTime: 0 });
  await bad("limit null", { limit: null });
  for (const nothing of [{ type: null }, { startTime: null }, { endTime: null }]) await bad(undefined, nothing);
  await bad("unknown member", { [random.pick(["typ", "Type", "offset", "start"])]: 1 });
  await bad("range", { startTime: 2_000, endTime: 1_000 });
  await bad("query twice", '{"limit":1,"limit":2}');

  for (const path of ["/export?format=xml", "/export?format=", "/export?format=CSV"]) await run.call(get(object, path, { tag: "unknown format" }));
  for (const path of ["/export?x=1", "/export?format=json&format=json", "/export?limit=1"]) await run.call(get(object, path, { tag: "unknown parameter" }));
  await run.call(get(object, "/export?format=ndjson", { tag: "ndjson" }));
  await run.call(get(object, "/export?order=asc", { tag: "export order" }));
}

/** Other methods, and paths that are none. */
async function routes(episode) {
  const { run, name } = episode;
  const object = logger(name("routes"));
  for (const path of ["/log", "/query"]) {
    for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"]) await run.call({ object, method, path, tag: "other method" });
  }
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) await run.call({ object, method, path: "/export", tag: "other method" });
  await run.call({ object, method: "HEAD", path: "/export", tag: "head" });
  for (const path of ["/", "/log/", "/Log", "/export/", "/export.csv", "/x"]) {
    await run.call(post(object, path, "{}", { tag: "unknown path" }));
    await run.call(get(object, path, { tag: "unknown path" }));
  }
  // What only we have. Its entries are in an object that is not looked at.
  const batches = logger(name("batches"));
  const entries = several(1, 3, episode.random);
  await run.call(post(batches, "/log/batch", JSON.stringify({ entries }), { tag: "batch", count: entries.length }));
  const keyed = log(batches, entries[0], { tag: "log with a key" });
  keyed.headers = { ...keyed.headers, "Idempotency-Key": `"${name("key")}"` };
  await run.call(keyed);
  await run.call(keyed);
  // The other class's paths.
  for (const path of ["/check", "/reset"]) {
    for (const method of ["GET", "POST", "PUT"]) await run.call({ object, method, path, tag: "other class" });
  }
  await run.call(query(object, {}));
}

export const auditEpisodes = {
  days, ranges, manyEntries, csv, bigExport, oddEntries, badEntries, longBodies, badQueries, auditRoutes: routes,
};
