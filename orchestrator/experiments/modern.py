"""The profile `modern`: nothing is limited, and each system's highest lossless rate is searched."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import product

from orchestrator.experiments.plan import Plan
from orchestrator.experiments.rings import bottleneck, probe_plan
from orchestrator.experiments.schedule import Planned
from orchestrator.experiments.search import RateSearch
from orchestrator.experiments.trial import Trial
from orchestrator.experiments.workloads import Setting, Target

NARROW = 1.25
"""From the second round on a search starts at the last result and widens by this factor."""

Probe = Callable[[Planned, Setting, Plan], Awaitable[Trial]]
"""Does and records one trial."""


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
    """One search per load, system and round. At each load the systems take turns step by step, so that drift
    hits all alike.

    `report` is told a guess of the steps that are left.
    """
    systems = deque(target.definition.systems)
    levels = target.definition.modern_hogs
    found: list[Highest] = []
    best: dict[tuple[str, int], float] = {}
    usual_steps = 10.0
    number = 0
    for round_, hogs in product(range(plan.trials), levels):
        searches = {
            system: RateSearch(
                start=best.get((system, hogs), plan.search_start_mbps),
                most=plan.search_max_mbps,
                resolution=plan.search_resolution,
                factor=NARROW if (system, hogs) in best else 2.0,
            )
            for system in systems
        }
        limits: dict[str, str | None] = dict.fromkeys(systems)
        steps = 0
        while open_ := [system for system in systems if not searches[system].done]:
            for system in open_:
                search = searches[system]
                rate = search.rate
                for _ in range(plan.search_attempts):
                    trial = await probe(
                        Planned(number, round_, system, hogs),
                        replace(
                            setting,
                            offered_mbps=rate,
                            # The same time's worth for all: what comes while the hogs have their turns.
                            queue_datagrams=plan.loaded_queue(rate, target.definition.datagram_bytes, hogs),
                        ),
                        probe_plan(plan),
                    )
                    number += 1
                    limit = bottleneck(trial, 0.0, target)
                    if limit is None:
                        break
                steps += 1
                if limit is not None and rate < search.failed:
                    limits[system] = limit
                search.tell(rate, limit is None)
                left = sum(one.steps_left for one in searches.values())
                searches_left = plan.trials * len(levels) * len(systems) - len(found) - len(searches)
                report(left + searches_left * usual_steps)
        usual_steps = steps / len(systems)
        for system, search in searches.items():
            found.append(Highest(round_, system, hogs, search.best, limits[system]))
            if search.best:
                best[system, hogs] = search.best
        systems.rotate(-1)
    return found
