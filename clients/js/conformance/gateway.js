/** The Worker in front of the guide's objects: what it is sent are calls, carried out by their stubs. */

import { AuditLogger, RateLimiter } from "./objects.js";
import { perform } from "./perform.js";

export { AuditLogger, RateLimiter };

export default {
  async fetch(request, env) {
    if (request.method !== "POST") return new Response("ready");
    return Response.json(await perform(env, await request.json()));
  },
};
