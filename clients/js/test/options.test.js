import assert from "node:assert/strict";
import test from "node:test";

import { AuditLog, durableObjects, rateLimitBinding } from "tallykeep";

import { Circuit } from "../dist/circuit.js";
import { retryAfterMs } from "../dist/retry-after.js";

const GOOD = { endpoints: ["http://127.0.0.1:7001"] };

test("the guide's bindings are there by default, and nothing else", () => {
  const env = { OTHER: "x", ...durableObjects(GOOD) };
  assert.deepEqual(Object.keys(env), ["OTHER", "RATE_LIMITER", "AUDIT_LOGGER"]);
  // src/bindings.rs and workerd agree on this one: test/workerd.test.js.
  assert.equal(
    env.RATE_LIMITER.idFromName("wix:a").toString(),
    "e318b287ece8fa9ceb8725ac41cc8c6f64201c41d6af06be1188c03425065f4c",
  );
});

test("bindings of other names, scripts and classes have other ids", () => {
  const { LIMITS, LOG, RATE_LIMITER } = durableObjects({
    ...GOOD,
    scriptName: "gate",
    bindings: {
      LIMITS: { className: "RateLimiter" },
      LOG: { className: "AuditLogger" },
      RATE_LIMITER: { className: "RateLimiter", scriptName: "wix-gamma-integration" },
    },
  });
  const ids = [LIMITS, LOG, RATE_LIMITER].map((namespace) => namespace.idFromName("wix:a").toString());
  assert.equal(new Set(ids).size, 3);
  assert.equal(ids[2], durableObjects(GOOD).RATE_LIMITER.idFromName("wix:a").toString());
});

test("options out of bounds are TypeErrors that name them", () => {
  const cases = [
    [undefined, /endpoints/],
    [{}, /endpoints must be a list of at least one URL/],
    [{ endpoints: [] }, /endpoints must be a list of at least one URL/],
    [{ endpoints: "http://a" }, /endpoints must be a list/],
    [{ endpoints: ["a:1"] }, /endpoint a:1 must be a URL like/],
    [{ endpoints: ["ftp://a"] }, /endpoint ftp:\/\/a must be a URL like/],
    [{ endpoints: [7] }, /endpoint 7 must be a URL like/],
    [{ endpoints: ["http://u:p@a"] }, /no user, query or fragment/],
    [{ endpoints: ["http://a?b"] }, /no user, query or fragment/],
    [{ endpoints: ["http://a", "http://a/"] }, /an endpoint is there twice/],
    [{ ...GOOD, timeout: 5 }, /there is no option timeout/],
    [{ ...GOOD, timeoutMs: 0 }, /timeoutMs must be an integer from 1 to 600000/],
    [{ ...GOOD, timeoutMs: "5" }, /timeoutMs must be an integer/],
    [{ ...GOOD, attemptTimeoutMs: 1.5 }, /attemptTimeoutMs must be an integer/],
    [{ ...GOOD, token: "" }, /token must be a string of visible ASCII/],
    [{ ...GOOD, token: "a\nb" }, /token must be a string of visible ASCII/],
    [{ ...GOOD, fetch: 7 }, /fetch must be a function/],
    [{ ...GOOD, scriptName: "" }, /scriptName must be a string/],
    [{ ...GOOD, bindings: {} }, /bindings must be an object of at least one/],
    [{ ...GOOD, bindings: { A: { className: "Counter" } } }, /className of A must be RateLimiter or AuditLogger/],
    [{ ...GOOD, bindings: { A: { className: "RateLimiter", scriptName: 7 } } }, /scriptName must be/],
  ];
  for (const [options, message] of cases) {
    assert.throws(() => durableObjects(options), { name: "TypeError", message }, JSON.stringify(options));
  }
  const { RATE_LIMITER, AUDIT_LOGGER } = durableObjects(GOOD);
  for (const options of [{ entriesMax: 0 }, { bytesMax: 1e9 }, { delayMs: -1 }, { queueBytesMax: 0 }, { concurrency: 1e3 }]) {
    const [name] = Object.keys(options);
    assert.throws(() => new AuditLog(AUDIT_LOGGER, options), { name: "TypeError", message: new RegExp(`^${name} must be`) });
  }
  for (const options of [
    {}, { namespaceId: "a" }, { namespaceId: "", simple: { limit: 1, period: 1 } },
    { namespaceId: "a", simple: { limit: -1, period: 1 } }, { namespaceId: "a", simple: { limit: 1, period: 0 } },
  ]) {
    assert.throws(() => rateLimitBinding(RATE_LIMITER, options), { name: "TypeError", message: /namespaceId, and simple/ });
  }
});

test("Retry-After is seconds or a date (RFC 9110, 10.2.3)", () => {
  const nowMs = Date.parse("2026-11-26T12:00:00Z");
  const cases = [
    ["0", 0], ["120", 120_000], [" 7 ", 7_000], ["Thu, 26 Nov 2026 12:00:30 GMT", 30_000],
    ["Thu, 26 Nov 2026 11:00:00 GMT", 0], ["soon", undefined], ["", undefined], [null, undefined],
  ];
  for (const [value, ms] of cases) assert.equal(retryAfterMs(value, nowMs), ms, String(value));
});

test("a circuit opens for longer with every failed trial, and closes with an answer", () => {
  const circuit = new Circuit();
  assert.ok(circuit.isClosed(0));
  circuit.fail(0, 10);
  assert.ok(!circuit.isClosed(509) && circuit.isClosed(510));
  // Calls that were under way when it failed are the same failure.
  circuit.fail(5, 20);
  assert.ok(circuit.isClosed(510));
  // While one call tries the node, others pass it over.
  circuit.begin(510, 2_000);
  assert.ok(!circuit.isClosed(2_509) && circuit.isClosed(2_510));
  circuit.fail(510, 600);
  assert.ok(!circuit.isClosed(1_599) && circuit.isClosed(1_600));
  for (let nowMs = 2_000; nowMs < 200_000; nowMs += 20_000) circuit.fail(nowMs, nowMs);
  circuit.fail(300_000, 300_000);
  assert.ok(!circuit.isClosed(314_999) && circuit.isClosed(315_000));
  circuit.succeed();
  assert.ok(circuit.isClosed(300_001));
  circuit.begin(300_001, 2_000);
  assert.ok(circuit.isClosed(300_002));
});
