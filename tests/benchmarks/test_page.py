"""A user relies on: `bench page` opens the page with a lab that moves, and says which frames were missed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page
from benchmarks.page.frames import Frames


@pytest.mark.root
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (Debian's package)")
def test_the_page_and_an_empty_one_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSSHIP_STATE", str(tmp_path))
    events: list[dict[str, Any]] = []
    result = page.run(1, [5], 0.5, events.append)
    rows = {(row["factors"]["measure"], row["system"]): row["median"] for row in result["rows"]}
    for name in page.PAGES:
        assert rows["first paint", name] > 0 and rows["longest frame", name] > 0
        assert 0 <= rows["frames missed", name] < 100
    assert rows["map drawn", "page"] > 0
    (kept,) = (tmp_path / "benchmarks").iterdir()
    assert {path.name for path in kept.iterdir()} == {
        "page-5-1.trace.json",
        "empty-5-1.trace.json",
        "page-5.png",
        "empty-5.png",
    }
    assert b'"traceEvents"' in (kept / "page-5-1.trace.json").read_bytes()
    assert events[-1]["done"] == events[-1]["total"] == len(page.PAGES)


def test_a_gap_of_three_frames_is_two_missed() -> None:
    frames = Frames([0, 16, 32, 48, 96, 112, 128])
    assert frames.missed == 2 / 8 and frames.longest_ms == 48


def test_a_late_frame_that_came_before_the_next_was_due_is_not_missed() -> None:
    assert Frames([0, 16, 38, 50, 66]).missed == 0


def test_without_frames_nothing_is_claimed() -> None:
    with pytest.raises(ValueError, match="two frames"):
        Frames([0])
