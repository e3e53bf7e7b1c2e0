/** Failover, against nodes that fail in chosen ways. */

import assert from "node:assert/strict";
import test from "node:test";
import v8 from "node:v8";
import vm from "node:vm";

import { durableObjects, TallykeepError } from "tallykeep";

import { ALLOWED, deadEndpoint, fakeNode, json, problem } from "./support/fake.js";
import { waitFor } from "./support/wait.js";

const CHECK = { method: "POST", body: JSON.stringify({ identifier: "a", config: { requests: 1, windowMs: 1000 } }) };

/** A stub on these endpoints; the first is the first to be asked. */
function stubOn(t, endpoints, options = {}) {
  t.mock.method(Math, "random", () => 0);
  return durableObjects({ endpoints, ...options }).RATE_LIMITER.getByName("wix:a");
}

const allow = (_, response) => json(response, 200, ALLOWED);

test("a call goes to the object's path, with the token, a key and the same body", async (t) => {
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [`${node.endpoint}/prefix/`], { token: "secret" });
  const answer = await stub.fetch("https://any/check?a=b", { ...CHECK, headers: { "X-Own": "1" } });
  assert.deepEqual(await answer.json(), ALLOWED);
  const [request] = node.requests;
  assert.equal(request.path, "/prefix/do/RATE_LIMITER/name/wix%3Aa/check?a=b");
  assert.equal(request.method, "POST");
  assert.equal(request.body, CHECK.body);
  assert.equal(request.headers.authorization, "Bearer secret");
  assert.equal(request.headers["x-own"], "1");
  assert.match(request.headers["idempotency-key"], /^"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";ttl=65$/);
  assert.equal(request.headers.host, new URL(node.endpoint).host);
});

test("the token takes the place of a forwarded request's own, and no connection header goes on", async (t) => {
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [node.endpoint], { token: "secret" });
  const headers = { Authorization: "Bearer user", Host: "evil", Connection: "close", TE: "trailers", Cookie: "c=1" };
  await stub.fetch("https://any/check", { ...CHECK, headers });
  const [{ headers: sent }] = node.requests;
  assert.equal(sent.authorization, "Bearer secret");
  assert.equal(sent.host, new URL(node.endpoint).host);
  assert.equal(sent.te, undefined);
  assert.equal(sent.cookie, "c=1");
});

test("each POST has a key of its own, a caller's key is kept, and a GET has none", async (t) => {
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [node.endpoint]);
  await stub.fetch("https://any/check", CHECK);
  await stub.fetch("https://any/check", CHECK);
  await stub.fetch("https://any/check", { ...CHECK, headers: { "Idempotency-Key": "own" } });
  await stub.fetch("https://any/export");
  const keys = node.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.notEqual(keys[0], keys[1]);
  assert.equal(keys[2], "own");
  assert.equal(keys[3], undefined);
});

test("names that a path cannot hold go by id", async (t) => {
  const node = await fakeNode(t, allow);
  const { RATE_LIMITER, AUDIT_LOGGER } = durableObjects({ endpoints: [node.endpoint] });
  const long = "x".repeat(1025);
  for (const name of ["", ".", "..", "a\ud800", `${long}y`]) {
    await RATE_LIMITER.getByName(name).fetch("https://any/check", CHECK);
    assert.equal(node.requests.at(-1).path, `/do/RATE_LIMITER/id/${RATE_LIMITER.idFromName(name)}/check`);
  }
  for (const name of ["...", "a/b", "%2e", "a?b#c", long, "日本 😀"]) {
    await RATE_LIMITER.getByName(name).fetch("https://any/check", CHECK);
    assert.equal(node.requests.at(-1).path, `/do/RATE_LIMITER/name/${encodeURIComponent(name)}/check`);
  }
  const foreign = AUDIT_LOGGER.idFromName("x");
  await RATE_LIMITER.get(foreign).fetch("https://any/check", CHECK);
  assert.equal(node.requests.at(-1).path, `/do/RATE_LIMITER/id/${foreign}/check`);
});

