"""Tables, for the terminal and for docs/benchmarks.md alike: Markdown that reads well as it is."""

from load import in_words
from summary import COMPARED, OURS, Results, medians, targets

BEGIN = "<!-- scripts/bench.sh writes from here -->"
END = "<!-- to here -->"
# Something else took so much of the machine that a row says little.
OTHERS_SHARE_MAX = 0.15


def line(row):
    """One row, as it is measured."""
    return (
        f"round {row.round}  {row.system:<10} {row.load:<19} {in_words(row.connections):<15}"
        f" {row.rate:>8,.0f}/s  p50 {row.p50_ms:>7.2f}  p99 {row.p99_ms:>7.2f} ms"
        f"  CPU/1k {row.cpu_per_1000_s:.4f} s"
        + (f"  others {row.others_share:.0%}" if row.others_share > OTHERS_SHARE_MAX else "")
    )


def tables(rows, failures, skipped):
    """All tables of a run."""
    found = medians(rows)
    results = Results(found)
    parts = [
        table(
            [
                "system",
                "load",
                "connections",
                "requests/s",
                "least to most",
                "p50 ms",
                "p99 ms",
                "CPU s/1,000",
                "load's CPU s/1,000",
            ],
            [
                [
                    row.system,
                    row.load,
                    str(row.connections),
                    f"{row.rate:,.0f}",
                    f"{row.rate_least:,.0f} to {row.rate_most:,.0f}" if row.rounds > 1 else "",
                    f"{row.p50_ms:.2f}",
                    f"{row.p99_ms:.2f}",
                    f"{row.cpu_per_1000_s:.4f}",
                    f"{row.generator_cpu_per_1000_s:.4f}",
                ]
                for row in found
            ],
            left=2,
        ),
        _ratios(found, results),
        targets_table(targets(results)),
    ]
    notes = [f"Skipped: {why}" for why in skipped]
    notes += [f"Failed: {system}, round {number}: {why}" for system, number, why in failures]
    disturbed = [row for row in found if row.others_share > OTHERS_SHARE_MAX]
    if disturbed:
        most = max(row.others_share for row in disturbed)
        notes.append(
            f"Disturbed: in {len(disturbed)} of the {len(found)} rows other processes, or the"
            f" host, took more than {OTHERS_SHARE_MAX:.0%} of the machine, up to {most:.0%}."
        )
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(part for part in parts if part)


def _ratios(found, results):
    """What our checks come to when each peer's are 1, at each number of connections."""
    rows = []
    for peer in COMPARED:
        for connections in sorted({row.connections for row in found}):
            ours, theirs = results.of(OURS, connections), results.of(peer, connections)
            if ours is None or theirs is None:
                continue
            names = ("rate", "p50_ms", "p99_ms", "cpu_per_1000_s")
            ratios = [figure(results.ratio(name, ours, theirs)) for name in names]
            best = f" ({theirs.load})" if theirs.load != "check" else ""
            rows.append([f"{OURS} ÷ {peer}{best}", str(connections), *ratios])
    header = ["ratio", "connections", "requests/s", "p50", "p99", "CPU"]
    return table(header, rows, left=1) if rows else ""


def targets_table(all_targets):
    """What is to be reached, what was, and whether that is it; nothing if nothing was measured."""
    rows = []
    for target in all_targets:
        sign = "≤" if target.at_most else "≥"
        goal = f"{sign} {target.goal:g}"
        if target.floor is not None:
            goal += f" (floor {target.floor:g})"
        rows.append([target.what, goal, figure(target.measured), target.met])
    if all(row[3] == "not measured" for row in rows):
        return ""
    return table(["target", "at", "measured", "met"], rows, left=2)


def figure(number):
    """A number with about three digits that count; nothing for None."""
    if number is None:
        return ""
    if number >= 100:
        return f"{number:,.0f}"
    if number >= 10:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 0.1 else f"{number:.4f}"


def table(header, rows, left):
    """A Markdown table, its columns aligned as text too; all but the first `left` are numbers."""
    widths = [max(len(cells[i]) for cells in [header, *rows]) for i in range(len(header))]

    def joined(cells):
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)
    ]
    return "\n".join([joined(header), joined(rule), *map(joined, rows)])


def section(started, described, options, text):
    """What is written into the document: when and where, and the tables."""
    machine = "\n".join(f"- {what}: {which}" for what, which in described.items())
    rounds = "one round" if options.rounds == 1 else f"medians of {options.rounds} rounds"
    return (
        f"Measured on {started:%-d %B %Y}, {rounds} of {options.seconds} s a row:\n\n"
        f"{machine}\n\n{text}"
    )


def write(document, text, begin=BEGIN, end=END):
    """Replaces what stands between the two marks of the document."""
    content = document.read_text(encoding="utf-8")
    before, begins, rest = content.partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise ValueError(f"{document} has no lines {begin} and {end}")
    document.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
