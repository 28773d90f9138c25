"""`bench forwarding`: Transship's forwarder against a minimal one that does nothing but forward over AF_XDP.

Transship's is two processes: the host's manager, and the forwarder, which moves containers without mapping
them. The raw one (raw.c) is the bound: one process, no ownership, no UDP path, and AF_XDP both ways. The
manager can do one thing that the bound cannot, hand many datagrams to the kernel as one message (segmentation
offload), so it is measured with and without. All run on the middle host of
`two-fddi` without shaping, on the same core, with the same queues, source and sink, and compete for that core
with so many hogs that neither keeps up with the source: so what the source's and the sink's core can do does
not matter. Trials alternate.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from agents.client import Machine
from agents.errors import AgentError
from benchmarks._plan import planned
from benchmarks._rows import SEED, ratio, row
from benchmarks.forwarding import signals
from benchmarks.forwarding.raw import RawError, Way, build
from benchmarks.forwarding.trial import FRAMES, RAW, SHIPPING, SYSTEMS, Found, Load, run_trial, way_through
from orchestrator.events import EventBus
from orchestrator.experiments import steadiness
from orchestrator.experiments.definitions import EXPERIMENTS
from orchestrator.experiments.environment import describe
from orchestrator.experiments.workloads import Target, TrialFailed
from orchestrator.machine import MachineKeeper
from orchestrator.state import state_directory
from topologies import load_topology, shipped

SIZES, QUICK_SIZES = (4300, 1024), (4300,)
"""Bytes of payload: the paper's datagram in two pages, and one in a page."""
TRIALS, QUICK_TRIALS = 7, 3
SECONDS, QUICK_SECONDS = 2.0, 1.0
QUEUE_DATAGRAMS = 4096
"""More than a time slice's worth: a turn on the CPU ends by the clock, not because nothing is left."""
HOGS = (3, 7, 15, 31)
"""Tried in this order."""
TOO_MUCH_PER_SECOND = 2e6
OFFERED = 0.75
"""Of what the source can send at most while the raw forwarder is alone on its core."""
ENOUGH_HOGS = 0.7
"""Hogs are added until the raw forwarder, which needs least, forwards less than this of the offered."""

Report = Callable[[dict[str, Any]], None]
Failures = (TrialFailed, RawError, AgentError)


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    full, quick = (TRIALS, SIZES, SECONDS), (QUICK_TRIALS, QUICK_SIZES, QUICK_SECONDS)
    return run(*planned(options, full, quick), report)


def run(trials: int, sizes: Sequence[int], seconds: float, report: Report) -> dict[str, Any]:
    """Measure every size and return the result in the shape of `reproduce --format json`.

    Raises:
        PermissionError: not root.
        RawError: the raw forwarder cannot be compiled or does not run.
        TrialFailed, AgentError: the lab cannot be used at all.
    """
    if os.geteuid() != 0:
        raise PermissionError("bench forwarding needs root: it makes network namespaces")
    return signals.run(_measured(trials, sizes, seconds, report))


@dataclass
class Size:
    """What was found for one size of datagram."""

    load: Load
    found: dict[str, dict[int, Found]] = field(default_factory=lambda: {system: {} for system in SYSTEMS})
    """By system: its valid trials by number."""


@dataclass
class Bench:
    """A lab to measure in, and how far the work is."""

    machine: Machine
    lab: str
    record: dict[str, Any]
    program: Path
    report: Report
    total: int
    done: int = 0
    problems: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    flows: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def trial(self, system: str, load: Load, phase: str) -> Found:
        """One trial, told to whoever watches."""
        spent = time.monotonic() - self.began
        left = spent / self.done * max(1, self.total - self.done) if self.done else None
        self.report({"phase": phase, "done": self.done, "total": self.total, "seconds_left": left})
        definition = EXPERIMENTS["fddi"].model_copy(update={"datagram_bytes": load.size})
        target = Target.of(self.machine, self.lab, self.record, definition)
        way: Way = way_through(self.record, target)
        try:
            return await run_trial(target, way, self.program, system, load, next(self.flows))
        finally:
            self.done = min(self.done + 1, self.total - 1)


