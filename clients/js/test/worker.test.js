/** Workers in real workerd that reach a real cluster through the package. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

import { durableObjects } from "tallykeep";
import ts from "typescript";

import { startCluster } from "./support/cluster.js";
import { takesKeys } from "./support/keys.js";
import { waitFor } from "./support/wait.js";
import { startWorker } from "./support/workerd.js";

/** All entries of the log. */
async function entriesOf(cluster) {
  const answer = await fetch(`${cluster.endpoints[0]}/query`, { method: "POST", body: JSON.stringify({ limit: 1000 }) });
  return (await answer.json()).entries;
}

test("the example Worker limits and logs, also while a node is dead", async (t) => {
  const cluster = await startCluster(t, 3);
  const source = await readFile(new URL("../examples/worker/src/index.ts", import.meta.url), "utf8");
  const { outputText } = ts.transpileModule(source, { compilerOptions: { target: "ES2022", module: "ESNext" } });
  const worker = await startWorker(t, { "worker.js": outputText }, { text: { TALLYKEEP_ENDPOINTS: cluster.endpoints.join(",") } });
  const get = (ip, path = "/api/wix/content") => fetch(worker.url + path, { headers: { "CF-Connecting-IP": ip } });

  for (let call = 1; call <= 100; call++) {
    if (call === 50) await cluster.signal(await cluster.leader(), "SIGKILL");
    const answer = await get("1.2.3.4");
    assert.equal(answer.status, 200, worker.output());
    assert.deepEqual(await answer.json(), { path: "/api/wix/content" });
    // At the kill itself an answer may be lost on its way, and be counted twice by a node without keys.
    const remaining = Number(answer.headers.get("x-ratelimit-remaining"));
    assert.ok(call < 50 ? remaining === 100 - call : remaining <= 100 - call && remaining >= 98 - call, `${remaining}`);
    if (remaining === 0) break;
  }
  const denied = await get("1.2.3.4");
  assert.equal(denied.status, 429);
  assert.equal(await denied.text(), "Rate limit exceeded");
  assert.equal(denied.headers.get("x-ratelimit-remaining"), "0");
  assert.ok(Number(denied.headers.get("retry-after")) <= 60);
  assert.ok(Date.parse(denied.headers.get("x-ratelimit-reset")) > Date.now());
  assert.equal((await get("5.6.7.8")).status, 200);

  const survivor = durableObjects({ endpoints: cluster.endpoints }).AUDIT_LOGGER.getByName(new Date().toISOString().slice(0, 10));
  await waitFor("every request is in the log", async () => {
    const answer = await survivor.fetch("https://audit-logger/query", { method: "POST", body: JSON.stringify({ limit: 1000 }) });
    const { entries } = await answer.json();
    const seen = (ip, status) => entries.filter((one) => one.ip === ip && one.details.status === status).length;
    return seen("1.2.3.4", 200) >= 98 && seen("1.2.3.4", 429) >= 1 && seen("5.6.7.8", 200) >= 1;
  });
  assert.doesNotMatch(worker.output(), /rror/);
});

test("a Worker's calls are carried out once each while the leader is killed, and none fails", async (t) => {
  const cluster = await startCluster(t, 3);
  if (!(await takesKeys(cluster.endpoints[0]))) return t.skip("this tallykeep takes no Idempotency-Key");
  const source = `
    import { durableObjects } from "tallykeep";
    const { RATE_LIMITER, AUDIT_LOGGER } = durableObjects({ endpoints: ${JSON.stringify(cluster.endpoints)}, timeoutMs: 30_000 });
    const post = (body) => ({ method: "POST", body: JSON.stringify(body) });
    export default {
      async fetch(request) {
        if (request.method !== "POST") return new Response("ready");
        const { action, requests } = await request.json();
        const config = { requests, windowMs: 3_600_000 };
        const [checked, logged] = await Promise.all([
          RATE_LIMITER.getByName("wix:once").fetch("https://any/check", post({ identifier: "once", config })),
          AUDIT_LOGGER.getByName("once").fetch("https://any/log", post({ type: "once", action })),
        ]);
        return Response.json([await checked.json(), await logged.json()]);
      },
    };`;
  const worker = await startWorker(t, { "worker.js": source });
  const requests = 1_000_000;
  const results = new Map();
  const call = async (action) => {
    const answer = await fetch(worker.url, { method: "POST", body: JSON.stringify({ action, requests }) });
    const text = await answer.text();
    assert.equal(answer.status, 200, `${text}\n${worker.output()}`);
    results.set(action, JSON.parse(text));
  };

  // Eight at a time; each goes on until it has had many answers that nobody but a new leader can give.
  const CALLERS = 8;
  const EACH = 40;
  let killed = false;
  const caller = async (name) => {
    for (let number = 0, after = 0; after < EACH; number++) {
      const wasKilled = killed;
      await call(`${name}-${number}`);
      if (wasKilled) after += 1;
    }
  };
  const callers = Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(`caller${index}`)));
  const kill = async () => {
    await waitFor("calls are under way", () => results.size >= CALLERS * EACH);
    await cluster.signal(await cluster.leader(), "SIGKILL");
    killed = true;
  };
  await Promise.all([callers, kill()]);

  // Every grant has its own place in the count, and the count is that of the grants.
  const granted = [...results.values()].map(([{ allowed, remaining }]) => (allowed ? requests - remaining : undefined));
  assert.deepEqual(granted.toSorted((a, b) => a - b), Array.from({ length: results.size }, (_, index) => index + 1));
  const { RATE_LIMITER, AUDIT_LOGGER } = durableObjects({ endpoints: cluster.endpoints });
  const last = await RATE_LIMITER.getByName("wix:once").fetch("https://any/check", {
    method: "POST",
    body: JSON.stringify({ identifier: "once", config: { requests, windowMs: 3_600_000 } }),
  });
  assert.equal((await last.json()).remaining, requests - results.size - 1);

  // Every entry is there once, under the id that its caller was given.
  const exported = await AUDIT_LOGGER.getByName("once").fetch("https://any/export");
  const entries = (await exported.json()).entries.map(({ id, action }) => [action, id]);
  const wanted = [...results].map(([action, [, { id }]]) => [action, id]);
  assert.deepEqual(entries.sort(), wanted.sort());
});

