"""`reproduce ipc` on a real lab of one workstation, with real processes: short, but whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.experiments.definitions import Options
from orchestrator.experiments.local.definition import LOCAL
from orchestrator.experiments.local.plan import local_plan
from orchestrator.experiments.local.runner import execute
from tests.agents.machine_process import machine_process
from topologies import resolve

pytestmark = pytest.mark.root


async def test_every_bar_of_figure_4_is_measured_and_nothing_is_left(tmp_path: Path) -> None:
    options = Options(quick=True, seed=1)
    plan = replace(local_plan(options), warmup_s=0.05, measured_s=0.2)
    definition = LOCAL["ipc"]
    async with machine_process(fake=False) as machine:
        client = machine.client
        await client.deploy("pair", resolve(definition.topology).model_dump(mode="json"))
        result = await execute(client, "pair", definition, options, tmp_path, lambda event: None, plan)
        states = {one["state"] for one in await client.workloads("pair", "workstation")}
    assert states == {"done"}
    assert (tmp_path / "figure.png").is_file()
    # A trial on a machine that does other things may be INVALID; that the bytes differ never may be.
    assert "books differ" not in (tmp_path / "trials.jsonl").read_text()
    assert all(row.median or row.invalid_trials for row in result.rows)
