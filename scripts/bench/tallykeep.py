"""Our three nodes, run by scripts/cluster.sh."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

from load import Load, wrk
from processes import Failure, last_lines, start_ticks

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60

NODES = {1: "127.0.0.1:7001", 2: "127.0.0.1:7002", 3: "127.0.0.1:7003"}
PEER_PORTS = [7101, 7102, 7103]


class Tallykeep:
    """Three nodes, every one of them loaded."""

    name = "tallykeep"
    ports = [int(node.rpartition(":")[2]) for node in NODES.values()] + PEER_PORTS
    keeps_data = False

    def __init__(self, options):
        self.options = options
        self.folder = None
        # What each process is known by: its pid, and when it started.
        self.processes = {}

    def start(self, folder):
        self.folder = folder
        self._cluster("start", START_TIMEOUT_S)
        for node in NODES:
            pid, _ = (folder / f"node{node}.pid").read_text(encoding="ascii").split()
            self.processes[node] = (int(pid), start_ticks(int(pid)))

    def pids(self):
        return [pid for pid, _ in self.processes.values()]

    def check_alive(self):
        for node, (pid, started) in self.processes.items():
            if start_ticks(pid) != started:
                raise Failure(f"node {node} ended{last_lines(self.folder / f'node{node}.log')}")

    def stop(self):
        if self.folder is not None:
            self._cluster("stop", STOP_TIMEOUT_S)
        self.folder, self.processes = None, {}

    def loads(self):
        nodes = list(NODES.values())
        for connections in self.options.connections:
            if connections == 1:
                leader = _leader()
                follower = NODES[leader % len(NODES) + 1]
                yield Load("check", 1, wrk([NODES[leader]], "check"))
                yield Load("check at a follower", 1, wrk([follower], "check"))
            else:
                yield Load("check", connections, wrk(nodes, "check"))
        many = [connections for connections in self.options.connections if connections >= 64]
        for connections in many:
            yield Load("refused", connections, wrk(nodes, "refused"), refused=True)
        # Last, for these grow the log that all of them share.
        for connections in many:
            yield Load("log", connections, wrk(nodes, "log"))

    def _cluster(self, command, timeout_s):
        environment = os.environ | {
            "TALLYKEEP_DATA": str(self.folder),
            "TALLYKEEP_BIN": str(self.options.binary),
        }
        try:
            done = subprocess.run(
                [ROOT / "scripts/cluster.sh", command],
                env=environment,
                stdin=subprocess.DEVNULL,
                # Not a pipe: the nodes would hold it open.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failure(f"scripts/cluster.sh {command}: not within {timeout_s} s") from error
        if done.returncode != 0:
            raise Failure(f"scripts/cluster.sh {command}: {done.stderr.strip()}")


def _leader():
    """The id of the node that leads now."""
    with urllib.request.urlopen(f"http://{NODES[1]}/admin/cluster", timeout=5) as answer:
        nodes = json.load(answer)["nodes"]
    leaders = [node["id"] for node in nodes if node["role"] == "leader"]
    if len(leaders) != 1:
        raise Failure(f"{len(leaders)} nodes lead")
    return leaders[0]
