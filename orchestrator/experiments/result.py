"""The result of a run: rows, ratios and a verdict, in the shape that `reproduce --format json` prints.

The first half is the shape and its numbers, for every experiment; `judge` is what forwarding makes of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.experiments.definitions import Definition, Level, Profile
from orchestrator.experiments.statistics import median_ci95, paired_ratios

Verdict = Literal["reproduced", "not reproduced", "measured", "invalid"]
"""`measured`: nothing was published that could be reproduced."""
Factors = Mapping[str, Level]
Cell = tuple[str, tuple[tuple[str, Level], ...]]
"""A system, and the factors it was measured with."""


class Exact(BaseModel):
    """Base of the result's parts: the shape is fixed."""

    model_config = ConfigDict(extra="forbid")


class Row(Exact):
    """One system with one set of factors. `trials` counts all, the numbers come from the valid ones; null
    without any."""

    system: str
    factors: dict[str, Level]
    published: float | None
    unit: str
    trials: int
    invalid_trials: int
    median: float | None
    ci95: list[float] | None
    loss: float | None


class Ratio(Exact):
    """One system's throughput to another's with the same factors, paired by round."""

    of: str
    to: str
    factors: dict[str, Level]
    published: float | None
    median: float | None
    ci95: list[float] | None


class Result(Exact):
    """What a run found. `environment` has notes on how to read it. Only what was published has a profile."""

    experiment: str
    profile: Profile | None
    verdict: Verdict
    environment: dict[str, Any]
    rows: list[Row]
    ratios: list[Ratio]
    figure: str


@dataclass(frozen=True)
class Outcome:
    """What one trial (or one search) says: a value in the rows' unit and a loss, if it is valid. `unit` is
    there where rows have several, of which there is an outcome for each."""

    round: int
    system: str
    factors: Factors
    value: float | None
    loss: float | None
    valid: bool
    unit: str = ""


@dataclass(frozen=True)
class Judged:
    """Rows, ratios, verdict, and notes that explain them."""

    rows: list[Row]
    ratios: list[Ratio]
    verdict: Verdict
    notes: list[str]


