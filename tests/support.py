"""Waiting for a condition with a deadline, so that no test sleeps for a guessed time; processes."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

POLL_S = 0.01
PATIENCE_S = 60.0
"""How long a failure may take to show. A busy machine keeps any process from running for seconds."""
LIMIT_S = 300 + 0.2 * int(os.environ.get("TRANSSHIP_KILLS") or 0)
"""What no test takes: tests/conftest.py ends the one that does."""


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    """Returns as soon as `condition()` is true; raises AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(POLL_S)


async def eventually(
    condition: Callable[[], object | Awaitable[object]], what: str, seconds: float = PATIENCE_S
) -> None:
    """The same for asyncio tests; `condition` may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        await asyncio.sleep(POLL_S)


def state_of(pid: int) -> str:
    """A process's state, as /proc has it: R, S, T, Z, ...; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    """Whether a process is there and not only its exit status."""
    return state_of(pid) not in ("", "Z")


def children(pid: int) -> list[int]:
    """The processes that a process has started and not reaped."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def stop(pid: int) -> None:
    """SIGSTOPs a process; it does nothing more when this returns."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T", f"process {pid} to stop")
