"""Clients that read: pages of the audit log one by one, and whole exports."""

import json
import socket
import statistics
import threading
import time

from processes import Failure

TIMEOUT_S = 60
READ_BYTES = 1024 * 1024
SAMPLE_S = 0.02


class Connection:
    """HTTP/1.1 kept alive on one socket, doing as little as can be done in Python."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.host = address
        self.socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path, body):
        """The seconds until the whole answer was there, and its body; fails if it is no 200."""
        request = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        began = time.perf_counter()
        self.socket.sendall(request)
        answer = b""
        while (head := answer.find(b"\r\n\r\n")) < 0:
            answer += self._receive()
        lines = answer[:head].decode("latin-1").lower().split("\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith("content-length:"))
        pieces, missing = [answer[head + 4 :]], head + 4 + length - len(answer)
        while missing > 0:
            pieces.append(self._receive())
            missing -= len(pieces[-1])
        passed = time.perf_counter() - began
        body = b"".join(pieces)
        if not lines[0].startswith("http/1.1 200"):
            raise Failure(f"{path}: {lines[0]}: {body[:300]!r}")
        return passed, body

    def close(self):
        self.socket.close()

    def _receive(self):
        received = self.socket.recv(READ_BYTES)
        if not received:
            raise Failure(f"{self.host} has closed the connection")
        return received


def query(connection, **asked):
    """Milliseconds that a page of the log took, and its entries."""
    seconds, body = connection.post("/query", json.dumps(asked).encode())
    page = json.loads(body)
    if page["count"] != len(page["entries"]):
        raise Failure(f"a page of {len(page['entries'])} entries says {page['count']}")
    return seconds * 1000, page["entries"]


def cluster_s(connection):
    """The cluster's clock, in seconds since the Unix epoch: the window of a check begins with it."""
    check = {"identifier": "clock", "config": {"requests": 1_000, "windowMs": 1}}
    _, body = connection.post("/check", json.dumps(check).encode())
    return (json.loads(body)["resetTime"] - 1) / 1000


def percentile(figures, part):
    """The value that `part` of the figures do not exceed."""
    ordered = sorted(figures)
    return ordered[max(0, -int(-len(ordered) * part // 1) - 1)]


def download(address, path, keep=None, keep_bytes=None):
    """Reads an answer to its end: its bytes, its lines, and the seconds from the request on.

    By HTTP/1.0, in which a body is what comes until the connection ends, without chunks. With
    `keep`, a file, the first `keep_bytes` are written to it and the rest is not waited for."""
    host, _, port = address.rpartition(":")
    buffer = bytearray(READ_BYTES)
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as stream:
        began = time.perf_counter()
        stream.sendall(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        answer = b""
        while (head := answer.find(b"\r\n\r\n")) < 0:
            if not (received := stream.recv(READ_BYTES)):
                raise Failure(f"{path}: no answer")
            answer += received
        if b" 200 " not in answer[:head].split(b"\r\n")[0]:
            raise Failure(f"{path}: {answer[:300]!r}")
        body = answer[head + 4 :]
        total, lines = len(body), body.count(b"\n")
        if keep is not None:
            keep.write(body)
        while read := stream.recv_into(buffer):
            if keep is None:
                lines += buffer.count(b"\n", 0, read)
            else:
                keep.write(memoryview(buffer)[:read])
                if total + read >= keep_bytes:
                    break
            total += read
        return total, lines, time.perf_counter() - began


class Watch:
    """Samples a figure in a thread while its block runs: `most` of it, and the median of all."""

    def __init__(self, figure):
        self.figure = figure
        self.samples = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.samples.append(self.figure())
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.samples.append(self.figure())

    @property
    def growth(self):
        """The most, beyond what there was at first."""
        return max(self.samples) - self.samples[0]

    @property
    def median(self):
        return statistics.median(self.samples)

    def _run(self):
        while not self.over.wait(SAMPLE_S):
            self.samples.append(self.figure())
