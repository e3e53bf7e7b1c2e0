/** Real workerd and this package, side by side. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

import { durableObjects } from "tallykeep";

import { fakeNode, json } from "./support/fake.js";
import { calls, echo, local, observe } from "./support/probe.js";
import { startWorker } from "./support/workerd.js";

const source = (name) => readFile(new URL(`./support/${name}`, import.meta.url), "utf8");

test("ids, errors and requests are workerd's own", async (t) => {
  const node = await fakeNode(t, (request, response, body) => {
    const path = /^\/do\/RATE_LIMITER\/(?:name\/wix%3Aa|id\/[0-9a-f]{64})(\/.*)$/.exec(request.url)?.[1] ?? request.url;
    const headers = new Headers(Object.entries(request.headers));
    const { status, value } = echo({ path, method: request.method, headers, body });
    json(response, status, value);
  });
  const modules = { "worker.js": await source("probe-worker.js"), "probe.js": await source("probe.js") };
  const worker = await startWorker(t, modules, { objects: true });
  const inWorkerd = async (own) => {
    const answer = await fetch(worker.url, { method: "POST", body: JSON.stringify({ own, endpoint: node.endpoint }) });
    assert.equal(answer.status, 200, worker.output());
    return answer.json();
  };

  const real = await inWorkerd(true);
  assert.equal(node.requests.length, 0);
  const ours = await inWorkerd(false);
  assert.ok(node.requests.length > 20);
  const { RATE_LIMITER, AUDIT_LOGGER } = durableObjects({ endpoints: [node.endpoint] });
  const inNode = {
    local: await observe(local, RATE_LIMITER, AUDIT_LOGGER),
    calls: await observe(calls, RATE_LIMITER, AUDIT_LOGGER),
  };

  // The probe itself works: ids are ids, and errors are errors.
  assert.match(real.local["ids of names"].value[0][0], /^[0-9a-f]{64}$/);
  assert.equal(real.local["idFromString of zeros"].threw.name, "TypeError");
  assert.equal(real.calls["a POST of a stream"].value.body.body, "streamed");

  for (const part of ["local", "calls"]) {
    for (const [name, seen] of Object.entries(real[part])) {
      await t.test(`${name}, in workerd`, () => assert.deepEqual(ours[part][name], seen));
      await t.test(`${name}, in Node`, () => assert.deepEqual(inNode[part][name], seen));
    }
  }
});
