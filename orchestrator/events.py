"""What happens in the orchestrator, told to whoever follows `/api/v1/events`.

The last `keep` events are kept so that a client that lost its connection can resume where it stopped.
A slow client costs nothing: it reads from the kept events, and learns by a `gap` event that it missed some.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

KEEP = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """One thing that happened. `kind` is lab, host, hogs, agent, network, run, progress or machine.

    `run` is the run it belongs to, `at` when it happened (Unix time).
    """

    number: int
    kind: str
    data: dict[str, Any]
    run: str | None = None
    at: float = field(default_factory=time.time)


class EventBus:
    """Events in order, numbered from 1; `boot` tells one process's events from another's."""

    def __init__(self, keep: int = KEEP) -> None:
        self.boot = secrets.token_hex(4)
        self.closed = False
        self._kept: deque[Event] = deque(maxlen=keep)
        self._last = 0
        self._news = asyncio.Event()
        self._listeners: list[Callable[[Event], None]] = []

    @property
    def last(self) -> int:
        """Number of the newest event, 0 before the first."""
        return self._last

    def publish(self, kind: str, data: dict[str, Any], run: str | None = None) -> None:
        """Add an event and wake everyone who waits. Never blocks."""
        self._last += 1
        event = Event(self._last, kind, data, run)
        self._kept.append(event)
        for hear in self._listeners:
            try:
                hear(event)
            except Exception:  # whoever only watches may not disturb what happens
                log.exception("fault in what hears of events")
        self._wake()

    def since(self, number: int) -> tuple[bool, list[Event]]:
        """(True if events after `number` are no longer kept, the kept events after `number`)."""
        first_kept = self._kept[0].number if self._kept else self._last + 1
        return number + 1 < first_kept, [event for event in self._kept if event.number > number]

    def label(self, event: Event) -> str:
        """The SSE id of an event, as `Last-Event-ID` brings it back."""
        return f"{self.boot}-{event.number}"

    def number_of(self, label: str) -> int | None:
        """The number in an SSE id, None where it is not one of this process."""
        boot, _, number = label.partition("-")
        if boot != self.boot or not number.isdecimal() or int(number) > self._last:
            return None
        return int(number)

    async def wait_beyond(self, number: int, seconds: float) -> bool:
        """Wait for an event after `number` or the end of the bus; False when `seconds` passed first."""
        try:
            async with asyncio.timeout(seconds):
                while self._last <= number and not self.closed:
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Call `hear` with every event from now on, as it is published. It may not wait for anything."""
        self._listeners.append(hear)

    def close(self) -> None:
        """Let every follower finish; the server is stopping."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
