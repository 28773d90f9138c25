"""The figure of a user's experiment: which factor is along the axis, which has a bar for each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.experiments.definitions import Level
from orchestrator.experiments.figure import Axis, draw
from orchestrator.experiments.journal import Draw
from orchestrator.experiments.own.experiment import Own, factors_of
from orchestrator.experiments.own.judge import shown
from orchestrator.experiments.own.trial import UNITS
from orchestrator.experiments.result import Outcome, Result, told

AXIS_UNITS = {
    "size": "bytes",
    "rate": "Mb/s",
    "cpu": "of one CPU",
    "queue": "datagrams",
    "loss": "of packets",
}
LABELS = {"throughput": "Throughput, Mb/s", "datagrams": "Datagrams per second", "loss": "Loss, %"}


def chart(experiment: Own) -> Draw:
    """What draws the result of this experiment."""
    document = experiment.document
    measure = shown(experiment)
    value = "Highest rate, Mb/s" if document.search else LABELS[measure]
    lines = document.figure.lines
    across = _across(experiment)
    unit = AXIS_UNITS.get((across or "").rpartition(".")[2])
    label = f"{across}, {unit}" if unit else across or ""
    axis = Axis(across, label, value, curves=True)

    def lined(system: str, factors: Mapping[str, Level]) -> tuple[str, dict[str, Level]]:
        """A row's name in the legend, and the factors that are left for the axis and the panels."""
        every = dict(factors) if experiment.systems is None else {experiment.systems: system, **factors}
        legend = lines or (experiment.systems if across != experiment.systems else None)
        if legend is None:
            return document.name if across == experiment.systems else system, every
        level = every.pop(legend)
        return str(level) if legend == experiment.systems else told({legend: level}), every

    def drawn(result: Result, outcomes: Sequence[Outcome], title: str, source: str, path: Path) -> None:
        rows = [row for row in result.rows if row.unit == UNITS[measure]]
        named = []
        for row in rows:
            system, factors = lined(row.system, row.factors)
            named.append(row.model_copy(update={"system": system, "factors": factors}))
        marked = []
        for one in outcomes:
            if one.unit != UNITS[measure]:
                continue
            system, factors = lined(one.system, one.factors)
            marked.append(replace(one, system=system, factors=factors))
        # A dollar would begin a formula.
        heading = (title or document.name).replace("$", r"\$")
        draw(result.model_copy(update={"rows": named}), marked, heading, source, path, axis)

    return drawn


def _across(experiment: Own) -> str | None:
    """The factor along the axis: as asked for, or the last of those that the legend does not show."""
    figure = experiment.document.figure
    if figure.x is not None:
        return figure.x
    free = [
        address
        for address in factors_of(experiment.document)
        if address not in (experiment.systems, figure.lines)
    ]
    return free[-1] if free else None
