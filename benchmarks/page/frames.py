"""Frames that a browser showed, and those that it should have shown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

COUNT_FRAMES = """(milliseconds) => new Promise((resolve) => {
    const times = [];
    const next = (now) => {
        times.push(now);
        if (now - times[0] < milliseconds) requestAnimationFrame(next);
        else resolve(times);
    };
    requestAnimationFrame(next);
})"""
"""Asks for every frame for so long, as scrolling does, and answers when each of them came."""


class Frames:
    """When frames came, in milliseconds."""

    def __init__(self, times: Sequence[float]) -> None:
        self._gaps = [after - before for before, after in pairwise(times)]
        if not self._gaps:
            raise ValueError(f"at least two frames expected, {len(times)} came")

    @property
    def missed(self) -> float:
        """The fraction of frames that did not come: a gap of three frames' time is two of them."""
        usual = median(self._gaps)
        lost = sum(max(0, round(gap / usual) - 1) for gap in self._gaps)
        return lost / (lost + len(self._gaps))

    @property
    def longest_ms(self) -> float:
        """The longest time from one frame to the next."""
        return max(self._gaps)
