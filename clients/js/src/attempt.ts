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
/**
 * A 429 with this code is no refused check: the token asks this node too often, and nothing was
 * changed. Each node counts for itself, and has room again within a second.
 */
const TOO_OFTEN_CODE = "token_rate_limited";
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
    isStreamed = request.method === "GET" && answer.status < 500 && answer.status !== 429;
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
  if (answer.status >= 500) return refusal(node, answer, problem(await problemBytes(answer)));
  if (isStreamed) return { response: streamed(answer) };
  if (answer.body === null) return { response: renewed(answer, null) };
  // Unless it is long: then its beginning is.
  const read = await readBounded(answer.body, ANSWER_BYTES_BUFFERED);
  if (read.rest !== undefined) return { response: renewed(answer, resume(read)) };
  if (answer.status === 429) {
    const told = problem(read.bytes);
    if (told.code === TOO_OFTEN_CODE) return refusal(node, answer, told);
  }
  return { response: renewed(answer, read.bytes) };
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

/** What a 5xx, or a 429 of {@link TOO_OFTEN_CODE}, means for the call. */
function refusal(node: Node, answer: Response, { detail, code }: Problem): Attempt {
  const { status } = answer;
  const isLater = status === 503 || status === 429;
  // The node's log has a line with it of each 5xx.
  const id = answer.headers.get("x-request-id");
  const said = `${status}: ${detail ?? answer.statusText}${id === null ? "" : ` (request ${id})`}`;
  const error = new TallykeepError(`tallykeep at ${node.endpoint} answered ${said}`, {
    status,
    ...(code === undefined ? {} : { code }),
    retryable: isLater || ELSEWHERE_STATUSES.includes(status),
  });
  if (isLater) {
    const afterMs = retryAfterMs(answer.headers.get("retry-after"), Date.now());
    return { error, sort: "later", afterMs };
  }
  return { error, sort: ELSEWHERE_STATUSES.includes(status) ? "elsewhere" : "final" };
}

async function problemBytes({ body }: Response): Promise<Uint8Array> {
  if (body === null) return new Uint8Array();
  const read = await readBounded(body, PROBLEM_BYTES_MAX);
  await read.rest?.cancel();
  return read.bytes;
}

/** The members of a problem (RFC 9457) that are shown. */
interface Problem {
  detail?: string;
  code?: string;
}

/** Reads a problem; a proxy's answer is none, and has no members. */
function problem(bytes: Uint8Array): Problem {
  try {
    const text = new TextDecoder().decode(bytes);
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
