"""The REST API keeps what its description says, asked by schemathesis: a live server with a real lab."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from orchestrator import archive
from orchestrator.store import Store
from tests.orchestrator.processes import ENVIRONMENT
from tests.orchestrator.run_files import stored
from tests.orchestrator.test_real_labs import Orchestrator, environment, orchestrator

pytestmark = pytest.mark.root
__all__ = ["environment", "orchestrator"]
RUN = "20260101-000000-aaaaaa"
CONFIG = Path(__file__).parent / "contract.toml"
MOST_S = 20


def an_archive(state: Path) -> bytes:
    """A finished run as one file."""

    async def make() -> bytes:
        store = await Store.open(state)
        run = await stored(store, RUN)
        await store.close()
        target = io.BytesIO()
        archive.export(run, store.directory(RUN), target)
        return target.getvalue()

    return asyncio.run(make())


def test_what_is_described_is_kept(orchestrator: Orchestrator, tmp_path: Path) -> None:
    orchestrator.deploy("one")
    imported = urllib.request.Request(
        f"{orchestrator.address}/api/v1/imports", an_archive(tmp_path), {"Content-Type": "application/zip"}
    )
    with urllib.request.urlopen(imported) as answer:
        assert answer.status == 201
    schemathesis = str(Path(sys.executable).parent / "schemathesis")
    done = subprocess.run(
        [
            *(schemathesis, f"--config-file={CONFIG}", "run", f"{orchestrator.address}/api/v1/openapi.json"),
            *("--max-time", str(MOST_S), "--seed", "1", "--no-color", "--warnings", "off"),
        ],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert orchestrator.send("GET", "/api/v1/health")["status"] == "ok"
