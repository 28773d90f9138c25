"""The order of trials: compared systems alternate, so that what drifts on the machine hits all alike."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """One trial to do. `number` counts from 0 through the run; a `round` has each system and load once."""

    number: int
    round: int
    system: str
    hogs: int


def schedule(systems: Sequence[str], hogs: Sequence[int], rounds: int, seed: int) -> list[Planned]:
    """All trials of a run in order.

    Within a round and a load the systems follow each other directly: ratios are paired there. Each round
    starts with the next system (over all rounds each is first equally often) and shuffles the loads by
    `seed`.
    """
    chance = random.Random(seed)
    first = chance.sample(list(systems), len(systems))
    trials: list[Planned] = []
    for round_ in range(rounds):
        levels = chance.sample(list(hogs), len(hogs))
        order = deque(first)
        order.rotate(-round_)
        for level in levels:
            trials += [Planned(len(trials) + i, round_, system, level) for i, system in enumerate(order)]
            order.rotate(-1)
    return trials


class TimeLeft:
    """Estimates how long the rest of a run takes, from how long its trials took so far."""

    def __init__(self, guess_s: float) -> None:
        self._guess = guess_s
        self._took: deque[float] = deque(maxlen=16)

    def took(self, seconds: float) -> None:
        """One more trial was done."""
        self._took.append(seconds)

    def seconds(self, trials_left: int) -> float:
        """Seconds for so many more trials."""
        each = sum(self._took) / len(self._took) if self._took else self._guess
        return round(each * trials_left, 1)
