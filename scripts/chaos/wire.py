"""HTTP/1.1 on kept connections, with what a client can know when it gets no answer."""

import asyncio
import json

import history

# Longer than a node's own deadline of 5 s, so that what it says is heard.
CALL_TIMEOUT_S = 5.5
CONNECT_TIMEOUT_S = 1.0
HEAD_BYTES_MAX = 64 * 1024


class NotSent(Exception):
    """No connection: the request has not left."""


class Lost(Exception):
    """It was sent, or may have been, and there is no answer; the message is one of `history`'s."""


class Client:
    """A client with one connection to each node, and one request at a time."""

    def __init__(self, network):
        self.network = network
        self.connections = {}

    async def post(self, node, path, body):
        return await self.request("POST", node, path, body)

    async def get(self, node, path, timeout_s=CALL_TIMEOUT_S):
        return await self.request("GET", node, path, b"", timeout_s)

    async def request(self, method, node, path, body, timeout_s=CALL_TIMEOUT_S):
        """The status and the body of the answer. Fails with `NotSent` or `Lost`."""
        reader, writer = await self._connection(node)
        host = "%s:%d" % self.network.http(node)
        head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(timeout_s):
                writer.write(head.encode() + body)
                status, text, is_last = await _answer(reader)
        except TimeoutError as error:
            self.close(node)
            raise Lost(history.TIMED_OUT) from error
        except asyncio.IncompleteReadError as error:
            self.close(node)
            raise Lost(history.BROKEN if error.partial else history.CLOSED) from error
        except (OSError, ValueError, asyncio.LimitOverrunError) as error:
            self.close(node)
            raise Lost(history.BROKEN) from error
        except asyncio.CancelledError:
            self.close(node)
            raise
        if is_last:
            self.close(node)
        return status, text

    async def _connection(self, node):
        if node not in self.connections:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    self.connections[node] = await asyncio.open_connection(
                        *self.network.http(node), limit=HEAD_BYTES_MAX
                    )
            except (OSError, TimeoutError) as error:
                raise NotSent(str(error)) from error
        return self.connections[node]

    def close(self, *nodes):
        for node in nodes or list(self.connections):
            connection = self.connections.pop(node, None)
            if connection is not None:
                connection[1].transport.abort()


async def _answer(reader):
    """Status, body, and whether the connection ends with it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    try:
        if "chunked" in headers.get("transfer-encoding", ""):
            body = await _chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError as error:
        # The head was there: not the clean end of a connection between two answers.
        raise ConnectionResetError("the answer is cut") from error
    return int(status_line.split(" ")[1]), body, headers.get("connection") == "close"


async def _chunks(reader):
    pieces = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        piece = await reader.readexactly(size + 2)
        if size == 0:
            return b"".join(pieces)
        pieces.append(piece[:-2])


def code_of(body):
    """The `code` of a problem; what is no problem has none."""
    try:
        return json.loads(body).get("code", "")
    except (ValueError, AttributeError):
        return ""
