"""Something killed (SIGKILL) before every line of some modules that it executes, and a look at the rest."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from itertools import count
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

Acknowledge = Callable[[str], object]
Write = Callable[[Path, Acknowledge], Coroutine[Any, Any, None]]
"""Does all there is to do in a directory, telling what is done; the last word is END."""
Check = Callable[[Path, set[str]], Coroutine[Any, Any, None]]
"""Raises AssertionError where what was told is not there."""
END = "end"


def killed_everywhere(base: Path, modules: tuple[ModuleType, ...], write: Write, check: Check) -> int:
    """How often `write` was killed: for each line once. Raises AssertionError at the first loss."""
    watched = {str(module.__file__) for module in modules}
    for number in count(1):
        state = base / str(number)
        (state / "runs").mkdir(parents=True)
        if not _attempt(state, _Killer(number, watched), write, check):
            return number - 1
        shutil.rmtree(state)
    raise AssertionError("unreachable")


class _Killer:
    """Ends this process before it executes its n-th line of the watched files."""

    def __init__(self, number: int, watched: set[str]) -> None:
        self._left = number
        self._watched = watched

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in self._watched:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


def _child(state: Path, killer: _Killer, acknowledgements: int, write: Write) -> None:
    """Never returns: killed, or exit status 0."""
    threading.settrace(killer.trace)
    sys.settrace(killer.trace)
    try:
        asyncio.run(write(state, lambda word: os.write(acknowledgements, word.encode() + b"\n")))
    finally:
        os._exit(0)


def _attempt(state: Path, killer: _Killer, write: Write, check: Check) -> bool:
    """Whether a child was killed; then all is well with what it left."""
    mine, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(mine)
        _child(state, killer, its, write)
    os.close(its)
    with os.fdopen(mine, "rb") as pipe:
        told = {line.decode() for line in pipe.read().splitlines()}
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or END in told, f"what was to be killed failed by itself: {told}"
    asyncio.run(check(state, told))
    return killed
