"""`bench ipc`: moving data between two processes of one machine, handed over against copied.

Our local channel, from C and from Python, beside iceoryx2 (from Python), what the kernel offers, and what
memory that both share allows (from C). Two processes on two cores: one makes messages, the other looks at
them, and all systems touch the same bytes. docs/benchmarks.md says what is compared with what, and why.
"""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks._plan import Report, compiling, planned, told
from benchmarks._rows import SEED, ratio, row
from benchmarks.ipc.trial import (
    COPYING,
    ICEORYX2,
    IN_C,
    IN_PYTHON,
    OURS,
    OURS_PYTHON,
    WITHOUT_LOOKING,
    TrialError,
    missing_iceoryx2,
    program,
    run_trial,
)
from benchmarks.ipc.work import Work
from orchestrator.state import state_directory

SIZES = tuple(64 * 4**power for power in range(9))
"""64 bytes to 4 MiB."""
QUICK_SIZES = (64, 4096, 65536, 1 << 20)
TRIALS, QUICK_TRIALS = 5, 1
SECONDS, QUICK_SECONDS = 0.3, 0.1
MEASURES = {
    "throughput": ("lines", "throughput", "MB/s"),
    "hand-over": ("nothing", "throughput", "us"),
    "round-trip": ("lines", "round-trip", "us"),
}
"""By name: what is touched, how the messages go, and the unit."""


@dataclass(frozen=True)
class Point:
    """What one row says."""

    system: str
    size: int
    measure: str

    @property
    def factors(self) -> dict[str, Any]:
        return {"bytes": self.size, "measure": self.measure}

    @property
    def where(self) -> str:
        return f"{self.system}, {self.size} bytes, {self.measure}"

    @property
    def unit(self) -> str:
        return MEASURES[self.measure][2]

    def value(self, result: dict[str, Any]) -> float:
        """A trial's result in the unit of this row."""
        rate = float(result["messages"]) / float(result["seconds"])
        return rate * self.size / 1e6 if self.unit == "MB/s" else 1e6 / rate


@dataclass
class Found:
    """All trials of a benchmark: the value of each valid one by its number, and what is worth saying."""

    values: dict[Point, dict[int, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    pages: set[str] = field(default_factory=set)


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    full, quick = (TRIALS, SIZES, SECONDS), (QUICK_TRIALS, QUICK_SIZES, QUICK_SECONDS)
    return run(*planned(options, full, quick), report)


def run(trials: int, sizes: Sequence[int], seconds: float, report: Report) -> dict[str, Any]:
    """Measure every size and return the result in the shape of `reproduce --format json`, with a figure.

    Raises:
        RuntimeError: there are no two CPUs, or the C program cannot be compiled.
    """
    from benchmarks.ipc.chart import draw

    cpus, ipc = prepared(report)
    found = Found()
    missing = missing_iceoryx2()
    left_out = ICEORYX2 if missing else ()
    points = [point for point in _points(sizes) if point.system not in left_out]
    _measure(found, ipc, points, trials, seconds, cpus, report)
    rows = [
        row(point.system, point.factors, point.unit, found.values.get(point, {}), trials) for point in points
    ]
    figure = state_directory() / "benchmarks" / f"ipc-{time.strftime('%Y%m%d-%H%M%S')}.png"
    draw(rows, figure)
    return {
        "benchmark": "ipc",
        "environment": _environment(found, cpus, missing),
        "rows": rows,
        "ratios": _ratios(found, points),
        "figure": str(figure),
    }


def prepared(report: Report) -> tuple[tuple[int, int], Path]:
    """What trials need: two CPUs, and the C program. Raises RuntimeError."""
    cpus = two_cpus()
    compiling(report)
    return cpus, program(state_directory() / "cache")


def two_cpus() -> tuple[int, int]:
    """Two CPUs that this process may use, of different cores where it can be had. Raises RuntimeError."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise RuntimeError(
            f"bench ipc needs two CPUs, one for each process; this process may use {len(usable)}"
        )
    other = next((cpu for cpu in usable if _core(cpu) != _core(usable[0])), usable[1])
    return usable[0], other


def _core(cpu: int) -> str:
    """What tells the cores of this machine apart; empty where the kernel does not say."""
    folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return "/".join((folder / name).read_text().strip() for name in ("physical_package_id", "core_id"))
    except OSError:
        return ""


def _points(sizes: Sequence[int]) -> list[Point]:
    """In the order in which they are measured: systems next to each other."""
    return [
        Point(system, size, measure)
        for size, measure in itertools.product(sizes, MEASURES)
        for system in (WITHOUT_LOOKING if measure == "hand-over" else (*IN_C, *IN_PYTHON))
    ]


def _measure(
    found: Found,
    ipc: Path,
    points: Sequence[Point],
    trials: int,
    seconds: float,
    cpus: tuple[int, int],
    report: Report,
) -> None:
    """Trials alternate: one of each system, then the next of each."""
    plan = [
        one
        for _, group in itertools.groupby(points, key=lambda point: point.factors)
        for one in itertools.product(range(trials), list(group))
    ]
    for number, point in told(plan, "ipc", lambda one: one[1].where, report):
        touched, way, _ = MEASURES[point.measure]
        work = Work(point.system, point.size, seconds, touched, way, cpus, "")
        try:
            result = run_trial(ipc, work)
            found.values.setdefault(point, {})[number] = point.value(result)
            if point.system == "vmsplice" and result["pages"]:
                found.pages.add(result["pages"])
        except TrialError as error:
            found.problems.append(f"{point.where}, trial {number + 1}: {error}")


def _ratios(found: Found, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Ours to each peer in the same language; of times, the peer's to ours: above one, ours is the better."""
    peers = {OURS: COPYING, OURS_PYTHON: ICEORYX2}
    made = []
    for point in points:
        for peer in peers.get(point.system, ()):
            other = Point(peer, point.size, point.measure)
            of, to = (other, point) if point.unit == "us" else (point, other)
            if other not in points:
                continue
            values, to_values = found.values.get(of, {}), found.values.get(to, {})
            made.append(ratio(of.system, to.system, point.factors, values, to_values))
    return made


def _environment(found: Found, cpus: tuple[int, int], missing: str | None) -> dict[str, Any]:
    notes = [
        f"one process on CPU {cpus[0]}, the other on CPU {cpus[1]}; our manager has these two and no third",
        "throughput, round-trip: one side writes a word of each 64-byte line, the other reads it; "
        "hand-over: neither maps or touches the bytes, time from one message to the next",
        "all sleep when there is nothing to do; but iceoryx2 polls, and its publishers do without room",
    ]
    if _core(cpus[0]) == _core(cpus[1]):
        notes.append("the two CPUs may be threads of one core")
    if missing:
        notes.append(f"{missing}: left out")
    for pages in sorted(found.pages):
        asked = "" if pages == "huge" else ", because the machine has no free huge pages set aside"
        notes.append(f"vmsplice gives {pages} pages{asked}")
    return {
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "iceoryx2": None if missing else version("iceoryx2"),
        "seed": SEED,
        "notes": notes + found.problems,
    }
