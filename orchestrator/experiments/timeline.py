"""What happens at given moments of a trial, while datagrams flow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

What = Literal["hogs", "rate", "loss", "cut", "heal"]
HEAD_START_S = 0.05
"""A source with a warm-up sends one datagram ahead of it (agents/shipping/workloads/source.c)."""


@dataclass(frozen=True)
class Event:
    """Something to do `at_s` seconds into the measured interval: `what` at `target`, as its text says. `host`
    is there where it is that host's link to a network."""

    at_s: float
    text: str
    what: What
    target: str
    value: float = 0.0
    host: str | None = None


class Happened(BaseModel):
    """An event as it was: the time it was planned for, and when it was done, in seconds of the interval."""

    event: str
    at_s: float
    done_s: float


class Timeline:
    """The events of one trial, done in time order by `play`. `do` does one."""

    def __init__(self, events: Sequence[Event], do: Callable[[Event], Awaitable[None]]) -> None:
        self._events = sorted(events, key=lambda event: event.at_s)
        self._do = do
        self._done: list[tuple[Event, int]] = []

    async def play(self, zero: float) -> None:
        """Does every event in its time; `zero` is when the measured interval begins (`time.monotonic`)."""
        for event in self._events:
            await asyncio.sleep(max(0.0, zero + event.at_s - time.monotonic()))
            await self._do(event)
            self._done.append((event, time.monotonic_ns()))

    def happened(self, t0_ns: int) -> list[Happened]:
        """What was done, when; `t0_ns` is when the source says that the interval began."""
        return [
            Happened(event=event.text, at_s=event.at_s, done_s=round((done - t0_ns) / 1e9, 3))
            for event, done in self._done
        ]

    def missed(self) -> list[str]:
        """Why the trial is INVALID, if not everything was done."""
        left = self._events[len(self._done) :]
        return [f"the source had ended before {event.text!r}" for event in left]
