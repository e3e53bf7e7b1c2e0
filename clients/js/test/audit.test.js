/** logAudit: batches, bounds, fallbacks, and the end of a program. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { AuditLog, durableObjects, flushAudit, logAudit } from "tallykeep";

import { startCluster } from "./support/cluster.js";
import { deadEndpoint, fakeNode, json, problem } from "./support/fake.js";
import { waitFor } from "./support/wait.js";

const ENTRY = {
  type: "wix_request",
  action: "api_call",
  userId: "user-123",
  ip: "1.2.3.4",
  details: { path: "/api/wix/content", method: "POST", status: 200 },
};

/** Mutes the console, and gives what was written when asked. */
function silence(t) {
  const log = t.mock.method(console, "log", () => {}).mock;
  const error = t.mock.method(console, "error", () => {}).mock;
  return {
    lines: () => log.calls.map((call) => call.arguments[0]),
    errors: () => error.calls.map((call) => call.arguments[1]?.message),
  };
}

/** A log that takes batches, as `POST /log/batch` does. */
async function batchNode(t, statusOf = () => 200) {
  let count = 0;
  const node = await fakeNode(t, (request, response, body) => {
    const result = (entry) => {
      const status = statusOf(entry);
      return status === 200 ? { status, success: true, id: `id-${++count}` } : { status, detail: "no" };
    };
    if (request.url.endsWith("/log/batch")) {
      return json(response, 200, { results: JSON.parse(body).entries.map(result) });
    }
    const { status, ...rest } = result(JSON.parse(body));
    json(response, status, rest);
  });
  return { ...node, requests: node.requests };
}

/** A log that takes single entries only, as the guide's own implementation. */
const singleNode = (t, answer) =>
  fakeNode(t, async (request, response, body) => {
    if (request.url.endsWith("/batch")) return response.writeHead(404).end("Not Found");
    await answer?.();
    json(response, 200, { success: true, id: `id of ${JSON.parse(body).action}` });
  });

const today = () => new Date().toISOString().slice(0, 10);
const entry = (action, more) => ({ type: "t", action, ...more });

test("the guide's sample is in the log, in today's object", async (t) => {
  const cluster = await startCluster(t);
  const env = durableObjects({ endpoints: cluster.endpoints });
  const result = await logAudit(env, ENTRY);
  assert.equal(result.success, true);
  for (const day of [`/do/AUDIT_LOGGER/name/${today()}`, ""]) {
    const answer = await fetch(`${cluster.endpoints[0]}${day}/query`, { method: "POST", body: "{}" });
    const { entries, count } = await answer.json();
    assert.equal(count, 1);
    assert.deepEqual(entries[0], { id: result.id, timestamp: entries[0].timestamp, ...ENTRY });
  }
});

test("many entries are all in the log of a real node, once, whether or not it takes batches", async (t) => {
  const cluster = await startCluster(t);
  const env = durableObjects({ endpoints: cluster.endpoints });
  const results = await Promise.all(Array.from({ length: 500 }, (_, i) => logAudit(env, entry(`a${i}`, { details: { i } }))));
  assert.ok(results.every(({ success }) => success));
  const stub = env.AUDIT_LOGGER.getByName(today());
  const answer = await stub.fetch("https://audit-logger/query", { method: "POST", body: JSON.stringify({ limit: 10_000 }) });
  const { entries } = await answer.json();
  assert.equal(entries.length, 500);
  const byId = new Map(entries.map((one) => [one.id, one.action]));
  results.forEach(({ id }, i) => assert.equal(byId.get(id), `a${i}`));
});

test("entries of one moment go in one batch, and each gets its own answer", async (t) => {
  const node = await batchNode(t, ({ action }) => (action === "bad" ? 400 : 200));
  const env = durableObjects({ endpoints: [node.endpoint] });
  const shown = silence(t);
  const results = await Promise.all(["a", "bad", "c"].map((action) => logAudit(env, entry(action))));
  assert.deepEqual(results, [{ success: true, id: "id-1" }, { success: false }, { success: true, id: "id-2" }]);
  assert.equal(node.requests.length, 1);
  assert.equal(node.requests[0].path, `/do/AUDIT_LOGGER/name/${today()}/log/batch`);
  assert.deepEqual(JSON.parse(node.requests[0].body), { entries: ["a", "bad", "c"].map((action) => entry(action)) });
  assert.match(node.requests[0].headers["idempotency-key"], /^"[0-9a-f-]{36}";ttl=65$/);
  assert.deepEqual(shown.lines(), [JSON.stringify(entry("bad"))]);
  assert.deepEqual(shown.errors(), ["the audit log answered 400 no"]);
});

test("a single entry goes to /log", async (t) => {
  const node = await batchNode(t);
  const env = durableObjects({ endpoints: [node.endpoint] });
  assert.deepEqual(await logAudit(env, entry("a")), { success: true, id: "id-1" });
  assert.equal(node.requests[0].path, `/do/AUDIT_LOGGER/name/${today()}/log`);
  assert.deepEqual(JSON.parse(node.requests[0].body), entry("a"));
});

