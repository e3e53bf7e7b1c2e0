/** The guide's `logAudit`: entries that nobody has to wait for, and that are never lost silently. */

import { AuditSender } from "./audit-sender.js";
import { type BatchLimits, Batcher, type Pending } from "./batcher.js";
import { utf8 } from "./bytes.js";
import type { AuditLoggerEnv, FetchNamespace, WaitUntil } from "./env.js";
import { integer } from "./options.js";

/** The guide's entry. Further members are kept and given back. */
export interface AuditEntry {
  /** 1 to 512 bytes. */
  type: string;
  /** 1 to 512 bytes. */
  action: string;
  userId?: string | undefined;
  ip?: string | undefined;
  /** Up to 256 KiB of JSON. */
  details?: object | undefined;
  [member: string]: unknown;
}

/** `success` is false if the entry went to the console instead. */
export type AuditResult = { success: true; id: string } | { success: false };

/** Bounds of an {@link AuditLog}. */
export interface AuditLogOptions {
  /** Entries in a batch: 1 to 1,000, 100 by default. */
  entriesMax?: number | undefined;
  /** Bytes of JSON in a batch: 1 to 1,000,000, 512,000 by default. A larger entry goes by itself. */
  bytesMax?: number | undefined;
  /** How long a batch gathers: 1 to 60,000, 20 by default. */
  delayMs?: number | undefined;
  /**
   * Bytes of JSON that may wait for their answer; what comes beyond goes to the console. 1 to 2^40,
   * 16,000,000 by default.
   */
  queueBytesMax?: number | undefined;
  /** Entries under way at once if the log takes no batches: 1 to 256, 8 by default. */
  concurrency?: number | undefined;
}

const DEFAULTS = { entriesMax: 100, bytesMax: 512_000, delayMs: 20 };
const DEFAULT_QUEUE_BYTES_MAX = 16_000_000;
const DEFAULT_CONCURRENCY = 8;

/**
 * Logs an entry in today's object (guide, "Audit Logger" and "Naming Strategies"), in a batch with
 * others of the same moment. Resolves when the entry is durable, or has gone to the console; never
 * rejects (guide, "Graceful Degradation").
 *
 * With `ctx`, the entry is also given to `ctx.waitUntil`, so that the response need not wait:
 * `logAudit(env, entry, ctx)` and `ctx.waitUntil(logAudit(env, entry))` are the same, but that the
 * first shares a batch with the other entries of its request in a Worker, where requests cannot wait
 * for each other.
 */
export function logAudit(
  env: AuditLoggerEnv,
  entry: AuditEntry,
  ctx?: WaitUntil,
): Promise<AuditResult> {
  return auditLogOf(env?.AUDIT_LOGGER).log(entry, ctx);
}

/** Sends what `logAudit` still has, and waits for all answers. For the end of a program. */
export async function flushAudit(env: AuditLoggerEnv): Promise<void> {
  await logs.get(env.AUDIT_LOGGER)?.flush();
}

/** The logs that {@link logAudit} uses. */
const logs = new WeakMap<FetchNamespace, AuditLog>();

function auditLogOf(namespace: FetchNamespace): AuditLog {
  let log = namespace && logs.get(namespace);
  if (log === undefined) {
    log = new AuditLog(namespace);
    if (namespace) logs.set(namespace, log);
  }
  return log;
}

/** What {@link logAudit} is made of, for other bounds than its own. */
export class AuditLog {
  readonly #limits: BatchLimits;
  readonly #queueBytesMax: number;
  readonly #sender: AuditSender;
  readonly #batcher: Batcher<AuditResult>;
  readonly #batchers = new WeakMap<WaitUntil, Batcher<AuditResult>>();
  /** Entries without an answer. */
  readonly #pending = new Set<Pending<AuditResult>>();
  #pendingBytes = 0;
  readonly #answers = new Set<Promise<AuditResult>>();

