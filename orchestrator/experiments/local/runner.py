"""Executes an experiment within one host on a deployed lab: trials, judgement, files."""

from __future__ import annotations

import itertools
import time
from functools import partial
from pathlib import Path

from agents.client import Machine
from agents.errors import AgentError
from orchestrator.experiments import environment
from orchestrator.experiments.definitions import Options
from orchestrator.experiments.figure import Axis, draw
from orchestrator.experiments.journal import Journal, Report, seed_of
from orchestrator.experiments.local.definition import LocalDefinition
from orchestrator.experiments.local.judge import judge
from orchestrator.experiments.local.plan import LocalPlan, local_plan
from orchestrator.experiments.local.scenes import SCENES
from orchestrator.experiments.local.trial import LocalTrial, Place, Planned, recorded, run_trial
from orchestrator.experiments.processes import TrialFailed
from orchestrator.experiments.result import Outcome, Result
from orchestrator.experiments.schedule import alternate


async def execute(
    machine: Machine,
    lab: str,
    definition: LocalDefinition,
    options: Options,
    run_dir: Path,
    report: Report,
    plan: LocalPlan | None = None,
) -> Result:
    """Runs `definition` on the deployed lab `lab` and writes into `run_dir` (which exists) the files of
    every run (docs/results.md).

    `plan` None: what `local_plan(options)` says. Raises TrialFailed, with a message for the user, when a
    workload is refused or an agent dies; the trial it happened in is the last line of trials.jsonl. When it
    returns, raises or is cancelled, no workload of it runs.
    """
    plan = plan or local_plan(options)
    seed = seed_of(run_dir, options)
    order = alternate(definition.groups(), plan.trials, seed)
    planned = [Planned(number, round_, cell) for number, (round_, cell) in enumerate(order)]
    guess_s = plan.warmup_s + plan.measured_s + plan.overhead_s
    journal = Journal(run_dir, report, guess_s, LocalTrial)
    journal.begin(definition, options, seed)
    # A repeated trial has the number of the one it repeats, but its channels are its own.
    numbers = itertools.count()
    try:
        place = Place.of(machine, lab, await machine.lab(lab), definition)
        async with SCENES[definition.scene](definition, place) as scene:

            async def trial(one: Planned) -> LocalTrial:
                try:
                    return journal.keep(await run_trial(scene, one, next(numbers), plan))
                except (TrialFailed, AgentError) as error:
                    journal.keep(recorded(one, time.time(), 0.0, None, str(error)))
                    raise

            before = journal.surroundings(await environment.describe(await machine.lab(lab)))
            await journal.repeat(planned, len(planned), trial, plan.repeated)
            after = await environment.describe(await machine.lab(lab))
            missed = scene.missed([trial for trial in journal.trials if trial.valid])
    except AgentError as error:
        raise TrialFailed(str(error)) from error
    outcomes = [Outcome(t.round, t.system, t.factors, t.value, None, t.valid) for t in journal.trials]
    axis = Axis(definition.figure.across, definition.figure.label, f"Throughput, {definition.unit}")
    return await journal.conclude(
        definition,
        options,
        seed,
        outcomes,
        (before, after),
        lambda counted: judge(definition, counted, missed, seed, plan.resamples),
        partial(draw, axis=axis),
        {},
    )
