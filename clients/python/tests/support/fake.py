"""Small HTTP servers that fail in chosen ways."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# An answer of POST /check.
ALLOWED = {"allowed": True, "remaining": 95, "resetTime": 1634567890000}


@dataclass(frozen=True)
class Asked:
    """What a node was asked. Headers have names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str | None:
        """Its ``Idempotency-Key``."""
        return self.headers.get("idempotency-key")


class Reply(BaseHTTPRequestHandler):
    """How a node answers."""

    protocol_version = "HTTP/1.1"
    server: FakeServer

    def json(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        """Answers with JSON."""
        self.whole(status, json.dumps(value).encode(), headers)

    def problem(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        """Answers with tallykeep's form of an error (RFC 9457)."""
        title = HTTPStatus(status).phrase
        members = {"title": title, "status": status, "detail": f"detail of {code}", "code": code}
        self.json(status, {"type": "about:blank", **members, "error": title}, headers)

    def whole(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answers with these bytes."""
        self.head(status, {"Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Sends the beginning of an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        """Sends a part of a body of ``Transfer-Encoding: chunked``; the empty one is the end."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def drop(self) -> None:
        """Breaks the connection off."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Gives no answer for as long as the server runs."""
        self.close_connection = True
        self.server.ended.wait(60)

    def log_message(self, format: str, *args: Any) -> None:
        """Is silent."""

    def do_POST(self) -> None:
        """Remembers what was asked, and answers."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        self.server.node.requests.append(asked)
        self.server.node.answer(self, asked)

    do_GET = do_POST  # noqa: N815


class FakeServer(ThreadingHTTPServer):
    """Counts connections, and has no complaint about those that break off."""

    daemon_threads = True
    request_queue_size = 128
    node: FakeNode

    def __init__(self, node: FakeNode) -> None:
        self.ended = threading.Event()
        self.connections: list[socket.socket] = []
        self.node = node
        super().__init__(("127.0.0.1", 0), Reply)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begins a connection."""
        self.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none."""


class FakeNode:
    """A node that answers as ``answer`` says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Reply, Asked], None]) -> None:
        self.answer = answer
        self.requests: list[Asked] = []
        self._server = FakeServer(self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    @property
    def connection_count(self) -> int:
        """How many connections there were."""
        return len(self._server.connections)

    def close(self) -> None:
        """Ends the server and its connections."""
        self._server.ended.set()
        self._server.shutdown()
        self._thread.join()
        for connection in self._server.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


def allow(reply: Reply, _: Asked) -> None:
    """Allows a check."""
    reply.json(200, ALLOWED)


@contextmanager
def fake_nodes(*answers: Callable[[Reply, Asked], None]) -> Iterator[list[FakeNode]]:
    """Nodes that are closed at the end."""
    nodes = [FakeNode(answer) for answer in answers]
    try:
        yield nodes
    finally:
        for node in nodes:
            node.close()
