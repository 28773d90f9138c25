"""One workload process: its specification, its events, its counters, its end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from agents.errors import Problem
from agents.processes import Child, Lines, ending, tail_of
from agents.requests import MAX_SIZE, Change
from agents.sampler import Sampler
from agents.shipping import counters
from topologies.cgroups import CgroupError

COUNTER_BYTES = 64 << 10
READY_S = 60.0
"""A workload that is not ready after this many seconds is given up; a small CPU budget makes it slow."""
STOP_S = 10.0
"""Seconds from the request to stop until a workload is killed."""
LOOK_S = 0.002

State = Literal["starting", "running", "done", "failed"]


class Workload:
    """A workload process, started at once. `on_end` runs when the process has ended and is reaped.

    States: `starting` until it says ready, `running`, then `done` (it gave its result) or `failed`
    (`message` says why). Its counters stay readable after its end. With `sample_s`, they are sampled as
    often while it runs.
    """

    def __init__(
        self,
        workload_id: str,
        workload: str,
        system: str,
        command: Sequence[str],
        on_end: Callable[[Workload], None] | None = None,
        sample_s: float | None = None,
    ) -> None:
        self.id = workload_id
        self.workload = workload
        self.system = system
        self.manager: Workload | None = None
        self.params: dict[str, Any] = {}
        self.state: State = "starting"
        self.message = ""
        self.result: dict[str, Any] | None = None
        self.ended = False
        self._last_counters: dict[str, int] = {}
        self._on_end = on_end
        self._sampler = None if sample_s is None else Sampler(sample_s, self.counters)
        self._changed = asyncio.Event()
        self._stopping = False
        self._refused = False
        self._field: str | None = None
        self._counters_fd = _counter_memory(workload_id)
        try:
            self._child = Child(
                [*command, "--counters-fd", str(self._counters_fd)],
                on_output=Lines(self._line),
                on_exit=self._exited,
                pass_fds=[self._counters_fd],
                dies_with_us=True,
            )
        except OSError as error:
            os.close(self._counters_fd)
            raise Problem(500, f"cannot start {command[0]} for workload {workload_id}: {error}") from error
        self.pid = self._child.pid

    async def begin(self, params: dict[str, Any], place: Callable[[int], None]) -> None:
        """Gives the process its specification and returns when it is ready.

        `place(pid)` puts it where its work is paid for. That happens when it has loaded itself and waits
        for its specification, so that no budget pays for Python's start (0.2 s of CPU: 5 s at 4 %).
        Raises `Problem` with the workload's own message when it refuses.
        """
        self.params = params
        spec = json.dumps({"workload": self.workload, "system": self.system, "params": params})
        deadline = time.monotonic() + READY_S
        try:
            # Without its end the line cannot be acted upon; that it is taken in shows that the process waits.
            self._child.write(spec.encode())
            while self._child.unread() and time.monotonic() < deadline:  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(LOOK_S)
            if not self.ended:
                place(self.pid)
                self._child.write(b"\n")
        except BrokenPipeError:
            pass  # it ended: told below
        except (OSError, CgroupError) as error:
            await self.kill(f"cannot be placed: {error}")
        except BaseException:
            await self.kill("its start was given up")
            raise
        if not await self._becomes(lambda: self.state != "starting", deadline - time.monotonic()):
            await self.kill(f"was not ready after {READY_S:g} s")
        if self.state == "failed":
            await self._child.wait()
            # What it says itself is about the request; that it broke is not.
            what = f"{self.workload} did not start: {self.explanation}"
            raise Problem(422 if self._refused else 502, what, self._field)

    @property
    def active(self) -> bool:
        """Whether it has not finished its work."""
        return self.state in ("starting", "running")

    @property
    def explanation(self) -> str:
        """`message`; of a failure whose cause may be the manager's, with what became of that."""
        manager = self.manager
        if self.state == "failed" and manager is not None and manager.state == "failed":
            return f"{self.message}; its manager (pid {manager.pid}) failed: {manager.message}"
        return self.message

    def counters(self) -> dict[str, int]:
        """Its counters, from shared memory, without its help."""
        if self.ended:
            return dict(self._last_counters)
        return counters.read(self._counters_fd)

    @property
    def samples(self) -> dict[str, Any] | None:
        """The series of its counters so far; None when it is not sampled."""
        return None if self._sampler is None else self._sampler.series()

    def describe(self) -> dict[str, Any]:
        """Its state as clients get it."""
        return {
            "id": self.id,
            "workload": self.workload,
            "system": self.system,
            "pid": self.pid,
            "state": self.state,
            "message": self.explanation,
            "params": {name: value for name, value in self.params.items() if name != "manager_socket"},
            "counters": self.counters(),
            "result": self.result,
            "manager": self.manager.describe() if self.manager is not None else None,
            # Of a running one it would be sent with every look.
            "series": None if self.active else self.samples,
        }

    def tell(self, command: dict[str, Any]) -> None:
        """Hands it a command. Raises `Problem` when it does not run."""
        try:
            self._child.write(json.dumps(command).encode() + b"\n")
        except OSError as error:
            raise Problem(409, f"workload {self.id} takes no command: {error.strerror or error}") from None

    def change(self, asked: Change) -> None:
        """Gives a running source another rate or size. Raises `Problem` 409 for what cannot be changed."""
        if self.workload != "source":
            raise Problem(
                409,
                f"only sources change while they run, and {self.id} is a {self.workload}; "
                "stop it and start another",
                "workload",
            )
        changed = {"size": MAX_SIZE, **self.params, **asked.model_dump(exclude_none=True)}
        self.tell({"command": "pace", "rate_mbps": changed["rate_mbps"], "size": changed["size"]})
        self.params = changed

    async def finished(self, within_s: float) -> bool:
        """Waits for its work to finish; whether it has."""
        return await self._becomes(lambda: not self.active, within_s)

    async def stop(self, release: Callable[[int], None]) -> None:
        """Asks it to stop, insists after `STOP_S`, and returns when the process is gone.

        `release(pid)` takes it out of where `begin` placed it: on a budget of a few per cent, to print a
        result can take longer than `STOP_S`.
        """
        if not self._stopping and not self.ended:
            self._stopping = True
            with contextlib.suppress(OSError, CgroupError):  # it may be ending just now
                release(self.pid)
            with contextlib.suppress(Problem):
                self.tell({"command": "stop"})
            self._child.close_input()
        if not await self._child.ended_within(STOP_S):
            await self.kill(f"did not stop within {STOP_S:g} s and was killed")

    async def kill(self, why: str) -> None:
        """Ends the process at once; unless it had finished, it has failed because of `why`."""
        if self.active:
            self._fail(why)
        await self._child.kill()

    def _line(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "ready":
                self._become("running")
            elif kind == "done" and isinstance(event["result"], dict):
                self.result = event["result"]
                self._become("done")
            elif kind == "error":
                self._refused = self.state == "starting"
                field = event.get("field")
                self._field = field if isinstance(field, str) else None
                self._fail(str(event["message"])[:4096])
            else:
                raise ValueError(kind)
        except (ValueError, KeyError, TypeError, RecursionError):
            if self.active:
                self._fail(f"printed something that is not an event: {line[:200]!r}")
                self._child.signal(signal.SIGKILL)

    def _exited(self, returncode: int) -> None:
        self._last_counters = counters.read(self._counters_fd)
        os.close(self._counters_fd)
        self.ended = True
        if self.active:
            if self._stopping and returncode == 0:
                self.message = "stopped"
                self._become("done")
            else:
                self._fail(ending(returncode) + tail_of(self._child.stderr))
        if self._on_end is not None:
            self._on_end(self)
        self._changed.set()

    def _fail(self, message: str) -> None:
        self.message = message
        self._become("failed")

    def _become(self, state: State) -> None:
        if not self.active:
            return
        self.state = state
        self._changed.set()
        if self._sampler is not None:
            self._sampler.stop()
            if self.active:
                self._sampler.start()
        if not self.active and not self.ended:
            # A process whose work is over has nothing to stay for.
            self._child.close_input()
            loop = asyncio.get_running_loop()
            loop.call_later(STOP_S, self._child.signal, signal.SIGKILL)

    async def _becomes(self, condition: Callable[[], bool], within_s: float) -> bool:
        async def wait() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(wait(), max(within_s, 0.0))
        except TimeoutError:
            return condition()
        return True


def _counter_memory(name: str) -> int:
    """A memfd for counters. Its size is sealed: a workload that shrank it would kill its readers."""
    descriptor = os.memfd_create(f"transship-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, COUNTER_BYTES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor
