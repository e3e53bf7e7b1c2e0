/**
 * An answer in a form that can be compared: ids and times are replaced by what they refer to, and the
 * headers of the transport are gone.
 *
 * A view is `{ threw }` or `{ id, status, headers, body }`; its body is a tree of `json.js` where the
 * answer is JSON, else a text. Where a tree or a header has a time, the view has a `Relation`.
 */

import { Members, readJson, writeJson } from "./json.js";
import { SLACK_MS } from "./memory.js";

/** How an answer gets here, and not what it says. */
const TRANSPORT = ["connection", "content-length", "keep-alive", "transfer-encoding"];

/** What a time is, in words. Two are the same if they have one in common. */
export class Relation {
  constructor(words) {
    this.words = words;
  }

  equals(other) {
    return other instanceof Relation && this.words.some((word) => other.words.includes(word));
  }

  toString() {
    return this.words.join(" or ");
  }
}

/** Makes a view, and lets `memory` learn from it. `sent` is `{ sentMs, receivedMs }`. */
export function view(answer, call, memory, sent) {
  if (answer.threw !== undefined) return { threw: answer.threw };
  const headers = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !TRANSPORT.includes(name)));
  const seen = { id: answer.id, status: answer.status, headers, body: body(answer) };
  if (call.check !== undefined) viewCheck(seen, call, memory, sent);
  if (call.path === "/reset" && answer.status === 200) memory.reset(call.object, call.identifier);
  if (call.log !== undefined && answer.status === 200) viewLog(seen, call, memory, sent);
  if (call.object.binding === "AUDIT_LOGGER") viewEntries(seen, call, memory);
  return seen;
}

function body({ headers, body: text }) {
  if (!/json/.test(headers["content-type"]) || text === "") return text;
  try {
    return readJson(text);
  } catch {
    return text;
  }
}

const numberOf = (tree) => (tree?.text === undefined ? NaN : Number(tree.text));

/** `resetTime` comes to when the window began, `retryAfter` to whether it says the same. */
function viewCheck(seen, { object, check: { identifier, windowMs } }, memory, { sentMs, receivedMs }) {
  if (!(seen.body instanceof Members) || (seen.status !== 200 && seen.status !== 429)) return;
  const resetMs = numberOf(seen.body.get("resetTime"));
  const startMs = resetMs - windowMs;
  const words = [];
  if (startMs === memory.window(object, identifier)?.startMs) words.push("window as before");
  if (startMs >= sentMs - SLACK_MS && startMs <= receivedMs + SLACK_MS) words.push("window from now");
  if (words.length > 0) seen.body = seen.body.with("resetTime", new Relation(words));

  const retryAfter = numberOf(seen.body.get("retryAfter"));
  const seconds = (nowMs) => Math.max(1, Math.ceil((resetMs - nowMs) / 1000));
  if (retryAfter <= seconds(sentMs - SLACK_MS) && retryAfter >= seconds(receivedMs + SLACK_MS)) {
    seen.body = seen.body.with("retryAfter", new Relation(["seconds until resetTime"]));
    if (seen.headers["retry-after"] === `${retryAfter}`) seen.headers["retry-after"] = "as retryAfter";
  }
  const header = seen.headers["x-ratelimit-reset"];
  if (header !== undefined && Number.isFinite(resetMs) && header === new Date(resetMs).toISOString()) {
    seen.headers["x-ratelimit-reset"] = "as resetTime";
  }
  // A refused check moves no window, but its end was told.
  const isKnown = startMs === memory.window(object, identifier)?.startMs;
  if (seen.status === 200 || isKnown) memory.told(object, identifier, startMs, resetMs);
}

/** Each side has its own form of ids. */
const ID_FORMS = {
  "32 hexadecimal digits": /^[0-9a-f]{32}$/,
  "UUIDv7": /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
};

function viewLog(seen, { object, log }, memory, { sentMs, receivedMs }) {
  if (!(seen.body instanceof Members)) return;
  const id = seen.body.get("id")?.text?.slice(1, -1);
  const form = Object.keys(ID_FORMS).find((name) => ID_FORMS[name].test(id));
  memory.logged(object, log.label, id, sentMs, receivedMs);
  if (form !== undefined) seen.body = seen.body.with("id", new Relation([form]));
}

/** Ids and times of entries come to which entry it is, in JSON and in CSV. */
function viewEntries(seen, call, memory) {
  const list = seen.body instanceof Members && seen.body.get("entries");
  if (Array.isArray(list)) {
    const entries = list.map((entry) => viewEntry(entry, memory));
    if (call.unordered) entries.sort((a, b) => (writeJson(a) < writeJson(b) ? -1 : 1));
    if (call.path.startsWith("/export")) memory.remember(call.object, entries);
    seen.body = seen.body.with("entries", call.countOnly ? { text: `${entries.length}` } : entries);
  } else if (seen.headers["content-type"]?.startsWith("application/x-ndjson")) {
    seen.body = seen.body.split("\n").filter((line) => line !== "").map((line) => viewEntry(readJson(line), memory));
  } else if (seen.headers["content-type"]?.startsWith("text/csv")) {
    seen.body = seen.body.replace(/^([0-9a-f-]{32,36}),([^,\r\n]*),/gm, (line, id, time) => {
      const log = memory.logOf(id);
      return log === undefined ? line : `${log.label},${isTimeOf(log, Date.parse(time)) ? `time of ${log.label}` : time},`;
    });
  }
}

function viewEntry(entry, memory) {
  const log = entry instanceof Members && memory.logOf(entry.get("id")?.text?.slice(1, -1));
  if (!log) return entry;
  const named = entry.with("id", new Relation([log.label]));
  const timeMs = numberOf(entry.get("timestamp"));
  if (!isTimeOf(log, timeMs)) return named;
  memory.seen(log, timeMs);
  return named.with("timestamp", new Relation([`time of ${log.label}`]));
}

/** An entry's time lies within its call, and stays what it was. */
function isTimeOf(log, timeMs) {
  if (log.timeMs !== undefined) return log.timeMs === timeMs;
  return timeMs >= log.sentMs - SLACK_MS && timeMs <= log.receivedMs + SLACK_MS;
}
