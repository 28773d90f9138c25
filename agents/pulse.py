"""Whether an agent still does its work: it is asked by a byte on its standard input and answers on its
output.

That no answer comes is not enough to say that it hangs: on a machine with more to do than CPUs, any process
waits. So a silent process is looked at, and every look must find that it does not wait for the CPU.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

BEAT_S = 5.0
"""Seconds between two looks; with each goes a question, unless the one before has not been answered."""
LOOKS = 4
"""Looks in a row that must find a silent process at fault."""
BUSY_NS = 2_000_000_000
"""CPU time in which any process that works has answered; it takes some 100 us."""

_FAULTS = {"T": "it is stopped", "S": "it waits for something else", "R": "it does something else"}


class Pulse:
    """Of one process. `ask` sends a question and may fail; `answered` is to be called for each answer."""

    def __init__(self, pid: int, ask: Callable[[], None], proc: Path = Path("/proc")) -> None:
        self._directory = proc / str(pid)
        self._ask = ask
        self._silent = False
        self._looks = 0
        self._busy_ns = 0

    def answered(self) -> None:
        """It works."""
        self._silent = False
        self._looks = 0

    def beat(self) -> str | None:
        """Looks, and asks. What is wrong with the process, in words, once that is certain."""
        if not self._silent:
            self._silent, self._busy_ns = True, self._cpu_ns()
            self._ask()
            return None
        state = self._state()
        if state not in _FAULTS or (state == "R" and self._cpu_ns() - self._busy_ns < BUSY_NS):
            # It waits for the CPU, for a disk, or for somebody who traces it.
            self._looks = 0
            return None
        self._looks += 1
        if self._looks < LOOKS:
            return None
        return f"did not answer for {LOOKS * BEAT_S:g} s: {_FAULTS[state]}"

    async def watch(self) -> str:
        """Beats until something is wrong."""
        while True:
            await asyncio.sleep(BEAT_S)
            if (fault := self.beat()) is not None:
                return fault

    def _state(self) -> str:
        try:
            return (self._directory / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""  # it has ended, which is seen elsewhere

    def _cpu_ns(self) -> int:
        try:
            return int((self._directory / "schedstat").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return 0
