/**
 * One call, and as many attempts at the nodes as its time allows.
 *
 * Any node takes any request. What cannot be reached, breaks off or takes too long is asked of the
 * next node at once, with the same bytes and the same `Idempotency-Key`, so that the cluster counts
 * it once. What the cluster answers below 500 is the answer.
 */

import { Circuit } from "./circuit.js";
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
/** Pause before a node that failed is asked again by the same call; doubled each time. */
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 1_000;
/** Of a 5xx, those that another node may do better. 507 and the like are the whole cluster's. */
const ELSEWHERE_STATUSES = [500, 502, 504];

/**
 * Codes of 5xx that are about the `Idempotency-Key` and not about the request, which was not carried
 * out: as many keys are kept as may be, or a rolling upgrade is not over yet.
 */
const KEY_CODES = ["idempotency_keys_full", "not_yet_supported"];

interface Node {
  readonly endpoint: string;
  readonly circuit: Circuit;
}

/** A node, as one call sees it. */
interface Candidate {
  readonly node: Node;
  attempts: number;
  /** Not to be asked before, on the clock of `performance.now()`. Infinity: not again. */
  notBeforeMs: number;
}

/** What one attempt came to: an answer, or why there is none. */
type Attempt =
  | { response: Response }
  | { error: TallykeepError; sort: "broken" | "elsewhere" | "final" }
  | { error: TallykeepError; sort: "later"; afterMs: number | undefined };

export class Transport {
  readonly #settings: Settings;
  readonly #nodes: readonly Node[];
  /** Whose turn it is to be asked first, once there was a call. */
  #turn: number | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#nodes = settings.endpoints.map((endpoint) => ({ endpoint, circuit: new Circuit() }));
  }

  /**
   * @throws {TallykeepError} if no node answers in time, or the answer is a 5xx.
   * @throws the signal's reason, if it is aborted.
   */
  async send(request: WireRequest): Promise<Response> {
    const { timeoutMs } = this.#settings;
    const deadlineMs = performance.now() + timeoutMs;
    const candidates = this.#candidates();
    // If all were found dead a moment ago, each is tried once and no more: callers that fail open
    // should not each wait for the deadline.
    const isHopeless = candidates.every(({ node }) => !node.circuit.isClosed(performance.now()));
    let last: TallykeepError | undefined;
    for (;;) {
      const candidate = await this.#next(candidates, deadlineMs, request.signal);
      if (candidate === undefined) throw last ?? this.#late();
      const attempt = await this.#attempt(candidate.node, request, deadlineMs);
      if ("response" in attempt) return attempt.response;
      if (last === undefined && request.hasOwnKey && KEY_CODES.includes(attempt.error.code ?? "")) {
        return this.#withoutKey(candidate.node, request, deadlineMs);
      }
      last = attempt.error;
      if (attempt.sort === "final") throw last;
      candidate.attempts += 1;
      candidate.notBeforeMs =
        attempt.sort === "elsewhere" || (attempt.sort === "broken" && isHopeless)
          ? Infinity
          : performance.now() +
            Math.max(attempt.sort === "later" ? (attempt.afterMs ?? 0) : 0, pauseMs(candidate));
    }
  }

  /**
   * One attempt without a key, for a call of which nothing was carried out yet: better than none. It
   * is not repeated, for that might count twice.
   */
  async #withoutKey(node: Node, request: WireRequest, deadlineMs: number): Promise<Response> {
    const headers = new Headers(request.headers);
    headers.delete("idempotency-key");
    const attempt = await this.#attempt(node, { ...request, headers }, deadlineMs);
    if ("response" in attempt) return attempt.response;
    throw attempt.error;
  }

  /** All nodes, in the order in which one call asks them first. */
  #candidates(): Candidate[] {
    const count = this.#nodes.length;
    // It starts anywhere, so that many clients spread. Not in the constructor: a Worker may make it
    // outside of a request, where there is no chance.
    const turn = this.#turn ?? Math.floor(Math.random() * count);
    this.#turn = (turn + 1) % count;
    const nodes = this.#nodes.map((_, index) => this.#nodes[(turn + index) % count]!);
    const nowMs = performance.now();
    const closed = nodes.filter(({ circuit }) => circuit.isClosed(nowMs));
    const open = nodes.filter((node) => !closed.includes(node));
    return [...closed, ...open].map((node) => ({ node, attempts: 0, notBeforeMs: 0 }));
  }

  /** Waits until a node may be asked; undefined if none may in time. */
  async #next(
    candidates: readonly Candidate[],
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Candidate | undefined> {
    const soonest = candidates.reduce((best, one) => (one.notBeforeMs < best.notBeforeMs ? one : best));
    const waitMs = soonest.notBeforeMs - performance.now();
    if (soonest.notBeforeMs >= deadlineMs || performance.now() >= deadlineMs) return undefined;
    if (waitMs > 0) await sleep(waitMs, signal);
    return soonest;
  }

  /** Rejects only with the reason of the caller's signal. */
  async #attempt(node: Node, request: WireRequest, deadlineMs: number): Promise<Attempt> {
    const { attemptTimeoutMs } = this.#settings;
    const beganMs = performance.now();
    const leftMs = Math.max(1, deadlineMs - beganMs);
    const limitMs = this.#nodes.length === 1 ? leftMs : Math.min(leftMs, attemptTimeoutMs);
    node.circuit.begin(beganMs, limitMs);

    const { signal } = request;
    signal?.throwIfAborted();
    const controller = new AbortController();
    const timer = setTimeout(
      () => controller.abort(new DOMException(`no answer within ${Math.round(limitMs)} ms`, "TimeoutError")),
      limitMs,
    );
    const abort = () => controller.abort(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    let isStreamed = false;
    try {
      const answer = await this.#settings.fetch(node.endpoint + request.path, {
        method: request.method,
        headers: this.#headers(request.headers),
        ...(request.body === undefined ? {} : { body: request.body }),
        // A redirect would be somebody else's doing, and the token is not theirs.
        redirect: "manual",
        signal: controller.signal,
      });
      if (answer.status === 0) throw new TypeError("the answer is a redirect");
      if (answer.status >= 500) {
        const failure = await refusal(node, answer);
        node.circuit.succeed();
        return failure;
      }
      isStreamed = request.method === "GET";
      const response = isStreamed ? streamed(answer) : await buffered(answer);
      node.circuit.succeed();
      return { response };
    } catch (cause) {
      signal?.throwIfAborted();
      node.circuit.fail(beganMs, performance.now());
      return { error: broken(node, controller.signal.aborted ? controller.signal.reason : cause), sort: "broken" };
    } finally {
      clearTimeout(timer);
      // A stream that the caller reads can still be aborted.
      if (!isStreamed) signal?.removeEventListener("abort", abort);
    }
  }

  #headers(given: Headers): Headers {
    const headers = new Headers(given);
    const { token } = this.#settings;
    if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
    return headers;
  }

  #late(): TallykeepError {
    return new TallykeepError(`no tallykeep node answered within ${this.#settings.timeoutMs} ms`, {
      retryable: true,
    });
  }
}

