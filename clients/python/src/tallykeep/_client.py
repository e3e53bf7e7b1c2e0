"""The client that blocks."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from . import _api
from ._api import Format, Operation, Order, Result
from ._call import Answer, Attempt, Body, Broken, Calls, Pause, Request
from ._http import broke_off, broken, http_options, late
from ._settings import settings
from .results import Decision, Page


class Client:
    """A tallykeep cluster, for code that blocks. Make it once and keep it: it keeps connections,
    and knows which nodes answer. Threads may share it; processes that fork may not.
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
        """Does no I/O.

        Args:
            endpoints: URLs of the nodes, or of what is in front of them. At least one.
            token: sent as ``Authorization: Bearer``.
            timeout_s: how long a call may take in all, tries at further nodes included: 0.001 to
                600 seconds.
            attempt_timeout_s: how long one node may take before the next is asked: 0.001 to 600
                seconds. Not applied where there is one endpoint.
            ssl_context: for ``https`` endpoints, in the place of the platform's.

        Raises:
            ValueError: names the argument, and what it has to be.
        """
        own = settings(endpoints, token, timeout_s, attempt_timeout_s)
        self._calls = Calls(own)
        self._stall_s = own.timeout_s
        self._http = httpx.Client(**http_options(ssl_context))

    def close(self) -> None:
        """Closes the connections. Nothing can be called after it."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(
        self,
        identifier: str,
        type: str | None = None,
        *,
        requests: int | None = None,
        window_ms: int | None = None,
        idempotency_key: str | None = None,
    ) -> Decision:
        """Counts a request against the limiter ``type:identifier``, or ``identifier`` alone
        (guide, "Rate Limiter" and "Naming Strategies").

        Args:
            identifier: whose request. One that the cluster would not take (empty, over 512 bytes,
                with control characters) is counted under ``sha256:`` and its digest.
            type: 1 to 512 bytes.
            requests: how many a window admits: 0 to 2^53-1. Without it and ``window_ms`` the limit
                is the policy that the cluster keeps for ``type`` (``tallykeep policy``).
            window_ms: how long a window is: 1 to 34,560,000,000 (400 days).
            idempotency_key: calls with the same key and the same arguments are carried out once.
                Every call has one of its own by default, for all of its attempts.

        Raises:
            NoAnswerError: no node could be reached, or none answered in time.
            ServerError: the last answer was a 5xx.
            RequestError: the answer was another 4xx than a 429.
            ProtocolError: the answer is none of tallykeep's.
            ValueError: an argument is out of bounds.
        """
        key = idempotency_key
        return self._perform(_api.check(identifier, type, requests, window_ms, key))

    def reset(
        self, identifier: str, type: str | None = None, *, idempotency_key: str | None = None
    ) -> None:
        """Forgets what a limiter has counted, if anything. Arguments and errors as of
        :meth:`check`.
        """
        self._perform(_api.reset(identifier, type, idempotency_key))

    def log(
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
        """Logs an entry (guide, "Audit Logger"), and gives its id. It is on the disks of a majority
        then.

        Args:
            type: 1 to 512 bytes, like ``action``.
            action: what was done.
            user_id: at most 512 bytes, like ``ip``.
            ip: where from.
            details: what ``json.dumps`` takes, up to 256 KiB of JSON.
            members: further members. ``timestamp`` and ``id`` are kept as ``client_time`` and
                ``client_id``.
            idempotency_key: as of :meth:`check`.

        Raises:
            TallykeepError: as of :meth:`check`.
            ValueError: ``details`` or ``members`` are no JSON: NaN, an infinity, a lone surrogate.
            TypeError: they have a value of a type that JSON does not have.
        """
        key = idempotency_key
        return self._perform(_api.log(type, action, user_id, ip, details, members, key))

    def query(
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
        """Gives a page of the entries that match all filters (guide, "POST /query").

        Args:
            start_time_ms: the first time, in milliseconds since the Unix epoch, inclusive.
            end_time_ms: the last time, inclusive.
            type: of the entries, as ``action``, ``user_id`` and ``ip``: equal to the whole of it.
            action: see ``type``.
            user_id: see ``type``.
            ip: see ``type``.
            order: ``"desc"``, newest first, by default; or ``"asc"``.
            limit: entries of a page: 0 to 10,000, 100 by default.
            cursor: of the page before, with the same filters.

        Raises:
            TallykeepError: as of :meth:`check`; a filter out of bounds is a RequestError.
        """
        return self._perform(
            _api.query(start_time_ms, end_time_ms, type, action, user_id, ip, order, limit, cursor)
        )

    @contextmanager
    def export(
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
    ) -> Iterator[Iterator[bytes]]:
        """Gives all entries that match all filters, as the log has them, in parts of any size:
        ``with client.export("csv") as parts``.

        Args:
            format: ``"json"``, one object; ``"ndjson"``, one entry a line; ``"csv"`` (RFC 4180).
            csv_escape: whether cells that a spreadsheet would run get a ``'`` in front.
            start_time_ms: this and further filters as of :meth:`query`.
            end_time_ms: see :meth:`query`.
            type: see :meth:`query`.
            action: see :meth:`query`.
            user_id: see :meth:`query`.
            ip: see :meth:`query`.
            order: see :meth:`query`.

        Raises:
            TallykeepError: as of :meth:`check`, at the beginning.
            NoAnswerError: while the parts are read, if the export breaks off, or no part comes for
                ``timeout_s``. It is not begun again, for another snapshot would follow.
        """
        stream = self._perform(
            _api.export(
                format, csv_escape, start_time_ms, end_time_ms, type, action, user_id, ip, order
            )
        ).stream
        assert stream is not None, "a 200 of a streamed request has its stream"
        try:
            yield self._parts(stream)
        finally:
            stream.close()

    def _parts(self, stream: httpx.Response) -> Iterator[bytes]:
        try:
            yield from stream.iter_bytes()
        except httpx.RequestError as error:
            raise broke_off(error) from error

    def _perform(self, operation: Operation[Result]) -> Result:
        return operation.read(self._run(operation.request))

    def _run(self, request: Request) -> Answer:
        steps = self._calls.call(request)
        came: Answer | Broken | None = None
        while True:
            try:
                step = steps.send(came)
            except StopIteration as end:
                answer: Answer = end.value
                return answer
            if isinstance(step, Pause):
                time.sleep(step.duration_s)
                came = None
            else:
                came = self._attempt(step)

    def _attempt(self, attempt: Attempt) -> Answer | Broken:
        limit = _Limit(attempt, self._stall_s)
        try:
            return self._exchange(attempt, limit)
        except httpx.TimeoutException as error:
            return late(attempt, error)
        except httpx.RequestError as error:
            return broken(error)

    def _exchange(self, attempt: Attempt, limit: _Limit) -> Answer:
        request = self._http.build_request(
            attempt.method,
            attempt.url,
            content=attempt.body,
            headers=attempt.headers,
            extensions={"timeout": limit.timeouts_s, "trace": limit.trace},
        )
        response = self._http.send(request, stream=True)
        status, headers = response.status_code, response.headers
        if attempt.is_streamed and status == 200:
            return Answer(status, headers, stream=response)
        body = Body(status)
        try:
            for chunk in response.iter_bytes():
                limit.check()
                if not body.take(chunk):
                    break
        finally:
            response.close()
        return Answer(status, headers, body.whole())


class _Limit:
    """How long an attempt may take in all. httpx bounds each step of it by itself, so before each
    step (httpx, "Request extensions": ``trace``) the bound becomes what is left (``timeout``).
    """

    def __init__(self, attempt: Attempt, stall_s: float) -> None:
        self._end_s = time.monotonic() + attempt.limit_s
        self._stall_s = stall_s if attempt.is_streamed else None
        self.timeouts_s: dict[str, float] = {}
        self._set(attempt.limit_s)

    def trace(self, event: str, _: Mapping[str, Any]) -> None:
        """Is told by httpx what begins or ends."""
        if not event.endswith(".started"):
            return
        if self._stall_s is not None and "receive_response_body" in event:
            self._set(self._stall_s)
        else:
            # A bound of 0 would not wait at all, and none would wait for ever.
            self._set(max(0.001, self._end_s - time.monotonic()))

    def check(self) -> None:
        """Raises a timeout if the time is over: a body may come in many steps."""
        if time.monotonic() >= self._end_s:
            raise httpx.ReadTimeout("the answer takes too long")

    def _set(self, bound_s: float) -> None:
        self.timeouts_s.update(dict.fromkeys(("connect", "read", "write", "pool"), bound_s))
