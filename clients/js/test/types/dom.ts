/** The package in a browser. Compiled, and not run. */

import { durableObjects, rateLimitBinding } from "tallykeep";

const { RATE_LIMITER } = durableObjects({ endpoints: [location.origin], fetch: window.fetch.bind(window) });

export async function remaining(): Promise<string | null> {
  const request = new Request("https://rate-limiter/check", { method: "POST", body: new FormData() });
  const response: Response = await RATE_LIMITER.getByName("a").fetch(request);
  return response.headers.get("X-RateLimit-Remaining");
}

export const limiter = rateLimitBinding(RATE_LIMITER, { namespaceId: "a", simple: { limit: 1, period: 1 } });
// @ts-expect-error
RATE_LIMITER.getByName("a").fetch({ url: "https://rate-limiter/check" });
