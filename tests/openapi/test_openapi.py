"""`/openapi.json` is OpenAPI 3.1, and what it says is what three real nodes do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as tree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

HERE = Path(__file__).parent
# The nodes are started as the Python client's tests do it.
sys.path.append(str(HERE.parents[1] / "clients/python/tests"))

from support.cluster import Cluster, running_cluster  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes."""
    with running_cluster(3) as cluster:
        yield cluster


def get(url: str, **headers: str) -> httpx.Response:
    """A GET that no proxy sees."""
    return httpx.get(url, headers=headers, trust_env=False)


@pytest.fixture(scope="module")
def document(cluster: Cluster) -> Any:
    """The document of one node."""
    return get(f"{cluster.endpoints[0]}/openapi.json").json()


def test_the_document_is_openapi_3_1(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


def test_every_node_serves_the_same_document(cluster: Cluster, document: Any) -> None:
    tags = set()
    for endpoint in cluster.endpoints:
        answer = get(f"{endpoint}/openapi.json")
        assert answer.json() == document
        tags.add(answer.headers["etag"])
    assert len(tags) == 1
    again = get(f"{cluster.endpoints[0]}/openapi.json", **{"If-None-Match": tags.pop()})
    assert (again.status_code, again.content) == (304, b"")


def test_the_nodes_do_what_the_document_says(
    cluster: Cluster, document: Any, tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"
    schemathesis = Path(sys.executable).with_name("schemathesis")
    # From a file: where it loads a document from it does not test.
    described_in = tmp_path / "openapi.json"
    described_in.write_text(json.dumps(document))
    run = [schemathesis, "--config-file", HERE / "schemathesis.toml", "run", described_in]
    options = ["--url", cluster.endpoints[0], "--report", "junit", "--report-junit-path", report]
    environment = os.environ | {"PYTHONPATH": str(HERE), "NO_PROXY": "127.0.0.1"}
    ended = subprocess.run(
        [*run, *options, "--report-dir", tmp_path, "--no-color"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout[-20_000:]
    # Every operation had its turn, and none was left out.
    paths = document["paths"]
    described = {f"{method.upper()} {path}" for path in paths for method in paths[path]}
    cases = list(tree.parse(report).getroot().iter("testcase"))
    tried = {case.get("name") for case in cases if case.find("skipped") is None}
    assert described <= tried, described - tried


def test_what_a_client_sends_is_bounded_as_the_document_says(
    cluster: Cluster, document: Any
) -> None:
    check = document["components"]["schemas"]["Check"]["properties"]
    limit = document["components"]["schemas"]["Limit"]["properties"]
    most = limit["windowMs"]["maximum"]
    bytes_most = check["identifier"]["maxLength"]
    for identifier, window_ms, status in [
        ("x" * bytes_most, most, 200),
        ("x" * (bytes_most + 1), most, 400),
        ("x", most + 1, 400),
    ]:
        body = {"identifier": identifier, "config": {"requests": 10, "windowMs": window_ms}}
        url = f"{cluster.endpoints[1]}/check"
        # Of any content type, and of none.
        for headers in ({}, {"Content-Type": "text/plain"}):
            answer = httpx.post(url, content=json.dumps(body), headers=headers, trust_env=False)
            assert answer.status_code == status
