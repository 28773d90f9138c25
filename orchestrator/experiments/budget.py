"""Calibration of the profile `period`: the CPU budget of the middle host."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from orchestrator.experiments.calibration import Calibration, Flows, Point, Report, curve_error
from orchestrator.experiments.plan import Plan
from orchestrator.experiments.processes import dated
from orchestrator.experiments.workloads import Setting, Target, TrialFailed, Workloads

MIN_QUOTA_US = 1000
"""The kernel refuses smaller quotas."""


class BudgetSearch:
    """The CPU budget at which conventional I/O over 0 to 3 hogs is closest to the paper's curve.

    One stream of datagrams runs all the time while budget and hogs change under it, and the forwarder's
    counter is read at both ends of a window: this needs neither starting nor draining for each point. As
    long as datagrams wait for the forwarder, what it passes on is what it can do, however full its queue
    is. At the sink they come later: what was passed on before a budget was set waits for ring B.
    """

    def __init__(self, target: Target, plan: Plan, flows: Flows, report: Report) -> None:
        self._target, self._plan, self._flows, self._report = target, plan, flows, report
        self._definition = target.definition
        self._points: list[Point] = []
        self._total = plan.budget_steps + len(plan.budget_around) * len(plan.curve)
        self._hogs = -1
        self._forwarder = ""
        self._others: tuple[str, ...] = ()
        self._base = Setting(
            ring_mbps=self._definition.ring_mbps,
            offered_mbps=self._definition.offered_mbps,
            quota_us=None,
            period_us=plan.cpu_period_us,
            queue_datagrams=plan.budgeted_queue(
                self._definition.offered_mbps, self._definition.datagram_bytes
            ),
        )
        self._workloads = Workloads(target, target.case(self._base, self._definition.claim.to, 0))

    async def find(self) -> Calibration:
        """Searches, and returns the best budget. Raises TrialFailed and AgentError."""
        flow = self._flows()
        await self._target.apply(self._base)
        await self._target.set_budget(self._base)
        await self._target.set_hogs(0)
        async with self._workloads as workloads:
            sink = await workloads.sink(flow)
            self._forwarder = await workloads.forwarder()
            # Long enough for every point; it is stopped when all are measured.
            source = await workloads.source(flow, 0.0, 20 + 4 * self._total * self._step_s())
            self._others = (sink, source)
            near = await self._near()
            quotas = {self._quota(near * factor) for factor in self._plan.budget_around}
            curves = await self._curves(sorted(quotas))
            await self._target.set_budget(self._base)
            await self._target.set_hogs(0)
        errors = {quota: self._error(rates) for quota, rates in curves.items()}
        best = min(errors, key=lambda quota: errors[quota])
        return Calibration(
            profile="period",
            system=self._definition.claim.to,
            ring_mbps=self._base.ring_mbps,
            offered_mbps=self._base.offered_mbps,
            quota_us=best,
            period_us=self._base.period_us,
            queue_datagrams=self._base.queue_datagrams,
            error=round(errors[best], 4),
            points=self._points,
            notes=self._misfit(curves[best], errors[best]),
        )

    def _misfit(self, rates: list[float], error: float) -> list[str]:
        """What whoever reads the result must know of a budget that is the best of bad ones."""
        if error <= self._plan.budget_misfit:
            return []
        ring, conventional = self._definition.ring_mbps, self._definition.claim.to
        hogs = ", ".join(str(hogs) for hogs, _ in self._plan.curve)
        did = ", ".join(f"{rate:.1f}" for rate in rates)
        wanted = ", ".join(f"{part * ring:.1f}" for _, part in self._plan.curve)
        return [
            f"period: no budget tried makes this machine the paper's: {conventional} with {hogs} hogs "
            f"did {did} Mb/s instead of {wanted} ({error:.0%} off)"
        ]

    async def _near(self) -> float:
        """The budget (fraction of a CPU) that gives the curve's value with one hog: under load, throughput
        goes with the budget."""
        hogs, fraction = next(point for point in self._plan.curve if point[0] > 0)
        wanted = fraction * self._definition.ring_mbps
        low, high = self._plan.budget_range
        budget = self._plan.budget_start
        tried: dict[float, float] = {}
        for _ in range(self._plan.budget_steps):
            quota = self._quota(budget)
            if quota in (self._quota(one) for one in tried):
                break
            tried[budget] = await self._rate(quota, hogs)
            if abs(tried[budget] / wanted - 1) <= self._plan.budget_close:
                break
            step = wanted / max(tried[budget], wanted / 4)
            budget = min(max(budget * step, low), high)
        return min(tried, key=lambda one: abs(tried[one] - wanted))

    async def _curves(self, quotas: list[int]) -> dict[int, list[float]]:
        """The throughput at every load of the curve, for each budget. Loads change as rarely as they can, for
        that takes time; the search before this ended with one hog."""
        loads = [hogs for hogs, _ in self._plan.curve]
        rates = {
            (quota, hogs): await self._rate(quota, hogs)
            for hogs in sorted(loads, key=lambda hogs: (hogs == 0, hogs))
            for quota in quotas
        }
        return {quota: [rates[quota, hogs] for hogs in loads] for quota in quotas}

    async def _rate(self, quota: int, hogs: int) -> float:
        """Throughput in Mb/s with this budget and load; measured once for each."""
        for point in self._points:
            if (point.quota_us, point.hogs) == (quota, hogs):
                return point.throughput_mbps
        setting = replace(self._base, quota_us=quota)
        if hogs != self._hogs:
            # What starts on a small budget takes long.
            await self._target.set_budget(setting, limited=False)
            await self._target.set_hogs(hogs)
            self._hogs = hogs
        await self._target.set_budget(setting)
        await asyncio.sleep(self._plan.probe_settle_s)
        count, since = await self._count()
        await asyncio.sleep(self._plan.probe_s)
        count2, until = await self._count()
        for other in self._others:
            if (await self._workloads.look(other))["state"] != "running":
                raise TrialFailed("a workload ended before the calibration did")
        rate = (count2 - count) * self._definition.datagram_bytes * 8 / (until - since) / 1e6
        # Beyond what is offered a queue is being emptied, and with nothing left in it the offer is the rate.
        found = Point.of(setting, hogs, min(rate, self._base.offered_mbps))
        self._points.append(found)
        left = max(0, self._total - len(self._points))
        self._report(len(self._points), max(self._total, len(self._points)), left * self._step_s())
        return found.throughput_mbps

    async def _count(self) -> tuple[int, float]:
        """Datagrams passed on so far, and the moment of that."""
        state, moment = await dated(lambda: self._workloads.look(self._forwarder), self._plan.look_s)
        return int(state["counters"].get("datagrams_out", 0)), moment

    def _error(self, rates: list[float]) -> float:
        ring = self._definition.ring_mbps
        return curve_error(
            [(rate / ring, part) for rate, (_, part) in zip(rates, self._plan.curve, strict=True)]
        )

    def _quota(self, budget: float) -> int:
        return max(MIN_QUOTA_US, round(budget * self._plan.cpu_period_us))

    def _step_s(self) -> float:
        return self._plan.probe_settle_s + self._plan.probe_s + 0.2
