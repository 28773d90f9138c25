"""Two runs compared: what is told apart, what is not, and what is warned of."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from orchestrator.experiments.compare import CompareError, Comparison, compare, load, numbers
from orchestrator.experiments.definitions import Options
from tests.orchestrator.run_files import MACHINE, VALUES, written

A, B = "20260101-000000-aaaaaa", "20260101-000000-bbbbbb"
FASTER = {system: [1.2 * value for value in values] for system, values in VALUES.items()}


async def compared(tmp_path: Path, **of_b: Any) -> Comparison:
    for name, named in ((A, {}), (B, of_b)):
        (tmp_path / name).mkdir()
        await written(tmp_path / name, **named)
    return compare(load(A, tmp_path / A), load(B, tmp_path / B))


async def test_what_differs_is_told_with_its_intervals_and_what_does_not_is_not(tmp_path: Path) -> None:
    found = await compared(tmp_path, values=FASTER)
    assert [(row.system, row.unit, row.value.finding) for row in found.rows] == [
        ("linux", "MB/s", "higher"),
        ("shipping", "MB/s", "higher"),
    ]
    linux = found.rows[0].value
    assert (linux.a, linux.b, linux.trials, linux.ratio) == (100.0, 120.0, (5, 5), 1.2)
    assert linux.ratio_ci95 is not None and 1.17 < linux.ratio_ci95[0] < 1.2 < linux.ratio_ci95[1] < 1.23
    assert linux.difference_ci95 is not None and linux.difference_ci95[0] > 15
    # Both systems became faster alike, so what one is to the other did not change.
    assert [(one.of, one.to, one.value.finding) for one in found.ratios] == [
        ("shipping", "linux", "cannot tell")
    ]
    assert found.warnings == []


async def test_a_run_beside_itself_cannot_be_told_apart(tmp_path: Path) -> None:
    found = await compared(tmp_path)
    assert {one.value.why for one in found.rows} == {"the interval includes no difference"}


@pytest.mark.parametrize(
    ("count", "finding", "why"),
    [
        (3, "higher", ""),  # one order of 56
        (2, "cannot tell", "too few trials: 5 and 2 can differ by chance alone"),
        (1, "cannot tell", "too few trials: 5 and 1 can differ by chance alone"),
        (0, "cannot tell", "B has no valid trial"),
    ],
)
async def test_too_few_trials_tell_nothing_however_far_apart(
    tmp_path: Path, count: int, finding: str, why: str
) -> None:
    few = {
        system: [*(100 * value for value in values[:count]), *[None] * (5 - count)]
        for system, values in VALUES.items()
    }
    for row in (await compared(tmp_path, values=few)).rows:
        assert (row.value.trials, row.value.finding, row.value.why) == ((5, count), finding, why)


def test_without_a_difference_one_is_rarely_seen() -> None:
    chance = random.Random(7)
    seen = 0
    for _ in range(200):
        a, b = ([chance.gauss(100, 5) for _ in range(7)] for _ in range(2))
        seen += numbers(a, b).finding != "cannot tell"
    assert seen <= 20  # 5 % of 200 are 10


async def test_what_surrounds_the_trials_and_differs_is_listed(tmp_path: Path) -> None:
    machine = copy.deepcopy(MACHINE)
    machine["kernel"] = "6.12"
    machine["project"]["commit"] = "1" * 40
    machine["lab"]["lab"] = "y"
    machine["lab"]["steering"]["applied"] = False
    machine["load_average"] = [3.0, 3.0, 3.0]
    found = await compared(tmp_path, machine=machine, options=Options(trials=5, seed=9))
    assert found.warnings == [
        "options differs: trials: null in A, 5 in B",
        f'environment differs: project.commit: "{"0" * 40}" in A, "{"1" * 40}" in B',
        'environment differs: kernel: "6.1" in A, "6.12" in B',
        "environment differs: lab.steering.applied: true in A, false in B",
    ]


async def test_another_definition_is_told_and_rows_of_one_run_are_left_out(tmp_path: Path) -> None:
    await compared(tmp_path)
    path = tmp_path / B / "definition.json"
    document = json.loads(path.read_text())
    document["definition"]["operation_bytes"] = 4096
    path.write_text(json.dumps(document))
    path = tmp_path / B / "result.json"
    result = json.loads(path.read_text())
    del result["rows"][0]
    path.write_text(json.dumps(result))
    found = compare(load(A, tmp_path / A), load(B, tmp_path / B))
    assert [row.system for row in found.rows] == ["shipping"]
    assert any(one.startswith("definition differs: operation_bytes: ") for one in found.warnings)
    assert "1 rows are in one of the runs only, and are left out" in found.warnings


async def test_what_cannot_be_compared_is_refused_with_the_reason(tmp_path: Path) -> None:
    await compared(tmp_path)
    a, b = load(A, tmp_path / A), load(B, tmp_path / B)
    b.result.experiment = "ipc"
    with pytest.raises(CompareError, match=f"{A} is a run of cp, {B} one of ipc"):
        compare(a, b)
    for outcomes in ("7", '{"outcomes": [{"round": []}]}', '{"outcomes": 1}'):
        (tmp_path / B / "outcomes.json").write_text(outcomes)
        with pytest.raises(CompareError, match="not as they were written"):
            load(B, tmp_path / B)
    (tmp_path / B / "outcomes.json").unlink()
    with pytest.raises(CompareError, match=f"the run {B} has no outcomes.json"):
        load(B, tmp_path / B)
    (tmp_path / A / "result.json").write_text("{}")
    with pytest.raises(CompareError, match="not as they were written"):
        load(A, tmp_path / A)
