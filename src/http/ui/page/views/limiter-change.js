/** What a user can do with a limiter: give back some of what it has counted, or have it forget all. */

import { postJson } from "../api.js";
import { field, fill, h } from "../dom.js";
import { count, foreign } from "../format.js";
import { problemBox } from "../problem.js";

/** The part of a path that names an object. `.` and `..` cannot stand in one. */
export function pathOf({ binding, by, name }) {
  if (name === "." || name === "..") throw new Error("an object of this name is found by its id alone");
  return [binding, by, name].map(encodeURIComponent).join("/");
}

/** Gives back some of the count, as much as the user says. */
export function askCredit(object, identifier, said, done) {
  const amount = h("input", { type: "number", name: "amount", min: 1, max: Number.MAX_SAFE_INTEGER, step: 1, value: 1, required: true });
  ask("Give back to this limiter?", "Give back", said, done, {
    says: h("p", {}, "The next check of ", h("strong", {}, foreign(identifier)), " finds so much less counted, on all nodes. Its window stays as it is."),
    fields: field("Requests", amount),
    async carryOut() {
      const path = `admin/limiters/${pathOf({ binding: object.binding, by: "id", name: object.id })}/credit`;
      const { credited } = await postJson(path, { identifier, amount: amount.valueAsNumber });
      return credited === 0 ? "Nothing was counted any more." : `${count(credited)} given back.`;
    },
  });
}

/** Forgets the count, once the user has said so twice. */
export function askReset(object, identifier, said, done) {
  ask("Reset this limiter?", "Reset", said, done, {
    isDanger: true,
    says: h("p", {}, "What is counted for ", h("strong", {}, foreign(identifier)), " is forgotten, on all nodes, and the next check begins a new window. It cannot be undone."),
    async carryOut() {
      await postJson(`do/${pathOf({ binding: object.binding, by: "id", name: object.id })}/reset`, { identifier });
      return "Reset: the next check begins a new window.";
    },
  });
}

/** Asks in a dialog; what it came to stands in `said`. */
function ask(title, verb, said, done, { says, fields, carryOut, isDanger = false }) {
  const submit = async (event) => {
    event.preventDefault();
    dialog.close();
    try {
      said.textContent = await carryOut();
    } catch (error) {
      fill(said, problemBox(error));
    }
    done();
  };
  const dialog = h(
    "dialog",
    { "aria-labelledby": "change-title", onclose: () => dialog.remove() },
    h("h2", { id: "change-title" }, title),
    says,
    h(
      "form",
      { onsubmit: submit },
      fields,
      h(
        "div",
        { class: "actions" },
        h("button", { type: "submit", class: isDanger ? "danger" : "main" }, verb),
        h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}
