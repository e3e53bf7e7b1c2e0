/** The rows of `docs/compatibility.md`, and the part of it that a run writes. */

const MARKS = ["<!-- conformance -->", "<!-- /conformance -->"];

/** The names of all rows: `section: case`. */
export function rowsOf(page) {
  const [before, , after] = split(page);
  const rows = [];
  let section;
  for (const line of `${before}\n${after}`.split("\n")) {
    if (line.startsWith("## ")) section = line.slice(3).trim();
    const cell = /^\| (.*?) \|/.exec(line)?.[1];
    if (cell !== undefined && cell !== "case") rows.push(`${section}: ${cell.trim()}`);
  }
  return rows;
}

/** The page with another text between the marks. */
export function withSummary(page, text) {
  const [before, , after] = split(page);
  return `${before}${MARKS[0]}\n${text}\n${MARKS[1]}${after}`;
}

function split(page) {
  const [from, to] = MARKS.map((mark) => page.indexOf(mark));
  if (from < 0 || to < from) throw new Error(`there are no marks ${MARKS.join(" and ")}`);
  return [page.slice(0, from), page.slice(from + MARKS[0].length, to), page.slice(to + MARKS[1].length)];
}
