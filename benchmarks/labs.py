"""`bench labs`: how long a chain of shaped links takes to come up and to go down, against Mininet.

Trials alternate (Mininet, Transship, Mininet, ...), each in a fresh process, each proven by a datagram from
the first host to the last, and each only after the kernel has finished with the one before.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks._plan import Report, told
from benchmarks._rows import SEED, ratio, row
from orchestrator.experiments.statistics import median_ci95

SYSTEMS = ("mininet", "transship")
PHASES = ("up", "down")
HOSTS, QUICK_HOSTS = 200, 50
TRIALS, QUICK_TRIALS = 5, 1
_TRIAL_LIMIT_SECONDS = 900

Trials = dict[tuple[str, int], dict[int, dict[str, float]]]
"""By system and hosts: the seconds of each valid trial, by its number."""


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    quick = bool(options.get("quick"))
    trials = options.get("trials") or (QUICK_TRIALS if quick else TRIALS)
    return run(trials, [QUICK_HOSTS if quick else HOSTS], report)


def run(trials: int, sizes: Sequence[int], report: Report) -> dict[str, Any]:
    """Measure every size and return the result in the shape of `reproduce --format json`.

    Raises:
        PermissionError: not root.
    """
    if os.geteuid() != 0:
        raise PermissionError("bench labs needs root: it makes network namespaces")
    found: Trials = {(system, size): {} for system in SYSTEMS for size in sizes}
    problems: list[str] = []
    plan = [(number, size, system) for size in sizes for number in range(trials) for system in SYSTEMS]
    for number, size, system in told(plan, "labs", lambda one: f"{one[2]}, {one[1]} hosts", report):
        try:
            found[system, size][number] = _trial(system, size)
        except RuntimeError as error:
            problems.append(f"{system}, {size} hosts, trial {number + 1}: {error}")
    return {
        "benchmark": "labs",
        "environment": _environment(found, problems),
        "rows": [
            row(system, {"phase": phase, "hosts": size}, "s", _seconds(found, system, size, phase), trials)
            for size in sizes
            for phase in PHASES
            for system in SYSTEMS
        ],
        "ratios": [
            ratio(
                "mininet",
                "transship",
                {"phase": phase, "hosts": size},
                _seconds(found, "mininet", size, phase),
                _seconds(found, "transship", size, phase),
            )
            for size in sizes
            for phase in PHASES
        ],
    }


def _trial(system: str, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks._labs_trial", system, str(size)]
    folder = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TRIAL_LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"not done after {_TRIAL_LIMIT_SECONDS} s") from error
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def _seconds(found: Trials, system: str, size: int, phase: str) -> dict[int, float]:
    return {number: seconds[phase] for number, seconds in found[system, size].items()}


def _environment(found: Trials, problems: list[str]) -> dict[str, Any]:
    switch = "LinuxBridge" if shutil.which("brctl") else "LinuxBridge with `ip link` in place of brctl"
    notes = [
        f"mininet: linear,N, TCLink bw=10, switch {switch}, no controller, in a network namespace of its own",
        "transship: the same class by its adapter; links of 10 Mb/s both ways, control groups, offloads off",
    ]
    for (system, size), trials in found.items():
        if trials:
            settled, _ = median_ci95([seconds["settled"] for seconds in trials.values()], SEED)
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
        "notes": notes + problems,
    }


def _mininet_version() -> str | None:
    try:
        from mininet.net import VERSION
    except ImportError:
        return None
    return str(VERSION)
