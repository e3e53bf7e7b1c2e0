"""What both clients ask of httpx, and what its exceptions mean."""

from __future__ import annotations

import ssl
from typing import TypedDict

import httpx

from ._call import Attempt, Broken
from .errors import NoAnswerError

# Below the 75 s after which a node closes a connection that nobody uses.
KEEPALIVE_S = 60.0
KEEPALIVE_CONNECTIONS_MAX = 100


class HttpOptions(TypedDict):
    """Arguments of ``httpx.Client`` and ``httpx.AsyncClient``."""

    verify: ssl.SSLContext | bool
    trust_env: bool
    follow_redirects: bool
    limits: httpx.Limits
    headers: dict[str, str]


def http_options(ssl_context: ssl.SSLContext | None) -> HttpOptions:
    """No redirects, which would be somebody else's doing, and the token is not theirs. No proxies
    and no passwords of the environment: the endpoints say where calls go.
    """
    return {
        "verify": True if ssl_context is None else ssl_context,
        "trust_env": False,
        "follow_redirects": False,
        "limits": httpx.Limits(
            max_connections=None,
            max_keepalive_connections=KEEPALIVE_CONNECTIONS_MAX,
            keepalive_expiry=KEEPALIVE_S,
        ),
        "headers": {"User-Agent": "tallykeep-python"},
    }


def late(attempt: Attempt, cause: Exception) -> Broken:
    """An attempt whose time was over."""
    return Broken(f"no answer within {attempt.limit_s * 1000:.0f} ms", cause)


def broken(cause: httpx.RequestError) -> Broken:
    """An attempt that failed."""
    return Broken(str(cause) or type(cause).__name__, cause)


def broke_off(cause: httpx.RequestError) -> NoAnswerError:
    """An export that is not whole."""
    return NoAnswerError(f"the export broke off: {broken(cause).reason}", retryable=True)
