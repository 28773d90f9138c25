"""What every run does whatever it measures: trials written down and told, invalid ones repeated, a result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from orchestrator.experiments import environment, steadiness, validity
from orchestrator.experiments.definitions import Level, Options
from orchestrator.experiments.files import append_line, write_json
from orchestrator.experiments.result import Judged, Outcome, Result, invalidated, told
from orchestrator.experiments.schedule import TimeLeft

log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
"""Told {"phase": "calibration" | "trials" | "result", "done", "total", "seconds_left", "trial": {...} |
None}."""
Draw = Callable[[Result, Sequence[Outcome], str, str, Path], None]
"""Draws a result: with its outcomes, the experiment's title and source, into a file."""


class TrialRecord(BaseModel):
    """What every trial says of itself in trials.jsonl. A failed trial has a reason instead of numbers and is
    invalid."""

    number: int
    round: int
    system: str
    started: float
    """Unix time."""
    seconds: float
    """How long it took in all."""
    valid: bool
    reasons: list[str]
    failed: bool = False
    results: dict[str, Any] = {}

    def level(self) -> Mapping[str, Level]:
        """The factors it was done with."""
        raise NotImplementedError

    def summary(self) -> dict[str, Any]:
        """What is worth showing while the run goes on."""
        raise NotImplementedError

    def verdict(self) -> str:
        """One line on an invalid trial."""
        return f"trial {self.number} ({self.system}, {told(self.level())}) is INVALID: "


class Experiment(Protocol):
    """What the result needs to know of a definition."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def source(self) -> str: ...


P = TypeVar("P")
R = TypeVar("R", bound=TrialRecord)


class Journal(Generic[R]):
    """The directory of one run, and those who follow it. `guess_s`: how long a trial may take."""

    def __init__(self, directory: Path, report: Report, guess_s: float) -> None:
        self.directory = directory
        self.trials: list[R] = []
        self.left = TimeLeft(guess_s)
        self._report = report

    def begin(self, definition: BaseModel, options: Options, seed: int) -> None:
        """Writes down what will be done."""
        write_json(
            self.directory / "definition.json",
            {
                "definition": definition.model_dump(mode="json"),
                "options": options.model_dump(mode="json"),
                "seed": seed,
            },
        )

    def progress(self, phase: str, done: int, total: int, seconds_left: float) -> None:
        """Tells how far the run is."""
        self._report(
            {
                "phase": phase,
                "done": done,
                "total": total,
                "seconds_left": seconds_left,
                "trial": self.trials[-1].summary() if self.trials else None,
            }
        )

    def keep(self, trial: R) -> R:
        """Writes a trial down. One that failed is the last line, and is not among `trials`."""
        append_line(self.directory / "trials.jsonl", trial)
        if not trial.failed:
            self.trials.append(trial)
            if not trial.valid:
                log.warning("%s", trial.verdict() + "; ".join(trial.reasons))
        return trial

    async def repeat(self, planned: Sequence[P], do: Callable[[P], Awaitable[R]], repeated: float) -> None:
        """Does every planned trial, and invalid ones again, each once, up to this fraction of all (and at
        least 3). The decision looks at validity only."""
        total = len(planned)
        again = max(3, round(repeated * total))
        for done, one in enumerate(planned):
            self.progress("trials", done, total, self.left.seconds(total - done))
            trial = await do(one)
            self.left.took(trial.seconds)
            if not trial.valid and again > 0:
                # Beside the invalid one, which stays in the record and in the count.
                again -= 1
                await do(one)

    async def conclude(
        self,
        experiment: Experiment,
        options: Options,
        seed: int,
        outcomes: list[Outcome],
        surroundings: tuple[dict[str, Any], dict[str, Any]],
        judge: Callable[[list[Outcome]], Judged],
        draw: Draw,
        extra: dict[str, Any],
        notes: Sequence[str] = (),
    ) -> Result:
        """Judges the outcomes and writes result, environment (before and after, and `extra`) and figure."""
        before, after = surroundings
        self.progress("result", len(outcomes), len(outcomes), 1.0)
        changed = environment.changes(before, after)
        void = validity.environment_problems(changed)
        if void:
            outcomes = [invalidated(one) for one in outcomes]
        judged = judge(outcomes)
        described = {
            "before": before,
            "after": {key: after[key] for key in environment.VOLATILE if key in after},
            "changed": changed,
            **extra,
            "options": options.model_dump(mode="json"),
            "seed": seed,
            "notes": [
                *judged.notes,
                *void,
                *steadiness.notes(before, after),
                *notes,
                *self._invalid_notes(),
            ],
        }
        result = Result(
            experiment=experiment.name,
            profile=options.profile,
            verdict=judged.verdict,
            environment=described,
            rows=judged.rows,
            ratios=judged.ratios,
            figure=f"{self.directory.parent.name}/{self.directory.name}/figure.png",
        )
        write_json(self.directory / "environment.json", {**described, "after": after})
        figure = self.directory / "figure.png"
        await asyncio.to_thread(draw, result, outcomes, experiment.title, experiment.source, figure)
        write_json(self.directory / "result.json", result)
        return result

    def _invalid_notes(self, most: int = 5) -> list[str]:
        bad = [trial for trial in self.trials if not trial.valid]
        notes = [trial.verdict() + trial.reasons[0] for trial in bad[:most]]
        more = [f"{len(bad) - most} more invalid trials: see trials.jsonl"] if len(bad) > most else []
        return notes + more
