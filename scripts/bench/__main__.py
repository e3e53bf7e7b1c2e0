"""Measures tallykeep beside its peers. scripts/bench.sh prepares what this needs, and runs it."""

import argparse
import dataclasses
import datetime
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import load
import machine
import report
from peers import Echo, Etcd, Redis, Workerd
from processes import Failure, listens
from tallykeep import Tallykeep

# In the order in which they run in each round.
SYSTEMS = {system.name: system for system in (Tallykeep, Echo, Redis, Workerd, Etcd)}


def arguments():
    def names(text):
        return text.split(",")

    def connections(text):
        # From many to few: the first rows make all identifiers known, so that those of one
        # connection, which show what a request takes by itself, meet a system that is warm.
        return sorted({int(number) for number in names(text)}, reverse=True)

    parser = argparse.ArgumentParser(prog="scripts/bench.sh")
    parser.add_argument("--systems", type=names, required=True)
    parser.add_argument("--loads", type=names, required=True)
    parser.add_argument("--connections", type=connections, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--skipped", action="append", default=[])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--echo", type=Path, required=True)
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--workerd", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--document", type=Path)
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


@dataclasses.dataclass
class Run:
    """What has been measured so far."""

    rows: list
    # (system, round, why)
    failures: list


def main():
    options = arguments()
    # The finally clauses below end what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    systems = [SYSTEMS[name](options) for name in SYSTEMS if name in options.systems]
    taken = [(system.name, port) for system in systems for port in system.ports if listens(port)]
    if taken:
        for name, port in taken:
            say(f"error: port {port}, which {name} needs, is taken by another process")
        if any(name == Tallykeep.name for name, _ in taken):
            say("Perhaps a cluster runs: scripts/cluster.sh stop ends it.")
        return 1

    started = datetime.datetime.now(datetime.timezone.utc)
    options.output.mkdir(parents=True, exist_ok=True)
    # Beside the build and not in /tmp, which may be memory: a sync has to reach a disk.
    data = Path(tempfile.mkdtemp(prefix="data-", dir=options.output))
    described = machine.describe(data, options)
    run = Run(rows=[], failures=[])
    try:
        for number in range(1, options.rounds + 1):
            for system in systems:
                measure(system, number, data, options, run)
    finally:
        shutil.rmtree(data, ignore_errors=True)

    raw = options.output / f"peers-{started:%Y%m%dT%H%M%SZ}.json"
    save(raw, started, described, options, run)
    text = report.tables(run.rows, run.failures, options.skipped)
    print(text)
    if options.document is not None:
        report.write(options.document, report.section(started, described, options, text))
        say(f"Written to {options.document}.")
    say(f"The single rows: {raw}")
    return 1 if any(system == Tallykeep.name for system, _, _ in run.failures) else 0


def measure(system, number, data, options, run):
    """One system's rows of one round. A failure is noted, and the next system's turn comes."""
    folder = data / system.name
    if not system.keeps_data:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    try:
        try:
            system.start(folder)
            # The first moment of a system is its slowest, whatever it is asked.
            warm_up = 3 * options.warm_up
            for wanted in system.loads():
                if wanted.kind in options.loads:
                    load.warm_up(wanted, warm_up)
                    warm_up = options.warm_up
                    row = load.measure(
                        wanted, options.seconds, system.name, system.pids(), number
                    )
                    run.rows.append(row)
                    say(report.line(row))
        except Failure:
            # That a process has ended says more than that requests failed.
            system.check_alive()
            raise
        finally:
            system.stop()
    except Exception as failure:  # Whatever it is, the other systems are still to be measured.
        why = str(failure) if isinstance(failure, Failure) else repr(failure)
        run.failures.append((system.name, number, why))
        say(f"error: {system.name}, round {number}: {why}")


def save(path, started, described, options, run):
    """All that was measured, as JSON."""
    content = {
        "started": started.isoformat(timespec="seconds"),
        "machine": described,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": [dataclasses.asdict(row) | {"rate": row.rate} for row in run.rows],
        "failures": [
            {"system": system, "round": number, "why": why}
            for system, number, why in run.failures
        ],
        "skipped": options.skipped,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
