/**
 * The samples of the guide, word for word but for what stands around them: its chapters "Usage" of
 * both objects, "API Endpoints", "Naming Strategies" and "Best Practices".
 */

import assert from "node:assert/strict";
import test from "node:test";

import { checkRateLimit, durableObjects, logAudit } from "tallykeep";

import { startCluster } from "./support/cluster.js";
import { deadEndpoint } from "./support/fake.js";
import { waitFor } from "./support/wait.js";

/** "Rate Limiter", "Usage": `response` is what the request gets if it is allowed. */
async function rateLimited(env, clientIp, response) {
  // Check rate limit
  const limitResult = await checkRateLimit(
    env,
    clientIp,
    'wix',
    {
      requests: 100,      // Max requests
      windowMs: 60000,    // Time window (60 seconds)
    }
  );

  if (!limitResult.allowed) {
    // Rate limit exceeded
    return new Response('Rate limit exceeded', {
      status: 429,
      headers: {
        'Retry-After': limitResult.retryAfter?.toString() || '60',
        'X-RateLimit-Remaining': '0',
        'X-RateLimit-Reset': new Date(limitResult.resetTime).toISOString(),
      },
    });
  }

  // Request allowed, add headers
  response.headers.set('X-RateLimit-Remaining', limitResult.remaining.toString());
  response.headers.set('X-RateLimit-Reset', new Date(limitResult.resetTime).toISOString());
  return response;
}

/** "Naming Strategies" and "API Endpoints": a client without this package's helpers. */
async function ownCheck(env, type, identifier, config) {
  try {
    const id = env.RATE_LIMITER.idFromName(`${type}:${identifier}`);
    const stub = env.RATE_LIMITER.get(id);
    const response = await stub.fetch('https://rate-limiter/check', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ identifier, config }),
    });
    // Whatever the status is.
    return await response.json();
  } catch (error) {
    console.error('Rate limit check error:', error);
    // Fail open - allow request if rate limiter fails
    return { allowed: true, remaining: 0, resetTime: Date.now() + 60000 };
  }
}

async function ownLog(env, entry) {
  const dateKey = new Date().toISOString().split('T')[0]; // YYYY-MM-DD
  const id = env.AUDIT_LOGGER.idFromName(dateKey);
  const stub = env.AUDIT_LOGGER.get(id);
  return stub.fetch('https://audit-logger/log', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(entry),
  });
}

test("the guide's samples", async (t) => {
  const cluster = await startCluster(t);
  const env = { ...process.env, ...durableObjects({ endpoints: cluster.endpoints, token: 'secret' }) };

  await t.test("rate limiter, usage", async () => {
    for (let remaining = 99; remaining >= 0; remaining--) {
      const response = await rateLimited(env, '9.9.9.9', new Response('hello'));
      assert.equal(response.status, 200);
      assert.equal(response.headers.get('X-RateLimit-Remaining'), `${remaining}`);
    }
    const response = await rateLimited(env, '9.9.9.9', new Response('hello'));
    assert.equal(response.status, 429);
    assert.match(response.headers.get('Retry-After'), /^([1-9]|[1-5]\d|60)$/);
  });

  await t.test("the client that reads any status", async () => {
    const config = { requests: 1, windowMs: 60000 };
    const allowed = await ownCheck(env, 'gamma', 'user-123', config);
    assert.deepEqual([allowed.allowed, allowed.remaining], [true, 0]);
    const denied = await ownCheck(env, 'gamma', 'user-123', config);
    assert.deepEqual([denied.allowed, denied.remaining], [false, 0]);
    assert.equal(denied.resetTime, allowed.resetTime);
    // It is the same limiter as the helper's.
    assert.equal((await checkRateLimit(env, 'user-123', 'gamma', config)).allowed, false);
  });

  await t.test("the client that reads any status fails open", async (t) => {
    t.mock.method(console, 'error', () => {});
    const dead = durableObjects({ endpoints: [await deadEndpoint()], timeoutMs: 100 });
    const { allowed, remaining } = await ownCheck(dead, 'gamma', 'user-123', { requests: 1, windowMs: 60000 });
    assert.deepEqual([allowed, remaining], [true, 0]);
  });

  await t.test("audit logger, usage and performance", async () => {
    const promises = [];
    const ctx = { waitUntil: (promise) => promises.push(promise) };
    const clientIp = '1.2.3.4';
    // Log an event
    await logAudit(env, {
      type: 'wix_request',
      action: 'api_call',
      userId: 'user-123',
      ip: clientIp,
      details: {
        path: '/api/wix/content',
        method: 'POST',
        status: 200,
      },
    });
    ctx.waitUntil(
      logAudit(env, {
        type: 'analytics',
        action: 'page_view',
        details: { path: '/' },
      })
    );
    await Promise.all(promises);
    const own = await ownLog(env, { type: 'own', action: 'own' });
    assert.deepEqual(Object.keys(await own.json()), ['success', 'id']);

    const stub = env.AUDIT_LOGGER.getByName(new Date().toISOString().split('T')[0]);
    const query = (body) => stub.fetch('https://audit-logger/query', { method: 'POST', body: JSON.stringify(body) }).then((r) => r.json());
    const now = Date.now();
    const { entries, count } = await query({ startTime: now - 60000, endTime: now + 60000, type: 'wix_request', limit: 100 });
    assert.equal(count, 1);
    assert.deepEqual(Object.keys(entries[0]), ['id', 'timestamp', 'type', 'action', 'userId', 'ip', 'details']);
    await waitFor("all three are there", async () => (await query({})).count === 3);
    const csv = await (await stub.fetch('https://audit-logger/export?format=csv')).text();
    assert.equal(csv.split('\r\n')[0], 'id,timestamp,type,action,userId,ip,details');
    assert.equal((await (await stub.fetch('https://audit-logger/export?format=json')).json()).count, 3);
  });
});
