"""Entries in batches, that nobody waits for."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import Nodes
from support.cluster import Cluster
from support.fake import Asked, Reply
from support.ports import dead_endpoint
from support.wait import wait_for
from tallykeep import AuditLog, Client

SECONDS = 60


def answer(reply: Reply, asked: Asked) -> None:
    """Logs entries, and gives their actions as ids. Refuses those of the type "wrong"."""
    if asked.path == "/log":
        reply.json(200, {"success": True, "id": json.loads(asked.body)["action"]})
        return
    assert asked.path == "/log/batch"
    refused = {"status": 400, "detail": "type is wrong", "code": "invalid_field"}
    entries = json.loads(asked.body)["entries"]
    reply.json(
        200,
        {
            "results": [
                refused
                if entry["type"] == "wrong"
                else {"status": 200, "success": True, "id": entry["action"]}
                for entry in entries
            ]
        },
    )


@contextmanager
def audit_log(endpoint: str, timeout_s: float = 30, **options: Any) -> Iterator[AuditLog]:
    """A log, and its client."""
    with Client([endpoint], timeout_s=timeout_s) as client, AuditLog(client, **options) as audit:
        yield audit


def sizes(requests: list[Asked]) -> list[int]:
    """How many entries there were in each request."""
    return [len(json.loads(asked.body).get("entries", [0])) for asked in requests]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What went to the logger."""
    assert {record.name for record in caplog.records} <= {"tallykeep.audit"}
    return [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Only errors are looked at: httpx tells of every request."""
    caplog.set_level(logging.ERROR)


def test_entries_of_the_same_moment_go_together_in_their_order(nodes: Nodes) -> None:
    (node,) = nodes(answer)
    with audit_log(node.endpoint, delay_s=SECONDS) as audit:
        logged = [audit.log("t", str(index), details={"n": index}) for index in range(25)]
        assert not any(one.done() for one in logged)
        audit.flush()
        assert [one.result(0) for one in logged] == [str(index) for index in range(25)]
    (asked,) = node.requests
    assert (asked.path, asked.key is not None) == ("/log/batch", True)
    expected = [{"type": "t", "action": str(n), "details": {"n": n}} for n in range(25)]
    assert json.loads(asked.body) == {"entries": expected}


def test_a_batch_goes_when_it_is_full_or_its_time_is_over(nodes: Nodes) -> None:
    (node,) = nodes(answer)
    with audit_log(node.endpoint, delay_s=SECONDS, entries_max=10) as audit:
        for one in [audit.log("t", "a") for _ in range(20)]:
            assert one.result(30) == "a"
    assert sizes(node.requests) == [10, 10]
    node.requests.clear()
    with audit_log(node.endpoint, delay_s=SECONDS, bytes_max=1_000) as audit:
        logged = [audit.log("t", "a", details={"x": "x" * 370}) for _ in range(4)]
        assert logged[1].result(30) == "a"
        assert not logged[3].done()
    assert sizes(node.requests) == [2, 2]
    node.requests.clear()
    with audit_log(node.endpoint, delay_s=0.01, bytes_max=1_000) as audit:
        # Alone in its batch, it goes as a single entry.
        assert audit.log("t", "a", details={"x": "x" * 2_000}).result(30) == "a"
    assert [asked.path for asked in node.requests] == ["/log"]


def test_an_entry_that_is_refused_does_not_hold_the_others_back(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    (node,) = nodes(answer)
    with audit_log(node.endpoint, delay_s=SECONDS) as audit:
        logged = [audit.log(type, type) for type in ("one", "wrong", "two")]
        audit.flush()
    assert [one.result(0) for one in logged] == ["one", None, "two"]
    assert lines(caplog) == [
        "audit log error: tallykeep answered 400: type is wrong",
        '{"type":"wrong","action":"wrong"}',
    ]


@pytest.mark.parametrize(
    ("refuse", "batches"),
    [
        (lambda reply: reply.problem(404, "not_found"), 1),
        (lambda reply: reply.problem(405, "method_not_allowed"), 1),
        (lambda reply: reply.problem(413, "body_too_large"), 2),
        (lambda reply: reply.problem(400, "malformed_json"), 2),
        (lambda reply: reply.problem(503, "not_yet_supported", {"Retry-After": "60"}), 4),
    ],
)
def test_a_log_that_takes_no_batches_gets_entries_one_by_one(
    nodes: Nodes,
    caplog: pytest.LogCaptureFixture,
    refuse: Callable[[Reply], None],
    batches: int,
) -> None:
    def old(reply: Reply, asked: Asked) -> None:
        if asked.path == "/log/batch":
            refuse(reply)
        else:
            answer(reply, asked)

    (node,) = nodes(old)
    with audit_log(node.endpoint, delay_s=SECONDS) as audit:
        for action in "ab":
            logged = [audit.log("t", f"{action}{index}") for index in range(3)]
            audit.flush()
            assert [one.result(0) for one in logged] == [f"{action}{index}" for index in range(3)]
    paths = [asked.path for asked in node.requests]
    # What is not there is not asked for again. (And what takes no key is asked without one.)
    assert paths.count("/log/batch") == batches
    assert paths.count("/log") == 6
    assert lines(caplog) == []


def test_what_cannot_be_logged_goes_to_the_logger_as_lines_that_log_takes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with audit_log(dead_endpoint(), timeout_s=0.2, delay_s=SECONDS) as audit:
        logged = [audit.log("t", "a", details={"é": 1}), audit.log("t", "b")]
    assert [one.result(0) for one in logged] == [None, None]
    reason, *entries = lines(caplog)
    assert re.match(r"audit log error: tallykeep at .* cannot be reached: ", reason)
    assert entries == [
        '{"type":"t","action":"a","details":{"é":1}}',
        '{"type":"t","action":"b"}',
    ]


def test_what_is_no_json_goes_to_the_logger(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    (node,) = nodes(answer)
    with audit_log(node.endpoint) as audit:
        assert audit.log("t", "a", details={"o": object()}).result(0) is None
        assert audit.log("t", "b", details={"n": float("nan")}).result(0) is None
    assert len(lines(caplog)) == 2
    assert node.requests == []


def test_an_answer_that_is_none_of_tallykeeps_logs_nothing(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    (node,) = nodes(lambda reply, _: reply.json(200, {"results": [{"status": 200, "id": "i"}]}))
    with audit_log(node.endpoint, delay_s=SECONDS) as audit:
        logged = [audit.log("t", action) for action in "ab"]
    assert [one.result(0) for one in logged] == [None, None]
    assert "has not one result for each entry" in lines(caplog)[0]


def test_entries_that_wait_are_bounded(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    free = threading.Event()

    def slow(reply: Reply, asked: Asked) -> None:
        free.wait(60)
        answer(reply, asked)

    (node,) = nodes(slow)
    with audit_log(node.endpoint, delay_s=0, queue_bytes_max=60) as audit:
        first = audit.log("t", "a")
        wait_for("the entry is under way", lambda: node.requests)
        second, third = audit.log("t", "b"), audit.log("t", "c")
        assert third.result(0) is None
        assert lines(caplog) == [
            "audit log error: too many audit entries wait for their answer",
            '{"type":"t","action":"c"}',
        ]
        free.set()
        assert (first.result(30), second.result(30)) == ("a", "b")
        # There is room again.
        assert audit.log("t", "d").result(30) == "d"


def test_an_entry_cannot_be_cancelled_and_can_be_awaited(nodes: Nodes) -> None:
    (node,) = nodes(answer)
    with audit_log(node.endpoint) as audit:

        async def run() -> str | None:
            logged = audit.log("t", "a")
            assert not logged.cancel()
            return await asyncio.wrap_future(logged)

        assert asyncio.run(run()) == "a"


def test_many_threads_lose_nothing(nodes: Nodes) -> None:
    (node,) = nodes(answer)
    results: list[str | None] = []
    with audit_log(node.endpoint, delay_s=0.001, entries_max=7) as audit:

        def load(name: str) -> None:
            logged = [audit.log("t", f"{name}{index}") for index in range(50)]
            results.extend(one.result(30) for one in logged)

        threads = [threading.Thread(target=load, args=[name]) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(map(str, results)) == sorted(f"{n}{i}" for n in "abcdefgh" for i in range(50))
    assert sum(sizes(node.requests)) == 400
    assert max(sizes(node.requests)) <= 7


def test_a_program_that_ends_sends_what_waits_before_it_does(nodes: Nodes, tmp_path: Path) -> None:
    (node,) = nodes(answer)
    file = tmp_path / "program.py"
    file.write_text(
        "from tallykeep import AuditLog, Client\n"
        f"audit = AuditLog(Client(['{node.endpoint}']), delay_s=0.2)\n"
        "for action in 'ab': audit.log('t', action)\n"
    )
    ran = subprocess.run(
        [sys.executable, str(file)], env=os.environ, capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert sizes(node.requests) == [2]


def test_bounds_are_checked() -> None:
    with Client(["http://127.0.0.1:1"]) as client:
        for wrong in (
            {"entries_max": 0},
            {"entries_max": 1_001},
            {"bytes_max": 1_000_001},
            {"delay_s": -1},
            {"delay_s": 61},
            {"queue_bytes_max": 0},
        ):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                AuditLog(client, **wrong)


def test_a_real_log(cluster: Cluster) -> None:
    with Client(cluster.endpoints) as client:
        with AuditLog(client, delay_s=SECONDS) as audit:
            logged = [audit.log("audit-log-test", f"a{index}") for index in range(30)]
        ids = [one.result(0) for one in logged]
        page = client.query(type="audit-log-test", order="asc")
        assert [(entry.id, entry.action) for entry in page.entries] == [
            (id, f"a{index}") for index, id in enumerate(ids)
        ]
