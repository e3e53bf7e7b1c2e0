/** CSV as both sides write it, from entries of a view of `view.js`. */

import { writeJson } from "./json.js";

const COLUMNS = ["id", "timestamp", "type", "action", "userId", "ip", "details"];

/** What tallykeep does otherwise than the original. */
export const STYLES = ["line ends", "quoted cells", "quoted details", "guarded formulas"];

/** The CSV of these entries, with these of `STYLES`. */
export function csv(entries, styles) {
  const has = (style) => styles.includes(style);
  const guarded = (cell) => (has("guarded formulas") && /^'*[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell);
  const quoted = (cell) => (has("quoted cells") && /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const cellOf = (column, tree) => {
    if (tree === undefined) return "";
    if (column === "id" || column === "timestamp") return tree.words[0];
    if (column !== "details") return quoted(guarded(JSON.parse(tree.text)));
    const text = writeJson(tree).replaceAll('"', '""');
    return has("quoted details") ? `"${text}"` : text;
  };
  const rows = entries.map((entry) => COLUMNS.map((column) => cellOf(column, entry.get(column))).join(","));
  const head = COLUMNS.join(",");
  return has("line ends") ? [head, ...rows].map((line) => `${line}\r\n`).join("") : `${head}\n${rows.join("\n")}`;
}

/** Those of `STYLES` that these entries need: without one of them the text would be another. */
export function stylesOf(entries) {
  const all = csv(entries, STYLES);
  return STYLES.filter((style) => csv(entries, STYLES.filter((other) => other !== style)) !== all);
}
