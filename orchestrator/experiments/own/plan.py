"""How the trials of a user's experiment are done, and how long that takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.experiments.definitions import Options
from orchestrator.experiments.own.document import Document
from orchestrator.experiments.own.experiment import Own
from orchestrator.experiments.plan import ForwardingPlan
from orchestrator.experiments.search import Bounds

QUICK_WARMUP_S, QUICK_S, QUICK_RESOLUTION = 0.3, 1.0, 0.25
BESIDE_S = 6.0
"""Guess of what a run takes beside its trials: its lab, and looking at the machine twice."""
HOST_S = 0.01
"""Guess of what each host of the lab takes."""
FIRST_TRIALS = 3
"""Before an interval has been made of so many trials it is not believed."""


@dataclass(frozen=True)
class OwnPlan(ForwardingPlan):
    """`search` None: trials at the rates given."""

    search: Bounds | None = None
    loss: float = 0.0
    width: float | None = None
    """With one, rounds are added until every interval is narrower, `trials` at most."""


def own_plan(document: Document, options: Options) -> OwnPlan:
    """The plan of a run: `quick` is one short trial each. A trial in which something happens keeps its
    length."""
    written, search = document.plan, document.search
    quick = options.quick
    bounds = None
    if search is not None:
        bounds = Bounds(
            search.start,
            search.most,
            max(search.resolution, QUICK_RESOLUTION) if quick else search.resolution,
            1 if quick else search.attempts,
            search.least,
        )
    return OwnPlan(
        trials=options.trials or (1 if quick else written.trials),
        warmup_s=min(written.warmup, QUICK_WARMUP_S) if quick else written.warmup,
        measured_s=min(written.duration, QUICK_S) if quick and not document.events else written.duration,
        drain_s=written.drain,
        search=bounds,
        loss=search.loss if search else 0.0,
        width=written.until.width if written.until else None,
    )


@dataclass(frozen=True)
class Estimate:
    """How much a run is: its trials (at most, or about as many in a search), and seconds in all."""

    combinations: int
    trials: int
    seconds: float


def estimate(experiment: Own, options: Options) -> Estimate:
    """How much a run of this experiment will be."""
    plan = own_plan(experiment.document, options)
    cells = len(experiment.combinations)
    trials = cells * plan.trials
    if plan.search is not None:
        # Doubling to a rate that fails, then halving the gap; half of the steps fail, each as often as asked.
        doubling = math.log2(max(2.0, plan.search.most / plan.search.start)) / 2
        halving = math.log2(math.log(2) / math.log1p(plan.search.resolution))
        trials *= math.ceil((doubling + max(halving, 1.0)) * (1 + plan.search.attempts) / 2)
    each = plan.warmup_s + plan.measured_s + plan.overhead_s
    return Estimate(
        cells, trials, round(BESIDE_S + HOST_S * len(experiment.topology.hosts) + trials * each, 1)
    )
