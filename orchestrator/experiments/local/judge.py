"""From the outcomes of an experiment within one host to rows, ratios and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from orchestrator.experiments.local.definition import AtLeast, Grows, LocalDefinition
from orchestrator.experiments.local.frames import sustained
from orchestrator.experiments.result import Judged, Outcome, Ratio, Tally, Verdict, few_trials, told


def judge(
    definition: LocalDefinition, outcomes: Iterable[Outcome], missed: Sequence[str], seed: int, resamples: int
) -> Judged:
    """`missed` are claims that the trials contradict beside those on ratios."""
    tally = Tally(outcomes, seed, resamples)
    cells = [cell for group in definition.groups() for cell in group]
    rows = [tally.row(cell.system, cell.factors, cell.published, definition.unit) for cell in cells]
    ratios = [tally.ratio(*compared) for compared in definition.compared()]
    claimed = [
        ratio
        for ratio in ratios
        if any(claim.covers(ratio.of, ratio.to, ratio.factors) for claim in definition.claims)
    ]
    needed = [(system, ratio.factors) for ratio in claimed for system in (ratio.of, ratio.to)]
    if not definition.claims:
        needed = [(cell.system, dict(cell.factors)) for cell in cells]
    # A row that several claims rest on is named once.
    void = dict.fromkeys(why for system, factors in needed if (why := tally.void(system, factors)))
    void = void or dict.fromkeys(
        f"invalid: no round has valid trials of both {ratio.of} and {ratio.to} with {told(ratio.factors)}"
        for ratio in claimed
        if ratio.median is None
    )
    notes = [*few_trials(rows), *sustained(rows)]
    if void:
        return Judged(rows, ratios, "invalid", [*void, *notes])
    broken = [*missed]
    for claim in definition.claims:
        covered = [ratio for ratio in claimed if claim.covers(ratio.of, ratio.to, ratio.factors)]
        broken += _too_small(claim, covered) if isinstance(claim, AtLeast) else _falling(claim, covered)
    verdict: Verdict = "not reproduced" if broken else "reproduced"
    return Judged(rows, ratios, verdict, [*(f"not reproduced: {one}" for one in broken), *notes])


def _too_small(claim: AtLeast, ratios: Sequence[Ratio]) -> Iterable[str]:
    """Where the median is below the claim, or a gain is claimed and the interval does not bear it out."""
    for ratio in ratios:
        assert ratio.median is not None and ratio.ci95 is not None
        if ratio.median < claim.at_least or (claim.at_least > 1 and ratio.ci95[0] <= 1):
            interval = " and an interval above 1" if claim.at_least > 1 else ""
            yield f"{_said(ratio)}; needed {claim.at_least:g}{interval}"


def _falling(claim: Grows, ratios: Sequence[Ratio]) -> Iterable[str]:
    """Where the ratio falls by more than its interval, or has not grown from the first level to the last."""
    for before, after in pairwise(ratios):
        assert before.median is not None and after.ci95 is not None
        if after.ci95[1] < before.median:
            yield f"{_said(after)}, less than {before.median:.2f} with {told(before.factors)}"
    first, last = ratios[0], ratios[-1]
    assert first.median is not None and last.median is not None
    if last.median <= first.median:
        yield f"{_said(last)}, not more than {first.median:.2f} with {told(first.factors)}"


def _said(ratio: Ratio) -> str:
    assert ratio.median is not None and ratio.ci95 is not None
    return (
        f"{ratio.of}/{ratio.to} with {told(ratio.factors)} is {ratio.median:.2f} "
        f"({ratio.ci95[0]:.2f} to {ratio.ci95[1]:.2f})"
    )
