"""From the trials of a user's experiment to rows and ratios. Nothing was published, so nothing is claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.experiments.definitions import Level
from orchestrator.experiments.own.document import Measure
from orchestrator.experiments.own.experiment import Own
from orchestrator.experiments.own.trial import UNITS
from orchestrator.experiments.result import Judged, Outcome, Ratio, Row, Tally, Verdict, few_trials


def judge(experiment: Own, counted: Sequence[Outcome], seed: int, resamples: int) -> Judged:
    """From outcomes in the units of all measures to rows in the same order."""
    measures = experiment.document.measures
    tallies = {
        measure: Tally([one for one in counted if one.unit == UNITS[measure]], seed, resamples)
        for measure in measures
    }
    rows: list[Row] = [
        tallies[measure].row(one.system, one.factors, None, UNITS[measure])
        for measure in measures
        for one in experiment.combinations
    ]
    first = tallies[measures[0]]
    void = [
        why for one in experiment.combinations if (why := first.void(one.system, one.factors)) is not None
    ]
    verdict: Verdict = "invalid" if void else "measured"
    return Judged(rows, _ratios(experiment, first), verdict, [*void, *few_trials(rows)])


def _ratios(experiment: Own, tally: Tally) -> list[Ratio]:
    """Every system to the first one, where both are measured with the same factors."""
    found: list[Ratio] = []
    if experiment.systems is None:
        return found
    by_factors: dict[tuple[tuple[str, Level], ...], list[tuple[str, Mapping[str, Level]]]] = {}
    for one in experiment.combinations:
        by_factors.setdefault(tuple(one.factors.items()), []).append((one.system, one.factors))
    for (base, factors), *others in by_factors.values():
        found += [tally.ratio(system, base, factors, None) for system, _ in others]
    return found


def shown(experiment: Own) -> Measure:
    """The measure that the figure shows."""
    document = experiment.document
    return document.figure.y or document.measures[0]
