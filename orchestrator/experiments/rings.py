"""Calibration of the profile `scaled`: rings that conventional forwarding just fills, without a budget, and
the queue that it needs."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.experiments.calibration import Calibration, Flows, Point, Report
from orchestrator.experiments.plan import Plan
from orchestrator.experiments.schedule import Planned
from orchestrator.experiments.search import RateSearch
from orchestrator.experiments.trial import Trial, run_trial
from orchestrator.experiments.workloads import MAX_RING_MBPS, Setting, Target, TrialFailed


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
            Point(
                quota_us=None,
                period_us=setting.period_us,
                hogs=hogs,
                ring_mbps=setting.ring_mbps,
                offered_mbps=setting.offered_mbps,
                queue_datagrams=setting.queue_datagrams,
                throughput_mbps=round(trial.throughput_mbps or 0.0, 2),
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

    async def shortest_queue(self, setting: Setting, report: Report) -> int:
        """The shortest capacity with which conventional I/O forwards, under load, next to as much as with the
        best one; each load counts alike. Too short a queue loses what comes while others have the CPU; too
        long a one is cold in the caches, and holds no more of what a forwarder can pass on."""
        loads = [point for point in self.plan.curve if point[0] > 0]
        score = dict.fromkeys(self.plan.queue_choices, 0.0)
        left = len(loads) * len(score)
        for hogs, share in loads:
            for choice in score:
                trial = await self.measure(replace(setting, queue_datagrams=choice), hogs)
                score[choice] += (trial.throughput_mbps or 0.0) / share
                left -= 1
                self.tell(report, left + 1)
        enough = self.plan.queue_enough * max(score.values())
        return min(choice for choice in score if score[choice] >= enough)

    def tell(self, report: Report, left: int) -> None:
        report(len(self.points), len(self.points) + left, left * self.seconds)


async def find_rings(target: Target, plan: Plan, flows: Flows, report: Report) -> Calibration:
    """The rings at which conventional forwarding, with the whole CPU, just reaches the paper's share, as far
    as source and wire can fill them whatever the load on the forwarder's host."""
    definition = target.definition
    share = definition.offered_mbps / definition.ring_mbps
    most = min(plan.search_max_mbps, MAX_RING_MBPS * share)
    search = RateSearch(plan.search_start_mbps, most, plan.search_resolution)
    rings = _Rings(target, plan, flows)
    limited_by: str | None = None
    while not search.done:
        rate = search.rate
        limit = await rings.limit(rings.setting(rate), 0)
        if limit is not None and rate < search.failed:
            limited_by = limit
        search.tell(rate, limit is None)
        rings.tell(report, search.steps_left + 2 + len(plan.queue_choices) * (len(plan.curve) - 1))
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
    queue = await rings.shortest_queue(rings.setting(rate), report)
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
        k=k,
        points=rings.points,
        notes=[
            f"scaled: rings of {setting.ring_mbps:.0f} Mb/s, {k:.1f} times the paper's",
            f"scaled: queues of {queue} datagrams, the shortest that {definition.claim.to} needs under load",
            *notes,
        ],
    )


def probe_plan(plan: Plan) -> Plan:
    """The plan of one step of a search: a short trial."""
    return replace(plan, warmup_s=min(0.2, plan.warmup_s), measured_s=plan.search_step_s)


def bottleneck(trial: Trial, tolerated_loss: float, target: Target) -> str | None:
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
    networks = (target.ring_in.network + ".", target.ring_out.network + ".")
    wire = sum(count for place, count in trial.books.drops.items() if place.startswith(networks))
    return "wire" if wire * 2 > sum(trial.books.drops.values()) else "forwarder"
