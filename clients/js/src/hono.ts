/** Hono middleware: `import { rateLimit } from "tallykeep/hono"`. */

import type { RateLimiterEnv } from "./env.js";
import { type LimitOptions, limiter } from "./middleware.js";

/** What is used of Hono's context. */
export interface HonoContext {
  /** Bindings of any kind, as Hono has them. */
  env: any;
  req: { header(name: string): string | undefined };
  header(name: string, value: string): void;
  text(body: string, status: 429): Response;
}

/** Options of {@link rateLimit}. */
export interface HonoRateLimitOptions<Context> extends Omit<LimitOptions, "env"> {
  /** Where the limiter is: the context's own `env` by default. */
  env?: RateLimiterEnv;
  /**
   * What is counted. There is no default, for which header can be believed depends on what is in
   * front: on Cloudflare it is `(c) => c.req.header("CF-Connecting-IP")`.
   */
  identifier: (context: Context) => string | undefined;
}

/**
 * Counts each request; one that is not allowed gets the guide's 429. Both have the guide's headers.
 * If the limiter cannot be asked, requests go through.
 *
 * @throws {TypeError} for options out of bounds.
 */
export function rateLimit<Context extends HonoContext = HonoContext>(
  options: HonoRateLimitOptions<Context>,
): (context: Context, next: () => Promise<void>) => Promise<Response | undefined> {
  const { type, config, env, identifier } = options;
  if (typeof identifier !== "function") throw new TypeError("identifier must be a function");
  // The context's env may be another object with every request, so what is checked now is the rest.
  const check = limiter({ type, config, env: env ?? { RATE_LIMITER: undefined as never } });
  return async (context, next) => {
    const bindings = env ?? (context.env as RateLimiterEnv);
    const { allowed, headers } = await check(identifier(context), bindings);
    const set = () => {
      for (const [name, value] of Object.entries(headers)) context.header(name, value);
    };
    if (!allowed) {
      set();
      return context.text("Rate limit exceeded", 429);
    }
    await next();
    // Now there is a response that they are set on, whatever the handler made it of.
    set();
    return undefined;
  };
}
