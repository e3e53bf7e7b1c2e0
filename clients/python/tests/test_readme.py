"""Every sample of the README, as it stands but for the endpoints, does what the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.ports import dead_endpoint

README = (Path(__file__).parents[1] / "README.md").read_text()
# The samples, each with the output that stands behind it.
SAMPLES = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```\n", README, re.DOTALL)
# What differs from run to run.
PLACEHOLDERS = {
    "id": "[0-9a-f-]{36}",
    "time": r"\d{4}-\d\d-\d\dT[\d:.]{12}Z",
}


def test_there_are_samples_and_no_code_that_is_none() -> None:
    assert len(SAMPLES) == 7
    fences = re.findall(r"^```\w+$", README, re.MULTILINE)
    assert fences == ["```python", "```text"] * len(SAMPLES)


@pytest.mark.parametrize("index", range(len(SAMPLES)))
def test_sample(index: int, cluster: Cluster, tmp_path: Path) -> None:
    code, output = SAMPLES[index]
    dead = dead_endpoint()
    real = code.replace('"http://10.0.0.1:1"', repr(dead))
    real = re.sub(r'\["http://10\.0\.0\.1:7001".*?\]', repr(cluster.endpoints), real)
    assert real != code
    file = tmp_path / "sample.py"
    file.write_text(real)
    ran = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", str(file)],
        cwd=tmp_path,
        env={**os.environ, "TALLYKEEP_TOKEN": "secret"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    pattern = re.sub(r"<(\w+)>", lambda name: PLACEHOLDERS[name[1]], re.escape(output))
    assert re.fullmatch(pattern, ran.stdout), ran.stdout
