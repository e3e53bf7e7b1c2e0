"""The network: a program that carries packets from host to host, or does not, as it is told.

    python3 switch.py CONTROL SEED HOST=DEVICE...

CONTROL is a socket, each DEVICE the TUN of a host whose address ends in HOST; all are open files of
this process. A line on the socket is a JSON list of rules, [source, destination, rule], which takes
the place of all rules before and is answered with a line. A rule is {"loss": 0 to 1, "delay_ms": n,
"jitter_ms": n}, all of them 0 by default: a loss of 1 is a cut. Jitter, at random up to its bound,
also changes the order of packets. It ends when the socket is closed.
"""

import heapq
import json
import os
import random
import select
import signal
import sys
import time

PACKET_BYTES_MAX = 65_536
# Of one device at a time, so that the others get their turn.
PACKETS_AT_ONCE = 64
# Of an IPv4 header (RFC 791): the last byte of the destination.
DESTINATION = 19


class Switch:
    """Reads from all devices, and writes to the one that a packet is for."""

    def __init__(self, control, seed, devices):
        self.control = control
        self.devices = devices
        self.random = random.Random(seed)
        self.rules = {}
        # (due, number, device, packet); the number keeps the order of what is due at once.
        self.delayed = []
        self.number = 0

    def run(self):
        poll = select.epoll()
        sources = {device: host for host, device in self.devices.items()}
        for file in [self.control, *sources]:
            poll.register(file, select.EPOLLIN)
        while True:
            for file, _ in poll.poll(self._patience_s()):
                if file != self.control:
                    self._forward(sources[file], file)
                elif not self._obey():
                    return
            self._deliver_delayed()

    def _patience_s(self):
        return max(0.0, self.delayed[0][0] - time.monotonic()) if self.delayed else None

    def _obey(self):
        text = b""
        while not text.endswith(b"\n"):
            piece = os.read(self.control, 65_536)
            if not piece:
                return False
            text += piece
        self.rules = {(source, to): rule for source, to, rule in json.loads(text)}
        os.write(self.control, b"done\n")
        return True

    def _forward(self, source, file):
        for _ in range(PACKETS_AT_ONCE):
            try:
                packet = os.read(file, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            # What is not IPv4 is the kernel looking for IPv6 routers.
            if len(packet) <= DESTINATION or packet[0] >> 4 != 4:
                continue
            to = packet[DESTINATION]
            device = self.devices.get(to)
            if device is None:
                continue
            rule = self.rules.get((source, to)) if self.rules else None
            if rule is None:
                self._write(device, packet)
            elif self.random.random() >= rule.get("loss", 0):
                late_ms = rule.get("delay_ms", 0) + self.random.random() * rule.get("jitter_ms", 0)
                if late_ms:
                    self.number += 1
                    due = time.monotonic() + late_ms / 1000
                    heapq.heappush(self.delayed, (due, self.number, device, packet))
                else:
                    self._write(device, packet)

    def _deliver_delayed(self):
        now = time.monotonic()
        while self.delayed and self.delayed[0][0] <= now:
            _, _, device, packet = heapq.heappop(self.delayed)
            self._write(device, packet)

    def _write(self, device, packet):
        try:
            os.write(device, packet)
        except OSError:
            # A full queue loses packets, as in any network.
            pass


def main():
    # Ctrl-C is for who started this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control, seed, *pairs = sys.argv[1:]
    devices = {int(host): int(device) for host, device in (pair.split("=") for pair in pairs)}
    Switch(int(control), int(seed), devices).run()


if __name__ == "__main__":
    main()
