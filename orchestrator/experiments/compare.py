"""Two runs of an experiment side by side: what differs by more than their trials scatter.

Nothing pairs the trials of two runs, so both are resampled by themselves. An interval tells how sure the
difference of the medians is, given the trials; that the machine was another, or in another mood, no interval
can tell. Therefore what is known to differ around the trials is listed first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from orchestrator.experiments.definitions import Level
from orchestrator.experiments.environment import VOLATILE, flat
from orchestrator.experiments.result import Outcome, Result
from orchestrator.experiments.statistics import Interval, difference_ci95, paired_ratios

Finding = Literal["higher", "lower", "cannot tell"]
SURE = 0.05
"""What is told apart would be seen with at most this probability if there were no difference."""
SEED = 20_260_101
"""Of the resampling: the same two runs always compare alike."""
OF_THE_LAB = ("topology", "steering")
"""Of a lab's record, what may make numbers incomparable. The rest are names of what the lab made."""
OF_THE_CALIBRATION = ("ring_mbps", "offered_mbps", "quota_us", "period_us", "queue_datagrams")
"""Of a calibration, the same. The rest is how it was found."""
MOST = 40
"""Differences that are listed, at most, of definition or environment; more say no more."""


OUTCOMES = TypeAdapter(list[Outcome])
TREE = TypeAdapter(dict[str, Any])
"""Files may come from elsewhere (archive.py)."""


class CompareError(Exception):
    """Two runs cannot be compared; the message says why."""


class Part(BaseModel):
    """Base of a comparison's parts."""

    model_config = ConfigDict(extra="forbid")


class Compared(Part):
    """One number of both runs: `a`, `b` are medians, of so many valid trials; `difference` is b - a, `ratio`
    b / a, with 95 % intervals. `finding` is about b, seen from a; `why` says why nothing can be told."""

    a: float | None
    b: float | None
    trials: tuple[int, int]
    difference: float | None
    difference_ci95: Interval | None
    ratio: float | None
    ratio_ci95: Interval | None
    finding: Finding
    why: str


class ComparedRow(Part):
    """A row that both results have."""

    system: str
    factors: dict[str, Level]
    unit: str
    value: Compared


class ComparedRatio(Part):
    """A ratio that both results have. Each is made of trials side by side, so it suffers least from what
    changed between the runs."""

    of: str
    to: str
    factors: dict[str, Level]
    value: Compared


class Comparison(Part):
    """Run `a` beside run `b`. `warnings` are what must be known before a finding is believed."""

    format: int
    a: str
    b: str
    experiment: str
    warnings: list[str]
    rows: list[ComparedRow]
    ratios: list[ComparedRatio]


@dataclass(frozen=True)
class Finished:
    """A run that came to a result, as far as it is compared."""

    id: str
    result: Result
    outcomes: list[Outcome]
    definition: Mapping[str, Any]
    options: Mapping[str, Any]


