"""`bench soak`: two hours of random labs, workloads and faults against an orchestrator of its own.

A scene follows from its number. What must hold is looked at after each: the books of every trial balance to
the datagram, no lab and no process of one is left, and the agents neither grow nor collect descriptors. The
rows compare the last quarter of the time with the second one; in the first, caches and logs fill up.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from benchmarks._plan import Report
from benchmarks._rows import SEED, row
from benchmarks.soak import scenes
from benchmarks.soak.processes import descendants, size
from orchestrator.cli.private import private_server
from orchestrator.client import Client, ClientError
from orchestrator.state import state_directory

HOURS, QUICK_HOURS = 2.0, 0.05
PARTS = ("orchestrator", "machine agent")
WHAT = {"memory": "MB", "descriptors": "descriptors", "processes": "processes"}
_MACHINE_AGENT = "agents.machine"

Sizes = dict[str, dict[int, float]]
"""By what is counted and of whom: the values after each scene, by its number."""


class Books:
    """How many trials were looked at, and what went wrong: books, failed trials, broken scenes."""

    def __init__(self) -> None:
        self.trials = 0
        self.invalid = 0
        self.wrong: list[str] = []

    def look(self, run: str, trial: dict[str, Any]) -> None:
        """Add a trial."""
        self.trials += 1
        self.invalid += not trial["valid"]
        problems = (trial.get("books") or {}).get("problems", [])
        if trial["failed"]:
            problems = [*problems, *trial["reasons"]]
        self.wrong += [f"{run}, trial {trial['number']}: {problem}" for problem in problems]


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the soak: `quick` is three minutes, `trials` so many hours.

    Raises:
        PermissionError: not root.
        scenes.Broken: labs are left that cannot be destroyed.
    """
    if os.geteuid() != 0:
        raise PermissionError("bench soak needs root: it makes network namespaces")
    hours = float(options.get("trials") or (QUICK_HOURS if options.get("quick") else HOURS))
    books, done = Books(), 0
    sizes: Sizes = {f"{what} {who}": {} for what in WHAT for who in PARTS}
    told: list[str] = []
    with private_server(state_directory()) as private:
        client = Client(f"unix:{private.socket}")
        for done in _turns(hours, report):
            random = Random(SEED * 1_000_000 + done)
            try:
                if random.random() < 0.6:
                    told.append(scenes.measured(client, random, books.look))
                else:
                    told.append(scenes.explored(client, random, private.process.pid))
            except (scenes.Broken, ClientError) as error:
                books.wrong.append(f"scene {done}: {error}")
            scenes.gone(client)
            _weigh(private.process.pid, done, sizes)
    return {
        "benchmark": "soak",
        "environment": _environment(hours, done, books, told),
        "rows": [
            row(who, {"what": what, "quarter": quarter}, unit, values, len(values))
            for what, unit in WHAT.items()
            for who in PARTS
            for quarter, values in _quarters(sizes[f"{what} {who}"]).items()
        ],
        "ratios": [],
    }


def _turns(hours: float, report: Report) -> Iterator[int]:
    began, number = time.monotonic(), 0
    while (passed := time.monotonic() - began) < hours * 3600:
        left = hours * 3600 - passed
        report(
            {
                "phase": f"scene {number}",
                "done": int(passed),
                "total": int(hours * 3600),
                "seconds_left": left,
            }
        )
        yield number
        number += 1


def _weigh(server: int, scene: int, sizes: Sizes) -> None:
    """What the orchestrator and its machine agent take now that no lab is there."""
    below = descendants(server)
    agents = [pid for pid, command in below.items() if _MACHINE_AGENT in command.split()]
    counted = (("orchestrator", server, len(below)), ("machine agent", min(agents), len(agents)))
    for who, pid, processes in counted:
        memory, descriptors = size(pid)
        sizes[f"memory {who}"][scene] = memory
        sizes[f"descriptors {who}"][scene] = descriptors
        sizes[f"processes {who}"][scene] = processes


def _quarters(values: dict[int, float]) -> dict[str, dict[int, float]]:
    numbers = sorted(values)
    cut = len(numbers) // 4
    chosen = {"second": numbers[cut : 2 * cut], "last": numbers[-cut:]} if cut else {"last": numbers}
    return {quarter: {number: values[number] for number in chosen[quarter]} for quarter in chosen}


def _environment(hours: float, done: int, books: Books, told: list[str]) -> dict[str, Any]:
    kinds = {kind: told.count(kind) for kind in sorted(set(told))}
    return {
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "seed": SEED,
        "notes": [
            f"{hours:g} h, {done + 1} scenes: {books.trials} trials, {books.invalid} INVALID for any reason; "
            f"failed, or books that do not balance: {len(books.wrong)}",
            *(f"{kind}: {count}" for kind, count in kinds.items()),
            *books.wrong[:50],
        ],
    }
