"""What `reproduce fddi` does on a machine, here a model of one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.errors import AgentError
from orchestrator.experiments.definitions import EXPERIMENTS, Options, Profile
from orchestrator.experiments.plan import Plan, plan_for
from orchestrator.experiments.result import Result
from orchestrator.experiments.runner import execute
from orchestrator.experiments.workloads import TrialFailed
from tests.agents.fake_machine import FakeMachine
from tests.orchestrator.experiments.live_machine import LiveMachine, with_lab
from tests.orchestrator.run_files import FILES
from tests.support import eventually

FDDI = EXPERIMENTS["fddi"]
SHORT: dict[str, Any] = {
    "probe_settle_s": 0.01,
    "probe_s": 0.05,
    "look_s": 0.001,
    "drain_s": 0.2,
    "resamples": 500,
}


def short(options: Options) -> Plan:
    return replace(plan_for(options), **SHORT)


async def run(
    machine: FakeMachine, tmp_path: Path, options: Options, events: list[dict[str, Any]] | None = None
) -> Result:
    await with_lab(machine)
    directory = tmp_path / "runs" / "20260101-000000-abcdef"
    directory.mkdir(parents=True, exist_ok=True)
    report = events.append if events is not None else lambda event: None
    return await execute(machine, "fddi", FDDI, options, directory, report, short(options))


def trials(tmp_path: Path) -> list[dict[str, Any]]:
    text = (tmp_path / "runs/20260101-000000-abcdef/trials.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def paper(system: str, hogs: int, cpu: float) -> float:
    """A machine like the paper's: conventional I/O falls as 1/(n+1), copy-free I/O is 1.6 times as fast."""
    speed = {"linux": 2000.0, "linux-batch": 2300.0, "copy": 2500.0, "shipping": 3200.0}[system]
    return speed * cpu / (1 + hogs)


def slow(system: str, hogs: int, cpu: float) -> float:
    return paper("linux", hogs, cpu)


