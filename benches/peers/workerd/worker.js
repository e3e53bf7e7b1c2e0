// The rate limiter of ../shared/durable-objects-guide.md, written from the guide alone: what it
// says of endpoints, names, storage and alarms, and nothing beyond.

export default {
  // "Naming Strategies": one object for each type and identifier.
  async fetch(request, env) {
    const body = await request.text();
    const { identifier, type } = JSON.parse(body);
    const id = env.RATE_LIMITER.idFromName(type ? `${type}:${identifier}` : identifier);
    const { pathname } = new URL(request.url);
    return env.RATE_LIMITER.get(id).fetch(`https://rate-limiter${pathname}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body,
    });
  },
};

export class RateLimiter {
  constructor(state) {
    this.storage = state.storage;
  }

  async fetch(request) {
    const { pathname } = new URL(request.url);
    const { identifier, config } = await request.json();
    // "Storage Structure".
    const key = `ratelimit:${identifier}`;
    if (pathname === "/check") return this.check(key, config);
    if (pathname === "/reset") {
      await this.storage.delete(key);
      return Response.json({ success: true });
    }
    return new Response("Not Found", { status: 404 });
  }

  async check(key, { requests, windowMs }) {
    const now = Date.now();
    let window = await this.storage.get(key);
    const isNew = !window || now >= window.windowStart + windowMs;
    if (isNew) window = { count: 0, windowStart: now };
    const resetTime = window.windowStart + windowMs;

    if (window.count >= requests) {
      const retryAfter = Math.max(1, Math.ceil((resetTime - now) / 1000));
      return answer(429, { allowed: false, remaining: 0, resetTime, retryAfter });
    }
    window.count += 1;
    // Not awaited: the runtime holds the answer back until the write is on disk, and writes both
    // at once.
    this.storage.put(key, window);
    // "Automatic cleanup with alarms": once a window, so that other requests write one key alone.
    if (isNew) this.storage.setAlarm(resetTime);
    return answer(200, { allowed: true, remaining: requests - window.count, resetTime });
  }

  // The window is over: an object holds one limiter.
  async alarm() {
    await this.storage.deleteAll();
  }
}

function answer(status, body) {
  return Response.json(body, {
    status,
    headers: {
      "X-RateLimit-Remaining": String(body.remaining),
      "X-RateLimit-Reset": new Date(body.resetTime).toISOString(),
    },
  });
}
