/** Every sample of the README, as it stands but for the endpoints, does what the README says. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { startCluster } from "./support/cluster.js";
import { deadEndpoint } from "./support/fake.js";
import { freePorts } from "./support/ports.js";
import { start, stop } from "./support/processes.js";
import { waitFor } from "./support/wait.js";

const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
/** The samples, each with the output that stands behind it. */
const samples = [...readme.matchAll(/```js\n(.*?)```\n(?:```text\n(.*?)```\n)?/gs)].map(([, code, output]) => ({ code, output }));
/** What differs from run to run. */
const PLACEHOLDERS = { number: "\\d+", time: "\\d{4}-\\d\\d-\\d\\dT[\\d:.]{12}Z", id: "[0-9a-f-]{36}" };

test("there are samples, and no code that is none", () => {
  assert.equal(samples.length, 8);
  const fences = readme.match(/^```\w*$/gm).filter((fence) => fence !== "```");
  assert.deepEqual(new Set(fences), new Set(["```js", "```text"]));
});

test("the samples", async (t) => {
  const cluster = await startCluster(t);
  // Inside of the package, so that `tallykeep` is this one.
  const folder = await mkdtemp(fileURLToPath(new URL("./.work-", import.meta.url)));
  t.after(() => rm(folder, { recursive: true, force: true }));

  for (const [index, { code, output }] of samples.entries()) {
    await t.test(`sample ${index + 1}`, async (t) => {
      const [port] = await freePorts(1);
      const file = join(folder, `${index}.js`);
      // The sample of a failure is the only one with this address.
      const isDead = code.includes("10.0.0.9");
      const endpoints = isDead ? [await deadEndpoint()] : cluster.endpoints;
      const real = code
        .replace(/endpoints: \[[^\]]*\]/, `endpoints: ${JSON.stringify(endpoints)}`)
        .replace("listen(3000)", `listen(${port}, "127.0.0.1")`);
      assert.notEqual(real, code);
      await writeFile(file, real);

      if (code.includes("export default app")) {
        const { default: app } = await import(pathToFileURL(file));
        const answer = await app.request("/", { headers: { "CF-Connecting-IP": "9.9.9.9" } });
        return assertHello(answer);
      }
      const child = start(process.execPath, [file], { env: { ...process.env, TALLYKEEP_TOKEN: "secret" } });
      t.after(() => stop(child));
      let stdout = "";
      let stderr = "";
      child.stdout.on("data", (chunk) => (stdout += chunk));
      child.stderr.on("data", (chunk) => (stderr += chunk));
      if (code.includes("app.listen")) {
        const answer = await waitFor("the server answers", () => fetch(`http://127.0.0.1:${port}/`));
        return assertHello(answer);
      }
      const [status] = await once(child, "close");
      assert.deepEqual([status, stderr], [0, ""]);
      assert.ok(output, "a sample that is run has an output");
      const pattern = output
        .replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
        .replace(/<(\w+)>/g, (_, name) => PLACEHOLDERS[name]);
      assert.match(stdout, new RegExp(`^${pattern}$`));
    });
  }
});

async function assertHello(answer) {
  assert.equal(answer.status, 200);
  assert.equal(await answer.text(), "hello");
  assert.equal(answer.headers.get("x-ratelimit-remaining"), "99");
}
