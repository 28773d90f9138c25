"""`bench stdio`, small: every system counts every byte, and who does not makes no number."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import stdio
from benchmarks.stdio.trial import SYSTEMS, Programs, TrialError, build, run_trial

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")

TOTAL = 8 << 20
ANY_CPU = [min(os.sched_getaffinity(0))] * 2


def ignore(event: dict[str, Any]) -> None:
    """Progress is for people."""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def programs(state: Path) -> Programs:
    return build(state / "cache")


def test_every_system_counts_all_and_is_compared(
    programs: Programs, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSSHIP_STATE", str(state))  # where they are compiled already
    result = stdio.run(trials=2, total=TOTAL, report=ignore)
    assert result["environment"]["notes"] == []
    assert [(row["system"], row["unit"]) for row in result["rows"]] == [
        *((system, "MB/s") for system in SYSTEMS),
        *((system, "ns/byte") for system in SYSTEMS),
    ]
    assert all(row["trials"] == 2 and row["invalid_trials"] == 0 for row in result["rows"])
    assert all(row["median"] > 0 for row in result["rows"] if row["unit"] == "MB/s")
    assert [(ratio["of"], ratio["to"]) for ratio in result["ratios"]] == [
        ("shipping", "glibc"),
        ("shipping", "glibc-unlocked"),
        ("glibc", "shipping"),
        ("glibc-unlocked", "shipping"),
    ]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("cat > /dev/null; echo 1 2 3", "counted '1 2 3' of 8388608 bytes"),
        ("echo no good >&2; exit 3", "the reader ended with exit status 3: no good"),
    ],
)
def test_a_reader_that_fails_is_told(script: str, said: str, programs: Programs, tmp_path: Path) -> None:
    reader = tmp_path / "reader"
    reader.write_text(f"#!/bin/sh\n{script}\n")
    reader.chmod(0o755)
    with pytest.raises(TrialError, match=said):
        run_trial(Programs(programs.feed, {"glibc": reader}), "glibc", TOTAL, ANY_CPU)


def test_a_manager_that_cannot_start_is_told(programs: Programs) -> None:
    broken = Programs(Path("/bin/false"), programs.readers)
    with pytest.raises(TrialError, match="the manager did not start"):
        run_trial(broken, "shipping", TOTAL, ANY_CPU)
