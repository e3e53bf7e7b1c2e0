/** Prometheus' text format, and what is computed from two looks at it. */

const SAMPLE = /^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { "\\n": "\n", "\\\\": "\\", '\\"': '"' };

/** All samples that a node gave at one moment. */
export class Snapshot {
  #samples = new Map();

  /** `text` is what `/metrics` gave; `atMs` is when. */
  constructor(text, atMs) {
    this.atMs = atMs;
    for (const line of text.split("\n")) {
      const found = SAMPLE.exec(line);
      if (!found) continue;
      const [, name, labels = "", value] = found;
      if (!this.#samples.has(name)) this.#samples.set(name, new Map());
      this.#samples.get(name).set(labels, { labels: parseLabels(labels), value: number(value) });
    }
  }

  /** The samples of `name` whose labels satisfy `where`: each `{ labels, value }`. */
  all(name, where = () => true) {
    return [...(this.#samples.get(name)?.values() ?? [])].filter(({ labels }) => where(labels));
  }

  /** The sum of these samples; undefined if there are none. */
  sum(name, where) {
    const samples = this.all(name, where);
    return samples.length ? samples.reduce((sum, { value }) => sum + value, 0) : undefined;
  }

  /** How much a counter has grown since `before`, over all its series. One that fell began anew, with its node. */
  increase(before, name, where) {
    return this.#increases(before, name, where).reduce((sum, { grown }) => sum + grown, 0);
  }

  /** `increase`, per second. */
  rate(before, name, where) {
    return (this.increase(before, name, where) * 1000) / (this.atMs - before.atMs);
  }

  /**
   * The quantile `q` of what a histogram was told since `before`; undefined if nothing. Between the bounds of
   * a bucket it is interpolated, as Prometheus does, and above the last bound it is that.
   */
  quantile(before, name, q, where) {
    const grown = new Map();
    for (const { labels, grown: more } of this.#increases(before, `${name}_bucket`, where)) {
      const bound = number(labels.le);
      grown.set(bound, (grown.get(bound) ?? 0) + more);
    }
    const buckets = [...grown].sort(([a], [b]) => a - b);
    const total = buckets.at(-1)?.[1];
    if (!total) return undefined;
    const rank = q * total;
    const place = buckets.findIndex(([, below]) => below >= rank);
    const [bound, below] = buckets[place];
    const [lower, before_] = place > 0 ? buckets[place - 1] : [0, 0];
    if (bound === Infinity) return lower;
    return lower + ((bound - lower) * (rank - before_)) / (below - before_ || 1);
  }

  #increases(before, name, where = () => true) {
    const old = before.#samples.get(name);
    const samples = [...(this.#samples.get(name) ?? [])].filter(([, { labels }]) => where(labels));
    return samples.map(([key, { labels, value }]) => {
      const was = old?.get(key)?.value ?? 0;
      return { labels, grown: value >= was ? value - was : value };
    });
  }
}

function parseLabels(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(LABEL)) {
    labels[name] = value.replace(/\\[n\\"]/g, (escaped) => ESCAPES[escaped]);
  }
  return labels;
}

function number(text) {
  if (text === "+Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  return Number(text);
}
