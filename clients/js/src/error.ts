/** The error of a call that got no answer. */

/** What is known of a failure. */
interface Details {
  status?: number;
  code?: string;
  retryable: boolean;
  cause?: unknown;
}

/**
 * No node answered in time, or the answer was a 5xx or the 429 of a token that asks every node too
 * often. The members `retryable`, `overloaded` and `remote` mean what they mean on the errors of a
 * Durable Object's stub.
 */
export class TallykeepError extends Error {
  /** The status of the last answer, 500 to 599 or 429; undefined if there was none. */
  readonly status: number | undefined;
  /** The stable word of the last answer's problem (RFC 9457): `no_leader`, `overloaded`, … */
  readonly code: string | undefined;
  /**
   * Whether the same call may be carried out if it is made again later. It may also have been
   * carried out by now: give both the same `Idempotency-Key`, and it counts once.
   */
  readonly retryable: boolean;
  /** Whether the cluster has too much to do: trying again at once makes it worse. */
  readonly overloaded: boolean;
  /** Whether the cluster said so, and not this side. */
  readonly remote: boolean;

  constructor(message: string, { status, code, retryable, cause }: Details) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "TallykeepError";
    this.status = status;
    this.code = code;
    this.retryable = retryable;
    this.overloaded = code === "overloaded";
    this.remote = status !== undefined;
  }
}
