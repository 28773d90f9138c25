"""The machine agent's side of one host agent: started when first used, watched, asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Literal

from agents.cpu_times import CpuTimes
from agents.errors import AgentError, Problem
from agents.host import socket_of
from agents.processes import Child, Lines, ending, tail_of
from agents.pulse import Pulse
from agents.requests import HostSetup
from agents.transport import Answer, UnixTransport, Unreachable
from topologies.cgroups import CgroupError, HostCgroup

START_S = 30.0
STOP_S = 20.0
"""Seconds a host agent has to end its children before it is killed, and they with it."""
DEATH_S = 10.0
"""Seconds between an agent's broken connections and the news of its death."""
LOOK_S = 0.3
"""Seconds that an agent has to say how its processes are, before it is told without it."""
LATE_S = 10.0
"""Seconds after which what it said too late is no news any more."""
_NEVER = (float("-inf"), None)

State = Literal["none", "starting", "running", "failed", "stopped"]

log = logging.getLogger(__name__)


class HostLink:
    """One host's agent, or the place where it will be.

    When it dies, or hangs and is killed, requests are refused with how it died until one that changes
    something has been: the client that works with the host must hear of it. The next such request starts a
    new agent. `on_change` is called when it runs and when it has failed.
    """

    def __init__(self, setup: HostSetup, on_change: Callable[[HostLink], None] = lambda link: None) -> None:
        self._on_change = on_change
        self._watching: asyncio.Task[None] | None = None
        self._fault = ""
        self.state: State = "none"
        self.message = ""
        self._setup = setup
        self._name = f"the host agent of {setup.lab}/{setup.host}"
        self._child: Child | None = None
        self._transport: UnixTransport | None = None
        self._starting = asyncio.Lock()
        self._told = False
        self._cpu: CpuTimes | None = None
        self._looking: asyncio.Task[Any] | None = None
        self._look_ends = 0.0
        self._late: tuple[float, Any] = _NEVER

    @property
    def setup(self) -> HostSetup:
        """What the agent is told when it starts."""
        return self._setup

    def describe(self) -> dict[str, Any]:
        """Its state, process id and, after a death, what happened."""
        alive = self._child is not None and self._child.returncode is None
        return {
            "state": self.state,
            "pid": self._child.pid if alive and self._child is not None else None,
            "message": self.message,
        }

    async def ask(
        self, method: str, path: str, body: Any = None, *, changes: bool = False, timeout_s: float = 30.0
    ) -> bytes:
        """The body of the agent's answer, as `answer` has it."""
        return (await self.answer(method, path, body, changes=changes, timeout_s=timeout_s)).content

    async def answer(
        self, method: str, path: str, body: Any = None, *, changes: bool = False, timeout_s: float = 30.0
    ) -> Answer:
        """The agent's answer; it is started if it has not been. `changes`: as said of the class.

        Raises `AgentError`: what the agent refuses, or how it died.
        """
        async with self._starting:
            if self.state == "stopped":
                raise AgentError(409, self.message)
            if self.state == "failed" and not (changes and self._told):
                self._told = self._told or changes
                raise AgentError(503, self.message)
            if self.state != "running":
                await self._start()
        child, transport = self._child, self._transport
        assert child is not None and transport is not None
        try:
            return await transport.answer(method, path, body, timeout_s=timeout_s)
        except Unreachable as error:
            if not await child.ended_within(DEATH_S):
                raise error
            if self._stopped():
                raise AgentError(409, f"{self.message} meanwhile") from None
            self._told = self._told or changes
            raise AgentError(503, self._death(child)) from None

    async def look(self) -> Any:
        """What the agent says of its processes; None if there is none, or it does not answer in `LOOK_S`.

        It is waited for once: until a late one has answered, all that look get None at once. What it then
        says is for the next who looks, if it does not say something newer in time.
        """
        if self.state != "running":
            return None
        clock = asyncio.get_running_loop().time
        if self._looking is None or self._looking.done():
            self._look_ends = clock() + LOOK_S
            self._looking = asyncio.create_task(self._look())
        looking = self._looking
        await asyncio.wait([looking], timeout=max(self._look_ends - clock(), 0.0))
        (at, late), self._late = self._late, _NEVER
        return looking.result() if looking.done() else late if clock() - at < LATE_S else None

    async def _look(self) -> Any:
        try:
            answer = json.loads(await self.ask("GET", "/look"))
        except AgentError:
            return None  # it has died, which its state says
        now = asyncio.get_running_loop().time()
        if now > self._look_ends and self._looking is asyncio.current_task():
            self._late = (now, answer)
        return answer

    def cpu_usec(self) -> dict[str, int]:
        """What the host has used of the CPU, by group; {} where that cannot be read. Blocks for 50 us."""
        try:
            self._cpu = self._cpu or CpuTimes(HostCgroup(self._setup.cgroup))
            return self._cpu.read("io", "hogs", "agent")
        except CgroupError:
            return {}

    async def adopt(self, setup: HostSetup) -> None:
        """The host has become what `setup` says: a manager that its agent starts from now on is told so."""
        if setup == self._setup:
            return
        self._setup = setup
        if self.state in ("starting", "running"):
            # One that dies meanwhile is started with the new setup when it is needed again.
            with contextlib.suppress(AgentError):
                await self.ask("PUT", "/interfaces", {"interfaces": setup.interfaces})

    async def stop(self, why: str) -> None:
        """Ends the agent and its children, for good; `why` is what later requests are told."""
        self.state, self.message = "stopped", why
        child = self._child
        if child is not None and child.returncode is None:
            child.signal(signal.SIGTERM)
            if not await child.ended_within(STOP_S):
                log.warning("%s (pid %d) does not end and is killed", self._name, child.pid)
                await child.kill()
        if self._transport is not None:
            await self._transport.close()

    def _stopped(self) -> bool:
        return self.state == "stopped"

    async def _start(self) -> None:
        self.state, self._told = "starting", False
        self._looking, self._late = None, _NEVER  # nothing that the one before said is about this one
        started: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        def hear(line: bytes) -> None:
            if not started.done():
                started.set_result(_complaint(line))
            else:
                pulse.answered()

        def gone(returncode: int) -> None:
            if self._watching is not None:
                self._watching.cancel()
            if not started.done():
                started.set_result(ending(returncode) + tail_of(child.stderr))
            elif self.state == "running":
                self._become("failed", self._death(child))
                log.error("%s", self.message)

        command = [sys.executable, "-m", "agents.host", "--parent", str(os.getpid())]
        try:
            child = Child(command, on_output=Lines(hear), on_exit=gone)
            child.write(self._setup.model_dump_json().encode() + b"\n")
        except OSError as error:
            self.state = "none"
            raise AgentError(500, f"{self._name} cannot be started: {error}") from error
        self._child, self._fault = child, ""
        pulse = Pulse(child.pid, lambda: _ask(child))
        try:
            complaint = await asyncio.wait_for(started, START_S)
        except TimeoutError:
            complaint = f"it was not ready after {START_S:g} s"
        if complaint is None and self.state == "starting":
            if self._transport is not None:
                await self._transport.close()
            self._transport = UnixTransport(
                socket_of(self._setup.run_dir, self._setup.host), self._name, tokens=self._setup.tokens
            )
            self._become("running", "")
            self._watching = asyncio.create_task(self._watch(child, pulse))
            return
        await child.kill()
        if self.state == "starting":
            self.state = "none"
        raise AgentError(502, f"{self._name} did not start: {complaint or self.message}")

    async def _watch(self, child: Child, pulse: Pulse) -> None:
        self._fault = await pulse.watch()
        await child.kill()

    def _become(self, state: State, message: str) -> None:
        self.state, self.message = state, message
        self._on_change(self)

    def _death(self, child: Child) -> str:
        assert child.returncode is not None
        words = tail_of(child.stderr) if child.returncode > 0 else ""
        was = "was " if child.returncode < 0 else ""
        how = f"{self._fault}, and was killed" if self._fault else f"{was}{ending(child.returncode)}{words}"
        return f"{self._name} (pid {child.pid}) {how}; its workloads and hogs are gone with it"


def _ask(child: Child) -> None:
    with contextlib.suppress(OSError):  # it has ended, or does not even read
        child.write(b"\n")


def _complaint(line: bytes) -> str | None:
    """Why a host agent did not become ready, from the first line it printed; None when it did."""
    try:
        event = json.loads(line)
        return None if event["event"] == "ready" else str(event["message"])
    except (ValueError, KeyError, TypeError):
        return f"it printed {line[:200]!r}"


def unused(link: HostLink, workload_id: str) -> Problem:
    """The 404 of a workload on a host whose agent was never started."""
    where = f"host {link.setup.host!r} of lab {link.setup.lab!r}"
    return Problem(404, f"there is no workload {workload_id!r} in {where}", "workload")