async def test_a_machine_like_the_papers_reproduces_it(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    machine = LiveMachine(paper)
    result = await run(machine, tmp_path, Options(trials=3, seed=1), events)

    assert result.verdict == "reproduced", result.environment["notes"]
    assert len(result.rows) == 16
    assert {row.trials for row in result.rows} == {3}
    assert len(result.ratios) == 5 * 4
    loaded = [r for r in result.ratios if (r.of, r.to) == ("shipping", "linux") and r.factors["hogs"]]
    assert [ratio.published for ratio in loaded] == [1.3, 1.3, 1.3]
    assert all(ratio.median is not None and 1.4 < ratio.median < 1.9 for ratio in loaded)
    linux = {row.factors["hogs"]: row.median for row in result.rows if row.system == "linux"}
    for hogs, wanted in {1: 50.0, 2: 33.3, 3: 25.0}.items():
        assert linux[hogs] == pytest.approx(wanted, rel=0.15)
    directory = tmp_path / "runs/20260101-000000-abcdef"
    assert {one.name for one in directory.iterdir()} == FILES | {"calibration.json"}
    assert json.loads((directory / "result.json").read_text()) == result.model_dump(mode="json")
    assert result.figure == "runs/20260101-000000-abcdef/figure.png"
    assert events[-1]["phase"] == "result"
    done = [event["done"] for event in events if event.get("phase") == "trials"]
    assert done == list(range(48))
    kept = [event["kept"] for event in events if "kept" in event]
    assert len(kept) == 48
    first = {name: kept[0][name] for name in ("valid", "balanced")}
    assert (first, kept[0]["summary"]["system"]) == ({"valid": True, "balanced": True}, kept[0]["system"])
    assert {one["factors"] for one in kept} == {f"{hogs} hogs" for hogs in range(4)}
    assert machine.running("fddi") == []


async def test_a_budget_that_is_the_best_of_bad_ones_is_told_with_the_result(tmp_path: Path) -> None:
    def steep(system: str, hogs: int, cpu: float) -> float:
        return paper(system, 0, cpu) / (1 + hogs) ** 2

    def misfits(result: Result) -> list[str]:
        return [note for note in result.environment["notes"] if "makes this machine the paper's" in note]

    (told,) = misfits(await run(LiveMachine(steep), tmp_path / "steep", Options(quick=True, seed=1)))
    assert "linux with 0, 1, 2, 3 hogs did" in told and "instead of 93.0, 50.0, 33.3, 25.0" in told
    assert misfits(await run(LiveMachine(paper), tmp_path, Options(quick=True, seed=1))) == []


async def test_every_trial_is_written_down_with_books_that_balance(tmp_path: Path) -> None:
    await run(LiveMachine(paper), tmp_path, Options(quick=True, seed=1))
    written = trials(tmp_path)
    assert len(written) == 16
    assert len({trial["flow"] for trial in written}) == 16
    for trial in written:
        books = trial["books"]
        assert trial["valid"], trial["reasons"]
        assert books["sent"] == books["received"] + sum(books["drops"].values())
        assert (
            books["lost"] == sum(b - a + 1 for a, b in books["lost_ranges"])
            or not books["lost_ranges_complete"]
        )


async def test_every_trial_has_its_series(tmp_path: Path) -> None:
    await run(LiveMachine(paper), tmp_path, Options(quick=True, seed=1))
    for trial in trials(tmp_path):
        series, measured = trial["series"], trial["throughput_mbps"]
        inside = [i for i, end in enumerate(series["t_s"]) if 0.5 <= end <= 1.0]
        assert inside and series["interval_s"] == 0.5
        for name, whole in (("offered_mbps", trial["offered_mbps"]), ("throughput_mbps", measured)):
            assert [series["values"][name][i] for i in inside] == [pytest.approx(whole, rel=0.02)] * len(
                inside
            )
        assert [series["values"]["loss"][i] for i in inside] == [
            pytest.approx(trial["loss"], abs=0.02)
        ] * len(inside)


async def test_one_quick_trial_each_claims_no_interval(tmp_path: Path) -> None:
    result = await run(LiveMachine(paper), tmp_path, Options(quick=True, seed=1))
    assert {row.trials for row in result.rows} == {1}
    assert all(row.ci95 == [row.median, row.median] for row in result.rows)
    assert any("one trial each" in note for note in result.environment["notes"])


async def test_no_gain_is_not_reproduced(tmp_path: Path) -> None:
    result = await run(LiveMachine(slow), tmp_path, Options(quick=True, seed=1))
    assert result.verdict == "not reproduced"
    assert any("shipping/linux with 1 hogs" in note for note in result.environment["notes"])


async def test_vanished_datagrams_make_it_invalid_and_are_named(tmp_path: Path) -> None:
    machine = LiveMachine(paper)
    machine.vanish, machine.duplicate = {100}, {7, 8, 9}
    result = await run(machine, tmp_path, Options(quick=True, seed=1))
    assert result.verdict == "invalid"
    shipping = next(t for t in trials(tmp_path) if t["system"] == "shipping" and t["hogs"] == 0)
    text = " ".join(shipping["reasons"])
    assert "ring-b" in text and "1 datagrams vanished without a name" in text
    assert shipping["books"]["lost_ranges"] == [[100, 100]]
    assert shipping["books"]["duplicated"] == 3


async def test_scaled_finds_the_rings_that_conventional_io_just_fills(tmp_path: Path) -> None:
    result = await run(LiveMachine(paper), tmp_path, Options(profile="scaled", trials=2, seed=1))
    calibration = result.environment["calibration"]
    assert calibration["offered_mbps"] == pytest.approx(2000, rel=0.04)
    assert calibration["ring_mbps"] == pytest.approx(2000 / 0.93, rel=0.04)
    assert calibration["quota_us"] is None
    assert calibration["queue_datagrams"] == 256  # here the length makes no difference
    assert calibration["error"] < 0.1
    assert {row.unit for row in result.rows} == {"% of ring"}
    idle = next(row for row in result.rows if (row.system, row.factors["hogs"]) == ("linux", 0))
    assert idle.median == pytest.approx(93, rel=0.02)
    assert result.verdict == "reproduced", result.environment["notes"]


async def test_modern_finds_the_highest_lossless_rates(tmp_path: Path) -> None:
    result = await run(LiveMachine(paper), tmp_path, Options(profile="modern", trials=2, seed=1))
    assert [row.factors for row in result.rows] == [{"hogs": 0}] * 4 + [{"hogs": 3}] * 4
    for row in result.rows:
        assert row.median == pytest.approx(paper(row.system, int(row.factors["hogs"]), 1.0), rel=0.04)
    ratio = next(r for r in result.ratios if (r.of, r.to) == ("shipping", "linux"))
    assert ratio.median == pytest.approx(1.6, rel=0.06)


@pytest.mark.parametrize("profile", ["period", "scaled", "modern"])
async def test_the_lab_is_left_as_it_was(tmp_path: Path, profile: Profile) -> None:
    machine = LiveMachine(paper)
    await run(machine, tmp_path, Options(profile=profile, quick=True, seed=1))
    lab = machine._labs["fddi"]
    assert machine.running("fddi") == []
    assert lab.hogs["middle"] == 0 and lab.cpu["middle"] == 1.0
    assert {network["rate_mbps"] for network in lab.record["networks"].values()} == {100}


@pytest.mark.parametrize("moment", [3, 20, 60, 90, 130])
async def test_cancelling_at_any_moment_leaves_nothing_running(tmp_path: Path, moment: int) -> None:
    machine = LiveMachine(paper)
    running = asyncio.create_task(run(machine, tmp_path, Options(quick=True, seed=1)))
    await eventually(lambda: len(machine.calls) >= moment, f"{moment} requests to the machine")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert machine.running("fddi") == []
    assert machine._labs["fddi"].hogs["middle"] == 0


async def test_a_killed_workload_ends_the_run_and_is_named(tmp_path: Path) -> None:
    machine = LiveMachine(paper, speed=1.0)
    running = asyncio.create_task(run(machine, tmp_path, Options(quick=True, seed=1)))

    def forwarder() -> str | None:
        ids = machine.running("fddi") if "fddi" in machine._labs else []
        source_runs = any(one.startswith("source") for one in ids)
        return next((one for one in ids if one.startswith("forwarder") and source_runs), None)

    await eventually(forwarder, "a forwarder under load")
    machine.kill_workload("fddi", str(forwarder()))
    with pytest.raises(TrialFailed, match=r"forwarder .* on host middle failed: killed by signal 9"):
        await running
    assert machine.running("fddi") == []


async def test_a_dead_agent_ends_the_run_and_is_named(tmp_path: Path) -> None:
    machine = LiveMachine(paper)
    running = asyncio.create_task(run(machine, tmp_path, Options(quick=True, seed=1)))
    await eventually(lambda: len(machine.calls) > 100, "trials to be under way")
    machine.broken = AgentError(503, "machine agent (pid 77) was killed by signal 9 (SIGKILL)")
    with pytest.raises(TrialFailed, match=r"machine agent .pid 77. was killed"):
        await running


async def test_a_run_that_was_stopped_goes_on_with_its_calibration_order_and_trials(tmp_path: Path) -> None:
    machine, options = LiveMachine(paper), Options(quick=True)
    running = asyncio.create_task(run(machine, tmp_path, options))
    directory = tmp_path / "runs/20260101-000000-abcdef"
    journal = directory / "trials.jsonl"
    await eventually(lambda: journal.exists() and len(trials(tmp_path)) >= 5, "five trials")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    before, calibration = trials(tmp_path), (directory / "calibration.json").read_bytes()
    result = await run(LiveMachine(slow), tmp_path, options)
    assert trials(tmp_path)[: len(before)] == before
    assert sorted(trial["number"] for trial in trials(tmp_path)) == list(range(16))
    assert (directory / "calibration.json").read_bytes() == calibration
    assert {row.trials for row in result.rows} == {1}


async def test_a_lab_without_the_experiments_hosts_is_refused(tmp_path: Path) -> None:
    machine = LiveMachine(paper)
    await machine.deploy("fddi", {"name": "other", "hosts": {"a": None}, "networks": {}})
    with pytest.raises(TrialFailed, match="does not have what experiment fddi needs"):
        await execute(machine, "fddi", FDDI, Options(), tmp_path, lambda event: None)


async def test_a_lab_with_another_medium_is_measured_and_noted(tmp_path: Path) -> None:
    said = "ring-a of this lab is a shared network; profile scaled uses a switched one"
    scaled = Options(profile="scaled", quick=True, seed=1)
    result = await run(LiveMachine(paper), tmp_path / "scaled", scaled)
    assert said in result.environment["notes"]
    result = await run(LiveMachine(paper), tmp_path, Options(quick=True, seed=1))
    assert not any("of this lab" in note for note in result.environment["notes"])
