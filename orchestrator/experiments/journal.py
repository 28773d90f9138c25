"""What every run does whatever it measures: trials written down and told, invalid ones repeated, a result."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from orchestrator.experiments import environment, steadiness, tables, validity
from orchestrator.experiments.books import BOOKS_DIFFER
from orchestrator.experiments.definitions import Level, Options
from orchestrator.experiments.files import (
    FORMAT,
    append_line,
    replacing,
    stamped,
    whole_lines,
    write_json,
)
from orchestrator.experiments.processes import TrialFailed
from orchestrator.experiments.result import Judged, Outcome, Result, invalidated, told
from orchestrator.experiments.schedule import TimeLeft
from orchestrator.experiments.series import Series

log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
"""Told {"phase": "calibration" | "trials" | "result", "done", "total", "seconds_left", "trial": {...} |
None}; with "happened" too, as the last time, when something did meanwhile. And of each trial that was done
{"kept": {"system", "valid", "balanced", "factors": in words, "summary"}}."""
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
    series: Series | None = None

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


class Numbered(Protocol):
    """A trial to do; no two of a run have the same number."""

    @property
    def number(self) -> int: ...


P = TypeVar("P", bound=Numbered)
R = TypeVar("R", bound=TrialRecord)


def seed_of(directory: Path, options: Options) -> int:
    """The seed of a run: the one that it began with, the one asked for, or a new one."""
    path = directory / "definition.json"
    if path.exists():
        return int(json.loads(path.read_bytes())["seed"])
    return options.seed if options.seed is not None else random.SystemRandom().randrange(2**31)


class Journal(Generic[R]):
    """The directory of one run, and those who follow it. `guess_s`: how long a trial may take.

    A run that was interrupted goes on where it stopped: what stands in trials.jsonl as `kind` is not done
    again.
    """

    def __init__(self, directory: Path, report: Report, guess_s: float, kind: type[R]) -> None:
        self.directory = directory
        self.trials: list[R] = []
        self.left = TimeLeft(guess_s)
        self._report = report
        self._kind = kind
        self._told: dict[str, Any] = {}
        self._before: dict[int, deque[R]] = defaultdict(deque)

    def begin(self, definition: BaseModel, options: Options, seed: int) -> None:
        """Writes down what will be done; where it stands already, reads what has been done.

        Raises TrialFailed when what was begun is something else, or cannot be read.
        """
        path = self.directory / "definition.json"
        planned = stamped(
            {
                "definition": definition.model_dump(mode="json"),
                "options": options.model_dump(mode="json"),
                "seed": seed,
            }
        )
        if not path.exists():
            write_json(path, planned)
            return
        if stamped(json.loads(path.read_bytes())) != planned:
            raise TrialFailed(
                f"the run cannot go on: the experiment is not what it was when the run began ({path})"
            )
        try:
            for line in whole_lines(self.directory / "trials.jsonl").splitlines():
                trial = self._kind.model_validate_json(line)
                if not trial.failed:
                    self._before[trial.number].append(trial)
        except ValueError as error:
            raise TrialFailed(f"the run cannot go on: {self.directory / 'trials.jsonl'}: {error}") from error

    def surroundings(self, now: dict[str, Any]) -> dict[str, Any]:
        """The environment when the run began: as it was written down then, or `now`."""
        path = self.directory / "environment.json"
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_bytes())["before"]
            return found
        write_json(path, stamped({"before": now}))
        return now

    async def once(self, planned: P, do: Callable[[P], Awaitable[R]]) -> R:
        """The trial that was planned: as it stands in the journal from before, else done now."""
        if not self._before[planned.number]:
            return await do(planned)
        self.trials.append(self._before[planned.number].popleft())
        return self.trials[-1]

    def progress(self, phase: str, done: int, total: int, seconds_left: float) -> None:
        """Tells how far the run is."""
        self._told = {
            "phase": phase,
            "done": done,
            "total": total,
            "seconds_left": seconds_left,
            "trial": self.trials[-1].summary() if self.trials else None,
        }
        self._report(self._told)

    def happened(self, what: str) -> None:
        """Tells of an event of the trial under way, if it has been told that there is one."""
        if self._told:
            self._report({**self._told, "happened": what})

    def keep(self, trial: R) -> R:
        """Writes a trial down. One that failed is the last line, and is not among `trials`."""
        line = stamped(trial) | {"factors": dict(trial.level())}
        append_line(self.directory / "trials.jsonl", line)
        balanced = not any(reason.startswith(BOOKS_DIFFER) for reason in trial.reasons)
        self._report(
            {
                "kept": {
                    **{"system": trial.system, "valid": trial.valid, "balanced": balanced},
                    **{"factors": told(trial.level()), "summary": trial.summary()},
                }
            }
        )
        if not trial.failed:
            self.trials.append(trial)
            if not trial.valid:
                log.warning("%s", trial.verdict() + "; ".join(trial.reasons))
        return trial

    async def repeat(
        self, planned: Iterable[P], total: int, do: Callable[[P], Awaitable[R]], repeated: float
    ) -> None:
        """Does every planned trial, at most `total`, and invalid ones again, each once, up to this fraction
        of all (and at least 3). The decision looks at validity only."""
        again = max(3, round(repeated * total))
        for done, one in enumerate(planned):
            self.progress("trials", done, total, self.left.seconds(total - done))
            trial = await self.once(one, do)
            self.left.took(trial.seconds)
            if not trial.valid and again > 0:
                # Beside the invalid one, which stays in the record and in the count.
                again -= 1
                await self.once(one, do)

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
        self.progress("result", len(self.trials), len(self.trials), 1.0)
        changed = environment.changes(before, after)
        void = validity.environment_problems(changed)
        if void:
            outcomes = [invalidated(one) for one in outcomes]
        judged = judge(outcomes)
        described = {
            "format": FORMAT,
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
            profile=options.profile if experiment.source else None,
            verdict=judged.verdict,
            environment=described,
            rows=judged.rows,
            ratios=judged.ratios,
            figure=f"{self.directory.parent.name}/{self.directory.name}/figure.png",
        )
        write_json(self.directory / "environment.json", {**described, "after": after})
        write_json(self.directory / "outcomes.json", stamped({"outcomes": [asdict(one) for one in outcomes]}))
        await asyncio.to_thread(self._write_tables)
        figure = self.directory / "figure.png"
        await asyncio.to_thread(draw, result, outcomes, experiment.title, experiment.source, figure)
        # The last one: a directory that has it has them all.
        write_json(self.directory / "result.json", result)
        return result

    def _write_tables(self) -> None:
        """Trials and series once more, for spreadsheets and data frames."""
        lines = tables.trial_lines(self.directory)
        for name, rows in (("trials", tables.trials(lines)), ("series", tables.series(lines))):
            for form, made in tables.FORMS.items():
                with replacing(self.directory / f"{name}.{form}") as file:
                    file.write(made(rows))

    def _invalid_notes(self, most: int = 5) -> list[str]:
        bad = [trial for trial in self.trials if not trial.valid]
        notes = [trial.verdict() + trial.reasons[0] for trial in bad[:most]]
        more = [f"{len(bad) - most} more invalid trials: see trials.jsonl"] if len(bad) > most else []
        return notes + more
