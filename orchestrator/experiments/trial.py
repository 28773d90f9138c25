"""One trial: traffic from the source over the forwarders to the sink, counted everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import Field

from orchestrator.experiments import validity
from orchestrator.experiments.books import Books, balance
from orchestrator.experiments.case import Case, Site
from orchestrator.experiments.definitions import Level
from orchestrator.experiments.drops import Part, Seen, crossings, passages, sink_refused
from orchestrator.experiments.journal import TrialRecord
from orchestrator.experiments.measures import arrived, loss, throughput_mbps
from orchestrator.experiments.plan import ForwardingPlan, Plan
from orchestrator.experiments.processes import TrialFailed
from orchestrator.experiments.schedule import Planned
from orchestrator.experiments.series import Series, forwarded
from orchestrator.experiments.snapshots import Counters, increase, quiet, snapshot
from orchestrator.experiments.timeline import HEAD_START_S, Event, Happened, Timeline
from orchestrator.experiments.way import managers_label
from orchestrator.experiments.workloads import Setting, Target, Workloads

SOURCE_GRACE_S = 10.0
POLL_S = 0.03
FULL_CHECK_S = 0.12
DRAIN_FASTER = 10
"""Times the networks' rates while what was sent is drained."""


class Carried(TrialRecord):
    """A trial of forwarding as it stands in trials.jsonl. Rates are payload bits in Mb/s, `loss` is a
    fraction."""

    shown: ClassVar[str]
    """The field that says what it was done with."""
    flow: int
    wanted_mbps: float
    offered_mbps: float | None = None
    throughput_mbps: float | None = None
    loss: float | None = None
    events: list[Happened] = Field(default_factory=list)
    books: Books | None = None
    counters: Counters = Field(default_factory=dict)

    @classmethod
    def of_failure(cls, named: Mapping[str, Any], wanted_mbps: float, flow: int, why: str) -> Self:
        """A trial that came to no end because of `why`. `named` says which it is."""
        return cls(
            **named,
            flow=flow,
            started=time.time(),
            seconds=0.0,
            valid=False,
            reasons=[why],
            failed=True,
            wanted_mbps=wanted_mbps,
        )

    @classmethod
    def of(cls, named: Mapping[str, Any], measured: Measured) -> Self:
        """A trial that was measured."""
        return cls(**named, **vars(measured), valid=not measured.reasons)

    def summary(self) -> dict[str, Any]:
        keys = {"number", "system", "valid", "reasons", "offered_mbps", "throughput_mbps", "loss"}
        return self.model_dump(mode="json", include=keys | {self.shown})


class Trial(Carried):
    """One trial of `fddi`."""

    shown: ClassVar[str] = "hogs"
    hogs: int

    def level(self) -> Mapping[str, Level]:
        return {"hogs": self.hogs}


@dataclass(frozen=True)
class Measured:
    """What one trial found; the fields are those of `Carried`."""

    flow: int
    started: float
    seconds: float
    reasons: list[str]
    wanted_mbps: float
    offered_mbps: float
    throughput_mbps: float
    loss: float
    events: list[Happened]
    books: Books
    results: dict[str, Any]
    counters: Counters
    series: Series | None


def named(planned: Planned) -> dict[str, Any]:
    """Which trial of `fddi` it is."""
    return {
        "number": planned.number,
        "round": planned.round,
        "system": planned.system,
        "hogs": planned.hogs,
    }


async def run_trial(target: Target, planned: Planned, setting: Setting, plan: Plan, flow: int) -> Trial:
    """Does one trial of `fddi` and judges it, as `measure`."""
    case = target.case(setting, planned.system, planned.hogs)
    return Trial.of(named(planned), await measure(target, case, plan, flow))


async def measure(
    site: Site, case: Case, plan: ForwardingPlan, flow: int, tell: Callable[[str], None] = lambda what: None
) -> Measured:
    """Does one trial and judges it. `flow` must be new: datagrams of another trial are told apart by it.
    `tell` hears of the events of the time line.

    Raises TrialFailed when a workload dies or is refused and AgentError when an agent does; by then its
    workloads are stopped. Whoever ends the run takes the hogs and the budgets away.
    """
    started, clock = time.time(), time.monotonic()
    await site.set_rates(case.rates)
    await site.set_losses(case.rates, case.losses)
    await quiet(site)
    before = await snapshot(site)
    # Budgets and hogs are for what is measured: a manager that opens or closes its pool on a few per cent of
    # a CPU takes seconds for it.
    await site.unload(case.loaded, case.budgets)
    async with Workloads(site, case) as workloads:
        # The others are in the order of the way, the source apart: it starts when all is set.
        others = await _all_but_source(workloads, len(case.stations) - 2, flow, plan.sample_s)
        await site.load(case.hogs)
        await site.set_budgets(case.budgets)
        source = await workloads.source(flow, plan.warmup_s, plan.measured_s, sample_s=plan.sample_s)
        zero = time.monotonic() + HEAD_START_S + plan.warmup_s
        timeline = Timeline(case.events, lambda event: _do(site, case, workloads, source, event), tell)
        async with _played(timeline, zero):
            sent = await _source_done(workloads, source, others, plan)
        # What still waits is moved on the whole CPU and faster networks: it belongs to the books, not to the
        # throughput.
        await site.unload(case.loaded, case.budgets)
        await site.heal(case.cut)
        await site.speed_up(case.rates, DRAIN_FASTER)
        drained = await _drain(site, workloads, others, sent, before, plan.drain_s)
        await site.set_rates(case.rates)
        states = [await workloads.finish(one) for one in (source, *others)]
    counted = increase(before, await snapshot(site))
    parts = [Part(_final(state), _final(state.get("manager") or {})) for state in states]
    books = _books(site, case, counted, parts)
    begin, end = parts[0].counted, parts[-1].counted
    offered_mbps = float(begin["offered_mbps"])
    least, most = timeline.offered(case.rate_mbps, int(begin["t0_ns"]), int(begin["t1_ns"]))
    wanted_mbps = min(max(offered_mbps, least), most)
    found = validity.reasons(
        books,
        wanted_mbps,
        begin,
        end,
        sink_refused(counted[site.way.hosts[-1]], parts[-1].manager),
    )
    found += timeline.missed()
    if found and not drained:
        found.append(f"datagrams were still on their way {plan.drain_s:g} s after the source had ended")
    return Measured(
        flow=flow,
        started=started,
        seconds=round(time.monotonic() - clock, 3),
        reasons=found,
        wanted_mbps=wanted_mbps,
        offered_mbps=offered_mbps,
        throughput_mbps=throughput_mbps(begin, end, case.size),
        loss=loss(begin, end),
        events=timeline.happened(int(begin["t0_ns"])),
        books=books,
        results=_labelled(site, parts),
        counters=counted,
        series=forwarded(states[0].get("series"), states[-1].get("series"), int(begin["t0_ns"]), case.size),
    )


