"""A straight line through measurements over the number of hosts, and how far off they are from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """value = `fixed` + `each` x hosts, by least squares.

    `residual` is the root mean square of what the values are off, as a fraction of the line's end. `power` is
    that of hosts which the values grow with best (1: in proportion), from the logarithms.
    """

    system: str
    phase: str
    unit: str
    fixed: float
    each: float
    residual: float
    power: float | None

    @property
    def words(self) -> str:
        """For people."""
        each = f"{1000 * self.each:.3g} {'ms' if self.unit == 's' else 'kB'}"
        power = "" if self.power is None else f"; they grow with the hosts to the power of {self.power:.2f}"
        return (
            f"{self.system}, {self.phase}: {self.fixed:.3g} {self.unit} and {each} for each host; the values "
            f"are {self.residual:.1%} of the line's end off it{power}"
        )

    def at(self, hosts: float) -> float:
        """The line's value."""
        return self.fixed + self.each * hosts


def fitted(system: str, phase: str, unit: str, points: Sequence[tuple[int, float]]) -> Line | None:
    """The line through (hosts, value); None for fewer than three different numbers of hosts."""
    import numpy as np

    if len({hosts for hosts, _ in points}) < 3:
        return None
    hosts, values = np.array(points, dtype=float).T
    each, fixed = np.polyfit(hosts, values, 1)
    off = float(np.sqrt(np.mean((values - (fixed + each * hosts)) ** 2)))
    power = None
    if values.min() > 0:  # memory that others gave back meanwhile can hide what was taken
        power = float(np.polyfit(np.log(hosts), np.log(values), 1)[0])
    end = float(fixed + each * hosts.max())
    return Line(system, phase, unit, float(fixed), float(each), off / abs(end), power)
