/**
 * Which differences there may be: each rule names the row of `docs/compatibility.md` that says why.
 *
 * A rule is `{ row, explains(difference, exchange), about, aside }`. `explains` looks at both answers, so that
 * a row excuses no answer but the one that it promises. `aside` are rules of what stands beside the
 * original's answer, as further headers do: with these alone, answers count as equal.
 */

import { csv, STYLES, stylesOf } from "./csv.js";
import { Members, writeJson } from "./json.js";

const ALL = "All endpoints";
const CHECK = "`/check` and `/reset`";
const LOG = "`/log`";
const QUERY = "`/query`";
const EXPORT = "`/export`";
const BINDINGS = "Bindings";

const at = (section, name) => `${section}: ${name}`;
const textOf = (tree) => (tree?.text?.startsWith('"') ? JSON.parse(tree.text) : undefined);

/** Whether an answer is a problem+json with this status and code, with all that belongs to it. */
function isProblem({ status, headers, body }, wanted, code, method) {
  if (status !== wanted || headers["content-type"] !== "application/problem+json") return false;
  if (method === "HEAD") return body === "";
  if (!(body instanceof Members) || body.names.join() !== "type,title,status,detail,code,error,requestId") return false;
  const is = (name, value) => textOf(body.get(name)) === value;
  return is("code", code) && is("type", "about:blank") && body.get("status").text === `${wanted}` && is("error", textOf(body.get("title"))) && is("requestId", headers["x-request-id"]);
}

/** The original answered with one of `statuses`, and we refuse calls with these tags. */
function refused(row, tags, statuses, status, code) {
  const explains = (_, { call, original, ours }) =>
    [tags].flat().includes(call.tag) && statuses.includes(original.status) && isProblem(ours, status, code, call.method);
  return { row, explains, about: `${tags}` };
}

/** A header that only we send. */
function further(row, name, value = /./) {
  const explains = ({ where, original, ours }) => where === `header ${name}` && original === undefined && value.test(ours);
  return { row, explains, about: `header ${name}`, aside: true };
}

/** A difference at one of these places, in calls with this tag. */
function odd(row, tags, where, holds = () => true) {
  const explains = (difference, exchange) =>
    [tags].flat().includes(exchange.call.tag) && where.test(difference.where) && holds(difference, exchange);
  return { row, explains, about: `${tags}` };
}

const entriesOf = ({ body }) => (body instanceof Members && Array.isArray(body.get("entries")) ? body.get("entries") : []);
const same = (a, b) => writeJson(a) === writeJson(b);

/** Part of a CSV's text, which has to be the original's but for the styles. */
function csvStyle(row, style) {
  const explains = ({ where }, { call, original, ours, exported: [theirs, own] }) =>
    where === "body" &&
    call.csv !== undefined &&
    theirs.length === call.csv.length &&
    original.body === csv(theirs, []) &&
    ours.body === csv(own, STYLES) &&
    stylesOf(own).includes(style);
  return { row, explains };
}

const isCsv = ({ call }) => call.csv !== undefined || call.tag === "csv without details";
const OTHER_METHOD = "other method";

