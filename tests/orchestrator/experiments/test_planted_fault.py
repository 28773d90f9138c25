"""A fault planted on ring B of a real lab is named to the datagram, or the trial is INVALID: both, here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from orchestrator.experiments.definitions import EXPERIMENTS
from orchestrator.experiments.plan import Plan
from orchestrator.experiments.schedule import Planned
from orchestrator.experiments.trial import Trial, run_trial
from orchestrator.experiments.workloads import Setting, Target
from tests.agents.machine_process import machine_process
from topologies import resolve
from topologies.builder.faults import clear, plant
from topologies.record import Record, read_record

pytestmark = pytest.mark.root

LAB = "planted"
PLAN = Plan(warmup_s=0.1, measured_s=0.4, drain_s=1.0)
SETTING = Setting(ring_mbps=100, offered_mbps=60.0, quota_us=None, period_us=100_000, queue_datagrams=1024)
SENT = 871
"""Datagrams of a trial: 174 of the warm-up and 697 of the measured interval."""


@dataclass
class Bench:
    """A deployed lab: as the machine agent serves it, and as the builder recorded it."""

    target: Target
    record: Record

    async def trial(self, system: str) -> Trial:
        """One trial in which nothing is dropped by name, as a busy machine does now and then."""
        for flow in range(1, 6):
            trial = await run_trial(self.target, Planned(0, 0, system, 0), SETTING, PLAN, flow)
            assert trial.books is not None
            if not trial.books.drops:
                break
        return trial


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with machine_process(fake=False) as machine:
        fddi = EXPERIMENTS["fddi"]
        await machine.client.deploy(LAB, resolve(fddi.topology_for("period")).model_dump(mode="json"))
        target = Target.of(machine.client, LAB, await machine.client.lab(LAB), fddi)
        record = read_record(LAB, machine.run_root)
        assert record is not None
        yield Bench(target, record)


@pytest.mark.parametrize("system", ["linux", "linux-batch", "copy", "shipping"])
async def test_without_a_fault_everything_arrives_and_the_books_balance(bench: Bench, system: str) -> None:
    trial = await bench.trial(system)
    assert trial.books is not None
    assert trial.books.problems == []
    assert (trial.books.sent, trial.books.received, trial.books.lost) == (SENT, SENT, 0)
    assert trial.books.duplicated == 0


@pytest.mark.parametrize("system", ["linux", "shipping"])
async def test_what_a_network_loses_on_purpose_has_a_name_and_the_books_balance(
    bench: Bench, system: str
) -> None:
    machine, lost = bench.target.machine, {"loss": 0.1, "seed": 5}
    numbers = []
    for flow in (1, 2):
        await machine.set_network(LAB, "ring-b", 100, lost)
        trial = await run_trial(bench.target, Planned(0, 0, system, 0), SETTING, PLAN, flow)
        assert trial.books is not None
        assert trial.books.problems == []
        assert trial.books.drops["ring-b impairment"] >= SENT * 0.05
        assert sum(trial.books.drops.values()) == trial.books.lost == SENT - trial.books.received
        if trial.books.drops.keys() == {"ring-b impairment"}:  # a busy machine drops others now and then
            numbers.append(trial.books.lost_ranges)
    assert all(ranges == numbers[0] for ranges in numbers)


@pytest.mark.parametrize("system", ["linux", "shipping"])
@pytest.mark.parametrize(
    ("gone", "told"),
    [((500, 500), "500"), ((500, 506), "500-506"), ((SENT - 100, SENT - 1), f"{SENT - 100}-{SENT - 1}")],
)
async def test_a_planted_fault_is_named_exactly(
    bench: Bench, system: str, gone: tuple[int, int], told: str
) -> None:
    fault = plant(bench.record, "ring-b", "middle", drop=[gone], duplicate=[20, (30, 31)])
    try:
        trial = await bench.trial(system)
    finally:
        clear(fault)
    books = trial.books
    assert books is not None
    assert not trial.valid
    assert books.sent == SENT
    assert books.lost_ranges == [gone]
    assert books.duplicate_list == [20, 30, 31]
    count = gone[1] - gone[0] + 1
    text = "; ".join(trial.reasons)
    assert f"middle -> ring-b -> sink: {count} datagrams vanished without a name" in text
    assert f"sequence numbers that never arrived: {told}" in text
    assert "arrived again: 3 datagrams (sequence numbers 20, 30, 31)" in text
    assert [s.difference for s in books.segments] == [0, 0, count]
