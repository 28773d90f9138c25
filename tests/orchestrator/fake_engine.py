"""Experiments without traffic, for everything above them."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.errors import Problem
from orchestrator.shipped import as_json
from orchestrator.store import Run
from tests.orchestrator.fakes import PNG, Json
from topologies import resolve


def result_of(experiment: str, verdict: str) -> Json:
    """A result in the fixed shape."""
    return {
        "experiment": experiment,
        "profile": "period",
        "verdict": verdict,
        "environment": {"kernel": "6.1"},
        "rows": [
            {
                "system": "linux-batch",
                "factors": {"hogs": 3},
                "published": 25.0,
                "unit": "Mb/s",
                "trials": 7,
                "invalid_trials": 1,
                "median": 17.25,
                "ci95": [16.5, 18.0],
                "loss": 0.81,
            },
            {
                "system": "shipping",
                "factors": {"hogs": 0},
                "published": None,
                "unit": "Mb/s",
                "trials": 7,
                "invalid_trials": 0,
                "median": 93.0,
                "ci95": [92.9, 93.0],
                "loss": 0.0,
            },
        ],
        "ratios": [
            {
                "of": "shipping",
                "to": "linux-batch",
                "factors": {"hogs": 3},
                "published": 1.3,
                "median": 1.9,
                "ci95": [1.7, 2.1],
            }
        ],
        "figure": "runs/x/figure.png",
    }


class FakeEngine:
    """Experiments by how they behave: fddi, invalid, broken, full, endless. Told to go on, endless ends."""

    def __init__(self) -> None:
        self.at_once = 0
        self.most_at_once = 0
        self.done: list[str] = []

    def experiments(self) -> list[Json]:
        return [
            {
                "name": "fddi",
                "title": "t",
                "source": "s",
                "topologies": {"period": "two-fddi"},
                "systems": ["linux"],
                "definition": {},
            }
        ]

    def systems(self) -> list[Json]:
        return [{"name": "linux", "summary": "what Unix programs do"}]

    def topology(self, experiment: str, options: Mapping[str, Any]) -> Json:
        if experiment not in ("fddi", "invalid", "broken", "full", "endless"):
            raise Problem(
                422, f"experiment: there is no experiment {experiment!r}; there are fddi", "experiment"
            )
        return as_json(resolve("two-fddi"))

    def estimate(self, experiment: str, options: Mapping[str, Any]) -> Json:
        self.topology(experiment, options)
        return {"combinations": 2, "trials": 2, "seconds": 75.0}

    async def execute(
        self, machine: Any, lab: str, run: Run, directory: Path, report: Callable[[Json], None]
    ) -> str:
        assert lab in machine.deployed
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._execute(run, directory, report)
        finally:
            self.at_once -= 1
            self.done.append(run.id)

    async def _execute(self, run: Run, directory: Path, report: Callable[[Json], None]) -> str:
        report({"phase": "trials", "done": 0, "total": 2, "seconds_left": 0.2})
        if run.experiment == "endless" and run.id not in self.done:
            await asyncio.Event().wait()
        if run.experiment == "broken":
            raise ZeroDivisionError("nothing was sent")
        if run.experiment == "full":
            raise OSError(28, "No space left on device")
        for done in (1, 2):
            await asyncio.sleep(0)
            with (directory / "trials.jsonl").open("a") as trials:
                trials.write(json.dumps({"trial": done}) + "\n")
            trial: Json = {"number": done, "system": "linux", "hogs": 0, "valid": True, "reasons": []}
            trial |= {"throughput_mbps": 91.5 + done, "loss": 0.25}
            kept = {"system": "linux", "valid": True, "balanced": True, "factors": "0 hogs", "summary": trial}
            report({"kept": kept})
            report({"phase": "trials", "done": done, "total": 2, "seconds_left": 0.1, "trial": trial})
        verdict = "invalid" if run.experiment == "invalid" else "reproduced"
        (directory / "result.json").write_text(json.dumps(result_of(run.experiment, verdict)))
        (directory / "figure.png").write_bytes(PNG)
        return verdict
