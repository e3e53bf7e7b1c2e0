/** One object: what it stores, and, of a limiter, how it stands now. */

import { getJson, withQuery } from "../api.js";
import { facts, fill, h } from "../dom.js";
import { NONE, bytes, count, foreign, span, time, visible } from "../format.js";
import { poll } from "../poll.js";
import { emptyBox, loadingBox, problemBox } from "../problem.js";
import { link } from "../router.js";
import { json } from "./audit-entry.js";
import { askCredit, askReset, pathOf } from "./limiter-change.js";

const PAGE_KEYS = 100;
const LIVE_MS = 1_000;
/** What stands before an identifier in a limiter's keys. */
const LIMITER_KEY = "ratelimit:";

export function mountObject(container, place) {
  const ended = new AbortController();
  const { signal } = ended;
  const live = [];
  const back = h("p", {}, h("a", { href: link(["objects", place.binding]) }, "← all objects of ", h("bdi", {}, visible(place.binding))));
  const body = h("div", { class: "stack" }, loadingBox());
  fill(container, back, body);

  async function load() {
    try {
      const object = await getJson(withQuery(`admin/objects/${pathOf(place)}`, { limit: PAGE_KEYS }), { signal });
      show(object);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404) fill(body, emptyBox("This object holds nothing. A limiter is gone when its windows are over."), again());
      else fill(body, problemBox(error, load));
    }
  }
  const again = () => h("div", { class: "actions" }, h("button", { type: "button", onclick: load }, "Look again"));

  function show(object) {
    const isLimiter = object.class === "RateLimiter";
    const storage = h("ul", { class: "storage" });
    const more = h("button", { type: "button" }, "More keys");
    let { cursor } = object;
    const add = (items) => storage.append(...items.map((item) => (isLimiter ? limiterItem(object, item) : entryItem(item))));
    more.hidden = !cursor;
    more.onclick = async () => {
      more.disabled = true;
      try {
        const next = await getJson(withQuery(`admin/objects/${pathOf(place)}`, { limit: PAGE_KEYS, cursor }), { signal });
        add(next.storage);
        cursor = next.cursor;
        more.hidden = !cursor;
      } catch (error) {
        if (!signal.aborted) more.after(problemBox(error));
      } finally {
        more.disabled = false;
      }
    };
    add(object.storage);
    fill(
      body,
      facts([
        ["Name", object.name === null ? NONE : foreign(object.name, 1024)],
        ["Id", h("code", {}, object.id)],
        ["Class", object.class],
        ["Size", object.bytesMax ? `${bytes(object.bytes)} of ${bytes(object.bytesMax)}` : bytes(object.bytes)],
        ["Alarm", object.alarmTime === null ? NONE : time(object.alarmTime)],
      ], { class: "facts card" }),
      h("section", { "aria-labelledby": "storage" }, h("h2", { id: "storage" }, "Storage"), object.storage.length ? storage : emptyBox("No keys.")),
      h("div", { class: "actions" }, more, h("button", { type: "button", onclick: load }, "Look again")),
    );
  }

  function limiterItem(object, { key, value }) {
    const identifier = key.startsWith(LIMITER_KEY) ? key.slice(LIMITER_KEY.length) : key;
    const state = h("div", { class: "live" });
    const button = h("button", { type: "button", "aria-expanded": "false" }, "Live state");
    let polling;
    button.onclick = () => {
      if (polling) {
        polling.stop();
        polling = undefined;
        fill(state);
      } else {
        fill(state, loadingBox());
        polling = liveState(object, identifier, state);
        live.push(polling);
      }
      button.setAttribute("aria-expanded", String(polling !== undefined));
    };
    const said = h("span", { role: "status" });
    const change = (ask) => () => ask(object, identifier, said, () => polling?.again());
    const credit = h("button", { type: "button", onclick: change(askCredit) }, "Give back…");
    const reset = h("button", { type: "button", class: "danger", onclick: change(askReset) }, "Reset…");
    return h("li", {}, h("h3", {}, foreign(identifier, 512)), json(value, `Value of ${visible(key)}`), h("div", { class: "actions" }, button, credit, reset, said), state);
  }

  load();
  return {
    unmount() {
      ended.abort();
      for (const one of live) one.stop();
    },
  };
}

function entryItem({ key, value }) {
  return h("li", {}, h("details", {}, h("summary", {}, h("code", {}, visible(key))), json(value, `Value of ${visible(key)}`)));
}

/** Shows how a limiter stands, again and again, without counting anything. */
function liveState(object, identifier, element) {
  return poll(LIVE_MS, async (signal) => {
    const path = withQuery(`admin/limiters/${pathOf({ binding: object.binding, by: "id", name: object.id })}`, { identifier });
    try {
      const { count: counted, limit, remaining, resetTime, now } = await getJson(path, { signal });
      const left = resetTime === null ? 0 : resetTime - now;
      fill(
        element,
        limit !== null && limit !== undefined && h("meter", { min: 0, max: limit, value: Math.min(counted, limit), "aria-label": `${counted} of ${limit}` }),
        facts([
          ["Counted", count(counted)],
          ["Limit", limit === null || limit === undefined ? "said by each check" : `${count(limit)}, by the policy`],
          ["Remaining", remaining === null || remaining === undefined ? NONE : count(remaining)],
          ["Window ends", left > 0 ? `in ${span(left)}` : "no window is open"],
        ]),
      );
    } catch (error) {
      if (!signal.aborted) fill(element, problemBox(error));
    }
  });
}
