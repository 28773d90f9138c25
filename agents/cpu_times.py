"""The CPU time of a host's control groups, as counters."""

from __future__ import annotations

from topologies.cgroups import HostCgroup


class CpuTimes:
    """Of one host. `hogs` is a difference of two readings and may seem to fall by a microsecond; a counter
    may not."""

    def __init__(self, cgroup: HostCgroup) -> None:
        self._cgroup = cgroup
        self._usec: dict[str, int] = {}

    def read(self, *groups: str) -> dict[str, int]:
        """CPU microseconds by group, as of `HostCgroup.cpu_usec`. Raises `CgroupError`."""
        for group in groups:
            self._usec[group] = max(self._usec.get(group, 0), self._cgroup.cpu_usec(group))
        return {group: self._usec[group] for group in groups}
