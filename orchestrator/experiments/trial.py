"""One trial: traffic from the source through the forwarder under test to the sink, counted everywhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field

from orchestrator.experiments import validity
from orchestrator.experiments.books import Books, balance
from orchestrator.experiments.definitions import Level
from orchestrator.experiments.drops import Seen, crossings, passages, sink_socket_drops
from orchestrator.experiments.journal import TrialRecord
from orchestrator.experiments.measures import arrived, loss, throughput_mbps
from orchestrator.experiments.plan import Plan
from orchestrator.experiments.schedule import Planned
from orchestrator.experiments.snapshots import Counters, increase, quiet, snapshot
from orchestrator.experiments.workloads import MAX_RING_MBPS, Setting, Target, TrialFailed, Workloads

SOURCE_GRACE_S = 10.0
POLL_S = 0.03
FULL_CHECK_S = 0.12
DRAIN_FASTER = 10
"""Times the rings' rate while what was sent is drained."""


class Trial(TrialRecord):
    """One trial as it stands in trials.jsonl. Rates are payload bits in Mb/s, `loss` is a fraction."""

    hogs: int
    flow: int
    wanted_mbps: float
    offered_mbps: float | None = None
    throughput_mbps: float | None = None
    loss: float | None = None
    books: Books | None = None
    counters: Counters = Field(default_factory=dict)

    @classmethod
    def of_failure(cls, planned: Planned, setting: Setting, flow: int, why: str) -> Trial:
        """A trial that came to no end because of `why`."""
        return cls(
            number=planned.number,
            round=planned.round,
            system=planned.system,
            hogs=planned.hogs,
            flow=flow,
            started=time.time(),
            seconds=0.0,
            valid=False,
            reasons=[why],
            failed=True,
            wanted_mbps=setting.offered_mbps,
        )

    def level(self) -> Mapping[str, Level]:
        return {"hogs": self.hogs}

    def summary(self) -> dict[str, Any]:
        keys = {"number", "system", "hogs", "valid", "reasons", "offered_mbps", "throughput_mbps", "loss"}
        return self.model_dump(mode="json", include=keys)


async def run_trial(target: Target, planned: Planned, setting: Setting, plan: Plan, flow: int) -> Trial:
    """Does one trial and judges it. `flow` must be new: datagrams of another trial are told apart by it.

    Raises TrialFailed when a workload dies or is refused and AgentError when an agent does; by then its
    workloads are stopped. Whoever ends the run takes the hogs and the budget away.
    """
    started, clock = time.time(), time.monotonic()
    await target.apply(setting)
    await quiet(target)
    before = await snapshot(target)
    # Budget and hogs are for what is measured: a manager that opens or closes its pool on a few per cent of a
    # CPU takes seconds for it.
    await _unloaded(target, setting)
    async with Workloads(target) as workloads:
        sink, forwarder = await _both(workloads, setting, planned.system, flow)
        await target.set_hogs(planned.hogs)
        await target.set_budget(setting)
        source = await workloads.source(setting, flow, plan.warmup_s, plan.measured_s)
        sent = await _source_done(workloads, source, (forwarder, sink), plan)
        # What still waits is moved on the whole CPU and faster rings: it belongs to the books, not to the
        # throughput.
        await _unloaded(target, setting)
        await _ring_speed(target, setting, DRAIN_FASTER)
        drained = await _drain(target, workloads, forwarder, sink, sent, before, plan.drain_s)
        await _ring_speed(target, setting, 1)
        source_state = await workloads.finish(source)
        forwarder_state = await workloads.finish(forwarder)
        sink_state = await workloads.finish(sink)
    counted = increase(before, await snapshot(target))
    results = {
        "source": _final(source_state),
        "forwarder": _final(forwarder_state),
        "sink": _final(sink_state),
        "manager": _final(forwarder_state.get("manager") or {}),
    }
    books = _books(target, counted, results)
    found = validity.reasons(
        books,
        setting.offered_mbps,
        results["source"],
        results["sink"],
        sink_socket_drops(counted[target.definition.path.sink]),
    )
    if found and not drained:
        found.append(f"datagrams were still on their way {plan.drain_s:g} s after the source had ended")
    return Trial(
        number=planned.number,
        round=planned.round,
        system=planned.system,
        hogs=planned.hogs,
        flow=flow,
        started=started,
        seconds=round(time.monotonic() - clock, 3),
        valid=not found,
        reasons=found,
        wanted_mbps=setting.offered_mbps,
        offered_mbps=float(results["source"]["offered_mbps"]),
        throughput_mbps=throughput_mbps(results["source"], results["sink"], target.definition.datagram_bytes),
        loss=loss(results["source"], results["sink"]),
        books=books,
        results=results,
        counters=counted,
    )


