/** Episodes of the limiter: each is `async ({ random, run, name })`, with objects of its own. */

import { check, get, limiter, post, reset } from "./calls.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const WINDOW_MS_MAX = 400 * DAY_MS;
/** None of these ends while an episode runs. */
const LONG_MS = [60_000, 61_000, 3_600_000, DAY_MS, 30 * DAY_MS, WINDOW_MS_MAX];
const IDENTIFIERS = [
  "user-123", "1.2.3.4", "::1", "ключ", "日本語", "😀", "a b", "a/b", "a%2Fb", '"', "\\", "é", "e\u0301", "ratelimit:x", "undefined",
  "i".repeat(512), "null", "__proto__", "\u00a0", "'; --",
];

const identifierOf = (random) => `${random.pick(IDENTIFIERS.slice(0, 15))} ${random.int(0, 9)}`;
const config = (requests, windowMs) => ({ requests, windowMs });

/** Limits, resets and changes of the config while a window is open. */
async function longWindows({ random, run, name }) {
  const object = limiter(name("wix"));
  const identifiers = [random.pick(IDENTIFIERS), identifierOf(random)];
  let [requests, windowMs] = [random.int(0, 6), random.pick(LONG_MS)];
  for (let step = random.int(10, 40); step > 0; step--) {
    const identifier = random.pick(identifiers);
    if (random.chance(0.15)) requests = random.pick([0, 1, 2, 3, 5, 8, 1_000, Number.MAX_SAFE_INTEGER]);
    if (random.chance(0.15)) windowMs = random.pick(LONG_MS);
    const kind = random.int(0, 9);
    if (kind === 0) await run.call(reset(object, identifier));
    else if (kind === 1) await run.call(oddButGood(random, object, identifier, requests, windowMs));
    else await run.call(check(object, identifier, requests, windowMs));
  }
}

/** What both take: further members, no `Content-Type`, a query, white space. */
function oddButGood(random, object, identifier, requests, windowMs) {
  const call = check(object, identifier, requests, windowMs);
  const body = JSON.parse(call.body);
  return random.pick([
    { ...call, body: JSON.stringify({ more: [1, { a: null }], ...body, type: "gamma", config: { ...body.config, burst: 7 } }) },
    { ...call, body: JSON.stringify(body, null, 2) },
    { ...call, body: JSON.stringify({ config: { windowMs, requests }, identifier }) },
    { ...call, headers: {} },
    { ...call, headers: { "Content-Type": "text/plain" } },
    { ...call, path: "/check?requests=1&windowMs=1" },
  ]);
}

/** Windows that end. */
async function shortWindows({ random, run, name }) {
  const object = limiter(name("gamma"));
  const identifier = identifierOf(random);
  for (let round = random.int(1, 3); round > 0; round--) {
    const requests = random.int(1, 4);
    const windowMs = random.int(250, 500);
    const checks = async (count) => {
      for (let step = count; step > 0; step--) await run.call(check(object, identifier, requests, windowMs));
    };
    await checks(random.int(1, 6));
    await run.windowEnds(object, identifier, windowMs);
    await checks(random.int(1, 6));
    await run.windowEnds(object, identifier, windowMs);
    await checks(1);
    // A window of another length than the next round's would be one that grows.
    await run.call(reset(object, identifier));
  }
}

/** A shorter window than that of the first request is over sooner. */
async function shrinkingWindows({ random, run, name }) {
  const object = limiter(name("shrink"));
  const identifier = identifierOf(random);
  const requests = random.int(2, 4);
  for (let step = 0; step < 3; step++) await run.call(check(object, identifier, requests, 60_000));
  const windowMs = random.int(30, 80);
  await run.windowEnds(object, identifier, windowMs);
  await run.call(check(object, identifier, requests, windowMs));
  await run.call(check(object, identifier, requests, 60_000));
}

/** A window that is over, asked for with a longer one. The sides part, so a reset follows. */
async function growingWindows({ random, run, name }) {
  const object = limiter(name("grow"));
  const identifier = identifierOf(random);
  const windowMs = random.int(150, 300);
  for (let step = random.int(1, 3); step > 0; step--) await run.call(check(object, identifier, 5, windowMs));
  await run.windowEnds(object, identifier, windowMs);
  await run.call(check(object, identifier, random.pick([1, 5]), 60_000));
  await run.call(reset(object, identifier));
  await run.call(check(object, identifier, 5, 60_000));
}

/** Many checks at once. */
async function bursts({ random, run, name }) {
  const object = limiter(name("burst"));
  const identifier = identifierOf(random);
  const requests = random.int(1, 30);
  const windowMs = random.pick(LONG_MS);
  await run.burst(check(object, identifier, requests, windowMs), random.int(10, 40));
  if (random.chance(0.5)) await run.burst(check(object, identifier, requests + 5, windowMs), 12);
  await run.call(check(object, identifier, requests + 5, windowMs));
  await run.call(reset(object, identifier));
  await run.burst(check(object, identifier, 3, windowMs), 8);
}

