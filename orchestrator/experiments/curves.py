"""A panel of a figure as curves: where the factor along the axis is a quantity with several levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.experiments.definitions import Level
from orchestrator.experiments.result import Outcome, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENOUGH = 3
"""Two levels are no curve."""
LOGARITHMIC = 20
"""Where levels differ by more than this factor, they stand at equal ratios rather than at equal distances."""
MARKERS = "osD^vP*"
COLOURS = {"linux": "#7a7f87", "linux-batch": "#5f8fbf", "copy": "#d08a4e", "shipping": "#1f4e79"}
"""Darker than bars, which have an outline."""
OTHERS = ("#1f4e79", "#d08a4e", "#7a9a5b", "#8a6d9e", "#5f8fbf", "#b0453c", "#7a7f87")


def is_quantity(levels: Sequence[Level]) -> bool:
    """Whether these levels make a curve."""
    return len(levels) >= ENOUGH and not any(isinstance(level, str) for level in levels)


def curves(
    axes: Axes,
    rows: Sequence[Row],
    outcomes: Sequence[Outcome],
    across: str,
    invalid: Mapping[str, Any],
) -> None:
    """A curve of medians with intervals for each system; crosses, drawn as `invalid` says, where a trial was
    INVALID."""
    systems = list(dict.fromkeys(row.system for row in rows))
    for number, system in enumerate(systems):
        known = [
            (float(row.factors[across]), row.median, row.ci95)
            for row in rows
            if row.system == system and row.median is not None and row.ci95 is not None
        ]
        axes.errorbar(
            [place for place, _, _ in known],
            [median for _, median, _ in known],
            yerr=[
                [max(0.0, median - low) for _, median, (low, _) in known],
                [max(0.0, high - median) for _, median, (_, high) in known],
            ],
            color=COLOURS.get(system, OTHERS[number % len(OTHERS)]),
            marker=MARKERS[number % len(MARKERS)],
            markeredgecolor="#222222",
            linewidth=1.6,
            capsize=3,
            label=system,
        )
    bad = [(float(one.factors[across]), one.value or 0.0) for one in outcomes if not one.valid]
    if bad:
        axes.plot([place for place, _ in bad], [value for _, value in bad], **invalid, label="invalid trial")
    levels = sorted({float(row.factors[across]) for row in rows})
    if levels[0] > 0 and levels[-1] > LOGARITHMIC * levels[0]:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.set_ylim(0, 1.06 * axes.get_ylim()[1])
