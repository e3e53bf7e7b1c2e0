"""Both clients against servers that fail in chosen ways."""

from __future__ import annotations

import asyncio
import gzip
import re
import threading
import time

import pytest

from conftest import Connect, Nodes
from support.fake import ALLOWED, Asked, Reply, allow, fake_nodes
from support.ports import dead_endpoint
from support.wait import wait_for
from tallykeep import (
    AsyncClient,
    Client,
    Decision,
    NoAnswerError,
    ProtocolError,
    RequestError,
    ServerError,
)

LIMIT = {"requests": 100, "window_ms": 60_000}
ANSWER = Decision(True, 95, 1634567890000)


def drop(reply: Reply, _: Asked) -> None:
    """Breaks off instead of answering."""
    reply.drop()


def hang(reply: Reply, _: Asked) -> None:
    """Never answers."""
    reply.hang()


def half(reply: Reply, _: Asked) -> None:
    """Breaks off in the midst of the answer."""
    reply.head(200, {"Content-Length": "100"})
    reply.wfile.write(b'{"allowed":')
    reply.drop()


def garbage(reply: Reply, _: Asked) -> None:
    """Is no HTTP server."""
    reply.wfile.write(b"SSH-2.0-OpenSSH\r\n")
    reply.drop()


def compressed_garbage(reply: Reply, _: Asked) -> None:
    """Says that it is gzip, which it is not."""
    reply.whole(200, b"not gzip", {"Content-Encoding": "gzip"})


@pytest.mark.parametrize("fault", [drop, half, garbage, compressed_garbage])
def test_what_breaks_off_is_asked_of_the_next_node_with_the_same_bytes_and_key(
    connect: Connect, nodes: Nodes, fault: object
) -> None:
    broken, good = nodes(fault, allow)
    client = connect([broken.endpoint, good.endpoint], token="secret")
    assert client.check("user-123", "wix", **LIMIT) == ANSWER
    (first,), (second,) = broken.requests, good.requests
    assert (first.method, first.path, first.body) == ("POST", "/check", second.body)
    assert re.fullmatch('"[0-9a-f-]{36}";ttl=65', first.key or "")
    assert first.key == second.key
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer secret"
    assert first.headers["content-type"] == "application/json"


def test_a_dead_node_is_passed_over(connect: Connect, nodes: Nodes) -> None:
    (good,) = nodes(allow)
    client = connect([dead_endpoint(), good.endpoint], timeout_s=30)
    for _ in range(10):
        assert client.check("a", **LIMIT).allowed
    assert len({asked.key for asked in good.requests}) == 10


def test_a_node_that_hangs_is_left_after_its_time(connect: Connect, nodes: Nodes) -> None:
    hanging, good = nodes(hang, allow)
    client = connect([hanging.endpoint, good.endpoint], timeout_s=60, attempt_timeout_s=0.2)
    began_s = time.monotonic()
    assert client.check("a", **LIMIT) == ANSWER
    assert 0.19 <= time.monotonic() - began_s < 20
    assert hanging.requests[0].key == good.requests[0].key


def test_a_single_node_has_the_whole_deadline(connect: Connect, nodes: Nodes) -> None:
    (hanging,) = nodes(hang)
    client = connect([hanging.endpoint], timeout_s=0.3, attempt_timeout_s=0.01)
    began_s = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"no answer within (299|300) ms") as caught:
        client.check("a", **LIMIT)
    assert time.monotonic() - began_s >= 0.29
    assert len(hanging.requests) == 1
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (None, None, True)
    assert caught.value.__cause__ is not None


def test_an_answer_that_trickles_is_bounded_as_a_whole(connect: Connect, nodes: Nodes) -> None:
    ended = threading.Event()

    def trickle(reply: Reply, _: Asked) -> None:
        # The head takes most of the time, and then each part is in time, but there is no end.
        ended.wait(0.3)
        reply.head(200, {"Content-Length": "10000"})
        while not ended.wait(0.05):
            reply.wfile.write(b" ")
            reply.wfile.flush()

    trickling, good = nodes(trickle, allow)
    client = connect([trickling.endpoint, good.endpoint], timeout_s=60, attempt_timeout_s=0.5)
    began_s = time.monotonic()
    try:
        assert client.check("a", **LIMIT) == ANSWER
        assert time.monotonic() - began_s < 5
    finally:
        ended.set()


def test_connections_are_kept(connect: Connect, nodes: Nodes) -> None:
    (node,) = nodes(allow)
    client = connect([node.endpoint])
    for _ in range(20):
        client.check("a", **LIMIT)
    assert (len(node.requests), node.connection_count) == (20, 1)


def test_a_kept_connection_that_the_node_has_closed_fails_no_call(
    connect: Connect, nodes: Nodes
) -> None:
    def close(reply: Reply, _: Asked) -> None:
        # Without a word of it: the client finds out at the next call.
        reply.json(200, ALLOWED)
        reply.close_connection = True

    (node,) = nodes(close)
    client = connect([node.endpoint])
    for _ in range(20):
        assert client.check("a", **LIMIT) == ANSWER