test("a batch goes when it has enough entries", async (t) => {
  const node = await batchNode(t);
  const log = new AuditLog(durableObjects({ endpoints: [node.endpoint] }).AUDIT_LOGGER, { entriesMax: 3, delayMs: 60_000 });
  await Promise.all(Array.from({ length: 6 }, (_, i) => log.log(entry(`${i}`))));
  assert.deepEqual(node.requests.map(({ body }) => JSON.parse(body).entries.length), [3, 3]);
});

test("a batch goes when it has enough bytes, and a large entry goes by itself", async (t) => {
  const node = await batchNode(t);
  const log = new AuditLog(durableObjects({ endpoints: [node.endpoint] }).AUDIT_LOGGER, { bytesMax: 1_000, delayMs: 60_000 });
  const sizes = [300, 300, 300, 5_000, 950];
  const all = sizes.map((size, i) => log.log(entry(`${i}`, { details: { x: "x".repeat(size) } })));
  await log.flush();
  assert.ok((await Promise.all(all)).every(({ success }) => success));
  const counts = node.requests.map(({ body }) => JSON.parse(body).entries?.length ?? 1);
  assert.deepEqual(counts.toSorted(), [1, 1, 1, 2]);
});

test("a batch goes when its time is over", async (t) => {
  const node = await batchNode(t);
  const log = new AuditLog(durableObjects({ endpoints: [node.endpoint] }).AUDIT_LOGGER, { delayMs: 150 });
  const began = performance.now();
  const first = log.log(entry("a"));
  const second = log.log(entry("b"));
  await first;
  assert.ok(performance.now() - began >= 145);
  await second;
  assert.equal(node.requests.length, 1);
});

test("flushAudit sends what waits and waits for all of it", async (t) => {
  const node = await batchNode(t);
  const log = new AuditLog(durableObjects({ endpoints: [node.endpoint] }).AUDIT_LOGGER, { delayMs: 60_000 });
  const done = [];
  for (const action of ["a", "b"]) log.log(entry(action)).then(({ success }) => done.push(success));
  await log.flush();
  assert.deepEqual(done, [true, true]);
  const env = durableObjects({ endpoints: [node.endpoint] });
  const result = logAudit(env, entry("c"));
  await flushAudit(env);
  assert.equal(node.requests.length, 2);
  assert.equal((await result).success, true);
});

test("a log without /log/batch gets entries one by one, only so many at once, and is not asked again", async (t) => {
  let running = 0;
  let most = 0;
  const node = await singleNode(t, async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 5));
    running -= 1;
  });
  const log = new AuditLog(durableObjects({ endpoints: [node.endpoint] }).AUDIT_LOGGER, { concurrency: 4 });
  for (const round of [1, 2]) {
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => log.log(entry(`${round}-${i}`))));
    results.forEach((result, i) => assert.deepEqual(result, { success: true, id: `id of ${round}-${i}` }));
  }
  assert.equal(most, 4);
  assert.equal(node.requests.filter(({ path }) => path.endsWith("/batch")).length, 1);
  assert.equal(node.requests.length, 41);
  assert.equal(new Set(node.requests.map(({ headers }) => headers["idempotency-key"])).size, 41);
});

test("a batch that is refused as a whole is sent one by one", async (t) => {
  for (const status of [400, 413]) {
    const node = await fakeNode(t, (request, response, body) => {
      if (request.url.endsWith("/batch")) return problem(response, status, "body_too_large");
      json(response, 200, { success: true, id: JSON.parse(body).action });
    });
    const env = durableObjects({ endpoints: [node.endpoint] });
    const results = await Promise.all([logAudit(env, entry("a")), logAudit(env, entry("b"))]);
    assert.deepEqual(results, [{ success: true, id: "a" }, { success: true, id: "b" }]);
  }
});

test("entries are sent one by one while an upgrade is under way", async (t) => {
  const node = await fakeNode(t, (request, response, body) => {
    if (request.url.endsWith("/batch")) return problem(response, 503, "not_yet_supported", { "Retry-After": "60" });
    json(response, 200, { success: true, id: JSON.parse(body).action });
  });
  const env = durableObjects({ endpoints: [node.endpoint] });
  const results = await Promise.all([logAudit(env, entry("a")), logAudit(env, entry("b"))]);
  assert.deepEqual(results, [{ success: true, id: "a" }, { success: true, id: "b" }]);
});

