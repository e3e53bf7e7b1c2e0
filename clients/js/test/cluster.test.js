/** Three real nodes, through the package. */

import assert from "node:assert/strict";
import test from "node:test";

import { checkRateLimit, durableObjects, logAudit } from "tallykeep";

import { startCluster } from "./support/cluster.js";
import { fakeNode } from "./support/fake.js";
import { takesKeys } from "./support/keys.js";
import { waitFor } from "./support/wait.js";

const post = (body) => ({ method: "POST", body: JSON.stringify(body) });
const check = (identifier, requests, windowMs = 3_600_000) => post({ identifier, config: { requests, windowMs } });

test("a real cluster", async (t) => {
  const cluster = await startCluster(t, 3);
  const env = durableObjects({ endpoints: cluster.endpoints, timeoutMs: 30_000 });
  const { RATE_LIMITER, AUDIT_LOGGER } = env;

  await t.test("a name, its id and the bare digits are one object", async () => {
    const names = ["wix:a", "a/b?c#d%2e", "日本 😀", "x".repeat(1_025), " ", "%", "...", "e\u0301"];
    for (const name of names) {
      const id = RATE_LIMITER.idFromName(name);
      const stubs = [RATE_LIMITER.get(id), RATE_LIMITER.get(RATE_LIMITER.idFromString(`${id}`)), RATE_LIMITER.getByName(name)];
      const remaining = [];
      for (const stub of stubs) remaining.push((await (await stub.fetch("https://any/check", check("i", 10))).json()).remaining);
      assert.deepEqual(remaining, [9, 8, 7], name);
    }
  });

  await t.test("names that no path can hold are objects of their own", async () => {
    const names = ["", ".", "..", "a\ud800", "a\ufffd", "y".repeat(1_026)];
    for (const name of names) {
      const id = RATE_LIMITER.idFromName(name);
      const stubs = [RATE_LIMITER.get(id), RATE_LIMITER.get(RATE_LIMITER.idFromString(`${id}`))];
      const remaining = [];
      for (const stub of stubs) remaining.push((await (await stub.fetch("https://any/check", check("i", 10))).json()).remaining);
      assert.deepEqual(remaining, [9, 8], name);
    }
  });

  await t.test("an id of no name works", async () => {
    const stub = RATE_LIMITER.get(RATE_LIMITER.newUniqueId());
    assert.equal((await (await stub.fetch("https://any/check", check("i", 1)))).status, 200);
    assert.equal((await (await stub.fetch("https://any/check", check("i", 1)))).status, 429);
  });

  await t.test("the cluster refuses another namespace's id, as idFromString does", async () => {
    const foreign = RATE_LIMITER.get(AUDIT_LOGGER.idFromName("x"));
    const answer = await foreign.fetch("https://any/check", check("i", 1));
    assert.deepEqual([answer.status, (await answer.json()).code], [400, "foreign_id"]);
  });

  await t.test("every endpoint of the guide, per object", async () => {
    const limiter = RATE_LIMITER.getByName("gamma:user-123");
    const first = await limiter.fetch("https://rate-limiter/check", check("user-123", 1));
    assert.deepEqual([first.status, first.headers.get("x-ratelimit-remaining")], [200, "0"]);
    const denied = await limiter.fetch("https://rate-limiter/check", check("user-123", 1));
    assert.equal(denied.status, 429);
    const { allowed, remaining, resetTime, retryAfter } = await denied.json();
    assert.deepEqual([allowed, remaining], [false, 0]);
    assert.equal(denied.headers.get("retry-after"), `${retryAfter}`);
    assert.equal(denied.headers.get("x-ratelimit-reset"), new Date(resetTime).toISOString());
    const reset = await limiter.fetch("https://rate-limiter/reset", post({ identifier: "user-123" }));
    assert.deepEqual(await reset.json(), { success: true });
    assert.equal((await limiter.fetch("https://rate-limiter/check", check("user-123", 1))).status, 200);

    const logger = AUDIT_LOGGER.get(AUDIT_LOGGER.idFromName("2024-01-15"));
    const logged = await logger.fetch("https://audit-logger/log", post({ type: "t", action: "a", details: { "a,b": '"' } }));
    const { success, id } = await logged.json();
    assert.equal(success, true);
    const found = await (await logger.fetch("https://audit-logger/query", post({ type: "t", limit: 100 }))).json();
    assert.deepEqual([found.count, found.entries[0].id], [1, id]);
    const csv = await logger.fetch("https://audit-logger/export?format=csv");
    assert.match(await csv.text(), new RegExp(`^id,timestamp,type,action,userId,ip,details\r\n${id},`));
    assert.deepEqual(await (await logger.fetch("https://audit-logger/export?format=json")).json(), found);
  });

  await t.test("errors of the cluster are answers", async () => {
    const limiter = RATE_LIMITER.getByName("wix:errors");
    const cases = [
      [await limiter.fetch("https://any/nothing"), 404],
      [await limiter.fetch("https://any/check"), 405],
      [await limiter.fetch("https://any/check", { method: "POST", body: "{" }), 400],
      [await limiter.fetch("https://any/check", { method: "POST", body: "x".repeat(1_100_000) }), 413],
    ];
    for (const [answer, status] of cases) {
      assert.equal(answer.status, status);
      assert.equal(typeof (await answer.json()).error, "string");
    }
  });
});

