/** What went wrong, and what to do about it. */

import { h } from "./dom.js";
import { sentence, visible } from "./format.js";
import * as token from "./token.js";

const ADVICE = {
  unreachable: "It may be stopping, or the network between you and it is down. The page tries again by itself.",
  no_leader: "Without a leader that a majority of the nodes can reach nothing is read or written. Look at the cluster view for nodes that do not answer.",
  overloaded: "The node has as much to do as it takes. Try again in a moment, or at another node.",
  insufficient_storage: "The disks of too many nodes are nearly full. Make room on them; writes go on by themselves.",
  unknown_outcome: "It may have been carried out or not. Look whether it was before you do it again.",
};

function advice({ status, code }) {
  if (ADVICE[code]) return ADVICE[code];
  if (status === 401) return "Give a token that this node knows.";
  if (status === 403) return "Your token does not reach that far. An administrator can make one that does.";
  if (status === 503) return "Try again in a moment, or at another node.";
  if (status >= 500) return "The node's log tells more.";
  return undefined;
}

/** A box that says so, and `more`. `again` is called when the user wants to try once more. */
export function problemBox(error, again, more) {
  const wantsToken = error.status === 401 || error.status === 403;
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", {}, h("strong", {}, error.title ?? "Something went wrong in this page"), error.status ? ` (${error.status})` : ""),
    h("p", {}, h("bdi", {}, sentence(visible(error.detail ?? error.message ?? "")))),
    advice(error) && h("p", {}, advice(error)),
    more,
    h(
      "div",
      { class: "actions" },
      wantsToken && h("button", { type: "button", class: "main", onclick: () => token.open(error) }, error.status === 401 ? "Give a token" : "Give another token"),
      again && h("button", { type: "button", onclick: again }, "Try again"),
    ),
  );
}

/** What stands where there is nothing. */
export function emptyBox(text, ...more) {
  return h("div", { class: "empty" }, h("p", {}, text), ...more);
}

/** What stands where something is about to come, in its size. */
export function loadingBox() {
  return h("div", { class: "loading", role: "status" }, "Loading…");
}
