"""The three nodes' addresses, and the network between them, where we may make one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import isolation
from processes import Failure

NODES = (1, 2, 3)
# This process, which is all clients.
CLIENTS = 9
EVERYBODY = (*NODES, CLIENTS)
# A network that serves others is asked to go first.
SWITCH_NICENESS = -10


class Namespaces:
    """A namespace for each node, and a switch between them and the clients, which are here."""

    name = "each node in its own network namespace"
    can_fail = True

    def __init__(self, seed):
        self.attachments = {host: isolation.attach(host, here=host == CLIENTS) for host in EVERYBODY}
        ours, theirs = socket.socketpair()
        devices = {host: self.attachments[host].device for host in EVERYBODY}
        self.switch = subprocess.Popen(
            [
                *(sys.executable, "-B", Path(__file__).with_name("switch.py")),
                *(str(theirs.fileno()), str(seed)),
                *(f"{host}={device}" for host, device in devices.items()),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), *devices.values()],
            preexec_fn=isolation.before_exec(),
            start_new_session=True,
        )
        theirs.close()
        # The switch alone reads and writes from now on.
        for device in devices.values():
            os.close(device)
        try:
            os.setpriority(os.PRIO_PROCESS, self.switch.pid, SWITCH_NICENESS)
        except PermissionError:
            pass
        self.control = ours
        self.control.settimeout(10)
        self.rules = {}
        self.heal()

    def http(self, node):
        return isolation.address(node), 7001

    def peer(self, node):
        return isolation.address(node), 7101

    def before_exec(self, node):
        return isolation.before_exec(self.attachments[node])

    def set(self, pairs, **rule):
        """The rule of all packets from source to destination, for each of the pairs."""
        for pair in pairs:
            self.rules[pair] = rule
        self._tell()

    def heal(self):
        """No rules: everything arrives."""
        self.rules = {}
        self._tell()

    def _tell(self):
        rules = [[source, to, rule] for (source, to), rule in self.rules.items()]
        try:
            self.control.sendall(json.dumps(rules).encode() + b"\n")
            if self.control.recv(64) != b"done\n":
                raise Failure("the switch has ended")
        except OSError as error:
            raise Failure(f"the switch does not answer: {error}") from error

    def close(self):
        self.control.close()
        self.switch.kill()
        self.switch.wait()


class Loopback:
    """All nodes on 127.0.0.1, where they cannot be kept apart."""

    name = "all nodes on loopback"
    can_fail = False

    def http(self, node):
        return "127.0.0.1", 7000 + node

    def peer(self, node):
        return "127.0.0.1", 7100 + node

    def before_exec(self, _node):
        return isolation.before_exec()

    def heal(self):
        """There are no rules."""

    def close(self):
        """There is nothing to close."""
