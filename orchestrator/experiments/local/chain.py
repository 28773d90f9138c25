"""Processes in a row on one host: the first writes, the last reads, those between pass on what comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from orchestrator.experiments.books import BOOKS_DIFFER
from orchestrator.experiments.local.definition import Cell, LocalDefinition
from orchestrator.experiments.local.plan import LocalPlan
from orchestrator.experiments.local.trial import LocalTrial, Performed, Place
from orchestrator.experiments.processes import Died, Processes, dated
from orchestrator.experiments.series import handed_over

GRACE_S = 10.0
"""Seconds beyond its time after which a trial is given up."""
BUSY = 0.3
"""Of one CPU: where nothing else limits them, processes that had less together, and their manager, were kept
from working."""


@dataclass(frozen=True)
class Part:
    """One process of the row. `params` are its workload's own, without its CPU."""

    name: str
    workload: str
    system: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """The processes in the order of the data. `limited`: something else decides how fast it goes."""

    parts: Sequence[Part]
    limited: bool = False
    one_cpu: bool = False


Cast = Callable[[LocalDefinition, Cell, LocalPlan, str], Row]
"""The processes of one trial; the string begins the names of its channels."""


class Chain:
    """A scene: a row of processes for each trial. Neighbours have different CPUs, unless told otherwise."""

    def __init__(self, definition: LocalDefinition, place: Place, cast: Cast) -> None:
        self._definition, self._place, self._cast = definition, place, cast

    async def __aenter__(self) -> Chain:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def missed(self, trials: list[LocalTrial]) -> list[str]:
        return []

    async def perform(self, cell: Cell, number: int, plan: LocalPlan) -> Performed:
        row = self._cast(self._definition, cell, plan, f"{self._definition.name}-{number}")
        cpus = self._place.cpus[:1] if row.one_cpu else self._place.cpus
        if len(cpus) == 1 and not row.one_cpu:
            return Performed({}, None, [f"the host has one CPU ({cpus[0]}); neighbours need two"])
        results: dict[str, Any] = {}
        try:
            async with Processes(self._place.machine, self._place.lab) as processes:
                ids = await self._start(processes, row.parts, cpus, plan.sample_s)
                used, since = await dated(self._cpu_s, plan.look_s)
                await processes.ended(ids[-1], plan.warmup_s + plan.measured_s + GRACE_S)
                used_then, until = await dated(self._cpu_s, plan.look_s)
                busy = (used_then - used) / (until - since)
                # The writer first: one whose reader is stopped before it fails.
                for part, one in zip(row.parts, ids, strict=True):
                    state = await processes.finish(one)
                    results[part.name] = state["result"]
        except Died as error:
            return Performed(results, None, [str(error)])
        reasons = _reasons(row, results, plan)
        if not row.limited and busy < BUSY:
            reasons.append(f"something else had the CPU: the processes were busy {busy:.0%} of one together")
        value = float(results[row.parts[-1].name]["mbytes_per_s"])
        series = handed_over(state.get("series"), int(results[row.parts[-1].name]["t0_ns"]))
        return Performed({**results, "busy": round(busy, 3)}, value, reasons, series)

    async def _cpu_s(self) -> float:
        """Seconds of CPU that the host's I/O path has had so far, the processes and their manager."""
        counters = await self._place.machine.host_counters(self._place.lab, self._place.host)
        return counters["cpu.io_usec"] / 1e6

    async def _start(
        self, processes: Processes, parts: Sequence[Part], cpus: Sequence[int], sample_s: float
    ) -> list[str]:
        """Starts the last one first, so that each finds its reader; returns their ids in the order given.

        The last one alone is sampled: what reached it is what counts.
        """
        ids: list[str] = []
        for place, part in reversed(list(enumerate(parts))):
            params = {**part.params, "cpu": cpus[place % len(cpus)]}
            sampled = sample_s if part is parts[-1] else None
            ids.insert(
                0, await processes.start(self._place.host, part.workload, part.system, params, sampled)
            )
        return ids


def _reasons(row: Row, results: Mapping[str, Any], plan: LocalPlan) -> list[str]:
    """Why the trial is INVALID; empty when it is valid."""
    first, last = row.parts[0].name, row.parts[-1].name
    found = []
    for before, after in zip(row.parts, row.parts[1:], strict=False):
        wrote, read = int(results[before.name]["bytes"]), int(results[after.name]["bytes"])
        if wrote != read:
            found.append(
                f"{BOOKS_DIFFER}the {before.name} passed on {wrote} bytes, the {after.name} got {read}"
            )
    for part in row.parts:
        for what in ("dropped", "mismatches"):
            if count := int(results[part.name].get(what, 0)):
                found.append(f"the {part.name} counted {count} {what}")
    if not results[last]["ended"]:
        found.append(f"the {last} was stopped before the {first} had closed")
    seconds = (int(results[last]["t1_ns"]) - int(results[last]["t0_ns"])) / 1e9
    if abs(seconds - plan.measured_s) > 0.25 * plan.measured_s:
        found.append(f"the {last} measured {seconds:.2f} s instead of {plan.measured_s:g}")
    return found
