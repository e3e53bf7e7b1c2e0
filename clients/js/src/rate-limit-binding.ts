/** Cloudflare's rate limiting binding, `env.X.limit({ key })`, over a limiter of the guide. */

import type { FetchNamespace } from "./env.js";
import { checkConfig, checkRateLimit, checkType } from "./rate-limit.js";

/** What `limit` is asked. */
export interface RateLimitOptions {
  /** What is counted: a user, a tenant, a path. */
  key: string;
  /** 1 if it is there at all. */
  delta?: number;
}

/** Cloudflare's `RateLimit`. */
export interface RateLimit {
  /**
   * Counts one request of `key`. If the limiter cannot be asked, `success` is true, as in
   * `checkRateLimit`.
   * @throws {TypeError} without a `key`, or for a `delta` other than 1.
   */
  limit(options: RateLimitOptions): Promise<{ success: boolean }>;
}

/** What the `[[ratelimits]]` table of a `wrangler.toml` says of a binding. */
export interface RateLimitBindingOptions {
  /** Which limiters: bindings with the same one share their counts. The `type` of `checkRateLimit`. */
  namespaceId: string;
  simple: {
    /** Requests in a period, 0 to 2^53-1. */
    limit: number;
    /** Seconds, 1 to 34,560,000 (400 days). Cloudflare takes 10 and 60. */
    period: number;
  };
}

/**
 * A binding that counts exactly, over all machines, where Cloudflare's counts in each of its places.
 *
 * ```js
 * const options = { namespaceId: "1001", simple: { limit: 100, period: 60 } };
 * const env = { MY_LIMITER: rateLimitBinding(objects.RATE_LIMITER, options) };
 * ```
 *
 * @throws {TypeError} for options out of bounds.
 */
export function rateLimitBinding(
  namespace: FetchNamespace,
  { namespaceId, simple }: RateLimitBindingOptions,
): RateLimit {
  const config = { requests: simple?.limit, windowMs: simple?.period * 1000 };
  try {
    checkType(namespaceId);
    checkConfig(config);
  } catch {
    throw new TypeError(
      "a rate limit needs a namespaceId, and simple: a limit of requests and a period in seconds",
    );
  }
  return {
    async limit({ key, delta }) {
      if (typeof key !== "string") throw new TypeError("limit needs a key");
      if (delta !== undefined && delta !== 1) throw new TypeError("delta can only be 1");
      const result = await checkRateLimit({ RATE_LIMITER: namespace }, key, namespaceId, config);
      return { success: result.allowed };
    },
  };
}
