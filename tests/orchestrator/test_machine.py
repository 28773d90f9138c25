"""The keeper of the machine agent: started, healthy, started again after a death, ended in peace."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.errors import Problem
from orchestrator.events import EventBus
from orchestrator.machine import MachineError, MachineKeeper
from orchestrator.runs import settle
from tests.support import PATIENCE_S, eventually

COMMAND = (sys.executable, str(Path(__file__).parent / "fake_agent.py"))


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[MachineKeeper]:
    keeper = MachineKeeper(EventBus(), tmp_path, COMMAND)
    yield keeper
    await keeper.close()
    assert keeper.pid is None


async def test_started_it_answers_and_closed_it_has_ended_by_itself(
    keeper: MachineKeeper, tmp_path: Path
) -> None:
    with pytest.raises(Problem, match="starting"):
        _ = keeper.client
    await keeper.start()
    assert (await keeper.client.health())["pid"] == keeper.pid
    await keeper.close()
    assert (tmp_path / "ended-well").exists()
    with pytest.raises(Problem, match="stopping") as caught:
        _ = keeper.client
    assert caught.value.status == 503


async def test_killed_it_is_told_of_and_started_again(keeper: MachineKeeper) -> None:
    deaths: list[str] = []
    keeper.on_death = deaths.append
    await keeper.start()
    watcher = asyncio.create_task(keeper.watch())
    try:
        first = keeper.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: deaths, "the death to be told")
        assert deaths == [f"the machine agent died: pid {first} was killed by SIGKILL"]
        machine = await keeper.available()
        assert (await machine.health())["pid"] == keeper.pid != first
    finally:
        await settle(watcher)


async def test_it_is_never_up_without_a_process(keeper: MachineKeeper) -> None:
    await keeper.start()
    up = keeper.describe()
    assert (up["state"], up["pid"]) == ("up", keeper.pid)
    assert keeper.pid is not None
    os.kill(keeper.pid, signal.SIGKILL)
    await eventually(lambda: keeper.pid is None, "the agent to end")
    assert keeper.describe()["state"] == "starting"  # nobody has watched it


async def test_one_that_keeps_dying_stays_down_and_says_so(keeper: MachineKeeper, tmp_path: Path) -> None:
    await keeper.start()
    watcher = asyncio.create_task(keeper.watch())
    (tmp_path / "refuse").touch()
    assert keeper.pid is not None
    os.kill(keeper.pid, signal.SIGKILL)
    await asyncio.wait_for(watcher, PATIENCE_S)
    with pytest.raises(Problem, match="does not stay up"):
        await keeper.available()


async def test_one_that_refuses_to_start_leaves_nothing(keeper: MachineKeeper, tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    with pytest.raises(MachineError, match=r"could not be started \(pid [0-9]+ exited with status 1\)"):
        await keeper.start()
    assert keeper.pid is None


async def test_cancelled_while_starting_it_leaves_nothing(keeper: MachineKeeper) -> None:
    starting = asyncio.create_task(keeper.start())
    await eventually(lambda: keeper.pid, "the process")
    await settle(starting)
    assert keeper.pid is None
