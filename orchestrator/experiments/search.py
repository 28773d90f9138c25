"""Search for the highest rate that is carried, in the way of RFC 2544: each step offers a rate and looks
at the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
