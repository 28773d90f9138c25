"""What a user's experiment does on a machine, here a model of one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.client import Json
from orchestrator.experiments.compare import compare, load
from orchestrator.experiments.definitions import Options
from orchestrator.experiments.own.experiment import Own
from orchestrator.experiments.own.plan import own_plan
from orchestrator.experiments.own.runner import execute
from orchestrator.experiments.processes import TrialFailed
from orchestrator.experiments.result import Result
from orchestrator.shipped import as_json
from tests.agents.fake_machine import FakeMachine
from tests.orchestrator.experiments.own.examples import changed, own
from tests.orchestrator.run_files import FILES
from tests.support import eventually

RUN = "20260101-000000-abcdef"


async def run(
    machine: FakeMachine, tmp_path: Path, experiment: Own, options: Options | None = None, **plan: Any
) -> Result:
    options = options or Options()
    await machine.deploy("lab", as_json(experiment.topology))
    directory = tmp_path / "runs" / RUN
    directory.mkdir(parents=True, exist_ok=True)
    short = replace(own_plan(experiment.document, options), drain_s=0.2, resamples=500, **plan)
    return await execute(machine, "lab", experiment, options, directory, lambda event: None, short)


def trials(tmp_path: Path) -> list[Json]:
    return [json.loads(line) for line in (tmp_path / "runs" / RUN / "trials.jsonl").read_text().splitlines()]


def half(system: str, hogs: int, cpu: float) -> float:
    """Linux gets 40 Mb/s, everything else 80, shared with the hogs."""
    return (40.0 if system == "linux" else 80.0) * cpu / (1 + hogs)


async def test_every_combination_is_measured_and_the_files_are_those_of_any_run(tmp_path: Path) -> None:
    machine = FakeMachine(half)
    result = await run(machine, tmp_path, own(changed()))
    assert (result.experiment, result.profile, result.verdict) == ("mine", None, "measured")
    medians = {(row.system, row.factors["hogs"]): row.median for row in result.rows}
    assert medians == pytest.approx(
        {("linux", 0): 40, ("linux", 1): 20, ("shipping", 0): 60, ("shipping", 1): 40}, rel=0.03
    )
    assert {(row.unit, row.trials, row.invalid_trials, row.published) for row in result.rows} == {
        ("Mb/s", 2, 0, None)
    }
    ratios = {(one.of, one.to, one.factors["hogs"]): one.median for one in result.ratios}
    assert ratios == pytest.approx({("shipping", "linux", 0): 1.5, ("shipping", "linux", 1): 2}, rel=0.05)
    directory = tmp_path / "runs" / RUN
    assert {one.name for one in directory.iterdir()} == FILES
    assert json.loads((directory / "result.json").read_text()) == result.model_dump(mode="json")
    for trial in trials(tmp_path):
        books = trial["books"]
        assert trial["valid"], trial["reasons"]
        assert books["sent"] == books["received"] + sum(books["drops"].values())
    assert machine.running("lab") == []


async def test_over_several_forwarders_every_segment_has_its_books(tmp_path: Path) -> None:
    hops = {
        "w1": {"workload": "source", "host": "w1", "to": "w2", "rate": 60.0, "size": 4000},
        "w2": {"workload": "forwarder", "host": "w2", "to": "w3"},
        "w3": {"workload": "forwarder", "host": "w3", "to": "w4", "system": "shipping"},
        "w4": {"workload": "sink", "host": "w4"},
    }
    document = changed(("topology", "chain,4"), ("workloads", hops), ("factors", {"w2.hogs": [1]}))
    result = await run(FakeMachine(half), tmp_path, own(document))
    assert [row.system for row in result.rows] == ["linux+shipping"]
    assert result.rows[0].median == pytest.approx(20, rel=0.03)
    (first, *_) = trials(tmp_path)
    assert [segment["name"] for segment in first["books"]["segments"]] == [
        "w1 -> ring-1 -> w2",
        "w2's forwarder",
        "w2 -> ring-2 -> w3",
        "w3's forwarder",
        "w3 -> ring-3 -> w4",
    ]
    assert {"forwarder 1", "forwarder 2", "manager 2"} <= set(first["results"])
    assert first["results"]["manager 2"]["backend"] == "packet"


async def test_what_vanishes_makes_a_trial_invalid_here_too(tmp_path: Path) -> None:
    machine = FakeMachine()
    machine.vanish = {100}
    result = await run(machine, tmp_path, own(changed()))
    assert result.verdict == "invalid"
    assert {row.median for row in result.rows} == {None}
    reasons = " ".join(trials(tmp_path)[0]["reasons"])
    assert "middle -> ring-b -> sink: 1 datagrams vanished without a name" in reasons


async def test_a_rate_of_a_network_is_a_factor_and_is_as_before_at_the_end(tmp_path: Path) -> None:
    machine = FakeMachine()
    document = changed(("factors", {"ring-b.rate": [30, 50]}), ("networks", {"ring-a": {"rate": 90.0}}))
    result = await run(machine, tmp_path, own(document))
    assert [row.factors for row in result.rows] == [{"ring-b.rate": 30}, {"ring-b.rate": 50}]
    assert [row.median for row in result.rows] == pytest.approx([30, 50], rel=0.03)
    networks = machine._labs["lab"].record["networks"]
    assert {network["rate_mbps"] for network in networks.values()} == {100}


async def test_measures_are_rows_and_the_figure_shows_one(tmp_path: Path) -> None:
    document = changed(
        ("measures", ["throughput", "datagrams", "loss"]),
        ("figure", {"x": "system", "lines": "hogs", "y": "loss"}),
        ("title", r"what $\nothing costs"),
    )
    result = await run(FakeMachine(half), tmp_path, own(document))
    row = {one.unit: one.median for one in result.rows if (one.system, one.factors["hogs"]) == ("linux", 0)}
    assert row == pytest.approx({"Mb/s": 40, "datagrams/s": 40e6 / 8 / 4300, "% lost": 100 / 3}, rel=0.03)
    assert (tmp_path / "runs" / RUN / "figure.png").stat().st_size > 10_000


async def test_two_runs_are_compared_measure_by_measure(tmp_path: Path) -> None:
    experiment = own(
        changed(("measures", ["loss", "throughput"]), ("factors", {"system": ["linux", "copy"]}))
    )
    found = []
    for name, rate in (("a", 40.0), ("b", 30.0)):

        def carried(system: str, hogs: int, cpu: float, rate: float = rate) -> float:
            return rate if system == "linux" else 90.0

        await run(FakeMachine(carried), tmp_path / name, experiment, Options(trials=4))
        found.append(load(name, tmp_path / name / "runs" / RUN))
    rows = {(row.system, row.unit): row.value for row in compare(*found).rows}
    assert (rows["linux", "Mb/s"].a, rows["linux", "Mb/s"].b) == pytest.approx((40, 30), rel=0.03)
    assert (rows["linux", "% lost"].a, rows["linux", "% lost"].b) == pytest.approx((33.3, 50), rel=0.03)
    findings = {key: value.finding for key, value in rows.items()}
    assert findings["linux", "Mb/s"] == "lower" and findings["linux", "% lost"] == "higher"
    assert findings["copy", "Mb/s"] == findings["copy", "% lost"] == "cannot tell"


async def test_trials_end_when_every_interval_of_a_group_is_narrow(tmp_path: Path) -> None:
    document = changed(("plan/trials", 20), ("plan/until", {"measure": "throughput", "width": 0.2}))
    result = await run(FakeMachine(half), tmp_path, own(document))
    assert {row.trials for row in result.rows} == {3}


async def test_a_search_finds_what_each_system_carries(tmp_path: Path) -> None:
    document = changed(
        ("topology", "two-fddi-switched"),
        ("networks", {"ring-a": {"rate": 10000.0}, "ring-b": {"rate": 10000.0}}),
        ("search", {"start": 300.0, "resolution": 0.03}),
        ("plan/trials", 2),
    )
    result = await run(FakeMachine(), tmp_path, own(document), measured_s=0.2)
    found = {(row.system, row.factors["hogs"]): row.median for row in result.rows}
    assert found == pytest.approx(
        {("linux", 0): 2000, ("linux", 1): 1000, ("shipping", 0): 4400, ("shipping", 1): 2200}, rel=0.04
    )
    assert {row.trials for row in result.rows} == {2}
    assert {row.unit for row in result.rows} == {"Mb/s"}


async def test_a_search_may_allow_some_loss(tmp_path: Path) -> None:
    document = changed(
        ("networks", {"ring-a": {"rate": 10000.0}, "ring-b": {"rate": 10000.0}}),
        ("search", {"start": 300.0, "loss": 0.2, "resolution": 0.03}),
        ("plan/trials", 1),
        ("factors", {"system": ["linux"]}),
    )
    result = await run(FakeMachine(), tmp_path, own(document), measured_s=0.2)
    assert result.rows[0].median == pytest.approx(2000 / 0.8, rel=0.04)


async def test_events_happen_in_their_time_and_nothing_is_left_of_them(tmp_path: Path) -> None:
    machine = FakeMachine(speed=1.0)
    document = changed(
        ("events", ["at 0.2s: ring-b.rate=50", "at 0.1s: hogs=2", "at 0.3s: cut sink.ring-b"]),
        ("factors", {"system": ["linux"]}),
        ("plan/trials", 1),
    )
    await run(machine, tmp_path, own(document))
    (trial,) = trials(tmp_path)
    happened = [event["event"] for event in trial["events"]]
    assert happened == ["at 0.1s: hogs=2", "at 0.2s: ring-b.rate=50", "at 0.3s: cut sink.ring-b"]
    assert all(event["done_s"] >= event["at_s"] - 0.06 for event in trial["events"])
    first = machine.calls.index("set_hogs lab middle 2")
    assert first < machine.calls.index("set_network lab ring-b 50")
    assert machine.calls.count("cut lab ring-b sink") == 1
    assert "heal lab ring-b sink" in machine.calls[machine.calls.index("cut lab ring-b sink") :]
    lab = machine._labs["lab"]
    assert lab.hogs["middle"] == 0
    assert {network["rate_mbps"] for network in lab.record["networks"].values()} == {100}


async def test_an_event_that_came_too_late_makes_the_trial_invalid(tmp_path: Path) -> None:
    document = changed(("events", ["at 0.4s: hogs=2"]), ("factors", {}), ("plan/trials", 1))
    result = await run(FakeMachine(speed=100.0), tmp_path, own(document))
    assert result.verdict == "invalid"
    assert "the source had ended before 'at 0.4s: hogs=2'" in trials(tmp_path)[0]["reasons"]


@pytest.mark.parametrize("moment", [5, 40, 80])
async def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path, moment: int) -> None:
    machine = FakeMachine(half)
    experiment = own(changed(("plan/seed", None)))
    running = asyncio.create_task(run(machine, tmp_path, experiment))
    await eventually(lambda: len(machine.calls) >= moment, f"{moment} requests to the machine")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert machine.running("lab") == []
    journal = tmp_path / "runs" / RUN / "trials.jsonl"
    before = journal.read_bytes() if journal.exists() else b""
    with journal.open("ab") as file:
        file.write(b'{"number": 3, "rou')  # as a crash leaves it
    result = await run(machine, tmp_path, experiment)
    assert result.verdict == "measured"
    assert journal.read_bytes().startswith(before)
    assert sorted(trial["number"] for trial in trials(tmp_path)) == list(range(8))
    order = [(trial["round"], trial["system"], trial["factors"]) for trial in trials(tmp_path)]
    seed = json.loads((journal.parent / "definition.json").read_text())["seed"]
    other = tmp_path / "other"
    await run(FakeMachine(half), other, experiment, Options(seed=seed))
    assert order == [(trial["round"], trial["system"], trial["factors"]) for trial in trials(other)]


async def test_a_search_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    document = changed(
        ("networks", {"ring-a": {"rate": 10000.0}, "ring-b": {"rate": 10000.0}}),
        ("search", {"start": 300.0}),
        ("plan/trials", 1),
    )
    machine = FakeMachine()
    running = asyncio.create_task(run(machine, tmp_path, own(document), measured_s=0.1))
    await eventually(lambda: len(machine.calls) >= 200, "200 requests to the machine")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    done = len(trials(tmp_path))
    assert done > 2
    result = await run(machine, tmp_path, own(document), measured_s=0.1)
    assert result.rows[0].median == pytest.approx(2000, rel=0.06)
    numbers = [trial["number"] for trial in trials(tmp_path)]
    assert numbers == list(range(len(numbers)))


async def test_another_experiment_does_not_go_on_in_the_same_place(tmp_path: Path) -> None:
    await run(FakeMachine(half), tmp_path, own(changed()))
    with pytest.raises(TrialFailed, match="is not what it was when the run began"):
        await run(FakeMachine(half), tmp_path, own(changed(("plan/trials", 3))))


async def test_a_lab_that_is_not_the_experiments_is_refused(tmp_path: Path) -> None:
    machine = FakeMachine()
    await machine.deploy("lab", {"name": "other", "hosts": {"a": None}, "networks": {}})
    experiment = own(changed())
    with pytest.raises(TrialFailed, match="does not have what experiment mine needs: there is no"):
        await execute(machine, "lab", experiment, Options(), tmp_path, lambda event: None)
