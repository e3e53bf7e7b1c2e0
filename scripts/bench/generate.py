"""Load by `tallykeep bench`, which looks at every answer, beside the nodes' CPU time."""

import dataclasses
import json
import os
import subprocess
import time

from processes import Failure, cpu_seconds, machine_cpu_seconds, own_cpu_seconds
from tallykeep import NODES

CONNECTIONS = 256
# Begins all identifiers, so that each load meets those that were filled.
PREFIX = "user-"
# Longer than any run: what is filled stays.
WINDOW = "60d"
# What a run may take beyond its time: connecting, and answers that are late.
GRACE_S = 60


@dataclasses.dataclass(frozen=True)
class Answers:
    """What one run of one operation came to."""

    answered: int
    seconds: float
    rate: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    # Requests without a good answer: refused for now, lost, or never sent.
    errors: int
    # Of all nodes, in seconds per 1,000 answers.
    cpu_per_1000_s: float
    # What else ran or was held back on the machine meanwhile, as a part of all its cores' time.
    others_share: float


class Generator:
    """`tallykeep bench` against all nodes, or some."""

    def __init__(self, binary):
        self.binary = binary

    def fill(self, nodes, operation, count, keys):
        """Sends `count` requests, identifiers in order."""
        arguments = ["--requests-total", str(count), "--distribution", "sequential"]
        return self._run(nodes, operation, keys, arguments, timeout_s=3600)

    def closed(self, nodes, seconds, keys):
        """As many checks as are answered, identifiers by chance, each as likely."""
        return self._run(nodes, "check", keys, _lasting(seconds), seconds + GRACE_S)

    def open(self, nodes, seconds, keys, rate, at=None):
        """So many checks a second, whatever is answered, identifiers by Zipf's law."""
        # Not counted: a second in which the connections are made.
        arguments = ["--duration", f"{seconds}s", "--warm-up", "1s"]
        arguments += ["--rate", str(rate), "--distribution", "zipf"]
        return self._run(nodes, "check", keys, arguments, seconds + 1 + GRACE_S, at)

    def _run(self, nodes, operation, keys, arguments, timeout_s, at=None):
        endpoints = at or NODES
        command = [self.binary, "bench", "--json", "--mix", f"{operation}=1"]
        command += ["--connections", CONNECTIONS, "--keys", keys]
        command += ["--prefix", PREFIX, "--window", WINDOW]
        for node in endpoints:
            command += ["--endpoint", f"http://{NODES[node]}"]
        command = [str(part) for part in command + arguments]
        # A node that comes and goes meanwhile has no CPU time to be compared.
        pids = nodes.pids(*endpoints)
        before = _cpu(pids)
        try:
            done = subprocess.run(
                command,
                env=os.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            nodes.check_alive()
            raise Failure(f"tallykeep bench did not end in time: {command}") from error
        nodes.check_alive()
        cpu, own, machine, passed = (now - then for now, then in zip(_cpu(pids), before))
        if done.returncode != 0:
            raise Failure(f"tallykeep bench: {done.stderr.strip()[-500:] or done.stdout[-500:]}")
        summary = json.loads(done.stdout)
        found = summary["operations"][operation]
        return Answers(
            answered=found["answered"],
            seconds=summary["elapsed_ms"] / 1000,
            rate=found["rate_per_s"],
            p50_ms=found["p50_ms"],
            p99_ms=found["p99_ms"],
            max_ms=found["max_ms"],
            errors=found["errors"] + summary["unsent"],
            cpu_per_1000_s=cpu * 1000 / found["answered"],
            others_share=max(0.0, machine - cpu - own) / (os.cpu_count() * passed),
        )


def _cpu(pids):
    """CPU seconds of these processes, of ours, and of the machine; and the time."""
    return cpu_seconds(pids), own_cpu_seconds(), sum(machine_cpu_seconds()), time.monotonic()


def _lasting(seconds):
    return ["--duration", f"{seconds}s", "--warm-up", "0s"]
