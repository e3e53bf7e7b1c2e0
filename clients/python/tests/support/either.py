"""The client for asyncio in the form of the one that blocks, so that every test is of both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tallykeep import AsyncClient, Client
from tallykeep._call import Calls

T = TypeVar("T")


class BlockingClient:
    """Runs the calls of an :class:`AsyncClient` on a loop of its own, in a thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = AsyncClient(*args, **kwargs)

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        return lambda *args, **kwargs: self._wait(call(*args, **kwargs))

    @contextmanager
    def export(self, *args: Any, **kwargs: Any) -> Iterator[Iterator[bytes]]:
        """As of the client that blocks."""
        context = self._client.export(*args, **kwargs)

        async def enter() -> Any:
            return await context.__aenter__()

        async def leave() -> None:
            await context.__aexit__(None, None, None)

        async def following(parts: Any) -> bytes | None:
            return await anext(parts, None)

        def blocking(parts: Any) -> Iterator[bytes]:
            while (part := self._wait(following(parts))) is not None:
                yield part

        parts = self._wait(enter())
        try:
            yield blocking(parts)
        finally:
            self._wait(leave())

    def close(self) -> None:
        """Closes the client, and ends the thread."""
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def open_client(kind: str, *args: Any, **kwargs: Any) -> Any:
    """A client of the kind ``"sync"`` or ``"async"``."""
    return (Client if kind == "sync" else BlockingClient)(*args, **kwargs)


def calls_of(client: Any) -> Calls:
    """What decides for a client."""
    inner = client._client if isinstance(client, BlockingClient) else client
    calls: Calls = inner._calls
    return calls
