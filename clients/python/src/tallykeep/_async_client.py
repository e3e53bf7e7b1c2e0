"""The client for asyncio."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from . import _api
from ._api import Format, Operation, Order, Result
from ._call import Answer, Attempt, Body, Broken, Calls, Pause, Request
from ._http import broke_off, broken, http_options, late
from ._settings import settings
from .results import Decision, Page


class AsyncClient:
    """A tallykeep cluster, for asyncio. Its calls, their arguments and errors are those of
    :class:`tallykeep.Client`. A call that is cancelled ends at once, and may be carried out or not.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        token: str | None = None,
        timeout_s: float = 5.0,
        attempt_timeout_s: float = 2.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """As of :class:`tallykeep.Client`."""
        own = settings(endpoints, token, timeout_s, attempt_timeout_s)
        self._calls = Calls(own)
        # Of an export, from one part to the next. All else is bounded as a whole.
        timeout = httpx.Timeout(None, read=own.timeout_s)
        self._http = httpx.AsyncClient(timeout=timeout, **http_options(ssl_context))

    async def close(self) -> None:
        """Closes the connections. Nothing can be called after it."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def check(
        self,
        identifier: str,
        type: str | None = None,
        *,
        requests: int | None = None,
        window_ms: int | None = None,
        idempotency_key: str | None = None,
    ) -> Decision:
        """As :meth:`tallykeep.Client.check`."""
        key = idempotency_key
        return await self._perform(_api.check(identifier, type, requests, window_ms, key))

    async def reset(
        self, identifier: str, type: str | None = None, *, idempotency_key: str | None = None
    ) -> None:
        """As :meth:`tallykeep.Client.reset`."""
        await self._perform(_api.reset(identifier, type, idempotency_key))

    async def log(
        self,
        type: str,
        action: str,
        *,
        user_id: str | None = None,
        ip: str | None = None,
        details: Mapping[str, Any] | None = None,
        members: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """As :meth:`tallykeep.Client.log`."""
        key = idempotency_key
        return await self._perform(_api.log(type, action, user_id, ip, details, members, key))

    async def query(
        self,
        *,
        start_time_ms: int | None = None,
        end_time_ms: int | None = None,
        type: str | None = None,
        action: str | None = None,
        user_id: str | None = None,
        ip: str | None = None,
        order: Order | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page:
        """As :meth:`tallykeep.Client.query`."""
        return await self._perform(
            _api.query(start_time_ms, end_time_ms, type, action, user_id, ip, order, limit, cursor)
        )

    @asynccontextmanager
    async def export(
        self,
        format: Format = "json",
        *,
        csv_escape: bool = True,
        start_time_ms: int | None = None,
        end_time_ms: int | None = None,
        type: str | None = None,
        action: str | None = None,
        user_id: str | None = None,
        ip: str | None = None,
        order: Order | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """As :meth:`tallykeep.Client.export`: ``async with client.export("csv") as parts``."""
        answer = await self._perform(
            _api.export(
                format, csv_escape, start_time_ms, end_time_ms, type, action, user_id, ip, order
            )
        )
        stream = answer.stream
        assert stream is not None, "a 200 of a streamed request has its stream"
        try:
            yield self._parts(stream)
        finally:
            await stream.aclose()

    async def _parts(self, stream: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for part in stream.aiter_bytes():
                yield part
        except httpx.RequestError as error:
            raise broke_off(error) from error

    async def _perform(self, operation: Operation[Result]) -> Result:
        return operation.read(await self._run(operation.request))

    async def _run(self, request: Request) -> Answer:
        steps = self._calls.call(request)
        came: Answer | Broken | None = None
        while True:
            try:
                step = steps.send(came)
            except StopIteration as end:
                answer: Answer = end.value
                return answer
            if isinstance(step, Pause):
                await asyncio.sleep(step.duration_s)
                came = None
            else:
                came = await self._attempt(step)

    async def _attempt(self, attempt: Attempt) -> Answer | Broken:
        try:
            return await asyncio.wait_for(self._exchange(attempt), attempt.limit_s)
        except (asyncio.TimeoutError, httpx.TimeoutException) as error:
            return late(attempt, error)
        except httpx.RequestError as error:
            return broken(error)

    async def _exchange(self, attempt: Attempt) -> Answer:
        request = self._http.build_request(
            attempt.method, attempt.url, content=attempt.body, headers=attempt.headers
        )
        response = await self._http.send(request, stream=True)
        status, headers = response.status_code, response.headers
        if attempt.is_streamed and status == 200:
            return Answer(status, headers, stream=response)
        body = Body(status)
        try:
            async for chunk in response.aiter_bytes():
                if not body.take(chunk):
                    break
        finally:
            await response.aclose()
        return Answer(status, headers, body.whole())
