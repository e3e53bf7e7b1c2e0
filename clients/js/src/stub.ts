/** A stub: what stands for an object here, and sends it requests. */

import { type DurableObjectId, define, notOfType, presentAs } from "./id.js";
import { wireRequest } from "./request.js";
import type { Transport } from "./transport.js";

/** Cloudflare's `DurableObjectStub` of an object that is called with `fetch`. */
export interface DurableObjectStub {
  readonly id: DurableObjectId;
  /** The name that `id` was made from, if it was made from one. */
  readonly name?: string;
  /**
   * Sends a request to the object. The URL's path and query say what is asked; its scheme, host,
   * user and fragment are not looked at, but it must have a scheme and a host.
   *
   * Gives the answer, whatever its status is below 500: 400 and the 429 of a refused check are
   * answers. A body of up to 1 MiB is sent; streams are read before.
   *
   * @throws {TypeError} for what no request can be made of, as workerd does.
   * @throws {TallykeepError} if no node answered in time, or the answer is a 5xx or says that the
   * token asks too often (429 `token_rate_limited`), or the body is a stream that did not come in
   * time.
   * @throws the signal's reason, if it is aborted.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** Is there for Cloudflare's types. @throws {Error} always: these objects take no sockets. */
  connect(address: unknown, options?: unknown): never;
}

/** The class is `DurableObject` to those who look, as in workerd. */
export class ObjectStub implements DurableObjectStub {
  declare readonly id: DurableObjectId;
  declare readonly name?: string;
  readonly #path: string;
  readonly #transport: Transport;

  constructor(id: DurableObjectId, path: string, transport: Transport) {
    define(this, "name", id.name);
    define(this, "id", id);
    this.#path = path;
    this.#transport = transport;
  }

  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    if (arguments.length === 0) throw notOfType("fetch", "Fetcher", 1, "Request or string");
    const deadlineMs = performance.now() + this.#transport.timeoutMs;
    const request = await wireRequest(input, init, deadlineMs);
    const path = this.#path + request.path;
    const response = await this.#transport.send({ ...request, path }, deadlineMs);
    // The URL that was asked, as a stub's answer has it, and not that of a node.
    Object.defineProperty(response, "url", { value: request.url, configurable: true });
    return response;
  }

  connect(): never {
    throw new Error("tallykeep objects take requests, not sockets.");
  }

  static {
    presentAs(this, "DurableObject");
  }
}
