"""How long the machine leaves a program's memory where it was.

A datagram that waits in a queue is touched again long after it was written. What that costs is mostly the
machine's business: caches that other tenants share, and a hypervisor that takes pages away and gives them
back one fault at a time. It hits a system the more, the more memory it has in use, so it decides comparisons,
and nothing else that the kernel reports tells of it (steal time neither).
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

PAGES = 2048
REST_S = 0.4
"""Somewhat under a CPU period of profile `period`: how long data waits there."""
RESTS = 3
UNSTEADY_US = 1.0
"""More than a page costs whose data and translations all come from memory: somebody takes pages."""


def page_touch_us() -> dict[str, float]:
    """Microseconds to touch one page of 8 MiB: `warm`, touched just before, and `rested`, after 0.4 s; the
    least of three, which no other program has interrupted. Takes 1.2 s."""
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE) as memory:
        pages = np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE]
        try:
            _touch_us(pages)
            warm, rested = [], []
            for _ in range(RESTS):
                time.sleep(REST_S)
                rested.append(_touch_us(pages))
                warm.append(_touch_us(pages))
        finally:
            del pages  # it keeps the mapping
    return {"warm": round(min(warm), 3), "rested": round(min(rested), 3)}


def notes(*described: Mapping[str, Any]) -> list[str]:
    """What a reader must know of the machine's memory, from its descriptions made beside a run."""
    found = [each["page_touch_us"] for each in described]
    if max(each["rested"] for each in found) <= UNSTEADY_US:
        return []
    told = " and ".join(f"{each['rested']:.1f}" for each in found)
    return [
        f"the machine is not steady: beside the run, a page untouched for {REST_S:g} s took {told} us "
        f"to touch ({found[0]['warm']:.2f} us at once); systems with data in long queues suffer most"
    ]


def _touch_us(pages: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    began = time.perf_counter()
    pages += 1
    return (time.perf_counter() - began) * 1e6 / len(pages)
