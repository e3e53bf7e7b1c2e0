/** Calls of the guide's endpoints, as `perform.js` takes them, and what the comparison has to know of them. */

const JSON_TYPE = { "Content-Type": "application/json" };

export const limiter = (name) => ({ binding: "RATE_LIMITER", name });
export const logger = (name) => ({ binding: "AUDIT_LOGGER", name });

/** A call with a body that is a text, whatever it says. `more` are further members, `tag` for instance. */
export function post(object, path, body, more = {}) {
  return { object, method: "POST", path, headers: JSON_TYPE, body, ...more };
}

/** A good check. Its answer's times are compared with those of other checks of the identifier. */
export function check(object, identifier, requests, windowMs, more = {}) {
  const body = JSON.stringify({ identifier, config: { requests, windowMs } });
  return post(object, "/check", body, { check: { identifier, windowMs }, ...more });
}

export function reset(object, identifier, more = {}) {
  return post(object, "/reset", JSON.stringify({ identifier }), { identifier, ...more });
}

let labels = 0;

/** An entry that both sides take; `entry` is an object, or JSON as it is to be sent. */
export function log(object, entry, more = {}) {
  const body = typeof entry === "string" ? entry : JSON.stringify(entry);
  return post(object, "/log", body, { log: { label: `log-${++labels}` }, ...more });
}

/**
 * A query. `startTime` and `endTime` may be functions of the side's entries, `(logs) => ms`, for each
 * side has its own times.
 */
export function query(object, filters, more = {}) {
  const body = (memory) => {
    const resolved = Object.entries(filters).map(([name, value]) => [
      name,
      typeof value === "function" ? value(memory.logs(object)) : value,
    ]);
    return JSON.stringify(Object.fromEntries(resolved));
  };
  return post(object, "/query", body, { query: filters, ...more });
}

export const get = (object, path, more = {}) => ({ object, method: "GET", path, ...more });
