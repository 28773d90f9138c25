"""`bench stdio`: an unchanged program that reads a character at a time, with our library and the system's.

The program is wc.c. With the system's library it reads what another process writes to a pipe; with ours,
what another process writes to a local channel. docs/benchmarks.md says what is the same in both and what not.
"""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Sequence
from typing import Any

from benchmarks._plan import Report, compiling, told
from benchmarks._rows import SEED, ratio, row
from benchmarks.stdio.trial import OURS, SYSTEMS, Programs, TrialError, build, run_trial
from orchestrator.state import state_directory

BYTES, QUICK_BYTES = 512 << 20, 64 << 20
TRIALS, QUICK_TRIALS = 11, 3
THROUGHPUT, CPU = "throughput", "reader's CPU"
UNITS = {THROUGHPUT: "MB/s", CPU: "ns/byte"}

Values = dict[tuple[str, str], dict[int, float]]
"""By system and measure: the value of each valid trial, by its number."""


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    quick = bool(options.get("quick"))
    trials = options.get("trials") or (QUICK_TRIALS if quick else TRIALS)
    return run(trials, QUICK_BYTES if quick else BYTES, report)


def run(trials: int, total: int, report: Report) -> dict[str, Any]:
    """Measure, and return the result in the shape of `reproduce --format json`.

    Raises:
        RuntimeError: there are no two CPUs, or a program cannot be compiled.
    """
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        raise RuntimeError("bench stdio needs two CPUs, one for each process; this process may use one")
    values: Values = {point: {} for point in itertools.product(SYSTEMS, UNITS)}
    problems: list[str] = []
    compiling(report)
    programs = build(state_directory() / "cache")
    _measure(programs, values, problems, trials, total, cpus, report)
    return {
        "benchmark": "stdio",
        "environment": {
            "kernel": platform.release(),
            "libc": " ".join(platform.libc_ver()),
            "cpus": {"reader": cpus[1], "writer and manager": cpus[0]},
            "bytes": total,
            "seed": SEED,
            "notes": problems,
        },
        "rows": [
            row(system, {"measure": measure}, UNITS[measure], values[system, measure], trials)
            for measure in UNITS
            for system in SYSTEMS
        ],
        "ratios": [_ratio(values, measure, peer) for measure in UNITS for peer in SYSTEMS if peer != OURS],
    }


def _measure(
    programs: Programs,
    values: Values,
    problems: list[str],
    trials: int,
    total: int,
    cpus: Sequence[int],
    report: Report,
) -> None:
    """Trials alternate: one of each system, then the next of each."""
    plan = list(itertools.product(range(trials), SYSTEMS))
    for number, system in told(plan, "stdio", lambda one: one[1], report):
        try:
            seconds, cpu_seconds = run_trial(programs, system, total, cpus)
        except TrialError as error:
            problems.append(f"{system}, trial {number + 1}: {error}")
            continue
        values[system, THROUGHPUT][number] = total / seconds / 1e6
        values[system, CPU][number] = cpu_seconds / total * 1e9


def _ratio(values: Values, measure: str, peer: str) -> dict[str, Any]:
    """Ours to the peer's, of times the peer's to ours: above one, ours is the better."""
    of, to = (OURS, peer) if measure == THROUGHPUT else (peer, OURS)
    return ratio(of, to, {"measure": measure}, values[of, measure], values[to, measure])
