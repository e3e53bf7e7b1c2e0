/** The package in Node, without the types of a browser or of Workers. Compiled, and not run. */

import express from "express";
import { checkRateLimit, durableObjects, logAudit, rateLimitHeaders, TallykeepError } from "tallykeep";
import { rateLimit } from "tallykeep/express";

const env = { ...process.env, ...durableObjects({ endpoints: ["http://127.0.0.1:7001"], token: process.env.TOKEN }) };

export async function limited(ip: string): Promise<Headers> {
  const result = await checkRateLimit(env, ip, "wix", { requests: 100, windowMs: 60_000 });
  await logAudit(env, { type: "t", action: "a" });
  return new Headers(rateLimitHeaders(result));
}

export async function raw(): Promise<unknown> {
  try {
    const response: Response = await env.RATE_LIMITER.getByName("wix:a").fetch("https://rate-limiter/check", {
      method: "POST",
      body: "{}",
      signal: AbortSignal.timeout(100),
    });
    return await response.json();
  } catch (error) {
    if (error instanceof TallykeepError) return error.status ?? error.code;
    throw error;
  }
}

const app = express();
app.use(rateLimit({ env, type: "wix", config: { requests: 100, windowMs: 60_000 } }));
app.use(
  "/api",
  rateLimit<express.Request>({
    env,
    type: "wix",
    config: { requests: 100, windowMs: 60_000 },
    identifier: (request) => request.get("X-Api-Key"),
  }),
);
// @ts-expect-error
rateLimit({ env: {}, type: "wix", config: { requests: 100, windowMs: 60_000 } });
// @ts-expect-error
rateLimit({ env, config: { requests: 100, windowMs: 60_000 } });
export default app;
