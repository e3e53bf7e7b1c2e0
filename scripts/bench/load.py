"""Load: one run of wrk, or of our own generator for the peers that do not speak HTTP, as a row."""

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from processes import Failure, cpu_seconds, machine_cpu_seconds, own_cpu_seconds

IDENTIFIERS = 10_000
# The guide's window.
WINDOW_MS = 60_000
# What a generator may take beyond its time: connecting, making its requests, reporting.
GRACE_S = 30
# wrk drops latencies beyond its timeout. Longer than a node takes to give up on a request.
WRK_TIMEOUT_S = 20
WRK_SCRIPT = Path(__file__).with_name("wrk.lua")
# Of the refused load, this part is over its limit; see wrk.lua.
REFUSED_SHARE = 0.95
WARM_UPS_MAX = 20


def in_words(connections):
    """A number of connections, as people write it."""
    return f"{connections} connection{'' if connections == 1 else 's'}"


@dataclasses.dataclass
class Row:
    """What one run of load measured."""

    system: str
    # What was asked for, in a word or two.
    load: str
    connections: int
    round: int
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    # User and system time of all of the system's processes, in seconds per 1,000 requests.
    cpu_per_1000_s: float
    # The same of the load generator.
    generator_cpu_per_1000_s: float
    # What else ran or was held back on the machine meanwhile, as a part of all its cores' time.
    others_share: float
    # Transactions that met a conflict and were tried again.
    retries: int = 0

    @property
    def rate(self):
        """Requests a second."""
        return self.requests / self.seconds


@dataclasses.dataclass(frozen=True)
class Load:
    """What is sent, by which program, to whom."""

    # As it stands in the tables; the first word is its kind.
    name: str
    connections: int
    # Given a duration in seconds, whether to verify each answer, and the connections: a command
    # and what it needs in its environment. It prints a line of JSON last.
    command: Callable
    # Whether nearly all requests are to be refused.
    refused: bool = False

    def __str__(self):
        return f"{self.name}, {in_words(self.connections)}"

    @property
    def kind(self):
        """check, refused or log."""
        return self.name.split()[0]


def wrk(nodes, load, identifiers=IDENTIFIERS, window_ms=WINDOW_MS):
    """A command of `Load` for wrk, which loads each of `nodes` ("host:port") with a thread of its
    own. One node is loaded by three threads too, so that all systems meet the same generator."""

    def command(seconds, verify, connections):
        # A thread has a third of the connections, rounded down; wrk insists on one for each.
        threads = min(3, connections)
        arguments = [
            "wrk",
            f"--threads={threads}",
            f"--connections={connections}",
            f"--duration={seconds}s",
            f"--timeout={WRK_TIMEOUT_S}s",
            f"--script={WRK_SCRIPT}",
            f"http://{nodes[0]}",
        ]
        environment = {
            "BENCH_NODES": ",".join(nodes),
            "BENCH_LOAD": load,
            "BENCH_IDENTIFIERS": str(identifiers),
            "BENCH_WINDOW_MS": str(window_ms),
            "BENCH_VERIFY": "1" if verify else "0",
        }
        return arguments, environment

    return command


def generator(binary, peer, address):
    """A command of `Load` for our own generator, `benches/peers`, which verifies each answer."""

    def command(seconds, _verify, connections):
        arguments = [
            binary,
            peer,
            f"--address={address}",
            f"--connections={connections}",
            f"--seconds={seconds}",
            f"--identifiers={IDENTIFIERS}",
        ]
        return [str(argument) for argument in arguments], {}

    return command


def warm_up(load, seconds):
    """Runs a load for a moment, looking at each answer; fails if one is not what it should be.

    It may take several moments: a slow system gives no answer in the first, and what is to be
    refused has its limit reached here."""
    where = str(load)
    for _ in range(WARM_UPS_MAX):
        report = _run(load, seconds, verify=True)
        answers, wrong = report["answers"], report["wrong"]
        if wrong > 0:
            raise Failure(
                f"{where}: {wrong} wrong answers of {answers}, for instance: {report['example']}"
            )
        if answers == 0:
            continue
        if not load.refused or _is_refused_share(report["refused"] / answers, 0.005):
            return
    raise Failure(f"{where}: of {answers} answers {report['refused']} were refused")


def _is_refused_share(share, tolerance):
    return abs(share - REFUSED_SHARE) < tolerance


def measure(load, seconds, system, pids, number):
    """Runs a load and measures it beside the CPU time of `pids`, in round `number`.

    Fails if requests failed, or if more or fewer were refused than should be."""
    cores = os.cpu_count()
    servers, (busy, stolen), own = cpu_seconds(pids), machine_cpu_seconds(), own_cpu_seconds()
    report = _run(load, seconds, verify=False)
    servers = cpu_seconds(pids) - servers
    own = own_cpu_seconds() - own
    busy_now, stolen_now = machine_cpu_seconds()
    others = busy_now - busy + stolen_now - stolen - servers - own

    requests = report["requests"]
    where = str(load)
    if requests == 0:
        raise Failure(f"{where}: no request was answered")
    if report["broken"] > 0:
        raise Failure(f"{where}: {report['broken']} requests broke off or timed out")
    refused = report["status"] / requests
    if not _is_refused_share(refused, 0.01) if load.refused else refused > 0:
        raise Failure(f"{where}: {refused:.2%} of the answers have a status of 400 or more")
    return Row(
        system=system,
        load=load.name,
        connections=load.connections,
        round=number,
        requests=requests,
        seconds=report["seconds"],
        p50_ms=report["p50_us"] / 1000,
        p99_ms=report["p99_us"] / 1000,
        max_ms=report["max_us"] / 1000,
        cpu_per_1000_s=servers * 1000 / requests,
        generator_cpu_per_1000_s=own * 1000 / requests,
        others_share=max(0.0, others / (cores * report["seconds"])),
        retries=report.get("retries", 0),
    )


def _run(load, seconds, verify):
    command, environment = load.command(seconds, verify, load.connections)
    where = str(load)
    try:
        done = subprocess.run(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + WRK_TIMEOUT_S + GRACE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{where}: {command[0]} did not end in time") from error
    except OSError as error:
        raise Failure(f"{where}: {command[0]} does not start: {error}") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines or not lines[-1].startswith("{"):
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise Failure(f"{where}: {command[0]} ended with code {done.returncode}: {said}")
    return json.loads(lines[-1])