class Tally:
    """Outcomes by system and factors, and the numbers made of them."""

    def __init__(self, outcomes: Iterable[Outcome], seed: int, resamples: int) -> None:
        self._cells: dict[Cell, list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            self._cells[_cell(outcome.system, outcome.factors)].append(outcome)
        self._seed, self._resamples = seed, resamples

    def trials(self, system: str, factors: Factors) -> list[Outcome]:
        """All trials of a system with these factors."""
        return self._cells[_cell(system, factors)]

    def row(self, system: str, factors: Factors, published: float | None, unit: str) -> Row:
        """One row of the table."""
        trials = self.trials(system, factors)
        losses = [trial.loss for trial in trials if trial.valid and trial.loss is not None]
        median, ci95 = self._numbers(list(_by_round(trials).values()))
        return Row(
            system=system,
            factors=dict(factors),
            published=published,
            unit=unit,
            trials=len(trials),
            invalid_trials=sum(not trial.valid for trial in trials),
            median=median,
            ci95=ci95,
            loss=self._numbers(losses)[0],
        )

    def ratio(self, of: str, to: str, factors: Factors, published: float | None) -> Ratio:
        """One system to another, of the rounds in which both have a valid trial."""
        values = paired_ratios(_by_round(self.trials(of, factors)), _by_round(self.trials(to, factors)))
        median, ci95 = self._numbers(values)
        return Ratio(of=of, to=to, factors=dict(factors), published=published, median=median, ci95=ci95)

    def void(self, system: str, factors: Factors) -> str | None:
        """Why the verdict cannot rest on this row, if so: more than half of its trials are invalid."""
        trials = self.trials(system, factors)
        invalid = sum(not trial.valid for trial in trials)
        if trials and invalid * 2 <= len(trials):
            return None
        return f"invalid: {system} with {told(factors)} has {invalid} invalid trials of {len(trials)}"

    def _numbers(self, values: Sequence[float]) -> tuple[float | None, list[float] | None]:
        if not values:
            return None, None
        median, ci95 = median_ci95(values, self._seed, self._resamples)
        return _short(median), [_short(end) for end in ci95]


def invalidated(outcome: Outcome) -> Outcome:
    """The same, but it does not count."""
    return replace(outcome, valid=False)


def told(factors: Factors) -> str:
    """Factors in words: "3 hogs", "map none, cores different", "size 1400"."""
    return ", ".join(
        f"{level} {name}" if isinstance(level, int) and name.endswith("s") else f"{name} {level}"
        for name, level in factors.items()
    )


def few_trials(rows: Sequence[Row]) -> list[str]:
    """What must be said of a run without repetition."""
    if max((row.trials - row.invalid_trials for row in rows), default=0) != 1:
        return []
    return ["quick: one trial each, no interval; ci95 repeats the value"]


def judge(
    definition: Definition,
    profile: Profile,
    outcomes: Iterable[Outcome],
    seed: int,
    resamples: int,
) -> Judged:
    """From outcomes to rows, ratios and the verdict."""
    tally = Tally(outcomes, seed, resamples)
    levels = definition.modern_hogs if profile == "modern" else definition.hogs
    # Nothing in the paper was measured without limits; in `scaled` the paper's ring is the unit.
    modern = profile == "modern"
    rows = [
        tally.row(
            system,
            {"hogs": hogs},
            None if modern else definition.published_mbps(system, hogs),
            "% of ring" if profile == "scaled" else "Mb/s",
        )
        for hogs in levels
        for system in definition.systems
    ]
    ratios = [
        tally.ratio(of, to, {"hogs": hogs}, None if modern else definition.published_ratio(of, to, hogs))
        for of, to in definition.ratios
        for hogs in levels
    ]
    verdict, notes = _verdict(definition, profile, tally, ratios)
    return Judged(rows, ratios, verdict, notes + few_trials(rows))


def _verdict(
    definition: Definition, profile: Profile, tally: Tally, ratios: Sequence[Ratio]
) -> tuple[Verdict, list[str]]:
    """Reproduced: the claim's system loses nothing without load, and is ahead as far as published under
    load."""
    claim = definition.claim
    measured = definition.modern_hogs if profile == "modern" else definition.hogs
    levels = [hogs for hogs in measured if hogs > 0]
    needed = [(claim.of, hogs) for hogs in levels] + [(claim.to, hogs) for hogs in levels]
    if profile != "modern":
        needed.append((claim.of, claim.lossless_hogs))
    void = [why for system, hogs in needed if (why := tally.void(system, {"hogs": hogs}))]
    if void:
        return "invalid", void
    missed = []
    if profile != "modern":
        lossless = tally.trials(claim.of, {"hogs": claim.lossless_hogs})
        losses = [trial.loss or 0.0 for trial in lossless if trial.valid]
        if max(losses) > 0:
            missed.append(f"{claim.of} with {claim.lossless_hogs} hogs lost up to {max(losses):.2%}")
    for ratio in ratios:
        hogs = ratio.factors["hogs"]
        if (ratio.of, ratio.to) != (claim.of, claim.to) or hogs not in levels:
            continue
        if ratio.median is None or ratio.ci95 is None:
            return "invalid", [f"invalid: no round has valid trials of both systems with {hogs} hogs"]
        if ratio.median < claim.at_least or ratio.ci95[0] <= 1.0:
            missed.append(
                f"{claim.of}/{claim.to} with {hogs} hogs is {ratio.median:.2f} "
                f"({ratio.ci95[0]:.2f} to {ratio.ci95[1]:.2f}); "
                f"needed {claim.at_least} and an interval above 1"
            )
    return ("not reproduced", [f"not reproduced: {one}" for one in missed]) if missed else ("reproduced", [])


def _by_round(trials: Iterable[Outcome]) -> dict[int, float]:
    return {trial.round: trial.value for trial in trials if trial.valid and trial.value is not None}


def _cell(system: str, factors: Factors) -> Cell:
    return system, tuple(factors.items())


def _short(value: float) -> float:
    """Four significant digits: more is noise, and a loss of one datagram still is no zero."""
    return float(f"{value:.4g}")
