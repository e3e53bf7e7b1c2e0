/** Entries that wait to be sent together. */

/** When a batch goes. */
export interface BatchLimits {
  /** With so many entries. */
  entriesMax: number;
  /** With so many bytes of JSON. */
  bytesMax: number;
  /** So long after its first entry. */
  delayMs: number;
}

/** An entry, and who waits for it. */
export interface Pending<Result> {
  readonly json: string;
  readonly bytes: number;
  readonly settle: (result: Result) => void;
}

/** One queue. A batch goes when it is full or its time is over; the next gathers meanwhile. */
export class Batcher<Result> {
  readonly #limits: BatchLimits;
  readonly #send: (batch: readonly Pending<Result>[]) => Promise<void>;
  #batch: Pending<Result>[] = [];
  #bytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param send Settles every entry of the batch, and never rejects. */
  constructor(limits: BatchLimits, send: (batch: readonly Pending<Result>[]) => Promise<void>) {
    this.#limits = limits;
    this.#send = send;
  }

  add(pending: Pending<Result>): void {
    const { entriesMax, bytesMax, delayMs } = this.#limits;
    if (this.#bytes + pending.bytes > bytesMax) this.flush();
    this.#batch.push(pending);
    this.#bytes += pending.bytes;
    if (this.#batch.length >= entriesMax || this.#bytes >= bytesMax) this.flush();
    // Not unref'd: a program that ends by itself sends what waits before it does.
    else this.#timer ??= setTimeout(() => this.flush(), delayMs);
  }

  /** Sends what waits, at once. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    this.#batch = [];
    this.#bytes = 0;
    void this.#send(batch);
  }
}
