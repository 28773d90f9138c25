"""The figures of the papers, measured here: bars by system, groups of bars along a factor, panels for the
rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.experiments.curves import curves, is_quantity
from orchestrator.experiments.definitions import Level, Profile
from orchestrator.experiments.files import replacing
from orchestrator.experiments.result import Factors, Outcome, Result, Row, told

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Light to dark, so that a grey print still tells them apart; the hatches help where two are close.
Look = tuple[str, str]
"""A colour and a hatch."""
LOOKS: dict[str, Look] = {
    "linux": ("#dfe3e8", ""),
    "linux-batch": ("#9fb8d1", "//"),
    "copy": ("#d08a4e", ".."),
    "shipping-to-copy": ("#e9c9a9", "\\\\"),
    "copy-to-shipping": ("#5f8fbf", "--"),
    "shipping": ("#1f4e79", ""),
}
OTHERS = (
    ("#1f4e79", ""),
    ("#d08a4e", ".."),
    ("#9fb8d1", "//"),
    ("#7a9a5b", "--"),
    ("#dfe3e8", ""),
    ("#8a6d9e", "\\\\"),
    ("#777777", "xx"),
)
"""For what has no look of its own, in turns."""
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
SIZE_INCHES, PANEL_INCHES, DPI = (8.0, 5.2), 2.6, 150
LEGEND_BELOW = 4.6
"""From the last panel down to the legend, in the legend's letters: ticks and the axis' label are between."""
LOGARITHMIC = 50
"""Where values differ by more than this factor, the axis is logarithmic."""


@dataclass(frozen=True)
class Axis:
    """What the figure shows: the factor along its axis; the others make a panel for each combination. With
    `curves`, a quantity along the axis has curves in place of bars."""

    across: str | None
    label: str
    value: str
    curves: bool = False


def forwarding_axis(profile: Profile) -> Axis:
    """Figure 6: throughput against the number of competing processes."""
    value = "Highest lossless rate" if profile == "modern" else "Throughput"
    unit = "% of ring" if profile == "scaled" else "Mb/s"
    return Axis("hogs", "Competing processes on the middle workstation", f"{value}, {unit}")


def draw(
    result: Result, outcomes: Sequence[Outcome], title: str, source: str, path: Path, axis: Axis
) -> None:
    """Writes the figure of `result` as a PNG and, beside it, as an SVG. `outcomes` are marked where they are
    invalid."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    systems = list(dict.fromkeys(row.system for row in result.rows))
    looks = _looks(systems)
    panels: dict[str, list[Row]] = {}
    for row in result.rows:
        panels.setdefault(_others(row.factors, axis), []).append(row)
    width, height = SIZE_INCHES
    figure = Figure(figsize=(width, height + PANEL_INCHES * (len(panels) - 1)), dpi=DPI, layout="constrained")
    every: list[Axes] = list(figure.subplots(len(panels), squeeze=False)[:, 0])
    for axes, (others, rows) in zip(every, panels.items(), strict=True):
        levels = list(dict.fromkeys(row.factors.get(axis.across or "", "") for row in rows))
        marked = [one for one in outcomes if _others(one.factors, axis) == others]
        if axis.curves and axis.across is not None and is_quantity(levels):
            curves(axes, rows, marked, axis.across, INVALID)
        else:
            _panel(axes, rows, looks, marked, levels, axis)
            axes.set_xticks(range(len(levels)), [str(level) for level in levels])
        scale = " (logarithmic)" if axes.get_yscale() == "log" else ""
        axes.set_ylabel(axis.value + scale)
        if others:
            axes.set_title(others, fontsize=9, color=INK, loc="left")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.grid(axis="y", color="#cccccc", linewidth=0.6)
        axes.set_axisbelow(True)
    every[-1].set_xlabel(axis.label)
    _legend(every, systems)
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left", wrap=True)
    figure.supxlabel(caption(result, source), fontsize=8, linespacing=1.5, color="#444444")
    with replacing(path) as png:
        figure.savefig(png, format="png")
    with replacing(path.with_suffix(".svg")) as svg:
        figure.savefig(svg, format="svg", metadata={"Date": None})


