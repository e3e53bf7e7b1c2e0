/** A whole run: episodes, until there were as many calls as wanted. */

import { readFile } from "node:fs/promises";

import { episode } from "./generator.js";
import { Report } from "./report.js";
import { rowsOf } from "./rows.js";
import { RULES, UNTESTED, UNTESTED_SECTIONS } from "./rules.js";
import { Runner, Undecided } from "./runner.js";
import { startSides } from "./sides.js";

export const PAGE = new URL("../../../docs/compatibility.md", import.meta.url);

/** Episodes at the same time: most of them wait for windows and clocks now and then. */
const LANES = 4;
const ATTEMPTS_MAX = 20;

/** Runs `calls` calls at least, and gives the `Report`. `only` is one episode by its number. */
export async function conformance(context, { seed, calls, only, objects }) {
  const sides = await startSides(context, { objects });
  const report = new Report(RULES);
  let next = only ?? 0;
  const lane = async () => {
    while (only === undefined ? report.calls < calls : next === only) {
      const index = next++;
      await play(sides, report, seed, index);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return report;
}

async function play(sides, report, seed, index) {
  const { title, play } = episode(seed, index);
  const name = `--seed ${seed} --episode ${index} (${title})`;
  for (let attempt = 1; ; attempt++) {
    try {
      return await play(new Runner(sides, report, name), attempt);
    } catch (error) {
      // After a difference nothing has to go as it should: the difference is what is told.
      if (report.hasUnexplained(name)) return;
      if (!(error instanceof Undecided)) throw new Error(`in ${name}`, { cause: error });
      if (attempt === ATTEMPTS_MAX) throw new Error(`the machine is too slow for ${name}`);
    }
  }
}

/** What is wrong between the rules and the page: rules of no row, rows of no rule. */
export async function strayRows() {
  const rows = rowsOf(await readFile(PAGE, "utf8"));
  const known = new Set([...RULES.map(({ row }) => row), ...Object.keys(UNTESTED)]);
  const isOfOthers = (row) => UNTESTED_SECTIONS.some((section) => row.startsWith(`${section}: `));
  return [
    ...[...known].filter((row) => !rows.includes(row)).map((row) => `docs/compatibility.md has no row "${row}"`),
    ...rows.filter((row) => !known.has(row) && !isOfOthers(row)).map((row) => `conformance/rules.js knows nothing of the row "${row}"`),
  ];
}
