/** checkRateLimit, its headers, and Cloudflare's form of it. */

import assert from "node:assert/strict";
import test from "node:test";

import { checkRateLimit, durableObjects, rateLimitBinding, rateLimitHeaders } from "tallykeep";

import { startCluster } from "./support/cluster.js";
import { ALLOWED, deadEndpoint, fakeNode, json, problem } from "./support/fake.js";

const CONFIG = { requests: 2, windowMs: 60_000 };

/** Mutes what goes to console.error, and gives it when asked: the arguments of each call. */
function errors(t) {
  const { mock } = t.mock.method(console, "error", () => {});
  return () => mock.calls.map((call) => call.arguments);
}

test("the guide's sample: two requests are allowed, the third is not", async (t) => {
  const cluster = await startCluster(t);
  const env = durableObjects({ endpoints: cluster.endpoints });
  const results = [];
  for (let call = 0; call < 3; call++) results.push(await checkRateLimit(env, "1.2.3.4", "wix", CONFIG));
  assert.deepEqual(results.map(({ allowed, remaining }) => [allowed, remaining]), [[true, 1], [true, 0], [false, 0]]);
  const [{ resetTime }, , denied] = results;
  assert.ok(resetTime > Date.now() && resetTime <= Date.now() + 60_000);
  assert.deepEqual(results.map((result) => result.resetTime), [resetTime, resetTime, resetTime]);
  assert.ok(Number.isInteger(denied.retryAfter) && denied.retryAfter >= 1 && denied.retryAfter <= 60);
  assert.ok(!("retryAfter" in results[0]));
  // Another type is another limiter, and the root's is the same one.
  assert.equal((await checkRateLimit(env, "1.2.3.4", "gamma", CONFIG)).remaining, 1);
  const root = await fetch(`${cluster.endpoints[0]}/check`, {
    method: "POST",
    body: JSON.stringify({ identifier: "1.2.3.4", type: "wix", config: CONFIG }),
  });
  assert.equal(root.status, 429);
});

