/** Who is refused most, on this node. */

import { getJson } from "../api.js";
import { fill, h } from "../dom.js";
import { count, foreign, span } from "../format.js";
import { poll } from "../poll.js";
import { emptyBox, loadingBox, problemBox } from "../problem.js";
import { link } from "../router.js";
import { Table } from "../table.js";
import { otherPages } from "../watch.js";

export const title = "Top limiters";

const INTERVAL_MS = 2_000;
const LIMITERS = 20;

export function mount(container) {
  let most = 1;
  const table = new Table({
    caption: "Limiters by refusals",
    key: (row) => JSON.stringify([row.binding, row.id, row.identifier]),
    columns: [
      { title: "Limiter", cell: (row) => h("a", { href: link(["objects", row.binding, "id", row.id]) }, foreign(row.name ?? row.id)) },
      { title: "Identifier", cell: (row) => foreign(row.identifier) },
      { title: "Binding", kind: "code", cell: (row) => row.binding },
      { title: "Refused", kind: "number", cell: (row) => count(row.refused) },
      { title: "Share", cell: (row) => h("meter", { min: 0, max: most, value: row.refused, "aria-label": `${row.refused} refusals` }) },
    ],
  });
  const scope = h("p", { class: "muted" });
  const results = h("div", {}, loadingBox());
  fill(container, scope, results);

  const polling = poll(INTERVAL_MS, async (signal) => {
    try {
      const { limiters, sinceTime } = await getJson(`admin/limiters/top?limit=${LIMITERS}`, { signal });
      most = Math.max(1, ...limiters.map(({ refused }) => refused));
      table.update(limiters);
      fill(scope, `About how many checks this node has refused in the last ${span(Date.now() - sinceTime)}. `, ...otherPages());
      fill(results, limiters.length ? table.element : emptyBox("This node has refused nobody."));
    } catch (error) {
      if (signal.aborted) return;
      fill(results, problemBox(error));
    }
  });
  return { unmount: () => polling.stop() };
}