def test_a_503_is_asked_again_after_its_retry_after(connect: Connect, nodes: Nodes) -> None:
    times: list[float] = []

    def busy(reply: Reply, asked: Asked) -> None:
        times.append(time.monotonic())
        if len(times) > 1:
            allow(reply, asked)
        else:
            reply.problem(503, "no_leader", {"Retry-After": "1"})

    (node,) = nodes(busy)
    client = connect([node.endpoint], timeout_s=60)
    assert client.check("a", **LIMIT) == ANSWER
    assert times[1] - times[0] >= 0.99
    assert len({asked.key for asked in node.requests}) == 1


def test_a_token_that_asks_a_node_too_often_asks_another(connect: Connect, nodes: Nodes) -> None:
    headers = {"Retry-After": "1"}
    often, good = nodes(
        lambda reply, _: reply.problem(429, "token_rate_limited", headers),
        lambda reply, asked: (
            reply.whole(200, b"a\n") if asked.method == "GET" else allow(reply, asked)
        ),
    )
    client = connect([often.endpoint, good.endpoint], timeout_s=60)
    # In turn, so that every other call begins with each.
    assert client.check("a", **LIMIT) == ANSWER
    assert client.check("a", **LIMIT) == ANSWER
    with client.export("ndjson") as stream:
        assert b"".join(stream) == b"a\n"
    assert [asked.path for asked in often.requests] == ["/check", "/export?format=ndjson"]
    assert len(good.requests) == 3
    assert often.requests[0].key == good.requests[0].key is not None

    alone = connect([often.endpoint], timeout_s=0.5)
    with pytest.raises(RequestError, match="detail of token_rate_limited") as caught:
        alone.check("a", **LIMIT)
    assert (caught.value.status, caught.value.retryable) == (429, True)
    assert len(often.requests) == 3


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(
    connect: Connect, nodes: Nodes
) -> None:
    headers = {"Retry-After": "3600", "X-Request-Id": "r-1"}
    (node,) = nodes(lambda reply, _: reply.problem(503, "overloaded", headers))
    client = connect([node.endpoint], timeout_s=60)
    began_s = time.monotonic()
    with pytest.raises(ServerError) as caught:
        client.log("t", "a")
    assert time.monotonic() - began_s < 30
    error = caught.value
    said = f"tallykeep at {node.endpoint} answered 503: detail of overloaded (request r-1)"
    assert str(error) == said
    assert (error.status, error.code, error.retryable, error.overloaded) == (
        *(503, "overloaded"),
        *(True, True),
    )
    assert len(node.requests) == 1


def test_of_a_5xx_only_so_much_is_read(connect: Connect, nodes: Nodes) -> None:
    def endless(reply: Reply, _: Asked) -> None:
        reply.head(507, {"Transfer-Encoding": "chunked"})
        try:
            while True:
                reply.chunk(b"x" * 65_536)
        except OSError:
            reply.close_connection = True

    (node,) = nodes(endless)
    with pytest.raises(ServerError, match="answered 507: Insufficient Storage"):
        connect([node.endpoint], timeout_s=30).reset("a")


def test_a_redirect_is_not_followed_and_the_token_stays_here(
    connect: Connect, nodes: Nodes
) -> None:
    (other,) = nodes(allow)
    where = {"Location": f"{other.endpoint}/check"}
    (node,) = nodes(lambda reply, _: reply.whole(307, b"", where))
    with pytest.raises(ProtocolError) as caught:
        connect([node.endpoint], token="secret").check("a", **LIMIT)
    assert caught.value.status == 307
    assert other.requests == []


