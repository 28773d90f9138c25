"""Whether a trial says anything about the I/O system under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.experiments.books import BOOKS_DIFFER, Books


@dataclass(frozen=True)
class Limits:
    """Beyond these a trial is INVALID. All are fractions."""

    offered_missed: float = 0.01
    source_busy: float = 0.98
    source_late: float = 0.2
    """Ticks the source slept over. It makes up for them within the interval, or `offered_missed` finds
    out."""
    sink_busy: float = 0.98


LIMITS = Limits()


def reasons(
    books: Books,
    wanted_mbps: float,
    source: Mapping[str, Any],
    sink: Mapping[str, Any],
    sink_refused: int,
    limits: Limits = LIMITS,
) -> list[str]:
    """Why the trial is INVALID, in plain words; empty when it is valid.

    `source` and `sink` are the results of these workloads; the sink had no room for `sink_refused`.
    """
    return [
        *(f"{BOOKS_DIFFER}{problem}" for problem in books.problems),
        *load_problems(wanted_mbps, source, limits),
        *sink_problems(sink, sink_refused, limits),
    ]


def load_problems(wanted_mbps: float, source: Mapping[str, Any], limits: Limits = LIMITS) -> list[str]:
    """Why the source did not offer what it should have."""
    found = []
    offered = float(source["offered_mbps"])
    if abs(offered - wanted_mbps) > limits.offered_missed * wanted_mbps:
        found.append(
            f"offered load missed: {offered:.1f} Mb/s instead of {wanted_mbps:.1f} (more than "
            f"{limits.offered_missed:.0%} off)"
        )
    if float(source["busy"]) > limits.source_busy:
        found.append(f"the source was the bottleneck: busy {float(source['busy']):.0%} of the time")
    if float(source["late"]) > limits.source_late:
        found.append(f"the source was the bottleneck: {float(source['late']):.0%} of its sends were late")
    return found


def sink_problems(sink: Mapping[str, Any], refused: int, limits: Limits = LIMITS) -> list[str]:
    """Why what the sink saw is not what the forwarder sent."""
    found = []
    if refused:
        found.append(f"the sink was the bottleneck: its queue refused {refused} datagrams")
    if float(sink["busy"]) > limits.sink_busy:
        found.append(f"the sink was the bottleneck: busy {float(sink['busy']):.0%} of the time")
    return found


def environment_problems(changed: Sequence[str]) -> list[str]:
    """Why all trials of a run are INVALID: something that must stay the same did not."""
    return [f"environment changed during the run: {what}" for what in changed]
