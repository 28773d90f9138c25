"""Calibration of the profile `scaled`: rings that conventional forwarding just fills, without a budget, and
the queue with which it does under load what the paper's did."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace

from orchestrator.experiments.calibration import Calibration, Flows, Point, Report, curve_error
from orchestrator.experiments.case import MAX_RATE_MBPS, Site
from orchestrator.experiments.plan import Plan
from orchestrator.experiments.schedule import Planned
from orchestrator.experiments.search import RateSearch
from orchestrator.experiments.trial import Carried, Trial, run_trial
from orchestrator.experiments.workloads import Setting, Target, TrialFailed


class _Rings:
    """Trials of conventional I/O at rates that are tried, and what they said."""

    def __init__(self, target: Target, plan: Plan, flows: Flows) -> None:
        self.target, self.plan, self.flows = target, plan, flows
        self.points: list[Point] = []
        self.seconds = 0.0
        self._probe = probe_plan(plan)

    def setting(self, rate: float, queue: int | None = None) -> Setting:
        """`queue` None: long enough for certain."""
        definition = self.target.definition
        return Setting(
            ring_mbps=rate * definition.ring_mbps / definition.offered_mbps,
            offered_mbps=rate,
            quota_us=None,
            period_us=self.plan.cpu_period_us,
            queue_datagrams=queue
            or self.plan.loaded_queue(rate, definition.datagram_bytes, max(definition.hogs)),
        )

    async def measure(self, setting: Setting, hogs: int) -> Trial:
        """One short trial of conventional I/O; it is a point of the calibration."""
        planned = Planned(len(self.points), 0, self.target.definition.claim.to, hogs)
        trial = await run_trial(self.target, planned, setting, self._probe, self.flows())
        self.seconds = trial.seconds
        self.points.append(
            Point.of(
                setting,
                hogs,
                trial.throughput_mbps or 0.0,
                loss=trial.loss,
                limited_by=bottleneck(trial, self.plan.sustained_loss, self.target),
            )
        )
        return trial

    async def limit(self, setting: Setting, hogs: int) -> str | None:
        """What kept this setting from being carried, as `bottleneck` says; None if an attempt carried it."""
        for _ in range(self.plan.search_attempts):
            await self.measure(setting, hogs)
            if self.points[-1].limited_by is None:
                break
        return self.points[-1].limited_by

    async def fitting_queue(self, setting: Setting, report: Report) -> tuple[int, float]:
        """The shortest capacity with which conventional I/O under load fits the paper's curve about as well
        as with any, and its error. Too short a queue empties in its turn, and who sleeps gets more than a
        share of the CPU; too long a one is cold in the caches."""
        loads = [point for point in self.plan.curve if point[0] > 0]
        rounds = range(self.plan.queue_rounds)
        ring = self.target.definition.ring_mbps * setting.offered_mbps / self.target.definition.offered_mbps
        found: dict[tuple[int, int], float] = defaultdict(float)
        left = len(rounds) * len(loads) * len(self.plan.queue_choices)
        for _, (hogs, _), choice in itertools.product(rounds, loads, self.plan.queue_choices):
            trial = await self.measure(replace(setting, queue_datagrams=choice), hogs)
            found[choice, hogs] += (trial.throughput_mbps or 0.0) / ring / len(rounds)
            left -= 1
            self.tell(report, left + 1)
        errors = {
            choice: curve_error([(found[choice, hogs], share) for hogs, share in loads])
            for choice in self.plan.queue_choices
        }
        enough = min(errors.values()) + self.plan.queue_close
        shortest = min(choice for choice in errors if errors[choice] <= enough)
        return shortest, errors[shortest]

    def tell(self, report: Report, left: int) -> None:
        report(len(self.points), len(self.points) + left, left * self.seconds)


async def find_rings(target: Target, plan: Plan, flows: Flows, report: Report) -> Calibration:
    """The rings at which conventional forwarding, with the whole CPU, just reaches the paper's share, as far
    as source and wire can fill them whatever the load on the forwarder's host."""
    definition = target.definition
    share = definition.offered_mbps / definition.ring_mbps
    most = min(plan.search_max_mbps, MAX_RATE_MBPS * share)
    search = RateSearch(plan.search_start_mbps, most, plan.search_resolution)
    rings = _Rings(target, plan, flows)
    limited_by: str | None = None
    queue_steps = plan.queue_rounds * len(plan.queue_choices) * (len(plan.curve) - 1)
    while not search.done:
        rate = search.rate
        limit = await rings.limit(rings.setting(rate), 0)
        if limit is not None and rate < search.failed:
            limited_by = limit
        search.tell(rate, limit is None)
        rings.tell(report, search.steps_left + 2 + queue_steps)
    if not search.best:
        raise TrialFailed(f"{definition.claim.to} sustains no rate on this machine (limited by {limited_by})")
    rate = search.best
    if limited_by in (None, "forwarder"):
        notes = []
    else:
        notes = [f"scaled: the {limited_by} gave out at {rate:.0f} Mb/s, before conventional forwarding"]
    # A load on the forwarder's host is felt by its neighbours on this machine too.
    while (limit := await rings.limit(rings.setting(rate), max(definition.hogs))) not in (None, "forwarder"):
        notes.append(f"scaled: with {max(definition.hogs)} hogs the {limit} gave out at {rate:.0f} Mb/s")
        rate *= plan.step_down
        if rate < plan.search_start_mbps:
            raise TrialFailed(f"the {limit} cannot hold {rate:.0f} Mb/s with {max(definition.hogs)} hogs")
    if notes:
        rate *= plan.headroom
        notes.append(f"scaled: {plan.headroom:.0%} of that is offered, for source and wire to keep up")
    queue, error = await rings.fitting_queue(rings.setting(rate), report)
    while (limit := await rings.limit(rings.setting(rate, queue), 0)) is not None:
        notes.append(f"scaled: with queues of {queue} datagrams the {limit} gave out at {rate:.0f} Mb/s")
        rate *= plan.step_down
        if rate < plan.search_start_mbps:
            raise TrialFailed(f"{definition.claim.to} sustains no rate with queues of {queue} datagrams")
    setting = rings.setting(rate, queue)
    k = rate / definition.offered_mbps
    return Calibration(
        profile="scaled",
        system=definition.claim.to,
        ring_mbps=setting.ring_mbps,
        offered_mbps=rate,
        quota_us=None,
        period_us=plan.cpu_period_us,
        queue_datagrams=queue,
        error=round(error, 4),
        k=k,
        points=rings.points,
        notes=[
            f"scaled: rings of {setting.ring_mbps:.0f} Mb/s, {k:.1f} times the paper's",
            f"scaled: queues of {queue} datagrams, with which {definition.claim.to} fits the curve best",
            *notes,
        ],
    )


def probe_plan(plan: Plan) -> Plan:
    """The plan of one step of a search: a short trial."""
    return replace(plan, warmup_s=min(0.2, plan.warmup_s), measured_s=plan.search_step_s)


def bottleneck(trial: Carried, tolerated_loss: float, site: Site) -> str | None:
    """What kept a rate from being carried: source, sink, wire, forwarder or books; None when it was
    carried."""
    reasons = " ".join(trial.reasons)
    if "the sink was the bottleneck" in reasons:
        return "sink"
    if "the source was the bottleneck" in reasons or "offered load missed" in reasons:
        return "source"
    if trial.loss is not None and trial.loss <= tolerated_loss and trial.valid:
        return None
    if trial.books is None or not trial.books.balanced:
        return "books"
    networks = tuple(f"{name}." for name in site.way.networks)
    wire = sum(count for place, count in trial.books.drops.items() if place.startswith(networks))
    return "wire" if wire * 2 > sum(trial.books.drops.values()) else "forwarder"
