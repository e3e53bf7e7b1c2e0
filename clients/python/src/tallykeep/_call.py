"""One call, and as many attempts at the nodes as its time allows. Decides, and does no I/O.

Any node takes any request. What cannot be reached, breaks off or takes too long is asked of the
next node at once, with the same bytes and the same ``Idempotency-Key``, so that the cluster counts
it once. What the cluster answers below 500 is the answer, but for the 429 of a token that asks a
node too often: another may have room.

:meth:`Calls.call` is a generator. It yields what is to be done next, an :class:`Attempt` or a
:class:`Pause`, and is sent what came of it. Its return value is the answer. So a client that blocks
and one that awaits share all of it.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias

import httpx

from ._circuit import Circuit
from ._retry_after import retry_after_s
from ._settings import Settings
from .errors import NoAnswerError, RequestError, ServerError, TallykeepError

# Pause before a node that failed is asked again by the same call; doubled each time.
PAUSE_S_MIN = 0.05
PAUSE_S_MAX = 1.0
_DOUBLINGS_MAX = 5
# How much of a 5xx is read, for its message.
PROBLEM_BYTES_MAX = 64 * 1024
# How much longer than its call a key is remembered: more than a node takes to carry a request out,
# or to give up on it (5 s), and than clocks differ by.
KEY_TTL_MARGIN_S = 60
# Of a 5xx, those that another node may do better. 507 and the like are the whole cluster's.
ELSEWHERE_STATUSES = (500, 502, 504)
# Codes of 5xx that are about the Idempotency-Key and not about the request, which was not carried
# out: as many keys are kept as may be, or a rolling upgrade is not over yet.
KEY_CODES = ("idempotency_keys_full", "not_yet_supported")
# A 429 with this code is no refused check: the token asks this node too often, and nothing was
# changed. Each node counts for itself, and has room again within a second.
TOO_OFTEN_CODE = "token_rate_limited"


@dataclass(frozen=True)
class Request:
    """A request that can be sent any number of times."""

    method: str
    path: str
    """With the query."""
    body: bytes | None = None
    key: str | None = None
    """The value of ``Idempotency-Key``, a string of RFC 9651."""
    has_own_key: bool = False
    """Whether ``key`` was made here, and not by the caller."""
    is_streamed: bool = False
    """Whether a 200 is given to the caller with its body unread."""


@dataclass(frozen=True)
class Attempt:
    """To be done: this request at this node."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    limit_s: float
    """How long it may take; if the answer is streamed, until its body begins."""
    is_streamed: bool


@dataclass(frozen=True)
class Pause:
    """To be done: nothing, for so long."""

    duration_s: float


@dataclass(frozen=True)
class Answer:
    """What a node answered."""

    status: int
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes = b""
    stream: httpx.Response | None = None
    """In the place of the body, if that is the caller's to read."""


@dataclass(frozen=True)
class Broken:
    """There is no answer."""

    reason: str
    cause: Exception | None = None


Steps: TypeAlias = Generator["Attempt | Pause", "Answer | Broken | None", Answer]


@dataclass
class _Node:
    endpoint: str
    circuit: Circuit = field(default_factory=Circuit)


@dataclass
class _Candidate:
    """A node, as one call sees it."""

    node: _Node
    attempts: int = 0
    not_before_s: float = 0.0
    """Not to be asked before. Infinity: not again."""


@dataclass(frozen=True)
class _Failure:
    """Why an attempt is not the answer, and from when on the node may be asked again."""

    error: TallykeepError
    sort: str
    """"broken", "later", "elsewhere" or "final"."""
    after_s: float = 0.0


