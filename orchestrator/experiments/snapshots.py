"""Every counter of a lab at one moment, and what was counted between two."""

from __future__ import annotations

import asyncio
import time

from orchestrator.experiments.case import Site

Counters = dict[str, dict[str, int]]
"""The lab's counters under "", those of each host under its name."""

QUIET_S = 2.0
LOOK_S = 0.01


async def snapshot(site: Site) -> Counters:
    """Every counter of the lab and of the hosts on the way, now."""
    network, hosts = await asyncio.gather(site.machine.counters(site.lab), site.host_counters())
    return {"": network} | hosts


def increase(before: Counters, after: Counters) -> Counters:
    """What was counted between two snapshots; counters that did not move are left out."""
    return {
        where: {
            name: value - before.get(where, {}).get(name, 0)
            for name, value in counts.items()
            if value != before.get(where, {}).get(name, 0)
        }
        for where, counts in after.items()
    }


async def quiet(site: Site) -> None:
    """Waits until nothing moves on the networks: a trial must not count what an earlier one left there.

    Gives up after 2 s: if that was not enough, the books of the trial will tell.
    """
    deadline = time.monotonic() + QUIET_S
    last: dict[str, int] = {}
    while time.monotonic() < deadline:
        counted = await site.machine.counters(site.lab)
        waiting = any(value for name, value in counted.items() if name.endswith(".qdisc_backlog_packets"))
        moved = {name: value for name, value in counted.items() if name.endswith("_packets")}
        if moved == last and not waiting:
            return
        last = moved
        await asyncio.sleep(LOOK_S)
