"""The counters of a workload over time: read from shared memory at a steady interval, without its help.

Samples are taken at whole multiples of the interval on the monotonic clock, which all hosts of a machine
share: those of a source and of a sink are of the same moments. One takes some tens of microseconds, on the
CPUs of the host that is looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

LIMIT = 4096
"""Samples that are kept; what comes later is not."""


class Sampler:
    """Samples what `read` returns, from `start` to `stop`. Needs a running event loop."""

    def __init__(self, interval_s: float, read: Callable[[], dict[str, int]]) -> None:
        self._interval_s = interval_s
        self._read = read
        self._samples: list[tuple[int, dict[str, int]]] = []
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take the first sample at the next multiple of the interval, and so on."""
        loop = asyncio.get_running_loop()
        if len(self._samples) < LIMIT:
            ticks = loop.time() // self._interval_s + 1
            self._next = loop.call_at(ticks * self._interval_s, self._sample)

    def stop(self) -> None:
        """Take no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def series(self) -> dict[str, Any]:
        """{"interval_s", "t_ns": when (monotonic), "counters": {name: [a value for each moment]}}."""
        names = dict.fromkeys(name for _, counters in self._samples for name in counters)
        return {
            "interval_s": self._interval_s,
            "t_ns": [moment for moment, _ in self._samples],
            "counters": {name: [found.get(name, 0) for _, found in self._samples] for name in names},
        }

    def _sample(self) -> None:
        self._samples.append((time.monotonic_ns(), self._read()))
        self.start()