async def _unloaded(target: Target, setting: Setting) -> None:
    await target.set_budget(setting, limited=False)
    await target.set_hogs(0)


async def _ring_speed(target: Target, setting: Setting, times: int) -> None:
    if setting.ring_mbps is not None:
        await target.apply(replace(setting, ring_mbps=min(times * setting.ring_mbps, MAX_RING_MBPS)))


async def _both(workloads: Workloads, setting: Setting, system: str, flow: int) -> tuple[str, str]:
    """Starts sink and forwarder at the same time: they are on different CPUs."""
    starts = [
        asyncio.ensure_future(workloads.sink(flow)),
        asyncio.ensure_future(workloads.forwarder(setting, system)),
    ]
    try:
        sink, forwarder = await asyncio.gather(*starts)
    except BaseException:
        # Whichever did start must be known before the workloads are stopped.
        await asyncio.gather(*starts, return_exceptions=True)
        raise
    return sink, forwarder


async def _source_done(workloads: Workloads, source: str, others: tuple[str, ...], plan: Plan) -> int:
    """Waits until the source has sent everything; returns how many datagrams that were."""
    deadline = time.monotonic() + plan.warmup_s + plan.measured_s + SOURCE_GRACE_S
    while time.monotonic() < deadline:
        state = await workloads.look(source, wait_s=1.0)
        if state["state"] == "done":
            return int(state["result"]["sent"])
        for other in others:
            if (await workloads.look(other))["state"] != "running":
                raise TrialFailed("the forwarder or the sink ended before the source")
    raise TrialFailed(f"the source did not end within {SOURCE_GRACE_S:.0f} s of its time")


async def _drain(
    target: Target,
    workloads: Workloads,
    forwarder: str,
    sink: str,
    sent: int,
    before: Counters,
    limit_s: float,
) -> bool:
    """Waits until every datagram has arrived or has a named end, at most `limit_s`; whether that is so."""
    deadline = time.monotonic() + limit_s
    full_check = time.monotonic()
    while time.monotonic() < deadline:
        sink_counts = (await workloads.look(sink))["counters"]
        if sink_counts.get("datagrams_in", 0) >= sent:
            return True
        if time.monotonic() >= full_check:
            full_check = time.monotonic() + FULL_CHECK_S
            state = await workloads.look(forwarder)
            live = {
                "source": {"sent": sent},
                "forwarder": _live(state["counters"]),
                "sink": _live(sink_counts),
                "manager": _final(state.get("manager") or {}),
            }
            ways = passages(
                _seen(increase(before, await snapshot(target)), live),
                target.definition.path,
                target.ring_in,
                target.ring_out,
            )
            if ways[-1].left + sum(sum(way.drops.values()) for way in ways) >= sent:
                return True
        await asyncio.sleep(POLL_S)
    return False


def _live(counters: Mapping[str, int]) -> dict[str, int]:
    """A running workload's counters under the names its result will have."""
    return {
        "received": counters.get("datagrams_in", 0),
        "sent": counters.get("datagrams_out", 0),
        **{name: count for name, count in counters.items() if name.startswith("drop_")},
    }


def _final(state: Mapping[str, Any]) -> dict[str, Any]:
    """A workload's result, and the drops that it counted."""
    drops = {name: n for name, n in (state.get("counters") or {}).items() if name.startswith("drop_")}
    return {**drops, **(state.get("result") or {})}


def _seen(counted: Counters, results: Mapping[str, Mapping[str, Any]]) -> Seen:
    return Seen(
        network=counted[""],
        hosts={name: counts for name, counts in counted.items() if name},
        sent=int(results["source"]["sent"]),
        received=int(results["sink"]["received"]),
        sink=results["sink"],
        forwarder=results["forwarder"],
        manager=results["manager"],
    )


def _books(target: Target, counted: Counters, results: Mapping[str, Mapping[str, Any]]) -> Books:
    wires = (target.ring_in, target.ring_out)
    books = balance(
        passages(_seen(counted, results), target.definition.path, *wires), arrived(results["sink"])
    )
    if books.problems:
        for wire in wires:
            seen = crossings(counted[""], wire, target.definition.datagram_bytes)
            counts = ", ".join(f"{count} at {place}" for place, count in seen.items())
            books.problems.append(f"{wire.network}: datagrams counted by interfaces: {counts or 'not exact'}")
    return books
