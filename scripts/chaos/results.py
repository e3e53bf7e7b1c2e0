"""The table of a run, and all of it as JSON."""

import dataclasses
import json
import re

import report

BEGIN = "<!-- chaos -->"
END = "<!-- /chaos -->"
# Violations of one round; all of them are in the JSON.
TOLD_MAX = 3
HEADER = [
    "fault", "result", "times", "operations", "longest pause", "of changes", "failed", "unknown",
    "violations",
]


def table(rounds, skipped, failed):
    """One row a fault, one for what was left out, and one for all."""
    names = list(dict.fromkeys(result.fault for result in rounds))
    rows = [_row(name, [result for result in rounds if result.fault == name]) for name in names]
    rows += [[name, f"skipped: {why}", *[""] * 7] for name, why in skipped.items()]
    if len(names) > 1:
        rows.append(_row("all", rounds))
    parts = [report.table(HEADER, rows, left=2)]
    notes = []
    for result in rounds:
        notes += [f"{result.fault}: {note}" for note in result.notes]
        notes += [f"FAILED in round {result.number}, {result.fault}: {_first_line(why)}"
                  for why in result.failures]
        notes += [f"VIOLATION in round {result.number}, {result.fault}: {_first_line(why)}"
                  for why in result.violations[:TOLD_MAX]]
        if len(result.violations) > TOLD_MAX:
            more = len(result.violations) - TOLD_MAX
            notes.append(f"VIOLATION in round {result.number}, {result.fault}: and {more} more")
        notes += [f"Undecided in round {result.number}, {result.fault}: {_first_line(why)}"
                  for why in result.undecided]
    notes += [f"FAILED: {_first_line(why)}" for why in failed]
    if notes:
        parts.append("\n".join(_told(notes)))
    return "\n\n".join(parts)


def _told(notes):
    """A line for each, and one for all that differ in their numbers alone: the first of them."""
    alike = {}
    for note in notes:
        alike.setdefault(re.sub(r"\d+", "0", note), []).append(note)
    for first, *others in alike.values():
        more = f" (and {len(others)} more, alike but for numbers)" if others else ""
        yield f"- {first}{more}"


def _row(name, rounds):
    bad = sum(not result.is_good for result in rounds)
    return [
        name,
        "held" if not bad else f"FAILED {bad} of {len(rounds)}",
        str(len(rounds)),
        f"{sum(result.operations for result in rounds):,}",
        f"{max(result.pause_s for result in rounds):.2f} s",
        f"{max(result.write_pause_s for result in rounds):.2f} s",
        f"{sum(result.failed for result in rounds):,}",
        f"{sum(result.unknown for result in rounds):,}",
        str(sum(len(result.violations) for result in rounds)),
    ]


def _first_line(text):
    return text.splitlines()[0][:400]


def save(path, started, minutes, described, seed, command, rounds, skipped, failed):
    """All that was found out."""
    content = {
        "started": started.isoformat(timespec="seconds"),
        "minutes": round(minutes, 2),
        "seed": seed,
        "command": command,
        "machine": described,
        "rounds": [dataclasses.asdict(result) for result in rounds],
        "skipped": skipped,
        "failed": failed,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def section(started, minutes, seed, described, text):
    """What is written into the document."""
    machine = "\n".join(f"- {what}: {which}" for what, which in described.items())
    return (
        f"Run on {started:%-d %B %Y}, {minutes:.0f} minutes, seed {seed}:\n\n{machine}\n\n{text}"
    )
