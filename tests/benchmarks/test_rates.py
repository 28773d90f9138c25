"""A user relies on: `bench rates` measures the shapers of both systems, and says what it cannot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import rates
from benchmarks.rates.systems import MININET, SYSTEMS
from benchmarks.rates.trial import judged

pytest.importorskip("mininet.topo", reason="needs the distribution's package mininet")

SECOND = 10**9


@pytest.mark.root
def test_every_system_is_near_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSSHIP_STATE", str(tmp_path))
    events: list[dict[str, Any]] = []
    result = rates.run(1, [10, 1_000_000], 0.4, events.append)
    notes = result["environment"]["notes"]
    rows = {(row["system"], row["factors"]["rate_mbps"]): row for row in result["rows"]}
    assert set(rows) == {(system, rate) for system in SYSTEMS for rate in (10, 1_000_000)}
    for system in SYSTEMS:
        assert rows[system, 10]["invalid_trials"] == 0, notes
        assert abs(rows[system, 10]["median"]) < 20, "a busy machine is late, and yet shapes"
        assert (rows[system, 1_000_000]["median"], rows[system, 1_000_000]["trials"]) == (None, 0)
        assert any(note.startswith(f"{system}, 1000000 Mb/s: cannot") for note in notes)
    assert f"{MININET}, 1000000 Mb/s: cannot: TCLink ignores more than 1000 Mb/s" in notes
    assert Path(result["figure"]).stat().st_size > 0
    assert events[-1]["done"] == events[-1]["total"] == len(SYSTEMS)


def sink(frames: int, seconds: float) -> dict[str, Any]:
    first = 5 * SECOND
    return {
        "first_measured_ns": first,
        "last_measured_ns": first + round(seconds * SECOND),
        "received_measured": frames,
    }


def test_the_rate_is_that_of_frames_between_the_first_and_the_last() -> None:
    # 1001 frames of 1458 + 42 bytes are a thousand gaps: 12 Mb in 1.2 s
    busy = [(round((5 + at / 10) * SECOND), 3) for at in range(13)]
    found = judged(sink(1001, 1.2), busy, 0, 10.0, 1458)
    assert found["mbps"] == pytest.approx(10.0)
    assert found["reason"] is None


def test_a_shaper_that_did_not_always_have_something_to_send_is_not_blamed() -> None:
    waiting = [(round((5 + at / 10) * SECOND), at % 2) for at in range(12)]
    assert "at 6 of 12 looks nothing waited" in judged(sink(1001, 1.2), waiting, 0, 10.0, 1458)["reason"]
    once = [(round((5 + at / 100) * SECOND), int(at != 50)) for at in range(110)]
    assert judged(sink(1001, 1.2), once, 0, 10.0, 1458)["reason"] is None, "one look is no proof"
    unshaped = judged(sink(1001, 1.2), waiting, 7, None, 1458)
    assert unshaped["reason"] is None, "nothing is expected to wait where nothing is shaped"


def test_a_sink_that_had_no_room_says_nothing_of_the_shaper() -> None:
    busy = [(round(5.5 * SECOND), 3)]
    assert "no room for 7 datagrams" in judged(sink(1001, 1.2), busy, 7, 10.0, 1458)["reason"]


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionError, match="needs root"):
        rates.main({"quick": True}, lambda event: None)
