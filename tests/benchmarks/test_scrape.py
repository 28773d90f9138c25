"""A user relies on: `bench scrape` reads every host both ways, and says how long that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import scrape


@pytest.mark.root
def test_every_host_is_read_both_ways() -> None:
    events: list[dict[str, Any]] = []
    result = scrape.run(1, (2, 3), 0.01, events.append)
    rows = {(row["system"], *row["factors"].values()): row for row in result["rows"]}
    for system in scrape.SYSTEMS:
        for size in (2, 3):
            row = rows[system, "time", size]
            assert (row["invalid_trials"], row["unit"], row["median"] > 0) == (0, "ms", True)
    assert len(result["ratios"]) == 4 and events[-1]["done"] == 2
    assert not list(Path("/run/netns").glob(f"transship-{scrape.LAB}-*"))


@pytest.mark.root
def test_a_scrape_without_every_host_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "GROUPS", 4)
    result = scrape.run(1, (2,), 0.01, lambda event: None)
    assert {row["invalid_trials"] for row in result["rows"]} == {1}
    assert "lab at once, 2 hosts, trial 1: 6 samples, not 8" in result["environment"]["notes"]
