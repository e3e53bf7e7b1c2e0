/** Whether a node is worth asking first. */

/** After the first failure; doubled by each further one. */
const OPEN_MS_MIN = 500;
const OPEN_MS_MAX = 15_000;

/**
 * A node that did not answer is passed over for a while, so that not every call finds out by itself
 * that it is dead. Then one call tries it: if that fails too, the while is twice as long.
 */
export class Circuit {
  #failures = 0;
  #openUntilMs = 0;
  #failedAtMs = -Infinity;

  /** Whether the node is to be asked in its turn. Other nodes failing, it is asked all the same. */
  isClosed(nowMs: number): boolean {
    return nowMs >= this.#openUntilMs;
  }

  /** A call goes to the node now, and may find out for `attemptMs` how it is: others need not. */
  begin(nowMs: number, attemptMs: number): void {
    if (this.#failures > 0) this.#openUntilMs = Math.max(this.#openUntilMs, nowMs + attemptMs);
  }

  /** The node answered, be it with an error. */
  succeed(): void {
    this.#failures = 0;
    this.#openUntilMs = 0;
  }

  /** The node could not be reached, broke off, or took too long, in an attempt that began then. */
  fail(beganMs: number, nowMs: number): void {
    // A hundred calls that were under way when a node died are one failure.
    if (beganMs < this.#failedAtMs) return;
    this.#openUntilMs = nowMs + Math.min(OPEN_MS_MIN * 2 ** this.#failures, OPEN_MS_MAX);
    this.#failures += 1;
    this.#failedAtMs = nowMs;
  }
}
