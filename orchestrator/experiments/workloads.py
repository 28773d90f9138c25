"""The workloads of a trial on a lab: started one by one, and all stopped whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from agents.client import Machine
from agents.errors import AgentError
from orchestrator.experiments.definitions import Definition
from orchestrator.experiments.drops import Wire, interface, wires

log = logging.getLogger(__name__)

PORT = 9000
MAX_RING_MBPS = 10_000.0
"""The fastest a network can be shaped to."""
SINK_QUEUE = 8192
"""Datagrams that may wait for the sink: it is a part of the wire, and must never be the bottleneck."""
STOP_S = 10.0
"""An agent kills a workload that does not stop after 3 s; what takes longer than this is given up."""


class TrialFailed(Exception):
    """A trial could not be done: something died or was refused. The message says what, where and why."""


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


class Workloads:
    """The workloads of one trial; leaving the context stops every one that still runs."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._hosts: dict[str, str] = {}
        self._names: dict[str, str] = {}

    async def __aenter__(self) -> Workloads:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = list(self._hosts)[::-1]
        if left:
            # Shielded: a cancelled run must leave no process behind.
            await asyncio.shield(asyncio.gather(*(self._give_up(one) for one in left)))

    async def sink(self, flow: int) -> str:
        """Starts the sink and returns its id."""
        target = self._target
        return await self._start(
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
        return await self._start(
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
        return await self._start(
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

    async def look(self, workload: str, wait_s: float = 0.0) -> dict[str, Any]:
        """A workload's state, `wait_s` as in `Machine.workload`. Raises TrialFailed when it has failed."""
        state = await self._target.machine.workload(
            self._target.lab, self._hosts[workload], workload, wait_s=wait_s
        )
        return self._good(workload, state)

    async def finish(self, workload: str) -> dict[str, Any]:
        """Stops a workload (one that is done stays so) and returns its final state, which has a result.

        Raises TrialFailed when it failed.
        """
        state = await self._target.machine.stop(self._target.lab, self._hosts[workload], workload)
        state = self._good(workload, state)
        del self._hosts[workload]
        if not isinstance(state.get("result"), Mapping):
            raise TrialFailed(f"{self._names[workload]} ended without a result")
        return state

    async def _start(self, host: str, workload: str, system: str, params: Mapping[str, Any]) -> str:
        name = f"{workload} ({system}) on host {host}"
        starting = asyncio.ensure_future(
            self._target.machine.start(
                self._target.lab, host, {"workload": workload, "system": system, "params": dict(params)}
            )
        )
        try:
            found = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The agent may be starting it all the same: learn its id, so that it can be stopped.
            found = await starting
            self._hosts[found], self._names[found] = host, name
            raise
        except AgentError as error:
            raise TrialFailed(f"{name} did not start: {error}") from error
        self._hosts[found], self._names[found] = host, name
        return found

    def _good(self, workload: str, state: dict[str, Any]) -> dict[str, Any]:
        if state["state"] == "failed":
            raise TrialFailed(f"{self._names[workload]} failed: {state.get('message') or 'no reason given'}")
        return state

    async def _give_up(self, workload: str) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                await self._target.machine.stop(self._target.lab, self._hosts[workload], workload)
        except (AgentError, TimeoutError) as error:
            log.warning("could not stop %s: %s", self._names[workload], error or "no answer")
