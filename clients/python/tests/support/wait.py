"""Waits for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T | None], timeout_s: float = 60.0) -> T:
    """Tries ``condition`` until it gives something true, which is returned; fails with ``what`` if
    it does not.
    """
    end_s = time.monotonic() + timeout_s
    while True:
        last: Exception | None = None
        try:
            value = condition()
            if value:
                return value
        except Exception as error:
            last = error
        if time.monotonic() > end_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}") from last
        time.sleep(0.02)
