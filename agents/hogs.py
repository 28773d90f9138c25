"""CPU hogs: processes that compete for a host's CPU, each in a cgroup of the weight of the I/O path."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from agents.host_workloads import Workload


class HogCgroup(Protocol):
    """What hogs need of `topologies.cgroups.HostCgroup`."""

    def add_hog(self, number: int) -> None: ...

    def remove_hog(self, number: int) -> None: ...

    def attach(self, pid: int, group: str) -> None: ...


class Hogs:
    """The hogs of one host. A hog that was killed is not `running` and is replaced by the next `set`."""

    def __init__(self, cgroup: HogCgroup, command: Sequence[str]) -> None:
        self._cgroup = cgroup
        self._command = command
        self._hogs: dict[int, Workload] = {}
        self._lock = asyncio.Lock()

    @property
    def running(self) -> list[Workload]:
        """The hogs that compete now."""
        return [hog for hog in self._hogs.values() if hog.state == "running"]

    @property
    def count(self) -> int:
        """The hogs that should compete: those running, and those that died since `set`."""
        return len(self._hogs)

    async def set(self, count: int) -> None:
        """Makes exactly `count` hogs run, from `hog-1` on. Raises `Problem`; what started is kept then."""
        async with self._lock:
            surplus = [i for i, hog in self._hogs.items() if i > count or hog.state != "running"]
            await asyncio.gather(*(self._remove(index) for index in surplus))
            missing = [i for i in range(1, count + 1) if i not in self._hogs]
            # All are waited for: one that fails must not leave another half started.
            outcomes = await asyncio.gather(*map(self._add, missing), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome

    async def kill_all(self) -> None:
        """Ends every process at once and leaves the cgroups to the lab's end."""
        await asyncio.gather(*(hog.kill("its host agent ends") for hog in self._hogs.values()))

    async def _add(self, index: int) -> None:
        group = _group(index)
        self._cgroup.add_hog(index)
        hog = Workload(group, "hog", "linux", self._command)
        self._hogs[index] = hog
        try:
            await hog.begin({}, lambda pid: self._cgroup.attach(pid, group))
        except BaseException:
            await self._remove(index)
            raise

    async def _remove(self, index: int) -> None:
        hog = self._hogs[index]
        await hog.kill("removed")
        del self._hogs[index]
        self._cgroup.remove_hog(index)


def _group(index: int) -> str:
    return f"hog-{index}"
