"""The figure of `bench rates`: how far off each rate is, for each system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOOKS = {
    "transship-switched": ("#1f4e79", "o", 0.94),
    "transship-shared": ("#4f9bd9", "s", 1.0),
    "mininet": ("#c2571a", "D", 1.06),
}
"""Colour, marker, and what the rate is multiplied by so that marks do not cover each other."""
TARGET_PERCENT = 0.5
TICKS = (-100, -30, -10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30, 100)
SIZE_INCHES, DPI = (10.0, 5.6), 130


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the figure of these rows as a PNG: medians with their intervals; a cross where there is none."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1.0)
    axes.axhspan(-TARGET_PERCENT, TARGET_PERCENT, color="#e8f1e8", label=f"within {TARGET_PERCENT} %")
    for system, (colour, marker, aside) in LOOKS.items():
        own = [row for row in rows if row["system"] == system]
        known = [row for row in own if row["median"] is not None]
        at = [row["factors"]["rate_mbps"] * aside for row in known]
        medians = [row["median"] for row in known]
        spans = [
            [row["median"] - row["ci95"][0] for row in known],
            [row["ci95"][1] - row["median"] for row in known],
        ]
        axes.errorbar(
            at, medians, spans, color=colour, marker=marker, linestyle="none", capsize=3, label=system
        )
        missing = [row["factors"]["rate_mbps"] * aside for row in own if row["median"] is None]
        name = f"{system} cannot" if missing else None
        axes.plot(
            missing,
            [0.03] * len(missing),
            color=colour,
            marker="x",
            linestyle="none",
            label=name,
            transform=axes.get_xaxis_transform(),  # at the bottom: they are no errors
        )
    rates = sorted({row["factors"]["rate_mbps"] for row in rows})
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.margins(y=0.15)
    bottom, top = axes.get_ylim()
    axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.set_ylim(bottom, top)
    axes.set_xlabel("Mb/s asked for")
    axes.set_ylabel("Per cent off")
    axes.set_title("Rate of a shaped network")
    axes.grid(True, color="#dddddd")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
