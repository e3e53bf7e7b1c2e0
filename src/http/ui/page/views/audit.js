/** The audit log: search, follow, one entry, export. */

import { request } from "../api.js";
import { announce, fill, h } from "../dom.js";
import { exportButton } from "./audit-export.js";
import { filterForm, toQuery } from "./audit-filter.js";
import { showEntry } from "./audit-entry.js";
import { parseExact } from "../exact.js";
import { absolute, foreign, time } from "../format.js";
import { poll } from "../poll.js";
import { emptyBox, loadingBox, problemBox } from "../problem.js";
import { go, link } from "../router.js";
import { Table } from "../table.js";

export const title = "Audit log";

const PAGE_ENTRIES = 50;
/** While it is followed, so many of the newest entries are kept on the page. */
const FOLLOWED_MAX = 500;
const FOLLOW_MS = 2_000;
/** So much of an entry's details stands in its row. */
const PREVIEW_CHARACTERS = 120;

export function mount(container, { query: first }) {
  let parameters = first;
  let entries = [];
  let cursor;
  let asked;
  let following;
  // One search at a time: an answer that comes after the next search began is dropped.
  let search = new AbortController();

  const table = new Table({
    caption: "Entries, newest first",
    key: (entry) => entry.id,
    kind: "lines entries",
    columns: [
      { title: "Time", cell: (entry) => h("button", { type: "button", class: "link", title: absolute(entry.timestamp), "data-id": entry.id }, time(entry.timestamp)) },
      { title: "Type", cell: (entry) => foreign(entry.type, 60) },
      { title: "Action", cell: (entry) => foreign(entry.action, 60) },
      { title: "User", cell: (entry) => foreign(entry.userId, 60) },
      { title: "IP", kind: "code", cell: (entry) => foreign(entry.ip, 60) },
      { title: "Details", kind: "preview", cell: (entry) => foreign(JSON.stringify(entry.details), PREVIEW_CHARACTERS) },
    ],
  });
  table.element.addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr");
    const id = row?.querySelector("[data-id]").dataset.id;
    const entry = entries.find((one) => one.id === id);
    // A text that is being selected is not a click.
    if (entry && !String(getSelection())) showEntry(entry);
  });

  const exporting = exportButton(() => toQuery(parameters));
  const follow = h("button", { type: "button", "aria-pressed": "false", onclick: () => (following ? unfollow() : begin()) }, "Follow");
  const said = h("p", { class: "muted", role: "status" });
  const results = h("div", {});
  const more = h("button", { type: "button", onclick: () => load(true) }, "Older entries");
  const form = h("div", {});
  fill(container, form, h("div", { class: "toolbar" }, follow, exporting.button, said), exporting.said, results, h("div", { class: "actions" }, more));
  more.hidden = true;

  async function page(members, signal) {
    const response = await request("query", { method: "POST", body: members, signal });
    return parseExact(await response.text());
  }

  async function load(isMore = false) {
    if (!isMore) {
      search.abort();
      search = new AbortController();
      asked = toQuery(parameters);
      entries = [];
      more.hidden = true;
      fill(results, loadingBox());
    }
    const { signal } = search;
    more.disabled = true;
    try {
      const found = await page({ ...asked, limit: PAGE_ENTRIES, cursor: isMore ? cursor : undefined }, signal);
      entries = isMore ? [...entries, ...found.entries] : found.entries;
      cursor = found.cursor;
      show();
    } catch (error) {
      if (!signal.aborted) fill(results, problemBox(error, () => load()));
    } finally {
      more.disabled = false;
    }
  }

  function show() {
    more.hidden = !cursor || entries.length === 0 || following !== undefined;
    if (entries.length === 0) {
      fill(said, "");
      return fill(results, emptyBox(following ? "Nothing yet. Entries appear here as they are logged." : "No entry is like that. A longer time or fewer words may find some."));
    }
    table.update(entries);
    fill(results, table.element);
    fill(said, `${entries.length}${cursor && !following ? " newest" : ""} ${entries.length === 1 ? "entry" : "entries"}`);
  }

  function begin() {
    follow.setAttribute("aria-pressed", "true");
    fill(follow, "Following");
    const { endTime: _end, ...members } = toQuery(parameters);
    following = poll(FOLLOW_MS, async (pollSignal) => {
      const signal = AbortSignal.any([pollSignal, search.signal]);
      const startTime = entries[0]?.timestamp ?? members.startTime;
      try {
        const found = await page({ ...members, startTime, limit: FOLLOWED_MAX }, signal);
        const seen = new Set(entries.map(({ id }) => id));
        const fresh = found.entries.filter(({ id }) => !seen.has(id));
        if (fresh.length > 0) announce(`${fresh.length} new ${fresh.length === 1 ? "entry" : "entries"}`);
        entries = [...fresh, ...entries].slice(0, FOLLOWED_MAX);
        show();
        fill(exporting.said);
      } catch (error) {
        // What was found stays where it is.
        if (!signal.aborted) fill(exporting.said, problemBox(error));
      }
    });
    show();
  }

  function unfollow() {
    following.stop();
    following = undefined;
    follow.setAttribute("aria-pressed", "false");
    fill(follow, "Follow");
    show();
  }

  function start() {
    const next = (values) => {
      const hash = link(["audit"], values);
      if (hash === location.hash || (location.hash === "#/audit" && hash === "#/audit")) load();
      else go(hash);
    };
    // Whoever searched by keyboard stays where they were.
    const place = [...(form.firstChild?.elements ?? [])].indexOf(document.activeElement);
    const made = filterForm(parameters, next);
    form.replaceChildren(made);
    if (place >= 0) made.elements[place].focus();
    load();
  }

  start();
  return {
    update({ query }) {
      if (following) unfollow();
      parameters = query;
      start();
    },
    unmount() {
      following?.stop();
      search.abort();
    },
  };
}
