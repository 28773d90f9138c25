"""Our end of a pseudo-terminal, in the event loop."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Any

CHUNK = 16 << 10
REST = 256 << 10


class Terminal:
    """A pseudo-terminal: `inner` is the end for the process in it, `close_inner` once that has it."""

    def __init__(self, rows: int, columns: int) -> None:
        self._outer, self.inner = os.openpty()
        os.set_blocking(self._outer, False)
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        """Tells the process in it, with SIGWINCH, how large its window is."""
        fcntl.ioctl(self._outer, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close_inner(self) -> None:
        if self.inner >= 0:
            os.close(self.inner)
            self.inner = -1

    def close(self) -> None:
        """Hangs up."""
        self.close_inner()
        os.close(self._outer)

    async def read(self) -> bytes:
        """What the process has written; empty when nobody has the inner end any more."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._outer, CHUNK)
            except BlockingIOError:
                await _ready(self._outer, loop.add_reader, loop.remove_reader)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return b""

    def read_rest(self) -> bytes:
        """What is there already, of somebody who may go on writing."""
        rest = b""
        try:
            while len(rest) < REST:
                rest += os.read(self._outer, CHUNK)
        except OSError:
            pass
        return rest

    async def write(self, data: bytes) -> None:
        """What a person types. Waits while the process does not read."""
        loop, rest = asyncio.get_running_loop(), memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._outer, rest) :]
            except BlockingIOError:
                await _ready(self._outer, loop.add_writer, loop.remove_writer)


async def _ready(descriptor: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    ready = asyncio.Event()
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)