def load(run_id: str, directory: Path) -> Finished:
    """Reads the directory of a run. Raises CompareError."""
    documents = [
        _read(run_id, directory / name) for name in ("result.json", "outcomes.json", "definition.json")
    ]
    result, outcomes, definition = documents
    try:
        return Finished(
            run_id,
            Result.model_validate(result),
            OUTCOMES.validate_python(outcomes["outcomes"]),
            TREE.validate_python(definition["definition"]),
            TREE.validate_python(definition["options"]),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        why = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
    except (LookupError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
    raise CompareError(f"the files of the run {run_id} are not as they were written: {why}")


def compare(a: Finished, b: Finished) -> Comparison:
    """Every row and ratio that both have. Raises CompareError for runs of different experiments."""
    if a.result.experiment != b.result.experiment:
        raise CompareError(
            f"{a.id} is a run of {a.result.experiment}, {b.id} one of {b.result.experiment}; "
            "only runs of one experiment can be compared"
        )
    if a.result.profile != b.result.profile:
        raise CompareError(
            f"{a.id} has profile {a.result.profile}, {b.id} profile {b.result.profile}; their numbers have "
            "different meanings"
        )
    rows, ratios = list(_rows(a, b)), list(_ratios(a, b))
    return Comparison(
        format=1,
        a=a.id,
        b=b.id,
        experiment=a.result.experiment,
        warnings=[*_warnings(a, b), *_many(len(rows) + len(ratios))],
        rows=rows,
        ratios=ratios,
    )


def numbers(a: Sequence[float], b: Sequence[float]) -> Compared:
    """Values of trials of one run beside those of another."""
    if not a or not b:
        none = "A" if not a else "B"
        return _untold(a, b, f"{none} has no valid trial")
    found = difference_ci95(a, b, SEED)
    if 2 / comb(len(a) + len(b), len(a)) > SURE:
        why = f"too few trials: {len(a)} and {len(b)} can differ by chance alone"
    elif found.interval[0] <= 0 <= found.interval[1]:
        why = "the interval includes no difference"
    else:
        why = ""
    finding: Finding = "cannot tell" if why else "higher" if found.difference > 0 else "lower"
    return Compared(
        a=_short(found.a),
        b=_short(found.b),
        trials=(len(a), len(b)),
        difference=_short(found.difference),
        difference_ci95=[_short(end) for end in found.interval],
        ratio=None if found.ratio is None else _short(found.ratio),
        ratio_ci95=None if found.ratio_interval is None else [_short(end) for end in found.ratio_interval],
        finding=finding,
        why=why,
    )


def _untold(a: Sequence[float], b: Sequence[float], why: str) -> Compared:
    return Compared(
        a=None,
        b=None,
        trials=(len(a), len(b)),
        difference=None,
        difference_ci95=None,
        ratio=None,
        ratio_ci95=None,
        finding="cannot tell",
        why=why,
    )


def _rows(a: Finished, b: Finished) -> Iterator[ComparedRow]:
    both = {(row.system, _key(row.factors), row.unit) for row in b.result.rows}
    for row in a.result.rows:
        if (row.system, _key(row.factors), row.unit) not in both:
            continue
        values = [list(_values(run, row.system, row.factors, row.unit).values()) for run in (a, b)]
        yield ComparedRow(system=row.system, factors=row.factors, unit=row.unit, value=numbers(*values))


def _ratios(a: Finished, b: Finished) -> Iterator[ComparedRatio]:
    both = {(one.of, one.to, _key(one.factors)) for one in b.result.ratios}
    for one in a.result.ratios:
        if (one.of, one.to, _key(one.factors)) in both:
            values = [
                # Ratios are of what the first rows are of.
                paired_ratios(
                    *(_values(run, name, one.factors, run.result.rows[0].unit) for name in (one.of, one.to))
                )
                for run in (a, b)
            ]
            yield ComparedRatio(of=one.of, to=one.to, factors=one.factors, value=numbers(*values))


def _values(run: Finished, system: str, factors: Mapping[str, Level], unit: str) -> dict[int, float]:
    """The values of valid trials by round, the last of each; where there are several units, in this one."""
    return {
        one.round: one.value
        for one in run.outcomes
        if one.valid
        and one.value is not None
        and one.system == system
        and _key(one.factors) == _key(factors)
        and one.unit in ("", unit)
    }


def _key(factors: Mapping[str, Level]) -> tuple[tuple[str, Level], ...]:
    return tuple(sorted(factors.items()))


def _warnings(a: Finished, b: Finished) -> Iterator[str]:
    for run in (a, b):
        if run.result.verdict == "invalid":
            yield f"{run.id} is invalid"
    yield from _apart("definition", a.definition, b.definition)
    options = [{k: v for k, v in run.options.items() if k != "seed"} for run in (a, b)]
    yield from _apart("options", *options)
    yield from _apart("environment", *(_circumstances(run.result.environment) for run in (a, b)))
    ids = {(row.system, _key(row.factors)) for row in a.result.rows}
    other = {(row.system, _key(row.factors)) for row in b.result.rows}
    if only := len(ids ^ other):
        yield f"{only} rows are in one of the runs only, and are left out"


def _circumstances(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's environment may make its numbers incomparable with another's."""
    found = {
        name: value
        for name, value in _tree(environment.get("before")).items()
        if name not in VOLATILE or name == "project"
    }
    found["lab"] = _chosen(found.get("lab", {}), OF_THE_LAB)
    found["calibration"] = _chosen(environment.get("calibration", {}), OF_THE_CALIBRATION)
    return found | {"stack": environment.get("stack", {})}


def _chosen(tree: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in _tree(tree).items() if name in names}


def _tree(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _apart(what: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    left, right = _leaves(a), _leaves(b)
    places = [
        place for place in dict.fromkeys([*left, *right]) if left.get(place, ...) != right.get(place, ...)
    ]
    for place in places[:MOST]:
        yield f"{what} differs: {place}: {_told(left, place)} in A, {_told(right, place)} in B"
    if len(places) > MOST:
        yield f"{what} differs at {len(places) - MOST} more places"


def _leaves(tree: Mapping[str, Any]) -> dict[str, str]:
    return {place: json.dumps(value, default=str) for place, value in flat(tree)}


def _told(leaves: Mapping[str, str], place: str) -> str:
    text = leaves.get(place, "not there")
    return text if len(text) <= 100 else text[:97] + "..."


def _many(count: int) -> Iterable[str]:
    """Of many comparisons some seem to differ by chance."""
    by_chance = round(SURE * count, 1)
    if by_chance < 1:
        return []
    return [
        f"{count} numbers are compared at 95 %: about {by_chance:g} of them would seem to differ "
        "though none did"
    ]


def _read(run_id: str, path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CompareError(
            f"the run {run_id} has no {path.name}: it did not finish, or is older than that file"
        ) from None
    except (OSError, ValueError) as error:
        raise CompareError(f"cannot read {path}: {error}") from None


def _short(value: float) -> float:
    return float(f"{value:.4g}")
