"""Breaks three real nodes in every way it knows, and checks all that clients were told meanwhile.

scripts/chaos.sh builds what this needs, and runs it."""

import argparse
import asyncio
import datetime
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

# What the benchmarks have already: processes, tables, the machine's description, a false clock.
sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))

import fault_disk  # noqa: E402
import fault_network  # noqa: E402
import fault_processes  # noqa: E402
import isolation  # noqa: E402
import machine  # noqa: E402
import preload  # noqa: E402
import report  # noqa: E402
import results  # noqa: E402
from cluster import Cluster  # noqa: E402
from faults import Fault  # noqa: E402
from network import NODES, Loopback, Namespaces  # noqa: E402
from processes import Failure, listens  # noqa: E402
from rounds import QUICK, Rounds, Timing  # noqa: E402

FAULTS = {
    fault.name: fault
    for module in (fault_processes, fault_network, fault_disk)
    for fault in vars(module).values()
    if isinstance(fault, type) and issubclass(fault, Fault) and fault is not Fault
}
QUICK_FAULTS = ("kill-leader", "pause-leader", "partition-leader", "kill-all")


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/chaos.sh")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("--document", type=Path)
    parser.add_argument("--binary", type=lambda text: Path(text).resolve())
    parser.add_argument("--output", type=lambda text: Path(text).resolve())
    # What `machine` asks for.
    parser.set_defaults(systems=[], workerd=None)
    options = parser.parse_args()
    for name in options.only or ():
        if name not in FAULTS:
            parser.error(f"there is no fault '{name}'; --list tells them")
    return options


def say(text):
    moment = datetime.datetime.now(datetime.timezone.utc)
    print(f"{moment:%H:%M:%S.%f}"[:-3], text, file=sys.stderr, flush=True)


def main():
    options = arguments()
    if options.list:
        for name, fault in FAULTS.items():
            print(f"{name:<20} {fault.what}")
        return 0
    # The finally clauses below end what was started. Also when a shell has us ignore Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    seed = random.SystemRandom().randrange(1, 1 << 31) if options.seed is None else options.seed
    started = datetime.datetime.now(datetime.timezone.utc)
    options.output.mkdir(parents=True, exist_ok=True)
    # Beside the build and not in /tmp, which may be memory: a sync has to reach a disk.
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=options.output))
    described = machine.describe(folder, options)
    # The benchmarks' own load.
    described.pop("load", None)
    unavailable = {}
    why = "asked for" if options.loopback else isolation.enter()
    if why:
        say(f"no network namespaces ({why}): all nodes on loopback, no faults of the network")
        unavailable["network"] = unavailable["mount"] = f"no namespaces ({why})"
        network = Loopback()
        taken = [port for node in NODES for _, port in (network.http(node), network.peer(node))
                 if listens(port)]
        if taken:
            say(f"error: taken by another process: port {', '.join(map(str, taken))}")
            return 1
    else:
        network = Namespaces(seed)
    if missing := preload.unavailable():
        unavailable["preload"] = missing
    described["network"] = network.name

    is_good = False
    try:
        preloads = {} if missing else _preloads(folder)
        cluster = Cluster(options.binary, folder, network, preloads)
        is_good = asyncio.run(
            _run(options, seed, started, described, cluster, network, unavailable)
        )
    finally:
        if "cluster" in locals():
            cluster.kill()
        network.close()
        if is_good and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"The nodes' logs and data are in {folder}")
    return 0 if is_good else 1


def _preloads(folder):
    found = {}
    for node in NODES:
        own = folder / f"preload{node}"
        own.mkdir()
        found[node] = preload.Preload(own)
    return found


def _planned(options, seed, possible):
    """The faults, in their order; without an end if there is a time to be filled."""
    randomness = random.Random(f"{seed}/order")
    if options.only:
        wanted = [name for name in options.only if name in possible]
    elif options.quick:
        wanted = [name for name in QUICK_FAULTS if name in possible]
    else:
        wanted = list(possible)
    if options.minutes is None:
        yield from wanted
        return
    while wanted:
        # Each once before any comes again.
        randomness.shuffle(wanted)
        yield from wanted


async def _run(options, seed, started, described, cluster, network, unavailable):
    chosen = options.only or (QUICK_FAULTS if options.quick else FAULTS)
    skipped = {
        name: unavailable[need]
        for name in chosen
        for need in FAULTS[name].needs
        if need in unavailable
    }
    for name, why in skipped.items():
        say(f"Skipped: {name}: {why}")
    possible = [name for name in FAULTS if name not in skipped]
    repeated = _command(options, seed)
    say(f"seed {seed}; again: {repeated}")
    began = time.monotonic()
    rounds = Rounds(cluster, network, seed, QUICK if options.quick else Timing(), say)
    failed = []
    try:
        cluster.start()
        await cluster.wait_ready()
        for name in _planned(options, seed, possible):
            if options.minutes is not None and time.monotonic() - began > options.minutes * 60:
                break
            await rounds.run(FAULTS[name])
        await rounds.look_back()
    except Failure as failure:
        failed.append(str(failure))
        say(f"error: {failure}")
    finally:
        # What was found so far is worth telling, whatever ends the run.
        minutes = (time.monotonic() - began) / 60
        done = [result for result in rounds.done if result.is_finished]
        text = results.table(done, skipped, failed)
        print(text, flush=True)
        raw = options.output / f"chaos-{started:%Y%m%dT%H%M%SZ}.json"
        results.save(raw, started, minutes, described, seed, repeated, done, skipped, failed)
        say(f"All of it: {raw}")
    is_good = not failed and all(result.is_good for result in done)
    if options.document is not None:
        section = results.section(started, minutes, seed, described, text)
        report.write(options.document, section, results.BEGIN, results.END)
        say(f"Written to {options.document}.")
    if not is_good:
        say(f"FAILED. Seed {seed}; again: {repeated}")
    return is_good


def _command(options, seed):
    """The command that has the same faults meet the same nodes; not at the very same moments."""
    parts = ["scripts/chaos.sh", "--seed", str(seed)]
    if options.quick:
        parts.append("--quick")
    if options.only:
        parts += ["--only", ",".join(options.only)]
    if options.minutes is not None:
        parts += ["--minutes", f"{options.minutes:g}"]
    if options.loopback:
        parts.append("--loopback")
    return " ".join(parts)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        say(f"error: {failure}")
        sys.exit(1)
