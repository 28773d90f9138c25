"""The worked examples of docs/experiments.md, on real labs: as they stand there, but shorter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.experiments.definitions import Options
from orchestrator.experiments.own.plan import own_plan
from orchestrator.experiments.own.runner import execute
from orchestrator.experiments.search import Bounds
from orchestrator.shipped import as_json
from tests.agents.machine_process import MachineProcess, machine_process
from tests.orchestrator.experiments.own.examples import examples, own

pytestmark = pytest.mark.root

EXAMPLES = examples()


@pytest.fixture
async def machine() -> AsyncIterator[MachineProcess]:
    async with machine_process(fake=False) as machine:
        yield machine


def test_there_are_five() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("name", EXAMPLES)
async def test_a_worked_example_runs_and_leaves_nothing(
    machine: MachineProcess, tmp_path: Path, name: str
) -> None:
    document = dict(EXAMPLES[name])
    # What happens meanwhile happens faster, too.
    if "events" in document:
        moments = [(0.1 * number, one) for number, one in enumerate(document["events"])]
        document["events"] = [f"at {at:g}s: {what}" for at, one in moments for what in one.values()]
        document["plan"] = {**document["plan"], "duration": 0.1 * len(moments)}
    experiment, options = own(document), Options(quick=True, seed=1)
    plan = replace(own_plan(experiment.document, options), warmup_s=0.1)
    plan = replace(plan, measured_s=min(plan.measured_s, 0.5))
    if plan.search is not None:
        plan = replace(plan, search=Bounds(50.0, 100.0, resolution=1.0, attempts=1))
    await machine.client.deploy("mine", as_json(experiment.topology))
    result = await execute(machine.client, "mine", experiment, options, tmp_path, lambda event: None, plan)
    for host in experiment.hosts:
        states = {one["state"] for one in await machine.client.workloads("mine", host)}
        assert states == {"done"}
        assert (await machine.client.host_counters("mine", host))["hogs.running"] == 0
    rates = {name: one["rate_mbps"] for name, one in (await machine.client.lab("mine"))["networks"].items()}
    given = experiment.topology.networks
    assert rates == {name: network.rate_mbps for name, network in given.items()}
    assert len(result.rows) == len(experiment.combinations) * len(experiment.document.measures)
    # A trial on a machine that does other things may be INVALID; that datagrams vanish never may be.
    assert "vanished without a name" not in (tmp_path / "trials.jsonl").read_text()
    assert all(row.median is not None or row.invalid_trials for row in result.rows)
    assert (tmp_path / "figure.png").is_file()
