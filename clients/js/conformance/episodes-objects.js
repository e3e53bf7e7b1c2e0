/** Episodes of ids: the same object is reached in every way there is, and no other is. */

import { durableObjects } from "tallykeep";

import { check, limiter, log, logger, query } from "./calls.js";

const NAMES = [
  "wix:192.168.1.1", "2024-01-15", "日本", "é", "e\u0301", "😀", " ", "a b", "a/b", "/", "a//b", "a%2Fb", "%", "%00", "100%", "+", "a?b#c",
  "\u0000", "a\nb", "a\\b", "...", "a/../b", "a/./b", "~", "\ufffd", "a\ud800b", "\udc00", ".", "..", "", "check", "name/x/check",
  "x".repeat(1_025), "x".repeat(1_026), "é".repeat(512), "é".repeat(513), "__proto__",
];

/** Names of all sorts: by name, by the id of the name, and by `getByName` it is the same limiter. */
async function names({ random, run, name }) {
  const identifier = name("id");
  for (const own of NAMES.filter(() => random.chance(0.5))) {
    for (const by of ["name", "string", "getByName"]) await run.call(check(limiter(own), identifier, 2, 60_000, { by }));
  }
}

/** The same for log entries, which list their object's name nowhere. */
async function loggers({ random, run, name }) {
  const object = logger(`${random.pick(NAMES.slice(0, 25))} ${name("day")}`);
  for (const by of ["name", "string", "getByName"]) {
    await run.call(log(object, { type: "ids", action: by, details: {} }, { by }));
    await run.nextMillisecond();
    await run.call(query(object, {}, { by }));
  }
}

/** Random ids, made on our side and taken by both. */
async function uniqueIds({ random, run }) {
  const { RATE_LIMITER, AUDIT_LOGGER } = durableObjects({ endpoints: ["http://unused.invalid"] });
  const id = RATE_LIMITER.newUniqueId().toString();
  const upper = { binding: "RATE_LIMITER", id: id.toUpperCase() };
  await run.call(check({ binding: "RATE_LIMITER", id }, "a", 2, 60_000));
  await run.call(check(upper, "b", random.int(0, 2), 60_000));
  await run.call(check({ binding: "RATE_LIMITER", id }, "a", 2, 60_000));
  // What is no id of this namespace is refused before anything is sent.
  for (const wrong of ["0".repeat(64), "", "x", id.slice(1), `${id.slice(1)}g`, AUDIT_LOGGER.newUniqueId().toString()]) {
    await run.call(check({ binding: "RATE_LIMITER", id: wrong }, "a", 2, 60_000));
  }
}

/** What only code without the client can ask for, and an id that `get` takes and the object does not. */
async function unreachable({ run, name }) {
  const at = (own, more) => run.call(check(limiter(own), name("path"), 2, 60_000, { check: undefined, ...more }));
  await at("", { by: "path", tag: "empty name" });
  for (const own of [".", ".."]) await at(own, { by: "path", tag: "dots" });
  for (const own of ["x".repeat(1_026), "é".repeat(513)]) await at(own, { by: "path", tag: "long name" });
  await at("wix:a", { by: "path", tag: "path", check: { identifier: name("path"), windowMs: 60_000 } });
  await at("wix:a", { by: "foreign", tag: "foreign id" });
  await run.call(log(logger("tallykeep.system"), { type: "auth", action: "token_create" }, { log: undefined, tag: "reserved object" }));
}

export const objectEpisodes = { names, loggers, uniqueIds, unreachable };