export const RULES = [
  // Beside the answer.
  further(at(ALL, "`Date` header"), "date"),
  further(at(ALL, "`X-Request-Id` header"), "x-request-id", /^[0-9a-f]{32}$/),
  further(at(CHECK, "headers"), "x-ratelimit-limit", /^\d+$/),
  further(at(CHECK, "`Retry-After` on a 429"), "retry-after", /^as retryAfter$/),
  further(at(EXPORT, "`Content-Disposition`"), "content-disposition", /^attachment; filename="audit-log\.(json|ndjson)"$/),
  further(at(EXPORT, "compression"), "vary", /^accept-encoding$/),
  further(at(EXPORT, "CSV cells that begin with `=`, `+`, `-`, `@`, tab and the like"), "x-csv-escape", /^apostrophe-v1$/),
  {
    row: at(LOG, "`id`"),
    explains: ({ where, original, ours }) =>
      where === "body.id" && original === "<32 hexadecimal digits>" && ours === "<UUIDv7>",
    aside: true,
  },

  // All endpoints.
  {
    row: at(ALL, "body of an error"),
    explains: (_, { call, original, ours }) =>
      call.tag === "malformed" && original.status === 400 && same(original.body, new Members([["error", { text: '"Invalid request"' }]])) &&
      isProblem(ours, 400, "malformed_json"),
  },
  refused(at(ALL, "body of an error"), "config of another type", [400], 400, "invalid_field"),
  refused(at(ALL, "malformed body of `/log`, `/query`"), ["malformed entry", "malformed query"], [500], 400, "malformed_json"),
  {
    row: at(ALL, "other method on `/check`, `/reset`"),
    explains: (_, { call, original, ours }) =>
      call.tag === OTHER_METHOD && call.object.binding === "RATE_LIMITER" && [200, 400].includes(original.status) &&
      ours.headers.allow === "POST" && isProblem(ours, 405, "method_not_allowed", call.method),
  },
  {
    row: at(ALL, "other method on `/log`, `/query`, `/export`"),
    explains: (_, { call, original, ours }) =>
      call.tag === OTHER_METHOD && call.object.binding === "AUDIT_LOGGER" && original.status === 404 &&
      ours.headers.allow === (call.path === "/export" ? "GET,HEAD" : "POST") && isProblem(ours, 405, "method_not_allowed", call.method),
  },
  odd(at(ALL, "other method on `/log`, `/query`, `/export`"), "head", /./, (_, { original, ours }) => original.status === 404 && ours.status === 200 && ours.body === ""),
  {
    row: at(ALL, "unknown path, `/check/`"),
    explains: (_, { call, original, ours }) =>
      call.tag === "unknown path" && original.status === 404 && original.body === "Not Found" && isProblem(ours, 404, "not_found", call.method),
  },
  refused(at(ALL, "path of the other class"), "other class", [404], 404, "not_found"),
  // The original has counted once more for each time that the call came.
  odd(
    at(ALL, "`Idempotency-Key` of a request"),
    "key again",
    /^(body\.remaining|header (x-ratelimit-remaining|idempotency-replayed))$/,
    (_, { original, ours }) =>
      ours.status === 200 && ours.headers["idempotency-replayed"] === "true" && ours.headers["x-ratelimit-remaining"] === "4" &&
      ours.body.get("remaining").text === "4" && Number(original.headers["x-ratelimit-remaining"]) < 4,
  ),
  odd(at(ALL, "`Idempotency-Key` of a request"), "log with a key", /^header idempotency-replayed$/, ({ ours }) => ours === "true"),
  refused(at(ALL, "`Idempotency-Key` of a request"), "key of another call", [200], 422, "idempotency_key_reused"),
  refused(at(ALL, "`Idempotency-Key` of a request"), "key that is none", [200], 400, "invalid_idempotency_key"),
  odd(at(ALL, "`/check/batch`, `/log/batch`"), "batch", /./, (_, { call, original, ours }) =>
    original.status === 404 && ours.status === 200 && ours.body.get("results").length === call.count &&
    ours.body.get("results").every((result) => result.get("status").text === "200")),
  refused(at(ALL, "body over 1 MiB"), "long body", [200], 413, "body_too_large"),
  refused(at(ALL, "object with the empty name"), "empty name", [200], 404, "not_found"),
  refused(at(ALL, "object name over 1,025 bytes in a path"), "long name", [200], 400, "name_too_long"),

  // /check and /reset.
  refused(at(CHECK, "`requests` missing"), "requests missing", [200], 400, "invalid_field"),
  refused(at(CHECK, "`requests` negative, or no integer"), "requests no integer", [200, 429], 400, "invalid_field"),
  refused(at(CHECK, "`windowMs` missing, or a string"), "windowMs missing", [400], 400, "invalid_field"),
  // The original has counted a check that it refused: one less is left, in a window that began then.
  odd(
    at(CHECK, "`windowMs` missing, or a string"),
    "after windowMs missing",
    /^(body\.remaining|body\.resetTime|header x-ratelimit-remaining)$/,
    (_, { original, ours }) =>
      original.status === 200 && ours.status === 200 && Number(original.headers["x-ratelimit-remaining"]) === 1 &&
      ours.headers["x-ratelimit-remaining"] === "2" && `${ours.body.get("resetTime")}` === "window from now",
  ),
  refused(at(CHECK, "`windowMs` of 0, or over 400 days"), "windowMs out of bounds", [200, 400, 429], 400, "invalid_field"),
  refused(at(CHECK, "`config` missing"), "config missing", [400], 400, "config_required"),
  refused(at(CHECK, "`identifier` missing, `null`, a number"), "identifier", [200], 400, "invalid_field"),
  refused(at(CHECK, "`identifier` missing, `null`, a number"), "reset of another type", [200], 400, "malformed_json"),
  refused(at(CHECK, "lone surrogates"), "identifier lone surrogate", [200], 400, "lone_surrogate"),
  refused(at(CHECK, "a known member twice"), "twice", [200], 400, "duplicate_key"),
  {
    // The original goes on with the old count; we begin a window.
    row: at(CHECK, "`windowMs` that grows after the old window has ended, within that hour"),
    explains: ({ where }, { call, original, ours, window, sentMs }) =>
      window !== undefined && sentMs > window.endMs && window.startMs + call.check?.windowMs > sentMs &&
      /^(status|body\.\w+|body order|header (x-ratelimit-remaining))$/.test(where) &&
      `${original.body.get("resetTime")}` === "window as before" && `${ours.body.get("resetTime")}` === "window from now" &&
      ours.status === 200,
  },

  // /log.
  odd(at(LOG, "client's own `id`, `timestamp`"), "client's id and time", /^body\.entries\[0\]\.(timestamp|clientTime|clientId)$/, (_, { original, ours }) => {
    const [theirs, own] = [entriesOf(original)[0], entriesOf(ours)[0]];
    return same(theirs.get("timestamp"), own.get("clientTime")) && textOf(own.get("clientId")) === "mine" && /^time of/.test(own.get("timestamp"));
  }),
  odd(at(LOG, "client's own `id`, `timestamp`"), "client's id and time", /^body\.id$/, ({ original, ours }) => original === '"mine"' && ours === "<UUIDv7>"),
  refused(at(LOG, "`{}`, no `type` or no `action`"), "type or action missing", [200], 400, "invalid_field"),
  refused(at(LOG, "`{}`, no `type` or no `action`"), "entry of another type", [200], 400, "malformed_json"),
  refused(at(LOG, "`type`, `action`"), "type or action", [200], 400, "invalid_field"),
  refused(at(LOG, "`userId`, `ip`"), "userId or ip", [200], 400, "invalid_field"),
  refused(at(LOG, "an entry for the object `tallykeep.system` of the audit binding"), "reserved object", [200], 403, "reserved_object"),
  odd(at(LOG, "`userId`, `ip`"), "null member", /\.entries\[0\]\.(userId|ip)$/, ({ original, ours }) => original === "null" && ours === undefined),
  odd(at(LOG, "`details` left out"), "no details", /\.entries\[0\]\.details$/, ({ original, ours }) => original === undefined && ours === "{}"),
  refused(at(LOG, "`details` that is no object, `null` too"), "details no object", [200], 400, "invalid_field"),
  refused(at(LOG, "`details` over 256 KiB"), "long details", [200], 413, "details_too_large"),
  odd(
    at(LOG, "numbers, order of members, escapes"),
    ["numbers", "escapes"],
    /\.entries\[0\]\.details\./,
    ({ original, ours }, { call }) => JSON.stringify(JSON.parse(ours)) === original && call.logged.includes(ours),
  ),
  odd(at(LOG, "numbers, order of members, escapes"), "number order", /\.entries\[0\]\.details order$/, ({ ours }) => ours === "b,2,1"),
  refused(at(LOG, "a member twice, at any depth"), "entry twice", [200], 400, "duplicate_key"),
  refused(at(LOG, "lone surrogates"), "lone surrogate", [200], 400, "lone_surrogate"),
  refused(at(LOG, "control characters outside `details`"), "control character", [200], 400, "control_character"),
  refused(at(LOG, "nesting over 64"), "nesting", [200], 400, "too_deep"),
  odd(at(LOG, "order of an entry's members"), "member order", /\.entries\[0\] order$/, ({ ours }) => ours === "id,timestamp,type,action,ip,details,more"),

  // /query.
  {
    row: at(QUERY, "more than `limit` entries"),
    explains: ({ where, original }, { ours }) =>
      where === "body.cursor" && original === undefined && /^[0-9a-f]+$/.test(textOf(ours.body.get("cursor"))),
    aside: true,
  },
  odd(at(QUERY, "order"), "order", /^body\.entries/, (_, { original, ours }) => same([...entriesOf(original)].reverse(), entriesOf(ours))),
  odd(at(QUERY, "filters"), "filter", /^body\.(entries|count)/, (_, { call, original, ours }) => {
    const [[name, value]] = Object.entries(call.query);
    return same(entriesOf(original).filter((entry) => textOf(entry.get(name)) === value), entriesOf(ours));
  }),
  refused(at(QUERY, "`limit` of -1, `\"1\"`, over 10,000"), "limit", [200], 400, "invalid_field"),
  odd(at(QUERY, "`limit: null`"), "limit null", /^body/, (_, { original, ours }) => entriesOf(original).length === 0 && entriesOf(ours).length > 0),
  refused(at(QUERY, "`startTime`, `endTime`, `type` of other types"), ["time no integer", "type no text"], [200], 400, "invalid_field"),
  odd(at(QUERY, "`type: \"\"`, `endTime: 0`"), "filter for nothing", /^body/, (_, { ours }) => ours.status === 200 && ours.body.get("count").text === "0"),
  refused(at(QUERY, "a member twice"), "query twice", [200], 400, "duplicate_key"),
  refused(at(QUERY, "unknown member, `startTime` after `endTime`"), "unknown member", [200], 400, "unknown_member"),
  refused(at(QUERY, "unknown member, `startTime` after `endTime`"), "range", [200], 400, "invalid_range"),
  refused(at(QUERY, "body that is no object"), "query of another type", [200, 500], 400, "malformed_json"),
  refused(at(QUERY, "empty body"), "empty query", [500], 400, "malformed_json"),

  // /export.
  refused(at(EXPORT, "unknown `format`"), "unknown format", [200], 400, "invalid_parameter"),
  refused(at(EXPORT, "unknown or doubled parameter"), "unknown parameter", [200], 400, "invalid_parameter"),
  odd(at(EXPORT, "`format=ndjson`, filters, `order`"), "ndjson", /^(body|header content-type)$/, (_, { original, ours }) => same(entriesOf(original), ours.body)),
  odd(at(EXPORT, "`format=ndjson`, filters, `order`"), "export order", /^body/, (_, { original, ours }) => same([...entriesOf(original)].reverse(), entriesOf(ours))),
  csvStyle(at(EXPORT, "end of a CSV line"), "line ends"),
  csvStyle(at(EXPORT, "CSV cells with commas, quotes or line ends"), "quoted cells"),
  csvStyle(at(EXPORT, "`details` in CSV"), "quoted details"),
  csvStyle(at(EXPORT, "CSV cells that begin with `=`, `+`, `-`, `@`, tab and the like"), "guarded formulas"),
  odd(at(EXPORT, "an entry without `details` in CSV"), "csv without details", /./, (_, { original, ours }) => original.status === 500 && ours.status === 200),
  {
    row: at(EXPORT, "`Content-Type` of CSV"),
    explains: ({ where, original, ours }, exchange) =>
      isCsv(exchange) && where === "header content-type" && original === "text/csv" && ours === "text/csv; charset=utf-8; header=present",
  },

  // Bindings.
  refused(at(BINDINGS, "names `.`, `..`, over 1,025 bytes, or with a lone surrogate"), "dots", [200], 404, "not_found"),
  refused(at(BINDINGS, "an id of another namespace"), "foreign id", [200], 400, "foreign_id"),
];

