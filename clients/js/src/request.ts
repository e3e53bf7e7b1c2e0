/** What a call of `fetch` comes to on the wire. */

import { uuid } from "./bytes.js";
import { TallykeepError } from "./error.js";
import { readBounded } from "./read.js";

/** The cluster takes bodies of up to 1 MiB, and answers 413 to more. Beyond this none is sent. */
export const BODY_BYTES_MAX = 2 * 1024 * 1024;

/** A request that can be sent any number of times. */
export interface WireRequest {
  /** The URL that was asked, without its fragment. */
  readonly url: string;
  /** Path and query. */
  readonly path: string;
  readonly method: string;
  readonly headers: Headers;
  /** Whether its `Idempotency-Key` was made here, and not by the caller. */
  readonly hasOwnKey: boolean;
  /** The whole body, so that another node can be sent the same bytes. */
  readonly body: Uint8Array<ArrayBuffer> | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Headers that are of a connection, or that the body decides. */
const NOT_PASSED_ON = [
  "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te",
  "trailer", "transfer-encoding", "upgrade",
];

/**
 * How much longer than its call a key is remembered: more than a node takes to carry a request out or
 * give up on it (5 s), and than clocks differ by.
 */
const KEY_TTL_MARGIN_S = 60;
/** Methods that change nothing, so that they may be repeated without a key (RFC 9110, 9.2.1). */
const SAFE_METHODS = ["GET", "HEAD", "OPTIONS", "TRACE"];

/**
 * Reads what `fetch` was given, which may take until `deadlineMs` on the clock of
 * `performance.now()`.
 *
 * @throws {TypeError} for a URL that is relative or of a scheme other than http and https, for what
 * the platform's `Request` refuses, and for a body over {@link BODY_BYTES_MAX}.
 * @throws {TallykeepError} if the body is not there by then.
 * @throws the signal's reason, if it is aborted.
 */
export async function wireRequest(
  input: string | URL | Request,
  init: RequestInit | undefined,
  deadlineMs: number,
): Promise<WireRequest> {
  const url = parse(input instanceof Request ? input.url : `${input}`);
  checkInit(input, init);
  // The fragment is not sent. A user in the URL is, to an answer's `url`, but `Request` refuses it.
  url.hash = "";
  const asked = url.href;
  url.username = "";
  url.password = "";
  const request = new Request(input instanceof Request ? input : url.href, platformInit(init));
  const { method } = request;
  const headers = new Headers(request.headers);
  for (const name of NOT_PASSED_ON) headers.delete(name);
  const hasOwnKey = !SAFE_METHODS.includes(method) && !headers.has("idempotency-key");
  if (hasOwnKey) {
    // A string of RFC 9651, as draft-ietf-httpapi-idempotency-key-header has it. The cluster need not
    // remember it for the day that it would: it is sent until the deadline, and never again.
    const ttlS = Math.ceil((deadlineMs - performance.now()) / 1000) + KEY_TTL_MARGIN_S;
    headers.set("idempotency-key", `"${uuid()}";ttl=${Math.max(ttlS, KEY_TTL_MARGIN_S)}`);
  }
  const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
  const body = request.body === null ? undefined : await readBody(request.body, deadlineMs, signal);
  const path = url.pathname + url.search;
  return { url: asked, path, method, headers, hasOwnKey, body, signal };
}

function parse(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new TypeError(`Invalid URL: ${text}`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError(`Fetch API cannot load: ${text}`);
  }
  return url;
}

/** What the platform's `Request` is given. */
function platformInit(init: RequestInit | undefined): RequestInit | undefined {
  // `stub.fetch(url, request)`: a Request has its members not as its own, and has all of them.
  if (init instanceof Request) return init as unknown as RequestInit;
  // Node asks for `duplex` with a stream, and workerd does not know it. Of the usual methods the
  // platform leaves `patch` alone as it was written.
  const options = { duplex: "half", ...init } as RequestInit;
  if (options.method !== undefined) options.method = options.method.toUpperCase();
  return options;
}

/**
 * Refuses in workerd's words what every platform's `Request` refuses in its own.
 * @throws {TypeError}
 */
function checkInit(input: string | URL | Request, init: RequestInit | undefined): void {
  const method = init?.method ?? (input instanceof Request ? input.method : "GET");
  if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(method)) {
    throw new TypeError(`Invalid HTTP method string: ${method}`);
  }
  const hasBody = init?.body !== undefined && init.body !== null;
  if (hasBody && /^(GET|HEAD)$/i.test(method)) {
    throw new TypeError("Request with a GET or HEAD method cannot have a body.");
  }
  if (!hasBody && input instanceof Request && input.bodyUsed) {
    throw new TypeError("Cannot reconstruct a Request with a used body.");
  }
}

async function readBody(
  stream: ReadableStream<Uint8Array>,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const stop = new AbortController();
  const late = new TallykeepError("the request's body did not come in time", { retryable: false });
  const timer = setTimeout(() => stop.abort(late), deadlineMs - performance.now());
  const abort = () => stop.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    stop.signal.throwIfAborted();
    const read = await readBounded(stream, BODY_BYTES_MAX, stop.signal);
    if (read.rest === undefined) return read.bytes;
    void read.rest.cancel().catch(() => {});
    throw new TypeError(`The request's body has more than ${BODY_BYTES_MAX} bytes.`);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
