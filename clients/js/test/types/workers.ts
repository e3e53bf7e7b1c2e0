/** The package where Cloudflare's own types are. Compiled, and not run. */

import { Hono } from "hono";
import {
  checkRateLimit,
  durableObjects,
  type DurableObjectNamespace as OurNamespace,
  logAudit,
  type RateLimit as OurRateLimit,
  rateLimitBinding,
} from "tallykeep";
import { rateLimit } from "tallykeep/hono";

interface Env {
  RATE_LIMITER: DurableObjectNamespace;
  AUDIT_LOGGER: DurableObjectNamespace;
  MY_LIMITER: RateLimit;
}

/** Code that was written for Durable Objects. */
async function existing(env: Env, ctx: ExecutionContext, request: Request): Promise<Response> {
  const id: DurableObjectId = env.RATE_LIMITER.idFromName("wix:a");
  const same: boolean = id.equals(env.RATE_LIMITER.idFromString(id.toString()));
  const stub: DurableObjectStub = env.RATE_LIMITER.get(id, { locationHint: "weur" });
  const name: string | undefined = stub.name ?? stub.id.name;
  const unique: DurableObjectStub = env.RATE_LIMITER.get(env.RATE_LIMITER.newUniqueId());
  await env.AUDIT_LOGGER.getByName("2024-01-15").fetch("https://audit-logger/log", { method: "POST", body: "{}" });
  await unique.fetch(new URL("https://rate-limiter/check"), { headers: [["a", "b"]] });
  ctx.waitUntil(unique.fetch("https://rate-limiter/check"));
  const { success } = await env.MY_LIMITER.limit({ key: "a" });
  return same && success && name ? stub.fetch(request) : stub.fetch("https://rate-limiter/check", request);
}

// It takes this package's bindings.
const objects = durableObjects({ endpoints: ["http://127.0.0.1:7001"], token: "secret" });
const MY_LIMITER = rateLimitBinding(objects.RATE_LIMITER, { namespaceId: "1", simple: { limit: 1, period: 10 } });
const env: Env = { ...objects, MY_LIMITER };
export const answer = (ctx: ExecutionContext, request: Request) => existing(env, ctx, request);

// And so do namespaces and limiters by themselves.
export const namespace: DurableObjectNamespace = objects.RATE_LIMITER;
export const limiter: RateLimit = MY_LIMITER;
const ours: OurNamespace = objects.AUDIT_LOGGER;
const oursToo: OurRateLimit = MY_LIMITER;
export const both = [ours, oursToo];

// This package's helpers take Cloudflare's own bindings, and a Worker's context.
export async function helpers(real: Env, ctx: ExecutionContext): Promise<number> {
  const result = await checkRateLimit(real, "1.2.3.4", "wix", { requests: 100, windowMs: 60_000 });
  await logAudit(real, { type: "t", action: "a", userId: undefined, details: { a: [1] }, more: 1 }, ctx);
  rateLimitBinding(real.RATE_LIMITER, { namespaceId: "1", simple: { limit: 1, period: 10 } });
  return result.retryAfter ?? result.remaining;
}

// Bindings of other names are there, and no others.
const { LIMITS } = durableObjects({
  endpoints: ["http://127.0.0.1:7001"],
  bindings: { LIMITS: { className: "RateLimiter", scriptName: "gate" } },
});
export const limits: DurableObjectNamespace = LIMITS;
// @ts-expect-error
durableObjects({ endpoints: [], bindings: { LIMITS: { className: "RateLimiter" } } }).RATE_LIMITER;
// @ts-expect-error
durableObjects({ endpoints: [], bindings: { LIMITS: { className: "Counter" } } });
// @ts-expect-error
durableObjects({ endpoints: "http://127.0.0.1:7001" });
// @ts-expect-error
durableObjects({ endpoints: [], timeout: 5 });
// @ts-expect-error
objects.OTHER;
// @ts-expect-error
objects.RATE_LIMITER.idFromName(7);
// @ts-expect-error
objects.RATE_LIMITER.get("text");
// @ts-expect-error
checkRateLimit(env, "a", "wix", { requests: 1 });
// @ts-expect-error
logAudit(env, { type: "t" });

// Hono's own types.
const app = new Hono<{ Bindings: Env }>();
app.use(
  rateLimit({
    type: "wix",
    config: { requests: 100, windowMs: 60_000 },
    identifier: (c) => c.req.header("CF-Connecting-IP"),
  }),
);
app.use("/api/*", rateLimit({ env: objects, type: "wix", config: { requests: 1, windowMs: 1 }, identifier: () => "a" }));
// @ts-expect-error
rateLimit({ type: "wix", config: { requests: 1, windowMs: 1 } });
export default app;
