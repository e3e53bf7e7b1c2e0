/** The cluster: who leads, who is there, how far each node is. */

import { facts, fill, h, refresh, tile } from "../dom.js";
import { NONE, count, time, timeOfDay } from "../format.js";
import { emptyBox, loadingBox } from "../problem.js";
import { Table } from "../table.js";
import { health, listen, pageOn, watched } from "../watch.js";

export const title = "Cluster";

/** A certificate that ends sooner is warned about. */
const CERTIFICATE_SOON_MS = 14 * 86_400_000;

export function mount(container) {
  const banner = h("div", {});
  const tiles = h("dl", { class: "tiles" });
  const nodes = h("ul", { class: "nodes" });
  const changes = h("div", {});
  const certificates = h("div", {});
  const listed = new Table({
    caption: "Certificates in use on this node",
    key: (row) => row.for,
    columns: [
      { title: "Shown to", cell: (row) => row.for },
      { title: "Ends", cell: (row) => ending(row.notAfter) },
      { title: "CA ends", cell: (row) => (row.caNotAfter === null ? NONE : ending(row.caNotAfter)) },
      { title: "Serial number", kind: "code", cell: (row) => h("bdi", {}, row.serial) },
    ],
  });
  const known = h(
    "div",
    { class: "stack" },
    tiles,
    h("section", { "aria-labelledby": "nodes" }, h("h2", { id: "nodes" }, "Nodes"), nodes),
    h("section", { "aria-labelledby": "changes" }, h("h2", { id: "changes" }, "Since this page was opened"), changes),
    h("section", { "aria-labelledby": "certificates" }, h("h2", { id: "certificates" }, "Certificates"), certificates),
  );
  fill(container, banner, known);
  fill(nodes, h("li", {}, loadingBox()));

  const stop = listen(() => {
    const { report, error } = watched;
    known.hidden = !report;
    if (!report) return fill(banner, emptyBox("Nothing is known of the cluster yet."));
    const { state, title: name, text } = error
      ? { state: "warn", title: "Not up to date", text: `This is how it was at ${timeOfDay(watched.atMs)}.` }
      : health(report);
    refresh(banner, h("div", { class: "health", "data-state": state }, h("strong", {}, name), " ", text));
    container.classList.toggle("stale", error !== undefined);
    refresh(tiles, summary(report));
    refresh(nodes, report.nodes.map((node) => card(node, report)));
    refresh(changes, changeList());
    if (report.certificates.length === 0) {
      fill(certificates, emptyBox("This node does not speak TLS. That is for machines that nobody else reaches."));
    } else {
      listed.update(report.certificates);
      fill(certificates, listed.element);
    }
  });
  return { unmount: stop };
}

function summary(report) {
  const answering = report.nodes.filter((node) => node.role !== "unreachable").length;
  return [
    tile("Leader", report.leader === null ? "nobody" : `Node ${report.leader}`, undefined, report.leader === null ? "bad" : undefined),
    tile("Term", count(report.term), "grows with each election"),
    tile("Nodes that answer", `${answering} of ${report.nodes.length}`, undefined, answering < report.nodes.length ? health(report).state : undefined),
    tile("Applied here", count(report.stateHash.applied), h("span", { class: "code", title: `hash of the state: ${report.stateHash.hash}` }, `hash ${report.stateHash.hash.slice(0, 12)}`)),
    tile("Command version", String(report.version), "of the log"),
  ];
}

function card(node, report) {
  const isOwn = node.id === report.id;
  const isLost = node.role === "unreachable";
  const newest = Math.max(...report.nodes.map(({ lastLog }) => lastLog ?? 0));
  const lag = node.lastLog === null ? undefined : newest - node.lastLog;
  const disk = { ample: "enough space", low: "low", full: "nearly full" }[node.disk] ?? NONE;
  const healthy = isLost ? "does not answer" : node.ready ? "ready" : "not ready";
  return h(
    "li",
    { class: "node", "data-state": isLost ? "bad" : node.ready ? "ok" : "warn", "data-role": node.role, "data-node": node.id },
    h(
      "h3",
      {},
      `Node ${node.id}`,
      " ",
      h("span", { class: "pill", "data-role": node.role }, node.role),
      isOwn && " ",
      isOwn && h("span", { class: "pill" }, "serves this page"),
    ),
    facts([
      ["Health", h("span", { class: "state", "data-state": isLost ? "bad" : node.ready ? "ok" : "warn" }, healthy)],
      ["Behind", lag === undefined ? NONE : lag === 0 ? "not at all" : lag === 1 ? "1 entry" : `${count(lag)} entries`],
      ["Log / applied", isLost ? NONE : `${count(node.lastLog)} / ${count(node.applied)}`],
      ["Disk", h("span", { class: node.disk && "state", "data-state": node.disk === "ample" ? "ok" : node.disk && "warn" }, disk)],
      ["Vote", node.voter ? "yes" : "no"],
      ["Clients", isOwn ? h("bdi", {}, node.http) : h("a", { href: pageOn(node) }, node.http)],
      ["Peers", h("bdi", {}, node.peer)],
    ]),
  );
}

function changeList() {
  if (watched.changes.length === 0) return emptyBox("Nothing has changed.");
  const each = watched.changes.map(({ atMs, text, state }) =>
    h("li", {}, time(atMs), h("span", { class: "state", "data-state": state }, text)),
  );
  return h("ol", { class: "changes" }, each);
}

function ending(ms) {
  const left = ms - Date.now();
  const state = left < 0 ? "bad" : left < CERTIFICATE_SOON_MS ? "warn" : "ok";
  return h("span", { class: "state", "data-state": state }, time(ms));
}
