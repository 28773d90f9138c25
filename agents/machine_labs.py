"""The labs of one machine: who may do what to them when, and that none is left."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from agents import machine_look
from agents.attendants import Attendants
from agents.errors import Problem, not_found
from agents.machine_builder import Builder, told
from agents.machine_hosts import HostLink
from agents.machine_look import Reading
from agents.metronome import Metronome
from agents.notices import Notices
from agents.requests import HostSetup
from topologies.builder import PartlyChanged
from topologies.builder.difference import Change
from topologies.cgroups import HostCgroup
from topologies.model import Impairments, Topology
from topologies.record import RECORD_FILE, Record

log = logging.getLogger(__name__)

T = TypeVar("T")


class Abandoned(Exception):
    """Raised inside a deploy whose lab is to be destroyed."""


class Lab:
    """A lab, from the request to deploy it until it is gone. `lock` is held by what builds or reads it.

    `spoiled`: how a change of it went wrong, so that it can only be destroyed or deployed anew.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = asyncio.Lock()
        self.record: Record | None = None
        self.links: dict[str, HostLink] = {}
        self.attendants = Attendants()
        self.doomed = False
        self.spoiled = ""
        self._metronomes: dict[str, Metronome] = {}

    def set_budget(self, host: str, quota_us: int | None, period_us: int) -> None:
        """The CPU budget of a host's work, and what makes it exact. Raises `CgroupError`, `Problem` 404."""
        HostCgroup(self.link(host).setup.cgroup).set_budget(quota_us, period_us)
        assert self.record is not None
        if quota_us is None:
            self._lift(host)
        elif host not in self._metronomes:
            cpus = self.record.hosts[host].cpus or sorted(os.sched_getaffinity(0))
            self._metronomes[host] = Metronome(cpus)

    def _lift(self, host: str) -> None:
        if host in self._metronomes:
            self._metronomes.pop(host).stop()

    async def stop(self) -> None:
        """Ends everything that runs for the lab."""
        for host in list(self._metronomes):
            self._lift(host)
        why = f"lab {self.name!r} is being destroyed"
        await asyncio.gather(self.attendants.close(), *(link.stop(why) for link in self.links.values()))

    async def drop(self, host: str) -> None:
        """Ends everything that runs on a host that is to go."""
        self._lift(host)
        await self.links.pop(host).stop(f"host {host!r} of lab {self.name!r} is gone")

    def link(self, host: str) -> HostLink:
        """The agent of a host. Raises `Problem` 404."""
        try:
            return self.links[host]
        except KeyError:
            raise not_found("host", host, f"lab {self.name!r}") from None

    def describe(self) -> dict[str, Any]:
        """The record, and what every host's agent does."""
        assert self.record is not None
        agents = {host: link.describe() for host, link in self.links.items()}
        return {**self.record.model_dump(mode="json"), "agents": agents}


