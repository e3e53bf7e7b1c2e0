"""Measures how tallykeep bears many identifiers and entries. scripts/bench.sh --scale runs it."""

import argparse
import datetime
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import machine
import report
import scale_report
from decade import FILE_BYTES_MAX, YARDSTICK_PORT, Decade, say
from nodes import PORTS
from processes import Failure, listens

# What an identifier and an entry may take on the disks of three nodes, at the worst moment: rows,
# logs, what compactions have not removed yet, and a snapshot for a node that rejoins.
ROW_DISK_BYTES = 3_000
# Logs and write-ahead logs, however little there is.
LEAST_DISK_BYTES = 3 * 1024**3


def _absolute(text):
    # The processes run in folders of their own.
    return Path(text).resolve()


def _numbers(text):
    return sorted(int(number) for number in text.split(","))


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh --scale")
    parser.add_argument("--rows", type=_numbers, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--binary", type=_absolute, required=True)
    parser.add_argument("--echo", type=_absolute, required=True)
    parser.add_argument("--output", type=_absolute, required=True)
    parser.add_argument("--document", type=Path)
    # No peers: what `machine` asks for.
    parser.set_defaults(systems=[], workerd=None)
    return parser.parse_args()


def main():
    options = arguments()
    # The finally clauses below end what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    taken = [port for port in [*PORTS, YARDSTICK_PORT] if listens(port)]
    if taken:
        say(f"error: taken by another process: port {', '.join(map(str, taken))}")
        say("Perhaps a cluster runs: scripts/cluster.sh stop ends it.")
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    needed = max(options.rows) * ROW_DISK_BYTES + FILE_BYTES_MAX + LEAST_DISK_BYTES
    free = shutil.disk_usage(options.output).free
    say(f"Needs up to {needed / 1024**3:.0f} GiB of disk; {free / 1024**3:.0f} GiB are free.")
    if free < needed:
        say("error: too little; fewer --rows need less")
        return 1

    started = datetime.datetime.now(datetime.timezone.utc)
    began = time.monotonic()
    # Beside the build and not in /tmp, which may be memory: a sync has to reach a disk.
    data = Path(tempfile.mkdtemp(prefix="data-", dir=options.output))
    described = machine.describe(data, options)
    # wrk has no part in this.
    described.pop("load", None)
    if told := machine.page_cache():
        described["page cache"] = told
    found, failures = {}, []
    try:
        for count in options.rows:
            decade = Decade(count, options, data / str(count))
            try:
                found[count] = decade.run()
            except Failure as failure:
                # What was measured before it still stands.
                found[count] = decade.figures
                failures.append(f"{count:,}: {failure}")
                say(f"error: {count:,}: {failure}")
    finally:
        shutil.rmtree(data, ignore_errors=True)

    raw = options.output / f"scale-{started:%Y%m%dT%H%M%SZ}.json"
    content = {
        "started": started.isoformat(timespec="seconds"),
        "minutes": (time.monotonic() - began) / 60,
        "machine": described,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "figures": {str(count): figures for count, figures in found.items()},
        "failures": failures,
    }
    raw.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    text = scale_report.tables(found, failures)
    print(text)
    if options.document is not None:
        section = report.section(started, described, options, text)
        report.write(options.document, section, scale_report.BEGIN, scale_report.END)
        say(f"Written to {options.document}.")
    say(f"All figures: {raw}")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
