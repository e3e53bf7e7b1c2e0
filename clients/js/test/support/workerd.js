/** Runs a Worker in real workerd. */

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import workerd from "workerd";

import { freePorts } from "./ports.js";
import { start, stop } from "./processes.js";
import { waitFor } from "./wait.js";

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));

/**
 * Starts a Worker of these modules, `{ name: source }`, the first being the main one; `tallykeep` is
 * there to be imported. `text` are its text bindings, `objects` whether it has the guide's two
 * classes itself, and `onDisk` whether these keep their state in files. Gives its URL;
 * `context.after` ends it.
 */
export async function startWorker(context, modules, { text = {}, objects = false, onDisk = false } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "tallykeep-workerd-"));
  const [port] = await freePorts(1);
  const all = Object.entries(modules);
  for (const file of await readdir(dist)) {
    if (!file.endsWith(".js")) continue;
    // workerd finds `./id.js` beside the module that imports it, so `index.js` becomes `tallykeep`.
    all.push([file === "index.js" ? "tallykeep" : file, await readFile(join(dist, file), "utf8")]);
  }
  const embedded = await Promise.all(
    all.map(async ([name, source], index) => {
      await writeFile(join(folder, `${index}.js`), source);
      return `(name = ${JSON.stringify(name)}, esModule = embed "${index}.js")`;
    }),
  );
  const classes = [["RATE_LIMITER", "RateLimiter"], ["AUDIT_LOGGER", "AuditLogger"]];
  const bindings = Object.entries(text).map(([name, value]) => `(name = "${name}", text = ${JSON.stringify(value)})`);
  if (objects) bindings.push(...classes.map(([name, type]) => `(name = "${name}", durableObjectNamespace = "${type}")`));
  const namespaces = classes.map(([, type]) => `(className = "${type}", uniqueKey = "wix-gamma-integration-${type}", enableSql = ${onDisk})`);
  const storage = onDisk ? `localDisk = "storage"` : "inMemory = void";
  if (onDisk) await mkdir(join(folder, "storage"));
  const config = `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .mainWorker),
    (name = "internet", network = (allow = ["public", "private", "local"])),
    ${onDisk ? `(name = "storage", disk = (path = ${JSON.stringify(join(folder, "storage"))}, writable = true)),` : ""}
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const mainWorker :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = [${embedded.join(", ")}],
  bindings = [${bindings.join(", ")}],
  ${objects ? `durableObjectNamespaces = [${namespaces.join(", ")}], durableObjectStorage = (${storage}),` : ""}
);
`;
  const file = join(folder, "worker.capnp");
  await writeFile(file, config);
  const child = start(workerd.default ?? workerd, ["serve", file], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  context.after(async () => {
    await stop(child);
    await rm(folder, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}`;
  try {
    await waitFor("workerd listens", async () => {
      if (child.exitCode !== null) throw new Error(`workerd ended with ${child.exitCode}`);
      const answer = await fetch(url, { method: "OPTIONS" });
      await answer.text();
      return true;
    });
  } catch (error) {
    throw new Error(output, { cause: error });
  }
  return { url, output: () => output };
}
