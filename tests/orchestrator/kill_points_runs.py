"""`python kill_points_runs.py DIR`: a server with a run, killed at every line that it executes.

For each line of the modules that keep queue and labs, a child executes a run and is killed (SIGKILL) before
that line. Then the next server takes up what is left: a run that was acknowledged must come to its end,
once. Prints how often it killed; raises AssertionError at the first loss.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator import labs, recovery, runs
from orchestrator.events import EventBus
from orchestrator.labs import Labs
from orchestrator.recovery import going_on
from orchestrator.runs import Runs
from orchestrator.store import Store
from tests.orchestrator.fake_engine import FakeEngine
from tests.orchestrator.fakes import FakeKeeper
from tests.orchestrator.killing import END, Acknowledge, killed_everywhere
from tests.support import eventually


@asynccontextmanager
async def queue(state: Path) -> AsyncIterator[tuple[Runs, Store, FakeKeeper, FakeEngine]]:
    """What a server has between its API and the machine."""
    engine, events = FakeEngine(), EventBus()
    keeper = FakeKeeper(events)
    store = await Store.open(state, going_on(engine))
    one = Runs(store, Labs(keeper, events), keeper, engine, events, lasting=True)
    await one.take_up()
    worker = asyncio.create_task(one.work())
    yield one, store, keeper, engine
    await one.close()
    await worker
    await store.close()


async def ended(one: Runs, store: Store) -> None:
    async def none_left() -> bool:
        return one.running is None and {run.state for run in await store.list()} <= {"done"}

    await eventually(none_left, "the runs to end")


async def write(state: Path, acknowledge: Acknowledge) -> None:
    """A run from its beginning to its end."""
    async with queue(state) as (one, store, _, _):
        acknowledge((await one.submit("fddi", None, {})).id)
        await ended(one, store)
    acknowledge(END)


async def check(state: Path, told: set[str]) -> None:
    """The next server does what was not done."""
    async with queue(state) as (one, store, keeper, engine):
        found = await store.list()
        assert told - {END} <= {run.id for run in found}, (told, found)
        left = [run.id for run in found if run.state != "done"]
        await ended(one, store)
        assert engine.done == left and not keeper.machine.deployed
        for run in found:
            assert (store.directory(run.id) / "result.json").exists()


if __name__ == "__main__":
    print(killed_everywhere(Path(sys.argv[1]), (runs, labs, recovery), write, check))
