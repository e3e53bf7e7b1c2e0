/** The command line of scripts/conformance.sh, which see. */

import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { conformance, PAGE, strayRows } from "./conformance.js";
import { explain, groups } from "./report.js";
import { rowsOf, withSummary } from "./rows.js";
import { summary } from "./summary.js";

const DEFAULT_CALLS = 3_000;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    calls: { type: "string" },
    episode: { type: "string" },
    objects: { type: "string" },
    document: { type: "boolean", default: false },
  },
});
const integer = (name, fallback) => {
  if (values[name] === undefined) return fallback;
  if (!/^\d{1,9}$/.test(values[name])) throw new Error(`--${name} must be an integer`);
  return Number(values[name]);
};
const seed = integer("seed", Date.now() % 1_000_000_000);
const calls = integer("calls", DEFAULT_CALLS);
const only = integer("episode");
const objects = values.objects && pathToFileURL(values.objects);

const ends = [];
let failed = false;
const fail = (line) => {
  failed = true;
  console.log(line);
};

for (const line of await strayRows()) fail(`error: ${line}`);
console.log(`seed ${seed}`);
const began = performance.now();
try {
  const report = await conformance({ after: (end) => ends.push(end) }, { seed, calls, only, objects });
  for (const alike of groups(report.unexplained)) {
    fail(`\nNo row explains this, and ${alike.length - 1} more like it:\n${explain(alike[0])}`);
  }
  if (only === undefined && calls >= DEFAULT_CALLS) {
    for (const { row, about = "any call" } of report.idle) fail(`error: a rule of the row "${row}" explained nothing (${about}): is it still so?`);
  }
  const text = summary(report, rowsOf(await readFile(PAGE, "utf8")), seed);
  console.log(`\n${text}\n\n${((performance.now() - began) / 1000).toFixed(1)} s`);
  if (values.document && !failed) await writeFile(PAGE, withSummary(await readFile(PAGE, "utf8"), text));
} finally {
  for (const end of ends.reverse()) await end();
}
process.exitCode = failed ? 1 : 0;
