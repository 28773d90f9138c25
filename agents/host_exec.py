"""Commands run on a host for a person who looks at it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.errors import Problem
from agents.processes import Child

LIMIT_S = 30.0
OUTPUT_LIMIT = 1 << 20
"""Bytes kept of each of a command's two outputs."""
COMMANDS_AT_ONCE = 8


class Commands:
    """Runs commands in the host's namespace, in the agent's cgroup: looking costs the host's work nothing."""

    def __init__(self) -> None:
        self._running: set[Child] = set()

    async def run(self, argv: Sequence[str]) -> dict[str, Any]:
        """The command's exit status (minus the signal's number) and output, cut at `OUTPUT_LIMIT` bytes.

        Raises `Problem` when it cannot be started or takes more than `LIMIT_S`; then all of its
        session is killed.
        """
        if len(self._running) >= COMMANDS_AT_ONCE:
            raise Problem(409, f"{COMMANDS_AT_ONCE} commands run on this host already")
        out, err = _Output(), _Output()
        try:
            child = Child(
                argv, on_output=out.take, on_error_output=err.take, cwd=Path("/"), dies_with_us=True
            )
        except OSError as error:
            raise Problem(422, f"cannot run {argv[0]!r}: {error.strerror or error}", "argv") from None
        child.close_input()
        self._running.add(child)
        try:
            if not await child.ended_within(LIMIT_S):
                raise Problem(504, f"{argv[0]!r} ran for more than {LIMIT_S:g} s and was killed", "argv")
        finally:
            if child.returncode is None:
                _kill_session(child.pid)
                await child.kill()
            self._running.discard(child)
        return {
            "exit": child.returncode,
            "stdout": out.text(),
            "stderr": err.text(),
            "truncated": out.truncated or err.truncated,
        }

    async def kill_all(self) -> None:
        """Ends every running command and its session."""
        for child in list(self._running):
            _kill_session(child.pid)
        await asyncio.gather(*(child.kill() for child in list(self._running)))


class _Output:
    def __init__(self) -> None:
        self._held = bytearray()
        self.truncated = False

    def take(self, data: bytes) -> None:
        room = OUTPUT_LIMIT - len(self._held)
        self._held += data[:room]
        self.truncated |= len(data) > room

    def text(self) -> str:
        return self._held.decode(errors="replace")


def _kill_session(leader: int) -> None:
    """Kills what a command started, which its own death leaves alone."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        # The descriptor first, then the check: the process checked is then the process killed.
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(int(entry.name))
            try:
                if os.getsid(int(entry.name)) == leader:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)
