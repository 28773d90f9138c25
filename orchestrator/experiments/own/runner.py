"""Executes a user's experiment on a deployed lab: trials or searches, rows, files."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.client import Machine
from agents.errors import AgentError
from orchestrator.experiments import environment
from orchestrator.experiments.case import Budget, Site
from orchestrator.experiments.definitions import Options
from orchestrator.experiments.journal import Journal, Report, seed_of
from orchestrator.experiments.measuring import Measuring, stacks
from orchestrator.experiments.own.chart import chart
from orchestrator.experiments.own.experiment import Own
from orchestrator.experiments.own.judge import judge
from orchestrator.experiments.own.plan import FIRST_TRIALS, OwnPlan, estimate, own_plan
from orchestrator.experiments.own.trial import UNITS, OwnTrial, Planned
from orchestrator.experiments.processes import TrialFailed
from orchestrator.experiments.result import Outcome, Result
from orchestrator.experiments.rings import bottleneck
from orchestrator.experiments.schedule import alternate
from orchestrator.experiments.search import side_by_side
from orchestrator.experiments.statistics import median_ci95
from orchestrator.experiments.way import Way


async def execute(
    machine: Machine,
    lab: str,
    experiment: Own,
    options: Options,
    run_dir: Path,
    report: Report,
    plan: OwnPlan | None = None,
) -> Result:
    """Runs a user's experiment on the deployed lab `lab` and writes into `run_dir` (which exists) the files
    of every run (docs/results.md).

    Where `run_dir` has trials already, they are not done again. `plan` None: what the document says. Raises
    TrialFailed, with a message for the user, as `fddi` does. When it returns, raises or is cancelled, no
    workload and no hog of it runs, and the lab's rates and budgets are as before.
    """
    try:
        record = await machine.lab(lab)
        run = _Run(
            Site(machine, lab, _way(record, lab, experiment)),
            record,
            experiment,
            options,
            plan or own_plan(experiment.document, options),
            run_dir,
            report,
        )
        return await run.execute()
    except AgentError as error:
        raise TrialFailed(str(error)) from error


def _way(record: dict[str, Any], lab: str, experiment: Own) -> Way:
    try:
        return Way.of(record, experiment.hosts, experiment.route.crossings, experiment.ports)
    except LookupError as error:
        name = experiment.document.name
        raise TrialFailed(f"lab {lab} does not have what experiment {name} needs: {error}") from None


class _Run:
    def __init__(
        self,
        site: Site,
        record: dict[str, Any],
        experiment: Own,
        options: Options,
        plan: OwnPlan,
        run_dir: Path,
        report: Report,
    ) -> None:
        self._site, self._experiment, self._options, self._plan = site, experiment, options, plan
        seed = experiment.document.plan.seed
        if options.seed is None and seed is not None:
            options = options.model_copy(update={"seed": seed})
        self._seed = seed_of(run_dir, options)
        self._journal = Journal(run_dir, report, plan.warmup_s + plan.measured_s + plan.overhead_s, OwnTrial)
        cases = [one.case for one in experiment.combinations]
        networks = dict.fromkeys(name for case in cases for name in case.rates)
        lossy = dict.fromkeys(name for case in cases for name in case.losses)
        cut = dict.fromkeys(one for case in cases for one in case.cut)
        self._measuring = Measuring(site, record, networks, self._journal, lossy, cut)
        self._touched: dict[str, Budget | None] = {}
        for case in cases:
            self._touched |= dict.fromkeys(case.loaded, None)
        for case in cases:
            self._touched |= case.budgets

    async def execute(self) -> Result:
        self._journal.begin(self._experiment.document, self._options, self._seed)
        before = self._journal.surroundings(await self._describe())
        try:
            outcomes = await (self._measure() if self._plan.search is None else self._search())
        finally:
            await asyncio.shield(self._measuring.restore(self._touched))
        after = await self._describe()
        return await self._journal.conclude(
            self._experiment.document,
            self._options,
            self._seed,
            outcomes,
            (before, after),
            lambda counted: judge(self._experiment, counted, self._seed, self._plan.resamples),
            chart(self._experiment),
            {"stack": stacks(self._journal.trials)},
        )

    async def _describe(self) -> dict[str, Any]:
        return await environment.describe(await self._site.machine.lab(self._site.lab))

    async def _measure(self) -> list[Outcome]:
        total = len(self._experiment.combinations) * self._plan.trials
        await self._journal.repeat(self._planned(), total, self._trial, self._plan.repeated)
        return [
            Outcome(t.round, t.system, t.level(), t.value(measure), t.loss, t.valid, UNITS[measure])
            for measure in self._experiment.document.measures
            for t in self._journal.trials
        ]

    def _planned(self) -> Iterator[Planned]:
        """The trials in order, round by round; with `until`, only of groups that still need them."""
        order = alternate(self._experiment.groups, self._plan.trials, self._seed)
        groups = {one.number: group for group in self._experiment.groups for one in group}
        for number, (round_, one) in enumerate(order):
            if not self._enough(round_, [member.number for member in groups[one.number]]):
                yield Planned(number, round_, one)

    def _enough(self, round_: int, members: list[int]) -> bool:
        """Whether the trials before this round have made every interval of a group narrow."""
        until = self._experiment.document.plan.until
        if until is None or self._plan.width is None or round_ < FIRST_TRIALS:
            return False
        for number in members:
            one = self._experiment.combinations[number]
            values = [
                value
                for trial in self._journal.trials
                if (trial.system, trial.factors) == (one.system, one.factors)
                and trial.valid
                and trial.round < round_
                and (value := trial.value(until.measure)) is not None
            ]
            if len(values) < FIRST_TRIALS:
                return False
            median, (low, high) = median_ci95(values, self._seed, self._plan.resamples)
            if high - low > self._plan.width * (100 if until.measure == "loss" else median):
                return False
        return True

    async def _trial(self, planned: Planned) -> OwnTrial:
        case = planned.combination.case
        return await self._measuring.trial(OwnTrial, planned.named(), case, self._plan)

    async def _search(self) -> list[Outcome]:
        """In each round, one search for each combination; those of a group side by side."""
        assert self._plan.search is not None
        combinations, numbers = self._experiment.combinations, itertools.count()
        found: list[Outcome] = []
        best: dict[int, float] = {}
        groups = [[one.number for one in group] for group in self._experiment.groups]
        guess = estimate(self._experiment, self._options).trials / len(combinations) / self._plan.trials
        for round_, members in _rounds(groups, self._plan.trials, self._seed):

            async def attempt(number: int, rate: float, round_: int = round_) -> str | None:
                one = combinations[number]
                tried = replace(one, case=replace(one.case, rate_mbps=rate))
                trial = await self._journal.once(Planned(next(numbers), round_, tried), self._trial)
                return bottleneck(trial, self._plan.loss, self._site)

            after = len(combinations) * self._plan.trials - len(found) - len(members)

            def told(left: int, after: int = after) -> None:
                done, each = len(self._journal.trials), self._journal.trials[-1].seconds
                more = left + after * guess
                self._journal.progress("trials", done, done + round(more), round(more * each, 1))

            searched = await side_by_side(members, self._plan.search, best, attempt, told)
            for number, one in searched.items():
                cell = combinations[number]
                held = one.mbps > 0
                found.append(
                    Outcome(round_, cell.system, cell.factors, one.mbps, None, held, UNITS["throughput"])
                )
                if one.mbps:
                    best[number] = one.mbps
        return found


def _rounds(groups: list[list[int]], rounds: int, seed: int) -> Iterator[tuple[int, list[int]]]:
    """The groups of each round, in the order in which their trials would be."""
    group_of = {number: at for at, group in enumerate(groups) for number in group}
    ordered = alternate(groups, rounds, seed)
    for (round_, _), members in itertools.groupby(ordered, key=lambda one: (one[0], group_of[one[1]])):
        yield round_, [number for _, number in members]
