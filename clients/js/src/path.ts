/** Where an object is: `/do/{binding}/name/{name}` or `/do/{binding}/id/{id}`. */

import { isWellFormed, utf8 } from "./bytes.js";
import type { DurableObjectId } from "./id.js";

/** The longest name that the cluster takes in a path. */
const NAME_BYTES_MAX = 1025;

/**
 * The path of an object, without the `/check` and the like behind it. By name where there is one, so
 * that the cluster can list the object by it; by id where the name may not be used, or where a path
 * cannot hold it.
 */
export function objectPath(binding: string, id: DurableObjectId, mayUseName: boolean): string {
  const root = `/do/${encodeURIComponent(binding)}`;
  return mayUseName && id.name !== undefined && fitsPath(id.name)
    ? `${root}/name/${encodeURIComponent(id.name)}`
    : `${root}/id/${id.toString()}`;
}

function fitsPath(name: string): boolean {
  // Proxies shorten `//`, and URL parsers take `.` and `..` away, escaped or not. U+FFFD may stand
  // for something that is no UTF-8, of which only the id is left.
  if (name === "" || name === "." || name === ".." || name.includes("\ufffd")) return false;
  return isWellFormed(name) && utf8(name).length <= NAME_BYTES_MAX;
}
