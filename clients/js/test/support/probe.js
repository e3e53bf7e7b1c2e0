/**
 * What code can see of a namespace, asked in the same words of workerd's own and of this package's.
 * Runs in workerd and in Node.
 */

/** Calls of everything that does no I/O. `ns` and `other` are two namespaces. */
export const local = {
  "ids of names": ({ ns }) =>
    ["wix:a", "gamma:user-123", "2024-01-15", "a/b?c#d%", " ", "\0", "é", "e\u0301", "日本", "😀", "x".repeat(1_025), "x".repeat(5_000)]
      .map((name) => [ns.idFromName(name).toString(), ns.idFromName(name).name]),
  "the id of the empty name": ({ ns }) => [ns.idFromName("").toString(), ns.idFromName("").name],
  "another namespace's ids": ({ other }) => ["wix:a", "2024-01-15"].map((name) => other.idFromName(name).toString()),
  "names with half surrogates": ({ ns }) =>
    ["a\ud800b", "\udc00", "\udbff\udbff", "\udc00\ud800", "\ud83d\ude00\ud83d"].map((name) => [
      ns.idFromName(name).toString(),
      ns.idFromName(name).name,
    ]),
  "half surrogates are not U+FFFD": ({ ns }) =>
    ns.idFromName("a\ud800b").equals(ns.idFromName(ns.idFromName("a\ud800b").name)),
  "many names": ({ ns }) =>
    Array.from({ length: 300 }, (_, i) => ns.idFromName("n".repeat(i) + String.fromCodePoint(0x20 + i * 37)).toString()),
  "a number as a name": ({ ns }) => [ns.idFromName(7).toString(), ns.idFromName(7).name],
  "undefined as a name": ({ ns }) => ns.idFromName(undefined).name,
  "null as a name": ({ ns }) => ns.idFromName(null).name,
  "an object as a name": ({ ns }) => ns.idFromName({ toString: () => "q" }).name,
  "a symbol as a name": ({ ns }) => ns.idFromName(Symbol("x")),
  "idFromName without a name": ({ ns }) => ns.idFromName(),
  "idFromString without digits": ({ ns }) => ns.idFromString(),
  "idFromString of itself": ({ ns, id }) => {
    const again = ns.idFromString(id.toString());
    return [again.toString(), again.name === undefined, "name" in again, again.equals(id), id.equals(again)];
  },
  "idFromString in upper case": ({ ns, id }) => ns.idFromString(id.toString().toUpperCase()).toString(),
  "idFromString of another namespace": ({ ns, other }) => ns.idFromString(other.idFromName("x").toString()),
  "idFromString with one wrong digit": ({ ns, id }) =>
    ns.idFromString(id.toString().replace(/.$/, (digit) => (digit === "0" ? "1" : "0"))),
  "idFromString of zeros": ({ ns }) => ns.idFromString("0".repeat(64)),
  "idFromString of 63 digits": ({ ns, id }) => ns.idFromString(id.toString().slice(1)),
  "idFromString of 65 digits": ({ ns, id }) => ns.idFromString(`${id}0`),
  "idFromString of no digits": ({ ns }) => ns.idFromString("g".repeat(64)),
  "idFromString of spaces": ({ ns, id }) => ns.idFromString(` ${id.toString().slice(1)}`),
  "idFromString of a line end": ({ ns, id }) => ns.idFromString(`${id.toString().slice(1)}\n`),
  "idFromString of a number": ({ ns }) => ns.idFromString(7),
  "unique ids": ({ ns }) => {
    const unique = ns.newUniqueId();
    const again = ns.idFromString(unique.toString());
    return [
      /^[0-9a-f]{64}$/.test(unique.toString()), unique.name === undefined, "name" in unique, again.equals(unique),
      ns.newUniqueId().equals(unique),
    ];
  },
  "unique ids of other arguments": ({ ns }) =>
    [{}, null, undefined, { jurisdiction: undefined }, { jurisdiction: null }].map((o) => ns.newUniqueId(o).toString().length),
  "a unique id with a jurisdiction": ({ ns }) => ns.newUniqueId({ jurisdiction: "eu" }),
  "a unique id of a string": ({ ns }) => ns.newUniqueId("x"),
  "jurisdiction eu": ({ ns }) => ns.jurisdiction("eu"),
  "jurisdiction of nothing": ({ ns, id }) =>
    [ns.jurisdiction(), ns.jurisdiction(undefined), ns.jurisdiction(null)].map((one) => one.idFromName("wix:a").equals(id)),
  "equals of other things": ({ id, other }) => id.equals(other.idFromName("wix:a")),
  "equals of nothing": ({ id }) => id.equals(),
  "equals of a string": ({ id }) => id.equals(id.toString()),
  "equals of null": ({ id }) => id.equals(null),
  "get of nothing": ({ ns }) => ns.get(),
  "get of a string": ({ ns, id }) => ns.get(id.toString()),
  "get of what looks like an id": ({ ns, id }) => ns.get({ toString: () => id.toString(), equals: () => true }),
  "get with odd options": ({ ns, id }) =>
    [undefined, null, {}, { locationHint: "weur" }, { locationHint: 7 }].map((options) => ns.get(id, options).name),
  "get with a string as options": ({ ns, id }) => ns.get(id, "x"),
  "get of another namespace's id": ({ ns, other }) => ns.get(other.idFromName("x")).name,
  "a stub's members": ({ ns, id }) => {
    const stub = ns.get(id);
    return [stub.name, stub.id === id, stub.id.toString(), "name" in stub, "id" in stub, typeof stub.fetch, typeof stub.then];
  },
  "the stub of an id without a name": ({ ns, id }) => {
    const stub = ns.get(ns.idFromString(id.toString()));
    return [stub.name === undefined, "name" in stub];
  },
  "getByName": ({ ns, id }) => {
    const stub = ns.getByName("wix:a");
    return [stub.name, stub.id.name, stub.id.equals(id)];
  },
  "getByName with options": ({ ns }) => ns.getByName("wix:a", { locationHint: "weur" }).name,
  "getByName without a name": ({ ns }) => ns.getByName(),
  "getByName of a number": ({ ns }) => ns.getByName(7).name,
  "JSON": ({ ns, id }) => [id, ns.idFromString(id.toString()), ns, ns.get(id), ns.newUniqueId()].map((o) => JSON.stringify(o)),
  "texts": ({ ns, id }) => [`${id}` === id.toString(), `${ns}`, `${ns.get(id)}`],
  "tags": ({ ns, id }) => [id, ns, ns.get(id)].map((object) => Object.prototype.toString.call(object)),
  "names of classes": ({ ns, id }) => [id, ns, ns.get(id)].map((object) => object.constructor.name),
  "own members": ({ ns, id }) => [id, ns, ns.get(id)].map((object) => Object.keys(object).sort()),
  "methods": ({ ns, id }) =>
    [id, ns].map((object) => Object.getOwnPropertyNames(Object.getPrototypeOf(object)).sort()),
  "a name cannot be changed": ({ id }) => {
    id.name = "other";
  },
};