/** Each kind of bad input, on an identifier of its own. */
async function badInput({ random, run, name }) {
  const object = limiter(name("bad"));
  let identifiers = 0;
  const bad = (tag, body, path = "/check") => run.call(post(object, path, typeof body === "string" ? body : JSON.stringify(body), { tag }));
  const withConfig = (own) => ({ identifier: `i${++identifiers}`, config: own });
  const raw = (requests, windowMs) => `{"identifier":"i${++identifiers}","config":{"requests":${requests},"windowMs":${windowMs}}}`;

  for (const text of ["", "null", "{", '{"identifier":', "{'a':1}", "\u0000", '{"identifier":"x",}', "NaN"]) {
    await bad("malformed", text, random.pick(["/check", "/reset"]));
  }
  for (const text of ["[]", "7", '"x"', "true"]) {
    await bad("malformed", text);
    await bad("reset of another type", text, "/reset");
  }
  for (const own of [undefined, null]) await bad("config missing", withConfig(own));
  for (const own of [7, "x", true, [], {}]) await bad("config of another type", withConfig(own));
  await bad("requests missing", withConfig({ windowMs: 60_000 }));
  for (const requests of ["-1", "-0", "1.5", "0.5", "1.0", "1e2", "9007199254740992", '"2"', "true", "null", "[]"]) {
    await bad("requests no integer", raw(requests, 60_000));
  }
  for (const windowMs of ["0", "-1", "1.5", `${WINDOW_MS_MAX + 1}`, "1e300", "6e4", "null", "true", "[]"]) {
    await bad("windowMs out of bounds", raw(2, windowMs));
  }
  for (const own of [{ requests: 3 }, config(3, "60000")]) {
    const body = withConfig(own);
    await bad("windowMs missing", body);
    await run.call(check(object, body.identifier, 3, 60_000, { tag: "after windowMs missing" }));
  }
  await bad("windowMs missing", withConfig(config("2", "60000")));
  for (const identifier of [undefined, null, 7, true, [], {}, "", "i".repeat(513), "é".repeat(257), "a\nb", "a\u0000", "a\u007f", "a\u0085"]) {
    await bad("identifier", { identifier, config: config(2, 60_000) });
    await bad("identifier", { identifier }, "/reset");
  }
  await bad("identifier lone surrogate", '{"identifier":"a\\ud800","config":{"requests":2,"windowMs":60000}}');
  await bad("twice", '{"identifier":"t1","identifier":"t2","config":{"requests":2,"windowMs":60000}}');
  await bad("twice", '{"identifier":"t3","config":{"requests":2,"requests":3,"windowMs":60000}}');
  await bad("twice", '{"identifier":"t4","identifier":"t5"}', "/reset");
  // Nobody has minded.
  await run.call(check(object, "good", 2, 60_000));
}

/** Other methods, and paths that are none. */
async function routes({ random, run, name }) {
  const object = limiter(name("routes"));
  const good = check(object, "r", 5, 60_000);
  for (const path of ["/check", "/reset"]) {
    for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"]) {
      await run.call({ object, method, path, tag: "other method" });
    }
    await run.call({ ...good, check: undefined, path, method: random.pick(["PUT", "PATCH", "DELETE"]), tag: "other method" });
  }
  // A PUT that was carried out has counted.
  await run.call(reset(object, "r"));
  for (const path of ["/", "/check/", "/Check", "/%63heck", "//check", "/check/x", "/x", "/check%20"]) {
    await run.call({ ...good, check: undefined, path, tag: "unknown path" });
    await run.call(get(object, path, { tag: "unknown path" }));
  }
  // The other class's paths.
  for (const path of ["/log", "/query", "/export", "/log/batch"]) {
    for (const method of ["GET", "POST", "PUT"]) await run.call({ object, method, path, tag: "other class" });
  }
  await run.call({ ...good, path: "/./check" });
  await run.call({ ...good, path: "/x/../check" });
}

/** Keys under which we carry a call out once; the sides part with each, and so do the identifiers. */
async function keys({ random, run, name }) {
  const object = limiter(name("keys"));
  const keyed = (identifier, key, tag, requests = 5) => {
    const call = check(object, identifier, requests, 60_000, { tag });
    return { ...call, headers: { ...call.headers, "Idempotency-Key": key } };
  };
  const key = `"${name("key")}"`;
  await run.call(keyed("a", key));
  for (let again = random.int(1, 2); again > 0; again--) await run.call(keyed("a", key, "key again"));
  await run.call(keyed("b", key, "key of another call"));
  for (const wrong of ["", '"open', "a b", "a,b", "k".repeat(256)]) await run.call(keyed("c", wrong, "key that is none"));
}

export const limiterEpisodes = { longWindows, shortWindows, shrinkingWindows, growingWindows, bursts, badInput, routes, keys };
