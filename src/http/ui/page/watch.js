/** The cluster as this node sees it, and what has changed since the page was opened. */

import { getJson } from "./api.js";
import { h } from "./dom.js";
import { poll } from "./poll.js";

const INTERVAL_MS = 1_000;
const CHANGES_MAX = 50;

/** `{ report, atMs, error, changes }`: each change is `{ atMs, text, state }`, newest first. */
export const watched = { report: undefined, atMs: undefined, error: undefined, changes: [] };

const listeners = new Set();

/** Calls `listener(newChanges)` after each look, and at once if there was one; gives a function that ends that. */
export function listen(listener) {
  listeners.add(listener);
  if (watched.report || watched.error) listener([]);
  return () => listeners.delete(listener);
}

export function begin() {
  poll(INTERVAL_MS, async (signal) => {
    const before = watched.report;
    const wasLost = watched.error !== undefined;
    let changes = [];
    try {
      watched.report = await getJson("admin/cluster", { signal, timeoutMs: 5_000 });
      watched.atMs = Date.now();
      watched.error = undefined;
      if (wasLost) changes.push({ text: `Node ${watched.report.id}, which serves this page, answers again`, state: "ok" });
      if (before) changes.push(...differences(before, watched.report));
    } catch (error) {
      if (signal.aborted) return;
      watched.error = error;
      if (!wasLost) changes.push({ text: refusedOr(error, "The node that serves this page does not answer as it should"), state: "bad" });
    }
    changes = changes.map((change) => ({ atMs: Date.now(), ...change }));
    watched.changes = [...changes.toReversed(), ...watched.changes].slice(0, CHANGES_MAX);
    for (const listener of listeners) listener(changes);
  });
}

function refusedOr({ status }, text) {
  return status === 401 || status === 403 ? "The node that serves this page refuses the token" : text;
}

/** What is to be told of a report after another. */
function differences(before, now) {
  const changes = [];
  if (now.leader !== before.leader) {
    const text = now.leader === null ? "No leader is known" : `Node ${now.leader} leads now, in term ${now.term}`;
    changes.push({ text, state: now.leader === null ? "bad" : "ok" });
  } else if (now.term !== before.term && now.leader !== null) {
    changes.push({ text: `Node ${now.leader} was elected again, in term ${now.term}`, state: "ok" });
  }
  const old = new Map(before.nodes.map((node) => [node.id, node]));
  for (const node of now.nodes) {
    const was = old.get(node.id);
    old.delete(node.id);
    if (!was) {
      changes.push({ text: `Node ${node.id} was added`, state: "ok" });
      continue;
    }
    const answered = was.role !== "unreachable";
    const answers = node.role !== "unreachable";
    if (answered && !answers) changes.push({ text: `Node ${node.id} does not answer any more`, state: "bad" });
    if (!answered && answers) changes.push({ text: `Node ${node.id} answers again`, state: "ok" });
    if (answers && answered && was.ready !== node.ready) {
      changes.push({ text: `Node ${node.id} is ${node.ready ? "ready" : "not ready"}`, state: node.ready ? "ok" : "warn" });
    }
    if (answers && answered && was.disk !== node.disk) {
      changes.push({ text: `The disk of node ${node.id} is ${node.disk}`, state: node.disk === "ample" ? "ok" : "warn" });
    }
  }
  for (const id of old.keys()) changes.push({ text: `Node ${id} was removed`, state: "warn" });
  return changes;
}

/** How well the cluster is: `{ state, title, text }`. */
export function health({ nodes, leader }) {
  const voters = nodes.filter((node) => node.voter);
  const answering = voters.filter((node) => node.role !== "unreachable" && node.role !== "joining");
  const majority = Math.floor(voters.length / 2) + 1;
  /** `Node 2 does`, `Nodes 2, 3 do`. */
  const those = (list, one, more) => `${list.length === 1 ? "Node" : "Nodes"} ${list.map(({ id }) => id).join(", ")} ${list.length === 1 ? one : more}`;
  const silent = nodes.filter((node) => node.role === "unreachable");
  const full = nodes.filter((node) => node.disk === "full" || node.disk === "low");
  const unready = nodes.filter((node) => node.role !== "unreachable" && !node.ready);
  if (answering.length < majority) {
    return { state: "bad", title: "No quorum", text: `${answering.length} of ${voters.length} voters answer, and ${majority} are needed. Nothing is read or written until more nodes are back.` };
  }
  if (leader === null) {
    return { state: "warn", title: "No leader", text: "An election is under way. It takes less than a second as a rule." };
  }
  if (silent.length > 0) {
    const left = answering.length - majority;
    const more = left > 0 ? `${left} more may fail.` : "No further node may fail.";
    const served = unready.length > 0 ? `${those(unready, "cannot", "cannot")} serve yet.` : "All requests are served.";
    return { state: "warn", title: "Degraded", text: `${those(silent, "does", "do")} not answer. ${served} ${more}` };
  }
  if (full.length > 0) {
    return { state: "warn", title: "Disk space", text: `${those(full, "has", "have")} little space left on disk. Writes are refused once that is so on too many nodes.` };
  }
  if (unready.length > 0) {
    return { state: "warn", title: "Catching up", text: `${those(unready, "cannot", "cannot")} serve yet.` };
  }
  return { state: "ok", title: "Healthy", text: nodes.length === 1 ? "The node answers and is ready." : `All ${nodes.length} nodes answer and are ready.` };
}

/** Where the other nodes tell of themselves, as text and links. */
export function otherPages() {
  const { report } = watched;
  const others = report?.nodes.filter((node) => node.id !== report.id && node.role !== "unreachable") ?? [];
  if (others.length === 0) return [];
  const links = others.flatMap((node, place) => [place ? ", " : "", h("a", { href: pageOn(node) }, `node ${node.id}`)]);
  return ["Each node tells of its own: ", ...links, "."];
}

/** The page on another node, by its address for clients. */
export function pageOn(node) {
  return `${location.protocol}//${node.http}/ui${location.hash}`;
}
