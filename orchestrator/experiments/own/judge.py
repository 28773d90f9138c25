"""From the trials of a user's experiment to rows and ratios. Nothing was published, so nothing is claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.experiments.definitions import Level
from orchestrator.experiments.own.document import Measure
from orchestrator.experiments.own.experiment import Own
from orchestrator.experiments.own.trial import UNITS, OwnTrial
from orchestrator.experiments.result import Judged, Outcome, Ratio, Row, Tally, Verdict, few_trials


def judge(
    experiment: Own, trials: Sequence[OwnTrial], counted: Sequence[Outcome], seed: int, resamples: int
) -> Judged:
    """`counted` are the outcomes of `trials` in the same order, as far as they count; of a search there are
    outcomes alone."""
    rows: list[Row] = []
    measures = experiment.document.measures
    for measure in measures:
        outcomes = list(counted)
        if trials:
            outcomes = [
                replace(outcome, value=trial.value(measure))
                for outcome, trial in zip(counted, trials, strict=True)
            ]
        tally = Tally(outcomes, seed, resamples)
        rows += [tally.row(one.system, one.factors, None, UNITS[measure]) for one in experiment.combinations]
        if measure == measures[0]:
            first = tally
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
