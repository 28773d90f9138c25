"""A user relies on: `bench watching` runs its experiment watched and not, and says what that did."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import watching
from benchmarks.watching.usage import Usage


@pytest.mark.root
def test_an_experiment_is_measured_watched_and_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSSHIP_STATE", str(tmp_path))
    events: list[dict[str, Any]] = []
    result = watching.run(1, ("none", "inspect", "live"), 0.3, events.append)
    notes = result["environment"]["notes"]
    rows = {(*row["factors"].values(), row["system"]): row for row in result["rows"]}
    watches = {row["factors"]["watch"] for row in result["rows"]}
    for watch in watches:
        for hogs in watching.HOGS:
            for system in watching.SYSTEMS:
                row = rows["throughput", hogs, watch, system]
                assert row["invalid_trials"] == (row["median"] is None), notes
        assert rows["CPU s/s", watch, "orchestrator"]["median"] > 0
        assert rows["memory", watch, "machine agent"]["median"] > 1
    assert {"none", "inspect"} <= watches
    for watch in watches - {"none"}:
        assert rows["answers per second", watch, "watcher"]["median"] > 0
    assert ("live" in watches) != ("live: left out, this orchestrator has nothing of the kind" in notes)
    assert rows["median latency", "inspect", "watcher"]["median"] > 0
    assert not [note for note in notes if "requests failed" in note]
    assert {ratio["of"] for ratio in result["ratios"]} == watches - {"none"}
    assert Path(result["figure"]).stat().st_size > 0
    assert events[-1]["done"] == events[-1]["total"] == len(watches)


def row(median: float | None, low: float, high: float, trials: int = 7) -> dict[str, Any]:
    return {"median": median, "ci95": [low, high], "trials": trials, "invalid_trials": 0}


def test_moved_means_outside_of_the_interval_of_nobody_watching() -> None:
    alone = row(50.0, 48.0, 51.0)
    assert watching.moved(row(48.5, 40.0, 60.0), alone).startswith("did not move")
    assert watching.moved(row(47.9, 40.0, 60.0), alone).startswith("moved")
    assert watching.moved(row(51.1, 40.0, 60.0), alone).startswith("moved")


def test_with_few_trials_nothing_is_said_to_have_moved_or_not() -> None:
    assert watching.moved(row(40.0, 40.0, 40.0), row(50.0, 50.0, 50.0, trials=1)).startswith("cannot be told")
    assert watching.moved(row(None, 0.0, 0.0), row(50.0, 48.0, 51.0)).startswith("cannot be told")


def test_the_cpu_time_of_a_process_is_seen() -> None:
    before = Usage.of(os.getpid())
    while (now := Usage.of(os.getpid())).cpu_s < before.cpu_s + 0.05:
        pass
    assert 0 < now.since(before) <= 2
    assert now.memory_mb > 1


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionError, match="needs root"):
        watching.main({"quick": True}, lambda event: None)
