"""Fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.cluster import Cluster, running_cluster
from support.either import calls_of, open_client
from support.fake import Asked, FakeNode, Reply, fake_nodes

Nodes = Callable[..., list[FakeNode]]
Connect = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients of both kinds. A test that asks for it runs once with each. Their first call
    begins with their first endpoint.
    """
    with ExitStack() as stack:

        def make(*args: Any, **kwargs: Any) -> Any:
            client = open_client(request.param, *args, **kwargs)
            stack.callback(client.close)
            calls_of(client)._turn = 0
            return client

        yield make


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Makes fake nodes."""
    with ExitStack() as stack:

        def make(*answers: Callable[[Reply, Asked], None]) -> list[FakeNode]:
            return stack.enter_context(fake_nodes(*answers))

        yield make


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three nodes, for tests that break none."""
    with running_cluster(3) as cluster:
        yield cluster
