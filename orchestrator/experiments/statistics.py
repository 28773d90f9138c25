"""Medians, bootstrap intervals, paired ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

Interval = list[float]


def median_ci95(values: Sequence[float], seed: int, resamples: int = 10_000) -> tuple[float, Interval]:
    """The median and its 95 % percentile bootstrap interval.

    With one value there is nothing to resample: the interval is [value, value], which says only that no
    spread was seen; the number of trials stands beside it. Raises ValueError for no values.
    """
    import numpy as np  # in functions only: the shape of a result can be known without it

    if not values:
        raise ValueError("no values to take a median of")
    array = np.asarray(values, dtype=float)
    low, high = np.percentile(_medians(array, np.random.default_rng(seed), resamples), [2.5, 97.5])
    return float(np.median(array)), [float(low), float(high)]


def _medians(values: Array, chance: np.random.Generator, resamples: int) -> Array:
    """The medians of so many samples drawn from `values`, each as large as they are."""
    import numpy as np

    picked = chance.integers(0, len(values), size=(resamples, len(values)))
    found: Array = np.median(values[picked], axis=1)
    return found


def paired_ratios(of: Mapping[int, float], to: Mapping[int, float]) -> list[float]:
    """Ratios by round, of the rounds in which both systems have a valid trial; a zero below is left out."""
    return [of[round_] / to[round_] for round_ in sorted(of.keys() & to.keys()) if to[round_] > 0]


@dataclass(frozen=True)
class Difference:
    """Medians of two samples, b - a and b / a with their 95 % intervals; no ratio where a may be zero."""

    a: float
    b: float
    difference: float
    interval: Interval
    ratio: float | None
    ratio_interval: Interval | None


def difference_ci95(a: Sequence[float], b: Sequence[float], seed: int, resamples: int = 10_000) -> Difference:
    """How far apart the medians of two independent samples are, by the percentile bootstrap: both are
    resampled by themselves. Raises ValueError where one has no values."""
    import numpy as np

    if not a or not b:
        raise ValueError("no values to take a median of")
    chance = np.random.default_rng(seed)
    first, second = (_medians(np.asarray(one, dtype=float), chance, resamples) for one in (a, b))
    low, high = np.percentile(second - first, [2.5, 97.5])
    middle_a, middle_b = float(np.median(a)), float(np.median(b))
    ratio, ratio_interval = None, None
    if min(a) > 0:
        ratio = middle_b / middle_a
        ratio_interval = [float(end) for end in np.percentile(second / first, [2.5, 97.5])]
    return Difference(
        middle_a, middle_b, middle_b - middle_a, [float(low), float(high)], ratio, ratio_interval
    )
