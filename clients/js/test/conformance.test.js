/** tallykeep against the guide's objects in workerd, in small, and whether the comparison can fail. */

import assert from "node:assert/strict";
import test from "node:test";

import { check, get, limiter, log, logger, post, query } from "../conformance/calls.js";
import { conformance, strayRows } from "../conformance/conformance.js";
import { Memory } from "../conformance/memory.js";
import { explain, Report } from "../conformance/report.js";
import { RULES } from "../conformance/rules.js";
import { Runner } from "../conformance/runner.js";

test("300 calls are answered as the guide's objects answer them, but for what the rows say", async (t) => {
  const report = await conformance(t, { seed: 1, calls: 300 });
  assert.ok(report.calls >= 300);
  assert.deepEqual(report.unexplained.map(explain), []);
});

test("each row of docs/compatibility.md has a rule, and each rule a row", async () => {
  assert.deepEqual(await strayRows(), []);
});

/** Two sides that give these answers, and what the report then has not explained: places of differences. */
async function differences(calls, original, ours) {
  const sideOf = (answers) => ({ memory: new Memory(), send: async () => answers.shift() });
  const report = new Report(RULES);
  const run = new Runner({ original: sideOf([...original]), ours: sideOf([...ours]) }, report, "a test");
  for (const call of calls) await run.call(call);
  return report.unexplained.flatMap(({ differences }) => differences.map(({ where }) => where));
}

const json = (status, value, headers = {}) => ({
  id: "0",
  status,
  headers: { "content-type": "application/json", ...headers },
  body: typeof value === "string" ? value : JSON.stringify(value),
});
const withHeaders = (answer, headers) => ({ ...answer, headers: { ...answer.headers, ...headers } });
const without = (answer, name) => ({ ...answer, headers: Object.fromEntries(Object.entries(answer.headers).filter(([own]) => own !== name)) });

test("an answer that was altered is reported: of a check", async (t) => {
  const resetTime = Date.now() + 60_000;
  const limits = { "x-ratelimit-remaining": "9", "x-ratelimit-reset": new Date(resetTime).toISOString() };
  const good = json(200, { allowed: true, remaining: 9, resetTime }, limits);
  const ours = withHeaders(good, { date: "today", "x-ratelimit-limit": "10" });
  const reported = (altered) => differences([check(limiter("a"), "i", 10, 60_000)], [good], [altered]);
  assert.deepEqual(await reported(ours), []);

  const body = (value) => ({ ...ours, body: JSON.stringify(value) });
  const altered = {
    "another id": [{ ...ours, id: "1" }, ["id"]],
    "another status": [{ ...ours, status: 201 }, ["body.resetTime", "header x-ratelimit-reset", "status"]],
    "a thrown error": [{ threw: "TallykeepError: 503" }, ["thrown"]],
    "another header": [withHeaders(ours, { "x-ratelimit-remaining": "8" }), ["header x-ratelimit-remaining"]],
    "another type": [withHeaders(ours, { "content-type": "application/json; charset=utf-8" }), ["header content-type"]],
    "a header that is missing": [without(ours, "x-ratelimit-reset"), ["header x-ratelimit-reset"]],
    "a header that is new": [withHeaders(ours, { server: "x" }), ["header server"]],
    "a header of another time": [withHeaders(ours, { "x-ratelimit-reset": new Date(resetTime + 1).toISOString() }), ["header x-ratelimit-reset"]],
    "another number": [body({ allowed: true, remaining: 8, resetTime }), ["body.remaining"]],
    "a number as text": [body({ allowed: true, remaining: "9", resetTime }), ["body.remaining"]],
    "a number in another form": [{ ...ours, body: ours.body.replace(":9,", ":9.0,") }, ["body.remaining"]],
    "another end": [withHeaders(body({ allowed: true, remaining: 9, resetTime: resetTime + 2_000 }), { "x-ratelimit-reset": new Date(resetTime + 2_000).toISOString() }), ["body.resetTime"]],
    "a member more": [body({ allowed: true, remaining: 9, resetTime, limit: 10 }), ["body.limit"]],
    "a member less": [body({ allowed: true, resetTime }), ["body.remaining"]],
    "another order": [body({ remaining: 9, allowed: true, resetTime }), ["body order"]],
    "no JSON": [{ ...ours, body: "OK" }, ["body", "header x-ratelimit-reset"]],
  };
  for (const [name, [answer, where]] of Object.entries(altered)) {
    await t.test(name, async () => assert.deepEqual((await reported(answer)).sort(), where));
  }
});

