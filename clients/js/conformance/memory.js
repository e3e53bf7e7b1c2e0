/**
 * What one side has answered so far, as far as later answers depend on it: when windows began, and
 * which entries there are. Times and ids are a side's own; they are compared by what they refer to.
 */

/** How far apart the clocks of this process and of the sides may seem to be. */
export const SLACK_MS = 10;

const keyOf = ({ binding, name, id }) => `${binding} ${id ?? `name ${name}`}`;

export class Memory {
  #windows = new Map();
  #logs = new Map();
  #labels = new Map();
  #exports = new Map();

  /** The window of an identifier, `{ startMs, endMs }`, if a check of it was admitted since its last reset. */
  window(object, identifier) {
    return this.#windows.get(`${keyOf(object)} ${identifier}`);
  }

  /** A client was told of this window. `endMs` becomes the latest end of it that was told. */
  told(object, identifier, startMs, endMs) {
    const old = this.window(object, identifier);
    const latest = old?.startMs === startMs ? Math.max(old.endMs, endMs) : endMs;
    this.#windows.set(`${keyOf(object)} ${identifier}`, { startMs, endMs: latest });
  }

  reset(object, identifier) {
    this.#windows.delete(`${keyOf(object)} ${identifier}`);
  }

  /** An entry was logged: its label is the same on both sides. */
  logged(object, label, id, sentMs, receivedMs) {
    const log = { label, id, sentMs, receivedMs, timeMs: undefined };
    this.#labels.set(id, log);
    this.logs(object).push(log);
  }

  /** The entries of an object, in the order in which they were logged. */
  logs(object) {
    const key = keyOf(object);
    if (!this.#logs.has(key)) this.#logs.set(key, []);
    return this.#logs.get(key);
  }

  /** The entries of the object's last export as JSON, as `view.js` has them. */
  exported(object) {
    return this.#exports.get(keyOf(object)) ?? [];
  }

  remember(object, entries) {
    this.#exports.set(keyOf(object), entries);
  }

  logOf(id) {
    return this.#labels.get(id);
  }

  /** An entry was seen with this time. */
  seen(log, timeMs) {
    log.timeMs = timeMs;
  }
}