test("a refused connection is asked of the next node at once", async (t) => {
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [await deadEndpoint(), node.endpoint], { attemptTimeoutMs: 60_000, timeoutMs: 60_000 });
  const answer = await stub.fetch("https://any/check", CHECK);
  assert.equal(answer.status, 200);
  assert.equal(node.requests.length, 1);
});

for (const [what, breakOff] of [
  ["before it answers", (request) => request.socket.destroy()],
  [
    "in the midst of its headers",
    (request) => request.socket.end("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-le"),
  ],
  [
    "in the midst of its answer",
    (request) => request.socket.end('HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n{"allowed":true,"remai'),
  ],
  [
    "in the midst of a chunked answer",
    (request) => request.socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"all\r\n'),
  ],
]) {
  test(`a node that breaks off ${what} is asked again elsewhere, with the same key and body`, async (t) => {
    const broken = await fakeNode(t, breakOff);
    const node = await fakeNode(t, allow);
    const stub = stubOn(t, [broken.endpoint, node.endpoint]);
    const answer = await stub.fetch("https://any/check", CHECK);
    assert.deepEqual(await answer.json(), ALLOWED);
    assert.equal(broken.requests.length, 1);
    assert.equal(node.requests.length, 1);
    assert.equal(node.requests[0].headers["idempotency-key"], broken.requests[0].headers["idempotency-key"]);
    assert.equal(node.requests[0].body, broken.requests[0].body);
  });
}

test("a node that takes too long is left for the next, with the same key", async (t) => {
  const slow = await fakeNode(t, () => {});
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [slow.endpoint, node.endpoint], { attemptTimeoutMs: 100, timeoutMs: 60_000 });
  assert.equal((await stub.fetch("https://any/check", CHECK)).status, 200);
  assert.equal(slow.requests[0].headers["idempotency-key"], node.requests[0].headers["idempotency-key"]);
});

test("a streamed body is read once and sent to both nodes", async (t) => {
  const broken = await fakeNode(t, (request) => request.socket.destroy());
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [broken.endpoint, node.endpoint]);
  const body = new Blob(["one ", "two"]).stream();
  assert.equal((await stub.fetch("https://any/check", { method: "POST", body })).status, 200);
  assert.deepEqual([broken.requests[0].body, node.requests[0].body], ["one two", "one two"]);
});

test("a body over 2 MiB is refused and not sent, and its stream is cancelled", async (t) => {
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [node.endpoint]);
  const just = await stub.fetch("https://any/check", { method: "POST", body: "x".repeat(2 ** 21) });
  assert.equal(just.status, 200);
  let isCancelled = false;
  const body = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
    cancel: () => (isCancelled = true),
  });
  await assert.rejects(stub.fetch("https://any/check", { method: "POST", body }), {
    name: "TypeError",
    message: "The request's body has more than 2097152 bytes.",
  });
  assert.ok(isCancelled);
  assert.equal(node.requests.length, 1);
});

test("a streamed body that does not come is not waited for beyond the deadline, or an abort", async (t) => {
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [node.endpoint], { timeoutMs: 200 });
  let cancelled = 0;
  const body = () => new ReadableStream({ cancel: () => void (cancelled += 1) });
  await assert.rejects(stub.fetch("https://any/check", { method: "POST", body: body() }), {
    name: "TallykeepError",
    message: "the request's body did not come in time",
  });
  const patient = stubOn(t, [node.endpoint], { timeoutMs: 60_000 });
  for (const signal of [AbortSignal.timeout(50), AbortSignal.abort(new DOMException("now", "TimeoutError"))]) {
    await assert.rejects(patient.fetch("https://any/check", { method: "POST", body: body(), signal }), { name: "TimeoutError" });
  }
  assert.ok(cancelled >= 2);
  assert.equal(node.requests.length, 0);
});

