"""The tables of the scale run: a column for each decade, and what is to be reached."""

from report import figure, table, targets_table
from summary import Target

BEGIN = "<!-- scripts/bench.sh --scale writes from here -->"
END = "<!-- to here: scale -->"

# What stands in a line, and the figures of it.
LINES = [
    ("entries/s while filling", "entries_fill_per_s"),
    ("identifiers/s while filling", "identifiers_fill_per_s"),
    ("checks/s, any identifier", "check_rate"),
    ("  p50 ms", "check_p50_ms"),
    ("  p99 ms", "check_p99_ms"),
    ("  CPU s/1,000", "check_cpu_per_1000_s"),
    ("checks/s, 10,000 of them", "hot_rate"),
    ("  CPU s/1,000", "hot_cpu_per_1000_s"),
    ("  taken by other processes, the most", "others_share"),
    ("checks at half the peak, a second", "half_rate"),
    ("  p50 ms", "half_p50_ms"),
    ("  p99 ms", "half_p99_ms"),
    ("  longest ms", "half_max_ms"),
    ("memory MiB after the entries", "entries_memory_mib"),
    ("  after the identifiers", "identifiers_memory_mib"),
    ("  after the checks", "checks_memory_mib"),
    ("  the most ever", "memory_most_mib"),
    ("disk MiB after the entries", "entries_disk_mib"),
    ("  after the identifiers", "disk_mib"),
    ("  bytes of rows an entry", "entry_disk_bytes"),
    ("  bytes of rows an identifier", "identifier_disk_bytes"),
    ("query p50 ms", "query_p50_ms"),
    ("  p99 ms", "query_p99_ms"),
    ("  longest ms", "query_max_ms"),
    ("  entries found, mean", "query_entries"),
    ("  p50 ms where none is asked for", "query_empty_p50_ms"),
    ("  p99 ms where none is asked for", "query_empty_p99_ms"),
    ("export MB", "export_mb"),
    ("  MB/s", "export_mb_per_s"),
    ("  MB/s of the file through axum", "file_mb_per_s"),
    ("  growth of memory MiB", "export_growth_mib"),
    ("start to ready s, after SIGTERM", "ready_s"),
    ("  after kill -9 under load", "ready_killed_s"),
    ("snapshot MiB", "snapshot_mib"),
    ("  of it copied MiB", "snapshot_copied_mib"),
    ("  build ms", "snapshot_ms"),
    ("  longest build ms", "snapshot_max_ms"),
    ("  p99 ms of checks at half the peak", "building_p99_ms"),
    ("  longest ms of such a check", "building_max_ms"),
    ("wiped node rejoins at 2,000 checks/s, s", "rejoin_s"),
    ("  at half the peak, s", "sending_s"),
    ("  MiB", "sending_mib"),
    ("  p99 ms of checks at 2,000/s", "rejoin_p99_ms"),
    ("  p99 ms at half the peak", "sending_p99_ms"),
    ("  worst two seconds' p99 ms", "sending_worst_p99_ms"),
    ("  p99 ms before it comes", "sending_before_p99_ms"),
    ("a day expires in s", "expiry_s"),
    ("  CPU s", "expiry_cpu_s"),
    ("  MiB given back", "expiry_freed_mib"),
    ("  p99 ms of checks", "expiry_p99_ms"),
    ("  longest ms of a check", "expiry_max_ms"),
    ("  p99 ms, jump of the clock alone", "jump_p99_ms"),
    ("  longest ms, jump of the clock alone", "jump_max_ms"),
]


def tables(found, failures):
    """`found`: figures by decade. The tables as Markdown, and what failed."""
    counts = sorted(found)
    rows = [
        [what, *(figure(found[count].get(name)) for count in counts)]
        for what, name in LINES
        if any(name in found[count] for count in counts)
    ]
    header = ["identifiers, and as many entries", *(f"{count:,}" for count in counts)]
    parts = [table(header, rows, left=1), targets_table(targets(found))]
    parts += ["\n".join(f"- Failed: {failure}" for failure in failures)]
    return "\n\n".join(part for part in parts if part)


def targets(found):
    """The bounds, by the smallest and the largest decade."""
    least, most = found[min(found)], found[max(found)]
    among = f"{max(found):,}"
    cost, hot = "check_cpu_per_1000_s", "hot_cpu_per_1000_s"

    def ratio(name):
        if len(found) < 2 or name not in least or name not in most:
            return None
        return most[name] / least[name]

    # Of one cluster in one minute: steadier than what was measured half an hour apart.
    within = most[cost] / most[hot] if hot in most else None

    def at_most(what, goal, measured):
        return Target(what, goal, None, True, measured)

    return [
        at_most(f"CPU per check, {among} identifiers ÷ {min(found):,}", 1.3, ratio(cost)),
        at_most("  ÷ 10,000 of them in the same minute", 1.3, within),
        at_most("memory of a node, the most, MiB", 1024, most.get("memory_most_mib")),
        at_most("growth of memory by an export, MiB", 64, most.get("export_growth_mib")),
        Target("export ÷ file through axum, MB/s", 0.25, None, False, most.get("export_ratio")),
        at_most("query of 100 entries, p99 ms", 5, most.get("query_p99_ms")),
        at_most("start to ready, s", 5, most.get("ready_s")),
        at_most("start to ready after kill -9, s", 5, most.get("ready_killed_s")),
        at_most("p99 of checks at half the peak, ms", 10, most.get("half_p99_ms")),
        at_most("  while snapshots are built, ms", 20, most.get("building_p99_ms")),
        at_most("  while one is built and sent, ms", 20, most.get("sending_p99_ms")),
    ]
