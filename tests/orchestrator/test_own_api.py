"""A user's experiment over REST, from the document to the result, on a model of a machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from orchestrator.app import create_app
from orchestrator.engine import LocalEngine
from orchestrator.experiments import environment
from orchestrator.store import Store
from tests.agents.fake_machine import FakeMachine
from tests.orchestrator.api import Api
from tests.orchestrator.experiments.own.examples import changed

Json = dict[str, Any]


class ModelKeeper:
    """A machine that is a model, and always up."""

    def __init__(self, machine: FakeMachine) -> None:
        self.client = machine
        self.on_death: Callable[[str], None] = lambda message: None

    async def available(self) -> FakeMachine:
        return self.client

    async def start(self) -> None:
        return None

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        return None

    def describe(self) -> Json:
        return {"name": "local", "state": "up", "message": "", "pid": 1, "cpus": 2, "kernel": "6.1"}


@pytest.fixture(autouse=True)
def memory_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "page_touch_us", lambda: {"warm": 0.1, "rested": 0.1})


@asynccontextmanager
async def orchestrator(state: Path, machine: FakeMachine) -> AsyncIterator[Api]:
    (state / "runs").mkdir(exist_ok=True)
    app = create_app(state, lambda events: ModelKeeper(machine), LocalEngine())
    async with TestClient(TestServer(app)) as client:
        yield Api(client, machine, None, None)  # type: ignore[arg-type]


async def trials_of(api: Api, path: str) -> list[str]:
    async with api.client.get(f"{path}/trials") as answer:
        return (await answer.text()).splitlines()


async def paused(api: Api, trials: int, after: int) -> tuple[str, list[str]]:
    """A run that has been paused when it had done so many trials: its path, and the trials it has done."""
    run = await api.send("POST", "/api/v1/runs", {"experiment": changed(), "trials": trials}, 202)
    path = f"/api/v1/runs/{run['id']}"
    await Api.until(lambda: trials_of(api, path), lambda lines: len(lines) >= after)
    await api.send("POST", f"{path}/pause", status=202)
    await Api.until(lambda: api.send("GET", path), lambda seen: seen["state"] == "paused")
    return path, await trials_of(api, path)


async def goes_on(api: Api, path: str, before: list[str], trials: int) -> None:
    """Resumes a run, and checks that it has done so many trials in the end, none of them twice."""
    await api.send("POST", f"{path}/resume", status=202)
    await went_on(api, path, before, trials)


async def went_on(api: Api, path: str, before: list[str], trials: int) -> None:
    assert (await api.ended(path.rpartition("/")[2]))["verdict"] == "measured"
    after = await trials_of(api, path)
    assert (after[: len(before)], len(after)) == (before, trials)


async def test_a_document_becomes_a_run_with_a_result_and_a_figure(tmp_path: Path) -> None:
    machine = FakeMachine()
    async with orchestrator(tmp_path, machine) as api:
        body: Json = {"experiment": changed(), "trials": 1}
        found = await api.send("POST", "/api/v1/runs", {**body, "dry_run": True})
        assert (found["experiment"], found["combinations"], found["trials"]) == ("mine", 4, 4)
        run = await api.run(**body)
        assert (run["state"], run["verdict"], run["experiment"]) == ("done", "measured", "mine")
        assert run["lab"] == f"mine-{run['id'][-6:]}"
        assert "profile" not in run["options"] and run["options"]["document"] == body["experiment"]
        result = await api.send("GET", f"/api/v1/runs/{run['id']}/result")
        assert [row["trials"] for row in result["rows"]] == [1, 1, 1, 1]
        async with api.client.get(f"/api/v1/runs/{run['id']}/figure") as answer:
            assert answer.content_type == "image/png"
    assert machine._labs == {}


async def test_what_is_wrong_is_refused_before_anything_is_deployed(tmp_path: Path) -> None:
    machine = FakeMachine()
    async with orchestrator(tmp_path, machine) as api:
        body = {"experiment": changed(("workloads/relay/host", "centre"), ("factors", {"colour": [1]}))}
        problem = await api.send("POST", "/api/v1/runs", body, 422)
        assert problem["field"] == "experiment.workloads.relay.host"
        assert "'centre'" in problem["detail"] and "it has source, middle, sink" in problem["detail"]
        assert (await api.send("GET", "/api/v1/runs"))["runs"] == []
    assert not any(call.startswith("deploy") for call in machine.calls)


async def test_a_paused_run_goes_on_and_repeats_no_finished_trial(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, FakeMachine(speed=5.0)) as api:
        path, before = await paused(api, trials=2, after=2)
        assert 2 <= len(before) < 8
        await goes_on(api, path, before, 8)


@pytest.mark.parametrize("queued", [None, "2026-01-01T00:00:00.000Z"])
async def test_a_run_whose_orchestrator_died_goes_on_in_the_next(tmp_path: Path, queued: str | None) -> None:
    async with orchestrator(tmp_path, FakeMachine(speed=5.0)) as api:
        path, before = await paused(api, trials=1, after=1)
    store = await Store.open(tmp_path)
    left = await store.get(path.rpartition("/")[2])
    assert left is not None
    await store.update(replace(left, state="running", queued=queued))  # as a killed one leaves it
    await store.close()
    async with orchestrator(tmp_path, FakeMachine()) as api:
        if queued is None:
            # A private one's: it waits until it is told.
            assert (await api.send("GET", path))["state"] == "interrupted"
            await goes_on(api, path, before, 4)
        await went_on(api, path, before, 4)