class Calls:
    """The calls of one client, which may be made by many threads and tasks."""

    def __init__(
        self,
        settings: Settings,
        *,
        now_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._now_s = now_s
        self._wall_s = wall_s
        self._chance = chance
        self._nodes = [_Node(endpoint) for endpoint in settings.endpoints]
        # The cluster need not remember a call's own key for the day that it would: it is sent until
        # the deadline, and never again.
        self._ttl = f";ttl={math.ceil(settings.timeout_s) + KEY_TTL_MARGIN_S}"
        # Whose turn it is to be asked first. It starts anywhere, so that many clients spread.
        self._turn = int(chance() * len(self._nodes))
        # Circuits and the turn are of all threads.
        self._lock = threading.Lock()

    def call(self, request: Request) -> Steps:
        """Makes a call.

        Raises:
            NoAnswerError: no node could be reached, or none answered in time.
            ServerError: the last answer was a 5xx.
            RequestError: the token asks every node too often.
        """
        deadline_s = self._now_s() + self._settings.timeout_s
        candidates, is_hopeless = self._candidates()
        last: TallykeepError | None = None
        while True:
            candidate = min(candidates, key=lambda one: one.not_before_s)
            now_s = self._now_s()
            if candidate.not_before_s >= deadline_s or now_s >= deadline_s:
                raise last or self._late()
            if candidate.not_before_s > now_s:
                yield Pause(candidate.not_before_s - now_s)
            came = yield from self._attempt(candidate.node, request, deadline_s)
            if isinstance(came, Answer):
                return came
            if last is None and request.has_own_key and came.error.code in KEY_CODES:
                return (yield from self._without_key(candidate.node, request, deadline_s))
            last = came.error
            if came.sort == "final":
                raise last
            candidate.attempts += 1
            # If all were found dead a moment ago, each is tried once and no more: callers that fail
            # open should not each wait for the deadline.
            if came.sort == "elsewhere" or (came.sort == "broken" and is_hopeless):
                candidate.not_before_s = math.inf
            else:
                pause_s = max(came.after_s, self._pause_s(candidate))
                candidate.not_before_s = self._now_s() + pause_s

    def _without_key(self, node: _Node, request: Request, deadline_s: float) -> Steps:
        """One attempt without a key, for a call of which nothing was carried out yet: better than
        none. It is not repeated, for that might count twice.
        """
        bare = Request(request.method, request.path, request.body)
        came = yield from self._attempt(node, bare, deadline_s)
        if isinstance(came, Answer):
            return came
        raise came.error

    def _candidates(self) -> tuple[list[_Candidate], bool]:
        """All nodes, in the order in which one call asks them first; and whether all of them were
        found dead.
        """
        with self._lock:
            turn = self._turn
            self._turn = (turn + 1) % len(self._nodes)
            now_s = self._now_s()
            nodes = self._nodes[turn:] + self._nodes[:turn]
            closed = [node for node in nodes if node.circuit.is_closed(now_s)]
        opened = [node for node in nodes if node not in closed]
        return [_Candidate(node) for node in closed + opened], not closed

    def _attempt(
        self, node: _Node, request: Request, deadline_s: float
    ) -> Generator[Attempt | Pause, Answer | Broken | None, Answer | _Failure]:
        began_s = self._now_s()
        limit_s = max(0.001, deadline_s - began_s)
        if len(self._nodes) > 1:
            limit_s = min(limit_s, self._settings.attempt_timeout_s)
        with self._lock:
            node.circuit.begin(began_s, limit_s)
        came = yield Attempt(
            method=request.method,
            url=node.endpoint + request.path,
            headers=self._headers(request),
            body=request.body,
            limit_s=limit_s,
            is_streamed=request.is_streamed,
        )
        assert came is not None, "an attempt comes to an answer, or it is broken"
        with self._lock:
            if isinstance(came, Broken):
                node.circuit.fail(began_s, self._now_s())
            else:
                node.circuit.succeed()
        if isinstance(came, Broken):
            message = f"tallykeep at {node.endpoint} cannot be reached: {came.reason}"
            error = NoAnswerError(message, retryable=True)
            error.__cause__ = came.cause
            return _Failure(error, "broken")
        return self._refusal(node, came) if _is_refusal(came) else came

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if request.key is not None:
            headers["Idempotency-Key"] = request.key + (self._ttl if request.has_own_key else "")
        if self._settings.token is not None:
            headers["Authorization"] = f"Bearer {self._settings.token}"
        return headers

    def _refusal(self, node: _Node, answer: Answer) -> _Failure:
        """What a 5xx, or a 429 of ``TOO_OFTEN_CODE``, means for the call."""
        status = answer.status
        is_later = status in (429, 503)
        detail, code = problem(answer)
        # The node's log has a line with it of each 5xx.
        request_id = answer.headers.get("x-request-id")
        which = "" if request_id is None else f" (request {request_id})"
        sort = ServerError if status >= 500 else RequestError
        error = sort(
            f"tallykeep at {node.endpoint} answered {status}: {detail}{which}",
            status=status,
            code=code,
            retryable=is_later or status in ELSEWHERE_STATUSES,
        )
        if is_later:
            after_s = retry_after_s(answer.headers.get("retry-after"), self._wall_s())
            return _Failure(error, "later", after_s or 0.0)
        return _Failure(error, "elsewhere" if status in ELSEWHERE_STATUSES else "final")

    def _pause_s(self, candidate: _Candidate) -> float:
        """A failed node's pause, with half of it by chance, so that many callers do not come back
        at once.
        """
        doublings = min(candidate.attempts - 1, _DOUBLINGS_MAX)
        whole_s: float = min(PAUSE_S_MIN * 2**doublings, PAUSE_S_MAX)
        return whole_s * (0.5 + self._chance() / 2)

    def _late(self) -> NoAnswerError:
        message = f"no tallykeep node answered within {self._settings.timeout_s:g} s"
        return NoAnswerError(message, retryable=True)


class Body:
    """The body of an answer, as it comes."""

    def __init__(self, status: int) -> None:
        self._bytes_max = PROBLEM_BYTES_MAX if status >= 500 else None
        self._chunks: list[bytes] = []
        self._size_bytes = 0

    def take(self, chunk: bytes) -> bool:
        """Adds a part; says whether there is to be more."""
        self._chunks.append(chunk)
        self._size_bytes += len(chunk)
        return self._bytes_max is None or self._size_bytes < self._bytes_max

    def whole(self) -> bytes:
        """What was taken."""
        return b"".join(self._chunks)


def _is_refusal(answer: Answer) -> bool:
    """Whether an answer is none to the call, so that another node may be asked."""
    if answer.status == 429:
        return problem(answer)[1] == TOO_OFTEN_CODE
    return answer.status >= 500


def problem(answer: Answer) -> tuple[str, str | None]:
    """The ``detail`` and the ``code`` of a problem (RFC 9457); a proxy's answer has none, and is
    told by the phrase of its status.
    """
    try:
        members = json.loads(answer.body)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        members = {}
    detail, code = members.get("detail"), members.get("code")
    if not isinstance(detail, str):
        detail = _phrase(answer.status)
    return detail, code if isinstance(code, str) else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason"
