"""How much a benchmark does, as the command line asks for it, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Report = Callable[[dict[str, Any]], None]
Plan = tuple[int, Sequence[int], float]
"""Trials of each system, sizes, and seconds of a trial."""


def planned(options: dict[str, Any], full: Plan, quick: Plan) -> Plan:
    """What `quick` and `trials` of the command line choose."""
    trials, sizes, seconds = quick if options.get("quick") else full
    return options.get("trials") or trials, sizes, seconds


def told(plan: Sequence[T], name: str, phase: Callable[[T], str], report: Report) -> Iterator[T]:
    """Each of the plan in turn. How far it is and how long the rest will take is told before each, and the
    end."""
    began = time.monotonic()
    for done, one in enumerate(plan):
        left = (time.monotonic() - began) / done * (len(plan) - done) if done else None
        report({"phase": phase(one), "done": done, "total": len(plan), "seconds_left": left})
        yield one
    report({"phase": name, "done": len(plan), "total": len(plan), "seconds_left": 0})


def compiling(report: Report) -> None:
    """Programs are made before anything is measured."""
    report({"phase": "compiling", "done": 0, "total": None, "seconds_left": None})