async def _do(site: Site, case: Case, workloads: Workloads, source: str, event: Event) -> None:
    """Does one event of a trial."""
    machine, lab, target = site.machine, site.lab, event.target
    match event.what:
        case "hogs":
            await site.load({target: int(event.value)})
        case "rate":
            await site.set_rates({target: event.value})
        case "loss":
            rate = (await machine.lab(lab))["networks"][target]["rate_mbps"]
            lossy = case.losses[target].model_copy(update={"loss": event.value})
            await site.set_losses({target: rate}, {target: lossy})
        case "pace":
            await workloads.change_rate(source, event.value)
        case "cut":
            await machine.cut(lab, target, event.host)
        case "heal":
            await machine.heal(lab, target, event.host)


@contextlib.asynccontextmanager
async def _played(timeline: Timeline, zero: float) -> AsyncIterator[None]:
    """Lets events happen meanwhile. What they raise is raised at the end."""
    playing = asyncio.ensure_future(timeline.play(zero))
    try:
        yield
    finally:
        playing.cancel()
        (outcome,) = await asyncio.gather(playing, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome


async def _all_but_source(workloads: Workloads, forwarders: int, flow: int, sample_s: float) -> list[str]:
    """Starts sink and forwarders at the same time: they are on different hosts. Their ids, in the order of
    the way.

    The sink is sampled and forwarders are not: that would be work on the CPUs whose shares are measured.
    """
    starts = [
        *(asyncio.ensure_future(workloads.forwarder(at + 1)) for at in range(forwarders)),
        asyncio.ensure_future(workloads.sink(flow, sample_s)),
    ]
    try:
        return list(await asyncio.gather(*starts))
    except BaseException:
        # Whichever did start must be known before the workloads are stopped.
        await asyncio.gather(*starts, return_exceptions=True)
        raise


async def _source_done(workloads: Workloads, source: str, others: Sequence[str], plan: ForwardingPlan) -> int:
    """Waits until the source has sent everything; returns how many datagrams that were."""
    deadline = time.monotonic() + plan.warmup_s + plan.measured_s + SOURCE_GRACE_S
    while time.monotonic() < deadline:
        state = await workloads.look(source, wait_s=1.0)
        if state["state"] == "done":
            return int(state["result"]["sent"])
        for other in others:
            if (await workloads.look(other))["state"] != "running":
                raise TrialFailed("a forwarder or the sink ended before the source")
    raise TrialFailed(f"the source did not end within {SOURCE_GRACE_S:.0f} s of its time")


async def _drain(
    site: Site, workloads: Workloads, others: Sequence[str], sent: int, before: Counters, limit_s: float
) -> bool:
    """Waits until every datagram has arrived or has a named end, at most `limit_s`; whether that is so."""
    deadline = time.monotonic() + limit_s
    full_check = time.monotonic()
    while time.monotonic() < deadline:
        sink = await workloads.look(others[-1])
        if sink["counters"].get("datagrams_in", 0) >= sent:
            return True
        if time.monotonic() >= full_check:
            full_check = time.monotonic() + FULL_CHECK_S
            states = [*[await workloads.look(other) for other in others[:-1]], sink]
            live = [Part(_live(state["counters"]), _final(state.get("manager") or {})) for state in states]
            begin = Part({"sent": sent}, {})
            ways = passages(_seen(increase(before, await snapshot(site)), [begin, *live]), site.way)
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


def _seen(counted: Counters, parts: Sequence[Part]) -> Seen:
    return Seen(counted[""], {name: counts for name, counts in counted.items() if name}, parts)


def _labelled(site: Site, parts: Sequence[Part]) -> dict[str, Any]:
    """Every workload's result and its manager's, by what they are called."""
    labels = site.way.labels
    results = {label: dict(part.counted) for label, part in zip(labels, parts, strict=True)}
    managers = {
        managers_label(label): dict(part.manager)
        for label, part in zip(labels, parts, strict=True)
        if part.manager or label.startswith("forwarder")
    }
    return results | managers


def _books(site: Site, case: Case, counted: Counters, parts: Sequence[Part]) -> Books:
    books = balance(passages(_seen(counted, parts), site.way), arrived(parts[-1].counted))
    if books.problems:
        for wire in site.way.wires:
            seen = crossings(counted[""], wire, case.size)
            counts = ", ".join(f"{count} at {place}" for place, count in seen.items())
            books.problems.append(f"{wire.name}: datagrams counted by interfaces: {counts or 'not exact'}")
    return books
