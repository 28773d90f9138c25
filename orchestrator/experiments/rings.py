"""Calibration of the profile `scaled`: rings that conventional forwarding just fills, without a budget."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.experiments.calibration import Calibration, Flows, Point, Report
from orchestrator.experiments.plan import Plan
from orchestrator.experiments.schedule import Planned
from orchestrator.experiments.search import RateSearch
from orchestrator.experiments.trial import Trial, run_trial
from orchestrator.experiments.workloads import MAX_RING_MBPS, Setting, Target, TrialFailed


async def find_rings(target: Target, plan: Plan, flows: Flows, report: Report) -> Calibration:
    """The rings at which conventional forwarding, with the whole CPU, just reaches the paper's share."""
    definition = target.definition
    share = definition.offered_mbps / definition.ring_mbps
    most = min(plan.search_max_mbps, MAX_RING_MBPS * share)
    search = RateSearch(plan.search_start_mbps, most, plan.search_resolution)
    points: list[Point] = []
    limited_by: str | None = None
    probe = probe_plan(plan)
    while not search.done:
        rate = search.rate
        setting = Setting(
            ring_mbps=rate / share,
            offered_mbps=rate,
            quota_us=None,
            period_us=plan.cpu_period_us,
            queue_datagrams=plan.queue_datagrams(rate, definition.datagram_bytes, False),
        )
        for _ in range(plan.search_attempts):
            planned = Planned(number=len(points), round=0, system=definition.claim.to, hogs=0)
            trial = await run_trial(target, planned, setting, probe, flows())
            limit = bottleneck(trial, plan.sustained_loss, target)
            points.append(
                Point(
                    quota_us=None,
                    period_us=setting.period_us,
                    hogs=0,
                    ring_mbps=setting.ring_mbps,
                    offered_mbps=rate,
                    throughput_mbps=round(trial.throughput_mbps or 0.0, 2),
                    loss=trial.loss,
                    limited_by=limit,
                )
            )
            if limit is None:
                break
        if limit is not None and rate < search.failed:
            limited_by = limit
        search.tell(rate, limit is None)
        report(len(points), len(points) + search.steps_left, search.steps_left * trial.seconds)
    if not search.best:
        raise TrialFailed(f"{definition.claim.to} sustains no rate on this machine (limited by {limited_by})")
    short = limited_by not in (None, "forwarder")
    rate = search.best * (plan.headroom if short else 1.0)
    ring = min(rate / share, MAX_RING_MBPS)
    notes = [f"scaled: rings of {ring:.0f} Mb/s, {ring / definition.ring_mbps:.1f} times the paper's"]
    if short:
        notes.append(
            f"scaled: the {limited_by} gave out at {search.best:.0f} Mb/s, before conventional forwarding; "
            f"the rings are filled with {plan.headroom:.0%} of that"
        )
    return Calibration(
        profile="scaled",
        system=definition.claim.to,
        ring_mbps=ring,
        offered_mbps=ring * share,
        quota_us=None,
        period_us=plan.cpu_period_us,
        queue_datagrams=plan.queue_datagrams(ring * share, definition.datagram_bytes, False),
        k=ring / definition.ring_mbps,
        points=points,
        notes=notes,
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
