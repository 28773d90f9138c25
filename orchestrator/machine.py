"""The machine agent as this orchestrator's child: started, watched, started again after its death.

The agent holds the other end of a pipe as its standard input. However this process ends, the pipe closes,
and the agent destroys its labs and exits; so it is not tied to its parent by a signal, which would leave
no time for that.
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from agents.client import Machine, MachineClient
from agents.errors import AgentError, Problem
from agents.processes import clean_environment
from agents.tokens import Tokens
from orchestrator.events import EventBus

log = logging.getLogger(__name__)

START_S = 60.0
"""Seconds allowed until the agent answers; it may have the labs of a dead one to clean first."""
STOP_S = 40.0
"""Seconds allowed to destroy what is left and exit, before it is killed."""
NOTICE_S = 10.0
"""Seconds allowed to notice that a process has died."""
RESTARTS = 3
"""Attempts in a row to start it again, after which it stays down."""
HEALTHY_S = 10.0
"""Seconds of life after which a death does not count as one in a row."""

REPOSITORY = Path(__file__).resolve().parent.parent


class MachineError(Exception):
    """The machine agent could not be started; the message says why, or where it said why."""


class MachineKeeper:
    """Keeps one machine agent alive. `on_death` hears how it died, before a fresh one is started."""

    def __init__(
        self,
        events: EventBus,
        run_root: Path,
        command: Sequence[str] = (sys.executable, "-m", "agents.machine"),
        name: str = "local",
    ) -> None:
        self.name = name
        self.state: Literal["starting", "up", "down"] = "starting"
        self.message = ""
        self.on_death: Callable[[str], None] = lambda message: None
        self._events = events
        self._socket = run_root / "machine.sock"
        options = ("--until-stdin-closes", "--tokens-from-stdin")
        self._command = (*command, "--run-root", str(run_root), *options)
        self._tokens = Tokens.fresh()
        self._process: asyncio.subprocess.Process | None = None
        self._client: MachineClient | None = None
        self._changed = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The agent's process id while it lives."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def client(self) -> Machine:
        """The machine. Raises Problem 503 while its agent is not up."""
        if self.state != "up" or self._client is None:
            raise Problem(
                503, f"the machine agent is {self.state}" + (f": {self.message}" if self.message else "")
            )
        return self._client

    async def available(self) -> Machine:
        """The machine, alive, and waited for while its agent starts. Raises Problem 503 if it stays down."""
        if self.state == "up":
            try:
                await self.client.health()
            except AgentError:
                # It has died, and its death has not been noticed yet.
                await self._until(lambda: self.state != "up", NOTICE_S)
        await self._until(lambda: self.state != "starting", START_S)
        return self.client

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._changed.wait()

    async def start(self) -> None:
        """Start the agent and wait until it answers. Raises MachineError; then nothing is left running."""
        self._tell("starting", self.message)
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=REPOSITORY,
            env=clean_environment(),
            # Its own session: Ctrl-C in a terminal must not reach it before the runs are cancelled.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._tokens = Tokens.fresh()
        self._process.stdin.write(self._tokens.model_dump_json().encode() + b"\n")
        try:
            self._client = await self._until_healthy(self._process)
        except BaseException:
            await self._end()
            raise
        self._tell("up", "")

    async def watch(self) -> None:
        """Wait for deaths and start the agent again, until cancelled. Call after `start`."""
        failures = 0
        clock = asyncio.get_running_loop().time
        while True:
            assert self._process is not None
            began = clock()
            await self._process.wait()
            if clock() - began > HEALTHY_S:
                failures = 0
            message = f"the machine agent died: {epitaph(self._process)}"
            log.error("%s", message)
            self.message = message
            self._tell("starting", message)
            self.on_death(message)
            await self._forget_client()
            while True:
                failures += 1
                if failures > RESTARTS:
                    self._tell("down", f"{message}, and it does not stay up when started again")
                    return
                try:
                    await self.start()
                    break
                except (MachineError, OSError) as error:
                    log.error("the machine agent could not be started again: %s", error)

    async def close(self) -> None:
        """Let the agent destroy its labs and exit, and wait for that. Called twice is once."""
        self._tell("down", "the orchestrator is stopping")
        await self._end()

    async def _until_healthy(self, process: asyncio.subprocess.Process) -> MachineClient:
        client = await MachineClient(self._socket, lambda: epitaph(process), self._tokens).__aenter__()
        try:
            async with asyncio.timeout(START_S):
                while True:
                    if process.returncode is not None:
                        raise MachineError(
                            f"the machine agent could not be started ({epitaph(process)}); "
                            "what it said about that is above"
                        )
                    with suppress(AgentError):
                        if (await client.health()).get("pid") == process.pid:
                            return client
                    with suppress(TimeoutError):
                        await asyncio.wait_for(process.wait(), 0.02)
        except TimeoutError:
            await client.close()
            raise MachineError(f"the machine agent did not answer within {START_S:.0f} s") from None
        except BaseException:
            await client.close()
            raise

    async def _end(self) -> None:
        await self._forget_client()
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            log.error(
                "the machine agent (pid %d) did not exit within %.0f s and is killed", process.pid, STOP_S
            )
            process.kill()
            await process.wait()

    async def _forget_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _tell(self, state: Literal["starting", "up", "down"], message: str) -> None:
        self.state, self.message = state, message
        self._events.publish("machine", {"machine": self.name, "state": state, "message": message})
        self._changed.set()
        self._changed = asyncio.Event()

    def describe(self) -> dict[str, Any]:
        """The machine, for REST."""
        return {
            "name": self.name,
            # It has ended, and `watch` has not come to tell it.
            "state": "starting" if self.state == "up" and self.pid is None else self.state,
            "message": self.message,
            "pid": self.pid,
            "cpus": os.cpu_count() or 1,
            "kernel": os.uname().release,
        }


def epitaph(process: asyncio.subprocess.Process) -> str | None:
    """How a process ended: its pid and its signal or status; None while it lives."""
    code = process.returncode
    if code is None:
        return None
    if code < 0:
        return f"pid {process.pid} was killed by {signal.Signals(-code).name}"
    return f"pid {process.pid} exited with status {code}"
