/**
 * JSON as it was written. An audit entry may hold `10.50` or a number that is too large for JavaScript;
 * where the browser tells how a number was written, it is kept so.
 */

const canKeep = typeof JSON.rawJSON === "function";

function keep(_key, value, context) {
  if (typeof value !== "number" || context?.source === undefined) return value;
  return String(value) === context.source ? value : JSON.rawJSON(context.source);
}

export function parseExact(text) {
  return canKeep ? JSON.parse(text, keep) : JSON.parse(text);
}
