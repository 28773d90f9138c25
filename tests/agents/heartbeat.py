"""`python -m tests.agents.heartbeat [--minutes M]`: whether host agents that work are told from one that
hangs while hogs keep the CPUs busy. What it prints and its exit status: docs/exploring.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.agents.machine_process import LAB, MachineProcess, machine_process, small_lab

HOSTS = 8
BUSY = 0.95
WAIT_S = 25.0
"""How long one request for news lasts at most."""
NOTICED_S = 120.0


@dataclass(frozen=True)
class Found:
    """How busy the CPUs were (a fraction), what was told of agents that failed although nothing was done to
    them, and after how many seconds that one had been stopped; None: it never was."""

    busy: float
    false_alarms: list[str]
    noticed_s: float | None


class News:
    """What the machine agent tells of host agents, each once."""

    def __init__(self, machine: MachineProcess) -> None:
        self._client = machine.client
        self._last = 0

    async def failed(self, within_s: float) -> list[str]:
        """The messages of the next agents that fail; none if none does within this time."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            notices = await self._client.notices(self._last, min(left, WAIT_S))
            self._last = notices[-1]["number"] if notices else self._last
            if messages := [one["message"] for one in notices if one["state"] == "failed"]:
                return messages
        return []


def cpu_times() -> tuple[int, int]:
    """Ticks that the CPUs have worked, and all."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


async def watch(seconds: float, *options: str) -> Found:
    """Keeps the CPUs busy for so long, and then stops an agent. `options` are the machine agent's."""
    lab = small_lab()
    hosts = [f"host-{number}" for number in range(HOSTS)]
    lab["hosts"] = {host: {} for host in hosts}
    lab["networks"]["wire"]["stations"] = hosts
    async with machine_process(*options) as machine:
        await machine.client.deploy(LAB, lab)
        for host in hosts:
            await machine.client.set_hogs(LAB, host, -(-(os.cpu_count() or 1) // HOSTS))
        news, before = News(machine), cpu_times()
        false_alarms = await news.failed(seconds)
        worked, ticks = (now - then for now, then in zip(cpu_times(), before, strict=True))
        agents = (await machine.client.lab(LAB))["agents"]
        alive = [agent["pid"] for agent in agents.values() if agent["state"] == "running"]
        began = time.monotonic()
        os.kill(alive[0], signal.SIGSTOP)
        found = await news.failed(NOTICED_S)
        noticed = any(f"(pid {alive[0]}) did not answer" in message for message in found)
        return Found(worked / ticks, false_alarms, time.monotonic() - began if noticed else None)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.agents.heartbeat")
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    found = asyncio.run(watch(60 * minutes))
    alarms = len(found.false_alarms)
    print(f"{HOSTS} host agents, {minutes:g} min, CPUs {found.busy:.1%} busy, {alarms} false alarms")
    for message in found.false_alarms:
        print(message)
    when = "never" if found.noticed_s is None else f"after {found.noticed_s:.0f} s"
    print(f"that one was stopped was told {when}")
    return 0 if found.busy >= BUSY and not found.false_alarms and found.noticed_s is not None else 1


if __name__ == "__main__":
    sys.exit(main())
