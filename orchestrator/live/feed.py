"""The live feed: who reads a lab at the same interval shares one sampler, which ends with its last reader.

A reader that is slow misses samples and nothing else: only the newest is kept, encoded once for all.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents.errors import Problem
from orchestrator.events import EventBus
from orchestrator.labs import Lab, Labs, MachineSource
from orchestrator.live.sample import sample

INTERVALS = 8
"""Different intervals at which one lab is read at once: each costs its own requests."""
GOING_ON = ("ready", "changing", "destroying")
"""States of a lab whose readers stay."""

log = logging.getLogger(__name__)


class Ended(Exception):
    """There are no more samples. `state` is what became of the lab; None: the orchestrator is stopping."""

    def __init__(self, state: str | None) -> None:
        super().__init__(state)
        self.state = state


class Sampler:
    """The samples of one lab at one interval, until it is told to stop."""

    def __init__(
        self, lab: Lab, every_s: float, labs: Labs, machine: MachineSource, events: EventBus
    ) -> None:
        self.readers = 0
        self._lab = lab
        self._every_s = every_s
        self._labs = labs
        self._machine = machine
        self._events = events
        self._number = 0
        self._newest = b""
        self._ended: Exception | None = None
        self._news = asyncio.Event()
        self._before: dict[str, Any] | None = None
        self._task = asyncio.create_task(self._run(), name=f"samples of {lab.name}")

    async def after(self, number: int, wait_s: float) -> tuple[int, bytes] | None:
        """The newest sample, as JSON, and its number, if that is beyond `number`; waits for one, up to so
        long. Raises Ended; Problem when there is none."""
        try:
            async with asyncio.timeout(wait_s):
                while self._number <= number and self._ended is None:
                    await self._news.wait()
        except TimeoutError:
            return None
        if self._ended is not None:
            raise self._ended
        return self._number, self._newest

    def serves(self, lab: Lab) -> bool:
        """Whether there may be more samples, and of this lab."""
        return self._lab is lab and self._ended is None

    def stop(self) -> None:
        """Take no more samples."""
        self._task.cancel()

    async def _run(self) -> None:
        try:
            clock = asyncio.get_running_loop().time
            due = clock()
            while True:
                began = clock()
                await self._sample()
                # A look that takes long is followed by as long a rest; moments so missed are left out.
                due = max(due + self._every_s, 2 * clock() - began)
                await self._until(due)
        except (Ended, Problem) as end:
            self._ended = end
        except Exception as fault:
            log.exception("fault in the samples of %s", self._lab.name)
            self._ended = Problem(500, f"the lab {self._lab.name!r} cannot be watched: {fault!r}")
        self._tell()

    async def _sample(self) -> None:
        try:
            now = await self._machine.client.look(self._lab.name)
        except Problem:
            if not self._number:
                raise  # it is the answer to who asked
            return  # it is being changed or destroyed, or its machine agent has died, which is seen below
        self._newest = json.dumps(sample(self._lab.name, now, self._before)).encode()
        self._before = now
        self._number += 1
        self._tell()

    async def _until(self, due: float) -> None:
        """Waits so long. Raises Ended when the lab has."""
        clock = asyncio.get_running_loop().time
        while True:
            seen = self._events.last
            if self._events.closed:
                raise Ended(None)
            stands = any(lab is self._lab for lab in self._labs.all())
            if not stands or self._lab.state not in GOING_ON:
                raise Ended(self._lab.state if stands else "destroyed")
            left = due - clock()
            if left <= 0 or not await self._events.wait_beyond(seen, left):
                return

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Live:
    """The samplers of all labs."""

    def __init__(self, labs: Labs, machine: MachineSource, events: EventBus) -> None:
        self._labs = labs
        self._machine = machine
        self._events = events
        self._samplers: dict[tuple[str, float], Sampler] = {}

    @asynccontextmanager
    async def sampler(self, name: str, every_s: float) -> AsyncIterator[Sampler]:
        """The sampler of a lab, for one reader. Raises Problem 404, 409."""
        lab = self._labs.ready(name)
        key = (name, every_s)
        found = self._samplers.get(key)
        if found is None or not found.serves(lab):
            others = sorted(interval for other, interval in self._samplers if other == name)
            if len(others) >= INTERVALS:
                known = ", ".join(f"{interval:g}" for interval in others)
                raise Problem(
                    409,
                    f"every_s: the lab {name!r} is read at {INTERVALS} intervals already: {known}",
                    "every_s",
                )
            found = self._samplers[key] = Sampler(lab, every_s, self._labs, self._machine, self._events)
        found.readers += 1
        try:
            yield found
        finally:
            found.readers -= 1
            if not found.readers:
                found.stop()
                if self._samplers.get(key) is found:
                    del self._samplers[key]
