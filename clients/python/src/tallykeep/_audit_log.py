"""Entries that nobody has to wait for, and that are never lost silently."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from . import _api
from ._client import Client
from .errors import TallykeepError

logger = logging.getLogger("tallykeep.audit")

# How long a log that has no /log/batch is not asked for it again.
NO_BATCH_S = 60.0
# Answers to a batch that say nothing of its entries: each is then sent by itself.
NOT_AS_A_BATCH = (400, 404, 405, 413)


@dataclass(frozen=True)
class _Pending:
    """An entry, and who waits for it."""

    json: bytes
    logged: Future[str | None] = field(default_factory=Future)


class AuditLog:
    """Logs entries in batches, from a thread of its own (guide, "Graceful Degradation").

    Threads and tasks may share it. The thread lives while entries wait, and a program that ends by
    itself ends after it.
    """

    def __init__(
        self,
        client: Client,
        *,
        entries_max: int = 100,
        bytes_max: int = 512_000,
        delay_s: float = 0.02,
        queue_bytes_max: int = 16_000_000,
    ) -> None:
        """Does no I/O, and starts nothing.

        Args:
            client: how the log is reached. Close it after this.
            entries_max: entries in a batch: 1 to 1,000.
            bytes_max: bytes of JSON in a batch: 1 to 1,000,000. A larger entry goes by itself.
            delay_s: how long a batch gathers: 0 to 60 seconds.
            queue_bytes_max: bytes of JSON that wait for their answer: 1 to 2^40.

        Raises:
            ValueError: names the argument, and what it has to be.
        """
        self._client = client
        self._entries_max = _api.integer("entries_max", entries_max, 1, 1_000)
        self._bytes_max = _api.integer("bytes_max", bytes_max, 1, 1_000_000)
        if isinstance(delay_s, bool) or not 0 <= delay_s <= 60:
            raise ValueError("delay_s must be a number of seconds from 0 to 60")
        self._delay_s = delay_s
        self._queue_bytes_max = _api.integer("queue_bytes_max", queue_bytes_max, 1, 2**40)
        self._queue: deque[_Pending] = deque()
        self._queue_bytes = 0
        # Of the queue and of those that are under way.
        self._pending: set[Future[str | None]] = set()
        self._pending_bytes = 0
        self._is_flushing = False
        self._is_working = False
        self._no_batch_until_s = 0.0
        self._changed = threading.Condition()

    def log(
        self,
        type: str,
        action: str,
        *,
        user_id: str | None = None,
        ip: str | None = None,
        details: Mapping[str, Any] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> Future[str | None]:
        """Takes an entry, and returns at once. Arguments as of :meth:`Client.log`. Never raises.

        The result is the entry's id, once it is durable on a majority of the machines; or None if
        the entry went to the logger ``tallykeep.audit`` instead: the reason, and one line of JSON
        that ``POST /log`` takes. ``asyncio.wrap_future`` makes it one to await.
        """
        try:
            entry = _api.entry_members(type, action, user_id, ip, details, members)
            pending = _Pending(_api.to_json(entry))
        except (TypeError, ValueError) as error:
            logger.error("audit log error: %s: type %r, action %r", error, type, action)
            nothing: Future[str | None] = Future()
            nothing.set_result(None)
            return nothing
        with self._changed:
            reason: str | None
            if self._pending_bytes + len(pending.json) > self._queue_bytes_max:
                reason = "too many audit entries wait for their answer"
            else:
                reason = self._add(pending)
        if reason is not None:
            self._fall([pending], reason)
        return pending.logged

    def flush(self) -> None:
        """Sends what waits, at once, and returns when all of it has its answer."""
        with self._changed:
            self._is_flushing = bool(self._queue)
            self._changed.notify_all()
            waiting = list(self._pending)
        for logged in waiting:
            logged.result()

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def _add(self, pending: _Pending) -> str | None:
        """Puts an entry into the queue; says why, if it cannot be."""
        if not self._is_working:
            # No daemon: the interpreter waits for it, and so for the entries.
            thread = threading.Thread(target=self._work, name="tallykeep-audit", daemon=False)
            try:
                thread.start()
            except RuntimeError as error:
                return f"the program ends: {error}"
            self._is_working = True
        # It cannot be cancelled: it may be on its way.
        pending.logged.set_running_or_notify_cancel()
        self._queue.append(pending)
        self._queue_bytes += len(pending.json)
        self._pending.add(pending.logged)
        self._pending_bytes += len(pending.json)
        self._changed.notify_all()
        return None

    def _work(self) -> None:
        while batch := self._next():
            try:
                self._send(batch)
            except Exception as error:
                self._fall([one for one in batch if not one.logged.done()], str(error))

    def _next(self) -> list[_Pending]:
        """The next batch, when it is full or its time is over; none if no entry waits."""
        with self._changed:
            self._changed.wait_for(self._is_due, self._delay_s)
            batch: list[_Pending] = []
            size_bytes = 0
            while self._queue and len(batch) < self._entries_max:
                size_bytes += len(self._queue[0].json)
                if batch and size_bytes > self._bytes_max:
                    break
                batch.append(self._queue.popleft())
                self._queue_bytes -= len(batch[-1].json)
            if not batch:
                self._is_working = False
            if not self._queue:
                self._is_flushing = False
            return batch

    def _is_due(self) -> bool:
        return (
            self._is_flushing
            or len(self._queue) >= self._entries_max
            or self._queue_bytes >= self._bytes_max
        )

    def _send(self, batch: list[_Pending]) -> None:
        if len(batch) > 1 and time.monotonic() >= self._no_batch_until_s:
            try:
                results = self._client._perform(_api.log_batch([one.json for one in batch]))
            except TallykeepError as error:
                # During a rolling upgrade batches are not taken yet, and nothing was logged.
                if error.status not in NOT_AS_A_BATCH and error.code != "not_yet_supported":
                    raise
                if error.status in (404, 405):
                    self._no_batch_until_s = time.monotonic() + NO_BATCH_S
            else:
                for one, result in zip(batch, results, strict=True):
                    self._settle(one, result)
                return
        for one in batch:
            try:
                self._settle(one, self._client._perform(_api.log_json(one.json, None)))
            except TallykeepError as error:
                self._settle(one, error)

    def _settle(self, pending: _Pending, result: str | TallykeepError) -> None:
        if isinstance(result, str):
            self._release(pending)
            pending.logged.set_result(result)
        else:
            self._fall([pending], str(result))

    def _fall(self, batch: list[_Pending], reason: str) -> None:
        """Guide, "Graceful Degradation": log to the console. A line is what ``POST /log`` takes."""
        logger.error("audit log error: %s", reason)
        for one in batch:
            logger.error("%s", one.json.decode())
            self._release(one)
            one.logged.set_result(None)

    def _release(self, pending: _Pending) -> None:
        with self._changed:
            if pending.logged in self._pending:
                self._pending.remove(pending.logged)
                self._pending_bytes -= len(pending.json)