test("no node within the deadline is an error that says why", async (t) => {
  const stub = stubOn(t, [await deadEndpoint(), await deadEndpoint()], { timeoutMs: 300 });
  const began = performance.now();
  await assert.rejects(stub.fetch("https://any/check", CHECK), (error) => {
    assert.ok(error instanceof TallykeepError && error instanceof Error);
    assert.match(error.message, /^tallykeep at http:\/\/127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/);
    assert.deepEqual([error.status, error.retryable, error.overloaded, error.remote], [undefined, true, false, false]);
    assert.ok(error.cause instanceof Error);
    return true;
  });
  assert.ok(performance.now() - began < 5_000);
});

test("a single node has the whole deadline, and then the call fails", async (t) => {
  const slow = await fakeNode(t, () => {});
  const stub = stubOn(t, [slow.endpoint], { timeoutMs: 300, attemptTimeoutMs: 10 });
  const began = performance.now();
  await assert.rejects(stub.fetch("https://any/check", CHECK), { name: "TallykeepError", message: /no answer within (2\d\d|300) ms/ });
  assert.ok(performance.now() - began >= 290);
  assert.equal(slow.requests.length, 1);
});

test("a 503 is asked of the other nodes, and of the same one after its Retry-After", async (t) => {
  let isElected = false;
  const times = [];
  const node = (name) => (_, response) => {
    times.push([name, performance.now()]);
    if (times.length === 2) isElected = true;
    if (isElected && times.length > 2) return json(response, 200, ALLOWED);
    problem(response, 503, "no_leader", { "Retry-After": "1" });
  };
  const [one, two] = [await fakeNode(t, node("one")), await fakeNode(t, node("two"))];
  const stub = stubOn(t, [one.endpoint, two.endpoint], { timeoutMs: 60_000 });
  assert.equal((await stub.fetch("https://any/check", CHECK)).status, 200);
  assert.deepEqual(times.map(([name]) => name), ["one", "two", "one"]);
  assert.ok(times[2][1] - times[0][1] >= 990, "the node was asked before its Retry-After");
  const keys = [...one.requests, ...two.requests].map(({ headers }) => headers["idempotency-key"]);
  assert.equal(new Set(keys).size, 1);
});

test("a Retry-After beyond the deadline is not waited for", async (t) => {
  const later = new Date(Date.now() + 3_600_000).toUTCString();
  for (const retryAfter of ["3600", later]) {
    const headers = { "Retry-After": retryAfter, "X-Request-Id": "r-1" };
    const node = await fakeNode(t, (_, response) => problem(response, 503, "overloaded", headers));
    const stub = stubOn(t, [node.endpoint], { timeoutMs: 60_000 });
    await assert.rejects(stub.fetch("https://any/check", CHECK), (error) => {
      assert.equal(error.message, `tallykeep at ${node.endpoint} answered 503: detail of overloaded (request r-1)`);
      assert.deepEqual([error.status, error.code], [503, "overloaded"]);
      assert.deepEqual([error.retryable, error.overloaded, error.remote], [true, true, true]);
      return true;
    });
    assert.equal(node.requests.length, 1);
  }
});

