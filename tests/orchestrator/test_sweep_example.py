"""The sweep of docs/python-client.md, as it stands there but with fewer levels, on a real lab."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.orchestrator.processes import ENVIRONMENT, REPOSITORY
from tests.orchestrator.test_real_labs import Orchestrator, environment, orchestrator

pytestmark = pytest.mark.root
__all__ = ["environment", "orchestrator"]
PNG = b"\x89PNG\r\n\x1a\n"


def the_example() -> str:
    text = (REPOSITORY / "docs" / "python-client.md").read_text()
    return text.partition("## A sweep")[2].partition("```python\n")[2].partition("```")[0]


def test_the_sweep_runs_and_draws(orchestrator: Orchestrator, tmp_path: Path) -> None:
    program = the_example()
    assert len(program.splitlines()) < 30
    for before, after in (
        (r"^SIZES, .*$", 'SIZES, SYSTEMS, HOGS = [1400], ["linux", "shipping"], [0, 1]'),
        (r"Client\(\)", f"Client({orchestrator.address!r})"),
        (r'"trials": 3, "duration": 2', '"trials": 1, "duration": 0.5, "warmup": 0.2'),
    ):
        program, count = re.subn(before, after, program, flags=re.MULTILINE)
        assert count == 1, before
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (figure,) = os.listdir(tmp_path)
    assert (tmp_path / figure).read_bytes().startswith(PNG)
    runs = orchestrator.send("GET", "/api/v1/runs")["runs"]
    assert [f"{run['id']}.png" for run in runs] == [figure]
    series = orchestrator.send("GET", f"/api/v1/runs/{runs[0]['id']}/series?format=csv")
    assert series.splitlines()[0].endswith(",t_s,offered_mbps,throughput_mbps,loss")
    assert runs[0]["state"] in ("done", "invalid")  # on a busy machine trials may not count
