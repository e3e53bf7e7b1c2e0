/**
 * One call, and as many attempts at the nodes as its time allows.
 *
 * Any node takes any request. What cannot be reached, breaks off or takes too long is asked of the
 * next node at once, with the same bytes and the same `Idempotency-Key`, so that the cluster counts
 * it once. What the cluster answers below 500 is the answer, but for the 429 of a token that asks a
 * node too often: another may have room.
 */

import { type Attempt, attempt, type Node } from "./attempt.js";
import { Circuit } from "./circuit.js";
import { TallykeepError } from "./error.js";
import type { Settings } from "./options.js";
import type { WireRequest } from "./request.js";

/** Pause before a node that failed is asked again by the same call; doubled each time. */
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 1_000;

/**
 * Codes of 5xx that are about the `Idempotency-Key` and not about the request, which was not carried
 * out: as many keys are kept as may be, or a rolling upgrade is not over yet.
 */
const KEY_CODES = ["idempotency_keys_full", "not_yet_supported"];

/** A node, as one call sees it. */
interface Candidate {
  readonly node: Node;
  attempts: number;
  /** Not to be asked before, on the clock of `performance.now()`. Infinity: not again. */
  notBeforeMs: number;
}

export class Transport {
  readonly #settings: Settings;
  readonly #nodes: readonly Node[];
  /** Whose turn it is to be asked first, once there was a call. */
  #turn: number | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#nodes = settings.endpoints.map((endpoint) => ({ endpoint, circuit: new Circuit() }));
  }

  /** How long a call may take in all. */
  get timeoutMs(): number {
    return this.#settings.timeoutMs;
  }

  /**
   * @param deadlineMs On the clock of `performance.now()`.
   * @throws {TallykeepError} if no node answers in time, or the answer is a 5xx or the 429
   * `token_rate_limited`.
   * @throws the signal's reason, if it is aborted.
   */
  async send(request: WireRequest, deadlineMs: number): Promise<Response> {
    const candidates = this.#candidates();
    // If all were found dead a moment ago, each is tried once and no more: callers that fail open
    // should not each wait for the deadline.
    const isHopeless = candidates.every(({ node }) => !node.circuit.isClosed(performance.now()));
    let last: TallykeepError | undefined;
    for (;;) {
      const candidate = await this.#next(candidates, deadlineMs, request.signal);
      if (candidate === undefined) throw last ?? this.#late();
      const result = await this.#attempt(candidate.node, request, deadlineMs);
      if ("response" in result) return result.response;
      if (last === undefined && request.hasOwnKey && KEY_CODES.includes(result.error.code ?? "")) {
        return this.#withoutKey(candidate.node, request, deadlineMs);
      }
      last = result.error;
      if (result.sort === "final") throw last;
      candidate.attempts += 1;
      const isDone = result.sort === "elsewhere" || (result.sort === "broken" && isHopeless);
      const afterMs = result.sort === "later" ? (result.afterMs ?? 0) : 0;
      const waitMs = isDone ? Infinity : Math.max(afterMs, pauseMs(candidate));
      candidate.notBeforeMs = performance.now() + waitMs;
    }
  }

  /**
   * One attempt without a key, for a call of which nothing was carried out yet: better than none. It
   * is not repeated, for that might count twice.
   */
  async #withoutKey(node: Node, request: WireRequest, deadlineMs: number): Promise<Response> {
    const headers = new Headers(request.headers);
    headers.delete("idempotency-key");
    const result = await this.#attempt(node, { ...request, headers }, deadlineMs);
    if ("response" in result) return result.response;
    throw result.error;
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
    const sooner = (a: Candidate, b: Candidate) => (b.notBeforeMs < a.notBeforeMs ? b : a);
    const soonest = candidates.reduce(sooner);
    const waitMs = soonest.notBeforeMs - performance.now();
    if (soonest.notBeforeMs >= deadlineMs || performance.now() >= deadlineMs) return undefined;
    if (waitMs > 0) await sleep(waitMs, signal);
    return soonest;
  }

  async #attempt(node: Node, request: WireRequest, deadlineMs: number): Promise<Attempt> {
    const leftMs = Math.max(1, deadlineMs - performance.now());
    const { attemptTimeoutMs } = this.#settings;
    // Without another node to turn to, there is no reason to leave this one.
    const limitMs = this.#nodes.length === 1 ? leftMs : Math.min(leftMs, attemptTimeoutMs);
    return attempt(node, request, limitMs, this.#settings);
  }

  #late(): TallykeepError {
    return new TallykeepError(`no tallykeep node answered within ${this.timeoutMs} ms`, {
      retryable: true,
    });
  }
}

/** A failed node's pause, half of it by chance, so that not all callers come back at once. */
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