/** Rows that no rule is needed for, and why. */
export const UNTESTED = {
  [at(ALL, "storage not available")]: "the nodes are well here; cluster.test.js breaks them",
  [at(ALL, "`Content-Type` of the request")]: "no difference; asked",
  [at(ALL, "an object that holds too much")]: "takes 128 MiB; cluster_quotas.rs fills smaller ones",
  [at(ALL, "`Authorization` of a request")]: "cluster_tokens.rs asks it; the nodes here take requests without a token",
  [at(CHECK, "`retryAfter`")]: "the original's is 0 only for windows that we refuse",
  [at(CHECK, "further members")]: "no difference; asked",
  [at(CHECK, "`config` missing, with a `type`")]: "cluster_policies.rs asks it; the original takes no type",
  [at(CHECK, "`type` in the body at the root")]: "the root is no object",
  [at(CHECK, "window with an unchanged config")]: "no difference; asked",
  [at(CHECK, "count of a long window")]: "takes an hour",
  [at(CHECK, "`windowMs` or `requests` that change within the window")]: "no difference; asked",
  [at(CHECK, "time")]: "one machine here",
  [at(LOG, "shard at the root")]: "the root is no object",
  [at(QUERY, "`startTime: 0`")]: "no difference; asked",
  [at(QUERY, "`limit` left out, 0")]: "no difference; asked",
  [at(QUERY, "a page of 16 MiB, or a million rows looked at")]: "takes too long",
  [at(QUERY, "at the root")]: "the root is no object",
  [at(EXPORT, "size")]: "not seen in an answer that is whole",
  [at(EXPORT, "CSV times")]: "no difference; asked",
  [at("Retention", "when entries go")]: "takes 30 days",
  [at("Retention", "length")]: "takes 30 days",
  [at("Retention", "an entry past its retention, before its tick")]: "takes 30 days",
  [at(BINDINGS, "ids")]: "no difference; asked",
  [at(BINDINGS, "reaching an object")]: "what the client is for",
  [at(BINDINGS, "a class that no migration creates")]: "nothing starts then",
  [at(BINDINGS, "a class that a migration deletes")]: "nothing starts then",
};

/**
 * Parts of the page whose rows others check: the stubs' by workerd.test.js, imports by the
 * server's tests.
 */
export const UNTESTED_SECTIONS = ["Stubs of the JavaScript client", "Imports"];
