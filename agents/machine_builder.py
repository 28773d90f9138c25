"""What makes the machine agent's labs real: a small protocol, and `topologies.builder` behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from agents.errors import Problem
from topologies import TopologyError, builder
from topologies.builder.apply import Leaving, planned
from topologies.builder.control import counters, set_network
from topologies.builder.difference import Change, difference
from topologies.builder.outages import set_cut, set_stopped
from topologies.builder.traffic import traffic
from topologies.cgroups import CgroupError
from topologies.model import Impairments, Topology
from topologies.record import Record, RecordError

Progress = Callable[[str, int, int], None]


class Builder(Protocol):
    """Makes labs, changes and removes them. Every call blocks, and runs in a thread of its own."""

    def deploy(self, lab: str, topology: Topology, run_root: Path, progress: Progress) -> Record:
        """As `topologies.builder.deploy`."""
        ...

    def destroy(self, lab: str, run_root: Path) -> None:
        """As `topologies.builder.destroy`."""
        ...

    def difference(self, record: Record, topology: Topology) -> list[Change]:
        """What `apply` would change."""
        ...

    def apply(self, record: Record, topology: Topology, leaving: Leaving) -> tuple[Record, list[Change]]:
        """As `topologies.builder.apply.apply`."""
        ...

    def set_network(
        self, record: Record, network: str, rate_mbps: float | None, impairments: Impairments | None
    ) -> Record:
        """As `topologies.builder.control.set_network`."""
        ...

    def set_cut(self, record: Record, network: str, host: str | None, cut: bool) -> Record:
        """As `topologies.builder.outages.set_cut`."""
        ...

    def set_stopped(self, record: Record, host: str, stopped: bool) -> Record:
        """As `topologies.builder.outages.set_stopped`."""
        ...

    def counters(self, record: Record) -> dict[str, int]:
        """As `topologies.builder.control.counters`."""
        ...

    def traffic(self, record: Record) -> dict[str, dict[str, Any]]:
        """As `topologies.builder.traffic.traffic`."""
        ...


class KernelBuilder:
    """The `Builder` of this machine's kernel."""

    def deploy(self, lab: str, topology: Topology, run_root: Path, progress: Progress) -> Record:
        return builder.deploy(lab, topology, run_root, progress)

    def destroy(self, lab: str, run_root: Path) -> None:
        builder.destroy(lab, run_root)

    def difference(self, record: Record, topology: Topology) -> list[Change]:
        return difference(record, planned(record, topology))

    def apply(self, record: Record, topology: Topology, leaving: Leaving) -> tuple[Record, list[Change]]:
        return builder.apply(record, topology, leaving)

    def set_network(
        self, record: Record, network: str, rate_mbps: float | None, impairments: Impairments | None
    ) -> Record:
        return set_network(record, network, rate_mbps, impairments)

    def set_cut(self, record: Record, network: str, host: str | None, cut: bool) -> Record:
        return set_cut(record, network, host, cut)

    def set_stopped(self, record: Record, host: str, stopped: bool) -> Record:
        return set_stopped(record, host, stopped)

    def counters(self, record: Record) -> dict[str, int]:
        return counters(record)

    def traffic(self, record: Record) -> dict[str, dict[str, Any]]:
        return traffic(record)


_STATUS: dict[type[Exception], int] = {
    builder.LabExists: 409,
    builder.LabBusy: 409,
    builder.NoSuchLab: 404,
    builder.LabError: 500,
    RecordError: 500,
    CgroupError: 500,
}


def told(error: Exception) -> Exception:
    """A builder's error as the `Problem` that tells it; any other as it is."""
    if isinstance(error, TopologyError):
        return refused_topology(error)
    if isinstance(error, builder.Unsupported):
        return Problem(422, str(error), error.field)
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            return Problem(status, f"{error}{notes}")
    return error


def refused_topology(error: TopologyError) -> Problem:
    """The 422 that names every place at fault in a topology."""
    first = error.problems[0]
    return Problem(422, str(error).splitlines()[0], first["place"] or None, error.problems)
