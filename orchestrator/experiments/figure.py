"""Figure 6 of the paper, measured here: throughput against the number of competing processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.experiments.result import Outcome, Result, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Light to dark, so that a grey print still tells them apart; the hatches help where two are close.
LOOKS: dict[str, tuple[str, str]] = {
    "linux": ("#dfe3e8", ""),
    "linux-batch": ("#9fb8d1", "//"),
    "copy": ("#d08a4e", ".."),
    "shipping": ("#1f4e79", ""),
}
OTHER = ("#777777", "xx")
INK = "#222222"
BAR_ROOM = 0.84
PUBLISHED: dict[str, Any] = {
    "marker": "D",
    "markersize": 7,
    "markerfacecolor": "white",
    "markeredgecolor": INK,
    "markeredgewidth": 1.4,
    "linestyle": "none",
    "zorder": 6,
}
INVALID: dict[str, Any] = {
    "marker": "X",
    "markersize": 7,
    "markerfacecolor": INK,
    "markeredgecolor": "white",
    "linestyle": "none",
    "zorder": 5,
}
SIZE_INCHES, DPI = (8.0, 5.2), 150


def draw(result: Result, outcomes: Sequence[Outcome], title: str, source: str, path: Path) -> None:
    """Writes the figure of `result` as a PNG. `outcomes` are marked where they are invalid."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes: Axes = figure.add_subplot()
    systems = list(dict.fromkeys(row.system for row in result.rows))
    levels = list(dict.fromkeys(row.factors["hogs"] for row in result.rows))
    _bars(axes, result, outcomes, systems, levels)
    unit = result.rows[0].unit
    measured = "Highest lossless rate" if result.profile == "modern" else "Throughput"
    axes.set_ylabel(f"{measured}, {unit}")
    axes.set_xlabel("Competing processes on the middle workstation")
    axes.set_xticks(range(len(levels)), [str(level) for level in levels])
    _legend(axes, systems)
    axes.set_title(title, fontsize=11, color=INK, loc="left", wrap=True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="#cccccc", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.04)
    figure.supxlabel(caption(result, source), fontsize=8, linespacing=1.5, color="#444444")
    figure.savefig(path, format="png")


def caption(result: Result, source: str) -> str:
    """What one must know to read the figure: profile, trials, validity, verdict."""
    trials = max(row.trials for row in result.rows)
    all_, invalid = sum(row.trials for row in result.rows), sum(row.invalid_trials for row in result.rows)
    spread = "one trial each, no intervals" if trials == 1 else f"medians of {trials}, 95 % intervals"
    setting = result.environment.get("calibration", {})
    return (
        f"Profile {result.profile}{_setting(setting)}; {spread}; {invalid} of {all_} trials invalid.\n"
        f"Verdict: {result.verdict}. Paper: {source}"
    )


def _setting(calibration: dict[str, Any]) -> str:
    parts = []
    if calibration.get("ring_mbps"):
        parts.append(f"rings of {calibration['ring_mbps']:.0f} Mb/s")
    if calibration.get("quota_us"):
        parts.append(f"middle host at {calibration['quota_us'] / calibration['period_us']:.1%} of a CPU")
    return f": {', '.join(parts)}" if parts else ""


def _place(group: int, system: int, systems: int) -> float:
    """Where a bar stands: groups of bars around whole numbers."""
    return group + (system - (systems - 1) / 2) * BAR_ROOM / systems


def _bars(
    axes: Axes, result: Result, outcomes: Sequence[Outcome], systems: list[str], levels: list[int]
) -> None:
    values = [max(row.median or 0.0, row.published or 0.0) for row in result.rows]
    near = 0.08 * max(values, default=1.0)
    for i, system in enumerate(systems):
        colour, hatch = LOOKS.get(system, OTHER)
        for group, level in enumerate(levels):
            row = next(r for r in result.rows if r.system == system and r.factors["hogs"] == level)
            place = _place(group, i, len(systems))
            axes.bar(
                place,
                row.median or 0.0,
                0.9 * BAR_ROOM / len(systems),
                label=system if group == 0 else "",
                color=colour,
                hatch=hatch,
                edgecolor=INK,
                linewidth=0.7,
            )
            if row.published is not None:
                axes.plot([place], [row.published], **PUBLISHED, label=_once(axes, "published"))
            bad = [o.value or 0.0 for o in outcomes if (o.system, o.hogs, o.valid) == (system, level, False)]
            if bad:
                across = [place + (k - (len(bad) - 1) / 2) * 0.02 for k in range(len(bad))]
                axes.plot(across, bad, **INVALID, label=_once(axes, "invalid trial"))
            _spread(axes, place, row, near)


def _spread(axes: Axes, place: float, row: Row, near: float) -> None:
    """The interval, and the median in figures: above a published value that is `near` it."""
    if row.median is None or row.ci95 is None:
        axes.annotate("no valid\ntrial", (place, 0), ha="center", va="bottom", fontsize=7, color=INK)
        return
    low, high = row.ci95
    if row.trials > 1:
        for colour, width in (("white", 3.0), (INK, 1.2)):
            axes.errorbar(
                place,
                row.median,
                yerr=[[max(0.0, row.median - low)], [max(0.0, high - row.median)]],
                color=colour,
                capsize=3,
                linewidth=width,
                capthick=width,
            )
    top = max(high, row.median)
    clash = row.published is not None and top - near < row.published < top + near
    axes.annotate(
        f"{row.median:.3g}" if row.median < 1000 else f"{row.median:.0f}",
        (place, max(top, row.published or 0.0) if clash else top),
        xytext=(0, 7 if clash else 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7.5,
        color=INK,
    )


def _once(axes: Axes, label: str) -> str:
    """`label` for the first that uses it, so that the legend has it once."""
    return "" if label in axes.get_legend_handles_labels()[1] else label


def _legend(axes: Axes, systems: list[str]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    order = [*systems, "published", "invalid trial"]
    named = sorted(zip(labels, handles, strict=True), key=lambda pair: order.index(pair[0]))
    axes.legend(
        [handle for _, handle in named],
        [label for label, _ in named],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=len(named),
        columnspacing=1.2,
        frameon=False,
        fontsize=9,
    )