test("an answer that was altered is reported: a window that is not the one before", async () => {
  const answer = (resetTime, remaining) =>
    json(200, { allowed: true, remaining, resetTime }, { "x-ratelimit-remaining": `${remaining}`, "x-ratelimit-reset": new Date(resetTime).toISOString() });
  const calls = [check(limiter("a"), "i", 10, 60_000), check(limiter("a"), "i", 10, 60_000)];
  const first = answer(Date.now() + 60_000, 9);
  const resetTime = JSON.parse(first.body).resetTime;
  assert.deepEqual(await differences(calls, [first, answer(resetTime, 8)], [first, answer(resetTime, 8)]), []);
  assert.deepEqual(await differences(calls, [first, answer(resetTime, 8)], [first, answer(resetTime - 500, 8)]), ["body.resetTime"]);
});

test("an answer that was altered is reported: of a log and a query", async (t) => {
  const ids = ["0".repeat(32), "01a21a24-1a3e-7000-8000-bbe8cacb8fcd"];
  const calls = () => [log(logger("a"), { type: "t", action: "a" }), query(logger("a"), {}), get(logger("a"), "/export")];
  const timestamp = Date.now();
  const page = (...entries) => json(200, { entries, count: entries.length });
  const entry = { id: ids[0], timestamp, type: "t", action: "a", details: { n: 1, e: "é" } };
  const ours = { ...entry, id: ids[1] };
  const original = [json(200, { success: true, id: ids[0] }), page(entry), page(entry)];
  const reported = async (...pages) => differences(calls(), original, [json(200, { success: true, id: ids[1] }), ...pages]);
  assert.deepEqual(await reported(page(ours), page(ours)), []);

  const altered = {
    "another id": [page({ ...ours, id: "x" }), ["body.entries[0].id", "body.entries[0].timestamp"]],
    "another time": [page({ ...ours, timestamp: timestamp + 1 }), ["body.entries[0].timestamp"]],
    "another text": [page({ ...ours, action: "b" }), ["body.entries[0].action"]],
    "another member of details": [page({ ...ours, details: { n: 2, e: "é" } }), ["body.entries[0].details.n"]],
    "an escape": [{ ...page(ours), body: page(ours).body.replace("é", "\\u00e9") }, ["body.entries[0].details.e"]],
    "an entry less": [page(), ["body.entries", "body.count"]],
    "an entry twice": [page(ours, ours), ["body.entries", "body.count"]],
    "another count": [{ ...page(ours), body: page(ours).body.replace('"count":1', '"count":2') }, ["body.count"]],
  };
  for (const [name, [answer, where]] of Object.entries(altered)) {
    await t.test(name, async () => assert.deepEqual(await reported(page(ours), answer), where));
  }
});

test("a row excuses no other answer than its own", async () => {
  const problem = (status, code, requestId = "0".repeat(32)) =>
    json(
      status,
      { type: "about:blank", title: "Bad Request", status, detail: "x", code, error: "Bad Request", requestId },
      { "content-type": "application/problem+json", "x-request-id": "0".repeat(32) },
    );
  const bad = (tag) => [post(limiter("a"), "/check", "{}", { tag })];
  const taken = json(200, { allowed: true, remaining: null, resetTime: 1 });
  const count = async (...given) => (await differences(...given)).length;
  assert.equal(await count(bad("requests missing"), [taken], [problem(400, "invalid_field")]), 0);
  assert.ok((await count(bad("requests missing"), [taken], [problem(400, "malformed_json")])) > 0);
  assert.ok((await count(bad("requests missing"), [taken], [problem(500, "invalid_field")])) > 0);
  assert.ok((await count(bad("requests missing"), [taken], [problem(400, "invalid_field", "another")])) > 0);
  assert.ok((await count(bad("requests missing"), [json(500, {})], [problem(400, "invalid_field")])) > 0);
  assert.ok((await count(bad("twice"), [taken], [problem(400, "invalid_field")])) > 0);
  assert.ok((await count(bad(undefined), [taken], [problem(400, "invalid_field")])) > 0);
});

test("a rule that explains nothing is known", () => {
  assert.equal(new Report(RULES).idle.length, RULES.length);
});
