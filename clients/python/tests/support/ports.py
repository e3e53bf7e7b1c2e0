"""Free ports of 127.0.0.1."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Ports that are free. All are held until the last is known, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def dead_endpoint() -> str:
    """An endpoint where nobody listens."""
    return f"http://127.0.0.1:{free_ports(1)[0]}"
