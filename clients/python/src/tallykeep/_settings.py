"""What a client is made with, and the bounds of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S_MAX = 600.0


@dataclass(frozen=True)
class Settings:
    """The arguments of a client, with nothing in them that is wrong."""

    endpoints: tuple[str, ...]
    """Without a slash at the end."""
    token: str | None
    timeout_s: float
    attempt_timeout_s: float


def settings(
    endpoints: Sequence[str], token: str | None, timeout_s: float, attempt_timeout_s: float
) -> Settings:
    """Checks the arguments of a client.

    Raises:
        ValueError: names the argument, and what it has to be.
    """
    if isinstance(endpoints, str) or len(endpoints) == 0:
        raise ValueError("endpoints must be a list of at least one URL")
    clean = tuple(_endpoint(text) for text in endpoints)
    if len(set(clean)) < len(clean):
        raise ValueError("an endpoint is there twice")
    if token is not None and not re.fullmatch("[\x21-\x7e]+", token):
        raise ValueError("token must be a string of visible ASCII characters")
    return Settings(
        endpoints=clean,
        token=token,
        timeout_s=_seconds("timeout_s", timeout_s),
        attempt_timeout_s=_seconds("attempt_timeout_s", attempt_timeout_s),
    )


def _endpoint(text: str) -> str:
    try:
        url = urlsplit(text)
        # Reading the port checks it.
        is_url = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except (ValueError, AttributeError):
        is_url = False
    if not is_url or re.search(r"[\x00-\x20\x7f]", text):
        raise ValueError(f"endpoint {text!r} must be a URL like http://10.0.0.1:7001")
    if "@" in url.netloc or "?" in text or "#" in text:
        raise ValueError(
            "an endpoint must have no user, query or fragment; there is token for a secret"
        )
    return f"{url.scheme}://{url.netloc.lower()}{url.path.rstrip('/')}"


def _seconds(name: str, value: float) -> float:
    # NaN is in no range.
    if isinstance(value, bool) or not 0.001 <= value <= TIMEOUT_S_MAX:
        raise ValueError(f"{name} must be a number of seconds from 0.001 to {TIMEOUT_S_MAX:.0f}")
    return float(value)
