/** Which requests a tail is of: the form, and what it stands for in the address and at the node. */

import { field, h } from "../dom.js";

/** The choice of all requests: also those for no binding, as operators, probes and this page send them. */
const EVERYTHING = "*";

/** The parameters of `/admin/tail` that an address's parameters stand for. */
export function toParameters({ binding, name, status }) {
  return { binding: binding === EVERYTHING ? undefined : binding, name, status: status?.replace(/\s/g, "") };
}

/** Whether a request is wanted, of those that the node tells of. */
export function isWanted(request, { binding }) {
  return binding === EVERYTHING || request.binding !== null;
}

/** Fills the list of bindings, which stays at what is chosen. */
export function offer(chooser, bindings, chosen = chooser.value) {
  const isListed = ["", EVERYTHING, ...bindings].includes(chosen);
  const options = [
    ["", "all requests of clients"],
    ...[...bindings, ...(isListed ? [] : [chosen])].map((name) => [name, name]),
    [EVERYTHING, "all, with operators' and this page's"],
  ];
  chooser.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
  chooser.value = chosen;
}

/** The form; `follow(parameters)` is called with what stands in it. */
export function filterForm(parameters, bindings, follow) {
  const chooser = h("select", { name: "binding" });
  offer(chooser, bindings, parameters.binding ?? "");
  const text = (name, placeholder) =>
    h("input", { name, placeholder, value: parameters[name] ?? "", maxlength: 1024, autocomplete: "off", spellcheck: "false" });
  const submit = (event) => {
    event.preventDefault();
    follow(Object.fromEntries(new FormData(event.target)));
  };
  return h(
    "form",
    { class: "toolbar", role: "search", "aria-label": "Requests", onsubmit: submit },
    field("Binding", chooser),
    field("Object's name", text("name", "wix:*")),
    field("Status", text("status", "429, 5xx")),
    h("button", { type: "submit", class: "main" }, "Filter"),
  );
}
