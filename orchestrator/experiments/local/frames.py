"""Video frames in experiments: what the level of the factor `frame` says, and rates in frames per second."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.experiments.definitions import Level
from orchestrator.experiments.result import Row, told


def geometry(level: Level) -> tuple[int, int, int]:
    """Width, height and bits per pixel of "1264x960x8"."""
    width, height, bits = (int(part) for part in str(level).split("x"))
    return width, height, bits


def frame_bytes(level: Level) -> int:
    """Bytes of such a frame."""
    width, height, bits = geometry(level)
    return width * height * bits // 8


def sustained(rows: Sequence[Row]) -> list[str]:
    """How many frames per second each system sustains, from the fewest relays to the most: a line for each
    combination of the other factors, or nothing where the rows are not of frames."""
    lines: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if "frame" not in row.factors or row.median is None:
            continue
        others = told({name: level for name, level in row.factors.items() if name != "relays"})
        rate = row.median * 1e6 / frame_bytes(row.factors["frame"])
        shown = f"{rate:.3g}" if rate < 1000 else f"{rate:.0f}"
        lines.setdefault(others, {}).setdefault(row.system, []).append(f"{shown} ({row.factors['relays']})")
    return [
        f"frames/s (relays) with {others}: "
        + "; ".join(f"{system} {', '.join(rates)}" for system, rates in systems.items())
        for others, systems in lines.items()
    ]