class Labs:
    """All labs under one run root. `workload_command` is what host agents start workloads with."""

    def __init__(self, run_root: Path, builder: Builder, workload_command: list[str]) -> None:
        self._run_root = run_root
        self._builder = builder
        self._workload_command = workload_command
        self._labs: dict[str, Lab] = {}
        self._closing = False
        self.notices = Notices()

    async def clean(self) -> list[str]:
        """Destroys the labs that a dead agent left; returns their names."""
        left = sorted(path.parent.name for path in self._run_root.glob(f"*/{RECORD_FILE}"))
        for name in left:
            try:
                await _blocking(self._builder.destroy, name, self._run_root)
                log.warning("destroyed lab %s, left by an agent that died", name)
            except Exception as error:
                # The others must not suffer; DELETE tries again and tells the caller.
                log.error("lab %s, left by an agent that died, cannot be destroyed: %s", name, error)
        return left

    def deployed(self) -> list[Lab]:
        """The labs that can be used."""
        return [
            lab
            for lab in self._labs.values()
            if lab.record is not None and not lab.doomed and not lab.spoiled
        ]

    def get(self, name: str) -> Lab:
        """The lab of that name. Raises `Problem` 404, also while it is deployed or destroyed, 409 spoiled."""
        lab = self._labs.get(name)
        if lab is None or lab.record is None or lab.doomed:
            raise not_found("lab", name)
        if lab.spoiled:
            raise Problem(409, lab.spoiled, "lab")
        return lab

    async def deploy(self, name: str, topology: Topology) -> tuple[Lab, bool]:
        """The lab, and whether it is new; one that is being destroyed is waited for first.

        Raises `Problem`: 409 for another topology under the same name, or what the builder says.
        """
        while True:
            if self._closing:
                raise Problem(503, "the machine agent is ending")
            lab = self._labs.setdefault(name, Lab(name))
            async with lab.lock:
                if self._labs.get(name) is lab:
                    return lab, await self._deploy(lab, topology)

    async def _deploy(self, lab: Lab, topology: Topology) -> bool:
        if lab.doomed:
            raise Problem(409, f"lab {lab.name!r} is being destroyed")
        if lab.spoiled:
            await lab.stop()
            # The builder destroys what is left of it first.
            lab.record, lab.spoiled, lab.attendants = None, "", Attendants()
        if lab.record is not None:
            if lab.record.topology == topology:
                return False
            raise Problem(409, f"lab {lab.name!r} is deployed with another topology; destroy it first", "lab")

        def progress(step: str, done: int, total: int) -> None:
            if lab.doomed:
                raise Abandoned

        try:
            record = await _blocking(self._builder.deploy, lab.name, topology, self._run_root, progress)
        except BaseException as error:
            if not lab.doomed:  # else whoever destroys it forgets it
                del self._labs[lab.name]
            if isinstance(error, Abandoned):
                raise Problem(409, f"lab {lab.name!r} was destroyed while it was being deployed") from None
            raise
        lab.record = record
        lab.links = {host: self._link(record, host) for host in record.hosts}
        return True

    async def destroy(self, name: str) -> None:
        """Destroys a lab; the caller returns when it is gone, whoever destroyed it. None is no error."""
        lab = self._labs.setdefault(name, Lab(name))
        lab.doomed = True
        async with lab.lock:
            if self._labs.get(name) is not lab:
                return
            await lab.stop()
            await _blocking(self._builder.destroy, name, self._run_root)
            del self._labs[name]

    async def close(self) -> bool:
        """Destroys all labs; whether all are gone."""
        self._closing = True
        names = list(self._labs)
        outcomes = await asyncio.gather(*(self.destroy(name) for name in names), return_exceptions=True)
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                log.error("lab %s cannot be destroyed: %s", name, outcome)
        return not self._labs

    async def difference(self, name: str, topology: Topology) -> list[Change]:
        """What `apply` would change. Raises `Problem` 404."""
        lab = self.get(name)
        async with lab.lock:
            return await _blocking(self._builder.difference, self._still(lab), topology)

    async def apply(self, name: str, topology: Topology) -> tuple[Record, list[Change]]:
        """Makes a lab what `topology` says, touching only the difference; its record then, and what changed.

        Raises `Problem` 404, 409, 422, or 500: then the lab is as it was, or spoiled.
        """
        lab, loop = self.get(name), asyncio.get_running_loop()

        def leaving(hosts: list[str]) -> None:
            asyncio.run_coroutine_threadsafe(self._leave(lab, hosts), loop).result()

        async with lab.lock:
            record = self._still(lab)
            try:
                record, changes = await _blocking(self._builder.apply, record, topology, leaving)
            except Problem as problem:
                if isinstance(problem.__cause__, PartlyChanged):
                    lab.spoiled = problem.detail
                raise
            lab.record = record
            for host in record.hosts:
                setup = self._setup(record, host)
                if host in lab.links:
                    await lab.links[host].adopt(setup)
                else:
                    lab.links[host] = HostLink(setup, self._changed)
            return record, changes

    async def _leave(self, lab: Lab, hosts: list[str]) -> None:
        for host in hosts:
            await lab.drop(host)

    async def set_network(
        self, name: str, network: str, rate_mbps: float | None, impairments: Impairments | None
    ) -> Record:
        """Changes a network's rate, and what it loses; the lab's new record. Raises `Problem` 404, 422."""
        lab = self.get(name)
        async with lab.lock:
            record = self._with_network(lab, network)
            change = self._builder.set_network
            lab.record = await _blocking(change, record, network, rate_mbps, impairments)
            return lab.record

    async def set_cut(self, name: str, network: str, host: str | None, cut: bool) -> Record:
        """Cuts or heals a network, or a host's link to it; the lab's new record. Raises `Problem` 404."""
        lab = self.get(name)
        async with lab.lock:
            record = self._with_network(lab, network)
            if host is not None:
                lab.link(host)
            lab.record = await _blocking(self._builder.set_cut, record, network, host, cut)
            return lab.record

    async def stop_host(self, name: str, host: str) -> Record:
        """Ends all that runs on a host and lets nothing pass its ports. Raises `Problem` 404."""
        lab = self.get(name)
        async with lab.lock:
            record, link = self._still(lab), lab.link(host)
            if not record.hosts[host].stopped:
                await link.stop(f"host {host!r} of lab {name!r} is stopped")
                try:
                    lab.record = record = await _blocking(self._builder.set_stopped, record, host, True)
                except BaseException:
                    lab.links[host] = self._link(record, host)
                    raise
            return record

    async def start_host(self, name: str, host: str) -> Record:
        """Lets a stopped host be used again. Raises `Problem` 404."""
        lab = self.get(name)
        async with lab.lock:
            record, _ = self._still(lab), lab.link(host)
            if record.hosts[host].stopped:
                lab.record = record = await _blocking(self._builder.set_stopped, record, host, False)
                lab.links[host] = self._link(record, host)
            return record

    async def counters(self, name: str) -> dict[str, int]:
        """The cumulative counters of the lab's networks and interfaces."""
        lab = self.get(name)
        async with lab.lock:
            return await _blocking(self._builder.counters, self._still(lab))

    async def look(self, name: str) -> dict[str, Any]:
        """All that is watched of a lab, as `agents.machine_look.look` says. Raises `Problem` 404, 409.

        It waits for nobody who changes the lab, and starts no host agent.
        """
        lab = self.get(name)
        record, links = self._still(lab), dict(lab.links)

        def read() -> Reading:
            return machine_look.read(self._builder, record, links)

        asked = {host: link for host, link in links.items() if link.state == "running"}
        seen, *answers = await asyncio.gather(_blocking(read), *(link.look() for link in asked.values()))
        return machine_look.look(record, links, seen, dict(zip(asked, answers, strict=True)))

    def _changed(self, link: HostLink) -> None:
        setup = link.setup
        self.notices.add(lab=setup.lab, host=setup.host, state=link.state, message=link.message)

    def _still(self, lab: Lab) -> Record:
        if lab.record is None or lab.doomed:
            raise not_found("lab", lab.name)
        return lab.record

    def _with_network(self, lab: Lab, network: str) -> Record:
        record = self._still(lab)
        if network not in record.networks:
            raise not_found("network", network, f"lab {lab.name!r}")
        return record

    def _link(self, record: Record, host: str) -> HostLink:
        return HostLink(self._setup(record, host), self._changed)

    def _setup(self, record: Record, host: str) -> HostSetup:
        entry = record.hosts[host]
        return HostSetup(
            lab=record.lab,
            host=host,
            namespace=Path("/run/netns") / entry.namespace,
            cgroup=entry.cgroup,
            run_dir=record.run_dir,
            interfaces=[interface.model_dump(mode="json") for interface in entry.interfaces],
            workload_command=self._workload_command,
        )


async def _blocking(call: Callable[..., T], *arguments: Any) -> T:
    """Runs a builder's call off the event loop and tells its errors as `Problem`."""
    try:
        return await asyncio.to_thread(call, *arguments)
    except Exception as error:
        told_error = told(error)
        if told_error is error:
            raise
        raise told_error from error
