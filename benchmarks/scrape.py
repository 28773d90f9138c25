"""`bench scrape`: how long it takes to read the metrics of all hosts of a lab, host by host and at once.

A chain of hosts that nobody uses, on an orchestrator of its own, read as Prometheus does over a few
connections that stay. The two ways alternate; a scrape counts if every host is in it.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._plan import Plan, Report, planned, told
from benchmarks._rows import SEED, ratio, row
from benchmarks.watching.usage import Usage
from orchestrator.cli.private import PrivateServer, private_server
from orchestrator.client import AsyncClient
from topologies.mininet_adapter import load_topo

SYSTEMS = HOST_BY_HOST, AT_ONCE = ("host by host", "lab at once")
FULL: Plan = (7, (10, 100, 1000), 0.5)
QUICK: Plan = (3, (10, 50), 0.5)
"""Trials, hosts, and seconds of a trial: as many scrapes as take so long, at least one."""
CONNECTIONS = 4
RATE_MBPS = 10
LAB = "scraped"
TIME, CPU = "time", "CPU"
SAMPLE = "\ntransship_cpu_seconds_total{"
GROUPS = 3
"""Samples of that for each host."""

Values = dict[tuple[str, str, int], dict[int, float]]
"""By measure, system and hosts: what each valid trial found, by its number."""


def main(options: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run the benchmark as the command line asks for it: `quick`, `trials`."""
    return run(*planned(options, FULL, QUICK), report)


def run(trials: int, sizes: Sequence[int], seconds: float, report: Report) -> dict[str, Any]:
    """Measure every size and return the result in the shape of `reproduce --format json`.

    Raises:
        PermissionError: not root.
        ClientError: the orchestrator does not do what it should.
    """
    if os.geteuid() != 0:
        raise PermissionError("bench scrape needs root: it makes network namespaces")
    values: Values = defaultdict(dict)
    problems: list[str] = []
    state = Path(tempfile.mkdtemp(prefix="transship-bench-"))
    try:
        with private_server(state) as private:
            for size in told(sizes, "scrape", lambda hosts: f"{hosts} hosts", report):
                asyncio.run(_measure(private, size, (trials, seconds), values, problems))
    finally:
        shutil.rmtree(state)
    places = [(measure, size) for measure in (TIME, CPU) for size in sizes]
    return {
        "benchmark": "scrape",
        "environment": {
            "kernel": platform.release(),
            "cpus": len(os.sched_getaffinity(0)),
            "seed": SEED,
            "notes": [
                f"linear,N with links of {RATE_MBPS} Mb/s, {CONNECTIONS} connections over a Unix socket",
                "CPU is that of orchestrator and machine agent together",
                *problems,
            ],
        },
        "rows": [
            row(system, {"measure": measure, "hosts": size}, "ms", values[measure, system, size], trials)
            for measure, size in places
            for system in SYSTEMS
        ],
        "ratios": [
            ratio(
                HOST_BY_HOST,
                AT_ONCE,
                {"measure": measure, "hosts": size},
                values[measure, HOST_BY_HOST, size],
                values[measure, AT_ONCE, size],
            )
            for measure, size in places
        ],
        "figure": None,
    }


async def _measure(
    private: PrivateServer, size: int, plan: tuple[int, float], values: Values, problems: list[str]
) -> None:
    """All trials with a lab of this size, which is there for them alone."""
    trials, seconds = plan
    async with AsyncClient(f"unix:{private.socket}") as client:
        topology = load_topo(f"linear,{size},bw={RATE_MBPS}").model_dump(mode="json")
        hosts = (await client.deploy(LAB, topology)).hosts
        machine = (await client.machines())[0].pid
        pids = [private.process.pid, *([machine] if machine is not None else [])]
        for number in range(-1, trials):  # the first is for caches and connections, and does not count
            for system in SYSTEMS:
                found, count, before = 0, 0, [Usage.of(pid) for pid in pids]
                began = time.perf_counter()
                while (took := time.perf_counter() - began) < seconds:
                    found = await (_each(client, hosts) if system == HOST_BY_HOST else _all(client))
                    count += 1
                used = sum(Usage.of(pid).cpu_s - had.cpu_s for pid, had in zip(pids, before, strict=True))
                if found != size * GROUPS:
                    problems.append(
                        f"{system}, {size} hosts, trial {number + 1}: {found} samples, not {size * GROUPS}"
                    )
                elif number >= 0:
                    values[TIME, system, size][number] = 1000 * took / count
                    values[CPU, system, size][number] = 1000 * used / count
        await client.destroy_lab(LAB)
        while any(lab.name == LAB for lab in await client.labs()):  # noqa: ASYNC110 (its end has no event here)
            await asyncio.sleep(0.1)


async def _each(client: AsyncClient, hosts: Sequence[str]) -> int:
    """Samples of all hosts, asked for one by one."""
    waiting = iter(hosts)

    async def connection() -> int:
        return sum([_samples(await client.metrics(LAB, host)) for host in waiting])

    return sum(await asyncio.gather(*(connection() for _ in range(CONNECTIONS))))


async def _all(client: AsyncClient) -> int:
    return _samples(await client.lab_metrics(LAB))


def _samples(text: str) -> int:
    return text.count(SAMPLE)
