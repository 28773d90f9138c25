"""Medians, bootstrap intervals, paired ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Interval = list[float]


def median_ci95(values: Sequence[float], seed: int, resamples: int = 10_000) -> tuple[float, Interval]:
    """The median and its 95 % percentile bootstrap interval.

    With one value there is nothing to resample: the interval is [value, value], which says only that no
    spread was seen; the number of trials stands beside it. Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values to take a median of")
    array = np.asarray(values, dtype=float)
    chance = np.random.default_rng(seed)
    picked = chance.integers(0, len(array), size=(resamples, len(array)))
    low, high = np.percentile(np.median(array[picked], axis=1), [2.5, 97.5])
    return float(np.median(array)), [float(low), float(high)]


def paired_ratios(of: Mapping[int, float], to: Mapping[int, float]) -> list[float]:
    """Ratios by round, of the rounds in which both systems have a valid trial; a zero below is left out."""
    return [of[round_] / to[round_] for round_ in sorted(of.keys() & to.keys()) if to[round_] > 0]
