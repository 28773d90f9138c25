"""`ipc`, `video` and `cp` asked for through REST, on real labs of one workstation, with real processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from agents.client import Json
from orchestrator import engine
from orchestrator.app import create_app
from orchestrator.experiments.definitions import Options
from orchestrator.experiments.local import runner
from orchestrator.experiments.local.definition import LOCAL
from orchestrator.experiments.local.plan import LocalPlan, local_plan
from orchestrator.machine import MachineKeeper
from tests.orchestrator.api import ENDED
from tests.support import LIMIT_S, PATIENCE_S, eventually

pytestmark = pytest.mark.root

Client = TestClient[Any, Any]
LIMITED: dict[str, list[Any]] = {"relays": [0, 1], "limit": ["none"], "frame": ["1264x960x8"]}
"""Of `video`, which has the most rows: both ways of a frame to the screen, directly and through a relay."""


def short_plan(options: Options) -> LocalPlan:
    return replace(local_plan(options), warmup_s=0.05, measured_s=0.2, file_bytes=8 << 20)


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """An orchestrator in this process with a machine agent of its own, whose trials are short."""
    root = Path(tempfile.mkdtemp(prefix="ts-"))  # short, because Unix sockets are made below
    video = LOCAL["video"]
    rows = [
        one.model_copy(update={"factors": {**one.factors, **LIMITED}})
        for one in video.rows
        if one.systems == ["linux", "shipping"]
        and all(one.factors[name] == LIMITED[name] for name in ("limit", "frame"))
    ]
    assert len(rows) == 2
    monkeypatch.setitem(engine.ALL, "video", video.model_copy(update={"rows": rows}))
    monkeypatch.setattr(runner, "local_plan", short_plan)
    (root / "state" / "runs").mkdir(parents=True)
    app = create_app(root / "state", lambda events: MachineKeeper(events, root / "run"), engine.LocalEngine())
    async with TestClient(TestServer(app)) as client:
        yield client
    shutil.rmtree(root)


async def fetched(client: Client, path: str) -> bytes:
    async with client.get(f"/api/v1/{path}") as answer:
        body = await answer.read()
        assert answer.status == 200, body
        return body


@pytest.mark.parametrize(("name", "rows"), [("ipc", 28), ("video", 8), ("cp", 2)])
async def test_it_is_measured_drawn_and_leaves_nothing(client: Client, name: str, rows: int) -> None:
    async with client.post("/api/v1/runs", json={"experiment": name, "quick": True, "seed": 1}) as answer:
        assert answer.status == 202
        run: Json = await answer.json()

    async def ended() -> bool:
        async with client.get(f"/api/v1/runs/{run['id']}") as answer:
            run.update(await answer.json())
            return run["state"] in ENDED

    await eventually(ended, f"{name} to end", LIMIT_S - PATIENCE_S)
    # A trial on a machine that does other things may be INVALID; that bytes differ never may be.
    assert run["state"] in ("done", "invalid"), run
    trials = (await fetched(client, f"runs/{run['id']}/trials")).decode()
    assert len(trials.splitlines()) >= rows
    assert "books differ" not in trials
    async with client.get(f"/api/v1/runs/{run['id']}/result") as answer:
        result = await answer.json()
    assert result["experiment"] == name
    assert not any("differs from its source" in note for note in result["environment"]["notes"])
    assert len(result["rows"]) == rows
    assert all(row["median"] or row["invalid_trials"] for row in result["rows"])
    assert (await fetched(client, f"runs/{run['id']}/figure")).startswith(b"\x89PNG")
    assert b'"labs":[]' in (await fetched(client, "labs")).replace(b" ", b"")
