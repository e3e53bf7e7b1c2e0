/** The guide's samples, in a Worker whose objects are in a tallykeep cluster. */

import { checkRateLimit, durableObjects, logAudit, rateLimitHeaders } from "tallykeep";

interface Vars {
  /** URLs of the nodes, separated by commas. */
  TALLYKEEP_ENDPOINTS: string;
  TALLYKEEP_TOKEN?: string;
}

/** The guide's `RATE_LIMITS.WIX`. */
const WIX = { requests: 100, windowMs: 60_000 };

/** Made once for many requests: it knows which nodes answer. */
let objects: ReturnType<typeof durableObjects> | undefined;

function bindings(vars: Vars) {
  objects ??= durableObjects({
    endpoints: vars.TALLYKEEP_ENDPOINTS.split(","),
    token: vars.TALLYKEEP_TOKEN,
  });
  return { ...vars, ...objects };
}

export default {
  async fetch(request, vars, ctx): Promise<Response> {
    const env = bindings(vars);
    const clientIp = request.headers.get("CF-Connecting-IP") ?? "unknown";
    const { pathname } = new URL(request.url);

    const limitResult = await checkRateLimit(env, clientIp, "wix", WIX);
    const status = limitResult.allowed ? 200 : 429;
    logAudit(
      env,
      {
        type: "wix_request",
        action: "api_call",
        ip: clientIp,
        details: { path: pathname, method: request.method, status },
      },
      ctx,
    );

    const headers = rateLimitHeaders(limitResult);
    return limitResult.allowed
      ? Response.json({ path: pathname }, { headers })
      : new Response("Rate limit exceeded", { status, headers });
  },
} satisfies ExportedHandler<Vars>;
