"""The systems that tallykeep is measured beside: how each is started, and what loads it can take.

docs/benchmarks.md says what each of them promises."""

import concurrent.futures
import http.client
import json
import socket
import urllib.request
from pathlib import Path

from load import IDENTIFIERS, Load, generator, wrk
from processes import Failure, Servers, listens

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30
ANSWER_TIMEOUT_S = 10


def address(port):
    return f"127.0.0.1:{port}"


class Peer:
    """What the peers have in common: processes of ours, in one folder."""

    # Whether its data outlive a round. Else each round begins with none.
    keeps_data = False

    def __init__(self, options):
        self.options = options
        self.servers = None

    def pids(self):
        return self.servers.pids()

    def check_alive(self):
        self.servers.check_alive()

    def stop(self):
        if self.servers is not None:
            self.servers.stop()


class Echo(Peer):
    """examples/echo.rs: the cost of HTTP and JSON alone. One process is all there is of it."""

    name = "echo"
    ports = [7201]

    def start(self, folder):
        self.servers = Servers(folder)
        self.servers.spawn("echo", [self.options.echo, address(self.ports[0])])
        self.servers.wait_until(lambda: listens(self.ports[0]), START_TIMEOUT_S, "echo listens")

    def loads(self):
        for connections in self.options.connections:
            yield Load("check", connections, wrk([address(self.ports[0])], "check"))


class Redis(Peer):
    """One that takes writes and two replicas, each of which syncs its log on every write."""

    name = "redis"
    ports = [7221, 7222, 7223]

    def start(self, folder):
        self.servers = Servers(folder)
        first = self.ports[0]
        for port in self.ports:
            (folder / str(port)).mkdir()
            command = ["redis-server", "--port", port, "--bind", "127.0.0.1"]
            command += ["--dir", folder / str(port)]
            command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
            # A replica waits 5 s for others to join it, which is only time lost here.
            command += ["--repl-diskless-sync-delay", "0"]
            if port != first:
                command += ["--replicaof", f"127.0.0.1 {first}"]
            self.servers.spawn(f"redis-{port}", command)
        self.servers.wait_until(
            lambda: self._replicas_online() == 2, START_TIMEOUT_S, "two replicas of Redis"
        )

    def loads(self):
        command = generator(self.options.generator, "redis", address(self.ports[0]))
        for connections in self.options.connections:
            yield Load("check", connections, command)

    def _replicas_online(self):
        with socket.create_connection(("127.0.0.1", self.ports[0]), ANSWER_TIMEOUT_S) as link:
            link.sendall(b"INFO replication\r\nQUIT\r\n")
            with link.makefile("rb") as answer:
                return answer.read().count(b"state=online")


class Etcd(Peer):
    """Three nodes as they come, their syncs too. The leader alone is asked."""

    name = "etcd"
    ports = [7211, 7212, 7213, 7214, 7215, 7216]

    def start(self, folder):
        self.servers = Servers(folder)
        clients, peers = self.ports[:3], self.ports[3:]
        members = ",".join(
            f"node{number}=http://{address(port)}" for number, port in enumerate(peers, 1)
        )
        for number, (client, peer) in enumerate(zip(clients, peers), 1):
            command = ["etcd", "--name", f"node{number}", "--data-dir", folder / f"node{number}"]
            for option, port in (("client", client), ("peer", peer)):
                command += [f"--listen-{option}-urls", f"http://{address(port)}"]
            command += ["--advertise-client-urls", f"http://{address(client)}"]
            command += ["--initial-advertise-peer-urls", f"http://{address(peer)}"]
            command += ["--initial-cluster", members, "--initial-cluster-token", folder.name]
            self.servers.spawn(f"etcd-{number}", command)
        self.servers.wait_until(
            lambda: all(self._status(port)["leader"] != "0" for port in clients),
            START_TIMEOUT_S,
            "a leader of etcd",
        )

    def loads(self):
        leader = self._leader()
        command = generator(self.options.generator, "etcd", address(leader))
        for connections in self.options.connections:
            yield Load("check", connections, command)

    def _leader(self):
        """The port for clients of the node that leads."""
        for port in self.ports[:3]:
            status = self._status(port)
            if status["leader"] == status["header"]["member_id"]:
                return port
        raise Failure("no node of etcd leads")

    @staticmethod
    def _status(port):
        request = urllib.request.Request(
            f"http://{address(port)}/v3/maintenance/status", data=b"{}", method="POST"
        )
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
            return {"leader": "0"} | json.load(answer)


class Workerd(Peer):
    """The guide's Durable Object in one process: a file of SQLite for each object.

    It is measured with the 10,000 identifiers of all the others, which here are 10,000 objects
    that are seldom in memory, and with 100, which always are: its best case."""

    name = "workerd"
    ports = [7231]
    # Making 10,000 objects takes far longer than a row.
    keeps_data = True
    few_identifiers = 100
    # No alarm of 10,000 objects falls into a row.
    window_ms = 24 * 60 * 60 * 1000
    fill_threads = 16

    def __init__(self, options):
        super().__init__(options)
        self.filled = False

    def start(self, folder):
        self.servers = Servers(folder)
        objects = folder / "objects"
        objects.mkdir(exist_ok=True)
        command = [self.options.workerd, "serve", ROOT / "benches/peers/workerd/config.capnp"]
        command += [f"--socket-addr=http={address(self.ports[0])}"]
        command += [f"--directory-path=objects={objects}"]
        self.servers.spawn("workerd", command)
        self.servers.wait_until(
            lambda: listens(self.ports[0]), START_TIMEOUT_S, "workerd listens"
        )

    def loads(self):
        nodes = [address(self.ports[0])]
        few = self.few_identifiers
        for connections in self.options.connections:
            command = wrk(nodes, "check", few, self.window_ms)
            yield Load(f"check of {few} keys", connections, command)
        if self.options.quick:
            return
        if not self.filled:
            self._fill()
            self.filled = True
        for connections in self.options.connections:
            command = wrk(nodes, "check", window_ms=self.window_ms)
            yield Load("check", connections, command)

    def _fill(self):
        """Makes all objects, so that the rows measure checks and not the making of files."""

        def fill(first):
            link = http.client.HTTPConnection(address(self.ports[0]), timeout=ANSWER_TIMEOUT_S)
            for number in range(first + 1, IDENTIFIERS + 1, self.fill_threads):
                body = {"identifier": f"user-{number}", "type": "wix"}
                body["config"] = {"requests": 1_000_000_000, "windowMs": self.window_ms}
                link.request("POST", "/check", json.dumps(body))
                answer = link.getresponse()
                answer.read()
                if answer.status != 200:
                    raise Failure(f"workerd answered {answer.status}")
            link.close()

        with concurrent.futures.ThreadPoolExecutor(self.fill_threads) as threads:
            for done in [threads.submit(fill, first) for first in range(self.fill_threads)]:
                done.result()
