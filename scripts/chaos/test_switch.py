"""The switch carries packets by its rules. Its devices are pairs of sockets here."""

import json
import socket
import threading
import time
import unittest

from switch import Switch


def packet(to, payload):
    """What the switch looks at of an IPv4 packet: the version, and the end of the destination."""
    return bytes([0x45]) + bytes(18) + bytes([to]) + payload


class Rules(unittest.TestCase):
    def setUp(self):
        self.ours, theirs = {}, {}
        for host in (1, 2, 3):
            self.ours[host], theirs[host] = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.ours[host].settimeout(5)
            theirs[host].setblocking(False)
        self.control, control = socket.socketpair()
        self.control.settimeout(5)
        files = {host: theirs[host].fileno() for host in theirs}
        thread = threading.Thread(target=Switch(control.fileno(), 1, files).run)
        thread.start()

        def end():
            self.control.close()
            thread.join()
            for file in (control, *theirs.values(), *self.ours.values()):
                file.close()

        self.addCleanup(end)

    def tell(self, *rules):
        self.control.sendall(json.dumps(rules).encode() + b"\n")
        self.assertEqual(self.control.recv(64), b"done\n")

    def send(self, source, to, payload):
        self.ours[source].send(packet(to, payload))

    def arrived(self, host):
        return self.ours[host].recv(2048)[20:]

    def test_packets_go_where_they_are_for(self):
        self.send(1, 2, b"a")
        self.send(1, 3, b"b")
        self.send(3, 1, b"c")
        self.assertEqual([self.arrived(host) for host in (2, 3, 1)], [b"a", b"b", b"c"])

    def test_what_is_for_nobody_is_dropped(self):
        self.send(1, 77, b"x")
        self.ours[1].send(b"\x60" + bytes(40))
        self.ours[1].send(b"short")
        self.send(1, 2, b"a")
        self.assertEqual(self.arrived(2), b"a")

    def test_a_cut_is_one_way_and_ends(self):
        self.tell([1, 2, {"loss": 1}])
        self.send(1, 2, b"cut")
        self.send(2, 1, b"back")
        self.send(1, 3, b"there")
        self.assertEqual([self.arrived(1), self.arrived(3)], [b"back", b"there"])
        self.tell()
        self.send(1, 2, b"healed")
        self.assertEqual(self.arrived(2), b"healed")

    def test_some_are_lost(self):
        self.tell([1, 2, {"loss": 0.5}])
        for _ in range(200):
            self.send(1, 2, b"x")
            # The queue of a socket is shorter than that of a device.
            self.send(1, 3, b"next")
            self.arrived(3)
        self.tell()
        self.send(1, 2, b"last")
        count = 0
        while self.arrived(2) != b"last":
            count += 1
        self.assertTrue(50 < count < 150, count)

    def test_a_delay_is_at_least_as_long_as_it_is_told(self):
        self.tell([1, 2, {"delay_ms": 50, "jitter_ms": 10}])
        began = time.monotonic()
        self.send(1, 2, b"late")
        self.assertEqual(self.arrived(2), b"late")
        self.assertGreaterEqual(time.monotonic() - began, 0.05)

    def test_it_ends_with_its_control(self):
        ours, theirs = socket.socketpair()
        ours.close()
        Switch(theirs.fileno(), 1, {}).run()
        theirs.close()


if __name__ == "__main__":
    unittest.main()
