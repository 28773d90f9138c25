"""The labs of this orchestrator: deployed and destroyed in the background, one step at a time for each.

The machine agent knows what a lab owns; this knows how far it is, who wanted it, and what went wrong.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.client import Machine
from agents.errors import Problem
from orchestrator.events import EventBus
from orchestrator.store import now

FOLLOW_S = 25.0
"""Seconds to wait for news of hosts with one request."""
PAUSE_S = 1.0
"""Seconds until a machine agent that did not answer is asked for news again."""


class MachineSource(Protocol):
    """Where to get the machine agent that is alive now."""

    @property
    def client(self) -> Machine:
        """The machine. Raises Problem 503 while there is none."""
        ...

    async def available(self) -> Machine:
        """The machine, alive, waited for while its agent starts again. Raises Problem 503 if it does not."""
        ...


@dataclass
class Lab:
    """A lab as it is now. `record` is the machine agent's, empty until deployed; `run` owns it if set.

    `agents` has the state and message of every host agent that has been started.
    """

    name: str
    topology: dict[str, Any]
    run: str | None = None
    state: str = "deploying"
    message: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=now)
    work: asyncio.Task[None] | None = None
    agents: dict[str, dict[str, str]] = field(default_factory=dict)


class Labs:
    """All labs, by name."""

    def __init__(self, machine: MachineSource, events: EventBus) -> None:
        self._machine = machine
        self._events = events
        self._labs: dict[str, Lab] = {}

    def all(self) -> list[Lab]:
        """Every lab, oldest first."""
        return list(self._labs.values())

    def find(self, name: str) -> Lab:
        """The lab of this name. Raises Problem 404."""
        if name not in self._labs:
            raise Problem(404, f"there is no lab {name!r}", "lab")
        return self._labs[name]

    def ready(self, name: str) -> Lab:
        """The lab of this name, deployed. Raises Problem 404, or 409 while it is not ready."""
        lab = self.find(name)
        if lab.state != "ready":
            why = f": {lab.message}" if lab.message else ""
            raise Problem(409, f"the lab {name!r} is {lab.state}{why}", "lab")
        return lab

    def create(self, name: str, topology: Mapping[str, Any], run: str | None = None) -> Lab:
        """Begin to deploy. The same again is the lab there is; with another topology it is a 409."""
        present = self._labs.get(name)
        if present is not None and present.state != "failed":
            if present.topology != topology:
                raise Problem(
                    409,
                    f"there is a lab {name!r} already, of another topology "
                    f"({present.topology.get('name')!r}, {present.state}); destroy it or choose another name",
                    "name",
                )
            if present.state == "destroying":
                raise Problem(409, f"the lab {name!r} is being destroyed; try again when it is gone", "name")
            return present
        lab = Lab(name, dict(topology), run)
        self._labs[name] = lab
        self._tell(lab)
        lab.work = asyncio.create_task(self._deploy(lab), name=f"deploy {name}")
        return lab

    async def deployed(self, name: str) -> Lab:
        """Wait until the lab is ready. Raises Problem with what went wrong if it failed."""
        lab = self.find(name)
        if lab.work is not None:
            await asyncio.shield(lab.work)
        return self.ready(name)

    def destroy(self, name: str, run: str | None = None) -> Lab | None:
        """Begin to destroy; None if there is no such lab. 409 if it belongs to another run than `run`."""
        lab = self._labs.get(name)
        if lab is None:
            return None
        if lab.run is not None and lab.run != run:
            raise _in_use(lab)
        if lab.state != "destroying":
            lab.state, lab.message = "destroying", ""
            lab.work = asyncio.create_task(self._destroy(lab, lab.work), name=f"destroy {name}")
        return lab

    async def gone(self, name: str) -> None:
        """Wait until the lab is destroyed. Raises Problem if it could not be."""
        lab = self._labs.get(name)
        if lab is None or lab.work is None:
            return
        await asyncio.shield(lab.work)
        if name in self._labs:
            raise Problem(500, f"the lab {name!r} could not be destroyed: {lab.message}", "lab")

    async def difference(self, name: str, topology: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What `apply` would change. Raises Problem 404, 409, or what the machine says."""
        self.to_use(name)
        return await self._machine.client.difference(name, topology)

    def apply(self, name: str, topology: Mapping[str, Any]) -> Lab:
        """Begin to make a lab what another topology says. Raises Problem 404, or 409 while a run uses it."""
        lab = self.to_use(name)
        lab.state, lab.message = "changing", ""
        self._tell(lab)
        lab.work = asyncio.create_task(self._apply(lab, dict(topology)), name=f"apply {name}")
        return lab

    async def set_network(
        self, name: str, network: str, rate_mbps: float | None, impairments: Mapping[str, Any]
    ) -> Lab:
        """Replace a network's rate and impairments while traffic flows. Raises Problem 404, 409, or what the
        machine says."""
        lab = self.with_network(name, network)
        lab.record = await self._machine.client.set_network(name, network, rate_mbps, impairments)
        change = {"state": "changed", "rate_mbps": rate_mbps, **impairments}
        self._events.publish(
            "network", {"lab": name, "network": network, "host": None, **change}, run=lab.run
        )
        return lab

    async def cut(self, name: str, network: str, host: str | None, cut: bool) -> Lab:
        """Cut a network, or a host's link to it, or heal it. Raises Problem 404, 409, or what the machine
        says."""
        lab = self.with_network(name, network)
        if host is not None:
            self.interface(name, host, network)
        machine = self._machine.client
        lab.record = await (machine.cut if cut else machine.heal)(name, network, host)
        state = "cut" if cut else "healed"
        data = {"lab": name, "network": network, "host": host, "state": state}
        self._events.publish("network", data, run=lab.run)
        return lab

    async def switch(self, name: str, host: str, on: bool) -> Lab:
        """Stop a host, or start it again. Raises Problem 404, 409, or what the machine says."""
        self.host_to_use(name, host)
        lab, machine = self.ready(name), self._machine.client
        lab.record = await (machine.start_host if on else machine.stop_host)(name, host)
        lab.agents.pop(host, None)
        state = "running" if on else "stopped"
        self._events.publish("host", {"lab": name, "host": host, "state": state}, run=lab.run)
        return lab

    def with_network(self, name: str, network: str) -> Lab:
        """The lab of this name, which has this network. Raises Problem 404, 409."""
        lab = self.ready(name)
        if network not in lab.record.get("networks", {}):
            known = ", ".join(sorted(lab.record.get("networks", {})))
            raise Problem(404, f"the lab {name!r} has no network {network!r}; it has {known}", "network")
        return lab

    def host(self, name: str, host: str) -> dict[str, Any]:
        """What the machine recorded of a host. Raises Problem 404, 409."""
        hosts: dict[str, dict[str, Any]] = self.ready(name).record.get("hosts", {})
        if host not in hosts:
            raise Problem(
                404, f"the lab {name!r} has no host {host!r}; it has {', '.join(sorted(hosts))}", "host"
            )
        return hosts[host]

    def interface(self, name: str, host: str, network: str) -> dict[str, Any]:
        """What the machine recorded of a host's interface in a network. Raises Problem 404, 409."""
        found = self.host(name, host)["interfaces"]
        for interface in found:
            if interface["network"] == network:
                return dict(interface)
        known = ", ".join(sorted(interface["network"] for interface in found)) or "no network"
        raise Problem(
            404, f"the host {host!r} is not in the network {network!r}; it is in {known}", "network"
        )

    def to_use(self, name: str) -> Lab:
        """As `ready`, for what would disturb a run. Raises Problem 409 too when one uses the lab."""
        lab = self.ready(name)
        if lab.run is not None:
            raise _in_use(lab)
        return lab

    def host_to_use(self, name: str, host: str) -> dict[str, Any]:
        """As `host`, and as `to_use`."""
        found = self.host(name, host)
        self.to_use(name)
        return found

    async def quiet(self, name: str) -> None:
        """Check that nothing runs in a lab that would disturb a run. Raises Problem 404, 409."""
        for host in self.ready(name).record.get("hosts", {}):
            working = await self._machine.client.workloads(name, host)
            running = [one["id"] for one in working if one["state"] == "running"]
            if running or (await self._machine.client.hogs(name, host))["running"]:
                what = f"the workload {running[0]}" if running else "a hog"
                raise Problem(
                    409, f"{what} runs on the host {host!r} of the lab {name!r}; stop it first", "lab"
                )

    def use(self, name: str, run: str) -> None:
        """Let a run have a lab, so that nobody destroys it meanwhile. Raises Problem 404, 409."""
        lab = self.ready(name)
        if lab.run not in (None, run):
            raise _in_use(lab)
        lab.run = run

    def release(self, name: str, run: str) -> None:
        """The run has finished with the lab."""
        lab = self._labs.get(name)
        if lab is not None and lab.run == run:
            lab.run = None
            lab.work = asyncio.create_task(self._refresh(lab), name=f"look at {name}")

    async def follow_agents(self) -> None:
        """Hear of host agents that start or fail and tell it, until cancelled."""
        heard = 0
        while True:
            try:
                notices = await (await self._machine.available()).notices(heard, FOLLOW_S)
            except Problem:
                heard = 0  # the next machine agent counts from 1
                await asyncio.sleep(PAUSE_S)
                continue
            for notice in notices:
                heard = notice["number"]
                lab = self._labs.get(notice["lab"])
                if lab is not None:
                    lab.agents[notice["host"]] = {name: notice[name] for name in ("state", "message")}
                    about = {name: notice[name] for name in ("lab", "host", "state", "message")}
                    self._events.publish("agent", about, run=lab.run)

    def lost(self, message: str) -> None:
        """The machine agent died with all labs; they are failed, and a fresh agent cleans what they left."""
        for lab in self._labs.values():
            lab.state, lab.message, lab.record, lab.agents = "failed", message, {}, {}
            self._tell(lab)

    async def destroy_all(self) -> None:
        """Destroy every lab, whoever owns it, and wait. What failed is in the labs' messages."""
        names = [lab.name for lab in self.all()]
        for lab in self.all():
            lab.run = None
            self.destroy(lab.name)
        await asyncio.gather(*(self.gone(name) for name in names), return_exceptions=True)

    async def _deploy(self, lab: Lab) -> None:
        try:
            record = await self._machine.client.deploy(lab.name, lab.topology)
        except Problem as error:
            if lab.state == "deploying":
                lab.state, lab.message = "failed", error.detail
        else:
            if lab.state == "deploying":
                lab.state, lab.record = "ready", record
        self._tell(lab)

    async def _destroy(self, lab: Lab, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            # A deploy under way is let finish: the agent would finish it anyway, and then it would stay.
            await asyncio.wait([before])
        self._tell(lab)
        try:
            await (await self._machine.available()).destroy(lab.name)
        except Problem as error:
            lab.state, lab.message = "failed", f"could not be destroyed: {error.detail}"
            self._tell(lab)
            return
        if self._labs.get(lab.name) is lab:
            del self._labs[lab.name]
        self._events.publish("lab", {"lab": lab.name, "state": "destroyed", "message": ""}, run=lab.run)

    async def _apply(self, lab: Lab, topology: dict[str, Any]) -> None:
        try:
            answer = await self._machine.client.apply(lab.name, topology)
        except Problem as error:
            message, record = error.detail, None
            with suppress(Problem):  # it refuses when it is neither what it was nor what it was to become
                record = await self._machine.client.lab(lab.name)
            if lab.state == "changing":
                lab.state, lab.message = "failed" if record is None else "ready", message
                lab.record = record or {}
        else:
            if lab.state == "changing":
                lab.state, lab.record, lab.topology = "ready", answer["record"], topology
                lab.agents = {host: lab.agents[host] for host in lab.agents if host in topology["hosts"]}
        self._tell(lab)

    async def _refresh(self, lab: Lab) -> None:
        """What a run did to the lab, such as a rate that it left behind."""
        with suppress(Problem):
            record = await self._machine.client.lab(lab.name)
            if lab.state == "ready":
                lab.record = record

    def _tell(self, lab: Lab) -> None:
        data = {"lab": lab.name, "state": lab.state, "message": lab.message}
        self._events.publish("lab", data, run=lab.run)


def _in_use(lab: Lab) -> Problem:
    return Problem(409, f"the lab {lab.name!r} is in use by the run {lab.run}; cancel that first", "lab")