  /** @throws {TypeError} for options out of bounds. */
  constructor(namespace: FetchNamespace, options: AuditLogOptions = {}) {
    this.#limits = {
      entriesMax: integer("entriesMax", options.entriesMax, DEFAULTS.entriesMax, 1_000),
      bytesMax: integer("bytesMax", options.bytesMax, DEFAULTS.bytesMax, 1_000_000),
      delayMs: integer("delayMs", options.delayMs, DEFAULTS.delayMs, 60_000),
    };
    const { queueBytesMax, concurrency } = options;
    this.#queueBytesMax = integer("queueBytesMax", queueBytesMax, DEFAULT_QUEUE_BYTES_MAX, 2 ** 40);
    const lanes = integer("concurrency", concurrency, DEFAULT_CONCURRENCY, 256);
    this.#sender = new AuditSender(namespace, lanes);
    this.#batcher = this.#newBatcher();
  }

  /** As {@link logAudit}. */
  log(entry: AuditEntry, ctx?: WaitUntil): Promise<AuditResult> {
    const logged = this.#log(entry, ctx);
    this.#answers.add(logged);
    void logged.then(() => this.#answers.delete(logged));
    ctx?.waitUntil(logged);
    return logged;
  }

  /** As {@link flushAudit}. */
  async flush(): Promise<void> {
    this.#batcher.flush();
    await Promise.all(this.#answers);
  }

  /**
   * Writes all entries that have no answer to the console, at once, and gives them up: they may be in
   * the log all the same.
   */
  abandon(reason: string): void {
    if (this.#pending.size > 0) this.#fall([...this.#pending], new Error(reason));
  }

  async #log(entry: AuditEntry, ctx: WaitUntil | undefined): Promise<AuditResult> {
    let json: string;
    try {
      json = JSON.stringify(entry);
      if (typeof json !== "string") throw new TypeError("an audit entry must be an object");
    } catch (error) {
      console.error("Audit log error:", error, entry);
      return { success: false };
    }
    return new Promise((settle) => {
      const pending = { json, bytes: utf8(json).length, settle };
      this.#hold(pending);
      if (this.#pendingBytes > this.#queueBytesMax) {
        this.#fall([pending], new Error("too many audit entries wait for their answer"));
      } else if (ctx !== undefined) {
        this.#batcherOf(ctx).add(pending);
      } else if (isWorkers()) {
        // A Worker's request may not wait for what another one's timer or fetch does.
        void this.#send([pending]);
      } else {
        this.#batcher.add(pending);
      }
    });
  }

  #batcherOf(ctx: WaitUntil): Batcher<AuditResult> {
    let batcher = this.#batchers.get(ctx);
    if (batcher === undefined) {
      batcher = this.#newBatcher();
      this.#batchers.set(ctx, batcher);
    }
    return batcher;
  }

  #newBatcher(): Batcher<AuditResult> {
    return new Batcher(this.#limits, (batch) => this.#send(batch));
  }

  /** Sends a batch. Those of its entries that are not taken go to the console. */
  async #send(batch: readonly Pending<AuditResult>[]): Promise<void> {
    const sent = await this.#sender.send(batch.map(({ json }) => json));
    const fallen = new Map<unknown, Pending<AuditResult>[]>();
    batch.forEach((pending, index) => {
      const one = sent[index] ?? { error: new Error("the audit log gave no answer") };
      if ("id" in one) this.#settle(pending, { success: true, id: one.id });
      else fallen.set(one.error, [...(fallen.get(one.error) ?? []), pending]);
    });
    for (const [error, pendings] of fallen) this.#fall(pendings, error);
  }

  /** Guide, "Graceful Degradation": log to console only. A line is what `POST /log` takes. */
  #fall(pendings: readonly Pending<AuditResult>[], error: unknown): void {
    console.error("Audit log error:", error);
    for (const pending of pendings) {
      if (!this.#pending.has(pending)) continue;
      console.log(pending.json);
      this.#settle(pending, { success: false });
    }
  }

  #hold(pending: Pending<AuditResult>): void {
    this.#pending.add(pending);
    this.#pendingBytes += pending.bytes;
    unanswered.add(this);
    hookExit();
  }

  #settle(pending: Pending<AuditResult>, result: AuditResult): void {
    if (!this.#pending.delete(pending)) return;
    this.#pendingBytes -= pending.bytes;
    if (this.#pending.size === 0) unanswered.delete(this);
    pending.settle(result);
  }
}

/** Logs with entries that have no answer. */
const unanswered = new Set<AuditLog>();
let isHooked = false;

/**
 * After `process.exit` nothing can be sent any more, so what has no answer is written to the console.
 * A program that ends by itself does not get there: the timers keep it until all is sent.
 */
function hookExit(): void {
  if (isHooked) return;
  isHooked = true;
  const { process } = globalThis as {
    process?: { on?(event: "exit", listener: () => void): void };
  };
  if (isWorkers()) return;
  process?.on?.("exit", () => {
    for (const log of unanswered) log.abandon("the program ended before the audit log answered");
  });
}

function isWorkers(): boolean {
  return globalThis.navigator?.userAgent === "Cloudflare-Workers";
}
