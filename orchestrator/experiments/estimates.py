"""How long a run of a shipped experiment will take, before it begins."""

from __future__ import annotations

from orchestrator.experiments.definitions import Definition, Options
from orchestrator.experiments.local.definition import LocalDefinition
from orchestrator.experiments.local.plan import local_plan
from orchestrator.experiments.own.plan import BESIDE_S, Estimate
from orchestrator.experiments.plan import Plan, TrialPlan, plan_for

SEARCH_STEPS = 10
"""Guess of the trials that one search takes."""


def shipped(definition: Definition | LocalDefinition, options: Options) -> Estimate:
    """How much a run of it will be. Of a search, and of calibration, the time is a guess."""
    if isinstance(definition, LocalDefinition):
        cells = sum(len(group) for group in definition.groups())
        return _estimate(cells, 1, local_plan(options), 0.0)
    plan, systems = plan_for(options), len(definition.systems)
    if options.profile == "modern":
        return _estimate(systems * len(definition.modern_hogs), SEARCH_STEPS, plan, 0.0)
    return _estimate(systems * len(definition.hogs), 1, plan, _calibration_s(plan, options))


def _estimate(cells: int, each: int, plan: TrialPlan, before_s: float) -> Estimate:
    trials = cells * plan.trials * each
    seconds = trials * (plan.warmup_s + plan.measured_s + plan.overhead_s)
    return Estimate(cells, trials, round(BESIDE_S + before_s + seconds, 1))


def _calibration_s(plan: Plan, options: Options) -> float:
    if options.profile == "period":
        points = plan.budget_steps + len(plan.budget_around) * len(plan.curve)
        return points * (plan.probe_settle_s + plan.probe_s)
    queues = plan.queue_rounds * len(plan.queue_choices) * (len(plan.curve) - 1)
    return (SEARCH_STEPS + queues) * (plan.search_step_s + plan.overhead_s)
