/** The differences between two views of `view.js`. */

import { Members, writeJson } from "./json.js";
import { Relation } from "./view.js";

/** A list of `{ where, original, ours }`; what one side has not is undefined. */
export function compare(original, ours) {
  const found = [];
  const note = (where, a, b) => found.push({ where, original: show(a), ours: show(b) });
  if (original.threw !== undefined || ours.threw !== undefined) {
    if (original.threw !== ours.threw) note("thrown", original.threw ?? original.status, ours.threw ?? ours.status);
    return found;
  }
  for (const part of ["id", "status"]) {
    if (original[part] !== ours[part]) note(part, original[part], ours[part]);
  }
  for (const name of new Set([...Object.keys(original.headers), ...Object.keys(ours.headers)])) {
    if (original.headers[name] !== ours.headers[name]) note(`header ${name}`, original.headers[name], ours.headers[name]);
  }
  compareTrees("body", original.body, ours.body, note);
  return found;
}

function compareTrees(where, a, b, note) {
  if (a instanceof Relation || b instanceof Relation) {
    if (!(a instanceof Relation) || !a.equals(b)) note(where, a, b);
  } else if (a instanceof Members && b instanceof Members) {
    const names = [...new Set([...a.names, ...b.names])];
    for (const name of names) {
      if (a.names.includes(name) && b.names.includes(name)) compareTrees(`${where}.${name}`, a.get(name), b.get(name), note);
      else note(`${where}.${name}`, a.get(name), b.get(name));
    }
    const shared = ({ names: own }, other) => own.filter((name) => other.names.includes(name)).join();
    if (shared(a, b) !== shared(b, a)) note(`${where} order`, a.names.join(), b.names.join());
  } else if (Array.isArray(a) && Array.isArray(b) && a.length === b.length) {
    a.forEach((tree, index) => compareTrees(`${where}[${index}]`, tree, b[index], note));
  } else if (show(a) !== show(b)) {
    note(where, a, b);
  }
}

/** As text, for people. */
export function show(value) {
  if (value === undefined || typeof value === "number" || typeof value === "string") return value;
  return value instanceof Relation ? `<${value}>` : writeJson(value);
}
