"""Hogs as asked for, each in its own group; no root: a fake workload and a cgroup on paper."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from agents.errors import Problem
from agents.hogs import Hogs
from tests.agents.test_host_workloads import FAKE
from tests.support import eventually


class PaperCgroup:
    """Remembers which hog groups there are and who is in them. `full` refuses processes."""

    def __init__(self) -> None:
        self.groups: dict[str, list[int]] = {}
        self.full = ""

    def add_hog(self, number: int) -> None:
        self.groups.setdefault(f"hog-{number}", [])

    def remove_hog(self, number: int) -> None:
        del self.groups[f"hog-{number}"]

    def attach(self, pid: int, group: str) -> None:
        if group == self.full:
            raise OSError(28, "No space left on device")
        self.groups[group].append(pid)


@pytest.fixture
def cgroup() -> PaperCgroup:
    return PaperCgroup()


@pytest.fixture
async def hogs(cgroup: PaperCgroup) -> AsyncIterator[Hogs]:
    made = Hogs(cgroup, FAKE)
    yield made
    await made.kill_all()


async def test_exactly_as_many_as_asked_for(hogs: Hogs, cgroup: PaperCgroup) -> None:
    for count in (3, 1, 2, 2, 0):
        await hogs.set(count)
        assert len(hogs.running) == hogs.count == count
        assert cgroup.groups == {f"hog-{i}": [hog.pid] for i, hog in enumerate(hogs.running, 1)}


async def test_requests_at_once_leave_what_the_last_one_asked_for(hogs: Hogs) -> None:
    await asyncio.gather(hogs.set(4), hogs.set(1), hogs.set(2))
    assert len(hogs.running) == 2


async def test_a_dead_hog_is_missed_and_replaced(hogs: Hogs) -> None:
    await hogs.set(2)
    dead, other = hogs.running
    os.kill(dead.pid, signal.SIGKILL)
    await eventually(lambda: len(hogs.running) == 1, "the death to be noticed")
    assert hogs.count == 2
    await hogs.set(2)
    assert len(hogs.running) == 2 and other in hogs.running and dead not in hogs.running


async def test_a_hog_that_cannot_be_placed_is_not_left_running(hogs: Hogs, cgroup: PaperCgroup) -> None:
    cgroup.full = "hog-2"
    with pytest.raises(Problem, match="No space left on device"):
        await hogs.set(3)
    assert set(cgroup.groups) == {"hog-1", "hog-3"} and len(hogs.running) == 2
    cgroup.full = ""
    await hogs.set(3)
    assert len(hogs.running) == 3
