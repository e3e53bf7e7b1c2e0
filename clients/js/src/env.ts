/**
 * What the helpers need of `env`: no more of a namespace than the guide's code uses, so that they
 * work with Cloudflare's own bindings too.
 */

/** A namespace of objects that are called with `fetch`. */
export interface FetchNamespace {
  // Methods, and not members that are functions: Cloudflare's own types are then assignable.
  idFromName(name: string): unknown;
  get(id: never): { fetch(input: string, init?: RequestInit): Promise<Response> };
}

/** An `env` with the guide's limiter. */
export interface RateLimiterEnv {
  RATE_LIMITER: FetchNamespace;
}

/** An `env` with the guide's audit log. */
export interface AuditLoggerEnv {
  AUDIT_LOGGER: FetchNamespace;
}

/** What is used of a Worker's context. */
export interface WaitUntil {
  waitUntil(promise: Promise<unknown>): void;
}

/** Sends JSON to the object of this name, as the guide's client does. */
export function post(
  namespace: FetchNamespace,
  name: string,
  url: string,
  body: string,
): Promise<Response> {
  const id = namespace.idFromName(name) as never;
  return namespace.get(id).fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body,
  });
}

/** What an answer that is an error says of itself, in one line. */
export async function describe(response: Response): Promise<string> {
  const text = await response.text();
  let detail: unknown;
  try {
    const problem = JSON.parse(text) as { detail?: unknown; error?: unknown };
    detail = problem.detail ?? problem.error;
  } catch {
    detail = text.slice(0, 200);
  }
  return `${response.status} ${String(detail ?? response.statusText)}`;
}
