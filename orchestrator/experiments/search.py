"""Search for the highest rate that is carried, in the way of RFC 2544: each step offers a rate and looks
at the loss."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

NARROW = 1.25
"""A search that knows where the last one ended widens by this factor."""

C = TypeVar("C", bound=Hashable)
"""What is searched for: a system with its factors."""


@dataclass
class RateSearch:
    """Doubles (or what `factor` says) to a rate that fails, or shrinks to one that holds, then halves the
    gap.

    Ask `rate` for the next one to try and `tell` how it went, until `done`. Rates are in Mb/s;
    `resolution` is the gap allowed at the end, as a fraction. `best` is the highest rate that held, 0.0
    if none did.
    """

    start: float
    most: float
    resolution: float
    factor: float = 2.0
    least: float = 1.0
    best: float = 0.0
    failed: float = math.inf

    @property
    def done(self) -> bool:
        """True when there is nothing left to try."""
        if self.best >= self.most or self.failed <= self.least:
            return True
        return bool(self.best) and self.failed <= self.best * (1 + self.resolution)

    @property
    def rate(self) -> float:
        """The next rate to try."""
        if self.best and self.failed < math.inf:
            return math.sqrt(self.best * self.failed)
        if self.best:
            return min(self.best * self.factor, self.most)
        if self.failed < math.inf:
            return max(self.failed / self.factor, self.least)
        return min(self.start, self.most)

    @property
    def steps_left(self) -> int:
        """A guess of how many more rates will be tried."""
        if self.done:
            return 0
        bracketed = self.best and self.failed < math.inf
        gap = math.log(self.failed / self.best if bracketed else self.factor)
        return max(1, math.ceil(math.log2(gap / math.log1p(self.resolution))))

    def tell(self, rate: float, held: bool) -> None:
        """Whether `rate` was carried."""
        if held:
            self.best = max(self.best, rate)
        else:
            self.failed = min(self.failed, rate)


@dataclass(frozen=True)
class Bounds:
    """How a search goes: where it begins and ends, how fine, and how often in a row a rate must fail."""

    start: float
    most: float
    resolution: float
    attempts: int
    least: float = 1.0


@dataclass(frozen=True)
class Best:
    """What one search found: the highest rate in Mb/s that held (0: none), and what failed above it."""

    mbps: float
    limited_by: str | None


async def side_by_side(
    cells: Sequence[C],
    bounds: Bounds,
    before: Mapping[C, float],
    attempt: Callable[[C, float], Awaitable[str | None]],
    told: Callable[[int], None],
) -> dict[C, Best]:
    """One search for each of `cells`. They take turns step by step, so that drift hits all alike.

    A search starts at what the last one found (`before`), and then widens more carefully. `attempt` tries a
    rate and says what kept it from being carried, None if nothing did. `told` hears a guess of the steps
    that are left.
    """
    searches = {
        cell: RateSearch(
            start=before.get(cell, bounds.start),
            most=bounds.most,
            resolution=bounds.resolution,
            factor=NARROW if cell in before else 2.0,
            least=bounds.least,
        )
        for cell in cells
    }
    limits: dict[C, str | None] = dict.fromkeys(cells)
    while open_ := [cell for cell in cells if not searches[cell].done]:
        for cell in open_:
            search = searches[cell]
            rate = search.rate
            for _ in range(bounds.attempts):
                limit = await attempt(cell, rate)
                if limit is None:
                    break
            if limit is not None and rate < search.failed:
                limits[cell] = limit
            search.tell(rate, limit is None)
            told(sum(one.steps_left for one in searches.values()))
    return {cell: Best(search.best, limits[cell]) for cell, search in searches.items()}