/** Calls of `fetch`. The object answers with `{ path, method, body, headers }` as it saw them. */
export const calls = {
  "a URL": ({ stub }) => stub.fetch("https://any-host/check"),
  "a URL with a query and a fragment": ({ stub }) => stub.fetch("https://any-host:8443/a%20b/c?d=e%20f&g=h#i"),
  "a URL object": ({ stub }) => stub.fetch(new URL("http://h/check?x=1")),
  "a URL with a user": ({ stub }) => stub.fetch("https://user:secret@h/check"),
  "a URL without a path": ({ stub }) => stub.fetch("http://h"),
  "a POST of a string": ({ stub }) => stub.fetch("https://h/check", { method: "POST", body: "text" }),
  "a post in lower case": ({ stub }) => stub.fetch("https://h/check", { method: "post", body: "text" }),
  "a patch in lower case": ({ stub }) => stub.fetch("https://h/check", { method: "patch", body: "text" }),
  "a POST of JSON": ({ stub }) =>
    stub.fetch("https://h/check", { method: "POST", body: "{}", headers: { "Content-Type": "application/json", "X-A": "1" } }),
  "a POST of bytes": ({ stub }) => stub.fetch("https://h/check", { method: "POST", body: new Uint8Array([104, 105]) }),
  "a POST of a form": ({ stub }) => stub.fetch("https://h/check", { method: "POST", body: new URLSearchParams({ a: "b c" }) }),
  "a POST of a blob": ({ stub }) => stub.fetch("https://h/check", { method: "POST", body: new Blob(["hi"], { type: "text/x" }) }),
  "a POST of a stream": ({ stub }) => {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    const written = writer.write(new TextEncoder().encode("streamed")).then(() => writer.close());
    return stub.fetch("https://h/check", { method: "POST", body: readable, duplex: "half" }).finally(() => written);
  },
  "a POST of nothing": ({ stub }) => stub.fetch("https://h/check", { method: "POST" }),
  "a Request": ({ stub }) => stub.fetch(new Request("https://h/check", { method: "POST", body: "text", headers: { "X-A": "1" } })),
  "a Request and init": ({ stub }) =>
    stub.fetch(new Request("https://h/check", { method: "POST", body: "text", headers: { "X-A": "1" } }), { headers: { "X-B": "2" } }),
  "a Request as init": ({ stub }) =>
    stub.fetch("https://h/other?q", new Request("https://h/check", { method: "POST", body: "text", headers: { "X-A": "1" } })),
  "a GET Request as init": ({ stub }) => stub.fetch("https://h/other", new Request("https://h/check", { headers: { "X-A": "1" } })),
  "null as init": ({ stub }) => stub.fetch("https://h/check", null),
  "headers as pairs": ({ stub }) => stub.fetch("https://h/check", { headers: [["X-A", "1"], ["x-a", "2"]] }),
  "a Request that was read": async ({ stub }) => {
    const request = new Request("https://h/check", { method: "POST", body: "text" });
    await request.text();
    return stub.fetch(request);
  },
  "a relative URL": ({ stub }) => stub.fetch("/check"),
  "a relative URL without a slash": ({ stub }) => stub.fetch("check"),
  "the empty URL": ({ stub }) => stub.fetch(""),
  "a URL without a host": ({ stub }) => stub.fetch("https://"),
  "undefined": ({ stub }) => stub.fetch(undefined),
  "null": ({ stub }) => stub.fetch(null),
  "a number": ({ stub }) => stub.fetch(7),
  "no argument": ({ stub }) => stub.fetch(),
  "another scheme": ({ stub }) => stub.fetch("ftp://h/check"),
  "a method that is none": ({ stub }) => stub.fetch("https://h/check", { method: "FOO BAR" }),
  "a GET with a body": ({ stub }) => stub.fetch("https://h/check", { method: "GET", body: "text" }),
  "a failure gives a promise": async ({ stub }) => {
    const promise = stub.fetch("/check");
    const isPromise = promise instanceof Promise;
    await promise.catch(() => {});
    return isPromise;
  },
  "status 429": ({ stub }) => stub.fetch("https://h/status/429"),
  "status 400": ({ stub }) => stub.fetch("https://h/status/400"),
  "status 404": ({ stub }) => stub.fetch("https://h/status/404"),
  "an aborted signal's reason": ({ stub }) => stub.fetch("https://h/check", { signal: AbortSignal.abort(new RangeError("why")) }),
  "an id of no name": ({ nameless }) => nameless.fetch("https://h/check"),
  "a stub that failed goes on": async ({ stub }) => {
    await stub.fetch("/check").catch(() => {});
    return stub.fetch("https://h/check");
  },
};

/** What all cases come to: `{ name: { value } | { threw: { name, message } } }`. */
export async function observe(cases, ns, other) {
  const id = ns.idFromName("wix:a");
  const nameless = ns.get(ns.idFromString(ns.idFromName("wix:b").toString()));
  const given = { ns, other, id, stub: ns.get(id), nameless };
  const seen = {};
  for (const [name, run] of Object.entries(cases)) {
    try {
      const result = await run(given);
      seen[name] = { value: result instanceof Response ? await summary(result) : (result ?? null) };
    } catch (error) {
      seen[name] = { threw: { name: error.name, message: error.message } };
    }
  }
  return JSON.parse(JSON.stringify(seen));
}

async function summary(response) {
  const { status, statusText, ok, url, redirected, type } = response;
  return { status, statusText, ok, url, redirected, type, contentType: response.headers.get("content-type"), body: await response.json() };
}

/** What an object answers, in workerd and in what stands for it. Only what a caller can choose. */
export function echo({ path, method, headers, body }) {
  const chosen = ["content-type", "x-a", "x-b"].map((name) => [name, headers.get(name)]);
  const status = Number(/^\/status\/(\d+)$/.exec(path)?.[1] ?? 200);
  return { status, value: { path, method, headers: chosen, body } };
}
