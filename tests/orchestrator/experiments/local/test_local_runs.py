"""What `reproduce ipc`, `video` and `cp` do on a machine, here a model of one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agents.client import Json
from agents.errors import AgentError
from orchestrator.experiments.definitions import Options
from orchestrator.experiments.local.definition import LOCAL
from orchestrator.experiments.local.plan import LocalPlan, local_plan
from orchestrator.experiments.local.runner import execute
from orchestrator.experiments.processes import TrialFailed
from orchestrator.experiments.result import Ratio, Result, Row
from tests.agents.fake_machine import FakeMachine
from tests.agents.local_model import usual_rate
from tests.orchestrator.run_files import FILES
from tests.support import eventually
from topologies import resolve

RUN = "20260101-000000-abcdef"
QUICK = Options(quick=True, seed=1)


def short(options: Options) -> LocalPlan:
    return replace(local_plan(options), resamples=500, look_s=0.001)


async def run(
    machine: FakeMachine,
    tmp_path: Path,
    name: str,
    options: Options = QUICK,
    events: list[Json] | None = None,
) -> Result:
    await machine.deploy("lab", resolve(LOCAL[name].topology).model_dump(mode="json"))
    directory = tmp_path / "runs" / RUN
    directory.mkdir(parents=True, exist_ok=True)
    report = events.append if events is not None else lambda event: None
    return await execute(machine, "lab", LOCAL[name], options, directory, report, short(options))


def trials(tmp_path: Path) -> list[Json]:
    return [json.loads(line) for line in (tmp_path / "runs" / RUN / "trials.jsonl").read_text().splitlines()]


USUAL_POOL = {"tier": "cooperative", "page": "4 KiB"}


def matches(one: Row | Ratio, factors: dict[str, Any]) -> bool:
    """Has these factors and, where `factors` do not speak of it, the usual pool."""
    wanted = {name: level for name, level in USUAL_POOL.items() if name in one.factors} | factors
    return wanted.items() <= one.factors.items()


def row(result: Result, system: str, **factors: Any) -> Row:
    found = [one for one in result.rows if one.system == system and matches(one, factors)]
    assert len(found) == 1
    return found[0]


def ratio(result: Result, of: str, **factors: Any) -> Ratio:
    found = [one for one in result.ratios if (one.of, one.to) == (of, "linux") and matches(one, factors)]
    assert len(found) == 1
    return found[0]


async def test_ipc_has_the_six_bars_of_figure_4_beside_what_is_measured(tmp_path: Path) -> None:
    events: list[Json] = []
    machine = FakeMachine()
    result = await run(machine, tmp_path, "ipc", Options(trials=3, seed=1), events)
    assert result.verdict == "reproduced", result.environment["notes"]
    published = {
        ("linux", "full"): 30,
        ("shipping-to-copy", "full"): 36,
        ("copy-to-shipping", "full"): 48,
        ("shipping", "full"): 88,
        ("shipping", "half"): 128,
        ("shipping", "none"): 248,
    }
    for (system, touched), value in published.items():
        for cores in ("different", "same"):
            one = row(result, system, map=touched, cores=cores)
            assert (one.published, one.unit, one.trials, one.invalid_trials) == (value, "MB/s", 3, 0)
    assert ratio(result, "shipping", map="none", cores="different").median == pytest.approx(8.333, rel=1e-3)
    assert ratio(result, "shipping", map="none", cores="different").published == 8.27
    directory = tmp_path / "runs" / RUN
    assert {one.name for one in directory.iterdir()} == FILES
    for trial in trials(tmp_path):
        assert trial["series"]["values"]["mbytes_per_s"][1] == pytest.approx(trial["value"], rel=0.01)
    assert json.loads((directory / "result.json").read_text()) == result.model_dump(mode="json")
    assert result.figure == f"runs/{RUN}/figure.png"
    done = [event["done"] for event in events if event.get("phase") == "trials"]
    assert done == list(range(3 * len(result.rows)))
    assert machine.running("lab") == []


async def test_rows_that_are_compared_are_measured_side_by_side(tmp_path: Path) -> None:
    await run(FakeMachine(), tmp_path, "ipc", Options(trials=2, seed=3))
    order = [(trial["round"], tuple(trial["factors"].items())) for trial in trials(tmp_path)]
    blocks = [key for place, key in enumerate(order) if place == 0 or order[place - 1] != key]
    assert len(blocks) == len(set(blocks)) == 2 * (6 + 5)


@pytest.mark.parametrize("cores", ["same", "different"])
async def test_processes_are_pinned_as_the_factor_says(tmp_path: Path, cores: str) -> None:
    specs: list[list[Json]] = []

    def rate(row: list[Json]) -> float:
        specs.append(row)
        return usual_rate(row)

    await run(FakeMachine(rate=rate), tmp_path, "ipc")
    factors = [trial["factors"]["cores"] for trial in trials(tmp_path)]
    pinned = [[spec["params"]["cpu"] for spec in row] for row in specs]
    assert {tuple(cpus) for cpus, had in zip(pinned, factors, strict=True) if had == cores} == {
        (0, 0) if cores == "same" else (0, 1)
    }
    channels = [spec["params"]["channel"] for row in specs for spec in row[:1]]
    assert len(set(channels)) == len(channels)


async def test_the_pool_is_what_the_factors_say_and_conventional_io_has_none(tmp_path: Path) -> None:
    specs: list[list[Json]] = []

    def rate(row: list[Json]) -> float:
        specs.append(row)
        return usual_rate(row)

    await run(FakeMachine(rate=rate), tmp_path, "ipc")
    for one, of_it in zip(trials(tmp_path), specs, strict=True):
        large = one["factors"]["page"] == "2 MiB"
        pool = {"protection": one["factors"]["tier"], "page_bytes": 2 << 20 if large else 4096}
        for spec in of_it:
            params = spec["params"]
            assert params["operation_bytes"] == (2 << 20 if large else 128 << 10)
            asked = {name: params[name] for name in pool if name in params}
            assert asked == ({} if one["system"] == "linux" else pool)


async def test_video_sends_each_frame_through_the_relays_to_the_display(tmp_path: Path) -> None:
    rows: list[list[Json]] = []

    def rate(row: list[Json]) -> float:
        rows.append(row)
        return (
            72.0
            if "bus_mbytes_per_s" in row[-1]["params"]
            else 100.0 / len(row) ** (0.5 if row[0]["system"] == "shipping" else 3)
        )

    result = await run(FakeMachine(rate=rate), tmp_path, "video")
    assert sorted({len(row) for row in rows}) == [2, 3, 4, 5, 6]
    for one in rows:
        assert [spec["workload"] for spec in one] == ["server", *["relay"] * (len(one) - 2), "display"]
        cpus = [spec["params"]["cpu"] for spec in one]
        assert all(before != after for before, after in pairwise(cpus))
    limits = {row[-1]["params"].get("bus_mbytes_per_s") for row in rows}
    assert limits == {None, 72}
    assert {row[-1]["params"]["dma"] for row in rows} == {True, False}
    plain: Json = {"frame": "1264x960x8", "limit": "72 MB/s"}
    assert [row(result, system, relays=0, **plain).published for system in ("linux", "shipping")] == [12, 59]
    assert result.verdict == "reproduced", result.environment["notes"]
    rates = "linux 59.3 (0), 59.3 (2), 59.3 (4); shipping 59.3 (0), 59.3 (2), 59.3 (4)"
    text = f"frames/s (relays) with frame 1264x960x8, transfer dma, limit 72 MB/s: {rates}"
    assert text in _notes(result)


async def test_an_advantage_that_does_not_grow_is_not_reproduced(tmp_path: Path) -> None:
    machine = FakeMachine(rate=lambda row: 60.0 if row[0]["system"] == "shipping" else 10.0)
    result = await run(machine, tmp_path, "video")
    assert result.verdict == "not reproduced"
    assert any("4 relays is 6.00" in note and "not more than 6.00" in note for note in _notes(result))


async def test_no_gain_is_not_reproduced_and_named(tmp_path: Path) -> None:
    result = await run(FakeMachine(rate=lambda row: 30.0), tmp_path, "ipc")
    assert result.verdict == "not reproduced"
    pool = "tier cooperative, page 4 KiB"
    text = f"shipping/linux with cores different, map half, {pool} is 1.00 (1.00 to 1.00); needed 4.3"
    assert any(text in note for note in _notes(result))
    assert not any("cores same" in note for note in _notes(result))


async def test_a_copy_that_is_right_and_no_longer_a_loop_reproduces_cp(tmp_path: Path) -> None:
    machine = FakeMachine()
    result = await run(machine, tmp_path, "cp", Options(trials=2, seed=1))
    assert result.verdict == "reproduced", result.environment["notes"]
    assert [(one.system, one.factors, one.median) for one in result.rows] == [
        ("linux", {}, 134.2),
        ("shipping", {}, 134.2),
    ]
    assert any(
        call.startswith("exec lab workstation rm -rf -- /run/transship/lab/cp-") for call in machine.calls
    )


async def test_a_copy_that_differs_is_not_reproduced(tmp_path: Path) -> None:
    class Wrong(FakeMachine):
        async def exec(self, lab: str, host: str, argv: Any) -> Json:
            return {**await super().exec(lab, host, argv), "exit": int(argv[0] == "cmp")}

    result = await run(Wrong(), tmp_path, "cp")
    assert result.verdict == "not reproduced"
    assert any("(shipping) differs from its source" in note for note in _notes(result))


class Spoiled(FakeMachine):
    """Changes the results of one workload of the first trials with `shipping`."""

    def __init__(self, workload: str, times: int, **changes: Any) -> None:
        super().__init__()
        self._spoils, self._left, self._changes = workload, times, changes

    async def stop(self, lab: str, host: str, workload_id: str) -> Json:
        state = await super().stop(lab, host, workload_id)
        if self._left and state["system"] == "shipping" and state["workload"] == self._spoils:
            self._left -= 1
            return {**state, "result": {**state["result"], **self._changes}}
        return state


@pytest.mark.parametrize(
    ("workload", "changes", "text"),
    [
        ("consumer", {"bytes": 5}, "books differ: the producer passed on"),
        ("consumer", {"mismatches": 3}, "the consumer counted 3 mismatches"),
        ("consumer", {"ended": False}, "the consumer was stopped before the producer had closed"),
        ("consumer", {"t1_ns": 0}, "the consumer measured"),
    ],
)
async def test_a_trial_that_does_not_count_is_named_and_repeated(
    tmp_path: Path, workload: str, changes: Json, text: str
) -> None:
    result = await run(Spoiled(workload, 1, **changes), tmp_path, "ipc")
    assert result.verdict == "reproduced"
    bad = [trial for trial in trials(tmp_path) if not trial["valid"]]
    assert len(bad) == 1 and text in bad[0]["reasons"][0]
    assert len(trials(tmp_path)) == len(result.rows) + 1
    assert any(text in note and "is INVALID" in note for note in _notes(result))


async def test_processes_that_are_kept_from_working_measure_nothing(tmp_path: Path) -> None:
    machine = FakeMachine()
    machine.busy = 0.1
    result = await run(machine, tmp_path, "video")
    assert result.verdict == "invalid"
    limited = [trial for trial in trials(tmp_path) if trial["factors"]["limit"] != "none"]
    others = [trial for trial in trials(tmp_path) if trial["factors"]["limit"] == "none"]
    assert all(trial["valid"] for trial in limited)
    assert all("something else had the CPU" in trial["reasons"][0] for trial in others)


async def test_more_invalid_than_valid_trials_make_it_invalid(tmp_path: Path) -> None:
    result = await run(Spoiled("consumer", 100, bytes=5), tmp_path, "ipc")
    assert result.verdict == "invalid"
    text = "shipping with cores different, map none, tier cooperative, page 4 KiB has"
    assert any(text in note for note in _notes(result))


async def test_a_killed_process_makes_its_trial_invalid_and_is_named(tmp_path: Path) -> None:
    machine = FakeMachine(speed=2.0)
    running = asyncio.create_task(run(machine, tmp_path, "ipc"))

    def consumer() -> str | None:
        ids = machine.running("lab") if "lab" in machine._labs else []
        writes = any(one.startswith("producer") for one in ids)
        return next((one for one in ids if one.startswith("consumer") and writes), None)

    await eventually(consumer, "a consumer that reads")
    machine.kill_workload("lab", str(consumer()))
    machine.speed = 100.0
    await running
    (bad,) = [trial for trial in trials(tmp_path) if not trial["valid"]]
    assert "consumer" in bad["reasons"][0] and "killed by signal 9 (SIGKILL)" in bad["reasons"][0]
    assert machine.running("lab") == []


@pytest.mark.parametrize("name", ["ipc", "video", "cp"])
@pytest.mark.parametrize("moment", [4, 9, 25])
async def test_cancelling_at_any_moment_leaves_nothing_running(
    tmp_path: Path, name: str, moment: int
) -> None:
    machine = FakeMachine()
    running = asyncio.create_task(run(machine, tmp_path, name, Options(trials=5)))
    await eventually(lambda: len(machine.calls) >= moment, f"{moment} requests to the machine")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert machine.running("lab") == []
    if name == "cp":
        assert "exec lab workstation rm -rf" in machine.calls[-1]


async def test_a_dead_agent_ends_the_run_and_is_named(tmp_path: Path) -> None:
    machine = FakeMachine()
    running = asyncio.create_task(run(machine, tmp_path, "ipc"))
    await eventually(lambda: len(machine.calls) > 20, "trials to be under way")
    machine.broken = AgentError(503, "machine agent (pid 77) was killed by signal 9 (SIGKILL)")
    with pytest.raises(TrialFailed, match=r"machine agent .pid 77. was killed"):
        await running
    assert trials(tmp_path)[-1]["failed"]


@pytest.mark.parametrize(
    "hosts", [{"other": {"cpus": [0]}}, {"workstation": {"cpus": None}}], ids=["no host", "no cpus"]
)
async def test_a_lab_without_the_experiments_host_is_refused(tmp_path: Path, hosts: Json) -> None:
    machine = FakeMachine()
    await machine.deploy("lab", {"name": "other", "hosts": hosts, "networks": {}})
    with pytest.raises(TrialFailed, match="does not have what experiment ipc needs"):
        await execute(machine, "lab", LOCAL["ipc"], QUICK, tmp_path, lambda event: None)


async def test_one_cpu_has_no_different_cores(tmp_path: Path) -> None:
    machine = FakeMachine()
    await machine.deploy("lab", {"name": "one", "hosts": {"workstation": {"cpus": [3]}}, "networks": {}})
    directory = tmp_path / "runs" / RUN
    directory.mkdir(parents=True)
    result = await execute(machine, "lab", LOCAL["ipc"], QUICK, directory, lambda event: None, short(QUICK))
    assert result.verdict == "invalid"
    assert any("the host has one CPU (3); neighbours need two" in note for note in _notes(result))
    assert row(result, "shipping", map="none", cores="same").median is not None


def _notes(result: Result) -> list[str]:
    notes: list[str] = result.environment["notes"]
    return notes
