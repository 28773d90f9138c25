"""How much a benchmark does, as the command line asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Plan = tuple[int, Sequence[int], float]
"""Trials of each system, sizes, and seconds of a trial."""


def planned(options: dict[str, Any], full: Plan, quick: Plan) -> Plan:
    """What `quick` and `trials` of the command line choose."""
    trials, sizes, seconds = quick if options.get("quick") else full
    return options.get("trials") or trials, sizes, seconds
