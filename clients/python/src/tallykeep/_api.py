"""The calls of the API: what each sends, and what its answer means. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import urlencode

from ._call import Answer, Request, problem
from .errors import ProtocolError, RequestError, TallykeepError
from .results import Decision, Entry, Page

NAME_BYTES_MAX = 512
REQUESTS_MAX = 2**53 - 1
WINDOW_MS_MAX = 400 * 24 * 60 * 60 * 1000
# Python's own bound on the digits of an int that is read from text.
_INT_DIGITS_MAX = 4300
# Members of an entry that `log` has arguments for.
_ARGUMENTS = ("type", "action", "userId", "ip", "details")

Order = Literal["desc", "asc"]
Format = Literal["json", "csv", "ndjson"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Operation(Generic[Result]):
    """A request, and how its answer is read."""

    request: Request
    read: Callable[[Answer], Result]


def check(
    identifier: str,
    type: str | None,
    requests: int | None,
    window_ms: int | None,
    key: str | None,
) -> Operation[Decision]:
    """``POST /check``."""
    body = _limiter(identifier, type)
    if requests is not None and window_ms is not None:
        body["config"] = {
            "requests": integer("requests", requests, 0, REQUESTS_MAX),
            "windowMs": integer("window_ms", window_ms, 1, WINDOW_MS_MAX),
        }
    elif requests is not None or window_ms is not None:
        raise ValueError("requests and window_ms are given together, or neither is")
    elif type is None:
        raise ValueError("without requests and window_ms there must be a type, which has a policy")
    return Operation(_post("/check", to_json(body), key), _decision)


def reset(identifier: str, type: str | None, key: str | None) -> Operation[None]:
    """``POST /reset``."""

    def read(answer: Answer) -> None:
        if _members(answer).get("success") is not True:
            raise _foreign(answer, "has no success")

    return Operation(_post("/reset", to_json(_limiter(identifier, type)), key), read)


def log(
    type: str,
    action: str,
    user_id: str | None,
    ip: str | None,
    details: Mapping[str, Any] | None,
    members: Mapping[str, Any] | None,
    key: str | None,
) -> Operation[str]:
    """``POST /log``. The result is the entry's id."""
    return log_json(to_json(entry_members(type, action, user_id, ip, details, members)), key)


def log_json(entry: bytes, key: str | None) -> Operation[str]:
    """``POST /log`` of an entry that is JSON."""

    def read(answer: Answer) -> str:
        id = _members(answer).get("id")
        if not isinstance(id, str):
            raise _foreign(answer, "has no id")
        return id

    return Operation(_post("/log", entry, key), read)


def log_batch(entries: Sequence[bytes]) -> Operation[list[str | TallykeepError]]:
    """``POST /log/batch`` of entries that are JSON. The result is what became of each: its id, or
    why it was not taken.
    """
    body = b'{"entries":[%s]}' % b",".join(entries)

    def read(answer: Answer) -> list[str | TallykeepError]:
        results = _members(answer).get("results")
        if not isinstance(results, list) or len(results) != len(entries):
            raise _foreign(answer, "has not one result for each entry")
        return [_logged(answer, result) for result in results]

    return Operation(_post("/log/batch", body, None), read)


def _logged(answer: Answer, result: Any) -> str | TallykeepError:
    """What one result of a batch says."""
    members = result if isinstance(result, dict) else {}
    id, status, code = members.get("id"), members.get("status"), members.get("code")
    if status == 200 and isinstance(id, str):
        return id
    if not isinstance(status, int) or status < 400:
        return _foreign(answer, "has a result that is none")
    return RequestError(
        f"tallykeep answered {status}: {members.get('detail')}",
        status=status,
        code=code if isinstance(code, str) else None,
    )


