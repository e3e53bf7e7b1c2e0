/** The declarations, where Cloudflare's types are, in Node, and in a browser. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import test from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const tsc = fileURLToPath(import.meta.resolve("typescript/lib/tsc.js"));

for (const project of ["test/types/workers.json", "test/types/node.json", "test/types/dom.json", "examples/worker"]) {
  test(`${project} compiles, and what is wrong in it does not`, () => {
    const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", project], { cwd: root, encoding: "utf8" });
    assert.equal(status, 0, stdout);
  });
}
