"""Our three nodes with settings of their own, started, ended and looked into one by one."""

import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from processes import Failure, Servers, cpu_seconds, wait_until
from tallykeep import NODES, PEER_PORTS

ROOT = Path(__file__).resolve().parents[2]
PORTS = [int(address.rpartition(":")[2]) for address in NODES.values()] + PEER_PORTS
READY_TIMEOUT_S = 600
ANSWER_TIMEOUT_S = 10
# A disk is quiet once what it holds has not changed for so long; it may never be, under load.
QUIET_S = 2
QUIET_TIMEOUT_S = 90


class Nodes:
    """Three nodes on cluster/node*.toml, but for the settings that are given."""

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = folder
        self.servers = {node: Servers(folder) for node in NODES}
        # Read once: who works on the files meanwhile does not change what is measured.
        self.texts = {
            node: (ROOT / f"cluster/node{node}.toml").read_text(encoding="utf-8") for node in NODES
        }
        folder.mkdir()
        shutil.copy(ROOT / "cluster/wrangler.toml", folder)

    def configure(self, **settings):
        """Sets top-level settings of all nodes, such as retention='"30d"'; for their next start."""
        for node, text in self.texts.items():
            # What is before the first table; tables have settings of the same names.
            top, table, rest = text.partition("\n[")
            for name, value in settings.items():
                top, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", top)
                if found != 1:
                    raise Failure(f"cluster/node{node}.toml has no line {name} = ...")
            text = top + table + rest
            (self.folder / f"node{node}.toml").write_text(text, encoding="utf-8")

    def start(self, *nodes, environment=None):
        """Starts these nodes, or all; gives the seconds until all of them were ready."""
        nodes = nodes or tuple(NODES)
        began = time.monotonic()
        for node in nodes:
            self.spawn(node, environment)
        for node in nodes:
            self.servers[node].wait_until(
                lambda node=node: self.is_ready(node), READY_TIMEOUT_S, f"node {node} is ready"
            )
        return time.monotonic() - began

    def spawn(self, node, environment=None):
        """Starts a node and does not wait for it."""
        command = [self.binary, "serve", "--log-format", "json"]
        command += ["--config", self.folder / f"node{node}.toml", "--data", self.data(node)]
        share = max(1, (os.cpu_count() or 1) // len(NODES))  # as scripts/cluster.sh does
        threads = {"TOKIO_WORKER_THREADS": str(share)}
        self.servers[node].spawn(f"node{node}", command, threads | os.environ | (environment or {}))

    def stop(self, *nodes):
        """SIGTERM, all at once."""
        Servers.stop_all([self.servers[node] for node in nodes or NODES])

    def kill(self):
        """SIGKILL, all at once."""
        for servers in self.servers.values():
            servers.kill()

    def wipe(self, node):
        """Removes the data of a node that does not run."""
        shutil.rmtree(self.data(node))

    def data(self, node):
        return self.folder / f"node{node}"

    def is_ready(self, node):
        try:
            with urllib.request.urlopen(f"http://{NODES[node]}/readyz", timeout=1):
                return True
        except urllib.error.HTTPError:
            return False

    def check_alive(self):
        for servers in self.servers.values():
            servers.check_alive()

    def pids(self, *nodes):
        return [pid for node in nodes or NODES for pid in self.servers[node].pids()]

    def cpu_seconds(self):
        return cpu_seconds(self.pids())

    def memory_bytes(self, node, figure="VmRSS"):
        """VmRSS, what is resident now, or VmHWM, the most that was."""
        (pid,) = self.pids(node)
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == figure:
                return int(value.removesuffix("kB")) * 1024
        raise Failure(f"no {figure} of node {node}")

    def memory_most_bytes(self, figure="VmRSS"):
        """Of the node that has most."""
        return max(self.memory_bytes(node, figure) for node in NODES)

    def disk_bytes(self, node):
        """What the node's files take on the disk; a file of several names counts once."""
        return sum(found.st_blocks * 512 for found in self._files(node, "**/*"))

    def disk_most_bytes(self):
        """Of the node that has most."""
        return max(self.disk_bytes(node) for node in NODES)

    def rows_bytes(self):
        """What the tables of the state take, of the node where they take most. What RocksDB makes
        beside them takes a few MiB however much they hold."""
        return max(
            sum(found.st_size for found in self._files(node, "state/**/*.sst")) for node in NODES
        )

    def _files(self, node, pattern):
        """What is known of each of the node's files."""
        files = {}
        for path in self.data(node).glob(pattern):
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            files[found.st_ino] = found
        return files.values()

    def wait_until_quiet(self):
        """Waits until the disks are quiet: compactions have ended. Gives up after a while."""
        last, since = None, time.monotonic()
        deadline = since + QUIET_TIMEOUT_S
        while time.monotonic() - since < QUIET_S and time.monotonic() < deadline:
            # Heartbeats are no writes; a few pages of a log may be.
            now = [self.disk_bytes(node) >> 20 for node in NODES]
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.2)

    def leader(self):
        """The id of the node that leads; waits for one."""
        found = []

        def one_leads():
            with urllib.request.urlopen(
                f"http://{NODES[1]}/admin/cluster", timeout=ANSWER_TIMEOUT_S
            ) as answer:
                nodes = json.load(answer)["nodes"]
            found[:] = [node["id"] for node in nodes if node["role"] == "leader"]
            return len(found) == 1

        wait_until(one_leads, READY_TIMEOUT_S, "one node leads")
        return found[0]

    def log_sizes(self):
        """How long the nodes' logs are: a mark for `events`."""
        return {node: self._log(node).stat().st_size for node in NODES}

    def events(self, message, since):
        """The fields of all log lines with that message since a mark, of all nodes."""
        for node in NODES:
            with open(self._log(node), "rb") as file:
                file.seek(since[node])
                for line in file.read().splitlines():
                    if line.startswith(b"{") and message.encode() in line:
                        fields = json.loads(line)["fields"]
                        if fields["message"] == message:
                            yield fields

    def _log(self, node):
        return self.folder / f"node{node}.log"
