/** What `durableObjects` takes, and the bounds of it. */

/** A class of the guide. */
export type ClassName = "RateLimiter" | "AuditLogger";

/** A binding, as a `[[durable_objects.bindings]]` table of `wrangler.toml` has it. */
export interface BindingOptions {
  className: ClassName;
  /** The `scriptName` of the options by default. */
  scriptName?: string | undefined;
}

/** How to reach a cluster. */
export interface DurableObjectsOptions {
  /** The nodes, or what is in front of them: `http://10.0.0.1:7001`. At least one. */
  endpoints: readonly string[];
  /** Sent as `Authorization: Bearer`. */
  token?: string | undefined;
  /** How long a call may take, all attempts together: 1 to 600,000, 5,000 by default. */
  timeoutMs?: number | undefined;
  /**
   * How long one node may take before the next is asked: 1 to 600,000, 2,000 by default. It is not
   * applied where there is one endpoint only.
   */
  attemptTimeoutMs?: number | undefined;
  /** The script whose classes are bound: `wix-gamma-integration` by default, as in the guide. */
  scriptName?: string | undefined;
  /** The platform's `fetch` by default. */
  fetch?: typeof fetch | undefined;
}

/** The same, with bindings other than the guide's. */
export interface BindingsOptions<Name extends string> extends DurableObjectsOptions {
  bindings: Record<Name, BindingOptions>;
}

/** What `durableObjects` is given, by code that may be anything. */
type AnyOptions = DurableObjectsOptions & Partial<BindingsOptions<string>>;

/** A binding with everything that it needs. */
export interface Binding {
  readonly name: string;
  /** `{script_name}-{class_name}`, from which ids are made. */
  readonly uniqueKey: string;
}

/** The options with what was left out, and nothing in them that is wrong. */
export interface Settings {
  /** Without a slash at the end. */
  readonly endpoints: readonly string[];
  readonly token: string | undefined;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  readonly bindings: readonly Binding[];
  readonly fetch: typeof fetch;
}

const KNOWN = [
  "endpoints", "token", "timeoutMs", "attemptTimeoutMs", "scriptName", "bindings", "fetch",
];
const CLASSES = ["RateLimiter", "AuditLogger"];
const TIMEOUT_MS_MAX = 600_000;

/** @throws {TypeError} that names the option, and what it has to be. */
export function settings(options: AnyOptions): Settings {
  if (typeof options !== "object" || options === null) {
    throw new TypeError("durableObjects takes an object with endpoints");
  }
  const unknown = Object.keys(options).find((name) => !KNOWN.includes(name));
  if (unknown !== undefined) throw new TypeError(`there is no option ${unknown}`);
  const { token } = options;
  if (token !== undefined && (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token))) {
    throw new TypeError("token must be a string of visible ASCII characters");
  }
  if (options.fetch !== undefined && typeof options.fetch !== "function") {
    throw new TypeError("fetch must be a function");
  }
  return {
    endpoints: endpoints(options.endpoints),
    token,
    timeoutMs: milliseconds("timeoutMs", options.timeoutMs, 5_000),
    attemptTimeoutMs: milliseconds("attemptTimeoutMs", options.attemptTimeoutMs, 2_000),
    bindings: bindings(options),
    // Called without a receiver: workerd's and browsers' fetch refuse any other than the global.
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
  };
}

function endpoints(list: readonly string[]): string[] {
  if (!Array.isArray(list) || list.length === 0) {
    throw new TypeError("endpoints must be a list of at least one URL");
  }
  const clean = list.map(endpoint);
  if (new Set(clean).size < clean.length) throw new TypeError("an endpoint is there twice");
  return clean;
}

function endpoint(text: unknown): string {
  const url = typeof text === "string" && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new TypeError(`endpoint ${String(text)} must be a URL like http://10.0.0.1:7001`);
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new TypeError("an endpoint must have no user, query or fragment; a secret is a token");
  }
  return url.href.replace(/\/+$/, "");
}

/** A number of milliseconds, `fallback` if it is undefined. */
export function milliseconds(name: string, value: unknown, fallback: number): number {
  return integer(name, value, fallback, TIMEOUT_MS_MAX);
}

/** An integer from 1 to `most`, `fallback` if it is undefined. */
export function integer(name: string, value: unknown, fallback: number, most: number): number {
  if (value === undefined) return fallback;
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > most) {
    throw new TypeError(`${name} must be an integer from 1 to ${most}`);
  }
  return value as number;
}

function bindings(options: AnyOptions): Binding[] {
  const script = scriptName(options.scriptName ?? "wix-gamma-integration");
  const declared = options.bindings ?? {
    RATE_LIMITER: { className: "RateLimiter" },
    AUDIT_LOGGER: { className: "AuditLogger" },
  };
  if (typeof declared !== "object" || Object.keys(declared).length === 0) {
    throw new TypeError("bindings must be an object of at least one binding");
  }
  return Object.entries(declared).map(([name, binding]) => {
    if (!CLASSES.includes(binding?.className)) {
      throw new TypeError(`className of ${name} must be ${CLASSES.join(" or ")}`);
    }
    const own = binding.scriptName === undefined ? script : scriptName(binding.scriptName);
    return { name, uniqueKey: `${own}-${binding.className}` };
  });
}

function scriptName(name: unknown): string {
  if (typeof name !== "string" || name === "") {
    throw new TypeError("scriptName must be a string that is not empty");
  }
  return name;
}
