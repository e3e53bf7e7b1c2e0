"""Three nodes: their configuration, their processes, and what they say of themselves."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time

from network import NODES
from processes import Failure, last_lines
from wire import Client, Lost, NotSent

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15
EQUAL_TIMEOUT_S = 30
CAUGHT_UP_TIMEOUT_S = 15
POLL_S = 0.02
# Long: a hash reads all the state, an export all entries.
READ_TIMEOUT_S = 120

# Small bounds, so that in a minute the log is cut, snapshots are made, and one who was away gets one.
# The nodes are on a network of their own, and no clock may be too wrong for a certificate.
CONFIGURATION = """\
cluster = "chaos"
insecure = true
id = {id}
data = "{data}"
http = "{http}"
peer = "{peer}"
retention = "30d"
snapshot_log_bytes = 1048576

[storage]
block_cache_bytes = 33554432
write_buffer_bytes = 8388608
disk_reserve_bytes = 67108864
"""
MEMBER = """
[[nodes]]
id = {id}
http = "{http}"
peer = "{peer}"
"""


class LeftBehind(Failure):
    """A node serves, and does not get what the others have."""

    def __init__(self, node, why):
        super().__init__(why)
        self.node = node


class Cluster:
    """The nodes of one run. Its processes end with this one, however that ends."""

    def __init__(self, binary, folder, network, preloads):
        self.binary = binary
        self.folder = folder
        self.network = network
        # By node; none on a machine that cannot make them.
        self.preloads = preloads
        self.client = Client(network)
        self.processes = {}
        for node in NODES:
            self._configure(node)

    def _configure(self, node):
        def addresses(node):
            return {
                "id": node,
                "http": "%s:%d" % self.network.http(node),
                "peer": "%s:%d" % self.network.peer(node),
            }

        text = CONFIGURATION.format(data=self.data(node), **addresses(node))
        text += "".join(MEMBER.format(**addresses(member)) for member in NODES)
        self.folder.joinpath(f"node{node}.toml").write_text(text, encoding="utf-8")

    def data(self, node):
        return self.folder / f"node{node}"

    def log(self, node):
        return self.folder / f"node{node}.log"

    def log_since(self, node, offset):
        """What a node has said since its log had so many bytes."""
        with open(self.log(node), "rb") as file:
            file.seek(offset)
            return file.read().decode("utf-8", errors="replace")

    def log_bytes(self, node):
        return self.log(node).stat().st_size if self.log(node).exists() else 0

    # --- processes ----------------------------------------------------------------------------

    def start(self, *nodes):
        for node in nodes or NODES:
            preload = self.preloads.get(node)
            with open(self.log(node), "ab") as log:
                self.processes[node] = subprocess.Popen(
                    [self.binary, "serve", "--config", self.folder / f"node{node}.toml"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=os.environ | (preload.environment if preload else {}),
                    # Ctrl-C is for us.
                    start_new_session=True,
                    preexec_fn=self.network.before_exec(node),
                )

    def runs(self, node):
        return node in self.processes and self.processes[node].poll() is None

    def signal(self, node, number):
        self.processes[node].send_signal(number)

    def kill(self, *nodes):
        """SIGKILL, all of them before the first is waited for."""
        for node in nodes or NODES:
            if node in self.processes:
                self.processes[node].kill()
        for node in nodes or NODES:
            if node in self.processes:
                self.processes[node].wait()

    async def stop(self, node):
        """SIGTERM; fails if the node does not end in time or well."""
        process = self.processes[node]
        process.send_signal(signal.SIGTERM)
        await self._until(
            lambda: process.poll() is not None, STOP_TIMEOUT_S, f"node {node} ends on SIGTERM"
        )
        if process.returncode != 0:
            raise Failure(f"node {node} ended with code {process.returncode} on SIGTERM")

    def wipe(self, node):
        """Removes the data of a node that does not run."""
        for path in self.data(node).iterdir():
            # The folder itself may be where something is mounted.
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def ended(self):
        """Those of the nodes that are not there, and how they ended."""
        return {
            node: f"node {node} ended with code {process.poll()}{last_lines(self.log(node))}"
            for node, process in self.processes.items()
            if process.poll() is not None
        }

    # --- what they say ------------------------------------------------------------------------

    async def _until(self, condition, timeout_s, what):
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise Failure(f"{what}: not within {timeout_s} s")
            await asyncio.sleep(POLL_S)

    async def get(self, node, path, timeout_s=5.0):
        """The JSON that a node answers, or None if it answers none."""
        try:
            status, body = await self.client.get(node, path, timeout_s)
            return json.loads(body) if status == 200 else None
        except (NotSent, Lost, ValueError):
            return None

    async def is_ready(self, node):
        return await self.get(node, "/readyz", 1.0) is not None

    async def wait_ready(self, *nodes, timeout_s=READY_TIMEOUT_S):
        """Waits until these nodes, or all, can serve; fails at once when one of them ends."""
        deadline = time.monotonic() + timeout_s
        for node in nodes or NODES:
            while not await self.is_ready(node):
                if not self.runs(node):
                    raise Failure(self.ended().get(node, f"node {node} does not run"))
                if time.monotonic() > deadline:
                    why = f"node {node} is not ready after {timeout_s} s"
                    raise Failure(f"{why}{last_lines(self.log(node))}")
                await asyncio.sleep(POLL_S)

    async def report(self, node):
        return await self.get(node, "/admin/cluster", 2.0)

    async def leader(self):
        """The node that leads, by its own word, in the latest term of all that answer."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            running = [node for node in NODES if self.runs(node)]
            reports = [report for node in running if (report := await self.report(node))]
            leading = [report for report in reports if report["leader"] == report["id"]]
            if leading:
                return max(leading, key=lambda report: report["term"])["id"]
            await asyncio.sleep(POLL_S)
        raise Failure(f"no node leads after {READY_TIMEOUT_S} s")

    async def wait_held_by(self, *nodes):
        """Waits until each of these nodes, a majority with a leader, has all that may have been
        acknowledged up to now."""
        deadline, wanted = time.monotonic() + READY_TIMEOUT_S, None
        while time.monotonic() < deadline:
            reports = [await self.report(node) for node in nodes]
            if all(reports) and (leader := reports[0]["leader"]) in nodes:
                own = {node["id"]: node for report in reports for node in report["nodes"]
                       if node["id"] == report["id"]}
                # The leader has applied an entry of its own term when it serves, so its log holds all.
                if wanted is None and own[leader]["ready"]:
                    wanted = own[leader]["lastLog"]
                if wanted is not None and all(own[n]["applied"] >= wanted for n in nodes):
                    return
            await asyncio.sleep(POLL_S)
        raise Failure(f"nodes {nodes} do not hold the same after {READY_TIMEOUT_S} s")

    async def wait_caught_up(self, *nodes, timeout_s=CAUGHT_UP_TIMEOUT_S):
        """Waits until these nodes, or all, have applied what any of them had in its log at first."""
        wanted, missing = 0, dict.fromkeys(nodes or NODES)
        deadline = time.monotonic() + timeout_s
        for node in NODES:
            if report := await self.report(node):
                logs = [other["lastLog"] or 0 for other in report["nodes"]]
                wanted = max(wanted, *logs)
        while True:
            for node in list(missing):
                report = await self.report(node)
                missing[node] = report["stateHash"]["applied"] if report else None
                if report and missing[node] >= wanted:
                    del missing[node]
            if not missing:
                return
            if time.monotonic() > deadline:
                node, applied = missing.popitem()
                raise LeftBehind(
                    node,
                    f"node {node} says that it is ready, and does not catch up in {timeout_s} s: it"
                    f" has applied {applied}, the log was at {wanted}",
                )
            await asyncio.sleep(POLL_S)

    async def differences(self):
        """Waits until all nodes were seen at one index, where they have to be equal, and says what never
        will be: two states at one index that differ.

        Windows end all the time, so they need not stand still at one index: all are asked at once."""
        for path, pick in (
            ("/admin/cluster", lambda report: report["stateHash"]),
            ("/admin/hash", lambda report: report),
        ):
            hashes, states = {}, {}
            deadline = time.monotonic() + EQUAL_TIMEOUT_S
            while time.monotonic() < deadline:
                reports = (self.get(node, path, READ_TIMEOUT_S) for node in NODES)
                for node, report in zip(NODES, await asyncio.gather(*reports)):
                    if report is not None:
                        state = pick(report)
                        states[node] = (state["applied"], state["hash"])
                        hashes.setdefault(state["applied"], {})[node] = state["hash"]
                for applied, by_node in hashes.items():
                    if len(set(by_node.values())) > 1:
                        return [f"the nodes' states differ at index {applied} ({path}): {by_node}"]
                if any(len(by_node) == len(NODES) for by_node in hashes.values()):
                    break
                await asyncio.sleep(POLL_S)
            else:
                return [f"the nodes are not equal after {EQUAL_TIMEOUT_S} s ({path}): {states}"]
        return []

    async def export(self, node, type_):
        """All entries of a type, from the oldest to the newest, as JSON objects."""
        path = f"/export?format=ndjson&order=asc&type={type_}"
        try:
            status, body = await self.client.get(node, path, READ_TIMEOUT_S)
        except (NotSent, Lost) as error:
            raise Failure(f"node {node} does not export: {error}") from error
        if status != 200:
            raise Failure(f"node {node} does not export: {status} {body[:200]}")
        return body
