/** Which audit entries are wanted: the form, and what it stands for in the address and in a query. */

import { field, h, select } from "../dom.js";

export const RANGES = [
  ["900000", "last 15 minutes"],
  ["3600000", "last hour"],
  ["86400000", "last day"],
  ["604800000", "last 7 days"],
  ["", "all"],
  ["custom", "from … to …"],
];
const RANGE_DEFAULT = "86400000";
const TEXTS = [["type", "Type"], ["action", "Action"], ["userId", "User"], ["ip", "IP"]];

/** The members of `/query`, and parameters of `/export`, that an address's parameters stand for. */
export function toQuery(parameters) {
  const query = {};
  for (const [name] of TEXTS) {
    if (parameters[name]) query[name] = parameters[name];
  }
  const range = parameters.range ?? RANGE_DEFAULT;
  if (range === "custom") {
    if (parameters.from) query.startTime = Date.parse(parameters.from);
    if (parameters.to) query.endTime = Date.parse(parameters.to);
  } else if (Number(range) > 0) {
    query.startTime = Date.now() - Number(range);
  }
  return query;
}

/** The form; `search(parameters)` is called with what stands in it. */
export function filterForm(parameters, search) {
  const range = parameters.range ?? RANGE_DEFAULT;
  const texts = TEXTS.map(([name, label]) =>
    field(label, h("input", { name, value: parameters[name] ?? "", maxlength: 512, autocomplete: "off", spellcheck: "false" })),
  );
  const moment = (name, label) => {
    const shown = field(label, h("input", { name, type: "datetime-local", step: "1", value: parameters[name] ?? "" }));
    shown.hidden = range !== "custom";
    return shown;
  };
  const custom = [moment("from", "From"), moment("to", "To")];
  const choose = (event) => custom.forEach((shown) => (shown.hidden = event.target.value !== "custom"));
  const submit = (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target));
    if (values.range !== "custom") values.from = values.to = "";
    // The usual range is left out of the address; "all", which is empty, must not be.
    values.range = values.range === RANGE_DEFAULT ? "" : values.range || "all";
    search(values);
  };
  return h(
    "form",
    { class: "toolbar", role: "search", "aria-label": "Audit entries", onsubmit: submit },
    texts,
    field("Time", select({ name: "range", onchange: choose }, RANGES, range === "all" ? "" : range)),
    custom,
    h("button", { type: "submit", class: "main" }, "Search"),
  );
}
