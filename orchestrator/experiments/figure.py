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
    if result.profile == "modern":
        axes.set_ylabel(f"Highest lossless rate, {unit}")
        axes.set_xticks([])
    else:
        axes.set_ylabel(f"Throughput, {unit}")
        axes.set_xlabel("Competing processes on the middle workstation")
        axes.set_xticks(range(len(levels)), [str(level) for level in levels])
    axes.set_title(title, fontsize=11, color=INK, loc="left", wrap=True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="#cccccc", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.04)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, frameon=False, fontsize=9)
    figure.supxlabel(caption(result, source), fontsize=8, color="#444444")
    figure.savefig(path, format="png")


def caption(result: Result, source: str) -> str:
    """What one must know to read the figure: profile, trials, validity, verdict."""
    trials = max(row.trials for row in result.rows)
    all_, invalid = sum(row.trials for row in result.rows), sum(row.invalid_trials for row in result.rows)
    spread = "one trial each, no intervals" if trials == 1 else f"medians of {trials}, 95 % intervals"
    setting = result.environment.get("calibration", {})
    return (
        f"Profile {result.profile}{_setting(setting)}; {spread}; "
        f"{invalid} of {all_} trials invalid. Verdict: {result.verdict}.\nPublished: {source}"
    )


def _setting(calibration: dict[str, Any]) -> str:
    parts = []
    if calibration.get("ring_mbps"):
        parts.append(f"rings of {calibration['ring_mbps']:.0f} Mb/s")
    if calibration.get("quota_us"):
        parts.append(f"middle host at {calibration['quota_us'] / calibration['period_us']:.1%} of a CPU")
    return f": {', '.join(parts)}" if parts else ""


def _bars(
    axes: Axes, result: Result, outcomes: Sequence[Outcome], systems: list[str], levels: list[int]
) -> None:
    width = 0.84 / len(systems)
    published_named = invalid_named = False
    for i, system in enumerate(systems):
        colour, hatch = LOOKS.get(system, OTHER)
        rows = {row.factors["hogs"]: row for row in result.rows if row.system == system}
        places = [n + (i - (len(systems) - 1) / 2) * width for n in range(len(levels))]
        axes.bar(
            places,
            [rows[level].median or 0.0 for level in levels],
            width * 0.9,
            label=system,
            color=colour,
            hatch=hatch,
            edgecolor=INK,
            linewidth=0.7,
        )
        for place, level in zip(places, levels, strict=True):
            row = rows[level]
            _spread(axes, place, row)
            if row.published is not None:
                axes.plot(
                    [place],
                    [row.published],
                    marker="D",
                    markersize=7,
                    markerfacecolor="white",
                    markeredgecolor=INK,
                    markeredgewidth=1.4,
                    linestyle="none",
                    zorder=6,
                    label="" if published_named else "published",
                )
                published_named = True
            bad = [o for o in outcomes if (o.system, o.hogs) == (system, level) and not o.valid]
            if bad:
                axes.plot(
                    [place] * len(bad),
                    [one.value or 0.0 for one in bad],
                    marker="x",
                    markersize=6,
                    color=INK,
                    linestyle="none",
                    zorder=5,
                    label="" if invalid_named else "invalid trial",
                )
                invalid_named = True


def _spread(axes: Axes, place: float, row: Row) -> None:
    if row.median is None or row.ci95 is None:
        axes.annotate("no valid\ntrial", (place, 0), ha="center", va="bottom", fontsize=7, color=INK)
        return
    low, high = row.ci95
    if row.trials > 1:
        axes.errorbar(
            place,
            row.median,
            yerr=[[row.median - low], [high - row.median]],
            color=INK,
            capsize=3,
            linewidth=1.2,
        )
    axes.annotate(
        f"{row.median:.3g}" if row.median < 1000 else f"{row.median:.0f}",
        (place, max(high, row.median)),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7,
        color=INK,
    )
