"""What happens to hosts without anybody having asked for it, kept for who asks what is new."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import Any

KEPT = 1000


class Notices:
    """The last of them, numbered from 1."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._numbers = itertools.count(1)
        self._news = asyncio.Event()

    def add(self, **notice: Any) -> None:
        """One more."""
        self._kept.append({"number": next(self._numbers), **notice})
        self._news.set()
        self._news = asyncio.Event()

    async def after(self, number: int, wait_s: float) -> list[dict[str, Any]]:
        """Those after that one; waits up to so long for the first."""
        found = self._after(number)
        if not found and wait_s > 0:
            try:
                await asyncio.wait_for(self._news.wait(), wait_s)
            except TimeoutError:
                return []
            found = self._after(number)
        return found

    def _after(self, number: int) -> list[dict[str, Any]]:
        return [notice for notice in self._kept if notice["number"] > number]
