/**
 * The token that this tab sends. It is kept until the tab is closed, in `sessionStorage` alone: no
 * cookie, so no other site can have the browser send it.
 */

import { h } from "./dom.js";
import { sentence, visible } from "./format.js";

const KEY = "tallykeep-token";

let dialog;
/** Those who wait for the user's answer. */
let waiting = [];
/** What the user would not give another token for. */
let declined;

export function current() {
  return sessionStorage.getItem(KEY) ?? undefined;
}

function store(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
  declined = undefined;
  document.dispatchEvent(new CustomEvent("token"));
}

/** Asks the user for a token, unless they have said no. Gives whether there is another one now. */
export async function ask(problem) {
  const before = current() ?? "";
  if (declined === before) return false;
  open(problem);
  const answered = await new Promise((resolve) => waiting.push(resolve));
  if (!answered) declined = before;
  return answered;
}

function reason(problem) {
  if (!problem) return "What this page asks the node for, it asks for with your token.";
  if (problem.status !== 401) return sentence(problem.detail ?? problem.title);
  if (current()) return "The node does not take the token that this page has: it is mistyped, revoked or over.";
  return "This node answers those who have an API token.";
}

/** Shows the dialog; `problem` is why. */
export function open(problem) {
  if (dialog) return;
  const input = h("input", { type: "password", name: "token", autocomplete: "off", spellcheck: "false", required: true });
  const why = reason(problem);
  const close = (answered) => {
    dialog.close();
    dialog.remove();
    dialog = undefined;
    const told = waiting;
    waiting = [];
    for (const resolve of told) resolve(answered);
  };
  const save = (event) => {
    event.preventDefault();
    store(input.value.trim());
    close(true);
  };
  const forget = () => {
    store(undefined);
    close(true);
  };
  dialog = h(
    "dialog",
    { "aria-labelledby": "token-title", oncancel: (event) => (event.preventDefault(), close(false)) },
    h(
      "form",
      { onsubmit: save },
      h("h2", { id: "token-title" }, "Token"),
      h("p", {}, visible(why)),
      h("label", { class: "field" }, h("span", {}, "API token"), input),
      h("p", { class: "muted" }, "Kept by this tab alone, until it is closed. To look on, the scope ", h("code", {}, "read"), " is enough; an administrator makes one with ", h("code", {}, "tallykeep tokens create"), "."),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "submit", class: "main" }, "Use this token"),
        current() && h("button", { type: "button", onclick: forget }, "Forget the token"),
        h("button", { type: "button", onclick: () => close(false) }, "Cancel"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  input.focus();
}
