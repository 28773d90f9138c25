"""What happens at given moments of a trial, while datagrams flow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

What = Literal["hogs", "rate", "loss", "cut", "heal", "pace"]
"""`rate` is a network's, `pace` a source's."""
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
    """The events of one trial, done in time order by `play`. `do` does one, `tell` hears of it then."""

    def __init__(
        self,
        events: Sequence[Event],
        do: Callable[[Event], Awaitable[None]],
        tell: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._events = sorted(events, key=lambda event: event.at_s)
        self._do = do
        self._tell = tell
        self._done: list[tuple[Event, int, int]] = []

    async def play(self, zero: float) -> None:
        """Does every event in its time; `zero` is when the measured interval begins (`time.monotonic`)."""
        for event in self._events:
            await asyncio.sleep(max(0.0, zero + event.at_s - time.monotonic()))
            asked = time.monotonic_ns()
            await self._do(event)
            self._done.append((event, asked, time.monotonic_ns()))
            self._tell(event.text)

    def happened(self, t0_ns: int) -> list[Happened]:
        """What was done, when; `t0_ns` is when the source says that the interval began."""
        return [
            Happened(event=event.text, at_s=event.at_s, done_s=round((done - t0_ns) / 1e9, 3))
            for event, _, done in self._done
        ]

    def offered(self, first: float, t0_ns: int, t1_ns: int) -> tuple[float, float]:
        """The least and the most that the source should have offered on average, beginning with `first`: when
        it changed its pace is known as well as the request took."""
        changes = [(event.value, asked, done) for event, asked, done in self._done if event.what == "pace"]
        ends = (
            mean_rate(first, [(value, asked) for value, asked, _ in changes], t0_ns, t1_ns),
            mean_rate(first, [(value, done) for value, _, done in changes], t0_ns, t1_ns),
        )
        return min(ends), max(ends)

    def missed(self) -> list[str]:
        """Why the trial is INVALID, if not everything was done."""
        left = self._events[len(self._done) :]
        return [f"the source had ended before {event.text!r}" for event in left]


def mean_rate(first: float, changes: Sequence[tuple[float, int]], t0_ns: int, t1_ns: int) -> float:
    """The mean over an interval of a rate that was `first` and then changed at moments, in order."""
    if t1_ns <= t0_ns:
        return first
    total, rate, since = 0.0, first, t0_ns
    for value, moment in changes:
        moment = min(max(moment, t0_ns), t1_ns)
        total += rate * (moment - since)
        rate, since = value, moment
    return (total + rate * (t1_ns - since)) / (t1_ns - t0_ns)
