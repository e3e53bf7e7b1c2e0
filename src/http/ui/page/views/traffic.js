/** Requests, refusals and how long they take, as this node counts them. */

import { Chart } from "../chart.js";
import { field, fill, h, refresh, select, tile } from "../dom.js";
import { count, perSecond, took } from "../format.js";
import { loadingBox, problemBox } from "../problem.js";
import { ALL, listen, recorded, traffic } from "../recorder.js";
import { Table } from "../table.js";
import { otherPages, watched } from "../watch.js";

export const title = "Traffic";

const RANGES = [["300", "5 minutes"], ["900", "15 minutes"], ["3600", "1 hour"]];

export function mount(container) {
  let endpoint = ALL;
  let rangeS = 300;
  const of = (name) => (point) => point.endpoints?.get(endpoint)?.[name];
  const charts = [
    new Chart({
      title: "Requests",
      note: "refused: 429; errors: all other 4xx and 5xx",
      format: perSecond,
      lines: [
        { label: "all", value: of("requests") },
        { label: "refused", value: of("refused") },
        { label: "errors", value: of("errors") },
      ],
    }),
    new Chart({
      title: "Latency",
      note: "from a request's head to the head of its answer",
      format: took,
      least: 0.001,
      lines: [
        { label: "p50", value: of("p50") },
        { label: "p90", value: of("p90") },
        { label: "p99", value: of("p99") },
      ],
    }),
    new Chart({
      title: "Where a change spends its time",
      note: "99th percentiles; a batch is timed on the leader alone",
      format: took,
      least: 0.001,
      lines: [
        { label: "queue", value: ({ queue }) => queue },
        { label: "sync of the log", value: ({ sync }) => sync },
        { label: "batch", value: ({ batch }) => batch },
        { label: "apply", value: ({ apply }) => apply },
      ],
    }),
  ];
  const table = new Table({
    caption: "Endpoints that were asked since the node started",
    key: (row) => `${row.binding} ${row.endpoint}`,
    columns: [
      { title: "Endpoint", kind: "code", cell: (row) => row.endpoint },
      { title: "Binding", kind: "code", cell: (row) => row.binding },
      { title: "Requests", kind: "number", cell: (row) => perSecond(row.requests) },
      { title: "Refused", kind: "number", cell: (row) => perSecond(row.refused) },
      { title: "Errors", kind: "number", cell: (row) => perSecond(row.errors) },
      { title: "p50", kind: "number", cell: (row) => took(row.p50) },
      { title: "p99", kind: "number", cell: (row) => took(row.p99) },
      { title: "In all", kind: "number", cell: (row) => count(row.total) },
    ],
  });
  const chooser = select({ name: "endpoint", onchange: (event) => ((endpoint = event.target.value), draw()) }, [[ALL, "all requests of clients"]], ALL);
  const range = select({ name: "range", onchange: (event) => ((rangeS = Number(event.target.value)), draw()) }, RANGES, "300");
  const trouble = h("div", {});
  const scope = h("p", { class: "muted" });
  const tiles = h("dl", { class: "tiles" });
  const below = h("div", {}, loadingBox());
  fill(
    container,
    scope,
    trouble,
    h("div", { class: "toolbar" }, field("Endpoint", chooser), field("Time", range)),
    tiles,
    h("div", { class: "charts" }, charts.map(({ element }) => element)),
    below,
  );

  function draw() {
    const { points, latest, before, error } = recorded;
    fill(trouble, error && problemBox(error));
    refresh(scope, scopeText());
    if (!latest) return;
    const now = points.at(-1)?.endpoints?.get(endpoint);
    refresh(tiles, figures(latest, now));
    for (const chart of charts) chart.update(points, rangeS);
    const rows = before ? endpointRows(before, latest) : [];
    const options = rows.map(({ binding, endpoint: path }) => [`${binding} ${path}`, `${path}, ${binding}`]);
    fill(chooser, [[ALL, "all requests of clients"], ...options].map(([value, text]) => h("option", { value, selected: value === endpoint }, text)));
    chooser.value = endpoint;
    table.update(rows);
    fill(below, rows.length ? table.element : h("div", { class: "empty" }, h("p", {}, "No client has asked this node for anything yet.")));
  }

  const stop = listen(draw);
  return {
    unmount() {
      stop();
      for (const chart of charts) chart.end();
    },
  };
}

/** Whose figures these are, and where the others are. */
function scopeText() {
  const { report } = watched;
  if (!report) return ["What the clients of this node ask for."];
  return [`What the clients of node ${report.id} ask for, over ten seconds. `, ...otherPages()];
}

function figures(latest, now = {}) {
  const failing = now.errors > 0;
  return [
    tile("Requests", perSecond(now.requests)),
    tile("Refused", perSecond(now.refused), "429"),
    tile("Errors", perSecond(now.errors), "other 4xx, 5xx", failing ? "warn" : undefined),
    tile("Median", took(now.p50)),
    tile("99th percentile", took(now.p99)),
    tile("Connections", count(latest.sum("tallykeep_http_connections"))),
  ];
}

function endpointRows(before, latest) {
  const asked = latest.all("tallykeep_http_request_seconds_count", ({ binding }) => binding !== "");
  return asked
    .filter(({ value }) => value > 0)
    .map(({ labels: { binding, endpoint }, value }) => {
      const where = (other) => other.binding === binding && other.endpoint === endpoint;
      return { binding, endpoint, total: value, ...traffic(before, latest, where) };
    });
}
