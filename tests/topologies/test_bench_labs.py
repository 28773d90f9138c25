"""A user relies on: `bench labs` measures both systems on a lab that works, and leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks._line import fitted
from benchmarks.labs import main, run

pytest.importorskip("mininet.topo", reason="needs the distribution's package mininet")


@pytest.mark.root
def test_both_systems_are_measured_in_the_fixed_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSSHIP_STATE", str(tmp_path))
    events: list[dict[str, Any]] = []
    limits = [Path("/proc/sys/net/core") / name for name in ("rmem_max", "wmem_max", "netdev_max_backlog")]
    before = [limit.read_text() for limit in limits]
    sizes = (2, 3, 4)
    result = run(1, sizes, events.append)
    assert result["benchmark"] == "labs"
    rows = {(row["system"], *row["factors"].values()): row for row in result["rows"]}
    phases = ("up", "down", "memory", "memory left")
    assert list(rows) == [
        (system, phase, hosts) for phase in phases for hosts in sizes for system in ("mininet", "transship")
    ]
    for (_, phase, _), row in rows.items():
        assert row["invalid_trials"] == 0, result["environment"]["notes"]
        assert row["unit"] == ("s" if phase in ("up", "down") else "MB")
        assert phase.startswith("memory") or 0 < row["ci95"][0] <= row["median"] <= row["ci95"][1]
    assert len(result["ratios"]) == 2 * len(sizes)
    for ratio in result["ratios"]:
        assert (ratio["of"], ratio["to"]) == ("mininet", "transship")
        assert ratio["median"] > 0
    lines = {(line["system"], line["phase"]) for line in result["environment"]["lines"]}
    assert {("mininet", "up"), ("transship", "up"), ("mininet", "down"), ("transship", "down")} <= lines
    assert Path(result["figure"]).stat().st_size > 0
    assert [event["done"] for event in events] == list(range(len(events)))
    assert [limit.read_text() for limit in limits] == before, "Mininet's limits do not reach the machine"


def test_a_line_is_found_and_what_is_off_it() -> None:
    straight = fitted("transship", "up", "s", [(10, 1.1), (20, 2.1), (40, 4.1)])
    assert straight is not None
    assert (straight.fixed, straight.each, straight.residual) == pytest.approx((0.1, 0.1, 0.0), abs=1e-9)
    assert straight.at(100) == pytest.approx(10.1)
    bent = fitted("transship", "up", "s", [(hosts, hosts**2.0) for hosts in (10, 20, 40, 80)])
    assert bent is not None
    assert bent.power == pytest.approx(2.0)
    assert bent.residual > 0.05
    assert fitted("transship", "up", "s", [(10, 1.0), (20, 2.0), (20, 2.1)]) is None


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionError, match="needs root"):
        main({"quick": True}, lambda event: None)