async def _measured(trials: int, sizes: Sequence[int], seconds: float, report: Report) -> dict[str, Any]:
    report({"phase": "deploying", "done": 0, "total": None, "seconds_left": None})
    program = await asyncio.to_thread(build, state_directory() / "cache")
    async with AsyncExitStack() as stack:
        # Its own agent and directory: a server that runs on this machine, and its labs, are left alone.
        run_root = Path(tempfile.mkdtemp(prefix="transship-bench-"))
        stack.callback(shutil.rmtree, run_root)
        keeper = MachineKeeper(EventBus(), run_root)
        stack.push_async_callback(keeper.close)
        await keeper.start()
        machine = await keeper.available()
        lab = f"bench-{os.getpid()}"
        record = await machine.deploy(lab, _topology())
        environment = await describe(record)
        total = len(sizes) * (len(SYSTEMS) * trials + 3)
        bench = Bench(machine, lab, record, program, report, total)
        measured = [await _measure(bench, size, trials, seconds) for size in sizes]
        report({"phase": "forwarding", "done": total, "total": total, "seconds_left": 0})
    return {
        "benchmark": "forwarding",
        "environment": environment
        | {"seed": SEED, "notes": [*_notes(bench, measured), *steadiness.notes(environment)]},
        "rows": [_row(size, system, trials) for size in measured for system in SYSTEMS],
        "ratios": [
            ratio(of, RAW, _factors(size), _forwarded(size, of), _forwarded(size, RAW))
            for size in measured
            for of in (SHIPPING, FRAMES)
        ],
    }


def _topology() -> dict[str, Any]:
    topology: dict[str, Any] = load_topology(shipped()["two-fddi"]).model_dump(mode="json")
    for network in topology["networks"].values():
        network |= {"medium": "switched", "rate_mbps": None}
    return topology


async def _measure(bench: Bench, size: int, trials: int, seconds: float) -> Size:
    measured = Size(await _saturating(bench, size, seconds))
    for number, system in itertools.product(range(trials), SYSTEMS):
        where = f"{system}, {size} bytes"
        try:
            found = await bench.trial(system, measured.load, where)
        except Failures as error:
            bench.problems.append(f"{where}, trial {number + 1}: {error}")
            continue
        if found.reason:
            bench.problems.append(f"{where}, trial {number + 1}: {found.reason}")
        else:
            measured.found[system][number] = found
    return measured


async def _saturating(bench: Bench, size: int, seconds: float) -> Load:
    """A load that neither system can forward: found with the raw one only, before anything is compared."""
    alone = Load(size, 0, TOO_MUCH_PER_SECOND, seconds / 2, QUEUE_DATAGRAMS)
    most = await bench.trial(RAW, alone, f"calibrating, {size} bytes")
    load = replace(alone, offered=OFFERED * most.offered, hogs=HOGS[0])
    for hogs in HOGS:
        load = replace(load, hogs=hogs)
        found = await bench.trial(RAW, load, f"calibrating, {size} bytes, {hogs} hogs")
        if found.forwarded < ENOUGH_HOGS * found.offered:
            break
    return replace(load, seconds=seconds)


def _factors(size: Size) -> dict[str, Any]:
    return {"bytes": size.load.size, "hogs": size.load.hogs}


def _forwarded(size: Size, system: str) -> dict[int, float]:
    return {number: one.forwarded for number, one in size.found[system].items()}


def _row(size: Size, system: str, trials: int) -> dict[str, Any]:
    found = size.found[system].values()
    loss = median(one.loss for one in found) if found else None
    return row(system, _factors(size), "datagrams/s", _forwarded(size, system), trials, loss)


def _notes(bench: Bench, measured: Sequence[Size]) -> list[str]:
    notes = [
        "counted where datagrams leave the middle host; either system is one competitor against each hog",
        "raw is run by the benchmark in the host's namespace and control group, all else by the host's agent",
    ]
    steering = bench.record["steering"]
    if not steering["applied"] or steering["shared"]:
        notes.append(f"the middle host is not alone on its CPU: {steering['reason']}")
    for size in measured:
        notes.append(f"{size.load.size} bytes: {size.load.offered:.0f} datagrams/s offered")
        for system, found in size.found.items():
            if found:
                cost = median(one.cpu_us for one in found.values())
                share = median(one.cpu_us * one.forwarded / 1e6 for one in found.values())
                notes.append(
                    f"{size.load.size} bytes: {system} had {share:.1%} of the core and took {cost:.2f} us "
                    "of it for a datagram"
                )
    return notes + bench.problems
