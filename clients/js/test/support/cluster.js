/** Real tallykeep nodes, each a process with a folder of its own. */

import { accessSync, constants, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { freePorts } from "./ports.js";
import { start, stop } from "./processes.js";
import { waitFor } from "./wait.js";

const root = fileURLToPath(new URL("../../../../", import.meta.url));

/** The built binary. */
export const binary = process.env.TALLYKEEP_BIN ?? join(root, "target/release/tallykeep");

/** Starts `count` nodes and waits until all are ready; `context.after` ends them. */
export async function startCluster(context, count = 1) {
  accessSync(binary, constants.X_OK);
  const folder = await mkdtemp(join(tmpdir(), "tallykeep-js-"));
  const ports = await freePorts(count * 2);
  const nodes = Array.from({ length: count }, (_, index) => ({
    id: index + 1,
    http: `127.0.0.1:${ports[index * 2]}`,
    peer: `127.0.0.1:${ports[index * 2 + 1]}`,
  }));
  const tables = nodes.map(({ id, http, peer }) => `[[nodes]]\nid = ${id}\nhttp = "${http}"\npeer = "${peer}"\n`);
  const cluster = new Cluster(folder, nodes);
  context.after(() => cluster.end());
  for (const { id } of nodes) {
    const head = `cluster = "js"\nid = ${id}\ndata = "data${id}"\nwrangler = ${JSON.stringify(join(root, "cluster/wrangler.toml"))}\n`;
    await writeFile(cluster.file(id, "toml"), head + tables.join(""));
    cluster.start(id);
  }
  await Promise.all(nodes.map(({ id }) => cluster.waitReady(id)));
  return cluster;
}

class Cluster {
  #folder;
  #nodes;
  #processes = new Map();

  constructor(folder, nodes) {
    this.#folder = folder;
    this.#nodes = nodes;
  }

  /** The URLs of all nodes, in the order of their ids. */
  get endpoints() {
    return this.#nodes.map(({ http }) => `http://${http}`);
  }

  endpoint(id) {
    return this.endpoints[id - 1];
  }

  file(id, extension) {
    return join(this.#folder, `node${id}.${extension}`);
  }

  start(id) {
    const log = openSync(this.file(id, "log"), "a");
    const child = start(binary, ["serve", "--config", this.file(id, "toml")], { stdio: ["ignore", "ignore", log] });
    this.#processes.set(id, child);
  }

  async waitReady(id) {
    try {
      await waitFor(`node ${id} is ready`, async () => {
        const { exitCode } = this.#processes.get(id);
        if (exitCode !== null) throw new Error(`node ${id} ended with ${exitCode}`);
        const answer = await fetch(`${this.endpoint(id)}/readyz`);
        await answer.text();
        return answer.status === 200;
      });
    } catch (error) {
      throw new Error(readFileSync(this.file(id, "log"), "utf8").slice(-4000), { cause: error });
    }
  }

  /** The id of the leader, as a node that runs sees it. */
  async leader() {
    return waitFor("a leader is known", async () => {
      for (const id of this.#processes.keys()) {
        const answer = await fetch(`${this.endpoint(id)}/admin/cluster`).catch(() => undefined);
        const report = await answer?.json();
        const leader = report?.nodes?.find((node) => node.role === "leader");
        if (leader && this.#processes.has(leader.id)) return leader.id;
      }
      return undefined;
    });
  }

  /** A signal to one node: SIGKILL, SIGTERM, SIGSTOP, SIGCONT. The first two wait for its end. */
  async signal(id, signal) {
    const child = this.#processes.get(id);
    if (signal !== "SIGKILL" && signal !== "SIGTERM") return void child.kill(signal);
    this.#processes.delete(id);
    await stop(child, signal);
  }

  async end() {
    for (const id of [...this.#processes.keys()]) await this.signal(id, "SIGKILL");
    await rm(this.#folder, { recursive: true, force: true });
  }
}
