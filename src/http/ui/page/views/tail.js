/** The requests that this node answers, as it answers them. */

import { getJson, request, withQuery } from "../api.js";
import { announce, fill, h } from "../dom.js";
import { readEvents } from "../events.js";
import { NONE, absolute, count, foreign, timeOfDayMs, took } from "../format.js";
import { emptyBox, problemBox } from "../problem.js";
import { go, link } from "../router.js";
import { Table } from "../table.js";
import { listen, otherPages, watched } from "../watch.js";
import { filterForm, isWanted, offer, toParameters } from "./tail-filter.js";

export const title = "Tail";

/** So many of the newest requests are shown. */
const ROWS_MAX = 200;
const DRAW_MS = 200;
const RETRY_MS = 1_000;

export function mount(container, { query: first }) {
  let parameters = first;
  let bindings = [];
  /** The newest last, and at times more than are shown. */
  let rows = [];
  /** How many had come when the page began to pause; undefined if it does not. */
  let pausedAt;
  let came = 0;
  let dropped = 0;
  let state = "";
  let trouble;
  const ended = new AbortController();
  let following = new AbortController();
  let drawing;
  let retrying;

  const table = new Table({
    caption: "Requests, newest first",
    key: ({ key }) => key,
    kind: "lines requests",
    columns: [
      { title: "Time", cell: ({ time }) => h("span", { title: absolute(time) }, timeOfDayMs(time)) },
      { title: "Status", cell: ({ status }) => h("span", { class: "state", "data-state": stateOf(status) }, String(status)) },
      { title: "Took", kind: "number", cell: ({ durationMs }) => took(durationMs / 1000) },
      { title: "Request", kind: "code", cell: ({ method, endpoint }) => foreign(`${method} ${endpoint}`) },
      { title: "Binding", kind: "code", cell: ({ binding }) => foreign(binding) },
      { title: "Object", cell: objectOf },
      { title: "Identifier", cell: ({ identifier }) => foreign(identifier) },
    ],
  });
  const scope = h("p", { class: "muted" });
  const form = h("div", {});
  const pause = h("button", { type: "button", "aria-pressed": "false", onclick: () => setPaused(pausedAt === undefined) }, "Pause");
  const clear = h("button", { type: "button", onclick: () => (empty(), draw()) }, "Clear");
  const said = h("p", { class: "muted" });
  const note = h("div", {});
  const results = h("div", {});
  fill(container, scope, form, h("div", { class: "toolbar" }, pause, clear, said), note, results);

  async function follow() {
    following.abort();
    following = new AbortController();
    const { signal } = following;
    clearTimeout(retrying);
    trouble = undefined;
    tell("Connecting…");
    try {
      const response = await request(withQuery("admin/tail", toParameters(parameters)), { signal, timeoutMs: 0 });
      tell("Live");
      for await (const { type, data } of readEvents(response.body)) {
        if (type === "request") take(JSON.parse(data));
        if (type === "dropped") {
          dropped += JSON.parse(data).count;
          drawSoon();
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      // What the node does not do it will not do in a second either; where it was lost is another matter.
      if (error.status) {
        trouble = problemBox(error, follow);
        return tell("Stopped");
      }
    }
    if (signal.aborted) return;
    tell("The node is gone; trying again…");
    retrying = setTimeout(follow, RETRY_MS);
  }

  function take(told) {
    if (!isWanted(told, parameters)) return;
    came += 1;
    rows.push({ ...told, key: String(came) });
    if (rows.length >= 2 * ROWS_MAX) rows = rows.slice(-ROWS_MAX);
    drawSoon();
  }

  function setPaused(isPaused) {
    pausedAt = isPaused ? came : undefined;
    pause.setAttribute("aria-pressed", String(isPaused));
    fill(pause, isPaused ? "Paused" : "Pause");
    draw();
  }

  function empty() {
    rows = [];
    came = dropped = 0;
    if (pausedAt !== undefined) pausedAt = 0;
    table.update([]);
  }

  function tell(text) {
    state = text;
    announce(text);
    draw();
  }

  /** However many come, a few times a second. */
  function drawSoon() {
    drawing ??= setTimeout(draw, DRAW_MS);
  }

  function draw() {
    clearTimeout(drawing);
    drawing = undefined;
    fill(scope, "What node ", watched.report ? String(watched.report.id) : "this", " answers, from now on. ", ...otherPages());
    const isPaused = pausedAt !== undefined;
    const parts = [isPaused && state === "Live" ? "Paused" : state, `${count(came)} ${came === 1 ? "request" : "requests"}`];
    if (came > ROWS_MAX) parts.push(`the newest ${ROWS_MAX} are shown`);
    if (isPaused) parts.push(`${count(came - pausedAt)} came meanwhile`);
    else table.update(rows.slice(-ROWS_MAX).toReversed());
    fill(said, parts.join(" · "));
    fill(note, trouble, dropped > 0 && droppedBox(dropped));
    const isEmpty = table.element.querySelector("tbody").childElementCount === 0;
    fill(results, isEmpty ? emptyBox("Nothing yet. Requests appear here as they are answered.") : table.element);
  }

  function start() {
    const next = (values) => {
      const hash = link(["tail"], values);
      if (hash === location.hash) follow();
      else go(hash);
    };
    form.replaceChildren(filterForm(parameters, bindings, next));
    if (pausedAt !== undefined) setPaused(false);
    empty();
    follow();
  }

  /** The form works without them; what is wrong with the node the tail itself tells. */
  async function offerBindings() {
    try {
      const found = await getJson("admin/bindings", { signal: ended.signal });
      bindings = found.bindings.map(({ name }) => name);
      offer(form.querySelector("select"), bindings);
    } catch {}
  }

  document.addEventListener("token", () => (follow(), offerBindings()), { signal: ended.signal });
  start();
  offerBindings();
  const stop = listen(draw);
  return {
    update({ query }) {
      parameters = query;
      start();
    },
    unmount() {
      ended.abort();
      stop();
      following.abort();
      clearTimeout(retrying);
      clearTimeout(drawing);
    },
  };
}

/** How a status is seen: a refusal is what a limiter is for, and no fault. */
function stateOf(status) {
  if (status >= 500) return "bad";
  return status >= 400 ? "warn" : "ok";
}

function objectOf({ binding, name, id }) {
  if (binding === null || (name === null && id === null)) return NONE;
  // These cannot stand in a path.
  if (name === "." || name === "..") return foreign(name);
  const place = name === null ? ["id", id] : ["name", name];
  return h("a", { href: link(["objects", binding, ...place]) }, foreign(name ?? id));
}

function droppedBox(dropped) {
  return h(
    "div",
    { class: "problem", "data-state": "warn", role: "status" },
    h("p", {}, h("strong", {}, `${count(dropped)} ${dropped === 1 ? "request was" : "requests were"} left out`)),
    h("p", {}, "The node answers more than this browser takes, and waits for nobody who watches. A filter is applied at the node: with one, less gets lost."),
  );
}
