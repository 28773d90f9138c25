"""The figure of `bench watching`: the experiment's throughput and the agents' CPU time, watched and not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"none": "#777777", "inspect": "#c2571a", "scrape": "#4f9bd9", "live": "#1f4e79"}
PANELS = (
    ("throughput", "Throughput of the experiment", "Mb/s"),
    ("CPU s/s", "CPU time", "seconds per second"),
)
SIZE_INCHES, DPI, WIDTH = (13.0, 5.2), 130, 0.8


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the figure of these rows as a PNG: a group of bars for each system, a bar for each watch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    for axes, (measure, title, unit) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        _panel(axes, [one for one in rows if one["factors"]["measure"] == measure])
        axes.set_title(title)
        axes.set_ylabel(unit)
    axes.legend(frameon=False, title="watched by")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    groups = list(dict.fromkeys(_group(one) for one in rows))
    watches = list(dict.fromkeys(one["factors"]["watch"] for one in rows))
    width = WIDTH / len(watches)
    for place, watch in enumerate(watches):
        own = [one for one in rows if one["factors"]["watch"] == watch and one["median"] is not None]
        at = [groups.index(_group(one)) + (place - (len(watches) - 1) / 2) * width for one in own]
        medians = [one["median"] for one in own]
        spans = [
            [one["median"] - one["ci95"][0] for one in own],
            [one["ci95"][1] - one["median"] for one in own],
        ]
        axes.bar(
            at, medians, width, color=COLOURS.get(watch), label=watch, yerr=spans, ecolor="#333333", capsize=2
        )
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(True, axis="y", color="#dddddd")
    axes.set_axisbelow(True)


def _group(row: Mapping[str, Any]) -> str:
    hogs = row["factors"].get("hogs")
    return str(row["system"]) if hogs is None else f"{row['system']}\n{hogs} hogs"
