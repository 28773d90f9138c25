"""A user relies on: `bench labs` measures both systems on a lab that works, and leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.labs import main, run

pytest.importorskip("mininet.topo", reason="needs the distribution's package mininet")


@pytest.mark.root
def test_both_systems_are_measured_in_the_fixed_shape() -> None:
    events: list[dict[str, Any]] = []
    limits = [Path("/proc/sys/net/core") / name for name in ("rmem_max", "wmem_max", "netdev_max_backlog")]
    before = [limit.read_text() for limit in limits]
    result = run(2, [3], events.append)
    assert result["benchmark"] == "labs"
    assert [(row["system"], row["factors"]["phase"], row["invalid_trials"]) for row in result["rows"]] == [
        ("mininet", "up", 0),
        ("transship", "up", 0),
        ("mininet", "down", 0),
        ("transship", "down", 0),
    ], result["environment"]["notes"]
    for row in result["rows"]:
        assert row["factors"]["hosts"] == 3
        assert 0 < row["ci95"][0] <= row["median"] <= row["ci95"][1]
    for ratio in result["ratios"]:
        assert (ratio["of"], ratio["to"]) == ("mininet", "transship")
        assert ratio["median"] > 0
    assert [event["done"] for event in events] == list(range(len(events)))
    assert [limit.read_text() for limit in limits] == before, "Mininet's limits do not reach the machine"


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionError, match="needs root"):
        main({"quick": True}, lambda event: None)
