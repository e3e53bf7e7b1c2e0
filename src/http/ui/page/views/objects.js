/** Objects by binding and name, and one of them whole. */

import { getJson, withQuery } from "../api.js";
import { field, fill, h, select } from "../dom.js";
import { NONE, bytes, count, foreign, time } from "../format.js";
import { emptyBox, loadingBox, problemBox } from "../problem.js";
import { go, link } from "../router.js";
import { Table } from "../table.js";
import { mountObject } from "./object.js";

export const title = "Objects";

const PAGE_OBJECTS = 100;

export function mount(container, { rest, query }) {
  const [binding, by, name] = rest;
  if (name !== undefined) return mountObject(container, { binding, by, name });
  const ended = new AbortController();
  fill(container, loadingBox());
  list(container, binding, query, ended.signal);
  return { unmount: () => ended.abort() };
}

async function list(container, wanted, { prefix = "" }, signal) {
  let bindings;
  try {
    ({ bindings } = await getJson("admin/bindings", { signal }));
  } catch (error) {
    if (signal.aborted) return;
    const again = () => list(container, wanted, { prefix }, signal);
    return fill(container, problemBox(error, again));
  }
  const binding = bindings.find((one) => one.name === wanted) ?? bindings[0];
  if (!binding) return fill(container, emptyBox("This node's configuration has no bindings."));

  const chooser = select(
    { name: "binding", onchange: (event) => go(link(["objects", event.target.value])) },
    bindings.map(({ name, class: class_, objects }) => [name, `${name} (${class_}${objects === null ? "" : `, ${count(objects)}`})`]),
    binding.name,
  );
  const search = (event) => {
    event.preventDefault();
    go(link(["objects", binding.name], { prefix: new FormData(event.target).get("prefix") }));
  };
  const form = h(
    "form",
    { class: "toolbar", role: "search", "aria-label": "Objects", onsubmit: search },
    field("Binding", chooser),
    field("Name begins with", h("input", { name: "prefix", value: prefix, autocomplete: "off", spellcheck: "false" })),
    h("button", { type: "submit", class: "main" }, "Show"),
  );
  const table = new Table({
    caption: "Objects",
    key: (row) => row.id,
    kind: "compact",
    columns: [
      { title: "Name", cell: (row) => h("a", { href: link(["objects", row.binding, "id", row.id]) }, row.name === null ? h("code", {}, row.id) : foreign(row.name)) },
      { title: "Keys", kind: "number", cell: (row) => count(row.keys) },
      { title: "Size", kind: "number", cell: (row) => bytes(row.bytes) },
      { title: "Alarm", cell: (row) => (row.alarmTime === null ? NONE : time(row.alarmTime)) },
    ],
  });
  const results = h("div", {}, loadingBox());
  const more = h("button", { type: "button", onclick: () => load() }, "More objects");
  more.hidden = true;
  fill(container, form, results, h("div", { class: "actions" }, more));

  let objects = [];
  let cursor;
  async function load() {
    more.disabled = true;
    try {
      const known = objects.length;
      // A page may be empty and not the last: a node looks at a bounded number of objects for each.
      do {
        const path = withQuery("admin/objects", { binding: binding.name, prefix, limit: PAGE_OBJECTS, cursor });
        const page = await getJson(path, { signal });
        objects = [...objects, ...page.objects];
        cursor = page.cursor;
      } while (cursor && objects.length === known);
      more.hidden = !cursor;
      table.update(objects);
      const none = prefix ? "No object's name begins so." : "No object of this binding holds anything yet.";
      fill(results, objects.length ? table.element : emptyBox(none));
    } catch (error) {
      if (!signal.aborted) fill(results, problemBox(error, load));
    } finally {
      more.disabled = false;
    }
  }
  await load();
}