test("an answer that is lost on its way is asked for again, and is counted once", async (t) => {
  const cluster = await startCluster(t);
  const [endpoint] = cluster.endpoints;
  if (!(await takesKeys(endpoint))) return t.skip("this tallykeep takes no Idempotency-Key");

  // In front of the node: carries the first request out, and breaks off instead of answering.
  let lost = 0;
  const lossy = await fakeNode(t, async (request, response, body) => {
    const headers = { "Idempotency-Key": request.headers["idempotency-key"] };
    const answer = await fetch(endpoint + request.url, { method: "POST", body, headers });
    assert.equal(answer.status, 200);
    lost += 1;
    request.socket.destroy();
  });
  t.mock.method(Math, "random", () => 0);
  const { RATE_LIMITER, AUDIT_LOGGER } = durableObjects({ endpoints: [lossy.endpoint, endpoint] });
  const limiter = RATE_LIMITER.getByName("wix:lost");
  const first = await limiter.fetch("https://any/check", check("i", 10));
  assert.equal(lost, 1);
  assert.equal(first.headers.get("idempotency-replayed"), "true");
  assert.equal((await first.json()).remaining, 9);
  assert.equal((await (await limiter.fetch("https://any/check", check("i", 10))).json()).remaining, 8);

  const logger = durableObjects({ endpoints: [lossy.endpoint, endpoint] }).AUDIT_LOGGER.getByName("lost");
  const entries = ["a", "b"].map((action) => ({ type: "lost", action }));
  const logged = await logger.fetch("https://any/log/batch", post({ entries }));
  assert.equal(lost, 2);
  assert.deepEqual((await logged.json()).results.map(({ status }) => status), [200, 200]);
  const found = await AUDIT_LOGGER.getByName("lost").fetch("https://any/query", post({}));
  assert.equal((await found.json()).count, 2);
});

/** Calls one after the other in `lanes` lanes, until `isOver`; gives every result, or throws the first failure. */
async function load(lanes, isOver, call) {
  const results = [];
  const lane = async () => {
    while (!isOver()) results.push(await call(results.length));
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}

for (const [what, fault] of [
  ["the leader is killed", async (cluster) => cluster.signal(await cluster.leader(), "SIGKILL")],
  [
    "a follower is killed",
    async (cluster) => {
      const leader = await cluster.leader();
      await cluster.signal([1, 2, 3].find((id) => id !== leader), "SIGKILL");
    },
  ],
  ["the leader is stopped gracefully", async (cluster) => cluster.signal(await cluster.leader(), "SIGTERM")],
  ["the leader freezes", async (cluster) => cluster.signal(await cluster.leader(), "SIGSTOP")],
]) {
  test(`no call fails while ${what}`, async (t) => {
    const cluster = await startCluster(t, 3);
    const env = durableObjects({ endpoints: cluster.endpoints, timeoutMs: 30_000, attemptTimeoutMs: 1_000 });
    const isExact = await takesKeys(cluster.endpoints[0]);
    let checks = 0;
    let entries = 0;
    let isOver = false;
    const failures = t.mock.method(console, "error").mock;
    const loads = [
      load(6, () => isOver, async () => {
        // Not checkRateLimit: it would hide a failure.
        const answer = await env.RATE_LIMITER.getByName("wix:load").fetch("https://any/check", check("load", 1_000_000));
        assert.equal(answer.status, 200);
        checks += 1;
        return (await answer.json()).remaining;
      }),
      load(2, () => isOver, async (index) => {
        const result = await logAudit(env, { type: "load", action: `${index}` });
        assert.equal(result.success, true);
        entries += 1;
        return result.id;
      }),
    ];
    try {
      await waitFor("the load runs", () => checks >= 200 && entries >= 20);
      await fault(cluster);
      const [checksThen, entriesThen] = [checks, entries];
      await waitFor("the load goes on", () => checks >= checksThen + 500 && entries >= entriesThen + 50);
    } finally {
      isOver = true;
    }
    const [remaining, ids] = await Promise.all(loads);
    assert.deepEqual(failures.calls.map((call) => call.arguments), []);
    // Every answer is a grant of its own, and every entry is an entry of its own.
    assert.equal(new Set(remaining).size, remaining.length);
    assert.equal(new Set(ids).size, ids.length);
    // And nothing was counted that has no answer, however often it was sent.
    if (isExact) assert.equal(Math.min(...remaining), 1_000_000 - remaining.length);
  });
}

test("with no majority, calls throw and the helper fails open; with one again, both work", async (t) => {
  const cluster = await startCluster(t, 3);
  const env = durableObjects({ endpoints: cluster.endpoints, timeoutMs: 1_500 });
  const config = { requests: 5, windowMs: 60_000 };
  assert.equal((await checkRateLimit(env, "a", "wix", config)).remaining, 4);
  await cluster.signal(1, "SIGKILL");
  await cluster.signal(2, "SIGKILL");
  const stub = env.RATE_LIMITER.getByName("wix:a");
  await assert.rejects(stub.fetch("https://any/check", check("a", 5)), { name: "TallykeepError", retryable: true });
  const error = t.mock.method(console, "error", () => {}).mock;
  const open = await checkRateLimit(env, "a", "wix", config);
  assert.deepEqual([open.allowed, open.remaining], [true, 0]);
  assert.equal(error.calls.length, 1);
  cluster.start(1);
  await cluster.waitReady(1);
  const back = await waitFor("checks are decided again", async () => {
    const result = await checkRateLimit(env, "b", "wix", config);
    return result.remaining > 0 && result;
  });
  assert.equal(back.allowed, true);
});
