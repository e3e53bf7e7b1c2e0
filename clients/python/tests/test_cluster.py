"""Both clients against three real nodes."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from conftest import Connect, Nodes
from support.cluster import Cluster, running_cluster
from support.fake import Asked, Reply
from support.wait import wait_for
from tallykeep import AsyncClient, Client, NoAnswerError, RequestError, TallykeepError

HOUR_MS = 3_600_000


def some() -> str:
    """A name that no other test has."""
    return uuid.uuid4().hex


def test_a_limit_is_exact_over_all_nodes(connect: Connect, cluster: Cluster) -> None:
    client, name = connect(cluster.endpoints), some()
    before_ms = time.time_ns() // 10**6
    decisions = [client.check(name, "wix", requests=5, window_ms=HOUR_MS) for _ in range(7)]
    assert [one.allowed for one in decisions] == [True] * 5 + [False] * 2
    assert [one.remaining for one in decisions] == [4, 3, 2, 1, 0, 0, 0]
    assert len({one.reset_time_ms for one in decisions}) == 1
    assert abs(decisions[0].reset_time_ms - before_ms - HOUR_MS) < 60_000
    assert [one.retry_after_s for one in decisions[:5]] == [None] * 5
    assert all(3_500 < (one.retry_after_s or 0) <= 3_600 for one in decisions[5:])
    # Another type is another limiter, and so is none.
    assert client.check(name, "gamma", requests=5, window_ms=HOUR_MS).remaining == 4
    assert client.check(name, requests=5, window_ms=HOUR_MS).remaining == 4
    client.reset(name, "wix")
    assert client.check(name, "wix", requests=5, window_ms=HOUR_MS).remaining == 4
    assert client.check(name, "gamma", requests=5, window_ms=HOUR_MS).remaining == 3


def test_a_check_without_a_limit_goes_by_the_policy_of_its_type(
    connect: Connect, cluster: Cluster
) -> None:
    client, type = connect(cluster.endpoints), some()
    with pytest.raises(RequestError) as refused:
        client.check("i", type)
    assert (refused.value.status, refused.value.code) == (400, "no_policy")
    url = f"{cluster.endpoints[0]}/admin/policies/{type}"
    policy = {"requests": 1, "windowMs": HOUR_MS}
    assert httpx.put(url, json=policy, trust_env=False).status_code == 200
    assert [client.check("i", type).allowed for _ in range(2)] == [True, False]


def test_what_the_cluster_would_not_take_is_limited_all_the_same(
    connect: Connect, cluster: Cluster
) -> None:
    client, type = connect(cluster.endpoints), some()
    for identifier in ("", "x" * 600, "a\nb", "\x85", "a\ud800"):
        decisions = [client.check(identifier, type, requests=1, window_ms=HOUR_MS) for _ in "12"]
        assert [one.allowed for one in decisions] == [True, False]
        client.reset(identifier, type)
        assert client.check(identifier, type, requests=1, window_ms=HOUR_MS).allowed


def test_an_entry_comes_back_as_it_was_logged(connect: Connect, cluster: Cluster) -> None:
    client, type = connect(cluster.endpoints), some()
    details = {"big": 2**70, "ключ": ["a,b", '"', None, 0.5], "nested": {"a": {}}}
    members = {"timestamp": 7, "id": "mine", "requestId": "r-1"}
    id = client.log(type, "a", user_id="u", ip="1.2.3.4", details=details, members=members)
    (entry,) = client.query(type=type).entries
    assert (entry.id, entry.type, entry.action) == (id, type, "a")
    assert (entry.user_id, entry.ip, entry.details) == ("u", "1.2.3.4", details)
    assert (entry.client_time, entry.client_id) == (7, "mine")
    assert entry.members == {"requestId": "r-1"}
    assert abs(entry.timestamp_ms - time.time_ns() // 10**6) < 60_000
    bare = client.log(type, "b")
    entry = client.query(type=type, action="b").entries[0]
    assert (entry.id, entry.user_id, entry.ip, entry.details) == (bare, None, None, {})


def test_pages_follow_each_other_and_filters_filter(connect: Connect, cluster: Cluster) -> None:
    client, type = connect(cluster.endpoints), some()
    ids = [client.log(type, f"a{index % 2}", user_id=f"u{index}") for index in range(7)]
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        found, cursor, pages = [], None, 0
        while True:
            page = client.query(type=type, order=order, limit=3, cursor=cursor)
            found += [entry.id for entry in page.entries]
            pages += 1
            cursor = page.cursor
            if cursor is None:
                break
        assert found == expected
        assert pages == 3
    newest = client.query(type=type)
    assert [entry.id for entry in newest.entries] == ids[::-1]
    assert newest.cursor is None
    assert [entry.id for entry in client.query(type=type, user_id="u3").entries] == [ids[3]]
    assert len(client.query(type=type, action="a0").entries) == 4
    assert client.query(type=type, limit=0).entries == ()
    assert client.query(type=type, ip="none").entries == ()
    time_ms = newest.entries[0].timestamp_ms
    assert client.query(type=type, start_time_ms=time_ms + 1).entries == ()
    assert len(client.query(type=type, end_time_ms=time_ms).entries) == 7


def test_exports_are_whole_in_every_format(connect: Connect, cluster: Cluster) -> None:
    client, type = connect(cluster.endpoints), some()
    ids = [client.log(type, "=a", details={"n": index, "s": 'a,"b'}) for index in range(5)]

    def whole(format: str, **filters: Any) -> str:
        with client.export(format, type=type, **filters) as parts:
            return b"".join(parts).decode()

    as_json = json.loads(whole("json"))
    assert [entry["id"] for entry in as_json["entries"]] == ids[::-1]
    assert as_json["count"] == 5
    lines = whole("ndjson", order="asc").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids
    rows = list(csv.DictReader(io.StringIO(whole("csv", order="asc"))))
    assert [row["id"] for row in rows] == ids
    assert [row["action"] for row in rows] == ["'=a"] * 5
    assert json.loads(rows[3]["details"]) == {"n": 3, "s": 'a,"b'}
    assert ",=a," in whole("csv", csv_escape=False)
    assert whole("ndjson", action="none") == ""


def test_what_the_cluster_refuses_is_a_request_error(connect: Connect, cluster: Cluster) -> None:
    client = connect(cluster.endpoints)

    def refused(call: Callable[[], object]) -> tuple[int | None, str | None]:
        with pytest.raises(RequestError) as caught:
            call()
        assert not caught.value.retryable
        return caught.value.status, caught.value.code

    def export(**filters: Any) -> None:
        with client.export(**filters):
            pytest.fail("the export was taken")

    assert refused(lambda: client.log("", "a")) == (400, "invalid_field")
    assert refused(lambda: client.log("t", "a", members={"a\nb": 1}))[0] == 400
    assert refused(lambda: client.log("t", "a", details={"x": "x" * 300_000})) == (
        *(413, "details_too_large"),
    )
    assert refused(lambda: client.log("t", "a", details={"x": "x" * 2**21})) == (
        *(413, "body_too_large"),
    )
    assert refused(lambda: client.query(limit=10_001)) == (400, "invalid_field")
    assert refused(lambda: client.query(start_time_ms=2, end_time_ms=1)) == (400, "invalid_range")
    assert refused(lambda: client.query(cursor="none"))[0] == 400
    assert refused(lambda: export(format="xml")) == (400, "invalid_parameter")
    assert refused(lambda: export(start_time_ms=2, end_time_ms=1))[0] == 400


def takes_keys(endpoint: str) -> bool:
    """Whether a node carries a request out once for its ``Idempotency-Key``."""
    body = {"identifier": some(), "config": {"requests": 10, "windowMs": HOUR_MS}}
    headers = {"Idempotency-Key": f'"{some()}"'}
    answers = [
        httpx.post(f"{endpoint}/check", json=body, headers=headers, trust_env=False)
        for _ in range(2)
    ]
    return bool(answers[1].headers.get("idempotency-replayed") == "true")


def needs_keys(cluster: Cluster) -> None:
    """Skips the test where there are no keys yet."""
    if not takes_keys(cluster.endpoints[0]):
        pytest.skip("this tallykeep takes no Idempotency-Key")


def test_an_answer_that_is_lost_on_its_way_is_asked_for_again_and_counted_once(
    connect: Connect, cluster: Cluster, nodes: Nodes
) -> None:
    needs_keys(cluster)
    endpoint = cluster.endpoints[0]
    lost: list[int] = []

    def lossy(reply: Reply, asked: Asked) -> None:
        # In front of the node: has it carried out, and breaks off instead of answering.
        answer = httpx.post(
            endpoint + asked.path,
            content=asked.body,
            headers={"Idempotency-Key": asked.key or ""},
            trust_env=False,
        )
        lost.append(answer.status_code)
        reply.drop()

    (front,) = nodes(lossy)
    name = some()
    client = connect([front.endpoint, endpoint])
    assert client.check(name, requests=10, window_ms=HOUR_MS).remaining == 9
    assert lost == [200]
    assert client.check(name, requests=10, window_ms=HOUR_MS).remaining == 8
    id = connect([front.endpoint, endpoint]).log(name, "a")
    assert lost == [200, 200]
    assert [entry.id for entry in client.query(type=name).entries] == [id]


def test_a_callers_key_holds_across_calls(connect: Connect, cluster: Cluster) -> None:
    needs_keys(cluster)
    client, name = connect(cluster.endpoints), some()
    first, again = (
        client.check(name, requests=10, window_ms=HOUR_MS, idempotency_key=name) for _ in "12"
    )
    assert first == again
    assert client.check(name, requests=10, window_ms=HOUR_MS).remaining == 8
    with pytest.raises(RequestError) as caught:
        client.check(name, requests=11, window_ms=HOUR_MS, idempotency_key=name)
    assert caught.value.status == 422


Fault = Callable[[Cluster], None]


def kill_the_leader(cluster: Cluster) -> None:
    """kill -9."""
    cluster.signal(cluster.leader(), signal.SIGKILL)


def kill_a_follower(cluster: Cluster) -> None:
    """kill -9."""
    leader = cluster.leader()
    cluster.signal(next(id for id in cluster.ids if id != leader), signal.SIGKILL)


def stop_the_leader(cluster: Cluster) -> None:
    """Gracefully."""
    cluster.signal(cluster.leader(), signal.SIGTERM)


def freeze_the_leader(cluster: Cluster) -> None:
    """It keeps its connections, and answers none."""
    cluster.signal(cluster.leader(), signal.SIGSTOP)


class Load:
    """What was answered. Lists grow from many threads."""

    def __init__(self) -> None:
        self.remaining: list[int] = []
        self.ids: list[str] = []
        self.failures: list[Exception] = []
        self.is_over = False


@contextmanager
def blocking_load(endpoints: list[str]) -> Iterator[Load]:
    """Six threads of checks and two of entries, through one :class:`Client`."""
    load = Load()

    def run(call: Callable[[], None]) -> None:
        while not load.is_over:
            try:
                call()
            except Exception as error:
                load.failures.append(error)

    with Client(endpoints, timeout_s=30, attempt_timeout_s=1) as client:

        def check() -> None:
            decision = client.check("load", "wix", requests=10**6, window_ms=HOUR_MS)
            assert decision.allowed
            load.remaining.append(decision.remaining)

        def log() -> None:
            load.ids.append(client.log("load", "a"))

        threads = [threading.Thread(target=run, args=[call]) for call in [check] * 6 + [log] * 2]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            load.is_over = True
            for thread in threads:
                thread.join()


@contextmanager
def async_load(endpoints: list[str]) -> Iterator[Load]:
    """The same in tasks, through one :class:`AsyncClient`."""
    load = Load()

    async def check(client: AsyncClient) -> None:
        decision = await client.check("load", "wix", requests=10**6, window_ms=HOUR_MS)
        assert decision.allowed
        load.remaining.append(decision.remaining)

    async def log(client: AsyncClient) -> None:
        load.ids.append(await client.log("load", "a"))

    async def run(call: Any, client: AsyncClient) -> None:
        while not load.is_over:
            try:
                await call(client)
            except Exception as error:
                load.failures.append(error)

    async def main() -> None:
        async with AsyncClient(endpoints, timeout_s=30, attempt_timeout_s=1) as client:
            await asyncio.gather(*[run(call, client) for call in [check] * 6 + [log] * 2])

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        yield load
    finally:
        load.is_over = True
        thread.join()


@pytest.mark.parametrize("loaded", [blocking_load, async_load])
@pytest.mark.parametrize(
    "fault", [kill_the_leader, kill_a_follower, stop_the_leader, freeze_the_leader]
)
def test_no_call_fails_while(fault: Fault, loaded: Callable[[list[str]], Any]) -> None:
    with running_cluster(3) as cluster:
        is_exact = takes_keys(cluster.endpoints[0])
        with loaded(cluster.endpoints) as load:

            def reaches(checks: int, entries: int) -> bool:
                assert load.failures == []
                return len(load.remaining) >= checks and len(load.ids) >= entries

            wait_for("the load runs", lambda: reaches(200, 20))
            fault(cluster)
            checks, entries = len(load.remaining) + 500, len(load.ids) + 50
            wait_for("the load goes on", lambda: reaches(checks, entries))
        assert load.failures == []
        # Every answer is a grant of its own, and every entry is an entry of its own.
        assert len(set(load.remaining)) == len(load.remaining)
        assert len(set(load.ids)) == len(load.ids)
        # And nothing was counted that has no answer, however often it was sent.
        if is_exact:
            assert min(load.remaining) == 10**6 - len(load.remaining)


def test_with_no_majority_calls_fail_and_with_one_again_they_work() -> None:
    with running_cluster(3) as cluster, Client(cluster.endpoints, timeout_s=1.5) as client:
        assert client.check("a", requests=5, window_ms=HOUR_MS).remaining == 4
        cluster.signal(1, signal.SIGKILL)
        cluster.signal(2, signal.SIGKILL)
        with pytest.raises(TallykeepError) as caught:
            client.check("a", requests=5, window_ms=HOUR_MS)
        assert caught.value.retryable
        assert caught.value.status == (None if isinstance(caught.value, NoAnswerError) else 503)
        cluster.start(1)
        cluster.wait_ready(1)

        def works() -> bool:
            try:
                return client.check("b", requests=5, window_ms=HOUR_MS).allowed
            except TallykeepError:
                return False

        assert wait_for("checks are decided again", works)
