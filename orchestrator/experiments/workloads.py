"""The setting of a trial of `fddi`, the lab it happens on, and the workloads of a way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.client import Machine
from orchestrator.experiments.case import SINK_QUEUE, Budget, Case, Site, Station
from orchestrator.experiments.definitions import Definition
from orchestrator.experiments.processes import Processes
from orchestrator.experiments.processes import TrialFailed as TrialFailed
from orchestrator.experiments.way import Crossing, Way


@dataclass(frozen=True)
class Setting:
    """What a profile fixes for every trial. `ring_mbps` None: not shaped; `quota_us` None: no budget."""

    ring_mbps: float | None
    offered_mbps: float
    quota_us: int | None
    period_us: int
    queue_datagrams: int


@dataclass(frozen=True)
class Target(Site):
    """A lab as `fddi` uses it: source, ring A, forwarder, ring B, sink."""

    definition: Definition

    @classmethod
    def of(cls, machine: Machine, lab: str, record: Mapping[str, Any], definition: Definition) -> Target:
        """Finds the path of `definition` in the lab's record. Raises TrialFailed when the lab lacks a
        part of it."""
        path = definition.path
        try:
            way = Way.of(
                record,
                (path.source, path.forwarder, path.sink),
                (Crossing.of(path.ring_in), Crossing.of(path.ring_out)),
            )
        except LookupError as error:
            raise TrialFailed(
                f"lab {lab} does not have what experiment {definition.name} needs "
                f"({' or '.join(sorted(set(definition.topologies.values())))}): {error}"
            ) from None
        return cls(machine, lab, way, definition)

    def case(self, setting: Setting, system: str, hogs: int, **more: Any) -> Case:
        """A trial with a setting: only the forwarder's system and the load on its host differ. `more` are
        parameters of the forwarder."""
        definition, middle = self.definition, self.definition.path.forwarder
        ends = Station(definition.wire_system, SINK_QUEUE)
        return Case(
            stations=(ends, Station(system, setting.queue_datagrams, more), ends),
            size=definition.datagram_bytes,
            rate_mbps=setting.offered_mbps,
            rates=dict.fromkeys(self.way.networks, setting.ring_mbps),
            hogs={middle: hogs},
            budgets={middle: Budget(setting.quota_us, setting.period_us)},
        )

    async def apply(self, setting: Setting) -> None:
        """Gives both networks the setting's rate."""
        await self.set_rates(dict.fromkeys(self.way.networks, setting.ring_mbps))

    async def set_budget(self, setting: Setting, limited: bool = True) -> None:
        """Puts the forwarder's host under the setting's budget, or lifts it."""
        quota = setting.quota_us if limited else None
        await self.set_budgets({self.definition.path.forwarder: Budget(quota, setting.period_us)})

    async def set_hogs(self, count: int) -> None:
        """Makes so many hogs compete with the forwarder. Raises TrialFailed when fewer run."""
        await self.load({self.definition.path.forwarder: count})


class Workloads(Processes):
    """The workloads of one trial, by their place on the way."""

    def __init__(self, site: Site, case: Case) -> None:
        super().__init__(site.machine, site.lab)
        self._way, self._case = site.way, case

    async def sink(self, flow: int, sample_s: float | None = None) -> str:
        """Starts the sink and returns its id. `sample_s`: as in `start`."""
        last = len(self._way.legs)
        local = {"local": self._way.listens(last)}
        return await self._begin(last, "sink", {**local, **self._queue(last), "flow": flow}, sample_s)

    async def forwarder(self, at: int = 1) -> str:
        """Starts the forwarder at that place of the way, and returns its id."""
        ways = {
            "local": self._way.listens(at),
            "out_local": self._way.legs[at].sender,
            "remote": self._way.listens(at + 1),
        }
        return await self._begin(at, "forwarder", {**ways, **self._queue(at)})

    async def source(
        self,
        flow: int,
        warmup_s: float,
        duration_s: float,
        rate_mbps: float | None = None,
        sample_s: float | None = None,
    ) -> str:
        """Starts the source, which sends at once, and returns its id. The rate is the case's unless given;
        `sample_s`: as in `start`."""
        return await self._begin(
            0,
            "source",
            {
                "local": self._way.legs[0].sender,
                "remote": self._way.listens(1),
                "rate_mbps": rate_mbps or self._case.rate_mbps,
                "warmup_s": warmup_s,
                "duration_s": duration_s,
                "flow": flow,
            },
            sample_s,
        )

    async def change_rate(self, source: str, rate_mbps: float) -> None:
        """Lets the source offer another rate from now on."""
        await self._machine.change(self._lab, self._hosts[source], source, {"rate_mbps": rate_mbps})

    def _queue(self, at: int) -> dict[str, int]:
        return {"queue_datagrams": self._case.stations[at].queue_datagrams}

    async def _begin(
        self, at: int, workload: str, params: Mapping[str, Any], sample_s: float | None = None
    ) -> str:
        station = self._case.stations[at]
        more = {"size": self._case.size, **params, **station.more}
        return await self.start(self._way.hosts[at], workload, station.system, more, sample_s)
