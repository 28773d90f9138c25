"""Rows and ratios of a benchmark's result, in the shape of `reproduce --format json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.experiments.statistics import median_ci95, paired_ratios

SEED = 1
"""Of the resampling that intervals come from."""

Values = Mapping[int, float]
"""What valid trials found, by their number."""


def row(
    system: str, factors: Mapping[str, Any], unit: str, values: Values, trials: int, loss: float | None = None
) -> dict[str, Any]:
    """One system in one place, of `trials` that were made."""
    return {
        "system": system,
        "factors": dict(factors),
        "published": None,
        "unit": unit,
        "trials": trials,
        "invalid_trials": trials - len(values),
        **_middle(list(values.values())),
        "loss": loss,
    }


def ratio(of: str, to: str, factors: Mapping[str, Any], values: Values, to_values: Values) -> dict[str, Any]:
    """One system to another, of trials with the same number."""
    return {
        "of": of,
        "to": to,
        "factors": dict(factors),
        "published": None,
        **_middle(paired_ratios(values, to_values)),
    }


def _middle(values: list[float]) -> dict[str, Any]:
    median, interval = median_ci95(values, SEED) if values else (None, None)
    return {"median": median, "ci95": interval}
