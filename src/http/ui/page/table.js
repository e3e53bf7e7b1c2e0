/** Tables whose rows come and go while one looks. */

import { fill, h } from "./dom.js";

/**
 * Rows keep their elements, by their keys, and cells that stay the same are not touched, so focus stays
 * where it is. On a phone a row becomes a block, and `data-title` says what each cell is; the roles
 * keep it a table for those who do not see it.
 */
export class Table {
  #columns;
  #key;
  #body;
  #rows = new Map();

  /** Each column is `{ title, cell(row), kind }`; `key(row)` is a text; `caption` says what the rows are. Of the kind `lines` each row is a line; of the
   * kind `compact` it is two on a phone, its first cell and the others. */
  constructor({ caption, columns, key, kind }) {
    this.#columns = columns;
    this.#key = key;
    this.#body = h("tbody", { role: "rowgroup" });
    const heads = columns.map(({ title, kind }) => h("th", { scope: "col", role: "columnheader", class: kind === "number" && kind }, title));
    this.element = h(
      "table",
      { role: "table", class: kind },
      h("caption", {}, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
      this.#body,
    );
  }

  update(rows) {
    const seen = new Map();
    for (const row of rows) {
      const key = this.#key(row);
      const element = this.#rows.get(key) ?? this.#blank();
      this.#columns.forEach((column, place) => fill(element.children[place], column.cell(row)));
      seen.set(key, element);
    }
    this.#rows = seen;
    const wanted = [...seen.values()];
    wanted.forEach((element, place) => {
      if (this.#body.children[place] !== element) this.#body.insertBefore(element, this.#body.children[place] ?? null);
    });
    while (this.#body.children.length > wanted.length) this.#body.lastChild.remove();
  }

  #blank() {
    const cells = this.#columns.map(({ title, kind }) => h("td", { role: "cell", class: kind, "data-title": title }));
    return h("tr", { role: "row" }, cells);
  }
}