test("a token that asks a node too often asks the others, and the same one after its Retry-After", async (t) => {
  const often = (_, response) => problem(response, 429, "token_rate_limited", { "Retry-After": "1" });
  const busy = await fakeNode(t, often);
  const good = await fakeNode(t, allow);
  // A GET too, whose answers are streamed.
  for (const init of [CHECK, { method: "GET" }]) {
    const answer = await stubOn(t, [busy.endpoint, good.endpoint]).fetch("https://any/check", init);
    assert.deepEqual(await answer.json(), ALLOWED);
  }
  assert.deepEqual([busy.requests.length, good.requests.length], [2, 2]);
  const [keyed, streamed] = [0, 1].map((call) => [busy, good].map(({ requests }) => requests[call].headers["idempotency-key"]));
  assert.ok(keyed[0] !== undefined && keyed[0] === keyed[1]);
  assert.deepEqual(streamed, [undefined, undefined]);

  const times = [];
  const roomy = await fakeNode(t, (request, response) => {
    times.push(performance.now());
    (times.length === 1 ? often : allow)(request, response);
  });
  const stub = stubOn(t, [roomy.endpoint, busy.endpoint], { timeoutMs: 60_000 });
  assert.equal((await stub.fetch("https://any/check", CHECK)).status, 200);
  assert.ok(times[1] - times[0] >= 990, "the node was asked before its Retry-After");
  assert.equal(busy.requests.length, 3);
});

test("a token that asks every node too often until the deadline is an error, and no answer", async (t) => {
  const headers = { "Retry-After": "1", "X-Request-Id": "r-1" };
  const often = (_, response) => problem(response, 429, "token_rate_limited", headers);
  const [one, two] = [await fakeNode(t, often), await fakeNode(t, often)];
  const stub = stubOn(t, [one.endpoint, two.endpoint], { timeoutMs: 500 });
  await assert.rejects(stub.fetch("https://any/check", CHECK), (error) => {
    assert.ok(error instanceof TallykeepError);
    assert.equal(error.message, `tallykeep at ${two.endpoint} answered 429: detail of token_rate_limited (request r-1)`);
    assert.deepEqual([error.status, error.code], [429, "token_rate_limited"]);
    assert.deepEqual([error.retryable, error.overloaded, error.remote], [true, false, true]);
    return true;
  });
  assert.deepEqual([one.requests.length, two.requests.length], [1, 1]);
});

test("a 429 that is not of the token is the answer, whatever it is", async (t) => {
  const denied = JSON.stringify({ allowed: false, remaining: 0, resetTime: 1634567890000, retryAfter: 45 });
  const long = `${denied}${" ".repeat(2_000_000)}`;
  const other = await fakeNode(t, allow);
  for (const body of [denied, long, '{"code":"slow_down"}', "null", "<h1>", ""]) {
    const node = await fakeNode(t, (_, response) => response.writeHead(429, { "Retry-After": "45" }).end(body));
    for (const init of [CHECK, { method: "GET" }]) {
      const answer = await stubOn(t, [node.endpoint, other.endpoint]).fetch("https://any/check", init);
      assert.deepEqual([answer.status, answer.headers.get("retry-after")], [429, "45"]);
      assert.equal(await answer.text(), body);
    }
    assert.equal(node.requests.length, 2);
  }
  assert.equal(other.requests.length, 0);
});

test("a node that says to come back at once is not asked without a pause", async (t) => {
  const node = await fakeNode(t, (_, response) => problem(response, 503, "overloaded", { "Retry-After": "0" }));
  const stub = stubOn(t, [node.endpoint], { timeoutMs: 1_000 });
  await assert.rejects(stub.fetch("https://any/check", CHECK), { status: 503 });
  assert.ok(node.requests.length >= 2 && node.requests.length <= 20, `${node.requests.length} requests`);
});

test("a 500 is asked of every other node once, and then thrown", async (t) => {
  const fail = (_, response) => problem(response, 500, "internal");
  const [one, two] = [await fakeNode(t, fail), await fakeNode(t, fail)];
  const stub = stubOn(t, [one.endpoint, two.endpoint]);
  await assert.rejects(stub.fetch("https://any/check", CHECK), { name: "TallykeepError", status: 500, code: "internal" });
  assert.deepEqual([one.requests.length, two.requests.length], [1, 1]);
  const good = await fakeNode(t, allow);
  const other = stubOn(t, [one.endpoint, good.endpoint]);
  assert.equal((await other.fetch("https://any/check", CHECK)).status, 200);
});

