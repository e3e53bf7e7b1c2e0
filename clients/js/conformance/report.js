/** Counts what was compared, and keeps what no rule explains. */

import { show } from "./compare.js";

export class Report {
  #rules;
  #counts = new Map();
  calls = 0;
  equal = 0;
  /** Exchanges with differences that no rule explains: `{ exchange, differences }`. */
  unexplained = [];

  constructor(rules) {
    this.#rules = rules;
  }

  /** Takes an exchange of `runner.js`. */
  add(exchange) {
    this.calls += 1;
    const matched = exchange.differences.map((difference) => ({
      difference,
      rules: this.#rules.filter((rule) => explains(rule, difference, exchange)),
    }));
    const differences = matched.filter(({ rules }) => rules.length === 0).map(({ difference }) => difference);
    if (differences.length > 0) this.unexplained.push({ exchange, differences });
    const rules = new Set(matched.flatMap((match) => match.rules));
    for (const rule of rules) this.#counts.set(rule, (this.#counts.get(rule) ?? 0) + 1);
    if (differences.length === 0 && [...rules].every(({ aside }) => aside)) this.equal += 1;
    for (const row of new Set([...rules].map((rule) => rule.row))) this.rows.set(row, (this.rows.get(row) ?? 0) + 1);
  }

  /** Whether this episode had a difference that no rule explains. */
  hasUnexplained(episode) {
    return this.unexplained.some(({ exchange }) => exchange.episode === episode);
  }

  /** How many calls each row explains a difference of, in the order of the rules. */
  rows = new Map();

  /** Rules that explained nothing. */
  get idle() {
    return this.#rules.filter((rule) => !this.#counts.has(rule));
  }

  /** The rows that stand beside equal answers too. */
  get asideRows() {
    return new Set(this.#rules.filter(({ aside }) => aside).map(({ row }) => row));
  }
}

/** A rule that meets an answer of another form than it expects explains nothing. */
function explains(rule, difference, exchange) {
  try {
    return rule.explains(difference, exchange);
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError) return false;
    throw error;
  }
}

/** Exchanges that differ in the same way, in one list each. */
export function groups(unexplained) {
  const found = new Map();
  for (const one of unexplained) {
    const { call, original, ours } = one.exchange;
    const key = [call.path, call.tag, original.status, ours.status].join();
    found.set(key, [...(found.get(key) ?? []), one]);
  }
  return [...found.values()];
}

/** An exchange that is not explained, for people. */
export function explain({ exchange: { episode, call, bodies, original, ours }, differences }) {
  const { binding, name, id } = call.object;
  const short = (value) => {
    const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "nothing");
    return text.length > 600 ? `${text.slice(0, 600)}… (${text.length} characters)` : text;
  };
  const answer = (seen) =>
    seen.threw !== undefined ? `threw ${seen.threw}` : `${seen.status} ${JSON.stringify(seen.headers)} ${short(show(seen.body))}`;
  const lines = [
    episode,
    `${call.method} ${call.path} of ${binding} ${short(id ?? name)}${call.by ? ` by ${call.by}` : ""}${call.tag ? ` (${call.tag})` : ""}`,
    `  sent       ${short(bodies[1])}`,
  ];
  if (bodies[0] !== bodies[1]) lines.push(`  and        ${short(bodies[0])} to the original`);
  lines.push(`  original   ${answer(original)}`, `  tallykeep  ${answer(ours)}`);
  for (const { where, original: a, ours: b } of differences) lines.push(`  differ in ${where}: ${short(a)} / ${short(b)}`);
  return lines.join("\n");
}
