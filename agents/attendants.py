"""The machine agent's side of the processes that attend a person at a lab: started, counted, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import BaseModel

from agents.errors import Problem
from agents.processes import REPOSITORY, clean_environment
from agents.requests import Attendance

AT_ONCE = 8
"""Captures and consoles of one lab; each is a process, and a capture has 8 MiB for frames that wait."""
END_S = 1.0
"""Seconds that one has to end by itself, a capture to write its statistics, before it is killed."""
CHUNK = 64 << 10

Process = asyncio.subprocess.Process


class Attendants:
    """Those of one lab."""

    def __init__(self) -> None:
        self._all: set[Process] = set()
        self._ends = 0

    def check_room(self) -> None:
        """Raises `Problem` 409 when there are as many as may be."""
        if len(self._all) >= AT_ONCE:
            raise Problem(409, f"{AT_ONCE} captures and consoles of this lab run already; end one first")

    @contextlib.asynccontextmanager
    async def start(
        self, module: str, namespace: str, cgroup: str | None, name: str, task: BaseModel, output: int
    ) -> AsyncIterator[Process]:
        """A process of that module, at work in the namespace; it is ended at the end. Raises `Problem`."""
        self.check_room()
        ends = self._ends
        setup = Attendance(
            parent=os.getpid(),
            namespace=Path("/run/netns") / namespace,
            cgroup=cgroup,
            name=name,
            task=task.model_dump(),
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=REPOSITORY,
            env=clean_environment(),
            start_new_session=True,
            limit=CHUNK,
        )
        self._all.add(process)
        try:
            if self._ends > ends:
                raise Problem(409, "the lab is being destroyed")
            assert process.stdin is not None
            process.stdin.write(setup.model_dump_json().encode() + b"\n")
            yield process
        finally:
            await asyncio.shield(self._end(process))

    async def close(self) -> None:
        """Ends all of them, those that are being started, too."""
        self._ends += 1
        await asyncio.gather(*(self._end(process) for process in list(self._all)))

    async def _end(self, process: Process) -> None:
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()  # a capture ends by that,
            _signal(process, signal.SIGHUP)  # and a shell by this
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), END_S)
        if process.returncode is None:
            _signal(process, signal.SIGKILL)
        await process.wait()
        self._all.discard(process)


def _signal(process: Process, number: int) -> None:
    """As its `send_signal`, which waits for one that has ended already, so that asyncio misses its end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)
