/** What the middlewares have in common. */

import type { RateLimiterEnv } from "./env.js";
import {
  checkConfig, checkRateLimit, checkType, type RateLimitConfig, rateLimitHeaders,
} from "./rate-limit.js";

/** What is limited, and how. */
export interface LimitOptions {
  /** `durableObjects(…)`, or another `env` with a `RATE_LIMITER`. */
  env: RateLimiterEnv;
  /** The first part of the limiter's name, `type:identifier`. */
  type: string;
  config: RateLimitConfig;
}

/**
 * A check of these options. A request without an identifier is counted with all others without one.
 * @throws {TypeError} for options out of bounds.
 */
export function limiter({ env, type, config }: LimitOptions) {
  checkType(type);
  checkConfig(config);
  if (typeof env !== "object" || env === null) throw new TypeError("env must have a RATE_LIMITER");
  return async (identifier: string | undefined, own: RateLimiterEnv = env) => {
    const result = await checkRateLimit(own, identifier ?? "unknown", type, config);
    return { allowed: result.allowed, headers: rateLimitHeaders(result, config) };
  };
}