test("what cannot be logged goes to the console, as what POST /log takes, and nothing is thrown", async (t) => {
  const dead = await deadEndpoint();
  const unauthorized = await fakeNode(t, (_, response) => problem(response, 401, "unauthorized"));
  const strange = await fakeNode(t, (_, response) => json(response, 200, {}));
  const cases = [
    [durableObjects({ endpoints: [dead], timeoutMs: 100 }), /ECONNREFUSED/],
    [durableObjects({ endpoints: [unauthorized.endpoint] }), /401 detail of unauthorized/],
    [durableObjects({ endpoints: [strange.endpoint] }), /no id|answered undefined/],
    [{}, /idFromName/],
    [undefined, /idFromName/],
  ];
  for (const [env, why] of cases) {
    for (const count of [1, 2]) {
      const shown = silence(t);
      const results = await Promise.all(Array.from({ length: count }, (_, i) => logAudit(env, entry(`${i}`))));
      assert.deepEqual(results, Array(count).fill({ success: false }));
      assert.deepEqual(shown.lines().toSorted(), Array.from({ length: count }, (_, i) => JSON.stringify(entry(`${i}`))));
      assert.ok(shown.errors().length >= 1);
      for (const message of shown.errors()) assert.match(message, why);
      t.mock.restoreAll();
    }
  }
});

test("an entry that is no JSON is told of and resolves", async (t) => {
  const node = await batchNode(t);
  const env = durableObjects({ endpoints: [node.endpoint] });
  const shown = silence(t);
  const round = {};
  round.self = round;
  for (const bad of [entry("a", { details: { big: 1n } }), entry("b", { details: round }), undefined]) {
    assert.deepEqual(await logAudit(env, bad), { success: false });
  }
  assert.equal(shown.errors().length, 3);
  assert.equal(node.requests.length, 0);
});

test("what waits is bounded: the rest goes to the console at once", async (t) => {
  const answers = [];
  const node = await singleNode(t, () => new Promise((resolve) => answers.push(resolve)));
  const log = new AuditLog(durableObjects({ endpoints: [node.endpoint] }).AUDIT_LOGGER, { queueBytesMax: 100, delayMs: 1 });
  const shown = silence(t);
  const one = entry("a", { details: { x: "x".repeat(40) } });
  const first = log.log(one);
  assert.deepEqual(await log.log(one), { success: false });
  assert.deepEqual(shown.lines(), [JSON.stringify(one)]);
  await waitFor("the first is under way", () => answers.length === 1);
  answers[0]();
  assert.equal((await first).success, true);
  const again = log.log(one);
  await waitFor("there is room again", () => answers.length === 2);
  answers[1]();
  assert.equal((await again).success, true);
});

test("an entry that was given up is written once, whatever its answer is", async (t) => {
  const answers = [];
  const node = await fakeNode(t, (_, response) => answers.push(response));
  const log = new AuditLog(durableObjects({ endpoints: [node.endpoint] }).AUDIT_LOGGER, { delayMs: 1 });
  const shown = silence(t);
  const result = log.log(entry("a"));
  await waitFor("it is under way", () => answers.length === 1);
  log.abandon("the program ended");
  assert.deepEqual(await result, { success: false });
  problem(answers[0], 400, "invalid_field");
  await waitFor("the answer is told of", () => shown.errors().length === 2);
  assert.deepEqual(shown.lines(), [JSON.stringify(entry("a"))]);
  assert.deepEqual(shown.errors(), ["the program ended", "the audit log answered 400 detail of invalid_field"]);
});

test("ctx.waitUntil gets the entry, and the caller need not wait", async (t) => {
  const node = await batchNode(t);
  const env = durableObjects({ endpoints: [node.endpoint] });
  const contexts = [[], []].map((promises) => ({ promises, waitUntil: (promise) => promises.push(promise) }));
  const [one, two] = contexts;
  logAudit(env, entry("a"), one);
  logAudit(env, entry("b"), one);
  logAudit(env, entry("c"), two);
  two.waitUntil(logAudit(env, entry("d")));
  assert.deepEqual(contexts.map(({ promises }) => promises.length), [2, 2]);
  const results = await Promise.all(contexts.flatMap(({ promises }) => promises));
  assert.ok(results.every(({ success }) => success));
  // A request's entries share a batch with each other, and not with another request's.
  const batches = node.requests.map(({ body }) => JSON.parse(body)).map((body) => (body.entries ?? [body]).map(({ action }) => action));
  assert.deepEqual(batches.map(String).toSorted(), ["a,b", "c", "d"]);
});

const program = promisify(execFile);
const run = (code, ...args) =>
  program(process.execPath, ["--input-type=module", "-e", code, ...args], { cwd: fileURLToPath(new URL("..", import.meta.url)) });
const LOG_ONE = `
  import { durableObjects, logAudit } from "tallykeep";
  const env = durableObjects({ endpoints: [process.argv[1]] });
  logAudit(env, { type: "t", action: "last" });`;

test("a program that ends by itself sends what waits before", async (t) => {
  const node = await batchNode(t);
  const { stdout } = await run(LOG_ONE, node.endpoint);
  assert.equal(stdout, "");
  assert.deepEqual(node.requests.map(({ body }) => JSON.parse(body)), [entry("last")]);
});

test("a program that is ended by process.exit writes what waits to the console", async (t) => {
  const node = await batchNode(t);
  const { stdout, stderr } = await run(`${LOG_ONE} process.exit(0);`, node.endpoint);
  assert.equal(stdout, `${JSON.stringify(entry("last"))}\n`);
  assert.match(stderr, /the program ended before the audit log answered/);
  assert.equal(node.requests.length, 0);
});
