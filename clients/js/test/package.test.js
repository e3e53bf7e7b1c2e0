/** What is published: it is enough, and nothing else is in it. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../", import.meta.url));
const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"));

test("the package can be installed and imported by itself", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "tallykeep-pack-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const packed = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
  const [{ filename, files }] = JSON.parse(packed.stdout);
  for (const { path } of files) assert.match(path, /^(package\.json|README\.md|dist\/[a-z0-9-]+\.(js|d\.ts))$/);
  await writeFile(join(folder, "package.json"), '{"private":true,"type":"module"}');
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", `./${filename}`], { cwd: folder });
  await writeFile(
    join(folder, "main.js"),
    `import * as all from "tallykeep";
     import { rateLimit as express } from "tallykeep/express";
     import { rateLimit as hono } from "tallykeep/hono";
     console.log(JSON.stringify([Object.keys(all).sort(), typeof express, typeof hono]));`,
  );
  const { stdout } = await run(process.execPath, ["main.js"], { cwd: folder });
  const names = [
    "AuditLog", "TallykeepError", "checkRateLimit", "durableObjects", "flushAudit", "logAudit", "rateLimitBinding",
    "rateLimitHeaders",
  ];
  assert.deepEqual(JSON.parse(stdout), [names, "function", "function"]);
});

test("it has no dependency, and those of its tests are pinned", () => {
  assert.equal(manifest.dependencies, undefined);
  assert.equal(manifest.peerDependencies, undefined);
  for (const [name, version] of Object.entries(manifest.devDependencies)) assert.match(version, /^\d+\.\d+\.\d+$/, name);
});

test("the README says why each of them is there", async () => {
  const readme = await readFile(join(root, "README.md"), "utf8");
  const rows = readme.slice(readme.indexOf("## Development")).matchAll(/^\| (.*?) \| .+ \|$/gm);
  const told = [...rows].flatMap(([, names]) => names.split(", ")).filter((name) => name !== "package");
  assert.deepEqual(told.toSorted(), Object.keys(manifest.devDependencies).toSorted());
});

test("the lock file names no host", async () => {
  const lock = await readFile(join(root, "package-lock.json"), "utf8");
  const hosts = [...lock.matchAll(/"resolved"|"https?:\/\/[^"]*"/g)].map(([text]) => text);
  // Where packages ask for money is none of ours.
  const funding = [...lock.matchAll(/"url": ("https?:\/\/[^"]*")/g)].map(([, text]) => text);
  assert.deepEqual(hosts.filter((text) => !funding.includes(text)), []);
});
