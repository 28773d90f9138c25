"""The figure of `bench ablation`: a group of bars for each thing left out, a bar in it for each tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ipc.chart import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"cooperative": "#1f4e79", "write-revoked": "#4f9bd9", "strict": "#c2571a"}
SIZE_INCHES, DPI = (16.0, 5.6), 130
WIDTH = 0.27


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the figure of these rows as a PNG: a panel for each size of pages."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    pages = list(dict.fromkeys(row["factors"]["page_bytes"] for row in rows))
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    for axes, page in zip(figure.subplots(1, len(pages), squeeze=False)[0], pages, strict=True):
        _panel(axes, [row for row in rows if row["factors"]["page_bytes"] == page])
        axes.set_title(f"Pages of {in_words(page)}B")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    groups = list(dict.fromkeys((row["system"], row["factors"]["looked_at"]) for row in rows))
    for place, (tier, colour) in enumerate(COLOURS.items()):
        own = [row for row in rows if row["factors"]["tier"] == tier and row["median"] is not None]
        at = [groups.index((row["system"], row["factors"]["looked_at"])) + (place - 1) * WIDTH for row in own]
        medians = [row["median"] for row in own]
        spans = [
            [row["median"] - row["ci95"][0] for row in own],
            [row["ci95"][1] - row["median"] for row in own],
        ]
        axes.bar(at, medians, WIDTH, color=colour, label=tier, yerr=spans, ecolor="#333333", capsize=2)
    names = [f"{name}\n({seen} looked at)" for name, seen in groups]
    axes.set_xticks(range(len(groups)), names, fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("µs per operation")
    axes.grid(True, axis="y", which="major", color="#dddddd")