/** An answer that has been read, unless it is long: then its beginning has. */
async function buffered(answer: Response): Promise<Response> {
  if (answer.body === null) return streamed(answer);
  const read = await readBounded(answer.body, ANSWER_BYTES_BUFFERED);
  return renewed(answer, read.rest === undefined ? read.bytes : resume(read));
}

/** An answer that the caller reads from the node. */
function streamed(answer: Response): Response {
  return renewed(answer, answer.body);
}

/** An answer of the caller's own, as a stub gives it, and not one of a node's URL. */
function renewed({ status, statusText, headers: given }: Response, body: BodyInit | null): Response {
  const headers = new Headers(given);
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
  const message = `tallykeep at ${node.endpoint} answered ${status}: ${detail ?? answer.statusText}`;
  const error = new TallykeepError(message, {
    status,
    ...(code === undefined ? {} : { code }),
    retryable: status === 503 || ELSEWHERE_STATUSES.includes(status),
  });
  if (status === 503) {
    return { error, sort: "later", afterMs: retryAfterMs(answer.headers.get("retry-after"), Date.now()) };
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

/** A failed node's pause, with half of it by chance, so that many callers do not come back at once. */
function pauseMs({ attempts }: Candidate): number {
  return Math.min(PAUSE_MS_MIN * 2 ** (attempts - 1), PAUSE_MS_MAX) * (0.5 + Math.random() / 2);
}

function sleep(durationMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, durationMs);
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort, { once: true });
  });
}