def entry_members(
    type: str,
    action: str,
    user_id: str | None,
    ip: str | None,
    details: Mapping[str, Any] | None,
    members: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The members of an entry, as ``POST /log`` takes them."""
    given = {"userId": user_id, "ip": ip, "details": details}
    further = dict(members or {})
    twice = next((name for name in further if name in _ARGUMENTS), None)
    if twice is not None:
        raise ValueError(f"members must not have {twice}: log has an argument for it")
    return {"type": type, "action": action, **_present(given), **further}


def query(
    start_time_ms: int | None,
    end_time_ms: int | None,
    type: str | None,
    action: str | None,
    user_id: str | None,
    ip: str | None,
    order: Order | None,
    limit: int | None,
    cursor: str | None,
) -> Operation[Page]:
    """``POST /query``. It changes nothing, and may be repeated without a key."""
    body = _filter(start_time_ms, end_time_ms, type, action, user_id, ip, order)
    body.update(_present({"limit": limit, "cursor": cursor}))
    return Operation(Request("POST", "/query", to_json(body)), _page)


def export(
    format: Format,
    csv_escape: bool,
    start_time_ms: int | None,
    end_time_ms: int | None,
    type: str | None,
    action: str | None,
    user_id: str | None,
    ip: str | None,
    order: Order | None,
) -> Operation[Answer]:
    """``GET /export``. The result is an answer whose stream is to be read."""
    parameters: dict[str, Any] = {"format": format}
    if not csv_escape:
        parameters["csvEscape"] = "none"
    parameters.update(_filter(start_time_ms, end_time_ms, type, action, user_id, ip, order))
    # A lone surrogate is no character: a UnicodeEncodeError, which is a ValueError.
    path = f"/export?{urlencode(parameters)}"

    def read(answer: Answer) -> Answer:
        _refuse(answer)
        return answer

    return Operation(Request("GET", path, is_streamed=True), read)


def to_json(value: object) -> bytes:
    """JSON in UTF-8.

    Raises:
        ValueError: for NaN, the infinities and lone surrogates, which JSON does not have.
        TypeError: for what is no JSON value.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def _post(path: str, body: bytes, key: str | None) -> Request:
    if key is None:
        # A string of RFC 9651, as draft-ietf-httpapi-idempotency-key-header has it.
        own = f'"{uuid.uuid4()}"'
        return Request("POST", path, body, key=own, has_own_key=True)
    if not re.fullmatch(r"[\x21-\x7e]+", key) or '"' in key or "\\" in key:
        raise ValueError(
            "idempotency_key must be a string of visible ASCII characters without quotes and "
            "backslashes"
        )
    return Request("POST", path, body, key=f'"{key}"')


def _limiter(identifier: str, type: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"identifier": counted(identifier)}
    if type is not None:
        if not 1 <= len(type.encode()) <= NAME_BYTES_MAX:
            raise ValueError(f"type must be a string of 1 to {NAME_BYTES_MAX} bytes")
        body["type"] = type
    return body


def counted(identifier: str) -> str:
    """The identifier, if the cluster takes it, or what stands for it.

    An identifier comes from outside. One that the cluster would not take (empty, over 512 bytes,
    with control characters) is counted under ``sha256:`` and its digest, so that nobody gets past
    a limit by sending such a one. The JavaScript client does the same.
    """
    text = re.sub("[\ud800-\udfff]", "\ufffd", identifier)
    data = text.encode()
    is_taken = (
        text == identifier
        and 1 <= len(data) <= NAME_BYTES_MAX
        and all(unicodedata.category(character) != "Cc" for character in text)
    )
    return text if is_taken else f"sha256:{hashlib.sha256(data).hexdigest()}"


def integer(name: str, value: int, least: int, most: int) -> int:
    """Checks an argument."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be an integer from {least} to {most}")
    return value


def _filter(
    start_time_ms: int | None,
    end_time_ms: int | None,
    type: str | None,
    action: str | None,
    user_id: str | None,
    ip: str | None,
    order: Order | None,
) -> dict[str, Any]:
    return _present(
        {
            "startTime": start_time_ms,
            "endTime": end_time_ms,
            "type": type,
            "action": action,
            "userId": user_id,
            "ip": ip,
            "order": order,
        }
    )


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _refuse(answer: Answer) -> None:
    """Raises what an answer that is no result means."""
    if answer.status == 200:
        return
    detail, code = problem(answer)
    message = f"tallykeep answered {answer.status}: {detail}"
    sort = RequestError if answer.status >= 400 else ProtocolError
    raise sort(message, status=answer.status, code=code)


def _members(answer: Answer) -> dict[str, Any]:
    """The JSON object that a 200 is."""
    _refuse(answer)
    return _object(answer)


def _object(answer: Answer) -> dict[str, Any]:
    try:
        members = json.loads(answer.body, parse_int=_int)
    except ValueError as error:
        raise _foreign(answer, "is no JSON") from error
    if not isinstance(members, dict):
        raise _foreign(answer, "is no object")
    return members


def _int(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _INT_DIGITS_MAX else Decimal(digits)


def _foreign(answer: Answer, what: str) -> ProtocolError:
    return ProtocolError(f"the answer {what}: it is none of tallykeep's", status=answer.status)


def _decision(answer: Answer) -> Decision:
    # A 429 that is a problem is none of a limiter.
    if answer.status != 429 or problem(answer)[1] is not None:
        _refuse(answer)
    members = _object(answer)
    allowed, remaining = members.get("allowed"), members.get("remaining")
    reset_time_ms, retry_after_s = members.get("resetTime"), members.get("retryAfter")
    if (
        not isinstance(allowed, bool)
        or allowed != (answer.status == 200)
        or not isinstance(remaining, int)
        or not isinstance(reset_time_ms, int)
        or not isinstance(retry_after_s, int | None)
    ):
        raise _foreign(answer, "has no allowed, no remaining or no resetTime")
    return Decision(allowed, remaining, reset_time_ms, retry_after_s)


def _page(answer: Answer) -> Page:
    members = _members(answer)
    cursor = members.get("cursor")
    try:
        entries = tuple(_entry(dict(entry)) for entry in members["entries"])
    except (KeyError, TypeError, ValueError) as error:
        raise _foreign(answer, "has no entries") from error
    if not isinstance(cursor, str | None):
        raise _foreign(answer, "has a cursor that is no text")
    return Page(entries, cursor)


def _entry(members: dict[str, Any]) -> Entry:
    return Entry(
        id=members.pop("id"),
        timestamp_ms=members.pop("timestamp"),
        type=members.pop("type"),
        action=members.pop("action"),
        details=members.pop("details"),
        user_id=members.pop("userId", None),
        ip=members.pop("ip", None),
        client_time=members.pop("clientTime", None),
        client_id=members.pop("clientId", None),
        members=members,
    )
