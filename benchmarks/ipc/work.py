"""What one trial of `bench ipc` is, and the work that its Python processes do on each message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

WAITING_BYTES, MOST_WAITING, LEAST_WAITING = 1 << 20, 1024, 16
"""As in ipc/ways.h and shipping.c."""
LINE_WORDS = 8
WAIT_S = 20.0


@dataclass(frozen=True)
class Work:
    """One trial, as the command line says it."""

    system: str
    size: int
    seconds: float
    touched: str
    measure: str
    cpus: tuple[int, int]
    place: str
    pool: tuple[int, int, int, int] | None = None
    """Of our manager: protection, zeroing, page, recycling, as ipc/main.c has them. None: as it comes."""

    @property
    def queue(self) -> int:
        """How many messages may wait in one queue."""
        count = 1
        while 2 * count <= MOST_WAITING and 2 * count * self.size <= WAITING_BYTES:
            count *= 2
        return max(count, LEAST_WAITING)


class Way(Protocol):
    """One process's end of a system. Both calls block until they are done."""

    def send(self, number: int) -> None:
        """Make message `number` and send it."""

    def receive(self, number: int) -> None:
        """Take the next message and look whether it is that one. Raises RuntimeError if it is not."""

    def close(self) -> None:
        """Leave nothing behind."""


def make_lines(memory: Any, number: int) -> None:
    """A word of each cache line."""
    np.frombuffer(memory, np.uint64)[::LINE_WORDS] = number


def lines_are(memory: Any, number: int) -> bool:
    """Whether `make_lines` wrote them, every one looked at."""
    words = np.frombuffer(memory, np.uint64)[::LINE_WORDS]
    return int(words.sum()) == number * len(words)


def pattern(size: int, number: int) -> Any:
    """Every byte of message `number`."""
    at = np.arange(size)
    return (number * 7 + at * 31 + at // 251).astype(np.uint8)


def make_bytes(memory: Any, number: int) -> None:
    """All of the pattern."""
    np.frombuffer(memory, np.uint8)[:] = pattern(len(np.frombuffer(memory, np.uint8)), number)


def bytes_are(memory: Any, number: int) -> bool:
    """Whether it is the pattern to the byte."""
    found = np.frombuffer(memory, np.uint8)
    return bool((found == pattern(len(found), number)).all())


Make = Callable[[Any, int], None]
Check = Callable[[Any, int], bool]
TOUCH: dict[str, tuple[Make | None, Check | None]] = {
    "lines": (make_lines, lines_are),
    "bytes": (make_bytes, bytes_are),
    "nothing": (None, None),
}


def wrong(number: int) -> RuntimeError:
    """What to raise for a message that is not what was sent."""
    return RuntimeError(f"message {number} is not what was sent")
