"""The figure of `bench ipc`: where copying wins, and where handing over does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS: dict[str, tuple[str, str, str]] = {
    "shipping": ("#1f4e79", "-", "o"),
    "shipping-python": ("#4f9bd9", "-", "o"),
    "iceoryx2": ("#c2571a", "-", "s"),
    "iceoryx2-events": ("#e8a06c", "--", "s"),
    "pipe": ("#777777", "-", "v"),
    "unix-stream": ("#777777", "--", "^"),
    "unix-seqpacket": ("#777777", ":", "<"),
    "vmsplice": ("#7b5aa6", "-", "D"),
    "process-vm-readv": ("#2e8b57", "--", "P"),
    "ring-memcpy": ("#111111", "-", "x"),
}
"""Colour, line, marker: ours blue, the other zero-copy system orange, the kernel's copies grey."""
PANELS = (
    ("throughput", "Throughput, every cache line written and read", "MB/s"),
    ("hand-over", "Hand-over, nothing touched", "µs per message"),
    ("round-trip", "Round trip, every cache line written and read", "µs"),
)
SIZE_INCHES, DPI = (16.0, 5.6), 130


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the figure of these rows as a PNG: a line per system, shaded between its interval's ends."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(PANELS))
    for axes, (measure, title, unit) in zip(panels, PANELS, strict=True):
        of_it = [row for row in rows if row["factors"]["measure"] == measure]
        _panel(axes, [row for row in of_it if row["median"] is not None])
        axes.set_title(title)
        axes.set_ylabel(unit)
    named = {str(line.get_label()): line for axes in panels for line in axes.get_lines()}
    lines, names = list(named.values()), list(named)
    figure.legend(lines, names, loc="outside lower center", ncols=len(LOOKS), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for system, (colour, line, marker) in LOOKS.items():
        own = [row for row in rows if row["system"] == system]
        if not own:
            continue
        sizes = [row["factors"]["bytes"] for row in own]
        medians = [row["median"] for row in own]
        axes.plot(sizes, medians, color=colour, linestyle=line, marker=marker, label=system)
        low, high = zip(*(row["ci95"] for row in own), strict=True)
        axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(sorted({row["factors"]["bytes"] for row in rows}))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: in_words(int(size))))
    axes.set_xlabel("Bytes of a message")
    axes.grid(True, which="major", color="#dddddd")


def in_words(size: int) -> str:
    """64, 4 Ki, 1 Mi."""
    for unit, power in (("Mi", 20), ("Ki", 10)):
        if size >= 1 << power:
            return f"{size >> power} {unit}"
    return str(size)