test("in a Worker: bindings made outside of requests, entries shared by a request, and falling open", async (t) => {
  const cluster = await startCluster(t);
  const [endpoint] = cluster.endpoints;
  const source = `
    import { checkRateLimit, durableObjects, flushAudit, logAudit } from "tallykeep";
    const live = durableObjects({ endpoints: [${JSON.stringify(endpoint)}] });
    const dead = durableObjects({ endpoints: ["http://127.0.0.1:1"], timeoutMs: 200 });
    export default {
      async fetch(request, env, ctx) {
        const { pathname } = new URL(request.url);
        const entry = (action) => ({ type: "worker", action });
        if (pathname === "/many") {
          for (let i = 0; i < 20; i++) logAudit(live, entry("many" + i), ctx);
          return new Response("at once");
        }
        if (pathname === "/alone") return Response.json(await logAudit(live, entry("alone")));
        if (pathname === "/wait") {
          ctx.waitUntil(logAudit(live, entry("wait")));
          return new Response("at once");
        }
        if (pathname === "/export") return live.AUDIT_LOGGER.getByName("d").fetch("https://a/export?format=csv");
        if (pathname === "/forward") return live.RATE_LIMITER.getByName("f").fetch("https://a/check", request);
        if (pathname === "/dead") {
          const config = { requests: 1, windowMs: 1000 };
          return Response.json([await checkRateLimit(dead, "a", "wix", config), await logAudit(dead, entry("dead"))]);
        }
        return new Response(null, { status: 404 });
      },
    };`;
  const worker = await startWorker(t, { "worker.js": source });
  const get = (path, init) => fetch(worker.url + path, init);

  // Requests at the same time, none of which may wait for another's timers.
  const together = await Promise.all([get("/many"), get("/alone"), get("/wait"), get("/alone"), get("/many")]);
  assert.deepEqual(together.map(({ status }) => status), [200, 200, 200, 200, 200], worker.output());
  assert.equal((await together[1].json()).success, true);
  await waitFor("all entries are in the log", async () => (await entriesOf(cluster)).length === 43);

  const csv = await get("/export");
  assert.equal(csv.headers.get("content-disposition"), 'attachment; filename="audit-log.csv"');
  assert.equal(await csv.text(), "id,timestamp,type,action,userId,ip,details\r\n");
  const forwarded = await get("/forward", { method: "POST", body: JSON.stringify({ identifier: "i", config: { requests: 2, windowMs: 60_000 } }) });
  assert.equal((await forwarded.json()).remaining, 1);

  const [open, fallen] = await (await get("/dead")).json();
  assert.deepEqual([open.allowed, open.remaining, fallen], [true, 0, { success: false }]);
  assert.match(worker.output(), /"action":"dead"/);
});

test("the helpers work on Cloudflare's own objects too", async (t) => {
  const source = `
    import { checkRateLimit, logAudit, rateLimitBinding } from "tallykeep";
    // As little of the guide's classes as is asked for: no /log/batch, and bodies of errors.
    export class RateLimiter {
      count = 0;
      async fetch(request) {
        const { identifier, config } = await request.json();
        if (identifier === "broken") throw new Error("broken");
        const allowed = this.count < config.requests;
        if (allowed) this.count += 1;
        const body = { allowed, remaining: config.requests - this.count, resetTime: Date.now() + config.windowMs };
        return Response.json(allowed ? body : { ...body, retryAfter: 60 }, { status: allowed ? 200 : 429 });
      }
    }
    export class AuditLogger {
      async fetch(request) {
        if (new URL(request.url).pathname !== "/log") return new Response("Not Found", { status: 404 });
        return Response.json({ success: true, id: "id of " + (await request.json()).action });
      }
    }
    export default {
      async fetch(request, env, ctx) {
        if (request.method === "OPTIONS") return new Response("ready");
        const config = { requests: 1, windowMs: 60_000 };
        const checks = [];
        for (const identifier of ["a", "a", "b", "broken"]) checks.push(await checkRateLimit(env, identifier, "wix", config));
        const limiter = rateLimitBinding(env.RATE_LIMITER, { namespaceId: "n", simple: { limit: 1, period: 60 } });
        const limits = [await limiter.limit({ key: "k" }), await limiter.limit({ key: "k" })];
        const logs = await Promise.all(["x", "y"].map((action) => logAudit(env, { type: "t", action }, ctx)));
        return Response.json({ checks, limits, logs });
      },
    };`;
  const worker = await startWorker(t, { "worker.js": source }, { objects: true });
  const { checks, limits, logs } = await (await fetch(worker.url)).json();
  assert.deepEqual(checks.map(({ allowed }) => allowed), [true, false, true, true]);
  assert.deepEqual(checks.map(({ retryAfter }) => retryAfter ?? null), [null, 60, null, null]);
  assert.deepEqual(limits, [{ success: true }, { success: false }]);
  assert.deepEqual(logs, [{ success: true, id: "id of x" }, { success: true, id: "id of y" }]);
});
