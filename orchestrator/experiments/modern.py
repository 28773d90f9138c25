"""The profile `modern`: nothing is limited, and each system's highest lossless rate is searched."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from orchestrator.experiments.plan import Plan
from orchestrator.experiments.rings import bottleneck, probe_plan
from orchestrator.experiments.schedule import Planned
from orchestrator.experiments.search import Bounds, side_by_side
from orchestrator.experiments.trial import Trial
from orchestrator.experiments.workloads import Setting, Target

Probe = Callable[[Planned, Setting, Plan], Awaitable[Trial]]
"""Does and records one trial."""
Cell = tuple[str, int]
"""A system, and how many hogs it is measured against."""


@dataclass(frozen=True)
class Highest:
    """One search's result: the highest rate in Mb/s that lost nothing, and what failed above it."""

    round: int
    system: str
    hogs: int
    mbps: float
    limited_by: str | None


async def highest_rates(
    target: Target,
    setting: Setting,
    plan: Plan,
    probe: Probe,
    report: Callable[[float], None],
) -> list[Highest]:
    """One search per load, system and round. At each load the systems take turns step by step.

    `report` is told a guess of the steps that are left.
    """
    systems = deque(target.definition.systems)
    levels = target.definition.modern_hogs
    bounds = Bounds(
        plan.search_start_mbps, plan.search_max_mbps, plan.search_resolution, plan.search_attempts
    )
    found: list[Highest] = []
    best: dict[Cell, float] = {}
    usual_steps = 10.0
    numbers = itertools.count()
    for round_, hogs in itertools.product(range(plan.trials), levels):
        searches_left = plan.trials * len(levels) * len(systems) - len(found) - len(systems)
        steps: list[int] = []

        async def attempt(cell: Cell, rate: float, round_: int = round_) -> str | None:
            # The same time's worth for all: what comes while the hogs have their turns.
            queue = plan.loaded_queue(rate, target.definition.datagram_bytes, cell[1])
            tried = replace(setting, offered_mbps=rate, queue_datagrams=queue)
            trial = await probe(Planned(next(numbers), round_, *cell), tried, probe_plan(plan))
            return bottleneck(trial, 0.0, target)

        def told(left: int, steps: list[int] = steps, rest: float = searches_left * usual_steps) -> None:
            steps.append(left)
            report(left + rest)

        searched = await side_by_side([(one, hogs) for one in systems], bounds, best, attempt, told)
        usual_steps = len(steps) / len(systems)
        for (system, _), one in searched.items():
            found.append(Highest(round_, system, hogs, one.mbps, one.limited_by))
            if one.mbps:
                best[system, hogs] = one.mbps
        systems.rotate(-1)
    return found
