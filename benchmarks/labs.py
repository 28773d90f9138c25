"""`bench labs`: how long a chain of shaped links takes to come up and to go down, against Mininet.

And how these times, and the memory it takes, grow with the number of hosts.
Trials alternate (Mininet, Transship, Mininet, ...), each in a fresh process, each proven by a datagram from
the first host to the last, and each only after the kernel has finished with the one before.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks._apart import apart
from benchmarks._labs_chart import draw
from benchmarks._line import Line, fitted
from benchmarks._plan import Report, told
from benchmarks._rows import SEED, ratio, row
from orchestrator.experiments.statistics import median_ci95
from orchestrator.state import state_directory

SYSTEMS = MININET, TRANSSHIP = ("mininet", "transship")
UNITS = {"up": "s", "down": "s", "memory": "MB", "memory left": "MB"}
TIMES, GROWING = ("up", "down"), ("up", "down", "memory")
"""What there are ratios of, and what there are lines of over the number of hosts."""
SIZES, QUICK_SIZES = (10, 50, 100, 200, 500, 1000), (10, 30, 50)
MOST_FOR_MININET = 200
"""Hosts: 40 s a trial, and more than in proportion beyond."""
TRIALS, QUICK_TRIALS = 5, 1

Trials = dict[tuple[str, int], dict[int, dict[str, float]]]
"""By system and hosts: what each valid trial found, by its number."""


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    quick = bool(options.get("quick"))
    trials = options.get("trials") or (QUICK_TRIALS if quick else TRIALS)
    return run(trials, QUICK_SIZES if quick else SIZES, report)


def run(trials: int, sizes: Sequence[int], report: Report) -> dict[str, Any]:
    """Measure every size and return the result in the shape of `reproduce --format json`, with a figure.

    Raises:
        PermissionError: not root.
    """
    if os.geteuid() != 0:
        raise PermissionError("bench labs needs root: it makes network namespaces")
    cells = [(size, system) for size in sizes for system in SYSTEMS]
    cells = [(size, system) for size, system in cells if system != MININET or size <= MOST_FOR_MININET]
    found: Trials = {(system, size): {} for size, system in cells}
    problems: list[str] = []
    plan = [(number, size, system) for number in range(trials) for size, system in cells]
    for number, size, system in told(plan, "labs", lambda one: f"{one[2]}, {one[1]} hosts", report):
        try:
            found[system, size][number] = apart("benchmarks._labs_trial", system, str(size))
        except RuntimeError as error:
            problems.append(f"{system}, {size} hosts, trial {number + 1}: {error}")
    rows = [
        row(system, {"phase": phase, "hosts": size}, unit, _values(found, system, size, phase), trials)
        for phase, unit in UNITS.items()
        for size, system in cells
    ]
    lines = _lines(found)
    figure = state_directory() / "benchmarks" / f"labs-{time.strftime('%Y%m%d-%H%M%S')}.png"
    draw(rows, lines, figure)
    return {
        "benchmark": "labs",
        "environment": _environment(found, lines, problems),
        "rows": rows,
        "ratios": [
            ratio(
                MININET,
                TRANSSHIP,
                {"phase": phase, "hosts": size},
                _values(found, MININET, size, phase),
                _values(found, TRANSSHIP, size, phase),
            )
            for phase in TIMES
            for size, system in cells
            if system == MININET
        ],
        "figure": str(figure),
    }


def _values(found: Trials, system: str, size: int, phase: str) -> dict[int, float]:
    return {number: trial[phase] for number, trial in found[system, size].items()}


def _lines(found: Trials) -> list[Line]:
    """A straight line over the hosts through all trials of each system and phase."""
    lines = []
    for phase in GROWING:
        for system in SYSTEMS:
            points = [
                (size, trial[phase])
                for (of, size), trials in found.items()
                if of == system
                for trial in trials.values()
            ]
            line = fitted(system, phase, UNITS[phase], points)
            lines += [line] if line else []
    return lines


def _environment(found: Trials, lines: Sequence[Line], problems: list[str]) -> dict[str, Any]:
    switch = "LinuxBridge" if shutil.which("brctl") else "LinuxBridge with `ip link` in place of brctl"
    notes = [
        f"mininet: linear,N, TCLink bw=10, switch {switch}, no controller, in a network namespace of its own",
        "transship: the same class by its adapter; links of 10 Mb/s both ways, control groups, offloads off",
        "memory is what the machine has less available (MemAvailable) while the lab stands, and after it",
        *(line.words for line in lines),
    ]
    for (system, size), trials in found.items():
        if trials:
            settled, _ = median_ci95([trial["settled"] for trial in trials.values()], SEED)
            notes.append(
                f"{system}, {size} hosts: after down the kernel is busy with it for {settled:.2f} s more"
            )
    return {
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "pyroute2": version("pyroute2"),
        "mininet": _mininet_version(),
        "seed": SEED,
        "lines": [vars(line) for line in lines],
        "notes": notes + problems,
    }


def _mininet_version() -> str | None:
    try:
        from mininet.net import VERSION
    except ImportError:
        return None
    return str(VERSION)
