/** The guide's `checkRateLimit`, and the headers that its callers set. */

import { isWellFormed, toHex, utf8 } from "./bytes.js";
import { describe, type FetchNamespace, post, type RateLimiterEnv } from "./env.js";
import { sha256 } from "./sha256.js";

/** How many requests in how long. */
export interface RateLimitConfig {
  /** 0 to 2^53-1; 0 admits none. */
  requests: number;
  /** 1 to 34,560,000,000 (400 days). */
  windowMs: number;
}

/** The guide's answer of `POST /check`. */
export interface RateLimitResult {
  allowed: boolean;
  /** What the window still admits. */
  remaining: number;
  /** When the window ends, in milliseconds since the Unix epoch. */
  resetTime: number;
  /** Whole seconds until then, at least 1; only there if not allowed. */
  retryAfter?: number;
}

const WINDOW_MS_MAX = 400 * 24 * 60 * 60 * 1000;
const IDENTIFIER_BYTES_MAX = 512;
/** The object's name is `type:identifier`, and is bounded as a whole by its parts. */
const TYPE_BYTES_MAX = 512;

/**
 * Counts a request of `identifier` against the limiter `type:identifier` (guide, "Rate Limiter" and
 * "Naming Strategies"). Without a `config` the limit is the policy that the cluster keeps for `type`
 * (`tallykeep policy`).
 *
 * If the limiter cannot be asked, or its answer is none, the request is allowed (guide, "Error
 * Handling"): `{ allowed: true, remaining: 0, resetTime: now + 60000 }`, and the reason goes to
 * `console.error`. That is so for a token that has asked every node too often, too: its
 * `requestsPerSecond` should be well above what the program can be made to ask.
 *
 * An identifier comes from outside. One that the cluster would not take (empty, over 512 bytes, with
 * control characters) is counted under `sha256:` and its digest, so that nobody gets past a limit by
 * sending such a one.
 *
 * @throws {TypeError} for a `type` or a `config` out of bounds: they are the program's own.
 */
export async function checkRateLimit(
  env: RateLimiterEnv,
  identifier: string,
  type: string,
  config?: RateLimitConfig,
): Promise<RateLimitResult> {
  if (config !== undefined) checkConfig(config);
  checkType(type);
  try {
    return await ask(env.RATE_LIMITER, type, counted(identifier), config);
  } catch (error) {
    console.error("Rate limit check error:", error);
    return { allowed: true, remaining: 0, resetTime: Date.now() + 60_000 };
  }
}

/**
 * The headers of the guide's callers: `X-RateLimit-Remaining` and `X-RateLimit-Reset` (ISO 8601), and
 * `Retry-After` if the request is not allowed. With the `config`, `X-RateLimit-Limit` too.
 */
export function rateLimitHeaders(
  result: RateLimitResult,
  config?: RateLimitConfig,
): Record<string, string> {
  const { allowed, remaining, resetTime, retryAfter } = result;
  return {
    ...(config === undefined ? {} : { "X-RateLimit-Limit": String(config.requests) }),
    "X-RateLimit-Remaining": String(remaining),
    "X-RateLimit-Reset": new Date(resetTime).toISOString(),
    ...(allowed ? {} : { "Retry-After": String(retryAfter ?? 60) }),
  };
}

async function ask(
  namespace: FetchNamespace,
  type: string,
  identifier: string,
  config: RateLimitConfig | undefined,
): Promise<RateLimitResult> {
  const body =
    config === undefined
      ? { identifier, type }
      : { identifier, config: { requests: config.requests, windowMs: config.windowMs } };
  const name = `${type}:${identifier}`;
  const response = await post(namespace, name, "https://rate-limiter/check", JSON.stringify(body));
  // A 429 that is a problem is none of a limiter.
  const isProblem = response.headers.get("content-type") === "application/problem+json";
  if (isProblem || (response.status !== 200 && response.status !== 429)) {
    throw new Error(`the limiter answered ${await describe(response)}`);
  }
  const result = (await response.json()) as RateLimitResult;
  if (typeof result?.allowed !== "boolean" || !Number.isInteger(result.resetTime)) {
    throw new Error("the limiter's answer has no allowed or no resetTime");
  }
  return result;
}

/** The identifier, if the cluster takes it, or what stands for it. */
function counted(identifier: unknown): string {
  const text = String(identifier);
  const bytes = utf8(text);
  const isTaken =
    bytes.length > 0 &&
    bytes.length <= IDENTIFIER_BYTES_MAX &&
    !/\p{Cc}/u.test(text) &&
    isWellFormed(text);
  return isTaken ? text : `sha256:${toHex(sha256(bytes))}`;
}

/** @throws {TypeError} that says which member, and the bound. */
export function checkConfig(config: RateLimitConfig): void {
  const { requests, windowMs } = config ?? {};
  if (!Number.isSafeInteger(requests) || requests < 0) {
    throw new TypeError("config.requests must be an integer from 0 to 2^53-1");
  }
  if (!Number.isSafeInteger(windowMs) || windowMs < 1 || windowMs > WINDOW_MS_MAX) {
    throw new TypeError(`config.windowMs must be an integer from 1 to ${WINDOW_MS_MAX}`);
  }
}

/** @throws {TypeError} unless it can be the first part of an object's name. */
export function checkType(type: string): void {
  if (typeof type !== "string" || type === "" || utf8(type).length > TYPE_BYTES_MAX) {
    throw new TypeError(`type must be a string of 1 to ${TYPE_BYTES_MAX} bytes`);
  }
}