def test_a_proxy_of_the_environment_is_not_used(
    nodes: Nodes, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, node = nodes(hang, allow)
    monkeypatch.setenv("HTTP_PROXY", proxy.endpoint)
    monkeypatch.setenv("ALL_PROXY", proxy.endpoint)
    assert connect([node.endpoint]).check("a", **LIMIT) == ANSWER
    assert proxy.requests == []


def test_an_endpoint_may_have_a_path(connect: Connect, nodes: Nodes) -> None:
    (node,) = nodes(allow)
    connect([f"{node.endpoint}/base/"]).check("a", **LIMIT)
    assert node.requests[0].path == "/base/check"


def test_an_export_is_streamed_beyond_the_deadline_of_its_beginning(
    connect: Connect, nodes: Nodes
) -> None:
    more = threading.Event()
    slow = threading.Event()

    def parts(reply: Reply, _: Asked) -> None:
        reply.head(200, {"Transfer-Encoding": "chunked"})
        reply.chunk(b"first\n")
        more.wait(60)
        for _index in range(4):
            slow.wait(0.3)
            reply.chunk(b"later\n")
        reply.chunk(b"")

    one, other = nodes(parts, parts)
    client = connect([one.endpoint, other.endpoint], timeout_s=1.0, attempt_timeout_s=0.5)
    with client.export("ndjson", order="asc") as stream:
        assert next(stream) == b"first\n"
        more.set()
        assert b"".join(stream) == b"later\n" * 4
    assert one.requests[0].path == "/export?format=ndjson&order=asc"
    assert one.requests[0].key is None


@pytest.mark.parametrize("is_cut", [True, False])
def test_an_export_that_breaks_off_or_stalls_is_an_error_of_its_reader(
    connect: Connect, nodes: Nodes, is_cut: bool
) -> None:
    def cut(reply: Reply, _: Asked) -> None:
        reply.head(200, {"Transfer-Encoding": "chunked"})
        reply.chunk(b"first\n")
        if is_cut:
            reply.drop()
        else:
            reply.hang()

    node, other = nodes(cut, allow)
    client = connect([node.endpoint, other.endpoint], timeout_s=0.5)
    with pytest.raises(NoAnswerError, match="the export broke off") as caught:  # noqa: PT012, SIM117
        with client.export() as stream:
            assert next(stream) == b"first\n"
            next(stream)
    assert caught.value.retryable
    assert other.requests == []


def test_an_export_that_does_not_begin_is_asked_of_the_next_node(
    connect: Connect, nodes: Nodes
) -> None:
    def busy(reply: Reply, _: Asked) -> None:
        reply.problem(503, "overloaded", {"Retry-After": "1"})

    broken, full, good = nodes(drop, busy, lambda reply, _: reply.whole(200, b"whole"))
    with connect([broken.endpoint, full.endpoint, good.endpoint]).export() as stream:
        assert b"".join(stream) == b"whole"
    assert len(broken.requests) == len(full.requests) == 1


def test_an_export_can_be_left_unread(connect: Connect, nodes: Nodes) -> None:
    ended = threading.Event()

    def endless(reply: Reply, _: Asked) -> None:
        reply.head(200, {"Transfer-Encoding": "chunked"})
        try:
            while True:
                reply.chunk(b"x" * 65_536)
        except OSError:
            reply.close_connection = True
            ended.set()

    (node,) = nodes(endless)
    with connect([node.endpoint]).export() as stream:
        assert next(stream)
    wait_for("the node's connection is closed", ended.is_set)


def test_a_compressed_export_is_given_plain(connect: Connect, nodes: Nodes) -> None:
    def zipped(reply: Reply, asked: Asked) -> None:
        assert "gzip" in asked.headers["accept-encoding"]
        reply.whole(200, gzip.compress(b"plain"), {"Content-Encoding": "gzip"})

    (node,) = nodes(zipped)
    with connect([node.endpoint]).export() as stream:
        assert b"".join(stream) == b"plain"


def test_a_long_page_comes_whole(connect: Connect, nodes: Nodes) -> None:
    entry = {"id": "i", "timestamp": 1, "type": "t", "action": "a", "details": {"x": "x" * 10**6}}
    (node,) = nodes(lambda reply, _: reply.json(200, {"entries": [entry] * 5, "count": 5}))
    page = connect([node.endpoint], timeout_s=30).query()
    assert [len(entry.details["x"]) for entry in page.entries] == [10**6] * 5


def test_threads_share_a_client(nodes: Nodes) -> None:
    # `Client` alone: an `AsyncClient` is of one loop.
    dead, one, two = nodes(drop, allow, allow)
    results: list[Decision] = []
    with Client([dead.endpoint, one.endpoint, two.endpoint], timeout_s=30) as client:

        def load() -> None:
            for _ in range(25):
                results.append(client.check("a", requests=100, window_ms=60_000))

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [ANSWER] * 200
    keys = [asked.key for asked in one.requests + two.requests]
    assert len(set(keys)) == len(keys) == 200


def test_a_task_that_is_cancelled_ends_at_once(nodes: Nodes) -> None:
    hanging, good = nodes(hang, allow)

    async def run() -> None:
        async with AsyncClient([hanging.endpoint], timeout_s=60) as client:
            task = asyncio.ensure_future(client.check("a", requests=1, window_ms=1))
            while not hanging.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with AsyncClient([good.endpoint]) as client:
            assert (await client.check("a", requests=1, window_ms=1)).allowed

    began_s = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - began_s < 30
    assert len(hanging.requests) == 1


def test_many_tasks_share_a_client(nodes: Nodes) -> None:
    dead, good = nodes(drop, allow)

    async def run() -> list[Decision]:
        async with AsyncClient([dead.endpoint, good.endpoint], timeout_s=60) as client:
            calls = [client.check("a", requests=100, window_ms=60_000) for _ in range(100)]
            return list(await asyncio.gather(*calls))

    assert asyncio.run(run()) == [ANSWER] * 100
    assert len({asked.key for asked in good.requests}) == 100


def test_a_client_that_was_closed_keeps_no_connection() -> None:
    with fake_nodes(allow) as (node,):
        with Client([node.endpoint]) as client:
            client.check("a", requests=1, window_ms=1)
        with pytest.raises(RuntimeError):
            client.check("a", requests=1, window_ms=1)
