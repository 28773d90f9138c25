"""A user relies on: every system of `bench ipc` moves data right to the byte."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.processes import REPOSITORY
from benchmarks import ipc
from benchmarks.ipc import chart, trial, work
from benchmarks.ipc.trial import ICEORYX2, IN_C, IN_PYTHON, OURS, OURS_PYTHON, WITHOUT_LOOKING, TrialError
from benchmarks.ipc.work import Work
from tests.support import wait_until

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs"),
]

SMALLEST, ODD, LARGE = 64, 3 * 4096 + 64, (2 << 20) + 64
"""Bytes: the smallest; some pages and a bit; more than any queue between the two holds."""
SECONDS = 0.02


def systems(*names: str) -> list[Any]:
    missing = trial.missing_iceoryx2()
    skip = pytest.mark.skipif(missing is not None, reason=str(missing))
    return [pytest.param(name, marks=skip) if name in ICEORYX2 else name for name in names]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trial.program(tmp_path_factory.mktemp("cache"))


def places() -> set[Path]:
    """What systems make in the file system; /tmp/iceoryx2 is where iceoryx2 does unless told otherwise."""
    temporary = Path(tempfile.gettempdir())
    ours, theirs = temporary.glob("transship-ipc-*/**/*"), temporary.glob("iceoryx2/**/*")
    shared = [path for path in Path("/dev/shm").iterdir() if path.name.startswith(("transship", "iox2"))]
    return {*shared, *temporary.glob("transship-ipc-*"), *ours, *theirs}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = places()
    yield
    assert places() <= before


def tried(program: Path, system: str, size: int, touched: str, measure: str) -> dict[str, Any]:
    return trial.run_trial(program, Work(system, size, SECONDS, touched, measure, ipc.two_cpus(), ""))


@pytest.mark.parametrize("size", [SMALLEST, ODD, LARGE])
@pytest.mark.parametrize("system", systems(*IN_C, *IN_PYTHON))
def test_every_system_moves_every_byte(program: Path, system: str, size: int) -> None:
    for measure in ("throughput", "round-trip"):
        result = tried(program, system, size, "bytes", measure)
        assert result["messages"] > 0
        assert result["seconds"] >= SECONDS


@pytest.mark.parametrize("system", systems(*IN_C, *IN_PYTHON))
def test_every_system_is_measured(program: Path, system: str) -> None:
    assert tried(program, system, ODD, "lines", "throughput")["messages"] > 0
    if system in WITHOUT_LOOKING:
        assert tried(program, system, ODD, "nothing", "throughput")["messages"] > 0


ONE_TRIAL = """
import sys
from pathlib import Path
from benchmarks.ipc import trial, two_cpus, work
trial.run_trial(Path(sys.argv[1]), work.Work(sys.argv[2], 4096, 60.0, "lines", "round-trip", two_cpus(), ""))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("system", systems(OURS, *IN_PYTHON))
def test_a_benchmark_that_is_ended_early_leaves_nothing(program: Path, system: str, how: int) -> None:
    before, made = places(), "/dev/shm/*" if system in ICEORYX2 else "transship-ipc-*/place"
    with subprocess.Popen(
        [sys.executable, "-c", ONE_TRIAL, str(program), system], cwd=REPOSITORY, stderr=subprocess.DEVNULL
    ) as bench:
        wait_until(lambda: any(name.match(made) for name in places() - before), f"there is {made}", 30)
        bench.send_signal(how)
    wait_until(lambda: places() <= before, "they are gone", 30)


def test_who_gives_pages_away_says_of_what_kind(program: Path) -> None:
    for touched in ("lines", "nothing"):
        assert tried(program, "vmsplice", ODD, touched, "throughput")["pages"] in (
            "huge",
            "transparent huge",
            "small",
        )


@pytest.mark.parametrize("kind", ["lines", "bytes"])
def test_a_message_that_was_changed_on_the_way_is_found(kind: str) -> None:
    make, check = work.TOUCH[kind]
    assert make and check
    memory = np.zeros(4096, np.uint8)
    make(memory.data, 7)
    assert check(memory.data, 7)
    assert not check(memory.data, 8)
    memory[64] ^= 1
    assert not check(memory.data, 7)


def test_what_cannot_be_measured_says_why(program: Path) -> None:
    with pytest.raises(TrialError, match="SIZE: 1 given, a whole number from 64 "):
        tried(program, "pipe", 1, "lines", "throughput")
    with pytest.raises(TrialError, match="the manager did not start: ipc: SIZE: 8589934592 given"):
        tried(program, OURS_PYTHON, 1 << 33, "lines", "throughput")


def test_the_result_has_the_fixed_shape(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSSHIP_STATE", str(tmp_path))
    monkeypatch.setattr(ipc, "program", lambda cache: program)
    monkeypatch.setattr(ipc, "missing_iceoryx2", lambda: "iceoryx2 is not installed here")
    events: list[dict[str, Any]] = []
    result = ipc.run(1, [64, 4096], SECONDS, events.append)
    notes = result["environment"]["notes"]
    assert result["benchmark"] == "ipc"
    assert "iceoryx2 is not installed here: left out" in notes
    left = [system for system in (*IN_C, *IN_PYTHON) if system not in ICEORYX2]
    for size in (64, 4096):
        for measure, unit in (("throughput", "MB/s"), ("hand-over", "us"), ("round-trip", "us")):
            rows = [row for row in result["rows"] if row["factors"] == {"bytes": size, "measure": measure}]
            untouched = [name for name in left if name in WITHOUT_LOOKING]
            assert [row["system"] for row in rows] == (untouched if measure == "hand-over" else left)
            for row in rows:
                assert (row["unit"], row["trials"], row["invalid_trials"]) == (unit, 1, 0), notes
                assert row["median"] > 0
    assert {OURS} == {
        ratio["of" if ratio["factors"]["measure"] == "throughput" else "to"] for ratio in result["ratios"]
    }
    assert Path(result["figure"]).read_bytes().startswith(b"\x89PNG")
    assert Path(result["figure"]).is_relative_to(tmp_path)
    assert events[-1]["done"] == events[-1]["total"] == len(result["rows"])


def test_a_trial_that_fails_is_told_and_the_others_count(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_ours(_: Path, work: Work) -> dict[str, Any]:
        if work.system != OURS:
            raise TrialError("not today")
        return {"messages": 2_000_000, "seconds": 2.0, "pages": ""}

    monkeypatch.setenv("TRANSSHIP_STATE", str(tmp_path))
    monkeypatch.setattr(ipc, "program", lambda cache: program)
    monkeypatch.setattr(ipc, "run_trial", only_ours)
    result = ipc.run(2, [64], SECONDS, lambda event: None)
    medians = {row["factors"]["measure"]: row["median"] for row in result["rows"] if row["system"] == OURS}
    assert medians == {"throughput": 64.0, "hand-over": 1.0, "round-trip": 1.0}
    assert all(row["invalid_trials"] == 2 for row in result["rows"] if row["system"] != OURS)
    assert "pipe, 64 bytes, throughput, trial 2: not today" in result["environment"]["notes"]
    assert all(ratio["median"] is None for ratio in result["ratios"])


def test_one_cpu_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    with pytest.raises(RuntimeError, match="needs two CPUs"):
        ipc.main({"quick": True}, lambda event: None)


@pytest.mark.parametrize(("size", "words"), [(64, "64"), (4096, "4 Ki"), (1 << 22, "4 Mi")])
def test_sizes_in_words(size: int, words: str) -> None:
    assert chart.in_words(size) == words
