/** One request to one node, and what it comes to. */

import type { Circuit } from "./circuit.js";
import { TallykeepError } from "./error.js";
import type { Settings } from "./options.js";
import { readBounded, resume } from "./read.js";
import type { WireRequest } from "./request.js";
import { retryAfterMs } from "./retry-after.js";

/**
 * How much of an answer is read before it is given to the caller, so that one that breaks off is
 * asked again and not found broken by the caller. Answers to `/check`, `/reset` and `/log` are far
 * below; the rest of a longer one is streamed.
 */
const ANSWER_BYTES_BUFFERED = 1024 * 1024;
/** How much of a 5xx is read, for its message. */
const PROBLEM_BYTES_MAX = 64 * 1024;
/** Of a 5xx, those that another node may do better. 507 and the like are the whole cluster's. */
const ELSEWHERE_STATUSES = [500, 502, 504];

export interface Node {
  readonly endpoint: string;
  readonly circuit: Circuit;
}

/** An answer, or why there is none and what may help: nothing, another node, or time. */
export type Attempt =
  | { response: Response }
  | { error: TallykeepError; sort: "broken" | "elsewhere" | "final" }
  | { error: TallykeepError; sort: "later"; afterMs: number | undefined };

/**
 * Asks a node, which has `limitMs` to answer. Rejects only with the reason of the caller's signal.
 */
export async function attempt(
  node: Node,
  request: WireRequest,
  limitMs: number,
  settings: Settings,
): Promise<Attempt> {
  const { signal } = request;
  signal?.throwIfAborted();
  const beganMs = performance.now();
  node.circuit.begin(beganMs, limitMs);

  const controller = new AbortController();
  const late = () => {
    const message = `no answer within ${Math.round(limitMs)} ms`;
    controller.abort(new DOMException(message, "TimeoutError"));
  };
  const timer = setTimeout(late, limitMs);
  const abort = () => controller.abort(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  let isStreamed = false;
  try {
    const answer = await settings.fetch(node.endpoint + request.path, {
      method: request.method,
      headers: authorized(request.headers, settings.token),
      ...(request.body === undefined ? {} : { body: request.body }),
      // A redirect would be somebody else's doing, and the token is not theirs.
      redirect: "manual",
      signal: controller.signal,
    });
    // What a browser shows of a redirect.
    if (answer.status === 0) throw new TypeError("the answer is a redirect");
    isStreamed = request.method === "GET" && answer.status < 500;
    const result = await taken(node, answer, isStreamed);
    node.circuit.succeed();
    return result;
  } catch (error) {
    signal?.throwIfAborted();
    node.circuit.fail(beganMs, performance.now());
    const cause = controller.signal.aborted ? controller.signal.reason : error;
    return { error: broken(node, cause), sort: "broken" };
  } finally {
    clearTimeout(timer);
    // A stream that the caller reads can still be aborted.
    if (!isStreamed) signal?.removeEventListener("abort", abort);
  }
}

function authorized(given: Headers, token: string | undefined): Headers {
  const headers = new Headers(given);
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
  return headers;
}

/** What an answer comes to, read as far as it is to be. Rejects if it breaks off. */
async function taken(node: Node, answer: Response, isStreamed: boolean): Promise<Attempt> {
  if (answer.status >= 500) return refusal(node, answer);
  return { response: isStreamed ? streamed(answer) : await buffered(answer) };
}

/** An answer that has been read, unless it is long: then its beginning has. */
async function buffered(answer: Response): Promise<Response> {
  if (answer.body === null) return renewed(answer, null);
  const read = await readBounded(answer.body, ANSWER_BYTES_BUFFERED);
  return renewed(answer, read.rest === undefined ? read.bytes : resume(read));
}

/**
 * An answer that the caller reads from the node. Its stream is locked from now on: Node cancels that of
 * a fetched answer which nobody holds any more, unless somebody reads it.
 */
function streamed(answer: Response): Response {
  if (answer.body === null) return renewed(answer, null);
  return renewed(answer, resume({ bytes: new Uint8Array(), rest: answer.body.getReader() }));
}

/** An answer of the caller's own, as a stub gives it, and not one of a node's URL. */
function renewed(answer: Response, body: BodyInit | null): Response {
  const { status, statusText } = answer;
  const headers = new Headers(answer.headers);
  if (headers.has("content-encoding")) {
    // `fetch` has undone it.
    headers.delete("content-encoding");
    headers.delete("content-length");
  }
  return new Response(body, { status, statusText, headers });
}

/** What a 5xx means for the call. */
async function refusal(node: Node, answer: Response): Promise<Attempt> {
  const { status } = answer;
  const text = answer.body === null ? "" : await problemText(answer.body);
  const { detail, code } = problem(text);
  // The node's log has a line with it.
  const id = answer.headers.get("x-request-id");
  const said = `${status}: ${detail ?? answer.statusText}${id === null ? "" : ` (request ${id})`}`;
  const error = new TallykeepError(`tallykeep at ${node.endpoint} answered ${said}`, {
    status,
    ...(code === undefined ? {} : { code }),
    retryable: status === 503 || ELSEWHERE_STATUSES.includes(status),
  });
  if (status === 503) {
    const afterMs = retryAfterMs(answer.headers.get("retry-after"), Date.now());
    return { error, sort: "later", afterMs };
  }
  return { error, sort: ELSEWHERE_STATUSES.includes(status) ? "elsewhere" : "final" };
}

async function problemText(body: ReadableStream<Uint8Array>): Promise<string> {
  const read = await readBounded(body, PROBLEM_BYTES_MAX);
  await read.rest?.cancel();
  return new TextDecoder().decode(read.bytes);
}

/** The members of a problem (RFC 9457) that are shown; a proxy's answer has none. */
function problem(text: string): { detail?: string; code?: string } {
  try {
    const { detail, code } = JSON.parse(text) as Record<string, unknown>;
    return {
      ...(typeof detail === "string" ? { detail } : {}),
      ...(typeof code === "string" ? { code } : {}),
    };
  } catch {
    return {};
  }
}

function broken(node: Node, cause: unknown): TallykeepError {
  const message = `tallykeep at ${node.endpoint} cannot be reached: ${reason(cause)}`;
  return new TallykeepError(message, { retryable: true, cause });
}

/** Node's `fetch failed` has the real reason as its cause. */
function reason(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const inner = cause.cause;
  if (!(inner instanceof Error)) return cause.message;
  return inner.message || String((inner as { code?: unknown }).code ?? cause.message);
}
