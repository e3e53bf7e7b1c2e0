/** The two sides: the guide's objects in workerd, and three tallykeep nodes behind this package. */

import { readFile } from "node:fs/promises";

import { durableObjects } from "tallykeep";

import { startCluster } from "../test/support/cluster.js";
import { takesKeys } from "../test/support/keys.js";
import { startWorker } from "../test/support/workerd.js";
import { Memory } from "./memory.js";
import { perform } from "./perform.js";

/**
 * Starts both; `context.after` ends them. `objects` is a file with other classes than those of
 * `objects.js`. A side is `{ name, memory, send(call) }`, where `call` is one of `perform.js`.
 */
export async function startSides(context, { objects = new URL("objects.js", import.meta.url) } = {}) {
  const [cluster, original] = await Promise.all([startCluster(context, 3), startOriginal(context, objects)]);
  // Until then a call may be refused that a moment later is not.
  await takesKeys(cluster.endpoints[0]);
  return { original, ours: ourSide(cluster.endpoints) };
}

async function startOriginal(context, objects) {
  const source = (name) => readFile(new URL(name, import.meta.url), "utf8");
  const modules = {
    "gateway.js": await source("gateway.js"),
    "perform.js": await source("perform.js"),
    "objects.js": await readFile(objects, "utf8"),
  };
  const worker = await startWorker(context, modules, { objects: true, onDisk: true });
  const send = async (call) => {
    const answer = await fetch(worker.url, { method: "POST", body: JSON.stringify(call) });
    if (answer.status !== 200) throw new Error(`workerd answered ${answer.status}: ${worker.output()}`);
    return answer.json();
  };
  return { name: "original", memory: new Memory(), send };
}

function ourSide(endpoints) {
  const env = durableObjects({ endpoints });
  const send = (call) => (call.by === "path" ? byPath(endpoints[0], env, call) : perform(env, call));
  return { name: "tallykeep", memory: new Memory(), send };
}

/** As code without this package may ask: the client itself goes by id where a path has no room. */
async function byPath(endpoint, env, { object, method, path, headers, body }) {
  const url = `${endpoint}/do/${object.binding}/name/${encodeURIComponent(object.name)}${path}`;
  const answer = await fetch(url, { method, headers, body });
  const id = env[object.binding].idFromName(object.name).toString();
  return { id, status: answer.status, headers: Object.fromEntries(answer.headers), body: await answer.text() };
}
