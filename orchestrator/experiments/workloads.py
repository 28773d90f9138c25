"""The setting of a trial of forwarding, the lab it happens on, and its three workloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.client import Machine
from orchestrator.experiments.definitions import Definition
from orchestrator.experiments.drops import Wire, interface, wires
from orchestrator.experiments.processes import Processes
from orchestrator.experiments.processes import TrialFailed as TrialFailed

PORT = 9000
MAX_RING_MBPS = 10_000.0
"""The fastest a network can be shaped to."""
SINK_QUEUE = 8192
"""Datagrams that may wait for the sink: it is a part of the wire, and must never be the bottleneck."""


@dataclass(frozen=True)
class Setting:
    """What a profile fixes for every trial. `ring_mbps` None: not shaped; `quota_us` None: no budget."""

    ring_mbps: float | None
    offered_mbps: float
    quota_us: int | None
    period_us: int
    queue_datagrams: int


@dataclass(frozen=True)
class Target:
    """A deployed lab as an experiment uses it, with the addresses of its path."""

    machine: Machine
    lab: str
    definition: Definition
    ring_in: Wire
    ring_out: Wire
    source: str
    forwarder_in: str
    forwarder_out: str
    sink: str

    @classmethod
    def of(cls, machine: Machine, lab: str, record: Mapping[str, Any], definition: Definition) -> Target:
        """Finds the path of `definition` in the lab's record. Raises TrialFailed when the lab lacks a
        part of it."""
        path = definition.path
        try:
            ring_in, ring_out = wires(record, path)
            return cls(
                machine,
                lab,
                definition,
                ring_in,
                ring_out,
                source=interface(record, path.source, path.ring_in)["address"],
                forwarder_in=interface(record, path.forwarder, path.ring_in)["address"],
                forwarder_out=interface(record, path.forwarder, path.ring_out)["address"],
                sink=interface(record, path.sink, path.ring_out)["address"],
            )
        except LookupError as error:
            raise TrialFailed(
                f"lab {lab} does not have what experiment {definition.name} needs "
                f"({' or '.join(sorted(set(definition.topologies.values())))}): {error}"
            ) from None

    async def apply(self, setting: Setting) -> None:
        """Gives both networks the setting's rate."""
        for network in (self.definition.path.ring_in, self.definition.path.ring_out):
            await self.machine.set_network(self.lab, network, setting.ring_mbps)

    async def set_budget(self, setting: Setting, limited: bool = True) -> None:
        """Puts the forwarder's host under the setting's budget, or lifts it."""
        quota = setting.quota_us if limited else None
        await self.machine.set_budget(self.lab, self.definition.path.forwarder, quota, setting.period_us)

    async def set_hogs(self, count: int) -> None:
        """Makes so many hogs compete with the forwarder. Raises TrialFailed when fewer run."""
        host = self.definition.path.forwarder
        answer = await self.machine.set_hogs(self.lab, host, count)
        if answer["running"] != count:
            raise TrialFailed(f"{answer['running']} of {count} hogs run on host {host}")


class Workloads(Processes):
    """The three workloads of one trial."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.machine, target.lab)
        self._target = target

    async def sink(self, flow: int) -> str:
        """Starts the sink and returns its id."""
        target = self._target
        return await self.start(
            target.definition.path.sink,
            "sink",
            target.definition.wire_system,
            {
                "local": f"{target.sink}:{PORT}",
                "flow": flow,
                "queue_datagrams": SINK_QUEUE,
                "size": target.definition.datagram_bytes,
            },
        )

    async def forwarder(self, setting: Setting, system: str, **params: Any) -> str:
        """Starts the forwarder of the I/O system under test, with more `params`, and returns its id."""
        target = self._target
        return await self.start(
            target.definition.path.forwarder,
            "forwarder",
            system,
            {
                "local": f"{target.forwarder_in}:{PORT}",
                "out_local": target.forwarder_out,
                "remote": f"{target.sink}:{PORT}",
                "queue_datagrams": setting.queue_datagrams,
                "size": target.definition.datagram_bytes,
                **params,
            },
        )

    async def source(
        self, setting: Setting, flow: int, warmup_s: float, duration_s: float, rate_mbps: float | None = None
    ) -> str:
        """Starts the source, which sends at once, and returns its id. The rate is the setting's unless
        given."""
        target = self._target
        return await self.start(
            target.definition.path.source,
            "source",
            target.definition.wire_system,
            {
                "local": target.source,
                "remote": f"{target.forwarder_in}:{PORT}",
                "size": target.definition.datagram_bytes,
                "rate_mbps": rate_mbps or setting.offered_mbps,
                "warmup_s": warmup_s,
                "duration_s": duration_s,
                "flow": flow,
            },
        )
