"""`bench ablation`, small: every tier with everything left out that can be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ablation

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")


def ignore(event: dict[str, Any]) -> None:
    """Progress is for people."""


def test_every_case_is_measured_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSSHIP_STATE", str(tmp_path))
    result = ablation.run(trials=1, pages=(4096, 2 << 20), seconds=0.02, report=ignore)
    assert result["environment"]["notes"] == []
    rows = {(row["system"], *row["factors"].values()): row for row in result["rows"]}
    assert len(rows) == 2 * 3 * len(ablation.CASES)
    assert all(row["invalid_trials"] == 0 and row["median"] > 0 for row in rows.values())
    compared = [(ratio["of"], ratio["to"]) for ratio in result["ratios"]]
    assert compared.count(("as it is", "as it is, cooperative")) == 2 * 2 * 2  # tiers, pages, looked at
    assert compared.count(("mapped unasked", "as it is")) == 3 * 2
    assert ("as it is", "as it is") not in compared
    assert Path(result["figure"]).stat().st_size > 0
