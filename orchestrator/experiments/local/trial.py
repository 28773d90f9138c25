"""One trial within a host: what is asked of a scene, and what stands in trials.jsonl."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from agents.client import Machine
from orchestrator.experiments.definitions import Level
from orchestrator.experiments.journal import TrialRecord
from orchestrator.experiments.local.definition import Cell, LocalDefinition
from orchestrator.experiments.local.plan import LocalPlan
from orchestrator.experiments.processes import TrialFailed
from orchestrator.experiments.series import Series


@dataclass(frozen=True)
class Place:
    """The host of a deployed lab where an experiment happens, and the CPUs that its processes may have."""

    machine: Machine
    lab: str
    host: str
    cpus: list[int]
    run_dir: str

    @classmethod
    def of(cls, machine: Machine, lab: str, record: Mapping[str, Any], definition: LocalDefinition) -> Place:
        """Finds the host in the lab's record. Raises TrialFailed when there is none, or without CPUs."""
        host = record["hosts"].get(definition.host)
        if host is None or not host["cpus"]:
            raise TrialFailed(
                f"lab {lab} does not have what experiment {definition.name} needs ({definition.topology}): "
                f"a host {definition.host} with cpus"
            )
        return cls(machine, lab, definition.host, list(host["cpus"]), str(record["run_dir"]))


@dataclass(frozen=True)
class Performed:
    """What a scene saw of one trial: the results of its processes, the number, why it does not count."""

    results: dict[str, Any]
    value: float | None
    reasons: list[str]
    series: Series | None = None


class Scene(Protocol):
    """Which processes perform an experiment, and how. An async context: what it made is gone at its end."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def perform(self, cell: Cell, number: int, plan: LocalPlan) -> Performed:
        """One trial. `number` is not used twice in a run. Raises TrialFailed and AgentError."""
        ...

    def missed(self, trials: list[LocalTrial]) -> list[str]:
        """Claims of the experiment's own, beyond those on ratios, that valid trials contradict."""
        ...


class LocalTrial(TrialRecord):
    """One trial as it stands in trials.jsonl. `value` is in the unit of the definition."""

    factors: dict[str, Level]
    value: float | None = None

    def level(self) -> Mapping[str, Level]:
        return self.factors

    def summary(self) -> dict[str, Any]:
        keys = {"number", "system", "factors", "valid", "reasons", "value"}
        return self.model_dump(mode="json", include=keys)


@dataclass(frozen=True)
class Planned:
    """One trial to do. `number` counts from 0 through the run; a `round` has each cell once."""

    number: int
    round: int
    cell: Cell


def recorded(
    planned: Planned, started: float, seconds: float, performed: Performed | None, failure: str = ""
) -> LocalTrial:
    """The line of a trial that was performed, or that came to no end because of `failure`."""
    reasons = [failure] if performed is None else performed.reasons
    return LocalTrial(
        number=planned.number,
        round=planned.round,
        system=planned.cell.system,
        factors=dict(planned.cell.factors),
        started=started,
        seconds=round(seconds, 3),
        valid=not reasons,
        reasons=reasons,
        failed=performed is None,
        results={} if performed is None else performed.results,
        series=None if performed is None else performed.series,
        value=None if performed is None else performed.value,
    )


async def run_trial(scene: Scene, planned: Planned, number: int, plan: LocalPlan) -> LocalTrial:
    """Does one trial and judges it."""
    started, clock = time.time(), time.monotonic()
    performed = await scene.perform(planned.cell, number, plan)
    return recorded(planned, started, time.monotonic() - clock, performed)