test("a 5xx without a problem is thrown with its status' text", async (t) => {
  const node = await fakeNode(t, (_, response) => response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>"));
  await assert.rejects(stubOn(t, [node.endpoint]).fetch("https://any/check", CHECK), {
    message: `tallykeep at ${node.endpoint} answered 502: Bad Gateway`,
    status: 502,
    code: undefined,
  });
});

test("a 507 is the whole cluster's and thrown at once", async (t) => {
  const other = await fakeNode(t, allow);
  for (const code of ["insufficient_storage", "object_full", "objects_full"]) {
    const full = await fakeNode(t, (_, response) => problem(response, 507, code));
    const stub = stubOn(t, [full.endpoint, other.endpoint]);
    await assert.rejects(stub.fetch("https://any/check", CHECK), { status: 507, code, retryable: false });
    assert.equal(full.requests.length, 1);
  }
  assert.equal(other.requests.length, 0);
});

for (const [status, code] of [[507, "idempotency_keys_full"], [503, "not_yet_supported"]]) {
  test(`a cluster that takes no key (${code}) is asked once without one`, async (t) => {
    const node = await fakeNode(t, (request, response) => {
      if (request.headers["idempotency-key"]) return problem(response, status, code, { "Retry-After": "1" });
      allow(request, response);
    });
    const stub = stubOn(t, [node.endpoint]);
    assert.equal((await stub.fetch("https://any/check", CHECK)).status, 200);
    assert.deepEqual(node.requests.map(({ headers }) => "idempotency-key" in headers), [true, false]);
    assert.deepEqual(node.requests.map(({ body }) => body), [CHECK.body, CHECK.body]);

    // Not if the caller asked for a key, and not if an earlier attempt may have been carried out.
    const own = { ...CHECK, headers: { "Idempotency-Key": "own" } };
    await assert.rejects(stubOn(t, [node.endpoint], { timeoutMs: 300 }).fetch("https://any/check", own), { code });
    const broken = await fakeNode(t, (request) => request.socket.destroy());
    const later = stubOn(t, [broken.endpoint, node.endpoint], { timeoutMs: 300 });
    await assert.rejects(later.fetch("https://any/check", CHECK), { name: "TallykeepError" });
    assert.equal(node.requests.filter(({ headers }) => !("idempotency-key" in headers)).length, 1);
  });
}

test("an attempt without a key is not repeated", async (t) => {
  const node = await fakeNode(t, (request, response) => {
    if (request.headers["idempotency-key"]) return problem(response, 507, "idempotency_keys_full");
    request.socket.destroy();
  });
  const stub = stubOn(t, [node.endpoint, node.endpoint.replace("127.0.0.1", "localhost")]);
  await assert.rejects(stub.fetch("https://any/check", CHECK), { name: "TallykeepError" });
  assert.equal(node.requests.length, 2);
});

test("what is below 500 is the answer, and is given with its body and headers", async (t) => {
  const node = await fakeNode(t, (request, response) => {
    const status = Number(request.url.split("/").at(-1));
    json(response, status, { status }, { "X-RateLimit-Remaining": "0", "Retry-After": "7" });
  });
  const stub = stubOn(t, [node.endpoint, await deadEndpoint()]);
  for (const status of [200, 400, 401, 403, 404, 405, 409, 413, 422, 429]) {
    const answer = await stub.fetch(`https://any/${status}`, CHECK);
    assert.equal(answer.status, status);
    assert.deepEqual(await answer.json(), { status });
    assert.equal(answer.headers.get("x-ratelimit-remaining"), "0");
  }
});

test("a redirect is not followed, and the token stays here", async (t) => {
  const other = await fakeNode(t, allow);
  const node = await fakeNode(t, (_, response) => response.writeHead(307, { Location: `${other.endpoint}/check` }).end());
  const stub = stubOn(t, [node.endpoint], { token: "secret" });
  assert.equal((await stub.fetch("https://any/check", CHECK)).status, 307);
  assert.equal(other.requests.length, 0);
  // A browser hides the redirect: then there is no answer.
  const hidden = stubOn(t, [node.endpoint], { fetch: async () => Response.error(), timeoutMs: 200 });
  await assert.rejects(hidden.fetch("https://any/check", CHECK), { name: "TallykeepError", message: /is a redirect/ });
});

test("calls take the nodes in turn", async (t) => {
  const nodes = await Promise.all([fakeNode(t, allow), fakeNode(t, allow), fakeNode(t, allow)]);
  const stub = stubOn(t, nodes.map(({ endpoint }) => endpoint));
  for (let call = 0; call < 9; call++) await stub.fetch("https://any/check", CHECK);
  assert.deepEqual(nodes.map(({ requests }) => requests.length), [3, 3, 3]);
});

test("connections are kept", async (t) => {
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [node.endpoint]);
  for (let call = 0; call < 20; call++) await (await stub.fetch("https://any/check", CHECK)).text();
  // The platform may open a second one when a call comes just before the first is free again.
  assert.ok(node.sockets.size <= 2, `${node.sockets.size} connections`);
});

