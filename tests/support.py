"""Waiting for a condition with a deadline, so that no test sleeps for a guessed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

POLL_S = 0.01


def wait_until(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Returns as soon as `condition()` is true; raises AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(POLL_S)


async def eventually(
    condition: Callable[[], object | Awaitable[object]], what: str, seconds: float = 10.0
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
