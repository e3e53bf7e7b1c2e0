"""What calls send, and what answers mean, without I/O."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tallykeep import Client, Decision, ProtocolError, RequestError, _api
from tallykeep._call import Answer
from tallykeep._settings import settings

check = _api.check("user-123", "wix", 100, 60_000, None)


def answer(value: object, status: int = 200) -> Answer:
    """An answer of JSON."""
    return Answer(status, {}, json.dumps(value).encode())


def test_a_check_is_the_guides_body() -> None:
    assert json.loads(check.request.body or b"") == {
        "identifier": "user-123",
        "type": "wix",
        "config": {"requests": 100, "windowMs": 60000},
    }
    alone = json.loads(_api.check("i", None, 0, 1, None).request.body or b"")
    assert alone == {"identifier": "i", "config": {"requests": 0, "windowMs": 1}}


def test_a_check_without_a_limit_names_a_type() -> None:
    by_policy = json.loads(_api.check("i", "wix", None, None, None).request.body or b"")
    assert by_policy == {"identifier": "i", "type": "wix"}
    with pytest.raises(ValueError, match="must be a type"):
        _api.check("i", None, None, None, None)
    for requests, window_ms in ((1, None), (None, 1)):
        with pytest.raises(ValueError, match="together"):
            _api.check("i", "wix", requests, window_ms, None)


def test_every_call_that_changes_something_has_a_key_of_its_own() -> None:
    def made() -> list[str | None]:
        return [
            _api.check("i", None, 1, 1, None).request.key,
            _api.reset("i", None, None).request.key,
            _api.log("t", "a", None, None, None, None, None).request.key,
        ]

    keys = made() + made()
    assert len(set(keys)) == 6
    assert all(key is not None and len(key) == 38 and key[0] == key[-1] == '"' for key in keys)
    assert _api.check("i", None, 1, 1, None).request.has_own_key
    assert _api.query(*[None] * 9).request.key is None


def test_a_callers_key_is_sent_in_quotes() -> None:
    request = _api.reset("i", None, "order-17,a;b").request
    assert (request.key, request.has_own_key) == ('"order-17,a;b"', False)
    for key in ("", " ", 'a"', "a\\", "é", "a\n"):
        with pytest.raises(ValueError, match="idempotency_key must be"):
            _api.reset("i", None, key)


@pytest.mark.parametrize(
    ("requests", "window_ms", "what"),
    [
        (-1, 1, "requests must be an integer from 0 to 9007199254740991"),
        (2**53, 1, "requests"),
        (1.0, 1, "requests"),
        (True, 1, "requests"),
        (1, 0, "window_ms must be an integer from 1 to 34560000000"),
        (1, 34_560_000_001, "window_ms"),
        (1, "60", "window_ms"),
    ],
)
def test_a_limit_out_of_bounds_is_not_sent(requests: Any, window_ms: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        _api.check("i", None, requests, window_ms, None)


@pytest.mark.parametrize("type", ["", "x" * 513, "é" * 257, "\ud800"])
def test_a_type_out_of_bounds_is_not_sent(type: str) -> None:
    with pytest.raises(ValueError):
        _api.check("i", type, 1, 1, None)
    for taken in ("x", "x" * 512):
        assert json.loads(_api.reset("i", taken, None).request.body or b"")["type"] == taken


def test_an_identifier_that_the_cluster_would_not_take_is_counted_under_its_digest() -> None:
    for taken in ("a", "x" * 512, "é" * 256, "a b:c/d", "😀", "sha256:x"):
        assert _api.counted(taken) == taken
    for text in ("", "x" * 513, "é" * 257, "a\n", "\x7f", "\x85"):
        assert _api.counted(text) == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    # As JavaScript encodes it.
    assert _api.counted("a\ud800") == f"sha256:{hashlib.sha256('a�'.encode()).hexdigest()}"
    body = json.loads(_api.reset("", None, None).request.body or b"")
    assert body["identifier"].startswith("sha256:e3b0c442")


def test_decisions_are_read() -> None:
    allowed = answer({"allowed": True, "remaining": 95, "resetTime": 7})
    assert check.read(allowed) == Decision(True, 95, 7, None)
    denied = answer({"allowed": False, "remaining": 0, "resetTime": 7, "retryAfter": 45}, 429)
    assert check.read(denied) == Decision(False, 0, 7, 45)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<h1>hello</h1>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"allowed":true,"remaining":1}'),
        (200, b'{"allowed":1,"remaining":1,"resetTime":1}'),
        (200, b'{"allowed":false,"remaining":0,"resetTime":1,"retryAfter":1}'),
        (429, b'{"allowed":true,"remaining":1,"resetTime":1}'),
        (429, b"too many requests"),
        (429, b'{"allowed":false,"remaining":0,"resetTime":1,"retryAfter":"1"}'),
        (302, b""),
        (204, b""),
    ],
)
def test_what_is_no_decision_is_none(status: int, body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        check.read(Answer(status, {}, body))
    assert (caught.value.status, caught.value.retryable) == (status, False)


def test_a_429_that_is_a_problem_is_no_refused_check() -> None:
    body = b'{"detail":"wait a second","code":"slow_down"}'
    with pytest.raises(RequestError, match="wait a second") as caught:
        check.read(Answer(429, {}, body))
    assert (caught.value.status, caught.value.code) == (429, "slow_down")


def test_a_4xx_is_told_in_the_clusters_words() -> None:
    body = b'{"detail":"identifier must be there","code":"invalid_field"}'
    for operation in (check, _api.query(*[None] * 9), _api.export("json", True, *[None] * 7)):
        with pytest.raises(RequestError) as caught:
            operation.read(Answer(400, {}, body))
        error = caught.value
        assert str(error) == "tallykeep answered 400: identifier must be there"
        assert (error.status, error.code, error.retryable) == (400, "invalid_field", False)
        assert not error.overloaded
    with pytest.raises(RequestError, match="answered 403: Forbidden"):
        check.read(Answer(403, {}, b"<h1>no</h1>"))
    with pytest.raises(RequestError, match="answered 499: no reason"):
        check.read(Answer(499, {}, b"[]"))


def test_an_entry_is_sent_whole() -> None:
    members = {"requestId": "r", "timestamp": 1}
    log = _api.log("t", "a", "u", "1.2.3.4", {"é": [2**70, None]}, members, None)
    text = (log.request.body or b"").decode()
    assert text == (
        '{"type":"t","action":"a","userId":"u","ip":"1.2.3.4",'
        '"details":{"é":[1180591620717411303424,null]},"requestId":"r","timestamp":1}'
    )
    bare = _api.log("t", "a", None, None, None, None, None).request.body
    assert bare == b'{"type":"t","action":"a"}'


def test_what_is_no_json_is_not_sent() -> None:
    def log(details: dict[str, Any]) -> None:
        _api.log("t", "a", None, None, details, None, None)

    for number in (math.nan, math.inf):
        with pytest.raises(ValueError):
            log({"n": number})
    with pytest.raises(ValueError):
        log({"s": "\ud800"})
    with pytest.raises(TypeError):
        log({"o": object()})
    with pytest.raises(ValueError, match="members must not have userId"):
        _api.log("t", "a", None, None, None, {"userId": "u"}, None)


def test_answers_of_log_and_reset_are_read() -> None:
    log = _api.log("t", "a", None, None, None, None, None)
    assert log.read(answer({"success": True, "id": "x"})) == "x"
    with pytest.raises(ProtocolError, match="has no id"):
        log.read(answer({"success": True}))
    reset = _api.reset("i", None, None)
    reset.read(answer({"success": True}))
    with pytest.raises(ProtocolError, match="has no success"):
        reset.read(answer({}))


def test_entries_are_read_with_exact_integers_and_all_members() -> None:
    long = "9" * 5_000
    text = (
        '{"entries":[{"id":"i","timestamp":5,"type":"t","action":"a","userId":"u","ip":"1",'
        '"details":{"n":9007199254740993,"long":%s,"half":0.5},"clientTime":[1],"clientId":"c",'
        '"further":true}],"count":1,"cursor":"c2"}'
    )
    page = _api.query(*[None] * 9).read(Answer(200, {}, (text % long).encode()))
    (entry,) = page.entries
    assert (entry.id, entry.timestamp_ms, entry.type, entry.action) == ("i", 5, "t", "a")
    assert (entry.user_id, entry.ip) == ("u", "1")
    assert (entry.client_time, entry.client_id) == ([1], "c")
    assert entry.details == {"n": 9007199254740993, "long": Decimal(long), "half": 0.5}
    assert entry.members == {"further": True}
    assert page.cursor == "c2"


@pytest.mark.parametrize(
    "value",
    [{}, {"entries": 7}, {"entries": [7]}, {"entries": [{}]}, {"entries": [], "cursor": 7}],
)
def test_what_is_no_page_is_none(value: object) -> None:
    with pytest.raises(ProtocolError):
        _api.query(*[None] * 9).read(answer(value))


def test_filters_are_sent_by_their_names() -> None:
    query = _api.query(1, 2, "t", "a", "u", "1.2.3.4", "asc", 10, "c")
    assert json.loads(query.request.body or b"") == {
        "startTime": 1,
        "endTime": 2,
        "type": "t",
        "action": "a",
        "userId": "u",
        "ip": "1.2.3.4",
        "order": "asc",
        "limit": 10,
        "cursor": "c",
    }
    assert _api.query(*[None] * 9).request.body == b"{}"
    export = _api.export("csv", False, 0, 2, "a b&c", None, None, None, "asc").request
    assert export.path == (
        "/export?format=csv&csvEscape=none&startTime=0&endTime=2&type=a+b%26c&order=asc"
    )
    assert (export.method, export.key, export.is_streamed) == ("GET", None, True)


GOOD = "http://10.0.0.1:7001"


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Client([]), "endpoints must be a list"),
        (lambda: Client(GOOD), "endpoints must be a list"),
        (lambda: Client([GOOD, GOOD + "/"]), "is there twice"),
        (lambda: Client(["10.0.0.1:7001"]), "must be a URL like"),
        (lambda: Client(["ftp://a"]), "must be a URL like"),
        (lambda: Client(["http://"]), "must be a URL like"),
        (lambda: Client(["http://a:x"]), "must be a URL like"),
        (lambda: Client(["http://a b"]), "must be a URL like"),
        (lambda: Client(["http://u:p@a"]), "no user, query or fragment"),
        (lambda: Client(["http://a/?q"]), "no user, query or fragment"),
        (lambda: Client(["http://a/#f"]), "no user, query or fragment"),
        (lambda: Client([GOOD], token=""), "token must be"),
        (lambda: Client([GOOD], token="a\r\nb"), "token must be"),
        (lambda: Client([GOOD], timeout_s=0), "timeout_s must be a number of seconds"),
        (lambda: Client([GOOD], timeout_s=601), "timeout_s"),
        (lambda: Client([GOOD], timeout_s=math.nan), "timeout_s"),
        (lambda: Client([GOOD], attempt_timeout_s=-1), "attempt_timeout_s must be"),
    ],
)
def test_arguments_of_a_client_are_checked(make: Callable[[], Client], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        make()


def test_endpoints_lose_the_slash_at_their_end() -> None:
    made = settings(["http://A:1/", "https://b/base/"], None, 600, 0.001)
    assert made.endpoints == ("http://a:1", "https://b/base")
