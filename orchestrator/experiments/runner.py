"""Executes an experiment on a deployed lab: calibration, trials, judgement, files."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from agents.client import Machine
from agents.errors import AgentError
from orchestrator.experiments import environment
from orchestrator.experiments.calibration import Calibration
from orchestrator.experiments.case import Budget
from orchestrator.experiments.definitions import Definition, Options
from orchestrator.experiments.figure import draw, forwarding_axis
from orchestrator.experiments.files import stamped, write_json
from orchestrator.experiments.journal import Journal, Report, seed_of
from orchestrator.experiments.measuring import Measuring, stacks
from orchestrator.experiments.media import other_media
from orchestrator.experiments.modern import Highest, highest_rates
from orchestrator.experiments.plan import Plan, plan_for
from orchestrator.experiments.profiles import calibrate
from orchestrator.experiments.result import Outcome, Result, judge
from orchestrator.experiments.schedule import Planned, schedule
from orchestrator.experiments.trial import Trial, named
from orchestrator.experiments.workloads import Setting, Target, TrialFailed


async def execute(
    machine: Machine,
    lab: str,
    definition: Definition,
    options: Options,
    run_dir: Path,
    report: Report,
    plan: Plan | None = None,
) -> Result:
    """Runs `definition` on the deployed lab `lab` and writes into `run_dir` (which exists) calibration.json
    and the files of every run (docs/results.md).

    `plan` None: what `plan_for(options)` says. Raises TrialFailed, with a message for the user, when a
    workload or an agent dies or refuses; the trial it happened in is the last line of trials.jsonl. When it
    returns, raises or is cancelled, no workload and no hog of it runs, and the lab's rates and budget are as
    before.
    """
    try:
        record = await machine.lab(lab)
        run = _Run(
            Target.of(machine, lab, record, definition),
            record,
            options,
            plan or plan_for(options),
            run_dir,
            report,
        )
        return await run.execute()
    except AgentError as error:
        raise TrialFailed(str(error)) from error


class _Run:
    def __init__(
        self,
        target: Target,
        record: dict[str, Any],
        options: Options,
        plan: Plan,
        run_dir: Path,
        report: Report,
    ) -> None:
        self._target, self._options, self._plan = target, options, plan
        self._definition = target.definition
        self._media = other_media(record, self._definition, options.profile)
        self._seed = seed_of(run_dir, options)
        self._journal = Journal(run_dir, report, plan.warmup_s + plan.measured_s + plan.overhead_s, Trial)
        self._measuring = Measuring(target, record, target.way.networks, self._journal)
        self._planned = schedule(
            self._definition.systems, self._definition.hogs, self._plan.trials, self._seed
        )

    async def execute(self) -> Result:
        self._journal.begin(self._definition, self._options, self._seed)
        try:
            calibration = await self._calibrate()
            await self._target.apply(calibration.setting())
            before = self._journal.surroundings(
                await environment.describe(await self._target.machine.lab(self._target.lab))
            )
            outcomes = await self._measure(calibration)
            after = await environment.describe(await self._target.machine.lab(self._target.lab))
        finally:
            middle = {self._definition.path.forwarder: Budget(None, self._plan.cpu_period_us)}
            await asyncio.shield(self._measuring.restore(middle))
        return await self._conclude(calibration, outcomes, before, after)

    async def _calibrate(self) -> Calibration:
        journal, trials = self._journal, len(self._planned)
        path = journal.directory / "calibration.json"
        if path.exists():
            # A run that goes on keeps the setting that it began with.
            return Calibration.model_validate_json(path.read_bytes())
        journal.progress("calibration", 0, 1, journal.left.seconds(trials))

        def step(done: int, total: int, seconds: float) -> None:
            journal.progress("calibration", done, total, seconds + journal.left.seconds(trials))

        calibration = await calibrate(
            self._target, self._options.profile, self._plan, self._measuring.flow, step
        )
        write_json(path, stamped(calibration))
        return calibration

    async def _measure(self, calibration: Calibration) -> list[Outcome]:
        setting = calibration.setting()
        if self._options.profile == "modern":
            return await self._search(setting, calibration)
        await self._journal.repeat(
            self._planned,
            len(self._planned),
            lambda planned: self._trial(planned, setting, self._plan),
            self._plan.repeated,
        )
        ring = calibration.ring_mbps or self._definition.ring_mbps
        share = 100.0 / ring if self._options.profile == "scaled" else 1.0
        return [
            Outcome(t.round, t.system, t.level(), (t.throughput_mbps or 0.0) * share, t.loss, t.valid)
            for t in self._journal.trials
        ]

    async def _search(self, setting: Setting, calibration: Calibration) -> list[Outcome]:
        def step(steps_left: float) -> None:
            trials = self._journal.trials
            done, each = len(trials), trials[-1].seconds
            self._journal.progress("trials", done, done + round(steps_left), round(steps_left * each, 1))

        async def probe(planned: Planned, setting: Setting, plan: Plan) -> Trial:
            return await self._journal.once(planned, lambda one: self._trial(one, setting, plan))

        found = await highest_rates(self._target, setting, self._plan, probe, step)
        calibration.notes += _lower_bounds(found)
        return [
            Outcome(one.round, one.system, {"hogs": one.hogs}, one.mbps, 0.0, one.mbps > 0) for one in found
        ]

    async def _trial(self, planned: Planned, setting: Setting, plan: Plan) -> Trial:
        case = self._target.case(setting, planned.system, planned.hogs)
        return await self._measuring.trial(Trial, named(planned), case, plan)

    async def _conclude(
        self, calibration: Calibration, outcomes: list[Outcome], before: dict[str, Any], after: dict[str, Any]
    ) -> Result:
        profile, resamples = self._options.profile, self._plan.resamples
        return await self._journal.conclude(
            self._definition,
            self._options,
            self._seed,
            outcomes,
            (before, after),
            lambda counted: judge(self._definition, profile, counted, self._seed, resamples),
            partial(draw, axis=forwarding_axis(profile)),
            {"calibration": calibration.model_dump(mode="json"), "stack": stacks(self._journal.trials)},
            [*self._media, *calibration.notes],
        )


def _lower_bounds(found: list[Highest]) -> list[str]:
    """In `modern` the source or the wire may give out before the system does."""
    limits: dict[tuple[str, int], set[str]] = {}
    for one in found:
        if one.limited_by not in (None, "forwarder"):
            limits.setdefault((one.system, one.hogs), set()).add(str(one.limited_by))
    return [
        f"modern: {system} with {hogs} hogs may carry more than measured: first failed the "
        f"{', the '.join(sorted(what))}"
        for (system, hogs), what in limits.items()
    ]
