"""What calls give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Decision:
    """The answer of ``POST /check``."""

    allowed: bool
    remaining: int
    """Requests that the window still admits."""
    reset_time_ms: int
    """When the window ends, in milliseconds since the Unix epoch."""
    retry_after_s: int | None = None
    """Whole seconds until then, at least 1; None if allowed."""


@dataclass(frozen=True)
class Entry:
    """An entry of the audit log.

    Numbers in ``details``, ``client_time``, ``client_id`` and ``members`` are as ``json.loads``
    reads them: integers exact, others as ``float``. (An integer of more than 4,300 digits is a
    ``decimal.Decimal``.) An export has them as they were written.
    """

    id: str
    """A UUIDv7, which sorts in the order of the log."""
    timestamp_ms: int
    """The cluster's time, in milliseconds since the Unix epoch."""
    type: str
    action: str
    details: Mapping[str, Any] = field(default_factory=dict)
    user_id: str | None = None
    ip: str | None = None
    client_time: Any = None
    """What the client gave as ``timestamp``: never the log's own."""
    client_id: Any = None
    """What the client gave as ``id``: never the log's own."""
    members: Mapping[str, Any] = field(default_factory=dict)
    """Further members, in the client's order."""


@dataclass(frozen=True)
class Page:
    """A part of the answer to a query."""

    entries: tuple[Entry, ...]
    cursor: str | None = None
    """What the next query goes on with; None at the end. An empty page may have one."""