test("a node that was found dead is passed over, then tried again, and used when it is back", async (t) => {
  let isUp = false;
  const dead = await fakeNode(t, (request, response) => (isUp ? allow(request, response) : request.socket.destroy()));
  const node = await fakeNode(t, allow);
  const stub = stubOn(t, [dead.endpoint, node.endpoint]);
  for (let call = 0; call < 10; call++) await stub.fetch("https://any/check", CHECK);
  assert.equal(dead.requests.length, 1);
  assert.equal(node.requests.length, 10);
  isUp = true;
  await waitFor("the node is used again", async () => {
    await stub.fetch("https://any/check", CHECK);
    return dead.requests.length > 2;
  });
});

test("when all nodes were found dead, further calls fail without waiting for the deadline", async (t) => {
  const stub = stubOn(t, [await deadEndpoint(), await deadEndpoint()], { timeoutMs: 1_500 });
  await assert.rejects(stub.fetch("https://any/check", CHECK));
  const began = performance.now();
  await assert.rejects(stub.fetch("https://any/check", CHECK), { name: "TallykeepError" });
  assert.ok(performance.now() - began < 1_000, "it waited");
});

test("a signal that aborts ends the call with its reason, at any moment", async (t) => {
  const slow = await fakeNode(t, () => {});
  const stub = stubOn(t, [slow.endpoint], { timeoutMs: 60_000 });
  await assert.rejects(stub.fetch("https://any/check", { ...CHECK, signal: AbortSignal.abort(new RangeError("before")) }), {
    name: "RangeError",
    message: "before",
  });
  assert.equal(slow.requests.length, 0);

  const during = new AbortController();
  const call = stub.fetch("https://any/check", { ...CHECK, signal: during.signal });
  await waitFor("the node was asked", () => slow.requests.length === 1);
  during.abort(new RangeError("during"));
  await assert.rejects(call, { name: "RangeError", message: "during" });

  const waiting = new AbortController();
  const busy = await fakeNode(t, (_, response) => problem(response, 503, "overloaded", { "Retry-After": "30" }));
  const paused = stubOn(t, [busy.endpoint], { timeoutMs: 60_000 }).fetch("https://any/check", { ...CHECK, signal: waiting.signal });
  await waitFor("the node was asked", () => busy.requests.length === 1);
  waiting.abort(new RangeError("waiting"));
  await assert.rejects(paused, { name: "RangeError", message: "waiting" });

  const request = new Request("https://any/check", { ...CHECK, signal: AbortSignal.timeout(50) });
  await assert.rejects(stub.fetch(request), { name: "TimeoutError" });
});

