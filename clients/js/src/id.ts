/**
 * Ids of objects, bit for bit as workerd makes them.
 *
 * With `k = SHA-256(uniqueKey)`, the id of `name` is `b || HMAC(k, b)[0..16]` where
 * `b = HMAC(k, name)[0..16]`. So the first half says which object it is, and the second that it is
 * one of this namespace.
 */

import { fromHex, randomBytes, throughUtf8, toHex, utf8, wtf8 } from "./bytes.js";
import { hmacSha256, sha256 } from "./sha256.js";

/** Bytes of each half of an id. */
const HALF_BYTES = 16;

/** The id of an object: Cloudflare's `DurableObjectId`. */
export interface DurableObjectId {
  /** 64 lower-case hexadecimal digits. */
  toString(): string;
  /** Whether both are the same object's. */
  equals(other: DurableObjectId): boolean;
  /** The name it was made from, if it was made from one. */
  readonly name?: string;
}

/** The class is `DurableObjectId` to those who look, as in workerd. */
class ObjectId implements DurableObjectId {
  readonly #hex: string;
  // Own members that are always there, so that `JSON.stringify` gives what it gives in workerd.
  declare readonly jurisdiction: undefined;
  declare readonly name?: string;

  constructor(hex: string, name: string | undefined) {
    this.#hex = hex;
    define(this, "jurisdiction", undefined);
    define(this, "name", name);
  }

  toString(): string {
    return this.#hex;
  }

  equals(other: DurableObjectId): boolean {
    if (!ObjectId.is(other)) throw notOfType("equals", "DurableObjectId", 1, "DurableObjectId");
    return other.#hex === this.#hex;
  }

  static {
    presentAs(this, "DurableObjectId");
  }

  static is(value: unknown): value is ObjectId {
    return typeof value === "object" && value !== null && #hex in value;
  }
}

/** Whether a value is an id that this package made. */
export function isObjectId(value: unknown): value is DurableObjectId {
  return ObjectId.is(value);
}

/** Makes and checks the ids of one namespace. */
export class IdFactory {
  readonly #key: Uint8Array;

  /** @param uniqueKey `{script_name}-{class_name}` of the binding. */
  constructor(uniqueKey: string) {
    this.#key = sha256(utf8(uniqueKey));
  }

  fromName(name: string): DurableObjectId {
    return new ObjectId(this.#withCheck(this.#mac(wtf8(name))), throughUtf8(name));
  }

  /** @throws {TypeError} unless they are 64 hexadecimal digits of this namespace. */
  fromString(digits: string): DurableObjectId {
    if (!/^[0-9a-f]{64}$/i.test(digits)) {
      throw new TypeError("Invalid Durable Object ID: must be 64 hex digits");
    }
    const id = new ObjectId(digits.toLowerCase(), undefined);
    if (!this.owns(id)) {
      throw new TypeError("Durable Object ID is not valid for this namespace.");
    }
    return id;
  }

  /** Whether an id is one of this namespace. */
  owns(id: DurableObjectId): boolean {
    const hex = id.toString();
    return this.#withCheck(fromHex(hex).subarray(0, HALF_BYTES)) === hex;
  }

  /** An id that no name has. */
  unique(): DurableObjectId {
    return new ObjectId(this.#withCheck(randomBytes(HALF_BYTES)), undefined);
  }

  #withCheck(half: Uint8Array): string {
    return toHex(half) + toHex(this.#mac(half));
  }

  #mac(message: Uint8Array): Uint8Array {
    return hmacSha256(this.#key, message).subarray(0, HALF_BYTES);
  }
}

/** workerd's words for an argument of the wrong type. */
export function notOfType(
  method: string,
  type: string,
  position: number,
  expected: string,
): TypeError {
  return new TypeError(
    `Failed to execute '${method}' on '${type}': parameter ${position} is not of type '${expected}'.`,
  );
}

/** A member that is shown and cannot be changed. */
export function define(object: object, member: string, value: unknown): void {
  Object.defineProperty(object, member, { value, enumerable: true });
}

/** Gives a class the name that its objects have in workerd. */
export function presentAs(type: { prototype: object }, name: string): void {
  Object.defineProperty(type, "name", { value: name });
  Object.defineProperty(type.prototype, Symbol.toStringTag, { value: name });
}
