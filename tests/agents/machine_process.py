"""A machine agent as a process of its own, for tests that need real labs."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agents.client import AgentError, MachineClient
from agents.processes import Child
from tests.support import PATIENCE_S, eventually

LAB = "agenttest"
"""The lab of the fixture `machine`."""


class MachineProcess:
    """A running machine agent, with a client. Real workloads unless `fake`."""

    def __init__(self, run_root: Path, fake: bool = True, *options: str) -> None:
        self.run_root = run_root
        module = "tests.agents.run_machine" if fake else "agents.machine"
        self.child = Child([sys.executable, "-m", module, "--run-root", str(run_root), *options])
        self.client = MachineClient(run_root / "machine.sock")

    async def answers(self) -> bool:
        assert self.child.returncode is None, self.child.stderr.decode()
        try:
            return bool((await self.client.health())["pid"] == self.child.pid)
        except AgentError:
            return False

    async def agent_pid(self, lab: str, host: str) -> int:
        return int((await self.client.lab(lab))["agents"][host]["pid"])


@contextlib.asynccontextmanager
async def machine_process(
    *options: str, fake: bool = True, run_root: Path | None = None
) -> AsyncIterator[MachineProcess]:
    """Starts a machine agent and ends it at the end, labs and all."""
    root = run_root or Path(tempfile.mkdtemp(prefix="ts-"))
    machine = MachineProcess(root, fake, *options)
    try:
        await eventually(machine.answers, "the machine agent to answer")
        yield machine
    finally:
        await machine.client.close()
        if machine.child.returncode is None:
            machine.child.signal(signal.SIGTERM)
            if not await machine.child.ended_within(PATIENCE_S):
                await machine.child.kill()
        if run_root is None:
            shutil.rmtree(root)


def small_lab() -> dict[str, Any]:
    """Two hosts on a network."""
    return {
        "name": "small",
        "hosts": {"left": {}, "right": {}},
        "networks": {"wire": {"stations": ["left", "right"], "rate_mbps": 100.0}},
    }


def spec(workload: str = "source", system: str = "linux", **params: Any) -> dict[str, Any]:
    """What a workload is started with."""
    return {"workload": workload, "system": system, "params": params}


def cgroup(pid: int) -> str:
    """The group of the CPU controller that a process is in."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(
        line.split(":", 2)[2] for line in lines if "cpu" in line.split(":")[1].split(",") or line[:2] == "0:"
    )
