"""The three profiles, and how each one's setting is found."""

from __future__ import annotations

from orchestrator.experiments.budget import BudgetSearch
from orchestrator.experiments.calibration import Calibration, Flows, Report
from orchestrator.experiments.definitions import Profile
from orchestrator.experiments.plan import Plan
from orchestrator.experiments.rings import find_rings
from orchestrator.experiments.workloads import Target


async def calibrate(
    target: Target, profile: Profile, plan: Plan, flows: Flows, report: Report
) -> Calibration:
    """Finds the setting of `profile` on this machine. Raises TrialFailed and AgentError as a trial does."""
    if profile == "period":
        return await BudgetSearch(target, plan, flows, report).find()
    if profile == "scaled":
        return await find_rings(target, plan, flows, report)
    definition = target.definition
    return Calibration(
        profile="modern",
        system=definition.claim.to,
        ring_mbps=None,
        offered_mbps=plan.search_start_mbps,
        quota_us=None,
        period_us=plan.cpu_period_us,
        queue_datagrams=plan.loaded_queue(plan.search_start_mbps, definition.datagram_bytes, 0),
        points=[],
        notes=[
            "modern: nothing is limited, so there is nothing to calibrate",
            "modern: queues hold what comes in two turns of each hog at the rate that is tried",
        ],
    )
