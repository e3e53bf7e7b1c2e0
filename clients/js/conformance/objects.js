/**
 * The guide's two objects, as its own implementation was seen to answer in workerd. Written from the
 * guide and from those answers: what looks like a fault below is one of the original's.
 * `docs/compatibility.md` has the list.
 */

const DAY_MS = 24 * 60 * 60 * 1000;
const RETENTION_MS = 30 * DAY_MS;

const answer = (body, status = 200, headers = {}) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });
const notFound = () => new Response("Not Found", { status: 404 });

export class RateLimiter {
  constructor(state) {
    this.storage = state.storage;
  }

  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname !== "/check" && pathname !== "/reset") return notFound();
    // Only the path is looked at: a PUT with a good body is carried out.
    try {
      const { identifier, config } = await request.json();
      return await (pathname === "/check" ? this.check(`ratelimit:${identifier}`, config) : this.reset(`ratelimit:${identifier}`));
    } catch {
      return answer({ error: "Invalid request" }, 400);
    }
  }

  async check(key, { requests, windowMs }) {
    const now = Date.now();
    let window = await this.storage.get(key);
    if (window === undefined || now - window.windowStart >= windowMs) window = { count: 0, windowStart: now };
    const resetTime = window.windowStart + windowMs;
    const allowed = !(window.count >= requests);
    if (allowed) {
      window.count += 1;
      // Counted before anything can fail: a `windowMs` that is no number fails in the next line.
      await this.storage.put(key, window);
      await this.storage.setAlarm(resetTime + 10_000);
    }
    const remaining = allowed ? requests - window.count : 0;
    const headers = {
      "X-RateLimit-Remaining": String(remaining),
      "X-RateLimit-Reset": new Date(resetTime).toISOString(),
    };
    if (allowed) return answer({ allowed, remaining, resetTime }, 200, headers);
    const retryAfter = Math.ceil((resetTime - now) / 1000);
    return answer({ allowed, remaining, resetTime, retryAfter }, 429, headers);
  }

  async reset(key) {
    await this.storage.delete(key);
    return answer({ success: true });
  }

  async alarm() {
    const oldest = Date.now() - 60 * 60 * 1000;
    for (const [key, { windowStart }] of await this.storage.list({ prefix: "ratelimit:" })) {
      if (windowStart < oldest) await this.storage.delete(key);
    }
  }
}

export class AuditLogger {
  constructor(state) {
    this.storage = state.storage;
  }

  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    const route = `${request.method} ${pathname}`;
    if (route === "POST /log") return this.guarded("log entry", async () => this.log(await request.json()));
    if (route === "POST /query") return this.guarded("query logs", async () => this.query(await request.json()));
    if (route === "GET /export") return this.guarded("export logs", () => this.export(searchParams.get("format")));
    return notFound();
  }

  async guarded(what, run) {
    try {
      return await run();
    } catch {
      return answer({ error: `Failed to ${what}` }, 500);
    }
  }

  async log(given) {
    // The client's members come last, and so may be another id and time.
    const entry = { id: crypto.randomUUID().replaceAll("-", ""), timestamp: Date.now(), ...given };
    await this.storage.put(`log:${entry.timestamp}:${entry.id}`, entry);
    await this.storage.setAlarm(Date.now() + RETENTION_MS);
    return answer({ success: true, id: entry.id });
  }

  async query({ startTime, endTime, type, limit = 100 }) {
    const entries = (await this.newestFirst()).filter(
      (entry) =>
        !(startTime && entry.timestamp < startTime) && !(endTime && entry.timestamp > endTime) && !(type && entry.type !== type),
    );
    const page = entries.slice(0, limit);
    return answer({ entries: page, count: page.length });
  }

  async export(format) {
    const entries = await this.newestFirst();
    if (format !== "csv") return answer({ entries, count: entries.length });
    const rows = entries.map(({ id, timestamp, type, action, userId, ip, details }) => {
      const quoted = JSON.stringify(details).replaceAll('"', '""');
      return [id, new Date(timestamp).toISOString(), type, action, userId ?? "", ip ?? "", quoted].join(",");
    });
    return new Response(`id,timestamp,type,action,userId,ip,details\n${rows.join("\n")}`, {
      headers: { "Content-Type": "text/csv", "Content-Disposition": 'attachment; filename="audit-log.csv"' },
    });
  }

  async newestFirst() {
    const stored = await this.storage.list({ prefix: "log:" });
    return [...stored.values()].sort((a, b) => b.timestamp - a.timestamp);
  }

  async alarm() {
    for (const [key, { timestamp }] of await this.storage.list({ prefix: "log:" })) {
      if (timestamp < Date.now() - RETENTION_MS) await this.storage.delete(key);
    }
    await this.storage.setAlarm(Date.now() + DAY_MS);
  }
}
