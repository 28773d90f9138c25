"""One trial of a user's experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.experiments.definitions import Level
from orchestrator.experiments.own.document import Measure
from orchestrator.experiments.own.experiment import Combination
from orchestrator.experiments.trial import Carried

UNITS: dict[Measure, str] = {"throughput": "Mb/s", "datagrams": "datagrams/s", "loss": "% lost"}


class OwnTrial(Carried):
    """One trial as it stands in trials.jsonl, with its size in bytes."""

    shown: ClassVar[str] = "factors"
    factors: dict[str, Level]
    size: int

    def level(self) -> Mapping[str, Level]:
        return self.factors

    def value(self, measure: Measure) -> float | None:
        """What it says of a measure, in the unit of `UNITS`."""
        if measure == "loss":
            return None if self.loss is None else 100 * self.loss
        if self.throughput_mbps is None or measure == "throughput":
            return self.throughput_mbps
        return self.throughput_mbps * 1e6 / 8 / self.size


@dataclass(frozen=True)
class Planned:
    """One trial to do. `number` counts from 0 through the run; a `round` has each combination once."""

    number: int
    round: int
    combination: Combination

    def named(self) -> dict[str, Any]:
        """Which trial it is."""
        return {
            "number": self.number,
            "round": self.round,
            "system": self.combination.system,
            "factors": dict(self.combination.factors),
            "size": self.combination.case.size,
        }
