"""What happens in a trial, and what the source should have offered meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.experiments.journal import Journal
from orchestrator.experiments.own.trial import OwnTrial
from orchestrator.experiments.timeline import Event, Timeline, mean_rate


@pytest.mark.parametrize(
    ("changes", "mean"),
    [
        ([], 60.0),
        ([(120.0, 150)], 90.0),
        ([(120.0, 50)], 120.0),
        ([(0.0, 250)], 60.0),
        ([(0.0, 125), (120.0, 150)], 75.0),
    ],
)
def test_a_rate_that_changes_has_a_mean(changes: list[tuple[float, int]], mean: float) -> None:
    assert mean_rate(60.0, changes, 100, 200) == mean


async def test_events_are_done_in_order_and_what_was_offered_is_known_between_two_moments() -> None:
    done: list[str] = []

    async def do(event: Event) -> None:
        done.append(event.text)

    events = (Event(0.02, "later", "pace", "from", 120.0), Event(0.01, "first", "hogs", "middle", 1))
    told: list[str] = []
    timeline = Timeline(events, do, told.append)
    t0_ns = time.monotonic_ns()
    await timeline.play(t0_ns / 1e9)
    t1_ns = time.monotonic_ns()
    assert done == told == ["first", "later"]
    least, most = timeline.offered(60.0, t0_ns, 2 * t1_ns - t0_ns)
    assert 60.0 < least <= most < 120.0
    assert [one.event for one in timeline.happened(t0_ns)] == done
    assert all(one.done_s >= one.at_s for one in timeline.happened(t0_ns))
    assert timeline.missed() == []


def test_what_happens_is_told_with_how_far_the_run_is(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    journal = Journal(tmp_path, said.append, 1.0, OwnTrial)
    journal.happened("hogs=2")  # nobody would know of what
    journal.progress("trials", 1, 4, 9.0)
    journal.happened("cut ring-b")
    how_far = {"phase": "trials", "done": 1, "total": 4, "seconds_left": 9.0, "trial": None}
    assert said == [how_far, {**how_far, "happened": "cut ring-b"}]
