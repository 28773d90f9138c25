"""`bench rates`: how far the rate of a shaped network is from what was asked for, against Mininet's TCLink.

Two hosts on a network; one sends more than the rate (UDP, `linux-batch`), the other counts what comes. Each
trial is a process of its own; trials alternate.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from typing import Any

from benchmarks._apart import apart
from benchmarks._plan import Report, planned, told
from benchmarks._rows import SEED, row
from benchmarks.rates.systems import HEADERS, MININET, MININET_MOST_MBPS, SYSTEMS
from orchestrator.state import state_directory

RATES, QUICK_RATES = (1, 10, 100, 1000, 2500, 5000, 10000), (1, 100, 1000)
"""Mb/s."""
TRIALS, QUICK_TRIALS = 5, 1
SECONDS, QUICK_SECONDS = 2.0, 1.0
HEADROOM = 1.1
"""A rate is carried when, with nothing shaped, so many times of it arrive."""
LARGE_MBPS, MTU, LARGE_MTU = 1000, 1500, 9000
"""Above this rate frames are large."""

Values = dict[tuple[str, int], dict[int, float]]
"""By system and rate: the error of each valid trial in per cent, by its number."""


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    full, quick = (TRIALS, RATES, SECONDS), (QUICK_TRIALS, QUICK_RATES, QUICK_SECONDS)
    return run(*planned(options, full, quick), report)


def run(trials: int, rates: Sequence[int], seconds: float, report: Report) -> dict[str, Any]:
    """Measure every rate and return the result in the shape of `reproduce --format json`, with a figure.

    Raises:
        PermissionError: not root.
        RuntimeError: a network without a shaper does not work.
    """
    from benchmarks.rates.chart import draw

    if os.geteuid() != 0:
        raise PermissionError("bench rates needs root: it makes network namespaces")
    cannot = _cannot(rates, seconds, report)
    cells = [(system, rate) for rate in rates for system in SYSTEMS]
    able = [cell for cell in cells if cell not in cannot]
    values: Values = {cell: {} for cell in cells}
    problems: list[str] = []
    plan = [(number, *cell) for number in range(trials) for cell in able]
    for number, system, rate in told(plan, "rates", lambda one: f"{one[1]}, {one[2]} Mb/s", report):
        try:
            found = _trial(system, rate, rate, seconds)
        except RuntimeError as error:
            found = {"reason": error}
        if found["reason"]:
            problems.append(f"{system}, {rate} Mb/s, trial {number + 1}: {found['reason']}")
        else:
            values[system, rate][number] = 100 * (found["mbps"] / rate - 1)
    rows = [
        row(
            system,
            {"rate_mbps": rate},
            "% off",
            values[system, rate],
            trials if (system, rate) in able else 0,
        )
        for system, rate in cells
    ]
    figure = state_directory() / "benchmarks" / f"rates-{time.strftime('%Y%m%d-%H%M%S')}.png"
    draw(rows, figure)
    return {
        "benchmark": "rates",
        "environment": {
            "kernel": platform.release(),
            "cpus": len(os.sched_getaffinity(0)),
            "seed": SEED,
            "notes": [
                f"rates are of Ethernet frames as shapers count them: payload and {HEADERS} bytes of headers",
                *(f"{system}, {rate} Mb/s: {why}" for (system, rate), why in cannot.items()),
                *problems,
            ],
        },
        "rows": rows,
        "ratios": [],
        "figure": str(figure),
    }


def _cannot(rates: Sequence[int], seconds: float, report: Report) -> dict[tuple[str, int], str]:
    """The rates that a system does not have, or that nothing on this machine reaches even when not shaped."""
    found: dict[tuple[str, int], str] = {}
    unshaped: dict[tuple[bool, int], float] = {}
    report({"phase": "how fast it goes when not shaped", "done": 0, "total": None, "seconds_left": None})
    for system in SYSTEMS:
        for rate in rates:
            if system == MININET and rate > MININET_MOST_MBPS:
                found[system, rate] = f"cannot: TCLink ignores more than {MININET_MOST_MBPS} Mb/s"
                continue
            kind = (system == MININET, _mtu(rate))  # without a rate our media are the same
            if kind not in unshaped:
                unshaped[kind] = _trial(system, rate, 0, seconds / 4)["mbps"]
            if unshaped[kind] < HEADROOM * rate:
                found[system, rate] = f"cannot carry: not shaped, {unshaped[kind]:.0f} Mb/s arrive"
    return found


def _trial(system: str, rate: int, shaped_to: int, seconds: float) -> dict[str, Any]:
    return apart("benchmarks.rates.trial", system, str(shaped_to), str(_mtu(rate)), str(seconds))


def _mtu(rate: int) -> int:
    return LARGE_MTU if rate > LARGE_MBPS else MTU
