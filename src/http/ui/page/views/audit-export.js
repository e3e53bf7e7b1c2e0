/** What is found, as a file. */

import { request, withQuery } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes } from "../format.js";
import { problemBox } from "../problem.js";

/** A button that saves what `query()` finds as CSV. It goes by `fetch`, for a link could not bring the token. */
export function exportButton(query) {
  let running;
  const said = h("div", { class: "said", role: "status" });
  const button = h("button", { type: "button", onclick: () => (running ? running.abort() : save()) }, "Export CSV");

  async function save() {
    running = new AbortController();
    fill(button, "Cancel the export");
    try {
      const path = withQuery("export", { ...query(), format: "csv" });
      const response = await request(path, { signal: running.signal, timeoutMs: 0 });
      const pieces = [];
      let length = 0;
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        pieces.push(value);
        length += value.length;
        fill(said, `${bytes(length)} so far…`);
      }
      download(new Blob(pieces, { type: "text/csv" }), `audit-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.csv`);
      fill(said, `Exported ${bytes(length)}.`);
    } catch (error) {
      if (running.signal.aborted) fill(said, "The export was cancelled; nothing was saved.");
      // An answer that breaks off is no problem that the node could tell.
      else fill(said, problemBox(error.status === undefined ? { title: "The export broke off", detail: "Nothing was saved. Try again." } : error));
    } finally {
      running = undefined;
      fill(button, "Export CSV");
    }
  }

  return { button, said };
}

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  // The browser has begun to save by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
