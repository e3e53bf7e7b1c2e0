"""The ``Retry-After`` header (RFC 9110, 10.2.3)."""

from __future__ import annotations

import re
from datetime import timezone
from email.utils import parsedate_to_datetime


def retry_after_s(value: str | None, wall_s: float) -> float | None:
    """The seconds of a ``Retry-After``, which has seconds or a date. None if it is neither.

    ``wall_s`` is now, in seconds since the Unix epoch.
    """
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, date.timestamp() - wall_s)