test("an abort is not held against the node", async (t) => {
  let isFirst = true;
  const node = await fakeNode(t, (request, response) => {
    if (!isFirst) return allow(request, response);
    isFirst = false;
  });
  const other = await fakeNode(t, allow);
  const stub = stubOn(t, [node.endpoint, other.endpoint]);
  await assert.rejects(stub.fetch("https://any/check", { ...CHECK, signal: AbortSignal.timeout(50) }));
  for (let call = 0; call < 4; call++) await stub.fetch("https://any/check", CHECK);
  assert.equal(node.requests.length, 3);
});

test("an answer to a GET is streamed, and can be aborted while it is read", async (t) => {
  const parts = [];
  const node = await fakeNode(t, (_, response) => {
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    response.write("first\n");
    parts.push(response);
  });
  const stub = stubOn(t, [node.endpoint], { timeoutMs: 500 });
  const abort = new AbortController();
  const answer = await stub.fetch("https://any/export?format=ndjson", { signal: abort.signal });
  const reader = answer.body.getReader();
  assert.equal(new TextDecoder().decode((await reader.read()).value), "first\n");
  // More than the deadline, which is that of the answer's beginning.
  await new Promise((resolve) => setTimeout(resolve, 700));
  parts[0].write("second\n");
  assert.equal(new TextDecoder().decode((await reader.read()).value), "second\n");
  abort.abort();
  await assert.rejects(reader.read(), { name: "AbortError" });
});

test("an answer that is read late is whole, though nobody holds what the platform gave", async (t) => {
  v8.setFlagsFromString("--expose-gc");
  const collect = vm.runInNewContext("gc");
  const node = await fakeNode(t, (_, response) => json(response, 200, ALLOWED));
  const stub = stubOn(t, [node.endpoint]);
  const answers = await Promise.all(Array.from({ length: 20 }, () => stub.fetch("https://any/export")));
  // An object of its own has gone, and its end been told, when this one's has.
  let gone = false;
  const registry = new FinalizationRegistry(() => { gone = true; });
  registry.register({}, undefined);
  await waitFor("garbage is collected", () => {
    collect();
    return gone;
  });
  for (const answer of answers) assert.deepEqual(await answer.json(), ALLOWED);
});

test("a long answer to a POST comes whole", async (t) => {
  const long = "x".repeat(5_000_000);
  const node = await fakeNode(t, (_, response) => response.end(long));
  const answer = await stubOn(t, [node.endpoint]).fetch("https://any/query", { method: "POST", body: "{}" });
  assert.equal(await answer.text(), long);
});

test("a long answer to a POST can be left unread", async (t) => {
  let isClosed = false;
  const node = await fakeNode(t, (_, response) => {
    response.on("close", () => (isClosed = true));
    const more = () => {
      while (!response.destroyed && response.write("x".repeat(65_536)));
    };
    response.on("drain", more);
    more();
  });
  const answer = await stubOn(t, [node.endpoint]).fetch("https://any/query", { method: "POST", body: "{}" });
  const reader = answer.body.getReader();
  assert.ok((await reader.read()).value.length > 1_048_576);
  assert.ok((await reader.read()).value.length > 0);
  await reader.cancel();
  await waitFor("the node's connection is closed", () => isClosed);
});

test("a compressed answer is given plain, and does not say otherwise", async (t) => {
  const { gzipSync } = await import("node:zlib");
  const node = await fakeNode(t, (_, response) => {
    response.writeHead(200, { "Content-Encoding": "gzip" });
    response.end(gzipSync("plain"));
  });
  const stub = stubOn(t, [node.endpoint]);
  for (const init of [undefined, CHECK]) {
    const answer = await stub.fetch("https://any/export", init);
    assert.equal(answer.headers.get("content-encoding"), null);
    assert.equal(await answer.text(), "plain");
  }
});

test("connect is refused", () => {
  const stub = durableObjects({ endpoints: ["http://127.0.0.1:1"] }).RATE_LIMITER.getByName("a");
  assert.throws(() => stub.connect("h:1"), /no sockets|not sockets/);
});
