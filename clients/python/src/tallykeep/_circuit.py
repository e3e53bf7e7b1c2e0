"""Whether a node is worth asking first."""

from __future__ import annotations

import math

# After the first failure; doubled by each further one.
OPEN_S_MIN = 0.5
OPEN_S_MAX = 15.0
# 2**5 * OPEN_S_MIN is above OPEN_S_MAX.
_DOUBLINGS_MAX = 5


class Circuit:
    """A node that did not answer is passed over for a while, so that not every call finds out by
    itself that it is dead. Then one call tries it: if that fails too, the while is twice as long.

    Times are seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._open_until_s = 0.0
        self._failed_at_s = -math.inf

    def is_closed(self, now_s: float) -> bool:
        """Whether the node is to be asked in its turn. Other nodes failing, it is all the same."""
        return now_s >= self._open_until_s

    def begin(self, now_s: float, limit_s: float) -> None:
        """A call goes to the node now, and may find out for ``limit_s`` how it is: others need
        not.
        """
        if self._failures > 0:
            self._open_until_s = max(self._open_until_s, now_s + limit_s)

    def succeed(self) -> None:
        """The node answered, be it with an error."""
        self._failures = 0
        self._open_until_s = 0.0

    def fail(self, began_s: float, now_s: float) -> None:
        """The node could not be reached, broke off, or took too long."""
        # A hundred calls that were under way when a node died are one failure.
        if began_s < self._failed_at_s:
            return
        doublings = min(self._failures, _DOUBLINGS_MAX)
        self._open_until_s = now_s + min(OPEN_S_MIN * 2**doublings, OPEN_S_MAX)
        self._failures += 1
        self._failed_at_s = now_s
