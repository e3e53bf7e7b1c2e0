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

/** So many of the newest requests are kept, on the page and, while it pauses, beside it. */
const ROWS_MAX = 200;
const DRAW_MS = 200;
const RETRY_MS = 1_000;

export function mount(container, { query: first }) {
  let parameters = first;
  let bindings = [];
  let rows = [];
  /** What came while the page pauses, newest first; undefined if it does not. */
  let held;
  let came = 0;
  let dropped = 0;
  let state = "";
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
  const pause = h("button", { type: "button", "aria-pressed": "false", onclick: () => (held ? resume() : hold()) }, "Pause");
  const clear = h("button", { type: "button", onclick: () => ((rows = []), (came = dropped = 0), draw()) }, "Clear");
  const said = h("p", { class: "muted" });
  const note = h("div", {});
  const results = h("div", {});
  fill(container, scope, form, h("div", { class: "toolbar" }, pause, clear, said), note, results);

  async function follow() {
    following.abort();
    following = new AbortController();
    const { signal } = following;
    clearTimeout(retrying);
    tell("Connecting…");
    fill(note);
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
        tell("Stopped");
        return fill(note, problemBox(error, follow));
      }
    }
    if (signal.aborted) return;
    tell("The node is gone; trying again…");
    retrying = setTimeout(follow, RETRY_MS);
  }

  function take(told) {
    if (!isWanted(told, parameters)) return;
    came += 1;
    const row = { ...told, key: came };
    if (held) held = [row, ...held].slice(0, ROWS_MAX);
    else rows = [row, ...rows].slice(0, ROWS_MAX);
    drawSoon();
  }

  function hold() {
    held = [];
    pause.setAttribute("aria-pressed", "true");
    fill(pause, "Paused");
    draw();
  }

  function resume() {
    rows = [...held, ...rows].slice(0, ROWS_MAX);
    held = undefined;
    pause.setAttribute("aria-pressed", "false");
    fill(pause, "Pause");
    draw();
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
    const parts = [state, `${count(came)} ${came === 1 ? "request" : "requests"}`];
    if (came > ROWS_MAX) parts.push(`the newest ${ROWS_MAX} are shown`);
    if (held) parts.push(`${count(held.length)}${held.length === ROWS_MAX ? " or more" : ""} came while paused`);
    fill(said, parts.join(" · "));
    if (dropped > 0) fill(note, droppedBox(dropped));
    table.update(rows);
    fill(results, rows.length ? table.element : emptyBox("Nothing yet. Requests appear here as they are answered."));
  }

  function start() {
    const next = (values) => {
      const hash = link(["tail"], values);
      if (hash === location.hash) follow();
      else go(hash);
    };
    form.replaceChildren(filterForm(parameters, bindings, next));
    rows = [];
    came = dropped = 0;
    if (held) held = [];
    follow();
  }

  const ended = new AbortController();
  const stop = listen(draw);
  document.addEventListener("token", () => follow(), { signal: ended.signal });
  start();
  // The form works without them; what is wrong with the node the tail itself tells.
  getJson("admin/bindings", { signal: ended.signal })
    .then((found) => {
      bindings = found.bindings.map(({ name }) => name);
      offer(form.querySelector("select"), bindings);
    })
    .catch(() => {});
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