test("without a config the limit is the policy of the type", async (t) => {
  const cluster = await startCluster(t);
  const [endpoint] = cluster.endpoints;
  const env = durableObjects({ endpoints: [endpoint] });
  const failures = errors(t);
  // Without a policy nothing can be decided, and it fails open.
  assert.equal((await checkRateLimit(env, "1.2.3.4", "wix")).allowed, true);
  assert.match(`${failures()[0][1]}`, /no policy is stored for the type \"wix\"/);
  const stored = await fetch(`${endpoint}/admin/policies/wix`, {
    method: "PUT",
    body: JSON.stringify({ requests: 1, windowMs: 60_000 }),
  });
  assert.equal(stored.status, 200);
  const results = [];
  for (let call = 0; call < 2; call++) results.push(await checkRateLimit(env, "1.2.3.4", "wix"));
  assert.deepEqual(results.map(({ allowed, remaining }) => [allowed, remaining]), [[true, 0], [false, 0]]);
  // It is the limiter that a check with a config of its own counts in, too.
  assert.equal((await checkRateLimit(env, "1.2.3.4", "wix", CONFIG)).remaining, 0);
  assert.equal(failures().length, 1);
});

test("identifiers that the cluster would not take are limited all the same", async (t) => {
  const cluster = await startCluster(t);
  const env = durableObjects({ endpoints: cluster.endpoints });
  const failures = errors(t);
  const odd = ["", "x".repeat(513), "é".repeat(300), "a\nb", "\0", "\u0085", "\ud800", "x".repeat(100_000)];
  const fine = ["x".repeat(512), "é".repeat(256), "a b/c?d#e%", "2001:db8::1", "\u200b", ".", ".."];
  for (const identifier of [...odd, ...fine]) {
    const results = [];
    for (let call = 0; call < 3; call++) results.push(await checkRateLimit(env, identifier, "wix", CONFIG));
    assert.deepEqual(results.map(({ allowed }) => allowed), [true, true, false], JSON.stringify(identifier.slice(0, 20)));
  }
  assert.deepEqual(failures(), []);
});

test("it fails open as the guide says, and tells why", async (t) => {
  const unavailable = await fakeNode(t, (_, response) => problem(response, 503, "no_leader", { "Retry-After": "9" }));
  const refusing = await fakeNode(t, (_, response) => problem(response, 401, "unauthorized"));
  const often = await fakeNode(t, (_, response) => problem(response, 429, "token_rate_limited", { "Retry-After": "9" }));
  const proxy = await fakeNode(t, (_, response) => problem(response, 429, "slow_down"));
  const strange = await fakeNode(t, (_, response) => json(response, 200, { ok: true }));
  const html = await fakeNode(t, (_, response) => response.end("<h1>"));
  const cases = [
    [durableObjects({ endpoints: [await deadEndpoint()], timeoutMs: 100 }), /ECONNREFUSED/],
    [durableObjects({ endpoints: [unavailable.endpoint] }), /503: detail of no_leader/],
    [durableObjects({ endpoints: [refusing.endpoint] }), /401 detail of unauthorized/],
    [durableObjects({ endpoints: [often.endpoint] }), /429: detail of token_rate_limited/],
    [durableObjects({ endpoints: [proxy.endpoint] }), /429 detail of slow_down/],
    [durableObjects({ endpoints: [strange.endpoint] }), /no allowed or no resetTime/],
    [durableObjects({ endpoints: [html.endpoint] }), /JSON/],
    [{}, /idFromName/],
  ];
  for (const [env, why] of cases) {
    const failures = errors(t);
    const before = Date.now();
    const result = await checkRateLimit(env, "a", "wix", CONFIG);
    const after = Date.now();
    assert.deepEqual(result, { allowed: true, remaining: 0, resetTime: result.resetTime });
    assert.ok(result.resetTime >= before + 60_000 && result.resetTime <= after + 60_000);
    assert.equal(failures().length, 1);
    const [[text, error]] = failures();
    assert.equal(text, "Rate limit check error:");
    assert.match(error.message, why);
    t.mock.restoreAll();
  }
});

test("a token that asks one node too often still has its checks decided by another", async (t) => {
  const failures = errors(t);
  const often = await fakeNode(t, (_, response) => problem(response, 429, "token_rate_limited", { "Retry-After": "1" }));
  const denied = { allowed: false, remaining: 0, resetTime: 1634567890000, retryAfter: 45 };
  const deciding = await fakeNode(t, (_, response) => json(response, 429, denied));
  const env = durableObjects({ endpoints: [often.endpoint, deciding.endpoint] });
  // In turn, so that each is the first to be asked.
  for (let call = 0; call < 2; call++) assert.deepEqual(await checkRateLimit(env, "a", "wix", CONFIG), denied);
  assert.deepEqual([often.requests.length, deciding.requests.length], [1, 2]);
  assert.deepEqual(failures(), []);
});

test("a config or a type out of bounds is the program's fault and thrown", async () => {
  const env = durableObjects({ endpoints: ["http://127.0.0.1:1"] });
  const configs = [
    [null, /requests/], [{}, /requests/], [{ requests: -1, windowMs: 1 }, /requests/], [{ requests: 1.5, windowMs: 1 }, /requests/],
    [{ requests: 2 ** 53, windowMs: 1 }, /requests/], [{ requests: "1", windowMs: 1 }, /requests/], [{ requests: 1 }, /windowMs/],
    [{ requests: 1, windowMs: 0 }, /windowMs/], [{ requests: 1, windowMs: 34_560_000_001 }, /windowMs/], [{ requests: 1, window: 1 }, /windowMs/],
  ];
  for (const [config, message] of configs) {
    await assert.rejects(checkRateLimit(env, "a", "wix", config), { name: "TypeError", message });
  }
  for (const type of ["", undefined, "x".repeat(513)]) {
    await assert.rejects(checkRateLimit(env, "a", type, CONFIG), { name: "TypeError", message: /type/ });
  }
});

test("the headers are the guide's", () => {
  const denied = { allowed: false, remaining: 0, resetTime: 1634567890000, retryAfter: 45 };
  const reset = "2021-10-18T14:38:10.000Z";
  assert.deepEqual(rateLimitHeaders(ALLOWED), { "X-RateLimit-Remaining": "95", "X-RateLimit-Reset": reset });
  assert.deepEqual(rateLimitHeaders(denied), { "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset, "Retry-After": "45" });
  assert.equal(rateLimitHeaders({ ...denied, retryAfter: undefined })["Retry-After"], "60");
  assert.equal(rateLimitHeaders(ALLOWED, CONFIG)["X-RateLimit-Limit"], "2");
});

test("Cloudflare's rate limit binding", async (t) => {
  const cluster = await startCluster(t);
  const { RATE_LIMITER } = durableObjects({ endpoints: cluster.endpoints });
  const options = { namespaceId: "1001", simple: { limit: 2, period: 60 } };
  const env = { MY_LIMITER: rateLimitBinding(RATE_LIMITER, options), SAME: rateLimitBinding(RATE_LIMITER, options) };
  const other = rateLimitBinding(RATE_LIMITER, { ...options, namespaceId: "1002" });
  assert.deepEqual(await env.MY_LIMITER.limit({ key: "user" }), { success: true });
  assert.deepEqual(await env.SAME.limit({ key: "user", delta: 1 }), { success: true });
  assert.deepEqual(await env.MY_LIMITER.limit({ key: "user" }), { success: false });
  assert.deepEqual(await env.MY_LIMITER.limit({ key: "another" }), { success: true });
  assert.deepEqual(await other.limit({ key: "user" }), { success: true });
  await assert.rejects(env.MY_LIMITER.limit({}), { name: "TypeError", message: /key/ });
  await assert.rejects(env.MY_LIMITER.limit({ key: "user", delta: 2 }), { name: "TypeError", message: /delta/ });
});

test("Cloudflare's rate limit binding fails open", async (t) => {
  errors(t);
  const { RATE_LIMITER } = durableObjects({ endpoints: [await deadEndpoint()], timeoutMs: 100 });
  const limiter = rateLimitBinding(RATE_LIMITER, { namespaceId: "1001", simple: { limit: 0, period: 60 } });
  assert.deepEqual(await limiter.limit({ key: "user" }), { success: true });
});
