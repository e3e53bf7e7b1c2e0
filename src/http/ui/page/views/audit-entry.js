/** One audit entry, whole. */

import { facts, h } from "../dom.js";
import { NONE, foreign, time, visible, absolute } from "../format.js";
import { link } from "../router.js";

const KNOWN = ["id", "timestamp", "type", "action", "userId", "ip", "details"];
/** The fields that a search can be for. */
const FIELDS = [["type", "Type"], ["action", "Action"], ["userId", "User"], ["ip", "IP"]];

/** Shows it in a dialog. */
export function showEntry(entry) {
  const more = Object.fromEntries(Object.entries(entry).filter(([name]) => !KNOWN.includes(name)));
  const said = h("span", { role: "status", class: "muted" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(JSON.stringify(entry));
      said.textContent = "Copied.";
    } catch {
      said.textContent = "The browser does not let the page copy: select the text instead.";
    }
  };
  const dialog = h(
    "dialog",
    { class: "wide", "aria-labelledby": "entry-title", onclose: () => dialog.remove() },
    h("h2", { id: "entry-title" }, "Audit entry"),
    facts([
      ["Time", h("span", {}, absolute(entry.timestamp), " (", time(entry.timestamp), ")")],
      ["Id", h("code", {}, visible(entry.id))],
      ...FIELDS.map(([name, label]) => [label, value(name, entry[name], () => dialog.close())]),
    ]),
    h("h3", {}, "Details"),
    json(entry.details, "Details"),
    Object.keys(more).length > 0 && [h("h3", {}, "Further members"), json(more, "Further members")],
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "main", onclick: () => dialog.close() }, "Close"),
      h("button", { type: "button", onclick: copy }, "Copy as JSON"),
      said,
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/** A value, and a way to all entries that have it. */
function value(name, text, leave) {
  if (text === undefined || text === null) return NONE;
  return h(
    "span",
    {},
    foreign(text, 512),
    " ",
    h("a", { href: link(["audit"], { [name]: text }), onclick: leave }, "find all", h("span", { class: "unseen" }, ` entries with this ${name}`)),
  );
}

/** JSON in lines; `label` says of what. */
export function json(content, label) {
  const text = visible(JSON.stringify(content, null, 2) ?? NONE, true);
  return h("pre", { tabindex: "0", dir: "ltr", "aria-label": label, role: "region" }, text);
}
