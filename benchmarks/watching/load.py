"""Someone who watches, in a process of its own: requests at a steady rate, or one stream that is read.

`python -m benchmarks.watching.load SOCKET PER_SECOND PATH...` asks for the paths in turn, over a few
connections to a Unix socket that stay open; with PER_SECOND 0 it opens PATH and reads what comes. When
standard input ends it prints {"count", "failed", "seconds", "cpu_s", "ms": [...]}: answers (of a stream:
events), those that were no good, how long it went on, the CPU time it took itself, and for each answer the
milliseconds from when its request was due.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

CONNECTIONS = 8
"""Each has one request under way at most."""


class Watcher:
    """What the threads share. Lists grow by appending only."""

    def __init__(self, path: str, per_second: float, paths: Sequence[str]) -> None:
        self._path, self._per_second = path, per_second
        self._requests = [f"GET {one} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for one in paths]
        self.over = False
        self.count = self.failed = 0
        self.ms: list[float] = []
        self._began = time.monotonic()

    def ask(self, first: int) -> None:
        """Every `CONNECTIONS`th request from that one on, when it is due and the one before is answered."""
        with self._counting(), self._connected() as sock, sock.makefile("rb") as answers:
            number = first
            while not self.over:
                due = self._began + number / self._per_second
                if (wait := due - time.monotonic()) > 0:
                    time.sleep(wait)
                sock.sendall(self._requests[number % len(self._requests)])
                good = _answer(answers)
                self.ms.append(1000 * (time.monotonic() - due))
                self.failed += not good
                number += CONNECTIONS

    def read(self) -> None:
        """The events of a stream."""
        with self._connected() as sock, sock.makefile("rb") as lines:
            sock.sendall(self._requests[0])
            self.failed += b" 200 " not in lines.readline()
            for line in lines:
                self.count += line.startswith(b"data:")
            self.failed += not self.over

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """A connection that dies takes its part of the load with it, which must show."""
        try:
            yield
        except OSError:
            self.failed += 1

    def _connected(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(self._path)
        return sock

    def result(self) -> dict[str, Any]:
        """As printed."""
        return {
            "count": self.count or len(self.ms),
            "failed": self.failed,
            "seconds": time.monotonic() - self._began,
            "cpu_s": time.process_time(),
            "ms": [round(one, 3) for one in self.ms],
        }


def _answer(lines: Any) -> bool:
    """Reads one answer; whether it is a good one. Raises ConnectionError at the end of the connection."""
    status, length = lines.readline(), 0
    if not status:
        raise ConnectionError("the orchestrator closed the connection")
    while (line := lines.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line[15:])
    lines.read(length)
    return b" 200 " in status


def main(path: str, per_second: str, *paths: str) -> None:
    """Watches until standard input ends."""
    watcher = Watcher(path, float(per_second), paths)
    if float(per_second):
        works = [threading.Thread(target=watcher.ask, args=[n], daemon=True) for n in range(CONNECTIONS)]
    else:
        works = [threading.Thread(target=watcher.read, daemon=True)]
    for work in works:
        work.start()
    sys.stdin.read()
    watcher.over = True
    print(json.dumps(watcher.result()))


if __name__ == "__main__":
    main(*sys.argv[1:])
