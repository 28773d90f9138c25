"""Everything that a trial of forwarding is done with, and the lab it is done on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.client import Machine
from orchestrator.experiments.processes import TrialFailed
from orchestrator.experiments.timeline import Event
from orchestrator.experiments.way import Way
from topologies.model import Impairments

MAX_RATE_MBPS = 10_000.0
"""The fastest a network can be shaped to."""
SINK_QUEUE = 8192
"""Datagrams that may wait for the sink: it is a part of the wire, and must never be the bottleneck."""


@dataclass(frozen=True)
class Station:
    """One workload of the way: its I/O system, how many datagrams may wait for it, what else it is told."""

    system: str
    queue_datagrams: int = SINK_QUEUE
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """CPU time for a host's work; `quota_us` None: no limit."""

    quota_us: int | None
    period_us: int


@dataclass(frozen=True)
class Case:
    """What is done in one trial. `stations` are in the order of the way; `rates` (Mb/s, None: not shaped) are
    those of networks, `rate_mbps` is what the source offers. Networks that lose nothing on purpose, and hosts
    without hogs or budget, need not be named."""

    stations: tuple[Station, ...]
    size: int
    rate_mbps: float
    rates: Mapping[str, float | None]
    hogs: Mapping[str, int]
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    losses: Mapping[str, Impairments] = field(default_factory=dict)
    events: tuple[Event, ...] = ()

    @property
    def cut(self) -> set[tuple[str, str | None]]:
        """The networks, and links to them, that are cut at some time."""
        return {(event.target, event.host) for event in self.events if event.what == "cut"}

    @property
    def loaded(self) -> set[str]:
        """The hosts that have hogs at some time."""
        return {*self.hogs, *(event.target for event in self.events if event.what == "hogs")}


@dataclass(frozen=True)
class Site:
    """A deployed lab as trials use it."""

    machine: Machine
    lab: str
    way: Way

    async def set_rates(self, rates: Mapping[str, float | None]) -> None:
        """Gives networks their rates."""
        for network, rate in rates.items():
            await self.machine.set_network(self.lab, network, rate)

    async def set_losses(self, rates: Mapping[str, float | None], losses: Mapping[str, Impairments]) -> None:
        """Lets networks of these rates lose what they shall, from the beginning of their pattern."""
        for network, impairments in losses.items():
            given = impairments.model_dump(mode="json")
            await self.machine.set_network(self.lab, network, rates[network], given)

    async def heal(self, cut: Iterable[tuple[str, str | None]]) -> None:
        """Makes networks and links whole again."""
        for network, host in cut:
            await self.machine.heal(self.lab, network, host)

    async def speed_up(self, rates: Mapping[str, float | None], times: int) -> None:
        """Multiplies the rates of those networks that have one."""
        await self.set_rates(
            {name: min(times * rate, MAX_RATE_MBPS) for name, rate in rates.items() if rate is not None}
        )

    async def set_budgets(self, budgets: Mapping[str, Budget]) -> None:
        """Puts hosts under their budgets."""
        for host, budget in budgets.items():
            await self.machine.set_budget(self.lab, host, budget.quota_us, budget.period_us)

    async def load(self, hogs: Mapping[str, int]) -> None:
        """Makes so many hogs compete on each host. Raises TrialFailed when fewer run."""
        for host, count in hogs.items():
            answer = await self.machine.set_hogs(self.lab, host, count)
            if answer["running"] != count:
                raise TrialFailed(f"{answer['running']} of {count} hogs run on host {host}")

    async def unload(self, hosts: Iterable[str], budgets: Mapping[str, Budget]) -> None:
        """Takes budgets and hogs away. The budgets first: on a few per cent of a CPU nothing ends soon."""
        await self.set_budgets({host: Budget(None, budget.period_us) for host, budget in budgets.items()})
        await self.load(dict.fromkeys(hosts, 0))

    async def host_counters(self) -> dict[str, dict[str, int]]:
        """The counters of every host on the way."""
        hosts = self.way.hosts
        counted = await asyncio.gather(*(self.machine.host_counters(self.lab, host) for host in hosts))
        return dict(zip(hosts, counted, strict=True))
