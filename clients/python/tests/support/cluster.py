"""Real tallykeep nodes, each a process with a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from .ports import free_ports
from .wait import wait_for

ROOT = Path(__file__).parents[4]
BINARY = os.environ.get("TALLYKEEP_BIN", str(ROOT / "target/release/tallykeep"))


class Cluster:
    """Nodes with the ids from 1 on."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        ports = free_ports(count * 2)
        self._http = {id: f"127.0.0.1:{ports[id * 2 - 2]}" for id in range(1, count + 1)}
        peers = {id: f"127.0.0.1:{ports[id * 2 - 1]}" for id in self._http}
        nodes = "".join(
            f'[[nodes]]\nid = {id}\nhttp = "{http}"\npeer = "{peers[id]}"\n'
            for id, http in self._http.items()
        )
        wrangler = json.dumps(str(ROOT / "cluster/wrangler.toml"))
        for id in self._http:
            head = f'cluster = "python"\nid = {id}\ndata = "data{id}"\nwrangler = {wrangler}\n'
            self._file(id, "toml").write_text(head + nodes)

    @property
    def ids(self) -> list[int]:
        """The ids of all nodes."""
        return list(self._http)

    @property
    def endpoints(self) -> list[str]:
        """The URLs of all nodes, in the order of their ids."""
        return [f"http://{http}" for http in self._http.values()]

    def start(self, id: int) -> None:
        """Starts a node; it is not ready yet."""
        with self._file(id, "log").open("ab") as log:
            self._processes[id] = subprocess.Popen(
                [BINARY, "serve", "--config", str(self._file(id, "toml"))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def wait_ready(self, id: int) -> None:
        """Waits until a node is ready."""
        try:
            wait_for(f"node {id} is ready", lambda: self._is_ready(id))
        except AssertionError as error:
            raise AssertionError(self._file(id, "log").read_text()[-4000:]) from error

    def _is_ready(self, id: int) -> bool:
        code = self._processes[id].poll()
        assert code is None, f"node {id} ended with {code}"
        return httpx.get(f"http://{self._http[id]}/readyz", trust_env=False).status_code == 200

    def leader(self) -> int:
        """The id of the leader, as a node that runs sees it."""
        return wait_for("a leader is known", self._leader)

    def _leader(self) -> int | None:
        for id in self._processes:
            answer = httpx.get(f"http://{self._http[id]}/admin/cluster", trust_env=False)
            leader = [one["id"] for one in answer.json()["nodes"] if one["role"] == "leader"]
            if leader and leader[0] in self._processes:
                return int(leader[0])
        return None

    def signal(self, id: int, number: signal.Signals) -> None:
        """Sends a signal to a node. SIGKILL and SIGTERM wait for its end."""
        process = self._processes[id]
        process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            process.wait(60)
            del self._processes[id]

    def end(self) -> None:
        """Kills all nodes that run."""
        for id in list(self._processes):
            self.signal(id, signal.SIGKILL)

    def _file(self, id: int, extension: str) -> Path:
        return self._folder / f"node{id}.{extension}"


@contextmanager
def running_cluster(count: int) -> Iterator[Cluster]:
    """Nodes that are ready, and are killed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tallykeep-python-"))
    cluster = Cluster(folder, count)
    try:
        for id in cluster.ids:
            cluster.start(id)
        for id in cluster.ids:
            cluster.wait_ready(id)
        yield cluster
    finally:
        cluster.end()
        shutil.rmtree(folder)