def caption(result: Result, source: str) -> str:
    """What one must know to read the figure: profile, trials, validity, verdict."""
    trials = max(row.trials - row.invalid_trials for row in result.rows)
    all_, invalid = sum(row.trials for row in result.rows), sum(row.invalid_trials for row in result.rows)
    spread = "one trial each, no intervals" if trials <= 1 else f"medians of {trials}, 95 % intervals"
    setting = result.environment.get("calibration", {})
    profile = f"Profile {result.profile}{_setting(setting)}; " if result.profile else ""
    paper = f" Paper: {source}" if source else ""
    return (
        f"{profile}{spread[0].upper() if not profile else spread[0]}{spread[1:]}; "
        f"{invalid} of {all_} trials invalid.\nVerdict: {result.verdict}.{paper}"
    )


def _setting(calibration: dict[str, Any]) -> str:
    parts = []
    if calibration.get("ring_mbps"):
        parts.append(f"rings of {calibration['ring_mbps']:.0f} Mb/s")
    if calibration.get("quota_us"):
        parts.append(f"middle host at {calibration['quota_us'] / calibration['period_us']:.1%} of a CPU")
    return f": {', '.join(parts)}" if parts else ""


def _others(factors: Factors, axis: Axis) -> str:
    """The factors that are not along the axis, in words."""
    return told({name: level for name, level in factors.items() if name != axis.across})


def _looks(systems: Sequence[str]) -> dict[str, Look]:
    """How each is drawn: what has no look of its own takes turns with others like it."""
    strangers = [system for system in systems if system not in LOOKS]
    return LOOKS | {system: OTHERS[at % len(OTHERS)] for at, system in enumerate(strangers)}


def _panel(
    axes: Axes,
    rows: Sequence[Row],
    looks: Mapping[str, Look],
    outcomes: Sequence[Outcome],
    levels: Sequence[Level],
    axis: Axis,
) -> None:
    values = [value for row in rows for value in (row.median, row.published) if value]
    decades = bool(values) and max(values) > LOGARITHMIC * min(values)
    if decades:
        axes.set_yscale("log")
    for group, level in enumerate(levels):
        members = [row for row in rows if row.factors.get(axis.across or "", "") == level]
        # Groups may have different numbers of systems; bars are as wide everywhere.
        widest = max(sum(row.factors == one.factors for row in rows) for one in rows)
        for i, row in enumerate(members):
            place = group + (i - (len(members) - 1) / 2) * BAR_ROOM / widest
            bad = [
                one.value or 0.0
                for one in outcomes
                if (one.system, one.factors, one.valid) == (row.system, row.factors, False)
            ]
            _bar(axes, row, looks[row.system], place, 0.9 * BAR_ROOM / widest, bad, max(values, default=1.0))
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.5 if decades else 0, high * (2.5 if decades else 1.04))


def _bar(
    axes: Axes, row: Row, look: Look, place: float, width: float, bad: Sequence[float], highest: float
) -> None:
    colour, hatch = look
    axes.bar(
        place,
        row.median or 0.0,
        width,
        label=_once(axes, row.system),
        color=colour,
        hatch=hatch,
        edgecolor=INK,
        linewidth=0.7,
    )
    if row.published is not None:
        axes.plot([place], [row.published], **PUBLISHED, label=_once(axes, "published"))
    if bad:
        across = [place + (k - (len(bad) - 1) / 2) * 0.02 for k in range(len(bad))]
        axes.plot(across, bad, **INVALID, label=_once(axes, "invalid trial"))
    _spread(axes, place, row, 0.08 * highest)


def _spread(axes: Axes, place: float, row: Row, near: float) -> None:
    """The interval, and the median in figures: above a published value that is `near` it."""
    if row.median is None or row.ci95 is None:
        where: Any = ("data", "axes fraction")  # a logarithmic axis has no zero
        axes.annotate(
            "no valid\ntrial", (place, 0), xycoords=where, ha="center", va="bottom", fontsize=7, color=INK
        )
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


def _legend(every: Sequence[Axes], systems: list[str]) -> None:
    """One legend below the last panel, with everything that any panel shows."""
    shown = {
        label: handle
        for axes in every
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    named = [label for label in (*systems, "published", "invalid trial") if label in shown]
    every[-1].legend(
        [shown[label] for label in named],
        named,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=LEGEND_BELOW,
        ncols=min(len(named), 6),
        columnspacing=1.2,
        frameon=False,
        fontsize=9,
    )
