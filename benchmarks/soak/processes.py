"""The processes under one that we started, from /proc: how many, how large, how many descriptors."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from random import Random

PAGE = os.sysconf("SC_PAGESIZE")


def descendants(pid: int) -> dict[int, str]:
    """Every process below `pid`, with what it was called with. Those that end meanwhile are left out."""
    found: dict[int, str] = {}
    waiting = _children(pid)
    while waiting:
        child = waiting.pop()
        with suppress(OSError):
            found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            waiting += _children(child)
    return found


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    return []


def size(pid: int) -> tuple[float, int]:
    """(resident megabytes, open descriptors) of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * PAGE / 1e6, len(os.listdir(f"/proc/{pid}/fd"))


def kill(random: Random, processes: dict[int, str]) -> str:
    """Kills one of them, and says which."""
    pid = random.choice(sorted(processes))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return processes[pid]
