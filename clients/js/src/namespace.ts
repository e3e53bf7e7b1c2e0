/** A namespace of objects: what `env.RATE_LIMITER` is. */

import { type DurableObjectId, IdFactory, isObjectId, notOfType, presentAs } from "./id.js";
import { objectPath } from "./path.js";
import { type DurableObjectStub, ObjectStub } from "./stub.js";
import type { Transport } from "./transport.js";

/** Options of `get` and `getByName`. All are taken, and none has a meaning here. */
export interface GetDurableObjectOptions {
  /** Where Cloudflare would put the object. A tallykeep cluster is where its machines are. */
  locationHint?: string;
}

/** Options of `newUniqueId`. */
export interface NewUniqueIdOptions {
  /** Refused, as in workerd. */
  jurisdiction?: string;
}

/**
 * The objects of one binding: Cloudflare's `DurableObjectNamespace`. Making ids and stubs does no
 * I/O. Errors are workerd's, word for word.
 */
export interface DurableObjectNamespace {
  /** The id of a name: always the same. The name may be empty. */
  idFromName(name: string): DurableObjectId;
  /**
   * The id of 64 hexadecimal digits in either case. It has no `name`.
   * @throws {TypeError} if they are not that, or an id of another namespace.
   */
  idFromString(id: string): DurableObjectId;
  /**
   * A random id.
   * @throws {Error} with a `jurisdiction`.
   */
  newUniqueId(options?: NewUniqueIdOptions): DurableObjectId;
  /** The object with this id. */
  get(id: DurableObjectId, options?: GetDurableObjectOptions): DurableObjectStub;
  /** The object of this name: `get(idFromName(name))`. */
  getByName(name: string, options?: GetDurableObjectOptions): DurableObjectStub;
  /**
   * The same namespace, if `jurisdiction` is undefined.
   * @throws {Error} otherwise.
   */
  jurisdiction(jurisdiction: string | undefined): DurableObjectNamespace;
}

const TYPE = "DurableObjectNamespace";

/** The class is `DurableObjectNamespace` to those who look, as in workerd. */
export class ObjectNamespace implements DurableObjectNamespace {
  readonly #binding: string;
  readonly #ids: IdFactory;
  readonly #transport: Transport;

  constructor(binding: string, uniqueKey: string, transport: Transport) {
    this.#binding = binding;
    this.#ids = new IdFactory(uniqueKey);
    this.#transport = transport;
  }

  // Arguments are looked at with `arguments.length`: an `undefined` that is there is "undefined" to
  // workerd, and one that is not there is an error.

  idFromName(name: string): DurableObjectId {
    if (arguments.length === 0) throw notOfType("idFromName", TYPE, 1, "string");
    return this.#ids.fromName(text(name));
  }

  idFromString(id: string): DurableObjectId {
    if (arguments.length === 0) throw notOfType("idFromString", TYPE, 1, "string");
    return this.#ids.fromString(text(id));
  }

  newUniqueId(options?: NewUniqueIdOptions): DurableObjectId {
    checkOptions(options, "newUniqueId", 1, "NewUniqueIdOptions");
    if (options?.jurisdiction !== undefined && options.jurisdiction !== null) throw noJurisdiction();
    return this.#ids.unique();
  }

  get(id: DurableObjectId, options?: GetDurableObjectOptions): DurableObjectStub {
    if (!isObjectId(id)) throw notOfType("get", TYPE, 1, "DurableObjectId");
    checkOptions(options, "get", 2, "GetDurableObjectOptions");
    return this.#stub(id);
  }

  getByName(name: string, options?: GetDurableObjectOptions): DurableObjectStub {
    if (arguments.length === 0) throw notOfType("getByName", TYPE, 1, "string");
    checkOptions(options, "getByName", 2, "GetDurableObjectOptions");
    return this.#stub(this.#ids.fromName(text(name)));
  }

  jurisdiction(jurisdiction: string | undefined): DurableObjectNamespace {
    if (jurisdiction !== undefined && jurisdiction !== null) throw noJurisdiction();
    return this;
  }

  #stub(id: DurableObjectId): DurableObjectStub {
    // workerd takes an id of another namespace here. Its name would be another object's in this
    // one, so it is sent as an id, which the cluster then refuses.
    const path = objectPath(this.#binding, id, this.#ids.owns(id));
    return new ObjectStub(id, path, this.#transport);
  }

  static {
    presentAs(this, TYPE);
  }
}

/** WebIDL's conversion to a string; throws a TypeError on a symbol. */
function text(value: unknown): string {
  return `${value as string}`;
}

function checkOptions(options: unknown, method: string, position: number, expected: string): void {
  if (options === undefined || options === null || typeof options === "object") return;
  throw notOfType(method, TYPE, position, expected);
}

/** workerd's own words: code that is to run on both meets the same error. */
function noJurisdiction(): Error {
  return new Error("Jurisdiction restrictions are not implemented in workerd.");
}
