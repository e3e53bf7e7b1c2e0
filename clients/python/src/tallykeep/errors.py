"""What a call raises. Arguments out of bounds are a ``ValueError`` and are never sent."""

from __future__ import annotations


class TallykeepError(Exception):
    """A call that came to nothing.

    Attributes:
        status: the status of the last answer, 400 to 599; None if there was none.
        code: the stable word of the last answer's problem (RFC 9457), like ``no_leader``.
        retryable: whether the same call may be carried out if it is made again later. It may also
            have been carried out by now: give both the same ``idempotency_key``, and it counts
            once.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retryable = retryable

    @property
    def overloaded(self) -> bool:
        """Whether the cluster has too much to do: trying again at once makes it worse."""
        return self.code == "overloaded"


class NoAnswerError(TallykeepError):
    """No node could be reached, none answered in time, or an export broke off. Has no status."""


class ServerError(TallykeepError):
    """The last answer was a 5xx: 503 ``no_leader``, ``overloaded``; 507; 500."""


class RequestError(TallykeepError):
    """The cluster refused what was asked, a 4xx: the message says what is wrong with it.

    One is ``retryable``: the 429 ``token_rate_limited``, for a token that asked every node too
    often until the call's time was over.
    """


class ProtocolError(TallykeepError):
    """An answer that is none of tallykeep's: something else is at the endpoint, or in between."""
