"""The order of trials: compared systems alternate, so that what drifts on the machine hits all alike."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Planned:
    """One trial to do. `number` counts from 0 through the run; a `round` has each system and load once."""

    number: int
    round: int
    system: str
    hogs: int


def schedule(systems: Sequence[str], hogs: Sequence[int], rounds: int, seed: int) -> list[Planned]:
    """All trials of a run in order.

    A load's trials are a group of `alternate`: within a round and a load the systems follow each other
    directly.
    """
    groups = [[(system, level) for system in systems] for level in hogs]
    return [
        Planned(number, round_, system, level)
        for number, (round_, (system, level)) in enumerate(alternate(groups, rounds, seed))
    ]


def alternate(groups: Sequence[Sequence[T]], rounds: int, seed: int) -> Iterator[tuple[int, T]]:
    """Each round has every member of every group once, with the members of a group in a row: what is
    compared is measured side by side, and ratios are paired there.

    Each round starts its groups with the next member (over all rounds each is first equally often) and
    shuffles the groups by `seed`.
    """
    chance = random.Random(seed)
    orders = [deque(chance.sample(list(group), len(group))) for group in groups]
    for round_ in range(rounds):
        for order in chance.sample(orders, len(orders)):
            for one in order:
                yield round_, one
            order.rotate(-1)


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
