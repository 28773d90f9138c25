"""The result of a run: rows, ratios and a verdict, in the shape that `reproduce --format json` prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.experiments.definitions import Definition, Profile
from orchestrator.experiments.statistics import median_ci95, paired_ratios

Verdict = Literal["reproduced", "not reproduced", "invalid"]
Cell = tuple[str, int]
"""System, hogs."""


class Exact(BaseModel):
    """Base of the result's parts: the shape is fixed."""

    model_config = ConfigDict(extra="forbid")


class Row(Exact):
    """One system at one load. `trials` counts all, the numbers come from the valid ones; null without any."""

    system: str
    factors: dict[str, int]
    published: float | None
    unit: str
    trials: int
    invalid_trials: int
    median: float | None
    ci95: list[float] | None
    loss: float | None


class Ratio(Exact):
    """One system's throughput to another's at one load, paired by round."""

    of: str
    to: str
    factors: dict[str, int]
    published: float | None
    median: float | None
    ci95: list[float] | None


class Result(Exact):
    """What a run found. `environment` has notes on how to read it."""

    experiment: str
    profile: Profile
    verdict: Verdict
    environment: dict[str, Any]
    rows: list[Row]
    ratios: list[Ratio]
    figure: str


@dataclass(frozen=True)
class Outcome:
    """What one trial (or one search) says: a throughput in the rows' unit and a loss, if it is valid."""

    round: int
    system: str
    hogs: int
    value: float | None
    loss: float | None
    valid: bool


@dataclass(frozen=True)
class Judged:
    """Rows, ratios, verdict, and notes that explain them."""

    rows: list[Row]
    ratios: list[Ratio]
    verdict: Verdict
    notes: list[str]


def judge(
    definition: Definition,
    profile: Profile,
    outcomes: Iterable[Outcome],
    seed: int,
    resamples: int,
) -> Judged:
    """From outcomes to rows, ratios and the verdict."""
    cells: dict[Cell, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        cells[outcome.system, outcome.hogs].append(outcome)
    levels = definition.modern_hogs if profile == "modern" else definition.hogs
    rows = [
        _row(definition, profile, cells[system, hogs], (system, hogs), seed, resamples)
        for hogs in levels
        for system in definition.systems
    ]
    ratios = [
        _ratio(definition, profile, cells, (of, to), hogs, seed, resamples)
        for of, to in definition.ratios
        for hogs in levels
    ]
    verdict, notes = _verdict(definition, profile, cells, ratios)
    most = max((row.trials for row in rows), default=0)
    if most == 1:
        notes.append("quick: one trial each, no interval; ci95 repeats the value")
    return Judged(rows, ratios, verdict, notes)


def _row(
    definition: Definition, profile: Profile, trials: Sequence[Outcome], cell: Cell, seed: int, resamples: int
) -> Row:
    system, hogs = cell
    values = list(_by_round(trials).values())
    losses = [trial.loss for trial in trials if trial.valid and trial.loss is not None]
    median, ci95 = median_ci95(values, seed, resamples) if values else (None, None)
    return Row(
        system=system,
        factors={"hogs": hogs},
        # Nothing in the paper was measured without limits; in `scaled` the paper's ring is the unit.
        published=None if profile == "modern" else definition.published_mbps(system, hogs),
        unit="% of ring" if profile == "scaled" else "Mb/s",
        trials=len(trials),
        invalid_trials=sum(not trial.valid for trial in trials),
        median=_short(median),
        ci95=_interval(ci95),
        loss=_short(median_ci95(losses, seed, resamples)[0]) if losses else None,
    )


def _ratio(
    definition: Definition,
    profile: Profile,
    cells: dict[Cell, list[Outcome]],
    pair: tuple[str, str],
    hogs: int,
    seed: int,
    resamples: int,
) -> Ratio:
    of, to = pair
    values = paired_ratios(_by_round(cells[of, hogs]), _by_round(cells[to, hogs]))
    median, ci95 = median_ci95(values, seed, resamples) if values else (None, None)
    return Ratio(
        of=of,
        to=to,
        factors={"hogs": hogs},
        published=None if profile == "modern" else definition.published_ratio(of, to, hogs),
        median=_short(median),
        ci95=_interval(ci95),
    )


def _verdict(
    definition: Definition, profile: Profile, cells: dict[Cell, list[Outcome]], ratios: Sequence[Ratio]
) -> tuple[Verdict, list[str]]:
    """Reproduced: the claim's system loses nothing without load, and is ahead as far as published under
    load."""
    claim = definition.claim
    measured = definition.modern_hogs if profile == "modern" else definition.hogs
    levels = [hogs for hogs in measured if hogs > 0]
    needed = [(claim.of, hogs) for hogs in levels] + [(claim.to, hogs) for hogs in levels]
    if profile != "modern":
        needed.append((claim.of, claim.lossless_hogs))
    void = []
    for system, hogs in needed:
        trials = cells[system, hogs]
        invalid = sum(not trial.valid for trial in trials)
        if invalid * 2 > len(trials) or not trials:
            void.append(f"invalid: {system} with {hogs} hogs has {invalid} invalid trials of {len(trials)}")
    if void:
        return "invalid", void
    missed = []
    if profile != "modern":
        losses = [trial.loss or 0.0 for trial in cells[claim.of, claim.lossless_hogs] if trial.valid]
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


def _interval(ci95: Sequence[float] | None) -> list[float] | None:
    return None if ci95 is None else [float(f"{value:.4g}") for value in ci95]


def _short(value: float | None) -> float | None:
    """Four significant digits: more is noise, and a loss of one datagram still is no zero."""
    return None if value is None else float(f"{value:.4g}")
