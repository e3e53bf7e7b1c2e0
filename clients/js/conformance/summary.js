/** A run in a few words and a table, as `docs/compatibility.md` has it; `order` are the page's rows. */

const number = (value) => value.toLocaleString("en-US");

export function summary(report, order, seed) {
  const { calls, equal, rows, unexplained } = report;
  const lines = [
    `Seed ${seed}: ${number(calls)} calls were sent to both. ${number(equal)} answers were equal in all that the original's`,
    `has, ${number(calls - equal - unexplained.length)} differed as these rows say, ${number(unexplained.length)} otherwise.`,
    "",
    "| table | case | answers |",
    "|---|---|---|",
  ];
  const aside = report.asideRows;
  for (const [row, count] of [...rows].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b))) {
    const [section, name] = row.split(/: (.*)/s);
    lines.push(`| ${section} | ${name} | ${number(count)}${aside.has(row) ? " *" : ""} |`);
  }
  lines.push("", "\\* beside an answer that may be equal otherwise.");
  return lines.join("\n");
}
