/** Express middleware: `import { rateLimit } from "tallykeep/express"`. */

import { type LimitOptions, limiter } from "./middleware.js";

/** What is used of Express's request. */
export interface ExpressRequest {
  ip?: string | undefined;
}

/** What is used of Express's response. */
export interface ExpressResponse {
  set(headers: Record<string, string>): unknown;
  status(code: number): { send(body: string): unknown };
}

/** Options of {@link rateLimit}. */
export interface ExpressRateLimitOptions<Request> extends LimitOptions {
  /** What is counted: `request.ip` by default, for which Express has the setting `trust proxy`. */
  identifier?: (request: Request) => string | undefined;
}

/**
 * Counts each request; one that is not allowed gets the guide's 429. Both have the guide's headers.
 * If the limiter cannot be asked, requests go through.
 *
 * @throws {TypeError} for options out of bounds.
 */
export function rateLimit<Request extends ExpressRequest = ExpressRequest>(
  options: ExpressRateLimitOptions<Request>,
): (request: Request, response: ExpressResponse, next: (error?: unknown) => void) => Promise<void> {
  const { identifier = (request: Request) => request.ip } = options;
  const check = limiter(options);
  return async (request, response, next) => {
    let answer: Awaited<ReturnType<typeof check>>;
    try {
      answer = await check(identifier(request));
    } catch (error) {
      // Express 4 does not look at the promise.
      return next(error);
    }
    response.set(answer.headers);
    if (answer.allowed) next();
    else response.status(429).send("Rate limit exceeded");
  };
}
