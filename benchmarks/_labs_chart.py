"""The figure of `bench labs`: time and memory over the number of hosts, each with its straight line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._line import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"transship": "#1f4e79", "mininet": "#c2571a"}
PANELS = (
    ("up", "Coming up", "s"),
    ("down", "Going down", "s"),
    ("memory", "Memory while it stands", "MB"),
)
SIZE_INCHES, DPI = (16.0, 5.2), 130


def draw(rows: Sequence[Mapping[str, Any]], lines: Sequence[Line], path: Path) -> None:
    """Writes the figure of these rows as a PNG: medians with their intervals, and the lines through them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    for axes, (phase, title, unit) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        of_it = [row for row in rows if row["factors"]["phase"] == phase and row["median"] is not None]
        for system, colour in COLOURS.items():
            own = [row for row in of_it if row["system"] == system]
            line = next((one for one in lines if (one.system, one.phase) == (system, phase)), None)
            _series(axes, own, system, colour, line)
        axes.set_title(title)
        axes.set_xlabel("Hosts in the chain")
        axes.set_ylabel(unit)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(True, color="#dddddd")
        axes.legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _series(
    axes: Axes, own: Sequence[Mapping[str, Any]], system: str, colour: str, line: Line | None
) -> None:
    if not own:
        return
    hosts = [row["factors"]["hosts"] for row in own]
    medians = [row["median"] for row in own]
    spans = [[row["median"] - row["ci95"][0] for row in own], [row["ci95"][1] - row["median"] for row in own]]
    label = system
    if line is not None:
        each = f"{1000 * line.each:.3g} {'ms' if line.unit == 's' else 'kB'}"
        label = f"{system}: {each} a host, the line {line.residual:.1%} off"
        ends = [0, max(hosts)]
        axes.plot(ends, [line.at(end) for end in ends], color=colour, linewidth=1)
    axes.errorbar(hosts, medians, spans, color=colour, marker="o", linestyle="none", capsize=3, label=label)
