/** The Express and Hono middlewares, in real servers. */

import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";

import express from "express";
import { Hono } from "hono";
import { durableObjects } from "tallykeep";
import { rateLimit as expressLimit } from "tallykeep/express";
import { rateLimit as honoLimit } from "tallykeep/hono";

import { startCluster } from "./support/cluster.js";
import { deadEndpoint } from "./support/fake.js";

const CONFIG = { requests: 2, windowMs: 60_000 };

async function serve(t, app) {
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** The guide's answers to two requests that are allowed and one that is not. */
async function assertLimited(get) {
  for (const remaining of ["1", "0"]) {
    const answer = await get();
    assert.equal(answer.status, 200);
    assert.equal(await answer.text(), "hello");
    assert.equal(answer.headers.get("x-ratelimit-limit"), "2");
    assert.equal(answer.headers.get("x-ratelimit-remaining"), remaining);
    assert.ok(Date.parse(answer.headers.get("x-ratelimit-reset")) > Date.now());
    assert.equal(answer.headers.get("retry-after"), null);
  }
  const denied = await get();
  assert.equal(denied.status, 429);
  assert.equal(await denied.text(), "Rate limit exceeded");
  assert.equal(denied.headers.get("x-ratelimit-remaining"), "0");
  assert.ok(Number(denied.headers.get("retry-after")) >= 1);
}

test("Express", async (t) => {
  const cluster = await startCluster(t);
  const env = durableObjects({ endpoints: cluster.endpoints });
  const app = express();
  app.get("/ip", expressLimit({ env, type: "ip", config: CONFIG }), (_, response) => response.send("hello"));
  const byKey = expressLimit({ env, type: "key", config: CONFIG, identifier: (request) => request.get("X-Api-Key") });
  app.get("/key", byKey, (_, response) => response.send("hello"));
  const broken = expressLimit({ env, type: "key", config: CONFIG, identifier: () => { throw new Error("mine"); } });
  app.get("/broken", broken, (_, response) => response.send("hello"));
  // eslint-disable-next-line no-unused-vars
  app.use((error, request, response, next) => response.status(500).send(error.message));
  const url = await serve(t, app);

  await assertLimited(() => fetch(`${url}/ip`));
  await assertLimited(() => fetch(`${url}/key`, { headers: { "X-Api-Key": "one" } }));
  await assertLimited(() => fetch(`${url}/key`, { headers: { "X-Api-Key": "two" } }));
  // All those without a key are one.
  await assertLimited(() => fetch(`${url}/key`));
  const answer = await fetch(`${url}/broken`);
  assert.deepEqual([answer.status, await answer.text()], [500, "mine"]);
});

test("Express 4, which does not look at promises, is told of errors", async () => {
  const env = durableObjects({ endpoints: ["http://127.0.0.1:1"] });
  const error = new Error("mine");
  const limit = expressLimit({ env, type: "a", config: CONFIG, identifier: () => { throw error; } });
  const told = [];
  await limit({}, {}, (given) => told.push(given));
  assert.deepEqual(told, [error]);
});

test("Express falls open", async (t) => {
  t.mock.method(console, "error", () => {});
  const env = durableObjects({ endpoints: [await deadEndpoint()], timeoutMs: 100 });
  const app = express();
  app.get("/", expressLimit({ env, type: "ip", config: { requests: 0, windowMs: 1 } }), (_, response) => response.send("hello"));
  const answer = await fetch(await serve(t, app));
  assert.equal(answer.status, 200);
  assert.equal(console.error.mock.callCount(), 1);
});

test("Hono", async (t) => {
  const cluster = await startCluster(t);
  const env = durableObjects({ endpoints: cluster.endpoints });
  const identifier = (c) => c.req.header("CF-Connecting-IP");
  const app = new Hono();
  app.use("/own/*", honoLimit({ type: "own", config: CONFIG, identifier }));
  app.use("/given/*", honoLimit({ env, type: "given", config: CONFIG, identifier }));
  app.get("/own/text", (c) => c.text("hello"));
  // A response that the handler made itself, and one whose headers cannot be changed.
  app.get("/given/response", () => new Response("hello"));
  app.get("/given/fixed", () => fetch("data:text/plain,hello"));

  const get = (path, ip, bindings) => async () => app.request(path, { headers: { "CF-Connecting-IP": ip } }, bindings);
  await assertLimited(get("/own/text", "1.1.1.1", env));
  await assertLimited(get("/given/response", "1.1.1.1"));
  await assertLimited(get("/given/fixed", "2.2.2.2"));
});

test("Hono falls open", async (t) => {
  t.mock.method(console, "error", () => {});
  const app = new Hono();
  app.use(honoLimit({ type: "own", config: CONFIG, identifier: () => "a" }));
  app.get("/", (c) => c.text("hello"));
  // There is no RATE_LIMITER in the context's env.
  const answer = await app.request("/", {}, {});
  assert.equal(await answer.text(), "hello");
  assert.equal(console.error.mock.callCount(), 1);
});

test("options out of bounds are TypeErrors at the start", () => {
  const env = durableObjects({ endpoints: ["http://127.0.0.1:1"] });
  for (const options of [
    { env, type: "", config: CONFIG },
    { env, type: "a", config: { requests: 1 } },
    { env: null, type: "a", config: CONFIG },
  ]) {
    assert.throws(() => expressLimit(options), TypeError);
  }
  assert.throws(() => honoLimit({ type: "a", config: CONFIG }), { name: "TypeError", message: /identifier/ });
  assert.throws(() => honoLimit({ type: "a", config: {}, identifier: () => "a" }), TypeError);
});
