/** How entries get to the audit log: the one place that knows `/log` and `/log/batch`. */

import { describe, type FetchNamespace, post } from "./env.js";

/** What became of an entry. */
export type Sent = { id: string } | { error: unknown };

/** How long a log that has no `/log/batch` is not asked for it again. */
const NO_BATCH_MS = 60_000;
/** Answers to a batch that say nothing of its entries: each is then sent by itself. */
const NOT_AS_A_BATCH = [400, 404, 405, 413];

/** Sends the entries of one namespace. */
export class AuditSender {
  readonly #namespace: FetchNamespace;
  readonly #concurrency: number;
  #noBatchUntilMs = 0;

  /** @param concurrency How many entries are under way at once where they go one by one. */
  constructor(namespace: FetchNamespace, concurrency: number) {
    this.#namespace = namespace;
    this.#concurrency = concurrency;
  }

  /** Sends entries, as JSON; gives what became of each, in their order. Never rejects. */
  async send(entries: readonly string[]): Promise<Sent[]> {
    if (entries.length > 1 && Date.now() >= this.#noBatchUntilMs) {
      try {
        const sent = await this.#together(entries);
        if (sent !== undefined) return sent;
      } catch (error) {
        // During a rolling upgrade batches are not taken yet, and nothing was logged.
        if ((error as { code?: unknown })?.code !== "not_yet_supported") {
          return entries.map(() => ({ error }));
        }
      }
    }
    return this.#oneByOne(entries);
  }

  /** Undefined if the log does not take them so. */
  async #together(entries: readonly string[]): Promise<Sent[] | undefined> {
    const body = `{"entries":[${entries.join(",")}]}`;
    const response = await this.#post("/log/batch", body);
    if (NOT_AS_A_BATCH.includes(response.status)) {
      if (response.status === 404 || response.status === 405) {
        this.#noBatchUntilMs = Date.now() + NO_BATCH_MS;
      }
      await response.body?.cancel();
      return undefined;
    }
    if (!response.ok) throw answered(await describe(response));
    const { results } = (await response.json()) as { results?: unknown };
    const list: unknown[] = Array.isArray(results) ? results : [];
    return entries.map((_, index) => verdict(list[index]));
  }

  async #oneByOne(entries: readonly string[]): Promise<Sent[]> {
    const sent: Sent[] = [];
    let next = 0;
    const lane = async () => {
      while (next < entries.length) {
        const index = next++;
        sent[index] = await this.#one(entries[index]!);
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.#concurrency, entries.length) }, lane));
    return sent;
  }

  async #one(entry: string): Promise<Sent> {
    try {
      const response = await this.#post("/log", entry);
      if (!response.ok) return { error: answered(await describe(response)) };
      const { id } = (await response.json()) as { id?: unknown };
      if (typeof id !== "string") return { error: new Error("the audit log's answer has no id") };
      return { id };
    } catch (error) {
      return { error };
    }
  }

  /** Guide, "Naming Strategies": one object per day. */
  #post(path: string, body: string): Promise<Response> {
    const day = new Date().toISOString().slice(0, 10);
    return post(this.#namespace, day, `https://audit-logger${path}`, body);
  }
}

/** What one result of a batch says. */
function verdict(result: unknown): Sent {
  const { status, id, detail, error } = (result ?? {}) as Record<string, unknown>;
  if (status === 200 && typeof id === "string") return { id };
  return { error: answered(`${String(status)} ${String(detail ?? error ?? "")}`) };
}

function answered(what: string): Error {
  return new Error(`the audit log answered ${what}`);
}
