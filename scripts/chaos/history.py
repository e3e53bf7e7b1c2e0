"""What clients saw: every call with its real-time interval, and what became of it."""

import dataclasses
import enum


class Fate(enum.Enum):
    """What a client knows of its request."""

    # Answered: it was carried out.
    DONE = "done"
    # It changed nothing: never sent, or so the node said.
    FAILED = "failed"
    # It may have been carried out, or may be yet.
    UNKNOWN = "unknown"


@dataclasses.dataclass(slots=True)
class Call:
    """One request to one node. Times are seconds of this machine's monotonic clock."""

    # check, reset, log or query
    kind: str
    # The identifier of a check or reset; the `userId` of a log or query.
    key: str
    node: int
    began: float
    ended: float
    fate: Fate
    # Of what is done. check: (allowed, remaining, reset_ms); log: the entry's id; query: the
    # clients' own ids of the entries, in order.
    answer: object = None
    # log: the client's own id of the entry.
    own_id: str = ""
    # Of what is not done: a problem's code, or what happened to the connection.
    why: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Limiter:
    """A limiter's one configuration: with it, the answers say all that the model has to know."""

    requests: int
    window_ms: int


# The reason of a request whose connection ended, cleanly, where an answer should have begun.
CLOSED = "closed"
# Nobody listened: the request was not sent.
NOT_CONNECTED = "not connected"
TIMED_OUT = "no answer in time"
BROKEN = "broken connection"

# What a node says when it has changed nothing (docs/architecture.md); any other problem with a
# status from 500 on leaves it open.
UNCHANGED_CODES = ("no_leader", "overloaded")


def fate_of(status, code):
    """The fate of a request that was answered so; 429 is the answer of a refused check."""
    if status in (200, 429):
        return Fate.DONE
    if 400 <= status < 500 or (status == 503 and code in UNCHANGED_CODES):
        return Fate.FAILED
    return Fate.UNKNOWN
