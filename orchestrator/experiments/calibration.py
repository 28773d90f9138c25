"""Calibration: what CPU budget or which rings put this machine where the paper's was.

It looks at conventional I/O only, never at the systems compared with it. Everything measured is recorded,
and the setting is frozen before any other system runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from orchestrator.experiments.definitions import Profile
from orchestrator.experiments.workloads import Setting

Report = Callable[[int, int, float], None]
"""Called with calibration steps done, steps in all (a guess), seconds left (a guess)."""
Flows = Callable[[], int]
"""Gives the flow number of the next trial or probe, never the same twice."""


class Point(BaseModel):
    """One measurement of conventional I/O during calibration. Rates in Mb/s."""

    quota_us: int | None
    period_us: int
    hogs: int
    ring_mbps: float | None
    offered_mbps: float
    queue_datagrams: int
    throughput_mbps: float
    loss: float | None = None
    limited_by: str | None = None

    @classmethod
    def of(cls, setting: Setting, hogs: int, throughput_mbps: float, **more: Any) -> Point:
        """What was measured with a setting."""
        return cls(**asdict(setting), hogs=hogs, throughput_mbps=round(throughput_mbps, 2), **more)


class Calibration(BaseModel):
    """What was found and from what. `error` is the fit's `curve_error` (`scaled`: of the loaded part)."""

    profile: Profile
    system: str
    ring_mbps: float | None
    offered_mbps: float
    quota_us: int | None
    period_us: int
    queue_datagrams: int
    error: float | None = None
    k: float | None = None
    points: list[Point]
    notes: list[str] = []

    def setting(self) -> Setting:
        """What every trial of the run gets."""
        return Setting(self.ring_mbps, self.offered_mbps, self.quota_us, self.period_us, self.queue_datagrams)


def curve_error(points: Sequence[tuple[float, float]]) -> float:
    """Root mean square of the relative deviations of what was found (first of each) from what was wanted."""
    return float((sum((found / wanted - 1) ** 2 for found, wanted in points) / len(points)) ** 0.5)
