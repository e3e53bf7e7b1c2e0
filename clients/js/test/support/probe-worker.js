/** Runs the probe in workerd: on its own objects, and on this package's. */

import { durableObjects } from "tallykeep";

import { calls, echo, local, observe } from "./probe.js";

class Echo {
  async fetch(request) {
    const { pathname, search } = new URL(request.url);
    const seen = { path: pathname + search, method: request.method, headers: request.headers, body: await request.text() };
    const { status, value } = echo(seen);
    return Response.json(value, { status });
  }
}

export class RateLimiter extends Echo {}
export class AuditLogger extends Echo {}

export default {
  async fetch(request, env) {
    const { own, endpoint } = await request.json();
    const { RATE_LIMITER, AUDIT_LOGGER } = own ? env : durableObjects({ endpoints: [endpoint] });
    return Response.json({
      local: await observe(local, RATE_LIMITER, AUDIT_LOGGER),
      calls: await observe(calls, RATE_LIMITER, AUDIT_LOGGER),
    });
  },
};
