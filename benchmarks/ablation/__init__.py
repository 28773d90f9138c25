"""`bench ablation`: what each protection tier costs, and each optimisation saves.

Two processes hand operations over through our local channel, as in `bench ipc`. One thing at a time is
changed: the pool's tier, the size of its pages, recycling, zeroing, mapping on request. docs/protection.md
says what they are.
"""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._plan import Report, planned, told
from benchmarks._rows import SEED, ratio, row
from benchmarks.ipc import prepared
from benchmarks.ipc.trial import OURS, TrialError, run_trial
from benchmarks.ipc.work import Work
from orchestrator.state import state_directory

TIERS = ("cooperative", "write-revoked", "strict")
"""As core/protection.h numbers them."""
OPERATION_BYTES = {4096: 128 << 10, 2 << 20: 2 << 20}
"""Of each size of pages: Figure 4's operation, and a container of one large page."""
TRIALS, QUICK_TRIALS = 7, 1
SECONDS, QUICK_SECONDS = 0.4, 0.1

AS_IT_IS = "as it is"
LOOKED_AT, UNSEEN = "every line", "nothing"
USUAL, ALL = 0, 3
"""Zeroing, as core/protection.h numbers it."""


@dataclass(frozen=True)
class Case:
    """What one bar is: something left out, or nothing. `touched` as ipc/main.c has it."""

    name: str
    touched: str
    zeroing: int = USUAL
    recycling: bool = True

    @property
    def looked_at(self) -> str:
        return LOOKED_AT if self.touched == "lines" else UNSEEN


CASES = (
    Case(AS_IT_IS, "lines"),
    Case("nothing recycled", "lines", recycling=False),
    Case("nothing recycled, all zeroed", "lines", ALL, recycling=False),
    Case(AS_IT_IS, "nothing"),
    Case("mapped unasked", "mapped"),
)


@dataclass(frozen=True)
class Point:
    """What one row says."""

    case: Case
    tier: str
    page_bytes: int

    @property
    def factors(self) -> dict[str, Any]:
        return {"tier": self.tier, "page_bytes": self.page_bytes, "looked_at": self.case.looked_at}

    @property
    def where(self) -> str:
        return f"{self.case.name}, {self.tier}, pages of {self.page_bytes} bytes"

    def work(self, seconds: float, cpus: tuple[int, int]) -> Work:
        pool = (TIERS.index(self.tier), self.case.zeroing, self.page_bytes, int(self.case.recycling))
        size = OPERATION_BYTES[self.page_bytes]
        return Work(OURS, size, seconds, self.case.touched, "throughput", cpus, "", pool)


Values = dict[Point, dict[int, float]]
"""Microseconds of an operation in each valid trial, by its number."""


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    pages = tuple(OPERATION_BYTES)
    full, quick = (TRIALS, pages, SECONDS), (QUICK_TRIALS, pages, QUICK_SECONDS)
    return run(*planned(options, full, quick), report)


def run(trials: int, pages: Sequence[int], seconds: float, report: Report) -> dict[str, Any]:
    """Measure, and return the result in the shape of `reproduce --format json`, with a figure.

    Raises:
        RuntimeError: there are no two CPUs, or the C program cannot be compiled.
    """
    from benchmarks.ablation.chart import draw

    cpus, ipc = prepared(report)
    points = [Point(case, tier, page) for page in pages for case in CASES for tier in TIERS]
    values: Values = {point: {} for point in points}
    problems: list[str] = []
    plan = list(itertools.product(range(trials), points))  # alternating: one of each, then the next of each
    for number, point in told(plan, "ablation", lambda one: one[1].where, report):
        try:
            result = run_trial(ipc, point.work(seconds, cpus))
            values[point][number] = 1e6 * float(result["seconds"]) / float(result["messages"])
        except TrialError as error:
            problems.append(f"{point.where}, trial {number + 1}: {error}")
    rows = [row(point.case.name, point.factors, "us", values[point], trials) for point in points]
    figure = state_directory() / "benchmarks" / f"ablation-{time.strftime('%Y%m%d-%H%M%S')}.png"
    draw(rows, figure)
    return {
        "benchmark": "ablation",
        "environment": {
            "kernel": platform.release(),
            "cpus": len(os.sched_getaffinity(0)),
            "operation_bytes": {str(page): OPERATION_BYTES[page] for page in pages},
            "huge_pages": _huge_pages(),
            "seed": SEED,
            "notes": problems,
        },
        "rows": rows,
        "ratios": [ratio for point in points for ratio in _ratios(point, values)],
        "figure": str(figure),
    }


def _huge_pages() -> str:
    """What large pages are made of depends on how many the machine has set aside."""
    with open("/proc/meminfo") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("HugePages_Free")), "0")


def _ratios(point: Point, values: Values) -> list[dict[str, Any]]:
    """Times: what the tier costs (to the cooperative one), and what leaving something out costs."""
    made = []
    others = [
        (Point(point.case, TIERS[0], point.page_bytes), f"{point.case.name}, {TIERS[0]}"),
        (Point(_whole(point.case), point.tier, point.page_bytes), AS_IT_IS),
    ]
    for other, name in others:
        if other == point:
            continue
        made.append(ratio(point.case.name, name, point.factors, values[point], values[other]))
    return made


def _whole(case: Case) -> Case:
    return next(one for one in CASES if one.name == AS_IT_IS and one.looked_at == case.looked_at)
